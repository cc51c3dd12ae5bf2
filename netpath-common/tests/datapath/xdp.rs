//! Early drop: what is dropped, what passes, and that nothing is lost by it.

use netpath_common::{
    DropReason::{
        self, BadIpHeader, BadL4Header, DirectAccess, Martian, Truncated, UnpublishedFlood,
    },
    Tuple,
    conntrack::tcp::{ACK, FIN, RST, SYN},
    datapath::{REFUSED_AT_ONCE, Tables, is_known_nobodys},
    event::Hook,
    testing::*,
    tuple,
};
use proptest::prelude::*;

fn arrived(p: &Datagram) -> Frame {
    p.frame(ROUTER_MAC, UPLINK_MAC, UPLINK_IF)
}

/// What becomes of a packet when the tokens are used up.
fn flooded(prepare: impl FnOnce(&mut Host), p: &Datagram) -> Option<DropReason> {
    let mut h = Host::new();
    prepare(&mut h);
    use_up(&mut h);
    h.run(Hook::Xdp, &arrived(p)).dropped()
}

fn use_up(h: &mut Host) {
    let nobodys = arrived(&udp(S, 1, H, 9, b""));
    while h.run(Hook::Xdp, &nobodys).passed() {}
}

fn nothing(_: &mut Host) {}

fn socket(h: &mut Host, proto: u8, sport: u16, dport: u16) {
    h.tables.host_sockets.insert(Tuple {
        src: S,
        dst: H,
        sport,
        dport,
        proto,
        ..Tuple::default()
    });
}

#[test]
fn nobodys_ports_are_refused_at_a_rate_and_dropped_beyond_it() {
    let mut h = Host::new();
    let packets = [
        tcp(S, 40000, H, 81, SYN),
        udp(S, 40000, H, 9, b"x"),
        tcp(S, 40000, H, 81, ACK),
        tcp(S, 40000, GW1, 81, SYN),
        // Flags that no stack sends: the host's answers them nevertheless.
        tcp(S, 40000, H, 81, SYN | FIN),
    ];
    for i in 0..REFUSED_AT_ONCE as usize {
        let p = &packets[i % packets.len()];
        assert!(h.run(Hook::Xdp, &arrived(p)).passed(), "{i}");
    }
    for p in &packets {
        let out = h.run(Hook::Xdp, &arrived(p));
        assert_eq!(out.dropped(), Some(UnpublishedFlood), "{}", out.text());
    }
    // Two tokens a tick.
    h.tables.advance_ms(4);
    for passes in [true, true, false, false] {
        assert_eq!(h.run(Hook::Xdp, &arrived(&packets[0])).passed(), passes);
    }
}

#[test]
fn what_somebody_wants_passes_under_a_flood() {
    let cases: Vec<(&str, Datagram)> = vec![
        ("published TCP", tcp(S, 40000, H, 8080, SYN)),
        ("published UDP", udp(S, 40000, H, 5353, b"x")),
        ("ICMP echo to the host", query(S, H, 8, 1)),
        (
            "an ICMP error",
            error(R, H, 3, 1, &udp(H, 1, S, 2, b"data"), 8),
        ),
        ("SCTP", Datagram::new(S, H, 132, vec![0; 20])),
        ("another host's", udp(S, 1, [203, 0, 113, 99], 2, b"")),
        ("multicast", udp(S, 5353, [224, 0, 0, 251], 5353, b"")),
        ("broadcast", udp([0; 4], 68, [255; 4], 67, b"")),
        ("class E", udp([240, 0, 0, 1], 1, S2, 2, b"")),
    ];
    for (name, p) in &cases {
        assert_eq!(flooded(nothing, p), None, "{name}");
    }
    for fragment in udp(S, 1, H, 9, &[0; 100]).fragments(48) {
        assert_eq!(
            flooded(nothing, &fragment),
            None,
            "fragment {:x}",
            fragment.frag
        );
    }
    let own = |h: &mut Host| {
        socket(h, tuple::TCP, 40000, 22);
        socket(h, tuple::UDP, 53, 40001);
    };
    assert_eq!(flooded(own, &tcp(S, 40000, H, 22, SYN)), None);
    assert_eq!(flooded(own, &tcp(S, 40000, H, 22, FIN | RST)), None);
    assert_eq!(flooded(own, &udp(S, 53, H, 40001, b"answer")), None);
    let lost = flooded(own, &udp(S2, 53, H, 40001, b"answer"));
    assert_eq!(lost, Some(UnpublishedFlood));

    let flows = |h: &mut Host| {
        let _ = h.from(&C1, &tcp(C1.addr, 40000, S, 443, SYN)).to_uplink();
        let _ = h.from(&C1, &udp(C1.addr, 40000, S, 53, b"?")).to_uplink();
    };
    assert_eq!(flooded(flows, &tcp(S, 443, H, 40000, SYN | ACK)), None);
    assert_eq!(flooded(flows, &udp(S, 53, H, 40000, b"!")), None);
    let other = flooded(flows, &udp(S2, 53, H, 40000, b"!"));
    assert_eq!(other, Some(UnpublishedFlood));
}

