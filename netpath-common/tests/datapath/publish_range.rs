//! Published ranges: one entry whatever their width, the specific address first.

use std::collections::{BTreeMap, HashMap};

use netpath_common::{
    DropReason,
    conntrack::tcp::{ACK, SYN},
    publish::{self, Answer, Asked, Lookup, Target, change, find, starts_index, starts_of},
    records::{Published, PublishedKey},
    tuple::{SCTP, TCP, UDP},
};

use super::family::*;
use proptest::prelude::*;

const ANY: Addr = [0; BITS as usize / 8];

const LO: Addr = LOOPBACK[0];

type Binding = publish::Binding<Addr>;

#[test]
fn a_range_keeps_its_offset() {
    let mut h = Host::new();
    h.tables
        .publish_range(ANY, (9000, 9100), UDP, (&C1, 7000), 3);
    for (port, inside) in [(9000, 7000), (9063, 7063), (9064, 7064), (9100, 7100)] {
        let out = h.from_outside(&udp(S, 51000, H, port, b"?"));
        let want = said(&format!("udp S:51000 > C1:{inside}"));
        assert_eq!(out.to_container(&C1), want);
        let back = h.from(&C1, &udp(C1.ip(), inside, S, 51000, b"!"));
        let want = said(&format!("udp H:{port} > S:51000"));
        assert_eq!(back.to_uplink(), want);
    }
    for port in [8999, 9101] {
        assert!(h.from_outside(&udp(S, 51000, H, port, b"?")).passed());
        // Reserved by something else: looked up, and not found.
        h.tables.set_reserved(UDP, port, true);
        assert!(h.from_outside(&udp(S, 51000, H, port, b"?")).passed());
    }
    let other = h.from_outside(&tcp(S, 51000, H, 9050, SYN));
    assert!(other.passed(), "UDP alone is published");
}

#[test]
fn every_port_is_one_entry() {
    let mut h = Host::new();
    h.tables.unpublish(UDP, 5353, RULE_DNS);
    let before = h.tables.published.len();
    h.tables.publish_range(ANY, (1, u16::MAX), UDP, (&C2, 1), 3);
    assert_eq!(h.tables.published.len(), before + 1);
    for port in [1, 2, 63, 64, 5352, 40_000, u16::MAX] {
        let out = h.from_outside(&udp(S, 51000, H, port, b"?"));
        let want = said(&format!("udp S:51000 > C2:{port}"));
        assert_eq!(out.to_container(&C2), want);
    }
    // No port is left for masquerade.
    let out = h.from(&C1, &udp(C1.ip(), 40_000, S, 53, b"?"));
    assert_eq!(out.dropped(), Some(DropReason::NoPort));
}

#[test]
fn a_specific_address_within_a_range_of_any() {
    let mut h = Host::new();
    h.tables.host_addrs.insert(H2);
    let (wide, single) = (
        binding(ANY, (9000, 9100), TCP, 3),
        binding(H2, (9050, 9050), TCP, 4),
    );
    apply(&mut h.tables, &[wide, single]);
    for (sport, dst, port) in [(51000, H2, 9050), (51001, H, 9050), (51002, H2, 9051)] {
        let out = h.from_outside(&tcp(S, sport, dst, port, SYN));
        let want = said(&format!("tcp S:{sport} > C1:{port}"));
        assert_eq!(out.to_container(&C1), want);
    }
    let rule = |t: &MemTables, dst, port| look(t, dst, port, TCP).map(|t| t.rule);
    assert_eq!(rule(&h.tables, H2, 9050), Some(4));
    assert_eq!(rule(&h.tables, H, 9050), Some(3));
    assert_eq!(rule(&h.tables, H2, 9051), Some(3));
    assert_eq!(rule(&h.tables, H2, 9101), None);
}

