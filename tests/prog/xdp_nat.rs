//! The XDP program of an uplink that translates: bytes, counters and flows, beside the tc program's.

use netpath_common::{
    Tuple,
    conntrack::{
        CtEntry,
        tcp::{ACK, FIN, PSH, SYN},
    },
    event::Hook,
    records::NETWORK_XDP,
    testing::*,
};
use netpath_tests::{
    runner::{REDIRECT, Runner},
    test_run::{Input, Output},
};

/// `enum xdp_action`.
const DROP: i32 = 1;
const PASS: i32 = 2;
const XDP_REDIRECT: i32 = 4;

fn runner() -> Runner {
    let mut r = Runner::new();
    r.tables.networks[usize::from(NET1)].flags |= NETWORK_XDP;
    r.sync();
    r
}

/// Runs the program.
fn nat(r: &Runner, frame: &Frame) -> Output {
    let input = Input::new(&frame.bytes, frame.ifindex);
    let out = r
        .test_run("np_uplink_xdp_nat", &input)
        .expect("the program runs");
    if out.action != DROP {
        let after = Frame {
            bytes: out.bytes.clone(),
            ..frame.clone()
        };
        assert_eq!(judge(frame, &after), Ok(()));
    }
    out
}

fn arrived(p: &Datagram) -> Frame {
    p.frame(ROUTER_MAC, UPLINK_MAC, UPLINK_IF)
}

fn sent(p: &Datagram) -> Frame {
    p.frame(C1.mac, BRIDGE1_MAC, C1.ifindex)
}

#[track_caller]
fn out(r: &mut Runner, p: &Datagram) {
    assert_eq!(r.run(Hook::Veth, &sent(p)).action, REDIRECT);
}

/// A connection and a question, from a container and to its published ports.
fn flows(r: &mut Runner) {
    out(r, &tcp(C1.addr, 40000, S, 443, SYN));
    out(r, &udp(C1.addr, 5000, S, 53, b"?"));
    out(r, &query(C1.addr, S, 8, 7));
    for p in [tcp(S, 51000, H, 8080, SYN), udp(S, 51000, H, 5353, b"?")] {
        let new = nat(r, &arrived(&p));
        assert_eq!(new.action, PASS, "a new flow is tc's");
        assert_eq!(new.bytes, arrived(&p).bytes);
        assert_eq!(r.run(Hook::UplinkIngress, &arrived(&p)).action, REDIRECT);
    }
    out(r, &tcp(C1.addr, 80, S, 51000, SYN | ACK));
    out(r, &udp(C1.addr, 53, S, 51000, b"!"));
}

/// What a container gets, built anew: every checksum is computed in full.
fn delivered(p: &Datagram) -> Vec<u8> {
    p.clone()
        .ttl(63)
        .frame(BRIDGE1_MAC, C1.mac, C1.ifindex)
        .bytes
}

#[test]
fn packets_of_live_flows_are_rewritten_counted_and_redirected() {
    let mut r = runner();
    flows(&mut r);
    let big = vec![0xa5; 1460];
    for (arrives, gets) in [
        (
            tcp(S, 443, H, 40000, SYN | ACK),
            tcp(S, 443, C1.addr, 40000, SYN | ACK),
        ),
        (
            tcp_data(S, 443, H, 40000, ACK | PSH, &big),
            tcp_data(S, 443, C1.addr, 40000, ACK | PSH, &big),
        ),
        (
            tcp_data(S, 443, H, 40000, ACK | PSH, b"odd"),
            tcp_data(S, 443, C1.addr, 40000, ACK | PSH, b"odd"),
        ),
        (
            udp(S, 53, H, 5000, b"answer"),
            udp(S, 53, C1.addr, 5000, b"answer"),
        ),
        (
            udp_without_checksum(S, 53, H, 5000, b"answer"),
            udp_without_checksum(S, 53, C1.addr, 5000, b"answer"),
        ),
        (query(S, H, 0, 7), query(S, C1.addr, 0, 7)),
        (tcp(S, 51000, H, 8080, ACK), tcp(S, 51000, C1.addr, 80, ACK)),
        (
            udp(S, 51000, H, 5353, b"more"),
            udp(S, 51000, C1.addr, 53, b"more"),
        ),
        (
            tcp(S, 443, H, 40000, FIN | ACK),
            tcp(S, 443, C1.addr, 40000, FIN | ACK),
        ),
    ] {
        let frame = arrived(&arrives);
        let name = describe(&frame);
        let (before, received) = (r.counters(), r.received());
        let ran = nat(&r, &frame);
        assert_eq!(ran.action, XDP_REDIRECT, "{name}");
        assert_eq!(ran.bytes, delivered(&gets), "{name}");
        let counted = crate::change(&before, &r.counters());
        let counted: Vec<_> = counted.into_iter().collect();
        assert_eq!(
            counted,
            [("to-endpoint", 1), ("translated-in-xdp", 1)],
            "{name}"
        );
        let mut want = received;
        want[usize::from(C1.slot)] += 1;
        assert_eq!(r.received(), want, "{name}");
    }
}

#[test]
fn padding_stays_behind_a_short_packet() {
    let mut r = runner();
    flows(&mut r);
    let mut frame = arrived(&udp(S, 53, H, 5000, b"a"));
    frame.bytes.resize(60, 0);
    let ran = nat(&r, &frame);
    let mut want = delivered(&udp(S, 53, C1.addr, 5000, b"a"));
    want.resize(60, 0);
    assert_eq!((ran.action, ran.bytes), (XDP_REDIRECT, want));
}

