//! Quotas of endpoints and the budget of what strangers begin (case 28; RFC 6888 REQ-4, REQ-5).

use netpath_common::{
    DropReason,
    conntrack::{
        Budget,
        tcp::{ACK, FIN, SYN},
    },
    counters::Counter,
    datapath::{Tables, collect},
    tuple,
};

use super::family::*;

/// A host where one endpoint may have begun `flows` flows.
fn with_flows(flows: u32) -> Host {
    let mut h = Host::new();
    h.tables.config.as_mut().unwrap().endpoint_flows = flows;
    h
}

#[test]
fn a_greedy_container_is_refused_and_the_others_are_not() {
    let mut h = with_flows(10);
    for port in 0..10 {
        let _ = h
            .from(&C1, &udp(C1.ip(), 5000 + port, S, 53, b""))
            .to_uplink();
    }
    let over = h.from(&C1, &udp(C1.ip(), 6000, S, 53, b""));
    assert_eq!(over.dropped(), Some(DropReason::EndpointQuota));
    assert_eq!(h.drops_of(DropReason::EndpointQuota), 1);
    // What it has goes on, the others begin, and strangers reach it.
    let _ = h.from(&C1, &udp(C1.ip(), 5000, S, 53, b"")).to_uplink();
    let _ = h.from(&C2, &udp(C2.ip(), 6000, S, 53, b"")).to_uplink();
    let _ = h
        .from_outside(&udp(S, 4000, H, 5353, b""))
        .to_container(&C1);
    assert_eq!(h.tables.live(Budget::flows(C1.slot)), 10);
    assert_eq!(h.tables.live(Budget::ports(C1.slot)), 10);
}

#[test]
fn a_flow_that_goes_makes_room_for_another() {
    let mut h = with_flows(1);
    let _ = h.from(&C1, &udp(C1.ip(), 5000, S, 53, b"")).to_uplink();
    h.tables.advance_ms(30_000);
    let key = super::masquerade::record_key(tuple::UDP, 53, 5000);
    assert!(collect(&h.tables, &key, false));
    assert_eq!(h.tables.live(Budget::flows(C1.slot)), 0);
    let _ = h.from(&C1, &udp(C1.ip(), 6000, S, 53, b"")).to_uplink();
}

/// With the agent dead as well a container gets back what it has no more.
#[test]
fn what_has_expired_makes_room_where_nobody_collects() {
    let mut h = with_flows(20);
    let ask = |h: &mut Host, from: u16, n: u16| {
        (from..from + n)
            .filter(|port| {
                let out = h.from(&C1, &udp(C1.ip(), *port, S, 53, b""));
                out.dropped().is_none()
            })
            .count()
    };
    assert_eq!(ask(&mut h, 5000, 10), 10);
    h.tables.advance_ms(20_000);
    assert_eq!(ask(&mut h, 6000, 30), 10);
    assert_eq!(h.drops_of(DropReason::EndpointQuota), 20);
    // The first ten are over; what lives stays, answered or not, and counts.
    let _ = h.from_outside(&udp(S, 53, H, 6000, b"")).to_container(&C1);
    h.tables.advance_ms(11_000);
    assert_eq!(ask(&mut h, 7000, 30), 10);
    assert_eq!(h.tables.live(Budget::flows(C1.slot)), 20);
    for port in [6000, 6009, 7009] {
        let _ = h.from(&C1, &udp(C1.ip(), port, S, 53, b"")).to_uplink();
    }
    assert_eq!(h.tables.counter(Counter::FlowNew), 30);
    assert_eq!(h.tables.counter(Counter::FlowRemoved), 10);
    // Those that were alive when they were looked at are found once they are over: all but the one
    // that has become a stream.
    h.tables.advance_ms(31_000);
    assert_eq!(ask(&mut h, 8000, 30), 19);
}

#[test]
fn what_has_expired_of_another_container_is_no_help() {
    let mut h = with_flows(1);
    let _ = h.from(&C2, &udp(C2.ip(), 5000, S, 53, b"")).to_uplink();
    h.tables.advance_ms(31_000);
    let _ = h.from(&C1, &udp(C1.ip(), 5000, S, 53, b"")).to_uplink();
    let over = h.from(&C1, &udp(C1.ip(), 6000, S, 53, b""));
    assert_eq!(over.dropped(), Some(DropReason::EndpointQuota));
    assert_eq!(h.tables.live(Budget::flows(C2.slot)), 0);
}