#[test]
fn one_answer_serves_a_tick_but_not_what_begins_in_it() {
    let p = |sport| arrived(&udp(S, sport, H, 9, b"x"));
    let mut h = Host::new();
    use_up(&mut h);
    let full = h.run(Hook::Xdp, &p(1));
    assert_eq!(full.dropped(), Some(UnpublishedFlood));

    // A socket that begins to listen is seen with the next tick.
    socket(&mut h, tuple::UDP, 2, 9);
    assert!(!h.run(Hook::Xdp, &p(2)).passed());
    h.tables.advance_ms(4);
    assert!(h.run(Hook::Xdp, &p(2)).passed());

    // One that sends is seen at once, whoever else is refused at its port: the host's own …
    let mut h = Host::new();
    use_up(&mut h);
    assert!(
        !h.run(Hook::Xdp, &arrived(&udp(S2, 53, H, 5000, b"x")))
            .passed()
    );
    assert!(h.from_stack(&udp(H, 5000, S, 53, b"?")).passed());
    let answered = |h: &mut Host| {
        let key = Tuple {
            src: S,
            dst: H,
            sport: 53,
            dport: 5000,
            proto: tuple::UDP,
            ..Tuple::default()
        };
        h.tables.host_sockets.insert(key);
        h.run(Hook::Xdp, &arrived(&udp(S, 53, H, 5000, b"!")))
            .passed()
    };
    assert!(answered(&mut h));
    assert!(
        !h.run(Hook::Xdp, &arrived(&udp(S2, 53, H, 5000, b"x")))
            .passed()
    );

    // … and a container's.
    let mut h = Host::new();
    use_up(&mut h);
    assert!(
        !h.run(Hook::Xdp, &arrived(&udp(S2, 53, H, 5000, b"x")))
            .passed()
    );
    let _ = h.from(&C1, &udp(C1.addr, 5000, S, 53, b"?")).to_uplink();
    assert!(
        h.run(Hook::Xdp, &arrived(&udp(S, 53, H, 5000, b"!")))
            .passed()
    );
    assert!(
        !h.run(Hook::Xdp, &arrived(&udp(S2, 53, H, 5000, b"x")))
            .passed()
    );

    // Resets come from ports that nobody has: they say nothing.
    let mut h = Host::new();
    use_up(&mut h);
    assert!(!h.run(Hook::Xdp, &arrived(&tcp(S, 1, H, 81, SYN))).passed());
    assert!(h.from_stack(&tcp(H, 81, S, 1, RST | ACK)).passed());
    socket(&mut h, tuple::TCP, 2, 81);
    assert!(!h.run(Hook::Xdp, &arrived(&tcp(S, 2, H, 81, SYN))).passed());
}

#[test]
fn an_answer_is_remembered_for_its_tick() {
    let mut h = Host::new();
    use_up(&mut h);
    let frame = arrived(&udp(S, 1, H, 77, b"x"));
    let known = |h: &Host| is_known_nobodys(&frame, &h.tables);
    assert!(!known(&h));
    assert!(!h.run(Hook::Xdp, &frame).passed());
    assert!(known(&h));
    h.tables.advance_ms(4);
    assert!(!known(&h), "the first of the next tick is told again");
}

#[test]
fn other_frames_pass() {
    let mut h = Host::new();
    let mut v6 = arrived(&udp(S, 1, H, 9, b""));
    v6.bytes[12..14].copy_from_slice(&[0x86, 0xdd]);
    let frames = [v6, arp(ROUTER_MAC, 1, ROUTER_MAC, R, H, UPLINK_IF)];
    for frame in frames {
        assert!(h.run(Hook::Xdp, &frame).passed());
    }
}

