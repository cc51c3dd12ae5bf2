//! The outside to published ports, and nothing else.

use netpath_common::{
    DropReason,
    conntrack::tcp::{ACK, FIN, SYN},
    records::NETWORK_INTERNAL,
    tuple,
};

use super::family::*;

#[test]
fn tcp_reaches_the_container_with_the_clients_address() {
    let mut h = Host::new();
    let out = h.from_outside(&tcp(S, 51000, H, 8080, SYN));
    assert_eq!(out.to_container(&C1), said("tcp S:51000 > C1:80"));
    let back = h.from(&C1, &tcp(C1.ip(), 80, S, 51000, SYN | ACK));
    assert_eq!(back.to_uplink(), said("tcp H:8080 > S:51000"));
    let out = h.from_outside(&tcp(S, 51000, H, 8080, ACK));
    assert_eq!(out.to_container(&C1), said("tcp S:51000 > C1:80"));
}

#[test]
fn udp_reaches_the_container() {
    let mut h = Host::new();
    let out = h.from_outside(&udp(S, 51000, H, 5353, b"?"));
    assert_eq!(out.to_container(&C1), said("udp S:51000 > C1:53"));
    let back = h.from(&C1, &udp(C1.ip(), 53, S, 51000, b"!"));
    assert_eq!(back.to_uplink(), said("udp H:5353 > S:51000"));
}

#[test]
fn a_gateway_is_no_address_of_the_outside() {
    let mut h = Host::new();
    let out = h.from_outside(&tcp(S, 51000, GW1, 8080, SYN));
    assert_eq!(out.dropped(), Some(DropReason::DirectAccess));
}

#[test]
fn an_exact_address_wins_over_any() {
    let mut h = Host::new();
    h.tables
        .publish_range(H, (8080, 8080), tuple::TCP, (&C2, 81), 3);
    let out = h.from_outside(&tcp(S, 51000, H, 8080, SYN));
    assert_eq!(out.to_container(&C2), said("tcp S:51000 > C2:81"));
    // Another address of the host is not meant.
    h.tables.host_addrs.insert(H2);
    let out = h.from_outside(&tcp(S, 51000, H2, 8080, SYN));
    assert_eq!(out.to_container(&C1), said("tcp S:51000 > C1:80"));
}

#[test]
fn unpublished_ports_are_the_hosts() {
    let mut h = Host::new();
    assert!(h.from_outside(&tcp(S, 51000, H, 8081, SYN)).passed());
    assert!(
        h.from_outside(&udp(S, 51000, H, 8080, b"")).passed(),
        "published for TCP only"
    );
    // Reserved, but not published.
    h.tables.set_reserved(tuple::TCP, 9000, true);
    assert!(h.from_outside(&tcp(S, 51000, H, 9000, SYN)).passed());
}

#[test]
fn two_ports_of_one_backend_with_one_client_port() {
    let mut h = Host::new();
    h.tables.publish(tuple::TCP, 8081, &C1, 80, 3);
    let a = h.from_outside(&tcp(S, 51000, H, 8080, SYN));
    assert_eq!(a.to_container(&C1), said("tcp S:51000 > C1:80"));
    let b = h.from_outside(&tcp(S, 51000, H, 8081, SYN));
    let _ = b.to_container(&C1);
    let port = source_port(&b.frame);
    assert_ne!(port, 51000, "the backend must tell them apart");
    let back = h.from(&C1, &tcp(C1.ip(), 80, S, 51000, SYN | ACK));
    assert_eq!(back.to_uplink(), said("tcp H:8080 > S:51000"));
    let back = h.from(&C1, &tcp(C1.ip(), 80, S, port, SYN | ACK));
    assert_eq!(back.to_uplink(), said("tcp H:8081 > S:51000"));
}

#[test]
fn a_segment_that_begins_nothing() {
    let mut h = Host::new();
    let out = h.from_outside(&tcp(S, 51000, H, 8080, FIN | ACK));
    assert_eq!(out.dropped(), Some(DropReason::TcpNotSyn));
    assert!(h.tables.entries().is_empty());
}

