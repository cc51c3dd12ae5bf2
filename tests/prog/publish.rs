//! Ranges, allow lists and shared ports by the real program: the kernel's trie, array and loop.

use netpath_common::{
    conntrack::tcp::{ACK, SYN},
    event::Hook,
    publish::{Backend, Backends},
    records::{Published, PublishedKey},
    testing::*,
    tuple::{TCP, UDP},
};
use netpath_tests::runner::{NEXT, REDIRECT, Runner, SHOT};

use crate::{Case, arrived, delivered, sent};

const NEW_IN: &[(&str, u64)] = &[("flow-new", 1), ("to-endpoint", 1)];

fn to(name: &'static str, input: (Hook, Frame), c: &Container, packet: &Datagram) -> Case {
    Case {
        name,
        input,
        action: REDIRECT,
        output: delivered(c, packet),
        counters: NEW_IN,
    }
}

#[test]
fn every_port_of_a_range_leads_to_its_own() {
    let mut r = Runner::new();
    r.tables.unpublish(UDP, 5353, RULE_DNS);
    // Starts are of both families.
    r.tables6.unpublish(UDP, 5353, RULE_DNS);
    r.tables
        .publish_range([0; 4], (100, u16::MAX), UDP, (&C2, 50), 3);
    r.sync();
    for port in [100, 127, 128, 4096, 8192, 40_000, u16::MAX] {
        let question = arrived(&udp(S, 51_000, H, port, b"?"));
        let inside = udp(S, 51_000, C2.addr, port - 50, b"?").ttl(63);
        to("a port of the range", question, &C2, &inside).check(&mut r);
    }
    Case::pass("below it", arrived(&udp(S, 51_000, H, 99, b"?"))).check(&mut r);
}

#[test]
fn a_list_lets_in_what_a_naive_look_at_its_prefixes_does() {
    let mut r = Runner::new();
    let mut random = 1u64;
    let mut draw = |below: u64| {
        random = random
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (random >> 33) % below
    };
    let (mut let_in, mut refused) = (0, 0);
    for _ in 0..40 {
        let list: Vec<(Addr, u8)> = (0..1 + draw(5))
            .map(|_| {
                let len = (8 + draw(25)) as u8;
                let net = 0xc633_0000 | draw(0x400) as u32;
                let mask = u32::MAX << (32 - len);
                ((net & mask).to_be_bytes(), len)
            })
            .collect();
        r.tables.allow(RULE_DNS, &list);
        r.sync();
        for _ in 0..20 {
            let client = 0xc633_0000 | draw(0x400) as u32;
            let holds = |(net, len): &(Addr, u8)| {
                (client ^ u32::from_be_bytes(*net)).leading_zeros() >= u32::from(*len)
            };
            let want = if list.iter().any(holds) {
                let_in += 1;
                REDIRECT
            } else {
                refused += 1;
                SHOT
            };
            let sport = 1024 + draw(60_000) as u16;
            let (hook, frame) = arrived(&udp(client.to_be_bytes(), sport, H, 5353, b"?"));
            let ran = r.run(hook, &frame);
            assert_eq!(ran.action, want, "{:?} by {list:?}", client.to_be_bytes());
        }
    }
    assert!(let_in > 100 && refused > 100, "{let_in} and {refused}");
    assert_eq!(r.counters()["not-allowed"], refused);
}

