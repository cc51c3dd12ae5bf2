//! A network whose containers' addresses are routed outside: nothing is translated, and in comes
//! what is published and echo requests.

use netpath_common::{
    DropReason,
    conntrack::tcp::{ACK, SYN},
    event::Hook,
    records::{NETWORK_ICC, NETWORK_INTERNAL, NETWORK_ROUTED},
    tuple::{TCP, UDP},
};

use super::family::*;

const RULE: u16 = 5;

/// The standard host; the first network is routed, and C1 has opened TCP 80 and UDP 53.
fn host() -> Host {
    let mut h = Host::new();
    h.tables.networks[usize::from(NET1)].flags = NETWORK_ROUTED | NETWORK_ICC;
    for (proto, port) in [(TCP, 80), (UDP, 53)] {
        h.tables
            .publish_range(C1.ip(), (port, port), proto, (&C1, port), RULE);
    }
    h
}

#[test]
fn what_leaves_keeps_its_address_and_port() {
    let mut h = host();
    // A port that masquerade would not give.
    h.tables.set_reserved(TCP, 8080, true);
    let out = h.from(&C1, &tcp(C1.ip(), 8080, S, 80, SYN));
    assert_eq!(out.to_uplink(), said("tcp C1:8080 > S:80"));
    let back = h.from_outside(&tcp(S, 80, C1.ip(), 8080, SYN | ACK));
    assert_eq!(back.to_container(&C1), said("tcp S:80 > C1:8080"));
    let ping = h.from(&C2, &query(C2.ip(), S, ECHO, 7));
    assert_eq!(ping.to_uplink(), said(&format!("icmp {ECHO} C2 > S id 7")));
    let back = h.from_outside(&query(S, C2.ip(), ECHO_REPLY, 7));
    assert_eq!(
        back.to_container(&C2),
        said(&format!("icmp {ECHO_REPLY} S > C2 id 7"))
    );
}

#[test]
fn in_comes_what_is_open() {
    let mut h = host();
    let web = h.from_outside(&tcp(S, 51000, C1.ip(), 80, SYN));
    assert_eq!(web.to_container(&C1), said("tcp S:51000 > C1:80"));
    let back = h.from(&C1, &tcp(C1.ip(), 80, S, 51000, SYN | ACK));
    assert_eq!(back.to_uplink(), said("tcp C1:80 > S:51000"));
    let dns = h.from_outside(&udp(S, 51000, C1.ip(), 53, b"?"));
    assert_eq!(dns.to_container(&C1), said("udp S:51000 > C1:53"));
    let ping = h.from_outside(&query(S, C2.ip(), ECHO, 9));
    assert_eq!(
        ping.to_container(&C2),
        said(&format!("icmp {ECHO} S > C2 id 9"))
    );
}

#[test]
fn nothing_else_does() {
    let mut h = host();
    for packet in [
        tcp(S, 51000, C1.ip(), 81, SYN),
        // Published by the host's address, and on another container.
        tcp(S, 51000, C1.ip(), 8080, SYN),
        tcp(S, 51000, C2.ip(), 80, SYN),
        udp(S, 51000, C1.ip(), 80, b""),
        query(S, C1.ip(), ECHO_REPLY, 9),
        // Nobody has the address; another network's is not routed.
        tcp(S, 51000, NOBODYS[0], 80, SYN),
        tcp(S, 51000, C3.ip(), 80, SYN),
        error(R, C1.ip(), UNREACHABLE, 1, &tcp(C1.ip(), 1, S, 2, SYN), 20),
    ] {
        let out = h.from_outside(&packet);
        assert_eq!(out.dropped(), Some(DropReason::DirectAccess), "{packet:?}");
    }
    let forged = h.from_outside(&tcp(C2.ip(), 51000, C1.ip(), 80, SYN));
    assert_eq!(forged.dropped(), Some(DropReason::Martian));
    assert_eq!(h.tables.entry_count(), 0, "no flow was made");
    h.tables.networks[usize::from(NET1)].flags |= NETWORK_INTERNAL;
    let out = h.from_outside(&tcp(S, 51000, C1.ip(), 80, SYN));
    assert_eq!(out.dropped(), Some(DropReason::DirectAccess));
    let out = h.from(&C1, &tcp(C1.ip(), 40000, S, 80, SYN));
    assert_eq!(out.dropped(), Some(DropReason::NotRoutable));
}

