//! What is dropped, each under exactly one reason.

use netpath_common::{
    conntrack::tcp::{ACK, FIN, SYN},
    event::Hook,
    records::NETWORK_ICC,
    testing::*,
};
use netpath_tests::runner::Runner;

use crate::{Case, arrived, check, from_stack, sent};

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
        Case::drop("IPv6", (Hook::Veth, v6), &[("bad-ethertype", 1)]),
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
            "SCTP",
            sent(&C1, &Datagram::new(C1.addr, S, 132, vec![0; 20])),
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