#[test]
fn containers_are_never_reached_by_their_own_addresses() {
    let mut h = Host::new();
    let _ = h.from(&C1, &udp(C1.ip(), 5000, S, 53, b"")).to_uplink();
    let mut packets = vec![
        tcp(S, 51000, C1.ip(), 80, SYN),
        udp(S, 53, C1.ip(), 5000, b""),
        query(S, C1.ip(), ECHO, 1),
    ];
    packets.extend(NOBODYS.map(|dst| udp(S, 53, dst, 5000, b"")));
    for packet in packets {
        assert_eq!(
            h.from_outside(&packet).dropped(),
            Some(DropReason::DirectAccess)
        );
    }
}

#[test]
fn martians() {
    let mut h = Host::new();
    for packet in [
        tcp(S, 51000, LOOPBACK[0], 8080, SYN),
        tcp(LOOPBACK[0], 51000, H, 8080, SYN),
        tcp(C2.ip(), 51000, H, 8080, SYN),
        udp(C3.ip(), 51000, H, 5353, b""),
    ] {
        assert_eq!(h.from_outside(&packet).dropped(), Some(DropReason::Martian));
    }
    assert!(h.tables.entries().is_empty());
}

#[test]
fn a_forged_answer_of_a_container_does_not_use_its_flow() {
    // The hairpin flow C2 to H:8080 is there; the outside claims to be C2.
    let mut h = Host::new();
    let _ = h
        .from(&C2, &tcp(C2.ip(), 50000, H, 8080, SYN))
        .to_container(&C1);
    let out = h.from_outside(&tcp(C2.ip(), 50000, H, 8080, ACK));
    assert_eq!(out.dropped(), Some(DropReason::Martian));
    let out = h.from_outside(&tcp(C1.ip(), 80, C2.ip(), 50000, SYN | ACK));
    assert_eq!(out.dropped(), Some(DropReason::DirectAccess));
}

#[test]
fn internal_networks_publish_nothing() {
    let mut h = Host::new();
    h.tables.networks[usize::from(NET1)].flags |= NETWORK_INTERNAL;
    assert!(
        h.from_outside(&tcp(S, 51000, H, 8080, SYN)).passed(),
        "the host's stack answers"
    );
}

#[test]
fn records_that_are_missing() {
    let mut h = Host::new();
    h.tables.endpoints[usize::from(C1.slot)] = Default::default();
    let out = h.from_outside(&tcp(S, 51000, H, 8080, SYN));
    assert_eq!(
        out.dropped(),
        Some(DropReason::NoConfig),
        "a free endpoint slot"
    );
    let mut h = Host::new();
    h.tables.ifaces.remove(&UPLINK_IF);
    let out = h.from_outside(&tcp(S, 51000, H, 8080, SYN));
    assert_eq!(
        out.dropped(),
        Some(DropReason::NoConfig),
        "an interface that is no uplink"
    );
    let mut h = Host::new();
    h.tables.ifaces.remove(&C1.ifindex);
    let out = h.from(&C1, &tcp(C1.ip(), 40000, S, 80, SYN));
    assert_eq!(
        out.dropped(),
        Some(DropReason::NoConfig),
        "an interface that is no endpoint's"
    );
}

#[test]
fn ports_that_change_do_not_enter_the_pseudo_header_sum() {
    // Checksum offload: from a container of another network, whose stack left the rest to a device.
    let mut h = Host::new();
    for mut packet in [
        tcp(C3.ip(), 50000, H, 8080, SYN),
        udp(C3.ip(), 50000, H, 5353, b"xyz"),
    ] {
        let at = if packet.proto == tuple::TCP { 16 } else { 6 };
        let [a, b] = netpath_common::checksum::full(&[
            &packet.src,
            &packet.dst,
            &[0, packet.proto],
            &(packet.l4.len() as u16).to_be_bytes(),
        ]);
        packet.l4[at..at + 2].copy_from_slice(&[!a, !b]);
        let mut frame = packet.frame(C3.mac, BRIDGE2_MAC, C3.ifindex);
        frame.offload = Offload::Partial;
        assert_eq!(verify(&frame), Ok(()), "the test's own packet");
        let _ = h
            .run(netpath_common::event::Hook::Veth, &frame)
            .to_container(&C1);
    }
}
