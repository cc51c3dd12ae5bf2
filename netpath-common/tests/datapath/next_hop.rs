//! Leases of next hops, and flows whose way changes while user space does nothing.

use netpath_common::{
    datapath::{LEASE_NS, NextHop, Tables},
    event::Hook,
    records::{IFACE_UPLINK, IfaceRecord, UplinkRecord},
    verdict::Verdict,
};

use super::family::*;

pub(super) const UPLINK2: u16 = 2;
pub(super) const UPLINK2_IF: u32 = 77;

fn question() -> Datagram {
    udp(C1.ip(), 5000, S, 53, b"?")
}

fn is_leased(out: &Outcome) -> bool {
    match out.result {
        Ok(Verdict::ToUplink { leased, .. }) => leased,
        other => panic!("{other:?}"),
    }
}

/// A second uplink, where no route leads yet.
pub(super) fn two_uplinks() -> Host {
    let mut h = Host::new();
    let mut uplink = UplinkRecord {
        ifindex: UPLINK2_IF,
        generation: 1,
        mtu: 1500,
        ..UplinkRecord::default()
    };
    set_uplink(&mut uplink, H2);
    h.tables.uplinks[usize::from(UPLINK2)] = uplink;
    let iface = IfaceRecord {
        kind: IFACE_UPLINK,
        slot: u32::from(UPLINK2),
        flags: 0,
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
fn what_the_kernel_is_to_send_goes_to_the_next_hop_that_was_found() {
    let mut h = Host::new();
    let nobody = h.gateway();
    // Known by its address, and not yet by its MAC address.
    (h.tables.routes[0].2.gateway, h.tables.routes[0].2.dst_mac) = (R, [0; 6]);
    for _ in 0..2 {
        let _ = h.from(&C1, &question()).to_uplink();
        assert_eq!(h.gateway(), R);
    }
    for part in udp(C1.ip(), 5001, S, 53, &[7; 4000]).parts(1) {
        let _ = h.from(&C1, &part).to_uplink();
        assert_eq!(h.gateway(), R, "later fragments too");
    }
    h.from_outside(&udp(S, 4000, H, 5353, b"?"));
    for _ in 0..2 {
        let _ = h.from(&C1, &answer()).to_uplink();
        assert_eq!(h.gateway(), R, "and answers");
    }
    let asked = udp(S, 4000, C1.ip(), 53, b"?");
    let _ = h.from(&C1, &no_port(C1.ip(), S, &asked)).to_uplink();
    assert_eq!(h.gateway(), R, "and errors");
    // Forgotten with the packet.
    let _ = h.from_outside(&udp(S, 4001, H, 5353, b"?"));
    assert_eq!(h.gateway(), nobody);
}

#[test]
fn flows_do_not_share_a_lease() {
    let mut h = Host::new();
    h.from(&C1, &question());
    assert!(!is_leased(&h.from(&C1, &udp(C1.ip(), 5000, S2, 53, b"?"))));
    assert!(!is_leased(&h.from(&C2, &udp(C2.ip(), 5000, S, 53, b"?"))));
}

#[test]
fn another_uplink_ends_the_flow_and_begins_one_there() {
    let mut h = two_uplinks();
    assert_eq!(
        h.from(&C1, &question()).to_uplink(),
        said("udp H:5000 > S:53")
    );
    h.tables.routes[0].2 = out_of(UPLINK2_IF);
    assert_eq!(
        h.from(&C1, &question()).to_uplink(),
        said("udp H:5000 > S:53"),
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
    assert_eq!(out.text(), said("udp H2:5000 > S:53"));
    assert_eq!(h.tables.entries().len(), 2, "the old flow is gone");
}

#[test]
fn answers_of_published_ports_go_back_the_way_the_question_came() {
    let mut h = two_uplinks();
    h.from_outside(&udp(S, 4000, H, 5353, b"?"));
    // The better route is another uplink's.
    let other = (h.tables.routes[0].0, 0, out_of(UPLINK2_IF));
    h.tables.routes.insert(0, other);
    for packet in 0..2 {
        let back = h.from(&C1, &answer());
        assert_eq!(left_by(&back), UPLINK_IF);
        assert_eq!(back.text(), said(ANSWER));
        assert_eq!(is_leased(&back), packet > 0);
    }
}

/// What the container answers to a question that came in by the first uplink.
fn answer() -> Datagram {
    udp(C1.ip(), 53, S, 4000, b"!")
}

const ANSWER: &str = "udp H:5353 > S:4000";

fn left_by(out: &Outcome) -> u32 {
    match out.result {
        Ok(Verdict::ToUplink { ifindex, .. }) => ifindex,
        other => panic!("{other:?}"),
    }
}

#[test]
fn answers_go_another_way_where_none_leads_back() {
    let mut h = two_uplinks();
    h.from_outside(&udp(S, 4000, H, 5353, b"?"));
    assert_eq!(left_by(&h.from(&C1, &answer())), UPLINK_IF);
    h.tables.routes[0].2 = out_of(UPLINK2_IF);
    assert_eq!(left_by(&h.from(&C1, &answer())), UPLINK_IF, "leased");
    h.tables.now += LEASE_NS;
    for packet in 0..2 {
        let back = h.from(&C1, &answer());
        assert_eq!(left_by(&back), UPLINK2_IF);
        assert_eq!(back.text(), said(ANSWER), "the address that was asked");
        assert_eq!(is_leased(&back), packet > 0);
    }
    assert_eq!(h.tables.entries().len(), 2, "the flow goes on");
}

#[test]
fn what_belongs_to_answers_goes_the_same_way() {
    let mut h = two_uplinks();
    h.tables.routes[0].2 = out_of(UPLINK2_IF);
    h.from_outside(&udp(S, 4000, H, 5353, b"?"));
    for fragment in udp(C1.ip(), 53, S, 4000, &[0; 2000]).cut(1000, 9) {
        assert_eq!(left_by(&h.from(&C1, &fragment)), UPLINK2_IF);
    }
    let refused = udp(S, 4000, C1.ip(), 53, b"?");
    let out = h.from(&C1, &no_port(C1.ip(), S, &refused));
    assert_eq!(left_by(&out), UPLINK2_IF);
}

#[test]
fn answers_fit_the_way_that_they_go() {
    let mut h = two_uplinks();
    h.from_outside(&udp(S, 4000, H, 5353, b"?"));
    h.tables.uplinks[usize::from(UPLINK2)].mtu = 1000;
    // Without a neighbour the kernel does not say the MTU.
    h.tables.routes[0].2 = NextHop {
        ifindex: UPLINK2_IF,
        ..NextHop::default()
    };
    let large = udp(C1.ip(), 53, S, 4000, &[0; 1100]);
    assert!(h.from(&C1, &large).passed(), "renewed");
    assert!(h.from(&C1, &large).passed(), "leased");
    let back = h.from(&C1, &answer());
    assert_eq!(left_by(&back), UPLINK2_IF);
    assert!(!is_leased(&back));
}

#[test]
fn answers_without_any_route_are_dropped() {
    let mut h = two_uplinks();
    h.from_outside(&udp(S, 4000, H, 5353, b"?"));
    let route = h.tables.routes.pop().unwrap();
    for _ in 0..2 {
        let out = h.from(&C1, &answer());
        assert_eq!(out.dropped(), Some(netpath_common::DropReason::NoRoute));
    }
    // What is not simply a next hop, the stack may know.
    h.tables.routes.push((route.0, 0, NextHop::default()));
    h.tables.now += LEASE_NS;
    assert!(h.from(&C1, &answer()).passed());
    assert!(h.from(&C1, &answer()).passed(), "leased");
    h.tables.routes[0] = route;
    h.tables.now += LEASE_NS;
    assert_eq!(left_by(&h.from(&C1, &answer())), UPLINK_IF);
}

#[test]
fn a_client_that_asks_by_another_uplink_is_answered_there() {
    let mut h = two_uplinks();
    let other = (h.tables.routes[0].0, 0, out_of(UPLINK2_IF));
    h.tables.routes.push(other);
    h.from_outside(&udp(S, 4000, H, 5353, b"?"));
    assert_eq!(left_by(&h.from(&C1, &answer())), UPLINK_IF);
    for (key, _) in h.tables.entries() {
        h.tables.ct_delete(&key);
    }
    let question = udp(S, 4000, H2, 5353, b"?").frame(ROUTER_MAC, UPLINK_MAC, UPLINK2_IF);
    let out = h.run(Hook::UplinkIngress, &question);
    assert_eq!(out.to_container(&C1), said("udp S:4000 > C1:53"));
    let back = h.from(&C1, &answer());
    assert_eq!(left_by(&back), UPLINK2_IF, "the lease is the other flow's");
    assert_eq!(back.text(), said("udp H2:5353 > S:4000"));
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
    h.tables.routes[0].2.source = H3;
    h.tables.now += LEASE_NS;
    assert_eq!(
        h.from(&C1, &question).to_uplink(),
        said("udp H3:5000 > S:53")
    );
    // A fixed outside address is nobody's to change.
    let mut h = Host::new();
    set_snat(&mut h.tables.networks[usize::from(NET1)], H2);
    h.tables.routes[0].2.source = H3;
    for _ in 0..2 {
        assert_eq!(
            h.from(&C1, &question).to_uplink(),
            said("udp H2:5000 > S:53")
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
    let late = H3;
    assert!(h.from_outside(&udp(S, 4000, late, 5353, b"?")).passed());
    h.tables.local.insert(late);
    assert_eq!(
        h.from_outside(&udp(S, 4000, late, 5353, b"?"))
            .to_container(&C1),
        said("udp S:4000 > C1:53")
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
    let large = udp(C1.ip(), 5000, S, 53, &[0; 1100]);
    assert!(h.from(&C1, &large).passed(), "renewed");
    assert!(h.from(&C1, &large).passed(), "leased");
    let _ = h.from(&C1, &question()).to_uplink();
}

#[test]
fn a_lease_is_of_one_flow_though_others_share_its_slot() {
    let mut h = Host::new();
    assert!(!is_leased(&h.from(&C1, &question())));
    assert!(is_leased(&h.from(&C1, &question())));
    for slot in 0..netpath_common::datapath::NEXT_HOPS {
        let hop = h.tables.next_hop(slot).unwrap();
        *hop = NextHop {
            tuple: Tuple {
                sport: 5001,
                ..hop.tuple
            },
            dst_mac: [2, 9, 9, 9, 9, 9],
            until: u64::MAX,
            ..out_of(UPLINK_IF)
        };
    }
    assert!(!is_leased(&h.from(&C1, &question())), "it asks again");
    let out = h.from(&C1, &question());
    assert_eq!(out.frame.bytes[..6], ROUTER_MAC);
}
