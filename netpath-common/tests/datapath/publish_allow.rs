//! Source allow lists of published ports: new flows, and flows that are there when the list changes.

use netpath_common::{
    DropReason,
    conntrack::tcp::{ACK, FIN, SYN},
    counters::Counter,
    datapath::collect,
    publish::{Answer, Asked, Lookup, PublishedPorts as _, find},
    records::SourceKey,
    tuple::TCP,
};

use super::family::*;
use proptest::prelude::*;

/// Opens S:`sport` to the published port.
fn established_inbound(h: &mut Host, sport: u16) {
    let _ = h
        .from_outside(&tcp(S, sport, H, 8080, SYN))
        .to_container(&C1);
    let _ = h
        .from(&C1, &tcp(C1.ip(), 80, S, sport, SYN | ACK))
        .to_uplink();
    let _ = h
        .from_outside(&tcp(S, sport, H, 8080, ACK))
        .to_container(&C1);
}

#[test]
fn only_listed_clients_reach_the_port() {
    let mut h = Host::new();
    h.tables.allow(RULE_WEB, &[NET_OF_S]);
    let out = h.from_outside(&tcp(S, 51000, H, 8080, SYN));
    let _ = out.to_container(&C1);
    for flags in [SYN, ACK] {
        let out = h.from_outside(&tcp(S2, 51000, H, 8080, flags));
        assert_eq!(out.dropped(), Some(DropReason::NotAllowed));
    }
    // Another port has no list.
    let out = h.from_outside(&udp(S2, 51000, H, 5353, b"?"));
    let _ = out.to_container(&C1);
    assert_eq!(h.drops_of(DropReason::NotAllowed), 2);
}

#[test]
fn neighbours_and_the_container_itself_are_clients_too() {
    let mut h = Host::new();
    h.tables.allow(RULE_WEB, &[(C2.ip(), BITS)]);
    let out = h.from(&C2, &tcp(C2.ip(), 51000, H, 8080, SYN));
    let _ = out.to_container(&C1);
    let out = h.from(&C1, &tcp(C1.ip(), 51000, H, 8080, SYN));
    assert_eq!(out.dropped(), Some(DropReason::NotAllowed));
    let out = h.from(&C3, &tcp(C3.ip(), 51000, H, 8080, SYN));
    assert_eq!(out.dropped(), Some(DropReason::NotAllowed));
    h.tables.allow(RULE_WEB, &[(C1.ip(), SUBNET_BITS)]);
    let out = h.from(&C1, &tcp(C1.ip(), 51000, H, 8080, SYN));
    let _ = out.to_container(&C1);
    // The container sees its gateway, the list its own address.
    h.tables.allow(RULE_WEB, &[(C1.ip(), BITS), (S, BITS)]);
    let back = h.from(&C1, &tcp(C1.ip(), 80, GW1, 51000, SYN | ACK));
    let _ = back.to_container(&C1);
}

#[test]
fn the_host_itself_is_always_let_in() {
    let mut h = Host::new();
    h.tables.allow(RULE_WEB, &[(S2, BITS)]);
    let ask = |src| {
        let asked = Asked {
            dst: H,
            src,
            dport: 8080,
            sport: 1,
            proto: TCP,
            exact: false,
        };
        find(&h.tables, &mut Lookup::new(asked))
    };
    assert_eq!(ask(Addr::default()), Answer::Found);
    assert_eq!(ask(S2), Answer::Found);
    assert_eq!(ask(S), Answer::NotAllowed);
}

#[test]
fn a_martian_is_one_first() {
    let mut h = Host::new();
    h.tables.allow(RULE_WEB, &[(S, BITS)]);
    let out = h.from_outside(&tcp(C2.ip(), 51000, H, 8080, SYN));
    assert_eq!(out.dropped(), Some(DropReason::Martian));
}

#[test]
fn a_flow_that_is_still_allowed_stays_untouched() {
    let mut h = Host::new();
    established_inbound(&mut h, 51000);
    let before: Vec<_> = h.tables.entries();
    h.tables.allow(RULE_WEB, &[NET_OF_S]);
    // The container speaks first: without its flow this would leave from another port.
    let out = h.from(&C1, &tcp(C1.ip(), 80, S, 51000, ACK));
    assert_eq!(out.to_uplink(), said("tcp H:8080 > S:51000"));
    let out = h.from_outside(&tcp(S, 51000, H, 8080, ACK));
    let _ = out.to_container(&C1);
    let after: Vec<_> = h.tables.entries();
    assert_eq!(before.len(), after.len());
    for ((k, old), (l, new)) in before.iter().zip(&after) {
        assert_eq!((k, old.state, old.created), (l, new.state, new.created));
        assert_ne!(old.generation, new.generation, "judged once");
        assert!(new.packets > old.packets);
    }
    assert_eq!(h.tables.counter(Counter::FlowNew), 1);
    assert_eq!(h.tables.counter(Counter::FlowRemoved), 0);
    // Once more, and back to everybody.
    h.tables.allow(RULE_WEB, &[(S, BITS)]);
    h.tables.allow(RULE_WEB, &[]);
    let out = h.from_outside(&tcp(S, 51000, H, 8080, ACK));
    let _ = out.to_container(&C1);
    assert_eq!(h.tables.counter(Counter::FlowNew), 1);
}