#[test]
fn outside_ports_have_a_quota_of_their_own() {
    let mut h = Host::new();
    h.tables.config.as_mut().unwrap().endpoint_ports = 1;
    let _ = h.from(&C2, &udp(C2.ip(), 5000, S, 53, b"")).to_uplink();
    let out = h.from(&C2, &udp(C2.ip(), 5001, S, 53, b""));
    assert_eq!(out.dropped(), Some(DropReason::EndpointQuota));
    // A flow to a published port of the host takes none.
    let _ = h
        .from(&C2, &udp(C2.ip(), 5002, H, 5353, b""))
        .to_container(&C1);
    assert_eq!(h.tables.live(Budget::flows(C2.slot)), 2);
    assert_eq!(h.tables.live(Budget::ports(C2.slot)), 1);
}

#[test]
fn a_refused_flow_leaves_nothing_and_counts_for_nothing() {
    let mut h = Host::new();
    (1..=u16::MAX).for_each(|p| h.tables.set_reserved(tuple::UDP, p, true));
    let out = h.from(&C1, &udp(C1.ip(), 5000, S, 53, b""));
    assert_eq!(out.dropped(), Some(DropReason::NoPort));
    h.tables.ct_capacity = 1;
    let out = h.from(&C1, &tcp(C1.ip(), 5000, S, 53, SYN));
    assert_eq!(out.dropped(), Some(DropReason::ConntrackFull));
    assert_eq!(h.tables.live(Budget::flows(C1.slot)), 0);
    assert_eq!(h.tables.live(Budget::ports(C1.slot)), 0);
}

/// A complete handshake from the outside with the published port 8080.
fn established(h: &mut Host, client: u16) {
    let _ = h
        .from_outside(&tcp(S, client, H, 8080, SYN))
        .to_container(&C1);
    let _ = h
        .from(&C1, &tcp(C1.ip(), 80, S, client, SYN | ACK))
        .to_uplink();
    let _ = h
        .from_outside(&tcp(S, client, H, 8080, ACK))
        .to_container(&C1);
    let _ = h.from(&C1, &tcp(C1.ip(), 80, S, client, ACK)).to_uplink();
}

#[test]
fn what_strangers_begin_is_counted_until_it_is_established() {
    let mut h = Host::new();
    let inbound = |h: &Host| h.tables.live(Budget::inbound::<Addr>());
    let _ = h
        .from_outside(&tcp(S, 4000, H, 8080, SYN))
        .to_container(&C1);
    assert_eq!(inbound(&h), 1);
    // An answer alone does not end the wait: the sender may be spoofed.
    let _ = h
        .from(&C1, &tcp(C1.ip(), 80, S, 4000, SYN | ACK))
        .to_uplink();
    assert_eq!(inbound(&h), 1);
    let _ = h
        .from_outside(&tcp(S, 4000, H, 8080, ACK))
        .to_container(&C1);
    assert_eq!(inbound(&h), 0);
    // UDP: whom the container answers.
    let _ = h
        .from_outside(&udp(S, 4000, H, 5353, b"?"))
        .to_container(&C1);
    assert_eq!(inbound(&h), 1);
    let _ = h.from(&C1, &udp(C1.ip(), 53, S, 4000, b"!")).to_uplink();
    assert_eq!(inbound(&h), 0);
    // Closed and begun again under the same ports.
    let _ = h
        .from_outside(&tcp(S, 4000, H, 8080, FIN | ACK))
        .to_container(&C1);
    let _ = h
        .from(&C1, &tcp(C1.ip(), 80, S, 4000, FIN | ACK))
        .to_uplink();
    let _ = h
        .from_outside(&tcp(S, 4000, H, 8080, ACK))
        .to_container(&C1);
    assert_eq!(inbound(&h), 0);
    let _ = h
        .from_outside(&tcp(S, 4000, H, 8080, SYN))
        .to_container(&C1);
    assert_eq!(inbound(&h), 1);
    assert_eq!(
        h.tables.live(Budget::flows(C1.slot)),
        0,
        "C1 has begun none"
    );
}

