//! Translation in the driver: what it takes, what it leaves to the tc hook, and what it counts.

use netpath_common::{
    DropReason::{DirectAccess, Martian, TcpInvalid, UnpublishedFlood},
    Tuple,
    conntrack::{
        STAMP_FRESH_NS,
        tcp::{ACK, FIN, PSH, RST, SYN},
    },
    counters::Counter,
    event::Hook,
    records::NETWORK_XDP,
    testing::*,
    tuple,
};

use super::{
    xdp::{arrived, use_up},
    xdp_model::counters,
};

/// A host whose first network takes frames from a driver.
fn host() -> Host {
    let mut h = Host::new();
    h.xdp_translates = true;
    h.tables.networks[usize::from(NET1)].flags |= NETWORK_XDP;
    h
}

fn early(h: &mut Host, p: &Datagram) -> Outcome {
    h.run(Hook::Xdp, &arrived(p))
}

/// A masqueraded connection, established.
fn client(h: &mut Host) {
    let _ = h.from(&C1, &tcp(C1.addr, 40000, S, 443, SYN)).to_uplink();
    let _ = early(h, &tcp(S, 443, H, 40000, SYN | ACK)).to_container(&C1);
    let _ = h.from(&C1, &tcp(C1.addr, 40000, S, 443, ACK)).to_uplink();
}

/// A datagram has gone out and may be answered.
fn asked(h: &mut Host) {
    let _ = h.from(&C1, &udp(C1.addr, 5000, S, 53, b"?")).to_uplink();
}

fn answer() -> Datagram {
    udp(S, 53, H, 5000, b"answer")
}

#[test]
fn answers_are_delivered() {
    let mut h = host();
    client(&mut h);
    asked(&mut h);
    let _ = h.from(&C1, &query(C1.addr, S, 8, 7)).to_uplink();
    for (p, text) in [
        (
            tcp_data(S, 443, H, 40000, ACK | PSH, b"data"),
            "tcp 198.51.100.9:443 > 172.17.0.2:40000",
        ),
        (answer(), "udp 198.51.100.9:53 > 172.17.0.2:5000"),
        (
            udp_without_checksum(S, 53, H, 5000, b"answer"),
            "udp 198.51.100.9:53 > 172.17.0.2:5000",
        ),
    ] {
        assert_eq!(early(&mut h, &p).to_container(&C1), text);
    }
    let _ = early(&mut h, &query(S, H, 0, 7)).to_container(&C1);
    let none = early(&mut h, &udp_without_checksum(S, 53, H, 5000, b"x"));
    assert_eq!(none.frame.bytes[40..42], [0, 0], "no checksum stays none");
}

#[test]
fn a_published_port_is_served_once_its_flow_is_there() {
    let mut h = host();
    let syn = tcp(S, 51000, H, 8080, SYN);
    assert!(early(&mut h, &syn).passed(), "a new flow is tc's");
    let _ = h.from_outside(&syn).to_container(&C1);
    let accepted = tcp(C1.addr, 80, S, 51000, SYN | ACK);
    let _ = h.from(&C1, &accepted).to_uplink();
    assert_eq!(
        early(&mut h, &tcp(S, 51000, H, 8080, ACK)).to_container(&C1),
        "tcp 198.51.100.9:51000 > 172.17.0.2:80"
    );

    let question = udp(S, 51000, H, 5353, b"x");
    assert!(early(&mut h, &question).passed());
    let _ = h.from_outside(&question).to_container(&C1);
    let _ = early(&mut h, &question).to_container(&C1);
}

#[test]
fn a_packet_is_counted_once_and_as_at_tc() {
    let (mut with, mut without) = (host(), host());
    let p = tcp_data(S, 443, H, 40000, ACK | PSH, b"data");
    for h in [&mut with, &mut without] {
        client(h);
        h.tables.advance_ms(1500);
    }
    let before = with.tables.stats(C1.slot);
    let at_xdp = early(&mut with, &p);
    let at_tc = without.from_outside(&p);
    assert_eq!(at_xdp.result, at_tc.result);
    assert_eq!(at_xdp.frame, at_tc.frame);
    assert_eq!(with.tables.entries(), without.tables.entries());
    assert_eq!(counters(&with), counters(&without));
    // The answer to the SYN as well.
    assert_eq!(with.tables.counter(Counter::TranslatedInXdp), 2);
    assert_eq!(with.tables.counter(Counter::ToEndpoint), 2);
    let after = with.tables.stats(C1.slot);
    assert_eq!(after, without.tables.stats(C1.slot));
    assert_eq!(after.given().packets, before.given().packets + 1);
    assert_eq!(
        after.given().bytes,
        before.given().bytes + arrived(&p).bytes.len() as u64
    );
}

#[test]
fn a_whole_connection_has_the_states_that_it_has_at_tc() {
    let (mut with, mut without) = (host(), host());
    let from_c1 = |flags| tcp(C1.addr, 40000, S, 443, flags);
    let from_s = |flags| tcp(S, 443, H, 40000, flags);
    let life: Vec<(bool, u8)> = vec![
        (true, SYN),
        (false, SYN | ACK),
        (true, ACK),
        (false, ACK | PSH),
        (true, ACK),
        (false, FIN | ACK),
        (true, FIN | ACK),
        (false, ACK),
        // The port is used again, and refused.
        (true, SYN),
        (false, RST | ACK),
    ];
    for (out, flags) in life {
        for (h, hook) in [(&mut with, Hook::Xdp), (&mut without, Hook::UplinkIngress)] {
            if out {
                let _ = h.from(&C1, &from_c1(flags)).to_uplink();
            } else {
                let _ = h.run(hook, &arrived(&from_s(flags))).to_container(&C1);
            }
        }
        assert_eq!(
            with.tables.entries(),
            without.tables.entries(),
            "{flags:#x}"
        );
    }
}

