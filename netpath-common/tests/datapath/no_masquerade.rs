//! Destinations to which the containers of a masqueraded network keep their addresses.

use netpath_common::{
    DropReason,
    conntrack::tcp::{ACK, SYN},
    datapath::LEASE_NS,
    event::Hook,
    records::{KEPT_NETWORKS, NETWORK_BINDINGS, NETWORK_KEEPS},
    tuple::TCP,
};

use super::family::*;

/// The first network keeps its addresses to the net of S.
fn host() -> Host {
    let mut h = Host::new();
    h.tables.networks[usize::from(NET1)].flags |= NETWORK_KEEPS;
    let (net, len) = NET_OF_S;
    h.tables
        .allowed
        .push((KEPT_NETWORKS | u32::from(NET1), net, len));
    h
}

#[test]
fn only_what_is_listed_keeps_its_address() {
    let mut h = host();
    // A port that masquerade would not give.
    h.tables.set_reserved(TCP, 8080, true);
    let out = h.from(&C1, &tcp(C1.ip(), 8080, S, 80, SYN));
    assert_eq!(out.to_uplink(), said("tcp C1:8080 > S:80"));
    let back = h.from_outside(&tcp(S, 80, C1.ip(), 8080, SYN | ACK));
    assert_eq!(back.to_container(&C1), said("tcp S:80 > C1:8080"));
    let ping = h.from(&C2, &query(C2.ip(), S, ECHO, 7));
    assert_eq!(ping.to_uplink(), said(&format!("icmp {ECHO} C2 > S id 7")));
    let out = h.from(&C1, &tcp(C1.ip(), 40000, S2, 80, SYN));
    assert_eq!(out.to_uplink(), said("tcp H:40000 > S2:80"));
    // The list is one network's, whatever another one has of its own.
    h.tables.networks[usize::from(NET2)].flags |= NETWORK_KEEPS;
    let out = h.from(&C3, &tcp(C3.ip(), 40000, S, 80, SYN));
    assert_eq!(out.to_uplink(), said("tcp H:40000 > S:80"));
}

#[test]
fn in_come_answers_alone() {
    let mut h = host();
    for packet in [
        tcp(S, 51000, C1.ip(), 80, SYN),
        udp(S, 51000, C1.ip(), 53, b"?"),
        query(S, C1.ip(), ECHO, 7),
        query(S, C1.ip(), ECHO_REPLY, 7),
    ] {
        let out = h.from_outside(&packet);
        assert_eq!(out.dropped(), Some(DropReason::DirectAccess), "{packet:?}");
    }
    let _ = h.from(&C1, &udp(C1.ip(), 5000, S, 53, b"?")).to_uplink();
    let out = h.from_outside(&udp(S, 54, C1.ip(), 5000, b"!"));
    assert_eq!(out.dropped(), Some(DropReason::DirectAccess));
    let out = h.from_outside(&udp(S, 53, C1.ip(), 5000, b"!"));
    assert_eq!(out.to_container(&C1), said("udp S:53 > C1:5000"));
    assert_eq!(h.tables.entry_count(), 2);
}

#[test]
fn published_ports_are_translated_as_ever() {
    let mut h = host();
    let out = h.from_outside(&tcp(S, 51000, H, 8080, SYN));
    assert_eq!(out.to_container(&C1), said("tcp S:51000 > C1:80"));
    let back = h.from(&C1, &tcp(C1.ip(), 80, S, 51000, SYN | ACK));
    assert_eq!(back.to_uplink(), said("tcp H:8080 > S:51000"));
}

#[test]
fn the_flow_outlives_its_lease() {
    let mut h = host();
    h.tables.routes[0].2.source = H;
    for _ in 0..3 {
        let out = h.from(&C1, &udp(C1.ip(), 5000, S, 53, b"?"));
        assert_eq!(out.to_uplink(), said("udp C1:5000 > S:53"));
        let back = h.from_outside(&udp(S, 53, C1.ip(), 5000, b"!"));
        let _ = back.to_container(&C1);
        h.tables.now += LEASE_NS;
    }
    assert_eq!(h.tables.stats(C1.slot).flows, 1, "it is not made anew");
}

#[test]
fn errors_and_fragments_follow_their_flow() {
    let mut h = host();
    let sent = udp(C1.ip(), 5000, S, 53, b"?");
    let _ = h.from(&C1, &sent).to_uplink();
    let out = h.from_outside(&no_port(S, C1.ip(), &sent));
    let [kind, code] = NO_PORT;
    let want = said(&format!("icmp {kind}/{code} S > C1 [udp C1:5000 > S:53]"));
    assert_eq!(out.to_container(&C1), want);
    for part in &udp(S, 53, C1.ip(), 5000, &[7; 4000]).parts(1) {
        let _ = h.from_outside(part).to_container(&C1);
    }
    for part in &udp(C1.ip(), 5000, S, 53, &[7; 4000]).parts(2) {
        let _ = h.from(&C1, part).to_uplink();
    }
    let frame =
        udp(S, 53, C1.ip(), 5000, &[7; 4000]).parts(9)[1].frame(ROUTER_MAC, UPLINK_MAC, UPLINK_IF);
    let out = h.run(Hook::UplinkIngress, &frame);
    assert_eq!(out.result, Ok(netpath_common::Verdict::Held));
}

#[test]
fn bindings_are_of_what_is_translated() {
    let mut h = host();
    h.tables.networks[usize::from(NET1)].flags |= NETWORK_BINDINGS;
    let _ = h.from(&C1, &udp(C1.ip(), 5000, S, 53, b"?")).to_uplink();
    assert_eq!(h.tables.entry_count(), 2, "a flow and nothing else");
}
