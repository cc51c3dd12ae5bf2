//! Leases of next hops, and flows whose way changes while user space does nothing.

use netpath_common::{
    datapath::{LEASE_NS, NextHop},
    records::{IFACE_UPLINK, IfaceRecord, UplinkRecord},
    testing::*,
    verdict::Verdict,
};

const UPLINK2: u16 = 2;
const UPLINK2_IF: u32 = 77;
const H2: Addr = [203, 0, 113, 1];

fn question() -> Datagram {
    udp(C1.addr, 5000, S, 53, b"?")
}

fn is_leased(out: &Outcome) -> bool {
    match out.result {
        Ok(Verdict::ToUplink { leased, .. }) => leased,
        other => panic!("{other:?}"),
    }
}

/// A second uplink, where no route leads yet.
fn two_uplinks() -> Host {
    let mut h = Host::new();
    h.tables.uplinks[usize::from(UPLINK2)] = UplinkRecord {
        ifindex: UPLINK2_IF,
        generation: 1,
        addr: H2,
        mtu: 1500,
    };
    let iface = IfaceRecord {
        kind: IFACE_UPLINK,
        slot: u32::from(UPLINK2),
    };
    h.tables.ifaces.insert(UPLINK2_IF, iface);
    h.tables.host_addrs.insert(H2);
    h
}

#[test]
fn the_first_packet_asks_and_the_others_use_the_answer_for_a_second() {
    let mut h = Host::new();
    assert!(!is_leased(&h.from(&C1, &question())));
    let out = h.from(&C1, &question());
    assert!(is_leased(&out));
    assert_eq!(out.frame.bytes[..6], ROUTER_MAC);
    assert_eq!(out.frame.bytes[6..12], UPLINK_MAC);
    h.tables.now += LEASE_NS - 1;
    // The lease began with the first packet.
    assert!(is_leased(&h.from(&C1, &question())));
    h.tables.now += 1;
    assert!(!is_leased(&h.from(&C1, &question())), "renewed");
    assert!(is_leased(&h.from(&C1, &question())));
}

#[test]
fn without_a_neighbour_every_packet_goes_through_the_kernel() {
    let mut h = Host::new();
    h.tables.routes[0].2.dst_mac = [0; 6];
    for _ in 0..3 {
        assert!(!is_leased(&h.from(&C1, &question())));
    }
}

#[test]
fn flows_do_not_share_a_lease() {
    let mut h = Host::new();
    h.from(&C1, &question());
    assert!(!is_leased(&h.from(&C1, &udp(C1.addr, 5000, S2, 53, b"?"))));
    assert!(!is_leased(&h.from(&C2, &udp(C2.addr, 5000, S, 53, b"?"))));
}

#[test]
fn another_uplink_ends_the_flow_and_begins_one_there() {
    let mut h = two_uplinks();
    assert_eq!(
        h.from(&C1, &question()).to_uplink(),
        "udp 192.0.2.1:5000 > 198.51.100.9:53"
    );
    h.tables.routes[0].2 = out_of(UPLINK2_IF);
    assert_eq!(
        h.from(&C1, &question()).to_uplink(),
        "udp 192.0.2.1:5000 > 198.51.100.9:53",
        "leased"
    );
    h.tables.now += LEASE_NS;
    let out = h.from(&C1, &question());
    assert!(
        matches!(
            out.result,
            Ok(Verdict::ToUplink {
                ifindex: UPLINK2_IF,
                ..
            })
        ),
        "{:?}",
        out.result
    );
    assert_eq!(out.text(), "udp 203.0.113.1:5000 > 198.51.100.9:53");
    assert_eq!(h.tables.entries().len(), 2, "the old flow is gone");
}

#[test]
fn answers_of_published_ports_go_back_the_way_the_question_came() {
    let mut h = two_uplinks();
    h.from_outside(&udp(S, 4000, H, 5353, b"?"));
    h.tables.routes[0].2 = out_of(UPLINK2_IF);
    for _ in 0..2 {
        let back = h.from(&C1, &udp(C1.addr, 53, S, 4000, b"!"));
        assert_eq!(back.to_uplink(), "udp 192.0.2.1:5353 > 198.51.100.9:4000");
        assert!(!is_leased(&back), "the lease is of another uplink");
    }
}

#[test]
fn no_route_is_for_the_stack_to_answer_and_keeps_the_flow() {
    let mut h = Host::new();
    h.from(&C1, &question());
    let route = h.tables.routes.pop().unwrap();
    h.tables.now += LEASE_NS;
    assert!(h.from(&C1, &question()).passed());
    assert!(h.from(&C1, &question()).passed(), "leased");
    assert_eq!(h.tables.entries().len(), 2);
    h.tables.routes.push(route);
    h.tables.now += LEASE_NS;
    let _ = h.from(&C1, &question()).to_uplink();
}

#[test]
fn the_kernels_word_on_the_address_is_newer() {
    let mut h = Host::new();
    let question = question();
    let _ = h.from(&C1, &question).to_uplink();
    h.tables.routes[0].2.source = [192, 0, 2, 77];
    h.tables.now += LEASE_NS;
    assert_eq!(
        h.from(&C1, &question).to_uplink(),
        "udp 192.0.2.77:5000 > 198.51.100.9:53"
    );
    // A fixed outside address is nobody's to change.
    let mut h = Host::new();
    h.tables.networks[usize::from(NET1)].snat = [192, 0, 2, 7];
    h.tables.routes[0].2.source = [192, 0, 2, 77];
    for _ in 0..2 {
        assert_eq!(
            h.from(&C1, &question).to_uplink(),
            "udp 192.0.2.7:5000 > 198.51.100.9:53"
        );
        h.tables.now += LEASE_NS;
    }
    // The uplink has lost its address, and the kernel names a bridge's.
    let mut h = Host::new();
    h.tables.routes[0].2.source = GW1;
    assert_eq!(
        h.from(&C1, &question).dropped(),
        Some(netpath_common::DropReason::NoUplink)
    );
}

#[test]
fn a_new_address_of_the_host_is_served_before_user_space_writes_it() {
    let mut h = Host::new();
    let late = [192, 0, 2, 77];
    assert!(h.from_outside(&udp(S, 4000, late, 5353, b"?")).passed());
    h.tables.local.insert(late);
    assert_eq!(
        h.from_outside(&udp(S, 4000, late, 5353, b"?"))
            .to_container(&C1),
        "udp 198.51.100.9:4000 > 172.17.0.2:53"
    );
    assert!(h.from_outside(&udp(S, 4000, late, 5354, b"?")).passed());
}

#[test]
fn a_smaller_mtu_of_the_way_counts() {
    let mut h = Host::new();
    h.from(&C1, &question());
    h.tables.routes[0].2 = NextHop {
        mtu: 1000,
        ..out_of(UPLINK_IF)
    };
    h.tables.now += LEASE_NS;
    let large = udp(C1.addr, 5000, S, 53, &[0; 1100]);
    assert!(h.from(&C1, &large).passed(), "renewed");
    assert!(h.from(&C1, &large).passed(), "leased");
    let _ = h.from(&C1, &question()).to_uplink();
}
