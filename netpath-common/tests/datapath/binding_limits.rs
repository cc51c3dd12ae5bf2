//! What limits and ends bindings, what comes before them, and what follows them, of either family.

use netpath_common::{
    DropReason,
    conntrack::{Budget, tcp::ACK},
    testing::*,
    tuple::UDP,
};

use super::{
    binding::{C1S, C2S, ask, host_of, hosts, knock, random, send},
    either::Who::{self, In, Router, Second, Server, Server2},
};

#[test]
fn a_datagram_in_parts_finds_its_binding() {
    for mut h in random() {
        let p = ask(&mut h, &C1, Server, 53);
        let whole = h.datagram((Router, 9), (Who::Host, p), &[7; 3000]);
        let parts = h.parts(&whole);
        assert_eq!(parts.len(), 3);
        for part in &parts {
            let _ = h.arrive(part).to_container(&C1);
        }
        let whole = h.datagram(C1S, (Server2, 54), &[7; 3000]);
        for (i, part) in h.parts(&whole).iter().enumerate() {
            let out = h.from(&C1, part);
            let text = out.to_uplink();
            if i == 0 {
                let want = h.text((Who::Host, p), (Server2, 54));
                assert!(text.starts_with(&want), "{text}");
            }
        }
        assert_eq!(h.bindings(), 1);
    }
}

#[test]
fn errors_about_a_bound_flow_go_both_ways_and_identifiers_are_not_bound() {
    for mut h in random() {
        let p = ask(&mut h, &C1, Server, 53);
        let _ = knock(&mut h, Router, 9, p).to_container(&C1);
        // Of what the container sends and of what it is sent.
        let sent = h.udp((Who::Host, p), (Server, 53));
        let error = h.unreachable(Server, Who::Host, &sent);
        let text = h.arrive(&error).to_container(&C1);
        assert!(text.contains(&h.text(C1S, (Server, 53))), "{text}");
        let seen = h.udp((Router, 9), C1S);
        let error = h.unreachable(In(C1), Router, &seen);
        let text = h.from(&C1, &error).to_uplink();
        let want = h.text((Router, 9), (Who::Host, p));
        assert!(text.contains(&want), "{text}");
        let ping = h.ping(In(C1), Server, 77);
        let _ = h.from(&C1, &ping).to_uplink();
        assert_eq!(h.bindings(), 1);
        let ping = h.ping(Router, Who::Host, 77);
        assert!(h.arrive(&ping).passed(), "the host is asked");
    }
}

#[test]
fn what_the_outside_begins_counts_against_its_budget() {
    for mut h in random() {
        h.config().inbound_embryonic = 2;
        let p = ask(&mut h, &C1, Server, 53);
        for n in 1..=5 {
            let _ = knock(&mut h, Router, n, p).to_container(&C1);
            assert_eq!(h.inbound(), i64::from(n.min(2)));
        }
        let out = knock(&mut h, In(C2), 1, p);
        assert_eq!(out.dropped(), Some(DropReason::Martian));
    }
}

#[test]
fn a_link_local_source_is_the_hosts() {
    // A container could not say on which link it answers.
    let mut h = host_of(true);
    let p = ask(&mut h, &C1, Server, 53);
    let near = netpath_common::datapath::link_local(ROUTER_MAC);
    let out = h.host.from_outside6(&udp6(near, 9, H6, p, b""));
    assert!(out.passed(), "{:?}", out.result);
}

#[test]
fn a_flush_takes_bindings_as_well() {
    for mut h in random() {
        let p = ask(&mut h, &C1, Server, 53);
        let _ = knock(&mut h, Router, 9, p).to_container(&C1);
        h.collect(true);
        assert_eq!(h.entries(), (0, 0));
        assert_eq!(h.live(Budget::ports(C1.slot)), 0);
        assert!(knock(&mut h, Router, 9, p).passed());
        let _ = ask(&mut h, &C1, Server, 53);
    }
}

#[test]
fn an_endpoint_that_has_gone_has_no_binding() {
    for mut h in random() {
        let p = ask(&mut h, &C1, Server, 53);
        h.remove(&C1);
        assert!(knock(&mut h, Router, 9, p).passed());
        h.add(&C1);
        assert!(knock(&mut h, Router, 9, p).passed());
        let _ = ask(&mut h, &C1, Server, 53);
    }
}