#[test]
fn a_flow_that_is_no_longer_allowed_ends_with_the_next_packet() {
    let mut h = Host::new();
    established_inbound(&mut h, 51000);
    h.tables.allow(RULE_WEB, &[(S2, BITS)]);
    let out = h.from_outside(&tcp(S, 51000, H, 8080, ACK));
    assert_eq!(out.dropped(), Some(DropReason::NotAllowed));
    assert!(h.tables.entries().is_empty());
    // The container's word does not keep it either.
    h.tables.allow(RULE_WEB, &[]);
    established_inbound(&mut h, 51001);
    h.tables.allow(RULE_WEB, &[(S2, BITS)]);
    let out = h.from(&C1, &tcp(C1.ip(), 80, S, 51001, FIN | ACK));
    assert_eq!(out.dropped(), Some(DropReason::TcpNotSyn));
    assert!(h.tables.entries().is_empty());
}

#[test]
fn the_collector_takes_what_is_no_longer_allowed_and_nothing_else() {
    let mut h = Host::new();
    established_inbound(&mut h, 51000);
    h.tables.allow(RULE_WEB, &[(S, BITS)]);
    for (key, _) in h.tables.entries() {
        assert!(!collect(&h.tables, &key, false));
    }
    h.tables.allow(RULE_WEB, &[(S2, BITS)]);
    let taken = h.tables.entries();
    let taken = taken
        .iter()
        .filter(|(key, _)| collect(&h.tables, key, false));
    assert_eq!(taken.count(), 1);
    assert!(h.tables.entries().is_empty());
}

#[test]
fn another_change_than_the_list_s_ends_the_flow_whatever_the_list() {
    for change in 0..3 {
        let mut h = Host::new();
        established_inbound(&mut h, 51000);
        h.tables.allow(RULE_WEB, &[(S, BITS)]);
        match change {
            0 => h.tables.endpoints[usize::from(C1.slot)].generation += 1,
            1 => h.tables.uplinks[usize::from(UPLINK)].generation += 1,
            _ => h.tables.rules[usize::from(RULE_WEB)].generation += 1,
        }
        let out = h.from_outside(&tcp(S, 51000, H, 8080, FIN | ACK));
        assert_eq!(out.dropped(), Some(DropReason::TcpNotSyn), "{change}");
        assert!(h.tables.entries().is_empty());
    }
}

proptest! {
    /// A list holds what a naive comparison of its prefixes holds.
    #[test]
    fn a_client_is_let_in_by_the_longest_prefix_or_any(
        list in prop::collection::vec((any::<[u8; 2]>(), 0..=32u8), 1..6),
        client in any::<[u8; 2]>(),
    ) {
        let mut h = Host::new();
        // Clients of the outside, near to each other.
        let near = |[a, b]: [u8; 2]| {
            let mut addr = S;
            addr[addr.len() - 2] = a & 3;
            addr[addr.len() - 1] = b;
            addr
        };
        let as_bits = |a: Addr| a.map(|b| format!("{b:08b}")).concat();
        let client = near(client);
        let list: Vec<_> = list
            .iter()
            .map(|(tail, short)| {
                let (mut net, len) = (near(*tail), BITS - short);
                for bit in len..BITS {
                    net[usize::from(bit / 8)] &= !(0x80 >> (bit % 8));
                }
                (net, len)
            })
            .collect();
        let holds = |(net, len): &(Addr, u8)| {
            let n = usize::from(*len);
            as_bits(*net)[..n] == as_bits(client)[..n]
        };
        let want = list.iter().any(holds);
        h.tables.allow(RULE_WEB, &list);
        prop_assert_eq!(h.tables.is_listed(&SourceKey::of(RULE_WEB, client)), want);
        let out = h.from_outside(&tcp(client, 51000, H, 8080, SYN));
        if want {
            let _ = out.to_container(&C1);
        } else {
            prop_assert_eq!(out.dropped(), Some(DropReason::NotAllowed));
        }
        prop_assert_eq!(h.tables.entry_count(), if want { 2 } else { 0 });
    }
}
