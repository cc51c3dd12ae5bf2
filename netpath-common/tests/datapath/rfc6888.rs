//! RFC 6888, requirement by requirement, as `docs/conformance.md` names them, where no other file has
//! them. Quotas are `quota`'s, what a refused container is told is `refuse`'s.

use std::collections::HashSet;

use netpath_common::{
    DropReason,
    conntrack::tcp::{ACK, SYN},
    counters::Counter,
    records::{CONFIG_PRESERVE_PORTS, NETWORK_ICC, NETWORK_ROUTED},
};

use super::{family::*, rfc4787::port};

#[test]
fn req1_other_transport_protocols_leave_translated() {
    for proto in OTHERS {
        let mut h = Host::new();
        let out = h.from(&C1, &Datagram::new(C1.ip(), S, proto, vec![0; 40]));
        let _ = out.to_uplink();
        assert_eq!(source(&out.frame), H);
        let out = h.from_stack(&Datagram::new(C1.ip(), S, proto, vec![0; 40]));
        assert_eq!(source(&out.frame), H);
    }
}

#[test]
fn req3_any_one_address_may_be_the_outside_one() {
    for snat in [H2, STRANGERS[0], S2] {
        let mut h = Host::new();
        set_snat(&mut h.tables.networks[usize::from(NET1)], snat);
        h.tables.host_addrs.insert(snat);
        let out = h.from(&C1, &udp(C1.ip(), 5000, S, 53, b""));
        let _ = out.to_uplink();
        assert_eq!(source(&out.frame), snat);
        let back = h.from_outside(&udp(S, 53, snat, 5000, b""));
        let _ = back.to_container(&C1);
    }
}

#[test]
fn req6_translation_is_turned_off_for_a_network_not_for_a_destination() {
    let mut h = Host::new();
    let set = |h: &mut Host, flags| h.tables.networks[usize::from(NET1)].flags = flags;
    // Routed: every destination sees the container's own address.
    set(&mut h, NETWORK_ROUTED | NETWORK_ICC);
    for dst in [S, S2] {
        let _ = h.from(&C1, &tcp(C1.ip(), 40000, dst, 80, SYN)).to_uplink();
        let back = h.from_outside(&tcp(dst, 80, C1.ip(), 40000, SYN | ACK));
        let _ = back.to_container(&C1);
    }
    let out = h.from(&C1, &tcp(C1.ip(), 40000, S, 80, ACK));
    assert_eq!(out.to_uplink(), said("tcp C1:40000 > S:80"));
    // Neither routed nor masqueraded: nothing leaves.
    set(&mut h, NETWORK_ICC);
    let out = h.from(&C1, &tcp(C1.ip(), 40001, S, 80, SYN));
    assert_eq!(out.dropped(), Some(DropReason::NotRoutable));
    // The other network is as it was.
    let out = h.from(&C3, &tcp(C3.ip(), 40000, S, 80, SYN));
    assert_eq!(out.to_uplink(), said("tcp H:40000 > S:80"));
}

#[test]
fn req8_a_port_is_given_again_at_once_where_nobody_else_gets_in() {
    let mut h = Host::new();
    assert_eq!(port(&h.from(&C1, &udp(C1.ip(), 5000, S, 53, b""))), 5000);
    h.tables.advance_ms(30_000);
    assert_eq!(port(&h.from(&C2, &udp(C2.ip(), 5000, S2, 53, b""))), 5000);
    // What the old peer still sends does not reach the new owner: filtering is by address and port.
    assert!(h.from_outside(&udp(S, 53, H, 5000, b"late")).passed());
    let _ = h.from_outside(&udp(S2, 53, H, 5000, b"")).to_container(&C2);
}

#[test]
fn req11d_a_quota_takes_nothing_from_anybody() {
    let mut h = Host::new();
    h.tables.config.as_mut().unwrap().endpoint_flows = 5;
    for n in 0..5 {
        let _ = h.from(&C1, &udp(C1.ip(), 5000 + n, S, 53, b"")).to_uplink();
    }
    let before = h.tables.entries();
    for n in 0..100 {
        let out = h.from(&C1, &udp(C1.ip(), 6000 + n, S, 53, b""));
        assert_eq!(out.dropped(), Some(DropReason::EndpointQuota));
    }
    assert_eq!(h.tables.entries(), before);
    assert_eq!(h.tables.counter(Counter::FlowReclaimed), 0);
}

#[test]
fn req13_every_port_of_a_range_is_used_once_for_each_destination() {
    let mut h = Host::new();
    let config = h.tables.config.as_mut().unwrap();
    (config.port_min, config.port_max) = (50_000, 50_199);
    for peer in [S, S2, R, STRANGERS[0], STRANGERS[1]] {
        let given: HashSet<u16> = (0..200)
            .map(|n| port(&h.from(&C1, &udp(C1.ip(), 20_000 + n, peer, 53, b""))))
            .collect();
        assert_eq!(given.len(), 200);
        assert!(given.iter().all(|p| (50_000..50_200).contains(p)));
    }
}

#[test]
fn req15_ports_are_kept_or_drawn() {
    // A kept port is the container's own choice. A drawn one says nothing about the next.
    let mut h = Host::new();
    h.tables.config.as_mut().unwrap().flags &= !CONFIG_PRESERVE_PORTS;
    let mut last = 0;
    let mut near = 0;
    for n in 0..1000 {
        let p = port(&h.from(&C1, &udp(C1.ip(), 10_000 + n, S, 53, b"")));
        near += u32::from(p.abs_diff(last) <= 64);
        last = p;
    }
    // 1000 draws of 64,512 ports: two of a thousand are within 64 of the one before.
    assert!(near < 15, "{near} of 1000");
}