#[test]
fn the_oldest_stranger_gives_way_to_the_newest() {
    let mut h = Host::new();
    h.tables.config.as_mut().unwrap().inbound_embryonic = 8;
    established(&mut h, 3000);
    for client in 4000..4100 {
        let _ = h
            .from_outside(&tcp(S, client, H, 8080, SYN))
            .to_container(&C1);
        assert!(h.tables.live(Budget::inbound::<Addr>()) <= 8);
    }
    assert_eq!(h.tables.counter(Counter::FlowReclaimed), 92);
    assert_eq!(h.drops_of(DropReason::InboundBudget), 0);
    // What is established stays, what is newest completes, and containers are not concerned.
    let _ = h
        .from_outside(&tcp(S, 3000, H, 8080, ACK))
        .to_container(&C1);
    let _ = h
        .from(&C1, &tcp(C1.ip(), 80, S, 4099, SYN | ACK))
        .to_uplink();
    let _ = h
        .from_outside(&tcp(S, 4099, H, 8080, ACK))
        .to_container(&C1);
    let _ = h.from(&C2, &tcp(C2.ip(), 5000, S, 80, SYN)).to_uplink();
    assert_eq!(h.tables.live(Budget::inbound::<Addr>()), 7);
}

/// What has gone by itself leaves its key in the queue.
#[test]
fn a_flood_after_another_one_finds_room_soon() {
    let mut h = Host::new();
    h.tables.config.as_mut().unwrap().inbound_embryonic = 100;
    for client in 4000..4100 {
        let _ = h
            .from_outside(&tcp(S, client, H, 8080, SYN))
            .to_container(&C1);
    }
    h.tables.advance_ms(121_000);
    for (key, _) in h.tables.entries() {
        collect(&h.tables, &key, false);
    }
    for client in 5000..5500 {
        let _ = h.from_outside(&tcp(S, client, H, 8080, SYN));
    }
    assert_eq!(h.drops_of(DropReason::InboundBudget), 3);
    assert_eq!(h.tables.live(Budget::inbound::<Addr>()), 100);
}

#[test]
fn a_flood_of_answered_syns_leaves_room_in_a_full_table() {
    let mut h = Host::new();
    established(&mut h, 3000);
    h.tables.ct_capacity = h.tables.entries().len() + 20;
    for client in 4000..4200 {
        let _ = h
            .from_outside(&tcp(S, client, H, 8080, SYN))
            .to_container(&C1);
        let _ = h
            .from(&C1, &tcp(C1.ip(), 80, S, client, SYN | ACK))
            .to_uplink();
    }
    assert_eq!(h.drops_of(DropReason::ConntrackFull), 0);
    let _ = h.from(&C2, &tcp(C2.ip(), 5000, S, 80, SYN)).to_uplink();
    let _ = h
        .from_outside(&tcp(S, 3000, H, 8080, ACK))
        .to_container(&C1);
}

#[test]
fn a_flow_that_is_being_made_is_not_taken_for_its_own_earlier_life() {
    let mut h = Host::new();
    // Answered, so nothing makes room for what comes after it.
    let _ = h.from(&C2, &udp(C2.ip(), 5000, S2, 53, b"")).to_uplink();
    let _ = h.from_outside(&udp(S2, 53, H, 5000, b"")).to_container(&C2);
    let question = udp(C1.ip(), 5000, S, 53, b"");
    let _ = h.from(&C1, &question).to_uplink();
    h.tables.advance_ms(30_000);
    // Room for the record alone; the queue has its key of the flow that has expired.
    h.tables.ct_capacity = 3;
    let out = h.from(&C1, &question);
    assert_eq!(out.dropped(), Some(DropReason::ConntrackFull));
    assert_eq!(h.tables.entry_count(), 2);
    assert_eq!(h.tables.live(Budget::flows(C1.slot)), 0);
    h.tables.ct_capacity = 4;
    let _ = h.from(&C1, &question).to_uplink();
}