#[test]
fn neighbours_are_judged_by_their_own_address() {
    let mut r = Runner::new();
    r.tables.allow(RULE_WEB, &[(C2.addr, 32)]);
    r.sync();
    let own = sent(&C1, &tcp(C1.addr, 50_000, H, 8080, SYN));
    Case::drop("itself", own, &[("not-allowed", 1)]).check(&mut r);
    let outside = arrived(&tcp(S, 50_000, H, 8080, SYN));
    Case::drop("the outside", outside, &[("not-allowed", 1)]).check(&mut r);
    let neighbour = sent(&C2, &tcp(C2.addr, 50_000, H, 8080, SYN));
    let inside = tcp(C2.addr, 50_000, C1.addr, 80, SYN).ttl(63);
    to("a neighbour", neighbour, &C1, &inside).check(&mut r);
    // A changed list: the flow goes on, then it does not.
    r.tables.allow(RULE_WEB, &[(C2.addr, 16)]);
    r.sync();
    let again = sent(&C2, &tcp(C2.addr, 50_000, H, 8080, SYN));
    Case {
        counters: &[("to-endpoint", 1)],
        ..to("still allowed", again.clone(), &C1, &inside)
    }
    .check(&mut r);
    r.tables.allow(RULE_WEB, &[(S, 32)]);
    r.sync();
    let gone: &[(&str, u64)] = &[("not-allowed", 1), ("flow-removed", 1)];
    Case::drop("no longer", again, gone).check(&mut r);
}

#[test]
fn a_shared_port_goes_where_the_logic_says_and_never_to_the_dead() {
    let mut r = Runner::new();
    let mut backends = Backends::default();
    for (index, c) in [(0, C1), (5, C2)] {
        backends.list[index] = Backend {
            endpoint: c.slot,
            rule: 10 + index as u16,
            port: 80,
            zero: 0,
        };
    }
    backends.fill();
    r.tables.backends[1] = backends;
    let key = PublishedKey {
        addr: [0; 4],
        port: 9000,
        proto: TCP,
        zero: 0,
    };
    let shared = Published {
        last: 9009,
        group: 1,
        ..Published::default()
    };
    r.tables.set_published(key, shared);
    r.sync();
    for alive in [true, false] {
        if !alive {
            // Its interface goes, the records stay: no process of user space has noticed.
            r.ip("link del c2");
        }
        let mut of_second = 0;
        for sport in 40_000..40_060 {
            let mut host = Host::new();
            host.tables.backends[1] = backends;
            host.tables.set_published(key, shared);
            if !alive {
                host.tables.gone.insert(C2.ifindex);
            }
            let packet = tcp(S, sport + if alive { 0 } else { 100 }, H, 9004, SYN);
            let out = host.from_outside(&packet);
            let (hook, frame) = arrived(&packet);
            let ran = r.run(hook, &frame);
            assert_eq!(ran.action, REDIRECT, "{sport}");
            assert_eq!(ran.bytes[26..38], out.frame.bytes[26..38], "{sport}");
            of_second += u32::from(ran.bytes[33] == C2.addr[3]);
        }
        assert_eq!((10..50).contains(&of_second), alive, "{of_second} of 60");
        assert!(alive || of_second == 0);
    }
}

#[test]
fn every_packet_of_a_published_port_is_counted_for_its_rule() {
    let mut r = Runner::dual();
    let counted = |r: &Runner, rule| {
        let s = r.rule_stats(rule);
        (s.packets, s.bytes)
    };
    let mut want = (0, 0);
    let mut run = |r: &mut Runner, (hook, frame): (Hook, Frame), counts: bool| {
        assert_eq!(r.run(hook, &frame).action, REDIRECT);
        if counts {
            want.0 += 1;
            want.1 += frame.bytes.len() as u64;
        }
        assert_eq!(counted(r, RULE_WEB), want);
    };
    run(&mut r, arrived(&tcp(S, 51_000, H, 8080, SYN)), true);
    let answer = sent(&C1, &tcp(C1.addr, 80, S, 51_000, SYN | ACK));
    run(&mut r, answer, true);
    let data = tcp_data(S, 51_000, H, 8080, ACK, b"question");
    run(&mut r, arrived(&data), true);
    // A container's own flow, and a port that nobody publishes.
    run(&mut r, sent(&C1, &tcp(C1.addr, 40_000, S, 443, SYN)), false);
    let (hook, frame) = arrived(&tcp(S, 51_000, H, 8081, SYN));
    assert_eq!(r.run(hook, &frame).action, NEXT);
    // The same rule of the other family.
    let syn = crate::ipv6::arrived(&tcp6(S6, 51_000, H6, 8080, SYN));
    run(&mut r, syn, true);
    assert_eq!(counted(&r, RULE_DNS), (0, 0));
}