#[test]
fn martians_and_direct_access() {
    let cases = [
        (Martian, udp([127, 0, 0, 1], 1, H, 2, b"")),
        (Martian, udp([224, 0, 0, 1], 1, H, 2, b"")),
        (Martian, udp([255; 4], 1, H, 2, b"")),
        (Martian, tcp(C2.addr, 1, H, 8080, SYN)),
        (Martian, tcp(H, 1, H, 8080, SYN)),
        (Martian, udp(GW1, 1, S2, 2, b"")),
        (Martian, tcp(S, 1, [127, 0, 0, 1], 8080, SYN)),
        (DirectAccess, tcp(S, 1, C1.addr, 80, SYN)),
        (DirectAccess, query(S, C3.addr, 8, 1)),
        (DirectAccess, udp(S, 1, [172, 17, 255, 255], 2, b"")),
        (
            DirectAccess,
            udp(S, 1, C1.addr, 9, &[0; 100]).fragments(48).remove(1),
        ),
    ];
    let mut h = Host::new();
    for (reason, p) in &cases {
        let out = h.run(Hook::Xdp, &arrived(p));
        assert_eq!(out.dropped(), Some(*reason), "{}", out.text());
    }
}

#[test]
fn a_forged_source_of_the_host_does_not_reach_a_published_port_at_tc_either() {
    let mut h = Host::new();
    for src in [H, [224, 0, 0, 5], [255; 4]] {
        let out = h.from_outside(&tcp(src, 1, H, 8080, SYN));
        assert_eq!(out.dropped(), Some(Martian), "{}", out.text());
    }
    assert!(h.tables.entries().is_empty());
}

#[test]
fn malformed_headers() {
    let change = |p: &Datagram, at: usize, byte: u8| {
        let mut frame = arrived(p);
        frame.bytes[at] = byte;
        frame
    };
    let segment = tcp(S, 1, H, 8080, SYN);
    let datagram = udp(S, 1, H, 5353, b"data");
    let cases = [
        (BadIpHeader, change(&segment, 14, 0x65)),
        (BadIpHeader, change(&segment, 14, 0x44)),
        (BadIpHeader, change(&segment, 17, 200)),
        (BadL4Header, change(&segment, 46, 0x40)),
        (BadL4Header, change(&segment, 46, 0x60)),
        (BadL4Header, change(&datagram, 39, 7)),
        (BadL4Header, change(&datagram, 39, 13)),
        (
            Truncated,
            arrived(&Datagram::new(S, H, tuple::TCP, vec![0; 19])),
        ),
        (
            Truncated,
            arrived(&Datagram::new(S, H, tuple::UDP, vec![0; 7])),
        ),
        (
            Truncated,
            arrived(&Datagram::new(S, H, tuple::ICMP, vec![8; 7])),
        ),
    ];
    let mut h = Host::new();
    for (reason, frame) in &cases {
        let out = h.run(Hook::Xdp, frame);
        assert_eq!(out.dropped(), Some(*reason), "{}", out.text());
    }
    // A packet for somebody else is his to judge.
    let transit = Datagram::new(S, S2, tuple::TCP, vec![0; 19]);
    assert!(h.run(Hook::Xdp, &arrived(&transit)).passed());
}

#[test]
fn every_length() {
    let whole = arrived(&tcp(S, 51000, H, 8080, SYN).options(2));
    let mut h = Host::new();
    for len in 0..whole.bytes.len() {
        let reason = h.run(Hook::Xdp, &whole.truncated(len)).dropped();
        let want = if len < 34 { Truncated } else { BadIpHeader };
        assert_eq!(reason, Some(want), "at {len}");
    }
    assert!(h.run(Hook::Xdp, &whole).passed());
}

/// What the kernel's stack does with a packet that reaches it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Fate {
    /// Somebody gets it, or its fragments are waited for.
    Wanted,
    /// It is dropped, or answered with RST or ICMP unreachable and dropped.
    Unwanted,
}

