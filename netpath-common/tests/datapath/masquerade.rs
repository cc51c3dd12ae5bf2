//! Containers to the outside and the answers.

use netpath_common::{
    DropReason,
    conntrack::tcp::{ACK, SYN},
    counters::Counter,
    records::{NETWORK_INTERNAL, NETWORK_MASQUERADE, Traffic, UplinkRecord},
    tuple,
};

use super::{connection::open, family::*};

/// The record of C1:40000 to S:80 over TCP.
pub(crate) fn record_key(proto: u8, sport: u16, dport: u16) -> Tuple {
    Tuple {
        src: S,
        dst: H,
        sport,
        dport,
        proto,
        ..Tuple::default()
    }
}

#[test]
fn tcp_keeps_its_port_and_answers_come_back() {
    let mut h = Host::new();
    let out = h.from(&C1, &tcp(C1.ip(), 40000, S, 80, SYN));
    assert_eq!(out.to_uplink(), said("tcp H:40000 > S:80"));
    let back = h.from_outside(&tcp(S, 80, H, 40000, SYN | ACK));
    assert_eq!(back.to_container(&C1), said("tcp S:80 > C1:40000"));
    assert_eq!(h.tables.counter(Counter::FlowNew), 1);
    assert_eq!(h.tables.counter(Counter::PortChanged), 0);
    assert_eq!(h.tables.entries().len(), 2);
}

#[test]
fn udp_and_queries() {
    let mut h = Host::new();
    let out = h.from(&C1, &udp(C1.ip(), 5000, S, 53, b"question"));
    assert_eq!(out.to_uplink(), said("udp H:5000 > S:53"));
    let back = h.from_outside(&udp(S, 53, H, 5000, b"answer!"));
    assert_eq!(back.to_container(&C1), said("udp S:53 > C1:5000"));
    for (ask, answer) in QUERIES {
        let out = h.from(&C1, &query(C1.ip(), S, ask, 7));
        assert_eq!(out.to_uplink(), said(&format!("icmp {ask} H > S id 7")));
        let back = h.from_outside(&query(S, H, answer, 7));
        assert_eq!(
            back.to_container(&C1),
            said(&format!("icmp {answer} S > C1 id 7"))
        );
    }
}

#[test]
fn udp_checksum_that_becomes_zero_is_sent_as_ffff() {
    let mut h = Host::new();
    let mut seen = false;
    // The payload word runs through all values, so one of them makes the sum after NAT zero.
    for word in 0..=u16::MAX {
        let packet = udp(C1.ip(), 5000, S, 53, &word.to_be_bytes());
        let out = h.from(&C1, &packet);
        assert_ne!(
            out.frame.bytes[L4 + 6..L4 + 8],
            [0, 0],
            "no checksum where there was one"
        );
        seen |= out.frame.bytes[L4 + 6..L4 + 8] == [0xff, 0xff];
    }
    assert!(seen);
}

#[test]
fn checksum_offload_keeps_the_pseudo_header_sum() {
    let mut h = Host::new();
    for mut packet in [
        tcp(C1.ip(), 40000, S, 80, SYN),
        udp(C1.ip(), 5000, S, 53, b"xyz"),
    ] {
        let at = if packet.proto == tuple::TCP { 16 } else { 6 };
        let pseudo = [
            &packet.src[..],
            &packet.dst[..],
            &[0, packet.proto],
            &(packet.l4.len() as u16).to_be_bytes(),
        ];
        let [a, b] = netpath_common::checksum::full(&pseudo);
        packet.l4[at..at + 2].copy_from_slice(&[!a, !b]);
        let mut frame = packet.frame(C1.mac, BRIDGE1_MAC, C1.ifindex);
        frame.offload = Offload::Partial;
        assert_eq!(verify(&frame), Ok(()), "the test's own packet");
        let _ = h.run(netpath_common::event::Hook::Veth, &frame).to_uplink();
    }
}

#[test]
fn ttl_one_is_for_the_stack_to_answer() {
    let mut h = Host::new();
    for ttl in [0, 1] {
        assert!(
            h.from(&C1, &tcp(C1.ip(), 40000, S, 80, SYN).ttl(ttl))
                .passed()
        );
    }
    let _ = h
        .from(&C1, &tcp(C1.ip(), 40000, S, 80, SYN).ttl(2))
        .to_uplink();
    // Towards the container the stack can only answer for a packet that it can route.
    let back = h.from_outside(&tcp(S, 80, H, 40000, SYN | ACK).ttl(1));
    assert_eq!(back.to_stack(), said("tcp S:80 > C1:40000"));
    // The stack's complaint about it is translated on its way out.
    let about = tcp(S, 80, C1.ip(), 40000, SYN | ACK).ttl(1);
    let complaint = h.from_stack(&error(H, S, TIME_EXCEEDED, 0, &about, 8));
    assert_eq!(
        complaint.to_stack(),
        said(&format!(
            "icmp {TIME_EXCEEDED}/0 H > S [tcp S:80 > H:40000]"
        ))
    );
}

#[test]
fn larger_than_the_mtu_is_for_the_stack() {
    let mut h = Host::new();
    h.tables.uplinks[usize::from(UPLINK)].mtu = 1000;
    let exact = vec![0; 1000 - HEADER - 8];
    let over = vec![0; 1000 - HEADER - 7];
    let _ = h.from(&C1, &udp(C1.ip(), 5000, S, 53, &exact)).to_uplink();
    assert!(h.from(&C1, &udp(C1.ip(), 5000, S, 53, &over)).passed());
    // It comes back from the stack with the hop counted.
    let out = h.from_stack(&udp(C1.ip(), 5000, S, 53, &over));
    assert_eq!(out.to_stack(), said("udp H:5000 > S:53"));
    h.tables.endpoints[usize::from(C1.slot)].mtu = 1000;
    assert_eq!(
        h.from_outside(&udp(S, 53, H, 5000, &over)).to_stack(),
        said("udp S:53 > C1:5000")
    );
}

