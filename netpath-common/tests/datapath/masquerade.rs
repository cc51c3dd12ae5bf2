//! Containers to the outside and the answers.

use netpath_common::{
    DropReason, Tuple,
    conntrack::tcp::{ACK, SYN},
    counters::Counter,
    records::{NETWORK_INTERNAL, NETWORK_MASQUERADE},
    testing::*,
    tuple,
};

use crate::connection::open;

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
    let out = h.from(&C1, &tcp(C1.addr, 40000, S, 80, SYN));
    assert_eq!(out.to_uplink(), "tcp 192.0.2.1:40000 > 198.51.100.9:80");
    let back = h.from_outside(&tcp(S, 80, H, 40000, SYN | ACK));
    assert_eq!(
        back.to_container(&C1),
        "tcp 198.51.100.9:80 > 172.17.0.2:40000"
    );
    assert_eq!(h.tables.counter(Counter::FlowNew), 1);
    assert_eq!(h.tables.counter(Counter::PortChanged), 0);
    assert_eq!(h.tables.entries().len(), 2);
}

#[test]
fn udp_and_echo_and_timestamp() {
    let mut h = Host::new();
    let out = h.from(&C1, &udp(C1.addr, 5000, S, 53, b"question"));
    assert_eq!(out.to_uplink(), "udp 192.0.2.1:5000 > 198.51.100.9:53");
    let back = h.from_outside(&udp(S, 53, H, 5000, b"answer!"));
    assert_eq!(
        back.to_container(&C1),
        "udp 198.51.100.9:53 > 172.17.0.2:5000"
    );
    for (ask, answer) in [(8, 0), (13, 14)] {
        let out = h.from(&C1, &query(C1.addr, S, ask, 7));
        assert_eq!(
            out.to_uplink(),
            format!("icmp {ask} 192.0.2.1 > 198.51.100.9 id 7")
        );
        let back = h.from_outside(&query(S, H, answer, 7));
        assert_eq!(
            back.to_container(&C1),
            format!("icmp {answer} 198.51.100.9 > 172.17.0.2 id 7")
        );
    }
}

#[test]
fn udp_checksum_zero_stays_zero() {
    let mut h = Host::new();
    let out = h.from(&C1, &udp_without_checksum(C1.addr, 5000, S, 53, b"x"));
    assert_eq!(out.to_uplink(), "udp 192.0.2.1:5000 > 198.51.100.9:53");
    assert_eq!(out.frame.bytes[40..42], [0, 0]);
}

#[test]
fn udp_checksum_that_becomes_zero_is_sent_as_ffff() {
    let mut h = Host::new();
    let mut seen = false;
    // The payload word runs through all values, so one of them makes the sum after NAT zero.
    for word in 0..=u16::MAX {
        let packet = udp(C1.addr, 5000, S, 53, &word.to_be_bytes());
        let out = h.from(&C1, &packet);
        assert_ne!(
            out.frame.bytes[40..42],
            [0, 0],
            "no checksum where there was one"
        );
        seen |= out.frame.bytes[40..42] == [0xff, 0xff];
    }
    assert!(seen);
}

#[test]
fn checksum_offload_keeps_the_pseudo_header_sum() {
    let mut h = Host::new();
    for mut packet in [
        tcp(C1.addr, 40000, S, 80, SYN),
        udp(C1.addr, 5000, S, 53, b"xyz"),
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
            h.from(&C1, &tcp(C1.addr, 40000, S, 80, SYN).ttl(ttl))
                .passed()
        );
    }
    let _ = h
        .from(&C1, &tcp(C1.addr, 40000, S, 80, SYN).ttl(2))
        .to_uplink();
    // Towards the container the stack can only answer for a packet that it can route.
    let back = h.from_outside(&tcp(S, 80, H, 40000, SYN | ACK).ttl(1));
    assert_eq!(back.to_stack(), "tcp 198.51.100.9:80 > 172.17.0.2:40000");
    // The stack's complaint about it is translated on its way out.
    let about = tcp(S, 80, C1.addr, 40000, SYN | ACK).ttl(1);
    let complaint = h.from_stack(&error(H, S, 11, 0, &about, 8));
    assert_eq!(
        complaint.to_stack(),
        "icmp 11/0 192.0.2.1 > 198.51.100.9 [tcp 198.51.100.9:80 > 192.0.2.1:40000]"
    );
}

#[test]
fn larger_than_the_mtu_is_for_the_stack() {
    let mut h = Host::new();
    h.tables.uplinks[usize::from(UPLINK)].mtu = 1000;
    let exact = vec![0; 1000 - 28];
    let over = vec![0; 1000 - 27];
    let _ = h.from(&C1, &udp(C1.addr, 5000, S, 53, &exact)).to_uplink();
    assert!(h.from(&C1, &udp(C1.addr, 5000, S, 53, &over)).passed());
    // It comes back from the stack with the hop counted.
    let out = h.from_stack(&udp(C1.addr, 5000, S, 53, &over));
    assert_eq!(out.to_stack(), "udp 192.0.2.1:5000 > 198.51.100.9:53");
    h.tables.endpoints[usize::from(C1.slot)].mtu = 1000;
    assert_eq!(
        h.from_outside(&udp(S, 53, H, 5000, &over)).to_stack(),
        "udp 198.51.100.9:53 > 172.17.0.2:5000"
    );
}