/// The host's stack (`ip_rcv`, `ip_route_input_slow`, `tcp_v4_rcv`, `__udp4_lib_rcv`, `icmp_rcv`),
/// told by plain offsets.
fn stack(b: &[u8], t: &MemTables) -> Fate {
    let be = |at: usize| usize::from(b[at]) << 8 | usize::from(b[at + 1]);
    let addr = |at: usize| [b[at], b[at + 1], b[at + 2], b[at + 3]];
    if be(12) != 0x0800 {
        return Fate::Wanted;
    }
    if b.len() < 34 {
        return Fate::Unwanted;
    }
    let header = usize::from(b[14] & 15) * 4;
    let (src, dst) = (addr(26), addr(30));
    let ours = |a: &Addr| t.host_addrs.contains(a);
    let container = |a: &Addr| a[0] == 172 && (a[1] == 17 || a[1] == 18);
    let martian = src[0] == 127
        || (224..240).contains(&src[0])
        || src == [255; 4]
        || ours(&src)
        // Where rp_filter is on; elsewhere the answer goes astray.
        || container(&src);
    if b[14] >> 4 != 4 || header < 20 || be(16) < header || 14 + be(16) > b.len() || martian {
        return Fate::Unwanted;
    }
    if dst[0] == 127 {
        return Fate::Unwanted;
    }
    if !ours(&dst) || be(20) & 0x3fff != 0 {
        return Fate::Wanted;
    }
    let (l4, room) = (14 + header, be(16) - header);
    let least = match b[23] {
        tuple::TCP => 20,
        tuple::UDP | tuple::ICMP => 8,
        _ => return Fate::Wanted,
    };
    if room < least {
        return Fate::Unwanted;
    }
    let wrong = match b[23] {
        tuple::TCP => {
            let offset = usize::from(b[l4 + 12] >> 4) * 4;
            offset < 20 || offset > room
        }
        tuple::UDP => be(l4 + 4) < 8 || be(l4 + 4) > room,
        _ => return Fate::Wanted,
    };
    let key = Tuple {
        src,
        dst,
        sport: be(l4) as u16,
        dport: be(l4 + 2) as u16,
        proto: b[23],
        ..Tuple::default()
    };
    if wrong || !t.host_socket(&key) {
        return Fate::Unwanted;
    }
    Fate::Wanted
}

/// One packet of a random life.
#[derive(Clone, Debug)]
enum Event {
    Sent {
        udp: bool,
        dst: Addr,
        sport: u16,
        dport: u16,
    },
    Arrived {
        frame: Vec<u8>,
    },
    /// A socket of the host asks somebody, and waits for the answer.
    Asked {
        udp: bool,
        dst: Addr,
        sport: u16,
        dport: u16,
    },
    Waited {
        ms: u64,
    },
}

fn port() -> impl Strategy<Value = u16> {
    prop::sample::select(vec![22, 53, 80, 5353, 8080])
}

fn arrival() -> impl Strategy<Value = Event> {
    let src = prop_oneof![
        8 => prop::sample::select(vec![S, S2]),
        1 => prop::sample::select(vec![H, GW1, C2.addr, [127, 0, 0, 1], [224, 0, 0, 1], [255; 4], [240, 0, 0, 1]]),
    ];
    let dst = prop_oneof![
        8 => Just(H),
        2 => prop::sample::select(vec![GW1, C1.addr, S2, [127, 0, 0, 1], [224, 0, 0, 1], [255; 4]]),
    ];
    let flags = prop_oneof![3 => Just(SYN), 2 => Just(ACK), 1 => any::<u8>()];
    let damage = prop_oneof![
        3 => Just(None),
        1 => (12..60_usize, any::<u8>()).prop_map(Some),
    ];
    let cut = prop_oneof![6 => Just(None), 1 => (14..80_usize).prop_map(Some)];
    let fragment = prop_oneof![8 => Just(None), 1 => any::<bool>().prop_map(Some)];
    let options = prop_oneof![6 => Just(0_usize), 1 => 0..11_usize];
    (
        (src, dst, port(), port(), 0..4_u8, flags),
        (options, fragment, damage, cut),
    )
        .prop_map(
            |((src, dst, sport, dport, kind, flags), (options, fragment, damage, cut))| {
                let d = match kind {
                    0 | 1 => tcp_data(src, sport, dst, dport, flags, b"payload of a segment"),
                    2 => udp(
                        src,
                        sport,
                        dst,
                        dport,
                        b"payload of a datagram, long enough",
                    ),
                    _ => query(src, dst, flags & 15, sport),
                };
                let d = d.options(options);
                let d = match fragment {
                    None => d,
                    Some(true) => d.fragments(24).remove(0),
                    Some(false) => d.fragments(24).pop().unwrap(),
                };
                let mut frame = arrived(&d).bytes;
                if let Some((at, byte)) = damage
                    && let Some(b) = frame.get_mut(at)
                {
                    *b = byte;
                }
                if let Some(len) = cut {
                    frame.truncate(len);
                }
                Event::Arrived { frame }
            },
        )
}

