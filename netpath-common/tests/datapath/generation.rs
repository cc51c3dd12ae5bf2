//! Flows end with what made them (cases 9, 15, 26, 27): on the next packet, with no scan.

use netpath_common::{
    DropReason,
    conntrack::tcp::{ACK, FIN, SYN, TcpState},
    counters::Counter,
    datapath::{Tables, collect},
    tuple,
};

use super::{connection::open, family::*, masquerade::record_key};

#[test]
fn a_moved_port_leads_elsewhere_at_once() {
    let mut h = Host::new();
    let _ = h
        .from_outside(&udp(S, 51000, H, 5353, b"1"))
        .to_container(&C1);
    let _ = h.from(&C1, &udp(C1.ip(), 53, S, 51000, b"1")).to_uplink();
    h.tables.publish(tuple::UDP, 5353, &C2, 54, RULE_DNS);
    let out = h.from_outside(&udp(S, 51000, H, 5353, b"2"));
    assert_eq!(out.to_container(&C2), said("udp S:51000 > C2:54"));
    assert_eq!(h.tables.counter(Counter::FlowRemoved), 1);
    assert_eq!(h.tables.entries().len(), 2);
}

#[test]
fn an_unpublished_port_is_closed_at_once() {
    let mut h = Host::new();
    let _ = h
        .from_outside(&tcp(S, 51000, H, 8080, SYN))
        .to_container(&C1);
    h.tables.unpublish(tuple::TCP, 8080, RULE_WEB);
    assert!(
        h.from_outside(&tcp(S, 51000, H, 8080, ACK)).passed(),
        "the host's stack resets it"
    );
    assert!(h.tables.entries().is_empty());
}

#[test]
fn an_address_given_to_another_container() {
    let mut h = Host::new();
    open(&mut h);
    h.tables.remove_container(&C1);
    let back = h.from_outside(&tcp(S, 80, H, 40000, ACK));
    assert!(back.passed(), "nobody's any more");
    let heir = Container {
        mac: [2, 0x42, 0, 0, 0, 9],
        ifindex: 19,
        ..C1
    };
    h.tables.add_container(&heir);
    assert!(h.from_outside(&tcp(S, 80, H, 40000, ACK)).passed());
    assert!(h.tables.entries().is_empty());
}

#[test]
fn an_address_that_moved_to_another_slot_does_not_inherit_translations() {
    let mut h = Host::new();
    // C2 holds the port, so C1's flow has another one.
    let _ = h.from(&C2, &udp(C2.ip(), 5000, S, 53, b"")).to_uplink();
    let _ = h.from(&C1, &udp(C1.ip(), 5000, S, 53, b"")).to_uplink();
    let _ = h.from_outside(&udp(S, 53, H, 5000, b"")).to_container(&C2);
    // C1's address is given to another container; the port becomes free.
    h.tables.remove_container(&C1);
    h.tables.remove_container(&C2);
    let heir = Container {
        mac: [2, 0x42, 0, 0, 0, 9],
        ifindex: 19,
        slot: 5,
        ..C1
    };
    h.tables.add_container(&heir);
    let out = h.from(&heir, &udp(C1.ip(), 5000, S, 53, b""));
    assert_eq!(out.to_uplink(), said("udp H:5000 > S:53"));
    let back = h.from_outside(&udp(S, 53, H, 5000, b""));
    assert_eq!(back.to_container(&heir), said("udp S:53 > C1:5000"));
    assert_eq!(h.tables.stats(heir.slot).sent().packets, 1);
}

#[test]
fn a_changed_uplink_address() {
    let mut h = Host::new();
    open(&mut h);
    h.tables.host_addrs.remove(&H);
    h.tables.host_addrs.insert(H2);
    let uplink = &mut h.tables.uplinks[usize::from(UPLINK)];
    set_uplink(uplink, H2);
    uplink.generation += 1;
    let out = h.from(&C1, &tcp(C1.ip(), 40000, S, 80, ACK));
    assert_eq!(out.to_uplink(), said("tcp H2:40000 > S:80"));
    assert_eq!(h.tables.entries().len(), 2, "the old flow is gone");
    assert!(h.tables.entry(&record_key(tuple::TCP, 80, 40000)).is_none());
}

#[test]
fn an_unrelated_change_changes_nothing() {
    let mut h = Host::new();
    open(&mut h);
    h.tables.endpoints[usize::from(C2.slot)].generation += 1;
    h.tables.rules[usize::from(RULE_WEB)].generation += 1;
    h.tables.uplinks[2].generation += 1;
    let _ = h.from(&C1, &tcp(C1.ip(), 40000, S, 80, ACK)).to_uplink();
    assert_eq!(h.tables.counter(Counter::FlowNew), 1);
    assert_eq!(h.tables.counter(Counter::FlowRemoved), 0);
}

#[test]
fn a_lost_index_is_made_again_with_the_same_port() {
    let mut h = Host::new();
    open(&mut h);
    let record = record_key(tuple::TCP, 80, 40000);
    let index = h.tables.entry(&record).unwrap().other_key(&record);
    h.tables.ct_delete(&index);
    let out = h.from(&C1, &tcp(C1.ip(), 40000, S, 80, ACK));
    assert_eq!(out.to_uplink(), said("tcp H:40000 > S:80"));
    assert!(h.tables.entry(&index).is_some());
    assert_eq!(
        h.tables.entry(&record).unwrap().tcp_state(),
        TcpState::Established
    );
    assert_eq!(h.tables.counter(Counter::FlowNew), 1);
}

