//! Networks that are visible to the host's firewall, hook by hook. The whole way of such packets is in
//! `visible_both.rs`.

use netpath_common::{
    DropReason, Verdict,
    conntrack::tcp::{ACK, FIN, SYN},
    counters::Counter,
    datapath::LEASE_NS,
    event::Hook,
    records::{ENDPOINT_VISIBLE, LOOPBACK_IFINDEX, NETWORK_INTERNAL, NETWORK_MASQUERADE},
};

use super::{
    family::*,
    next_hop::{UPLINK2_IF, two_uplinks},
};

fn host() -> Host {
    let mut h = Host::new();
    h.tables.make_visible();
    h
}

fn question() -> Datagram {
    udp(C1.ip(), 5000, S, 53, b"?")
}

/// The stack sends a packet out of the other uplink.
fn by_uplink2(h: &mut Host, packet: &Datagram) -> Outcome {
    let frame = packet.frame(UPLINK_MAC, ROUTER_MAC, UPLINK2_IF);
    h.run(Hook::UplinkEgress, &frame)
}

#[test]
fn what_leaves_goes_up_as_it_is_and_is_translated_at_the_uplink() {
    let mut h = host();
    for flags in [SYN, ACK, ACK, FIN | ACK] {
        let packet = tcp(C1.ip(), 40000, S, 80, flags);
        assert!(h.from(&C1, &packet).passed());
        let out = h.from_stack(&packet.ttl(63));
        assert_eq!(out.to_stack(), said("tcp H:40000 > S:80"));
        let back = h.from_outside(&tcp(
            S,
            80,
            H,
            40000,
            if flags == SYN { SYN | ACK } else { ACK },
        ));
        assert_eq!(back.to_stack(), said("tcp S:80 > C1:40000"));
    }
    let stats = h.tables.stats(C1.slot);
    assert_eq!(
        (stats.flows, stats.sent().packets, stats.given().packets),
        (1, 4, 4)
    );
}

#[test]
fn what_comes_in_goes_up_with_the_containers_address() {
    let mut h = host();
    let out = h.from_outside(&tcp(S, 51000, H, 8080, SYN));
    assert_eq!(out.to_stack(), said("tcp S:51000 > C1:80"));
    let answer = tcp(C1.ip(), 80, S, 51000, SYN | ACK);
    assert!(h.from(&C1, &answer).passed());
    assert_eq!(
        h.from_stack(&answer).to_stack(),
        said("tcp H:8080 > S:51000")
    );
}

#[test]
fn of_what_the_firewall_drops_nothing_remains() {
    let mut h = host();
    assert!(h.from(&C1, &question()).passed());
    assert_eq!(h.tables.entry_count(), 0);
    assert_eq!(h.tables.counter(Counter::FlowNew), 0);
}

#[test]
fn a_packet_of_a_flow_is_looked_up_once() {
    let mut h = host();
    let both = |h: &mut Host| {
        let before = h.tables.looked_up.get();
        assert!(h.from(&C1, &question()).passed());
        let veth = h.tables.looked_up.get();
        let _ = h.from_stack(&question()).to_stack();
        (veth - before, h.tables.looked_up.get() - veth)
    };
    let _ = both(&mut h);
    // By the entry: then the sender is known for a second.
    assert_eq!(both(&mut h), (1, 1));
    assert_eq!(both(&mut h), (0, 1));
    h.tables.now += LEASE_NS - 1;
    assert_eq!(both(&mut h), (0, 1));
    h.tables.now += 1;
    assert_eq!(both(&mut h).0, 1);
    // Where nothing is visible the order is as ever, and the answer too.
    h.tables.config.as_mut().unwrap().flags = 0;
    h.tables.now += 100_000_000;
    assert_eq!(both(&mut h), (1, 1));
}

#[test]
fn nobody_else_uses_a_flow_that_is_known() {
    let mut h = host();
    for _ in 0..2 {
        assert!(h.from(&C1, &question()).passed());
        let _ = h.from_stack(&question()).to_stack();
    }
    let forged = h.run(
        Hook::Veth,
        &question().frame(C2.mac, BRIDGE1_MAC, C1.ifindex),
    );
    assert_eq!(forged.dropped(), Some(DropReason::SpoofedMac));
    let forged = h.run(
        Hook::Veth,
        &question().frame(C1.mac, BRIDGE1_MAC, C2.ifindex),
    );
    assert_eq!(forged.dropped(), Some(DropReason::SpoofedMac));
    let forged = h.run(
        Hook::Veth,
        &question().frame(C2.mac, BRIDGE1_MAC, C2.ifindex),
    );
    assert_eq!(forged.dropped(), Some(DropReason::SpoofedAddress));
}