#[test]
fn what_a_driver_cannot_do_is_left_as_it_is_and_changes_nothing() {
    let long = vec![0; 1473];
    let most = vec![0; 1472];
    let cases: Vec<(&str, Datagram)> = vec![
        ("the last hop", answer().ttl(1)),
        ("more than the MTU", udp(S, 53, H, 5000, &long)),
        ("IP options", answer().options(1)),
        (
            "a first fragment",
            udp(S, 53, H, 5000, &most).fragments(512).remove(0),
        ),
        (
            "a later one",
            udp(S, 53, H, 5000, &most).fragments(512).remove(1),
        ),
        (
            "an error",
            error(R, H, 3, 1, &udp(H, 5000, S, 53, b"data"), 8),
        ),
        ("a stranger's", udp(S2, 53, H, 5000, b"answer")),
    ];
    let mut h = host();
    asked(&mut h);
    let (entries, counted) = (h.tables.entries(), h.tables.counters());
    for (name, p) in &cases {
        assert!(early(&mut h, p).passed(), "{name}");
    }
    let mut merged = arrived(&answer());
    merged.gso_size = 1400;
    assert!(h.run(Hook::Xdp, &merged).passed(), "a super-packet");
    assert_eq!(h.tables.entries(), entries);
    assert_eq!(h.tables.counters(), counted);
    let _ = early(&mut h, &udp(S, 53, H, 5000, &most)).to_container(&C1);
}

#[test]
fn another_network_s_containers_take_no_frames() {
    let mut h = host();
    let _ = h.from(&C3, &udp(C3.addr, 5000, S, 53, b"?")).to_uplink();
    assert!(early(&mut h, &answer()).passed());
    let _ = h.from_outside(&answer()).to_container(&C3);
}

/// The frame as a sender leaves it to its device, which this host's veth stands for.
fn unfinished(p: &Datagram, at: usize) -> Frame {
    let mut frame = arrived(p);
    let words = |b: &[u8]| -> u32 {
        b.chunks(2)
            .map(|w| u32::from(u16::from_be_bytes([w[0], w[1]])))
            .sum()
    };
    let sum = words(&p.src) + words(&p.dst) + u32::from(p.proto) + p.l4.len() as u32;
    let sum = (sum & 0xffff) + (sum >> 16);
    frame.bytes[at..at + 2].copy_from_slice(&(sum as u16).to_be_bytes());
    frame.offload = Offload::Partial;
    assert_eq!(verify(&frame), Ok(()));
    frame
}

#[test]
fn checksums_that_are_left_to_the_device_are_left_to_tc() {
    let mut h = host();
    client(&mut h);
    asked(&mut h);
    for payload in [&b"data"[..], b"odd", &[0xff; 700]] {
        for frame in [
            unfinished(&tcp_data(S, 443, H, 40000, ACK, payload), 50),
            unfinished(&udp(S, 53, H, 5000, payload), 40),
        ] {
            assert!(h.run(Hook::Xdp, &frame).passed());
            let _ = h.run(Hook::UplinkIngress, &frame).to_container(&C1);
        }
    }
}

#[test]
fn a_flow_that_is_over_is_gone_for_tc_too() {
    // Expired.
    let mut h = host();
    asked(&mut h);
    h.tables.advance_ms(31_000);
    assert!(early(&mut h, &answer()).passed());
    assert!(h.from_outside(&answer()).passed());
    assert!(h.tables.entries().is_empty());
    assert_eq!(h.tables.counter(Counter::FlowRemoved), 1);

    // Of an endpoint that has changed.
    let mut h = host();
    asked(&mut h);
    h.tables.endpoints[usize::from(C1.slot)].generation += 1;
    assert!(early(&mut h, &answer()).passed());
    assert!(h.from_outside(&answer()).passed());
    assert!(h.tables.entries().is_empty());

    // Claimed for removal by another processor.
    let mut h = host();
    asked(&mut h);
    h.tables.advance_ms(STAMP_FRESH_NS / 1_000_000 + 1);
    let key = Tuple {
        src: S,
        dst: H,
        sport: 53,
        dport: 5000,
        proto: tuple::UDP,
        ..Tuple::default()
    };
    let mut record = h.tables.entry(&key).unwrap();
    record.state |= 0x80;
    h.tables.put_entry(key, record);
    assert!(early(&mut h, &answer()).passed());
    assert!(h.from_outside(&answer()).passed());
}

#[test]
fn a_segment_that_cannot_belong_to_its_flow_is_dropped_as_at_tc() {
    let mut h = host();
    client(&mut h);
    let p = tcp(S, 443, H, 40000, SYN);
    let (a, b) = (early(&mut h, &p), h.from_outside(&p));
    assert_eq!(a.dropped(), b.dropped());
    assert_eq!(a.dropped(), Some(TcpInvalid));
}

#[test]
fn early_drop_is_done_as_without_translation() {
    let mut h = host();
    client(&mut h);
    assert_eq!(
        early(&mut h, &udp([127, 0, 0, 1], 1, H, 2, b"")).dropped(),
        Some(Martian)
    );
    assert_eq!(
        early(&mut h, &tcp(S, 1, C1.addr, 80, SYN)).dropped(),
        Some(DirectAccess)
    );
    use_up(&mut h);
    assert_eq!(
        early(&mut h, &udp(S, 1, H, 9, b"")).dropped(),
        Some(UnpublishedFlood)
    );
    let data = tcp_data(S, 443, H, 40000, ACK | PSH, b"data");
    let _ = early(&mut h, &data).to_container(&C1);
}