/// A flow of C2 whose port was changed, and its index has been lost; the port it has outside.
fn without_index(h: &mut Host) -> u16 {
    open(h);
    let syn = tcp(C2.ip(), 40000, S, 80, SYN);
    let _ = h.from(&C2, &syn).to_uplink();
    let mut records = h
        .tables
        .entries()
        .into_iter()
        .filter(|(_, e)| e.is_record());
    let (record, e) = records.find(|(_, e)| e.to == C2.slot).unwrap();
    let index = e.other_key(&record);
    h.tables.ct_delete(&index);
    assert_ne!(record.dport, 40000);
    record.dport
}

#[test]
fn a_reply_makes_a_lost_index_again_whatever_the_port() {
    let mut h = Host::new();
    let port = without_index(&mut h);
    let reply = tcp(S, 80, H, port, SYN | ACK);
    assert_eq!(
        h.from_outside(&reply).to_container(&C2),
        said("tcp S:80 > C2:40000")
    );
    let out = h.from(&C2, &tcp(C2.ip(), 40000, S, 80, ACK));
    assert_eq!(out.to_uplink(), said(&format!("tcp H:{port} > S:80")));
    assert_eq!(h.tables.counter(Counter::FlowNew), 2);
    assert_eq!(h.tables.entries().len(), 4);
}

#[test]
fn without_a_reply_a_flow_with_another_port_is_not_found_again() {
    // Its record is under a port that nothing leads to: the documented limit.
    let mut h = Host::new();
    let port = without_index(&mut h);
    let out = h.from(&C2, &tcp(C2.ip(), 40000, S, 80, ACK));
    assert_eq!(out.dropped(), Some(DropReason::TcpNotSyn));
    let _ = h
        .from_outside(&tcp(S, 80, H, port, SYN | ACK))
        .to_container(&C2);
}

#[test]
fn an_index_is_not_made_again_beside_a_flow_that_ends_meanwhile() {
    let mut h = Host::new();
    let port = without_index(&mut h);
    let record = record_key(tuple::TCP, 80, port);
    // Another processor takes the flow away just before the index is there.
    h.tables.before_insert(0, move |t| {
        assert!(collect(t, &record, true));
    });
    let _ = h.from_outside(&tcp(S, 80, H, port, SYN | ACK));
    assert_eq!(h.tables.entries().len(), 2, "the flow of C1 alone");
}

#[test]
fn a_lost_record_ends_the_flow() {
    let mut h = Host::new();
    open(&mut h);
    h.tables.ct_delete(&record_key(tuple::TCP, 80, 40000));
    assert!(h.from_outside(&tcp(S, 80, H, 40000, ACK)).passed());
    h.tables.advance_ms(1000);
    let out = h.from(&C1, &tcp(C1.ip(), 40000, S, 80, FIN | ACK));
    assert_eq!(out.dropped(), Some(DropReason::TcpNotSyn));
    assert!(h.tables.entries().is_empty());
}

#[test]
fn a_stale_inbound_flow_does_not_serve_an_outbound_connection() {
    // Case 15: the outside came to C1:80; later C1 connects from port 80 to the same peer port.
    let mut h = Host::new();
    let _ = h
        .from_outside(&tcp(S, 51000, H, 8080, SYN))
        .to_container(&C1);
    h.tables.advance_ms(120_000);
    let out = h.from(&C1, &tcp(C1.ip(), 80, S, 51000, SYN));
    assert_eq!(out.to_uplink(), said("tcp H:80 > S:51000"));
    let key = Tuple {
        src: S,
        dst: H,
        sport: 51000,
        dport: 8080,
        proto: tuple::TCP,
        ..Tuple::default()
    };
    assert!(h.tables.entry(&key).is_none());
}

/// Opens and closes S:51000 to H:8080; the client closed first.
fn time_wait(h: &mut Host) {
    let _ = h
        .from_outside(&tcp(S, 51000, H, 8080, SYN))
        .to_container(&C1);
    let _ = h
        .from(&C1, &tcp(C1.ip(), 80, S, 51000, SYN | ACK))
        .to_uplink();
    let _ = h
        .from_outside(&tcp(S, 51000, H, 8080, ACK))
        .to_container(&C1);
    let _ = h
        .from_outside(&tcp(S, 51000, H, 8080, FIN | ACK))
        .to_container(&C1);
    let _ = h
        .from(&C1, &tcp(C1.ip(), 80, S, 51000, FIN | ACK))
        .to_uplink();
    let _ = h
        .from_outside(&tcp(S, 51000, H, 8080, ACK))
        .to_container(&C1);
}

#[test]
fn a_syn_of_the_reply_direction_after_time_wait_begins_a_new_flow() {
    // The kernel deletes the entry and looks the packet up again as a new one
    // (nf_conntrack_proto_tcp.c, -NF_REPEAT).
    let mut h = Host::new();
    time_wait(&mut h);
    let out = h.from(&C1, &tcp(C1.ip(), 80, S, 51000, SYN));
    assert_eq!(out.to_uplink(), said("tcp H:80 > S:51000"));
    let back = h.from_outside(&tcp(S, 51000, H, 80, SYN | ACK));
    assert_eq!(back.to_container(&C1), said("tcp S:51000 > C1:80"));
}

#[test]
fn the_outside_does_not_enter_through_a_flow_in_time_wait() {
    let mut h = Host::new();
    open(&mut h);
    let _ = h
        .from(&C1, &tcp(C1.ip(), 40000, S, 80, FIN | ACK))
        .to_uplink();
    let _ = h
        .from_outside(&tcp(S, 80, H, 40000, FIN | ACK))
        .to_container(&C1);
    let _ = h.from(&C1, &tcp(C1.ip(), 40000, S, 80, ACK)).to_uplink();
    assert!(
        h.from_outside(&tcp(S, 80, H, 40000, SYN)).passed(),
        "a new connection to the host"
    );
}