#[test]
fn neighbours_and_the_host_are_reached_as_ever() {
    let mut h = host();
    let out = h.from(&C2, &tcp(C2.ip(), 50000, H, 8080, SYN));
    assert_eq!(out.to_container(&C1), said("tcp C2:50000 > C1:80"));
    let back = h.from(&C1, &tcp(C1.ip(), 80, C2.ip(), 50000, SYN | ACK));
    assert_eq!(back.to_container(&C2), said("tcp H:8080 > C2:50000"));
    let out = h.from(&C3, &tcp(C3.ip(), 50000, H, 8080, SYN));
    assert_eq!(out.to_container(&C1), said("tcp C3:50000 > C1:80"));
    assert!(h.from(&C1, &tcp(C1.ip(), 50000, GW1, 22, SYN)).passed());
    // What came by the loopback device goes back there.
    h.tables.translate_at_loopback();
    let out = h.from_itself(&tcp(H, 40000, H, 8080, SYN));
    assert_eq!(out.to_container(&C1), said("tcp H:40000 > C1:80"));
    let back = h.from(&C1, &tcp(C1.ip(), 80, H, 40000, SYN | ACK));
    let want = Ok(Verdict::ToUplink {
        ifindex: LOOPBACK_IFINDEX,
        leased: false,
    });
    assert_eq!(back.result, want, "{}", back.text());
}

#[test]
fn the_stack_may_choose_another_uplink() {
    let mut h = two_uplinks();
    h.tables.make_visible();
    for _ in 0..2 {
        assert!(h.from(&C1, &question()).passed());
        let out = h.from_stack(&question());
        assert_eq!(out.to_stack(), said("udp H:5000 > S:53"));
    }
    // By a mark that nobody else knows of: the address would be wrong there.
    assert!(h.from(&C1, &question()).passed());
    let out = by_uplink2(&mut h, &question());
    assert_eq!(out.to_stack(), said("udp H2:5000 > S:53"));
    assert_eq!(h.tables.entries().len(), 2, "the old flow is gone");
    // Answers keep the address that was asked.
    h.from_outside(&udp(S, 4000, H, 5353, b"?"));
    let answer = udp(C1.ip(), 53, S, 4000, b"!");
    assert!(h.from(&C1, &answer).passed());
    let out = by_uplink2(&mut h, &answer);
    assert_eq!(out.to_stack(), said("udp H:5353 > S:4000"));
}

#[test]
fn an_uplink_with_another_address_ends_the_flow_within_a_second() {
    let mut h = host();
    for _ in 0..2 {
        assert!(h.from(&C1, &question()).passed());
        let out = h.from_stack(&question());
        assert_eq!(out.to_stack(), said("udp H:5000 > S:53"));
    }
    h.tables.routes[0].2.source = H3;
    h.tables.now += LEASE_NS;
    assert!(h.from(&C1, &question()).passed());
    let out = h.from_stack(&question());
    assert_eq!(out.to_stack(), said("udp H3:5000 > S:53"));
}

#[test]
fn a_flow_goes_on_when_the_mode_changes() {
    let mut h = Host::new();
    let _ = h.from(&C1, &tcp(C1.ip(), 40000, S, 80, SYN)).to_uplink();
    let _ = h
        .from_outside(&tcp(S, 80, H, 40000, SYN | ACK))
        .to_container(&C1);
    let packet = tcp(C1.ip(), 40000, S, 80, ACK);
    let _ = h.from(&C1, &packet).to_uplink();
    h.tables.make_visible();
    assert!(h.from(&C1, &packet).passed());
    assert_eq!(h.from_stack(&packet).to_stack(), said("tcp H:40000 > S:80"));
    let back = h.from_outside(&tcp(S, 80, H, 40000, ACK));
    assert_eq!(back.to_stack(), said("tcp S:80 > C1:40000"));
    assert!(h.from(&C1, &packet).passed());
    for endpoint in &mut h.tables.endpoints {
        endpoint.flags &= !ENDPOINT_VISIBLE;
    }
    h.tables.config.as_mut().unwrap().flags = 0;
    // The hooks learn that with the next tick of the clock.
    h.tables.now += 100_000_000;
    assert_eq!(h.from(&C1, &packet).to_uplink(), said("tcp H:40000 > S:80"));
    let back = h.from_outside(&tcp(S, 80, H, 40000, ACK));
    assert_eq!(back.to_container(&C1), said("tcp S:80 > C1:40000"));
    assert_eq!(h.tables.entries().len(), 2);
}

