//! What is dropped, each under exactly one reason.

use netpath_common::{
    conntrack::tcp::{ACK, FIN, SYN},
    event::Hook,
    records::{IFACE_CLOSED4, IFACE_CLOSED6, LOOPBACK_IFINDEX, NETWORK_ICC},
    testing::*,
};
use netpath_tests::runner::{REDIRECT, Runner};

use crate::{Case, arrived, change, check, from_stack, sent};

#[test]
fn of_a_container() {
    let syn = tcp(C1.addr, 40000, S, 80, SYN);
    let mac = (Hook::Veth, syn.frame(C2.mac, BRIDGE1_MAC, C1.ifindex));
    let arp_lie = (Hook::Veth, arp(C1.mac, 2, C1.mac, GW1, C2.addr, C1.ifindex));
    let arp_ok = (Hook::Veth, arp(C1.mac, 1, C1.mac, C1.addr, GW1, C1.ifindex));
    let mut v6 = syn.frame(C1.mac, BRIDGE1_MAC, C1.ifindex);
    v6.bytes[12..14].copy_from_slice(&[0x86, 0xdd]);
    check(&[
        Case::drop("MAC", mac, &[("spoofed-mac", 1)]),
        Case::drop(
            "address",
            sent(&C1, &tcp(C2.addr, 1, S, 2, SYN)),
            &[("spoofed-address", 1)],
        ),
        Case::drop("ARP", arp_lie, &[("spoofed-arp", 1)]),
        Case::pass("honest ARP", arp_ok),
        Case::drop(
            "IPv6 without programs for it",
            (Hook::Veth, v6),
            &[("bad-ethertype", 1)],
        ),
        Case::drop(
            "another network",
            sent(&C1, &tcp(C1.addr, 1, C3.addr, 80, SYN)),
            &[("other-network", 1)],
        ),
        Case::drop(
            "loopback",
            sent(&C1, &udp(C1.addr, 1, [127, 0, 0, 1], 2, b"")),
            &[("martian", 1)],
        ),
        Case::drop(
            "AH",
            sent(&C1, &Datagram::new(C1.addr, S, 51, vec![0; 20])),
            &[("unsupported-protocol", 1)],
        ),
        Case::drop(
            "late FIN",
            sent(&C1, &tcp(C1.addr, 1, S, 2, FIN | ACK)),
            &[("tcp-not-syn", 1)],
        ),
        Case::drop(
            "flags",
            sent(&C1, &tcp(C1.addr, 1, S, 2, SYN | FIN)),
            &[("bad-l4-header", 1)],
        ),
        Case::drop(
            "an answer",
            sent(&C1, &query(C1.addr, S, 0, 1)),
            &[("icmp-unmatched", 1)],
        ),
        Case::drop(
            "a redirect",
            sent(&C1, &error(C1.addr, S, 5, 1, &syn, 8)),
            &[("icmp-redirect", 1)],
        ),
    ]);
}

#[test]
fn of_a_network() {
    let mut r = Runner::new();
    let net = usize::from(NET1);
    r.tables.networks[net].flags &= !NETWORK_ICC;
    r.sync();
    let neighbour = sent(&C1, &tcp(C1.addr, 1, C2.addr, 80, SYN));
    Case::drop("icc off", neighbour, &[("icc-disabled", 1)]).check(&mut r);
    r.tables.networks[net].flags = NETWORK_ICC;
    r.sync();
    let out = tcp(C1.addr, 1, S, 80, SYN);
    Case::drop("masquerade off", sent(&C1, &out), &[("not-routable", 1)]).check(&mut r);
    Case::drop("at the last hook", from_stack(&out), &[("not-routable", 1)]).check(&mut r);
    r.tables.networks[net].flags = NETWORK_ICC | netpath_common::records::NETWORK_MASQUERADE;
    // Neither the records nor the kernel have one; it would lend the uplink a bridge's.
    r.tables.uplinks[usize::from(UPLINK)].addr = [0; 4];
    r.sync();
    r.ip("addr del 192.0.2.1/24 dev uplink");
    r.ip("route add default dev uplink");
    Case::drop("no address", sent(&C1, &out), &[("no-uplink", 1)]).check(&mut r);
}

