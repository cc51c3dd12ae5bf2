//! Tests of [`super`]: records of the maps, and the rules that they say.

use netpath_common::{
    publish::{Backend, Binding, starts_of},
    records::{NETWORK_ICC, Published, PublishedKey},
};

use super::{super::testing::*, *};

#[test]
fn a_range_is_one_rule_whatever_begins_within() {
    let mut maps = snapshot();
    let wide = binding([0; 4], (100, 65_535), 6, &C1, 50, 3);
    let starts = starts_of([(6, 100), (6, 4096), (6, 8080)]);
    maps.published = wide.entries(&starts).collect();
    assert_eq!(maps.published.len(), 3);
    maps.rules.insert(3, Default::default());
    let rules = gather(&maps, &names()).published;
    assert_eq!(rules.len(), 1);
    assert_eq!(rules[0].ports.to_string(), "100-65535");
    assert_eq!(rules[0].to_ports.to_string(), "50-65485");
    assert_eq!(rules[0].endpoint, "PINK");
    // The first entry goes behind netpath's back: what is left is what is shown.
    maps.published.retain(|(key, _)| key.port != 100);
    let rules = gather(&maps, &names()).published;
    assert_eq!(rules[0].ports.to_string(), "4096-65535");
    assert_eq!(rules[0].to_ports.to_string(), "4046-65485");
}

#[test]
fn both_families_of_a_port_are_one_rule() {
    let mut maps = snapshot();
    maps.published = single(binding([0; 4], (8080, 8080), 6, &C1, 80, 1));
    maps.published6 = vec![(
        PublishedKey {
            addr: [0; 16],
            port: 8080,
            proto: 6,
            zero: 0,
        },
        Published {
            addr: C1.1,
            port: 80,
            endpoint: C1.2,
            rule: 1,
            last: 8080,
            ..Published::default()
        },
    )];
    let stats = RuleStats {
        packets: 7,
        bytes: 700,
    };
    maps.rules.insert(1, (RuleRecord::default(), stats));
    let rules = gather(&maps, &names()).published;
    let [rule] = &rules[..] else {
        panic!("{rules:?}")
    };
    assert_eq!(rule.addresses.len(), 2);
    assert_eq!(rule.to.len(), 2);
    assert_eq!((rule.packets, rule.bytes), (7, 700));
    assert_eq!(rule.allow, None);
}

#[test]
fn a_network_counts_what_its_containers_exchange_by_themselves() {
    let mut maps = snapshot();
    maps.networks[1].mask6 = [
        255, 255, 255, 255, 255, 255, 255, 255, 0, 0, 0, 0, 0, 0, 0, 0,
    ];
    // One more, in another network, and a slot that nobody has.
    maps.networks[2] = NetworkRecord {
        subnet: [172, 18, 0, 0],
        ..maps.networks[1]
    };
    maps.networks[2].mask6 = [0; 16];
    maps.endpoints[3] = EndpointRecord {
        network: 2,
        ..maps.endpoints[1]
    };
    assert_eq!(maps.endpoint_slots(), [1, 2, 3]);
    for slot in maps.endpoint_slots() {
        let mut stats = EndpointStats::default();
        for (number, count) in (1..).zip(stats.tx.iter_mut().chain(&mut stats.rx)) {
            count.packets = number * 10u64.pow(u32::from(slot));
            count.bytes = 1000 * count.packets;
        }
        maps.stats.insert(slot, stats);
    }
    let rules = gather(&maps, &names()).networks;
    let counted: Vec<_> = rules.iter().map(|n| (n.packets, n.bytes)).collect();
    // The first and the third of four places, sent and given: 1 and 5, 3 and 7.
    assert_eq!(
        counted,
        [(660, 660_000), (1100, 1_100_000), (6000, 6_000_000)]
    );
}

#[test]
fn each_backend_of_a_group_is_a_rule() {
    let mut maps = snapshot();
    let shared = Binding {
        key: PublishedKey {
            addr: [0; 4],
            port: 9000,
            proto: 6,
            zero: 0,
        },
        to: Published {
            last: 9009,
            group: 1,
            ..Published::default()
        },
    };
    maps.published = shared.entries(&starts_of([(6, 9000), (6, 9005)])).collect();
    let mut group = Backends::default();
    for (index, (_, _, slot, _)) in [(0, C1), (4, C2)] {
        group.list[index] = Backend {
            endpoint: slot,
            rule: 10 + slot,
            port: 80,
            zero: 0,
        };
    }
    maps.groups.insert(1, group);
    assert_eq!(maps.group_slots(), [1]);
    assert_eq!(maps.rule_slots(), [10 + C1.2, 10 + C2.2]);
    let listed = RuleRecord {
        flags: RULE_ALLOW,
        ..RuleRecord::default()
    };
    maps.rules.insert(10 + C2.2, (listed, RuleStats::default()));
    let rules = gather(&maps, &names()).published;
    let of = |name: &str| rules.iter().find(|r| r.endpoint == name).unwrap();
    assert_eq!(rules.len(), 2);
    assert_eq!(of("PINK").to_ports.to_string(), "80-89");
    assert_eq!(of("PINK").balance, Some(2));
    assert_eq!(of("PINK").allow, None);
    // The list is asked for and empty: nobody is let in.
    assert_eq!(of("ORANGE").allow, Some(vec![]));
}

#[test]
fn what_leaves_a_network_is_told_by_its_flags() {
    let mut maps = snapshot();
    let kind = |maps: &Snapshot| gather(maps, &names()).networks[0].kind;
    assert_eq!(kind(&maps), Leaving::Masquerade);
    let to = gather(&maps, &names()).networks[0].to.clone();
    assert_eq!(to.len(), 1, "the loopback device is no uplink: {to:?}");
    assert_eq!(to[0].address, IpAddr::from([192, 0, 2, 1]));
    maps.networks[1].snat = [192, 0, 2, 7];
    assert_eq!(kind(&maps), Leaving::Snat);
    maps.networks[1].flags = NETWORK_ICC;
    assert_eq!(kind(&maps), Leaving::Unmasqueraded);
    maps.networks[1].flags = NETWORK_ROUTED;
    assert_eq!(kind(&maps), Leaving::Routed);
    maps.networks[1].flags = NETWORK_INTERNAL | NETWORK_MASQUERADE;
    assert_eq!(kind(&maps), Leaving::Internal);
}

#[test]
fn records_of_nobody_have_numbers_for_names() {
    let mut maps = snapshot();
    maps.published = single(binding([0; 4], (1, 1), 17, &C1, 1, 9));
    let found = gather(&maps, &Names::default());
    assert_eq!(found.published[0].endpoint, "endpoint-1");
    assert_eq!(found.networks[0].network, "network-1");
    // No panic by what nobody would write: a backwards range, an endpoint out of range.
    maps.published[0].1.last = 0;
    maps.published6 = vec![Default::default()];
    maps.published6[0].1.endpoint = u16::MAX;
    assert_eq!(gather(&maps, &names()).published, []);
}