#[test]
fn a_super_packet_is_measured_by_its_segments() {
    let mut h = Host::new();
    open(&mut h);
    let mut frame =
        tcp_data(C1.addr, 40000, S, 80, ACK, &[7; 20_000]).frame(C1.mac, BRIDGE1_MAC, C1.ifindex);
    let hook = netpath_common::event::Hook::Veth;
    frame.gso_size = 1460;
    let _ = h.run(hook, &frame).to_uplink();
    frame.gso_size = 1461;
    assert!(h.run(hook, &frame).passed());
}

#[test]
fn ip_options_move_the_transport_header() {
    let mut h = Host::new();
    for words in 0..=10 {
        let sport = 41000 + words as u16;
        let out = h.from(&C1, &tcp(C1.addr, sport, S, 80, SYN).options(words));
        assert_eq!(
            out.to_uplink(),
            format!("tcp 192.0.2.1:{sport} > 198.51.100.9:80")
        );
        let out = h.from(&C1, &udp(C1.addr, sport, S, 53, b"odd").options(words));
        assert_eq!(
            out.to_uplink(),
            format!("udp 192.0.2.1:{sport} > 198.51.100.9:53")
        );
        let out = h.from(&C1, &query(C1.addr, S, 8, sport).options(words));
        assert_eq!(
            out.to_uplink(),
            format!("icmp 8 192.0.2.1 > 198.51.100.9 id {sport}")
        );
        let back = h.from_outside(&tcp(S, 80, H, sport, SYN | ACK).options(words));
        assert_eq!(
            back.to_container(&C1),
            format!("tcp 198.51.100.9:80 > 172.17.0.2:{sport}")
        );
    }
}

#[test]
fn what_must_not_leave() {
    let mut h = Host::new();
    let packet = tcp(C1.addr, 40000, S, 80, SYN);
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
    h.tables.networks[usize::from(NET1)].snat = [192, 0, 2, 7];
    h.tables.host_addrs.insert([192, 0, 2, 7]);
    let out = h.from(&C1, &tcp(C1.addr, 40000, S, 80, SYN));
    assert_eq!(out.to_uplink(), "tcp 192.0.2.7:40000 > 198.51.100.9:80");
    let back = h.from_outside(&tcp(S, 80, [192, 0, 2, 7], 40000, SYN | ACK));
    assert_eq!(
        back.to_container(&C1),
        "tcp 198.51.100.9:80 > 172.17.0.2:40000"
    );
}

#[test]
fn no_uplink() {
    let mut h = Host::new();
    let packet = tcp(C1.addr, 40000, S, 80, SYN);
    h.tables.uplinks[usize::from(UPLINK)].addr = [0; 4];
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
    h.tables.uplinks[usize::from(UPLINK)].addr = H;
    h.tables.routes.clear();
    assert!(h.from(&C1, &packet).passed());
    assert_eq!(
        h.from_stack(&packet).to_stack(),
        "tcp 192.0.2.1:40000 > 198.51.100.9:80"
    );
}

#[test]
fn the_hosts_own_packets_are_left_alone() {
    let mut h = Host::new();
    for packet in [
        tcp(H, 40000, S, 80, SYN),
        udp(H, 5000, S, 53, b""),
        query(H, S, 8, 1),
    ] {
        assert!(h.from_stack(&packet).passed());
    }
    for packet in [
        tcp(S, 80, H, 40000, SYN | ACK),
        tcp(S, 1, H, 22, SYN),
        query(S, H, 8, 1),
    ] {
        assert!(h.from_outside(&packet).passed());
    }
    assert!(h.tables.entries().is_empty());
}

#[test]
fn counters_of_the_endpoint_and_the_flow() {
    let mut h = Host::new();
    let out = h.from(&C1, &udp(C1.addr, 5000, S, 53, b"12345"));
    let len = out.frame.bytes.len() as u64;
    let _ = h.from_outside(&udp(S, 53, H, 5000, b"1")).to_container(&C1);
    let stats = h.tables.stats(C1.slot);
    assert_eq!((stats.tx_packets, stats.tx_bytes), (1, len));
    assert_eq!(
        (stats.rx_packets, stats.rx_bytes, stats.flows),
        (1, len - 4, 1)
    );
    let record = h.tables.entry(&record_key(tuple::UDP, 53, 5000)).unwrap();
    assert_eq!((record.packets, record.bytes), (1, len - 4));
}