/// Every flow without its times.
fn timeless(r: &Runner) -> Vec<(Tuple, CtEntry)> {
    let mut flows = r.flows();
    for (_, e) in &mut flows {
        (e.stamp, e.created) = (0, 0);
        // The salt is random.
        e.state &= 0xff;
    }
    flows.sort_by_key(|(key, _)| (key.src, key.dst, key.proto, key.sport, key.dport));
    flows
}

#[test]
fn flows_become_what_they_become_at_tc() {
    let lives = [true, false].map(|early| {
        let mut r = runner();
        flows(&mut r);
        let arrive = |r: &mut Runner, p: &Datagram| {
            let frame = arrived(p);
            if early {
                assert_eq!(nat(r, &frame).action, XDP_REDIRECT);
            } else {
                assert_eq!(r.run(Hook::UplinkIngress, &frame).action, REDIRECT);
            }
        };
        for flags in [SYN | ACK, ACK | PSH, ACK, FIN | ACK, ACK] {
            arrive(&mut r, &tcp(S, 443, H, 40000, flags));
            out(&mut r, &tcp(C1.addr, 40000, S, 443, ACK));
        }
        for _ in 0..3 {
            arrive(&mut r, &udp(S, 53, H, 5000, b"answer"));
        }
        timeless(&r)
    });
    assert_eq!(lives[0], lives[1]);
    let packets = |key: u16| {
        let found = lives[0].iter().find(|(k, _)| k.dport == key && k.src == S);
        found.map(|(_, e)| e.packets)
    };
    assert_eq!((packets(40000), packets(5000)), (Some(5), Some(3)));
}

#[test]
fn everything_else_passes_as_it_is() {
    let mut r = runner();
    flows(&mut r);
    out(&mut r, &udp(C1.addr, 5000, S, 53, b"?"));
    let c3 = udp(C3.addr, 6000, S, 53, b"?");
    r.run(Hook::Veth, &c3.frame(C3.mac, BRIDGE2_MAC, C3.ifindex));
    let answer = |len: usize| udp(S, 53, H, 5000, &vec![1; len]);
    let mut unfinished = arrived(&udp(S, 53, H, 5000, b"answer"));
    let words = [S, H].concat();
    let sum = words
        .chunks(2)
        .map(|w| u32::from(u16::from_be_bytes([w[0], w[1]])))
        .sum::<u32>()
        + 17
        + 14;
    let sum = ((sum & 0xffff) + (sum >> 16)) as u16;
    unfinished.bytes[40..42].copy_from_slice(&sum.to_be_bytes());
    for (name, frame) in [
        ("TTL", arrived(&answer(9).ttl(1))),
        ("MTU", arrived(&answer(1473))),
        ("several buffers", arrived(&answer(6000))),
        ("IP options", arrived(&answer(9).options(2))),
        ("a fragment", arrived(&answer(900).fragments(512).remove(0))),
        ("its tail", arrived(&answer(900).fragments(512).remove(1))),
        (
            "an error",
            arrived(&error(R, H, 3, 1, &udp(H, 5000, S, 53, b"?"), 8)),
        ),
        ("a network without", arrived(&udp(S, 53, H, 6000, b"!"))),
        ("a checksum to be completed", unfinished),
        ("a stranger", arrived(&udp(S2, 53, H, 5000, b"!"))),
    ] {
        let before = (r.counters(), timeless(&r));
        let ran = nat(&r, &frame);
        assert_eq!(ran.action, PASS, "{name}");
        assert_eq!(ran.bytes, frame.bytes, "{name}");
        assert_eq!((r.counters(), timeless(&r)), before, "{name}");
    }
}

#[test]
fn what_nobody_wants_is_dropped_as_by_the_other_program() {
    let mut r = runner();
    flows(&mut r);
    let accepted = arrived(&tcp(S, 443, H, 40000, SYN | ACK));
    assert_eq!(nat(&r, &accepted).action, XDP_REDIRECT);
    out(&mut r, &tcp(C1.addr, 40000, S, 443, ACK));
    for (reason, p) in [
        ("martian", udp([127, 0, 0, 1], 1, H, 2, b"")),
        ("direct-access", tcp(S, 1, C1.addr, 80, SYN)),
        ("tcp-invalid", tcp(S, 443, H, 40000, SYN)),
    ] {
        let frame = arrived(&p);
        let before = r.counters();
        let ran = nat(&r, &frame);
        let counted = crate::change(&before, &r.counters());
        assert_eq!(
            (ran.action, counted.get(reason)),
            (DROP, Some(&1)),
            "{reason}: {counted:?}"
        );
        assert_eq!(ran.bytes, frame.bytes, "{reason}");
    }
}

#[test]
fn every_length() {
    let mut r = runner();
    flows(&mut r);
    let whole = arrived(&udp(S, 53, H, 5000, b"answer"));
    for len in 14..whole.bytes.len() {
        let ran = nat(&r, &whole.truncated(len));
        assert_eq!(ran.action, DROP, "at {len}");
    }
    assert_eq!(nat(&r, &whole).action, XDP_REDIRECT);
}
