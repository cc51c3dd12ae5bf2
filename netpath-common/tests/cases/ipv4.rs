//! Cases of what IPv4 has and IPv6 has not: 20, 23 and 30.

use netpath_common::{DropReason, event::Hook, testing::*};

use super::v4::both::help::{delivered, is, left};

#[test]
fn c20_no_checksum_stays_none() {
    let none = udp_without_checksum;
    let mut h = Host::new();
    // Out and the answer.
    let out = h.from(&C1, &none(C1.addr, 5000, S, 53, b"x"));
    left(&out, &none(H, 5000, S, 53, b"x").ttl(63));
    let back = h.from_outside(&none(S, 53, H, 5000, b"x"));
    delivered(&back, &C1, &none(S, 53, C1.addr, 5000, b"x").ttl(63));
    // In by a published port and the answer.
    let out = h.from_outside(&none(S, 51000, H, 5353, b"x"));
    delivered(&out, &C1, &none(S, 51000, C1.addr, 53, b"x").ttl(63));
    let back = h.from(&C1, &none(C1.addr, 53, S, 51000, b"x"));
    left(&back, &none(H, 5353, S, 51000, b"x").ttl(63));
    // By a neighbour.
    let out = h.from(&C2, &none(C2.addr, 51000, H, 5353, b"x"));
    delivered(&out, &C1, &none(C2.addr, 51000, C1.addr, 53, b"x").ttl(63));
}

#[test]
fn c23_arp_with_a_vlan_tag_beside_the_frame() {
    let mut h = Host::new();
    let claim = arp(C1.mac, 1, C1.mac, C1.addr, GW1, C1.ifindex);
    assert!(h.run(Hook::Veth, &claim).passed());
    let tagged = Frame {
        tagged: true,
        ..claim
    };
    let out = h.run(Hook::Veth, &tagged);
    assert_eq!(out.dropped(), Some(DropReason::BadEthertype));
}

#[test]
fn c30_what_is_too_long_and_may_be_fragmented() {
    let mut h = Host::new();
    h.tables.uplinks[usize::from(UPLINK)].mtu = 1000;
    let may = udp(C1.addr, 5000, S, 53, &[7; 973]);
    assert!(h.from(&C1, &may).passed());
    // What the stack makes of it is translated on its way out, its hop already counted.
    let parts = may.clone().ttl(63).fragments(968);
    let want = udp(H, 5000, S, 53, &[7; 973]).ttl(63).fragments(968);
    for (part, want) in parts.iter().zip(&want) {
        let out = h.from_stack(part);
        let _ = out.to_stack();
        is(&out, want);
    }
}