#[test]
fn fragments_leave_behind_their_first_one() {
    let mut h = host();
    let parts = udp(C1.ip(), 5000, S, 53, &[3; 4000]).parts(9);
    assert_eq!(h.from(&C1, &parts[1]).result, Ok(Verdict::Held));
    let first = h.from(&C1, &parts[0]);
    assert!(first.passed());
    assert_eq!(first.frame.again.len(), 1, "the one that has waited");
    // Where the stack reassembles they all come before the uplink has seen one.
    assert!(h.from(&C1, &parts[1]).passed());
    for part in &parts {
        let _ = h.from_stack(part).to_stack();
    }
    assert!(h.from(&C1, &parts[2]).passed());
    assert!(h.drops.is_empty(), "{:?}", h.drops);
}

#[test]
fn errors_are_translated_at_the_uplink_as_well() {
    let mut h = host();
    let asked = udp(S, 4000, C1.ip(), 53, b"?");
    h.from_outside(&udp(S, 4000, H, 5353, b"?"));
    let error = no_port(C1.ip(), S, &asked);
    assert!(h.from(&C1, &error).passed());
    let out = h.from_stack(&error);
    let [kind, code] = NO_PORT;
    let want = said(&format!("icmp {kind}/{code} H > S [udp S:4000 > H:5353]"));
    assert_eq!(out.to_stack(), want);
    assert!(h.from(&C1, &question()).passed());
    let sent = h.from_stack(&question());
    assert_eq!(sent.to_stack(), said("udp H:5000 > S:53"));
    let back = h.from_outside(&no_port(S, H, &udp(H, 5000, S, 53, b"?")));
    let want = said(&format!("icmp {kind}/{code} S > C1 [udp C1:5000 > S:53]"));
    assert_eq!(back.to_stack(), want);
}

#[test]
fn what_may_not_leave_does_not_go_up() {
    let mut h = host();
    h.tables.routes[0].2 = out_of(99);
    assert_eq!(
        h.from(&C1, &question()).dropped(),
        Some(DropReason::NoUplink)
    );
    h.tables.routes[0].2 = out_of(UPLINK_IF);
    assert!(h.from(&C1, &question()).passed());
    let _ = h.from_stack(&question()).to_stack();
    // A flow that the network may have no more is judged anew.
    let network = &mut h.tables.networks[usize::from(NET1)];
    network.flags |= NETWORK_INTERNAL;
    h.tables.endpoints[usize::from(C1.slot)].generation += 1;
    assert_eq!(
        h.from(&C1, &question()).dropped(),
        Some(DropReason::NotRoutable)
    );
    let network = &mut h.tables.networks[usize::from(NET1)];
    network.flags &= !(NETWORK_INTERNAL | NETWORK_MASQUERADE);
    assert_eq!(
        h.from(&C1, &question()).dropped(),
        Some(DropReason::NotRoutable)
    );
    assert_eq!(
        h.from_stack(&question()).dropped(),
        Some(DropReason::NotRoutable)
    );
}

#[test]
fn a_refused_flow_is_told_from_the_uplink() {
    let mut h = host();
    h.tables.config.as_mut().unwrap().endpoint_flows = 1;
    let _ = h.from_stack(&question()).to_stack();
    let packet = udp(C1.ip(), 6000, S, 53, b"?");
    assert!(h.from(&C1, &packet).passed());
    let out = h.from_stack(&packet);
    assert_eq!(out.dropped(), Some(DropReason::EndpointQuota));
    let told = out.answer.expect("no answer");
    let want = [&C1.mac[..], &BRIDGE1_MAC, &ETHERTYPE].concat();
    assert_eq!(told.bytes[..14], want);
    assert_eq!((source(&told), destination(&told)), (GW1, C1.ip()));
}

#[test]
fn what_belongs_to_no_connection_is_dropped_at_the_uplink() {
    let mut h = host();
    let packet = tcp(C1.ip(), 40000, S, 80, FIN | ACK);
    assert!(h.from(&C1, &packet).passed());
    assert_eq!(h.from_stack(&packet).dropped(), Some(DropReason::TcpNotSyn));
}
