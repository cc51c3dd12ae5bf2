//! Several endpoints behind one published port.

use std::collections::BTreeMap;

use netpath_common::{
    DropReason,
    conntrack::tcp::SYN,
    publish::{Backend, Backends, place_of},
    records::{NETWORK_INTERNAL, Published, PublishedKey},
    tuple::TCP,
};

use super::family::*;

const GROUP: u16 = 1;
const ALL: [Container; 3] = [C1, C2, C3];

/// Publishes 9000 to 9009 for these containers' ports from 80 on, rules 10, 11 and 12.
fn shared(h: &mut Host, by: &[Container]) {
    let key = PublishedKey {
        addr: Addr::default(),
        port: 9000,
        proto: TCP,
        zero: 0,
    };
    let to = Published {
        last: 9009,
        group: GROUP,
        ..Published::default()
    };
    let mut backends = Backends::default();
    for c in by {
        let i = usize::from(c.slot) - 1;
        backends.list[i] = Backend {
            endpoint: c.slot,
            rule: 10 + i as u16,
            port: 80,
            zero: 0,
        };
    }
    backends.fill();
    h.tables.backends[usize::from(GROUP)] = backends;
    h.tables.set_published(key, to);
}

/// The container that a SYN from this port of the client goes to.
fn to(h: &mut Host, sport: u16) -> usize {
    let out = h.from_outside(&tcp(S, sport, H, 9003, SYN));
    let text = out.text();
    let who = (0..ALL.len()).find(|i| text == said(&format!("tcp S:{sport} > C{}:83", i + 1)));
    let who = who.unwrap_or_else(|| panic!("{:?}: {text}", out.result));
    let _ = out.to_container(&ALL[who]);
    who
}

const CLIENTS: std::ops::Range<u16> = 40_000..40_300;

fn spread(h: &mut Host) -> BTreeMap<u16, usize> {
    CLIENTS.map(|sport| (sport, to(h, sport))).collect()
}

#[test]
fn flows_are_spread_and_stay() {
    let mut h = Host::new();
    shared(&mut h, &ALL);
    let first = spread(&mut h);
    for who in 0..3 {
        let share = first.values().filter(|w| **w == who).count();
        assert!((60..=140).contains(&share), "{who}: {share} of 300");
    }
    // One goes: its flows end, nobody else's do, and new ones of the others stay where they were.
    shared(&mut h, &[C1, C3]);
    h.tables.rules[11].generation += 1;
    for (sport, who) in &first {
        let now = to(&mut h, *sport);
        assert!(now != 1 && (now == *who || *who == 1), "{sport}: {now}");
    }
    let mut fresh = Host::new();
    shared(&mut fresh, &[C1, C3]);
    for (sport, who) in &first {
        let now = to(&mut fresh, *sport);
        assert!(
            now == *who || *who == 1,
            "{sport} moved from {who} to {now}"
        );
    }
}

#[test]
fn one_more_takes_its_share_of_new_flows_only() {
    let mut h = Host::new();
    shared(&mut h, &[C1, C2]);
    let first = spread(&mut h);
    assert!(first.values().all(|who| *who < 2));
    shared(&mut h, &ALL);
    for (sport, who) in &first {
        assert_eq!(to(&mut h, *sport), *who, "an open flow stays");
    }
    let mut fresh = Host::new();
    shared(&mut fresh, &ALL);
    let moved = first
        .iter()
        .filter(|(sport, who)| {
            let now = to(&mut fresh, **sport);
            assert!(now == **who || now == 2);
            now == 2
        })
        .count();
    assert!((60..=140).contains(&moved), "{moved} of 300");
}

/// What a dead backend had goes where it would go with the backend removed.
fn assert_avoided(h: &mut Host, dead: usize) {
    let mut without = Host::new();
    let rest: Vec<Container> = ALL.into_iter().filter(|c| *c != ALL[dead]).collect();
    shared(&mut without, &rest);
    for sport in CLIENTS {
        assert_eq!(to(h, sport), to(&mut without, sport), "{sport}");
    }
}

#[test]
fn a_dead_backend_is_avoided_without_user_space() {
    let mut h = Host::new();
    shared(&mut h, &ALL);
    h.tables.remove_container(&C2);
    assert_avoided(&mut h, 1);
    // The record is still there, the interface went with its container.
    let mut h = Host::new();
    shared(&mut h, &ALL);
    h.tables.gone.insert(C1.ifindex);
    assert_avoided(&mut h, 0);
    let mut h = Host::new();
    shared(&mut h, &ALL);
    h.tables.networks[usize::from(NET2)].flags |= NETWORK_INTERNAL;
    assert_avoided(&mut h, 2);
}

#[test]
fn with_all_of_them_dead_nothing_is_delivered() {
    let mut h = Host::new();
    shared(&mut h, &[C1]);
    h.tables.remove_container(&C1);
    let out = h.from_outside(&tcp(S, 40_000, H, 9000, SYN));
    assert_eq!(out.dropped(), Some(DropReason::NoConfig));
    shared(&mut h, &[]);
    let out = h.from_outside(&tcp(S, 40_000, H, 9000, SYN));
    assert!(out.passed(), "the host's stack refuses it");
}

#[test]
fn each_backend_has_its_own_allow_list() {
    let mut h = Host::new();
    shared(&mut h, &ALL);
    h.tables.allow(10, &[(S2, BITS)]);
    let seen = spread(&mut h);
    assert!(seen.values().all(|who| *who != 0), "not for this client");
    for rule in [11, 12] {
        h.tables.allow(rule, &[(S2, BITS)]);
    }
    let out = h.from_outside(&tcp(S, 50_000, H, 9003, SYN));
    assert_eq!(out.dropped(), Some(DropReason::NotAllowed));
}

#[test]
fn the_dead_are_no_more_open_than_the_living() {
    let mut h = Host::new();
    shared(&mut h, &[C1]);
    h.tables.allow(10, &[(S2, BITS)]);
    h.tables.gone.insert(C1.ifindex);
    let out = h.from_outside(&tcp(S, 50_000, H, 9003, SYN));
    assert_eq!(out.dropped(), Some(DropReason::NotAllowed));
    assert_eq!(h.tables.entry_count(), 0, "no flow was made");
    let out = h.from_outside(&tcp(S2, 50_000, H, 9003, SYN));
    let _ = out.to_container(&C1);
}

#[test]
fn a_neighbour_behind_the_port_is_not_sent_to_itself_twice() {
    let mut h = Host::new();
    shared(&mut h, &[C1, C2]);
    let mut itself = 0;
    for sport in CLIENTS {
        let out = h.from(&C2, &tcp(C2.ip(), sport, H, 9000, SYN));
        let text = out.text();
        let place = place_of(&C2.ip(), sport, &H, 9000);
        let index = h.tables.backends[usize::from(GROUP)].table[place as usize];
        if index == 1 {
            itself += 1;
            assert_eq!(text, said(&format!("tcp GW1:{sport} > C2:80")));
        } else {
            assert_eq!(text, said(&format!("tcp C2:{sport} > C1:80")));
        }
    }
    assert!((90..=210).contains(&itself), "{itself} of 300");
}