fn event() -> impl Strategy<Value = Event> {
    let out = prop::sample::select(vec![S, S2]);
    prop_oneof![
        1 => (any::<bool>(), out.clone(), port(), port())
            .prop_map(|(udp, dst, sport, dport)| Event::Asked { udp, dst, sport, dport }),
        2 => (any::<bool>(), out, port(), port())
            .prop_map(|(udp, dst, sport, dport)| Event::Sent { udp, dst, sport, dport }),
        12 => arrival(),
        1 => prop::sample::select(vec![1, 200, 31_000, 130_000]).prop_map(|ms| Event::Waited { ms }),
    ]
}

fn host(tokens: bool) -> Host {
    let mut h = Host::seeded(7);
    h.tables
        .host_listeners
        .extend([(tuple::TCP, 22), (tuple::UDP, 53)]);
    if !tokens {
        use_up(&mut h);
    }
    h
}

/// A socket of the host sends, and its stack knows it from then on.
fn ask(h: &mut Host, is_udp: bool, dst: Addr, sport: u16, dport: u16) {
    let (proto, p) = if is_udp {
        (tuple::UDP, udp(H, sport, dst, dport, b"?"))
    } else {
        (tuple::TCP, tcp(H, sport, dst, dport, SYN))
    };
    let answer = Tuple {
        src: dst,
        dst: H,
        sport: dport,
        dport: sport,
        proto,
        ..Tuple::default()
    };
    h.tables.host_sockets.insert(answer);
    assert!(h.from_stack(&p).passed());
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 1500,
        failure_persistence: None,
        rng_seed: proptest::test_runner::RngSeed::Fixed(20_261_123),
        ..ProptestConfig::default()
    })]

    /// Two hosts live the same life, one with early drop. Whatever that drops, the tc hook of the
    /// other drops, or its stack drops or refuses; and all else becomes the same on both.
    #[test]
    fn nothing_is_lost(tokens in any::<bool>(), events in prop::collection::vec(event(), 1..60)) {
        let (mut early, mut late) = (host(tokens), host(tokens));
        for event in events {
            match event {
                Event::Waited { ms } => {
                    early.tables.advance_ms(ms);
                    late.tables.advance_ms(ms);
                }
                Event::Asked { udp, dst, sport, dport } => {
                    ask(&mut early, udp, dst, sport, dport);
                    ask(&mut late, udp, dst, sport, dport);
                }
                Event::Sent { udp: is_udp, dst, sport, dport } => {
                    let p = if is_udp {
                        udp(C1.addr, sport, dst, dport, b"?")
                    } else {
                        tcp(C1.addr, sport, dst, dport, SYN)
                    };
                    let (a, b) = (early.from(&C1, &p), late.from(&C1, &p));
                    prop_assert_eq!(a.result, b.result);
                }
                Event::Arrived { frame } => {
                    let frame = Frame { bytes: frame, ifindex: UPLINK_IF, ..Frame::default() };
                    let first = early.run(Hook::Xdp, &frame);
                    let tc = late.run(Hook::UplinkIngress, &frame);
                    if let Some(reason) = first.dropped() {
                        let harmless = tc.dropped().is_some()
                            || tc.passed() && stack(&frame.bytes, &late.tables) == Fate::Unwanted;
                        prop_assert!(harmless, "{} dropped as {:?}, at tc {:?}", first.text(), reason, tc.result);
                    } else {
                        let again = early.run(Hook::UplinkIngress, &frame);
                        prop_assert_eq!(again.result, tc.result);
                        prop_assert_eq!(again.frame, tc.frame);
                    }
                }
            }
            prop_assert_eq!(early.tables.entries(), late.tables.entries());
        }
    }
}