#[test]
fn of_an_uplink() {
    check(&[
        Case::drop(
            "direct",
            arrived(&tcp(S, 1, C1.addr, 80, SYN)),
            &[("direct-access", 1)],
        ),
        Case::drop(
            "loopback",
            arrived(&tcp(S, 1, [127, 0, 0, 1], 8080, SYN)),
            &[("martian", 1)],
        ),
        Case::drop(
            "a forged container",
            arrived(&tcp(C2.addr, 1, H, 8080, SYN)),
            &[("martian", 1)],
        ),
        Case::drop(
            "FIN first",
            arrived(&tcp(S, 1, H, 8080, FIN | ACK)),
            &[("tcp-not-syn", 1)],
        ),
        Case::drop(
            "a private source of nobody",
            from_stack(&udp([172, 17, 9, 9], 1, S, 2, b"")),
            &[("untranslated-source", 1)],
        ),
        Case::drop(
            "a frame of no endpoint",
            (
                Hook::Bridge,
                tcp(C1.addr, 1, S, 80, SYN).frame(C1.mac, BRIDGE1_MAC, BRIDGE1_IF),
            ),
            &[("unknown-port", 1)],
        ),
    ]);
}

/// What a container is sent by its bridge that the host has received by `came_by`.
fn into_network(came_by: u32) -> (Hook, Frame) {
    let packet = tcp(S, 51000, C1.addr, 80, SYN);
    let frame = packet.frame(BRIDGE1_MAC, C1.mac, BRIDGE1_IF);
    (Hook::BridgeEgress, Frame { came_by, ..frame })
}

#[test]
fn on_the_way_into_a_network() {
    /// An interface that netpath knows nothing of.
    const ELSEWHERE: u32 = 77;
    let mut cases: Vec<Case> = [0, UPLINK_IF, BRIDGE2_IF, C3.ifindex, LOOPBACK_IFINDEX]
        .map(|by| Case {
            // Counted where it came in.
            counters: &[],
            ..Case::pass("looked at", into_network(by))
        })
        .into();
    cases.push(Case::drop(
        "by an interface at which nobody looks",
        into_network(ELSEWHERE),
        &[("direct-access", 1)],
    ));
    check(&cases);
}

/// With another way out than an uplink, at which no program can drop it.
#[test]
fn through_a_host_that_is_no_router() {
    let mut r = Runner::new();
    r.ip("link add elsewhere type veth peer name beyond");
    r.ip("link set beyond up");
    r.ip("link set elsewhere up");
    r.ip("route add 203.0.113.0/24 dev elsewhere");
    let transit = || arrived(&udp(S, 1, [203, 0, 113, 9], 2, b""));
    Case::pass("a router", transit()).check(&mut r);
    let uplink = r.tables.ifaces.get_mut(&UPLINK_IF).unwrap();
    uplink.flags = IFACE_CLOSED6;
    r.sync();
    Case::pass("of this family", transit()).check(&mut r);
    r.tables.ifaces.get_mut(&UPLINK_IF).unwrap().flags = IFACE_CLOSED4;
    r.sync();
    Case::drop("no router", transit(), &[("not-a-router", 1)]).check(&mut r);
    let to_host = arrived(&udp(S, 1, H, 2, b""));
    Case::pass("the host's own", to_host).check(&mut r);
}

/// Type 3, code 13 to the container, which quotes the header and eight bytes.
#[test]
fn a_refused_flow_is_told() {
    let mut r = Runner::new();
    r.tables.config.as_mut().unwrap().endpoint_flows = 1;
    r.sync();
    let first = udp(C1.addr, 5000, S, 53, b"");
    let _ = r.run(Hook::Veth, &sent(&C1, &first).1);
    let told = |refused: &Datagram, quoted: usize| {
        let told = icmp(GW1, C1.addr, 3, 13, [0; 4], &refused.bytes()[..quoted]).id(0);
        let mut answer = told.dont_fragment().frame(BRIDGE1_MAC, C1.mac, C1.ifindex);
        answer.bytes[15] = 0xc0;
        answer.bytes[24..26].fill(0);
        let check = netpath_common::checksum::full(&[&answer.bytes[14..34]]);
        answer.bytes[24..26].copy_from_slice(&check);
        answer
    };
    // Not by `Case`, which runs a frame once more with a known checksum: one that changes its length
    // has none any more (`__skb_grow_rcsum`, `__skb_trim_rcsum` in `include/linux/skbuff.h`).
    for (refused, quoted) in [
        (tcp(C1.addr, 5000, S, 80, SYN), 28),
        (udp(C1.addr, 5001, S, 53, &[7; 900]).options(10), 68),
    ] {
        let before = r.counters();
        let ran = r.run(Hook::Veth, &sent(&C1, &refused).1);
        assert_eq!(ran.action, REDIRECT);
        assert_eq!(ran.bytes, told(&refused, quoted).bytes);
        assert_eq!(
            change(&before, &r.counters()),
            [("endpoint-quota", 1), ("refusal-told", 1)].into()
        );
    }
}