#[test]
fn a_super_packet_is_measured_by_its_segments() {
    let mut h = Host::new();
    open(&mut h);
    let mut frame =
        tcp_data(C1.ip(), 40000, S, 80, ACK, &[7; 20_000]).frame(C1.mac, BRIDGE1_MAC, C1.ifindex);
    let hook = netpath_common::event::Hook::Veth;
    frame.gso_size = 1480 - HEADER as u32;
    let _ = h.run(hook, &frame).to_uplink();
    frame.gso_size += 1;
    assert!(h.run(hook, &frame).passed());
}

#[test]
fn what_follows_the_ip_header_moves_the_transport_header() {
    let mut h = Host::new();
    for words in 0..=10 {
        let sport = 41000 + u16::from(words);
        let out = h.from(&C1, &tcp(C1.ip(), sport, S, 80, SYN).padded(words));
        assert_eq!(out.to_uplink(), said(&format!("tcp H:{sport} > S:80")));
        let out = h.from(&C1, &udp(C1.ip(), sport, S, 53, b"odd").padded(words));
        assert_eq!(out.to_uplink(), said(&format!("udp H:{sport} > S:53")));
        let out = h.from(&C1, &query(C1.ip(), S, ECHO, sport).padded(words));
        assert_eq!(
            out.to_uplink(),
            said(&format!("icmp {ECHO} H > S id {sport}"))
        );
        let back = h.from_outside(&tcp(S, 80, H, sport, SYN | ACK).padded(words));
        assert_eq!(
            back.to_container(&C1),
            said(&format!("tcp S:80 > C1:{sport}"))
        );
    }
}

#[test]
fn what_must_not_leave() {
    let mut h = Host::new();
    let packet = tcp(C1.ip(), 40000, S, 80, SYN);
    for (clear, set) in [(NETWORK_MASQUERADE, 0), (0, NETWORK_INTERNAL)] {
        let net = usize::from(NET1);
        h.tables.networks[net] = network_record(NET1);
        h.tables.networks[net].flags = h.tables.networks[net].flags & !clear | set;
        assert_eq!(
            h.from(&C1, &packet).dropped(),
            Some(DropReason::NotRoutable)
        );
        assert_eq!(
            h.from_stack(&packet).dropped(),
            Some(DropReason::NotRoutable)
        );
    }
    assert!(h.tables.entries().is_empty());
}

#[test]
fn a_fixed_outside_address() {
    let mut h = Host::new();
    set_snat(&mut h.tables.networks[usize::from(NET1)], H2);
    h.tables.host_addrs.insert(H2);
    let out = h.from(&C1, &tcp(C1.ip(), 40000, S, 80, SYN));
    assert_eq!(out.to_uplink(), said("tcp H2:40000 > S:80"));
    let back = h.from_outside(&tcp(S, 80, H2, 40000, SYN | ACK));
    assert_eq!(back.to_container(&C1), said("tcp S:80 > C1:40000"));
}

#[test]
fn no_uplink() {
    let mut h = Host::new();
    let up = h.tables.uplinks[usize::from(UPLINK)];
    let packet = tcp(C1.ip(), 40000, S, 80, SYN);
    h.tables.uplinks[usize::from(UPLINK)] = UplinkRecord {
        addr: [0; 4],
        addr6: [0; 16],
        ..up
    };
    assert_eq!(
        h.from(&C1, &packet).dropped(),
        Some(DropReason::NoUplink),
        "no address"
    );
    for ifindex in [BRIDGE2_IF, 99] {
        h.tables.routes[0].2 = out_of(ifindex);
        assert_eq!(
            h.from(&C1, &packet).dropped(),
            Some(DropReason::NoUplink),
            "not an uplink"
        );
    }
    // Where only the stack knows, it gets the packet, and the last hook translates it.
    h.tables.uplinks[usize::from(UPLINK)] = up;
    h.tables.routes.clear();
    assert!(h.from(&C1, &packet).passed());
    assert_eq!(h.from_stack(&packet).to_stack(), said("tcp H:40000 > S:80"));
}

#[test]
fn the_hosts_own_packets_are_left_alone() {
    let mut h = Host::new();
    for packet in [
        tcp(H, 40000, S, 80, SYN),
        udp(H, 5000, S, 53, b""),
        query(H, S, ECHO, 1),
    ] {
        assert!(h.from_stack(&packet).passed());
    }
    for packet in [
        tcp(S, 80, H, 40000, SYN | ACK),
        tcp(S, 1, H, 22, SYN),
        query(S, H, ECHO, 1),
    ] {
        assert!(h.from_outside(&packet).passed());
    }
    assert!(h.tables.entries().is_empty());
}

#[test]
fn counters_of_the_endpoint_and_the_flow() {
    let mut h = Host::new();
    let out = h.from(&C1, &udp(C1.ip(), 5000, S, 53, b"12345"));
    let len = out.frame.bytes.len() as u64;
    let _ = h.from_outside(&udp(S, 53, H, 5000, b"1")).to_container(&C1);
    let stats = h.tables.stats(C1.slot);
    let one = |bytes| Traffic { packets: 1, bytes };
    assert_eq!((stats.sent(), stats.given()), (one(len), one(len - 4)));
    assert_eq!(stats.flows, 1);
    let record = h.tables.entry(&record_key(tuple::UDP, 53, 5000)).unwrap();
    assert_eq!((record.packets, record.bytes), (1, len - 4));
}
