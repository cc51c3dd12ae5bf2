//! Translation in the uplink's driver: the same as at tc for what is steady, nothing for the rest.

use netpath_common::{
    conntrack::tcp::{ACK, FIN, PSH, RST, SYN},
    counters::Counter,
    event::Hook,
    records::NETWORK_XDP,
    testing::*,
    tuple,
};

use crate::xdp::arrived;

/// A host that translates in XDP, and one that does not.
fn twins() -> [Host; 2] {
    let mut twins = [Host::new(), Host::new()];
    for h in &mut twins {
        h.tables.networks[usize::from(NET1)].flags |= NETWORK_XDP;
    }
    twins[0].xdp_translates = true;
    twins
}

/// Has both hosts do the same.
fn both(twins: &mut [Host; 2], act: impl Fn(&mut Host)) {
    twins.iter_mut().for_each(act);
}

fn established(h: &mut Host) {
    // A connection to the published port, one of a container, and two UDP flows.
    for (p, q) in [
        (
            tcp(S, 51000, H, 8080, SYN),
            tcp(C1.addr, 80, S, 51000, SYN | ACK),
        ),
        (
            udp(S, 51000, H, 5353, b"?"),
            udp(C1.addr, 53, S, 51000, b"!"),
        ),
    ] {
        let _ = h.from_outside(&p).to_container(&C1);
        let _ = h.from(&C1, &q).to_uplink();
        let _ = h.from_outside(&p_after(&p)).to_container(&C1);
        let _ = h.from_outside(&p_after(&p)).to_container(&C1);
    }
    let _ = h.from(&C1, &tcp(C1.addr, 40000, S, 80, SYN)).to_uplink();
    let _ = h
        .from_outside(&tcp(S, 80, H, 40000, SYN | ACK))
        .to_container(&C1);
    let _ = h.from(&C1, &tcp(C1.addr, 40000, S, 80, ACK)).to_uplink();
    for _ in 0..2 {
        let _ = h.from_outside(&tcp(S, 80, H, 40000, ACK)).to_container(&C1);
    }
    let _ = h.from(&C1, &udp(C1.addr, 5000, S, 53, b"?")).to_uplink();
    for _ in 0..2 {
        let _ = h.from_outside(&udp(S, 53, H, 5000, b"!")).to_container(&C1);
    }
}

/// The next packet of the same sender.
fn p_after(p: &Datagram) -> Datagram {
    if p.proto == tuple::TCP {
        tcp(S, 51000, H, 8080, ACK)
    } else {
        p.clone()
    }
}

fn steady() -> [Datagram; 6] {
    [
        tcp_data(S, 51000, H, 8080, ACK | PSH, b"GET / HTTP/1.0\r\n"),
        udp(S, 51000, H, 5353, b"question"),
        tcp(S, 80, H, 40000, ACK),
        udp(S, 53, H, 5000, b"answer"),
        udp_without_checksum(S, 53, H, 5000, b"answer"),
        udp(S, 53, H, 5000, b"").ttl(2),
    ]
}

#[test]
fn steady_flows_are_translated_as_at_tc() {
    let mut twins = twins();
    both(&mut twins, established);
    for p in steady() {
        let frame = arrived(&p);
        let early = twins[0].run(Hook::Xdp, &frame);
        let late = twins[1].run(Hook::UplinkIngress, &frame);
        let _ = early.to_container(&C1);
        assert_eq!(early.result, late.result, "{}", early.text());
        assert_eq!(early.frame, late.frame);
        assert_eq!(twins[0].tables.entries(), twins[1].tables.entries());
    }
    let rx = |h: &Host| {
        (
            h.tables.stats(C1.slot).rx_packets,
            h.tables.stats(C1.slot).rx_bytes,
        )
    };
    assert_eq!(rx(&twins[0]), rx(&twins[1]));
    assert_eq!(twins[0].tables.counter(Counter::TranslatedInXdp), 6);
    assert_eq!(twins[1].tables.counter(Counter::TranslatedInXdp), 0);
}

#[test]
fn what_one_entry_does_not_decide_is_left_alone() {
    let long = [0; 1600];
    let cases = [
        ("a new flow", tcp(S, 52000, H, 8080, SYN)),
        ("SYN", tcp(S, 51000, H, 8080, SYN)),
        ("FIN", tcp(S, 51000, H, 8080, FIN | ACK)),
        ("RST", tcp(S, 51000, H, 8080, RST)),
        ("last hop", udp(S, 53, H, 5000, b"x").ttl(1)),
        ("IP options", udp(S, 53, H, 5000, b"x").options(1)),
        (
            "larger than the container's MTU",
            udp(S, 53, H, 5000, &long),
        ),
        (
            "a fragment",
            udp(S, 53, H, 5000, &long).fragments(800).remove(0),
        ),
        ("echo", query(S, H, tuple::ICMP_ECHO, 7)),
    ];
    for (name, p) in cases {
        let [mut h, _] = twins();
        established(&mut h);
        let before = h.tables.entries();
        assert!(h.run(Hook::Xdp, &arrived(&p)).passed(), "{name}");
        assert_eq!(h.tables.entries(), before, "{name}");
    }
}

#[test]
fn what_is_old_or_changed_is_left_alone() {
    type Change = (&'static str, fn(&mut Host));
    let changes: [Change; 4] = [
        ("nothing", |_| {}),
        ("a second of silence", |h| h.tables.advance_ms(1004)),
        ("the endpoint's generation", |h| {
            h.tables.endpoints[usize::from(C1.slot)].generation += 1;
        }),
        ("the network's option", |h| {
            h.tables.networks[usize::from(NET1)].flags &= !NETWORK_XDP;
        }),
    ];
    for (name, change) in changes {
        let [mut h, _] = twins();
        established(&mut h);
        change(&mut h);
        let out = h.run(Hook::Xdp, &arrived(&udp(S, 53, H, 5000, b"x")));
        assert_eq!(out.passed(), name != "nothing", "{name}: {:?}", out.result);
    }
}