#[test]
fn loopback_is_never_reached_from_outside() {
    let mut h = Host::new();
    h.tables.publish_range(LO, (9000, 9000), TCP, (&C1, 80), 3);
    let own = h.from_outside(&tcp(S, 51000, H, 9000, SYN));
    assert!(own.passed(), "not published at this address");
    for flags in [SYN, ACK] {
        let out = h.from_outside(&tcp(S, 51000, LO, 9000, flags));
        assert_eq!(out.dropped(), Some(DropReason::Martian));
        let out = h.from(&C2, &tcp(C2.ip(), 51000, LO, 9000, flags));
        assert_eq!(out.dropped(), Some(DropReason::Martian));
    }
    assert!(h.tables.entries().is_empty());
}

/// A binding to the first container, at the same port.
fn binding(addr: Addr, (first, last): (u16, u16), proto: u8, rule: u16) -> Binding {
    Binding {
        key: PublishedKey {
            addr,
            port: first,
            proto,
            zero: 0,
        },
        to: Published {
            addr: C1.ip(),
            port: first,
            endpoint: C1.slot,
            rule,
            last,
            ..Published::default()
        },
    }
}

/// Writes the entries of these and no others.
fn apply(t: &mut MemTables, all: &[Binding]) {
    let starts = starts_of(all.iter().map(|b| (b.key.proto, b.key.port)));
    t.published.clear();
    for b in all {
        for (key, to) in b.entries(&starts) {
            t.set_published(key, to);
        }
    }
    t.starts = starts.to_vec();
}

fn look(t: &MemTables, dst: Addr, port: u16, proto: u8) -> Option<Target<Addr>> {
    let mut look = Lookup::new(Asked {
        dst,
        src: S,
        dport: port,
        sport: 1,
        proto,
        exact: false,
    });
    match find(t, &mut look) {
        Answer::Found => Some(look.target),
        Answer::Nothing => None,
        Answer::NotAllowed => panic!("no list, and nobody allowed"),
    }
}

/// Where a port leads, by looking at every range.
fn naive(all: &[Binding], dst: Addr, port: u16, proto: u8) -> Option<(u16, u16)> {
    let at = |addr| {
        all.iter().find(|b| {
            let range = b.key.port..=b.to.last;
            b.key.addr == addr && b.key.proto == proto && range.contains(&port)
        })
    };
    let b = at(dst).or_else(|| at(ANY))?;
    Some((b.to.rule, port - b.key.port + b.to.port))
}

/// Ranges that do not meet at one address.
fn bindings() -> impl Strategy<Value = Vec<Binding>> {
    let port = prop_oneof![3 => 60..200_u16, 1 => any::<u16>()];
    let width = prop_oneof![3 => Just(0_u16), 3 => 0..80_u16, 1 => any::<u16>()];
    let addr = prop::sample::select(vec![ANY, H, H2, LO]);
    let proto = prop::sample::select(vec![TCP, TCP, UDP, SCTP]);
    prop::collection::vec((addr, port, width, proto), 0..14).prop_map(|all| {
        let mut out: Vec<Binding> = Vec::new();
        for (rule, (addr, first, width, proto)) in (1..).zip(all) {
            let b = binding(addr, (first, first.saturating_add(width)), proto, rule);
            let meets = |o: &Binding| {
                (o.key.addr, o.key.proto) == (addr, proto)
                    && o.key.port <= b.to.last
                    && first <= o.to.last
            };
            if !out.iter().any(meets) {
                out.push(b);
            }
        }
        out
    })
}

/// Ports that could tell a fault: both ends of every range, and their neighbours.
fn edges(all: &[Binding]) -> Vec<u16> {
    let ends = all.iter().flat_map(|b| [b.key.port, b.to.last]);
    ends.flat_map(|p| [p.wrapping_sub(1), p, p.wrapping_add(1)])
        .chain([0, 100, u16::MAX])
        .collect()
}

fn check(t: &MemTables, all: &[Binding], ports: &[u16]) -> Result<(), TestCaseError> {
    for port in ports {
        for dst in [H, H2, LO, C1.ip()] {
            for proto in [TCP, UDP, SCTP] {
                let found = look(t, dst, *port, proto).map(|t| (t.rule, t.port));
                let want = naive(all, dst, *port, proto);
                prop_assert_eq!(found, want, "{:?} port {} of {}", dst, port, proto);
            }
        }
    }
    Ok(())
}