#[test]
fn a_quota_counts_a_binding_once() {
    for mut h in hosts() {
        h.config().endpoint_ports = 2;
        for n in 0..50 {
            assert_eq!(ask(&mut h, &C1, Server, 100 + n), 5000);
        }
        assert_eq!(h.live(Budget::ports(C1.slot)), 1);
        assert_eq!(h.live(Budget::flows(C1.slot)), 50);
        let _ = send(&mut h, &C1, 5001, Server, 53);
        let packet = h.udp((In(C1), 5002), (Server, 53));
        let out = h.from(&C1, &packet);
        assert_eq!(out.dropped(), Some(DropReason::EndpointQuota));
        // Of flows as ever.
        h.config().endpoint_flows = 51;
        let packet = h.udp((In(C1), 5001), (Server, 54));
        let out = h.from(&C1, &packet);
        assert_eq!(out.dropped(), Some(DropReason::EndpointQuota));
    }
}

#[test]
fn published_ports_and_sockets_of_the_host_come_first() {
    for mut h in hosts() {
        // No binding has them.
        h.listen(UDP, 5001);
        assert_ne!(send(&mut h, &C2, 5353, Server, 53), 5353);
        assert_ne!(send(&mut h, &C2, 5001, Server, 53), 5001);
        // One that is published afterwards is what it is published for, one that is listened at the host's.
        assert_eq!(ask(&mut h, &C2, Server, 53), 5000);
        h.publish(UDP, 5000, (&C1, 53), 3);
        let text = knock(&mut h, Router, 9, 5000).to_container(&C1);
        assert_eq!(text, h.text((Router, 9), (In(C1), 53)));
        h.unpublish(UDP, 5000, 3);
        h.listen(UDP, 5000);
        assert!(knock(&mut h, Router, 10, 5000).passed());
    }
}

#[test]
fn early_drop_knows_bindings() {
    for mut h in random() {
        let p = ask(&mut h, &C1, Server, 53);
        for n in 1..=2 * netpath_common::datapath::REFUSED_AT_ONCE as u16 {
            let packet = h.udp((Router, n), (Who::Host, p));
            assert!(h.early(&packet).passed());
        }
    }
}

#[test]
fn a_connection_that_is_picked_up_has_its_own_port_or_none() {
    for mut h in hosts() {
        let packet = h.tcp(C1S, (Server, 80), ACK);
        let out = h.from(&C1, &packet);
        assert_eq!(h.port(&out), 5000);
        let packet = h.tcp(C2S, (Server, 80), ACK);
        let out = h.from(&C2, &packet);
        assert_eq!(out.dropped(), Some(DropReason::TcpNotSyn));
    }
}

#[test]
fn a_full_table_makes_no_half_of_it() {
    for (capacity, is_v6) in (0..4).flat_map(|n| [(n, false), (n, true)]) {
        let mut h = host_of(is_v6);
        h.set_capacity(capacity);
        let packet = h.udp(C1S, (Server, 53));
        let out = h.from(&C1, &packet);
        assert_eq!(out.dropped(), Some(DropReason::ConntrackFull), "{capacity}");
        assert_eq!(h.live(Budget::flows(C1.slot)), 0);
        assert_eq!(
            h.live(Budget::ports(C1.slot)),
            i64::from(capacity >= 2),
            "a binding without a flow goes by itself"
        );
        h.advance_ms(2_000);
        h.collect(false);
        assert_eq!(h.entries(), (0, 0));
        assert_eq!(h.live(Budget::ports(C1.slot)), 0);
    }
}

#[test]
fn an_uplinks_other_address_has_bindings_of_its_own() {
    for mut h in hosts() {
        assert_eq!(ask(&mut h, &C1, Server, 53), 5000);
        h.use_second();
        let packet = h.udp(C1S, (Server2, 53));
        let out = h.from(&C1, &packet).to_uplink();
        assert_eq!(out, h.text((Second, 5000), (Server2, 53)));
        assert_eq!(h.bindings(), 2);
        let packet = h.udp((Router, 9), (Second, 5000));
        let _ = h.arrive(&packet).to_container(&C1);
    }
}