#[test]
fn errors_and_fragments_follow_their_flow() {
    let mut h = host();
    let syn = tcp_data(C1.ip(), 40000, S, 80, SYN, b"payload");
    let _ = h.from(&C1, &syn).to_uplink();
    let out = h.from_outside(&error(R, C1.ip(), TOO_BIG[0], TOO_BIG[1], &syn, 20));
    assert_eq!(
        out.to_container(&C1),
        said(&format!(
            "icmp {}/{} R > C1 [tcp C1:40000 > S:80]",
            TOO_BIG[0], TOO_BIG[1]
        ))
    );
    let parts = udp(S, 51000, C1.ip(), 53, &[7; 4000]).parts(1);
    for part in &parts {
        let _ = h.from_outside(part).to_container(&C1);
    }
    // The last one first: it waits.
    let mut parts = udp(S, 51000, C1.ip(), 53, &[7; 2000]).parts(9);
    parts.reverse();
    let out = h.from_outside(&parts[0]);
    assert_eq!(out.result, Ok(netpath_common::Verdict::Held));
    let _ = h.from_outside(&parts[1]).to_container(&C1);
}

#[test]
fn another_network_reaches_what_is_open() {
    let mut h = host();
    let out = h.from(&C3, &tcp(C3.ip(), 40000, C1.ip(), 80, SYN));
    assert_eq!(out.to_container(&C1), said("tcp C3:40000 > C1:80"));
    let back = h.from(&C1, &tcp(C1.ip(), 80, C3.ip(), 40000, SYN | ACK));
    assert_eq!(back.to_container(&C3), said("tcp C1:80 > C3:40000"));
    let out = h.from(&C3, &tcp(C3.ip(), 40000, C1.ip(), 81, SYN));
    assert_eq!(out.dropped(), Some(DropReason::OtherNetwork));
}

#[test]
fn what_the_stack_sends_keeps_its_address_too() {
    let mut h = host();
    let syn = tcp(C1.ip(), 40000, S, 80, SYN);
    assert!(
        h.from(&C1, &syn.clone().ttl(1)).passed(),
        "the stack answers"
    );
    let out = h.run(
        Hook::UplinkEgress,
        &syn.frame(UPLINK_MAC, ROUTER_MAC, UPLINK_IF),
    );
    assert_eq!(out.to_stack(), said("tcp C1:40000 > S:80"));
}

#[test]
fn closing_a_port_ends_its_flows() {
    let mut h = host();
    let _ = h
        .from_outside(&tcp(S, 51000, C1.ip(), 80, SYN))
        .to_container(&C1);
    h.tables.rules[usize::from(RULE)].generation += 1;
    h.tables.published.clear();
    let out = h.from_outside(&tcp(S, 51000, C1.ip(), 80, ACK));
    assert_eq!(out.dropped(), Some(DropReason::DirectAccess));
}

#[test]
fn ranges_and_allow_lists_hold_there_too() {
    let mut h = host();
    h.tables
        .publish_range(C1.ip(), (9000, 9009), TCP, (&C1, 9000), RULE);
    let web = h.from_outside(&tcp(S, 51000, C1.ip(), 9007, SYN));
    assert_eq!(web.to_container(&C1), said("tcp S:51000 > C1:9007"));
    let out = h.from_outside(&tcp(S, 51000, C1.ip(), 9010, SYN));
    assert_eq!(out.dropped(), Some(DropReason::DirectAccess));
    h.tables.allow(RULE, &[(S2, BITS)]);
    let out = h.from_outside(&tcp(S, 51001, C1.ip(), 80, SYN));
    assert_eq!(out.dropped(), Some(DropReason::NotAllowed));
    let out = h.from(&C3, &tcp(C3.ip(), 51001, C1.ip(), 80, SYN));
    assert_eq!(out.dropped(), Some(DropReason::NotAllowed));
    let out = h.from_outside(&tcp(S2, 51001, C1.ip(), 80, SYN));
    let _ = out.to_container(&C1);
}

#[test]
fn what_is_published_at_any_address_of_the_host_opens_nothing() {
    let mut h = host();
    h.tables.publish(TCP, 8080, &C1, 8080, RULE);
    let out = h.from_outside(&tcp(S, 51000, C1.ip(), 8080, SYN));
    assert_eq!(out.dropped(), Some(DropReason::DirectAccess));
}