proptest! {
    #[test]
    fn the_look_up_is_a_naive_search_s(all in bindings()) {
        let mut t = MemTables::new(1);
        apply(&mut t, &all);
        check(&t, &all, &edges(&all))?;
        // One entry a range, and one more for each start within another one.
        let starts = starts_of(all.iter().map(|b| (b.key.proto, b.key.port)));
        let within = |b: &Binding| {
            let starts = &starts[starts_index(b.key.proto).unwrap() as usize];
            (b.key.port..=b.to.last).filter(|p| starts.has(*p)).count()
        };
        prop_assert_eq!(t.published.len(), all.iter().map(within).sum::<usize>());
    }

    /// A change leads to what would have been written at once, and at no moment on the way is a range
    /// that stays not found.
    #[test]
    fn a_change_disturbs_nothing_that_stays(all in bindings(), bits in any::<u32>()) {
        let fate = |i: usize| bits >> (2 * i) & 3;
        let pick = |f: fn(u32) -> bool| -> Vec<Binding> {
            let chosen = all.iter().enumerate().filter(|(i, _)| f(fate(*i)));
            chosen.map(|(_, b)| *b).collect()
        };
        let (gone, come) = (pick(|f| f == 0), pick(|f| f == 1));
        let stay = pick(|f| f >= 2);
        let old: Vec<Binding> = [&stay[..], &gone].concat();
        let new: Vec<Binding> = [&stay[..], &come].concat();
        let firsts = |all: &[Binding]| {
            starts_of(all.iter().map(|b| (b.key.proto, b.key.port)).collect::<Vec<_>>())
        };
        let (before, after) = (firsts(&old), firsts(&new));
        let mut t = MemTables::new(1);
        apply(&mut t, &old);
        let ports = edges(&all);
        // What stays is found as long as nothing more specific comes or goes.
        let specific = |dst: Addr, port: u16, proto: u8| {
            naive(&old, dst, port, proto) == naive(&new, dst, port, proto)
        };
        let steady = |t: &MemTables| -> Result<(), TestCaseError> {
            for port in &ports {
                for (dst, proto) in [(H, TCP), (H2, TCP), (H, UDP), (LO, SCTP)] {
                    let want = naive(&old, dst, *port, proto);
                    if specific(dst, *port, proto) && want == naive(&stay, dst, *port, proto) {
                        let found = look(t, dst, *port, proto).map(|t| (t.rule, t.port));
                        prop_assert_eq!(found, want, "{:?} port {} of {}", dst, port, proto);
                    }
                }
            }
            Ok(())
        };
        let change = change(&gone, &come, stay.iter().copied(), (&before, &after));
        t.published.extend(change.write.iter().copied());
        steady(&t)?;
        let all: Vec<_> = before.iter().zip(&after).map(|(b, a)| b.union(a)).collect();
        t.starts = all.iter().zip(&before).map(|(all, b)| all.with_levels_of(b)).collect();
        steady(&t)?;
        t.starts = all.clone();
        steady(&t)?;
        t.starts = all.iter().zip(&after).map(|(all, a)| all.with_levels_of(a)).collect();
        steady(&t)?;
        t.starts = after.to_vec();
        steady(&t)?;
        for key in &change.remove {
            prop_assert!(t.published.remove(key).is_some(), "{:?} is not there", key);
        }
        check(&t, &new, &ports)?;
        let mut anew = MemTables::new(1);
        apply(&mut anew, &new);
        let sorted = |of: &HashMap<PublishedKey<Addr>, Published<Addr>>| -> BTreeMap<_, _> {
            of.iter().map(|(k, v)| ((k.addr, k.proto, k.port), *v)).collect()
        };
        prop_assert_eq!(sorted(&t.published), sorted(&anew.published));
    }
}
