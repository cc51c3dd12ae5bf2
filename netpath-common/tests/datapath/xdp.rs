//! Early drop: what is dropped, what passes, and that nothing is lost by it.

use netpath_common::{
    DropReason::{
        self, BadIpHeader, BadL4Header, DirectAccess, Martian, Truncated, UnpublishedFlood,
    },
    Tuple,
    conntrack::tcp::{ACK, FIN, RST, SYN},
    datapath::{REFUSED_AT_ONCE, is_known_nobodys},
    event::Hook,
    testing::*,
    tuple,
};

pub(super) fn arrived(p: &Datagram) -> Frame {
    p.frame(ROUTER_MAC, UPLINK_MAC, UPLINK_IF)
}

/// What becomes of a packet when the tokens are used up.
fn flooded(prepare: impl FnOnce(&mut Host), p: &Datagram) -> Option<DropReason> {
    let mut h = Host::new();
    prepare(&mut h);
    use_up(&mut h);
    h.run(Hook::Xdp, &arrived(p)).dropped()
}

pub(super) fn use_up(h: &mut Host) {
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
