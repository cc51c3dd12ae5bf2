//! Networks in which the host has no address: neighbours talk, and nobody else.

use netpath_common::{
    DropReason, Verdict,
    conntrack::tcp::SYN,
    datapath::{Vetted, bridge_ingress},
    event::Hook,
    records::{ENDPOINT_ISOLATED, NETWORK_DIRECT, NETWORK_ICC, NETWORK_INTERNAL},
};

use super::family::*;

fn host() -> Host {
    let mut h = Host::new();
    let network = &mut h.tables.networks[usize::from(NET1)];
    network.flags = NETWORK_INTERNAL | NETWORK_ICC;
    (network.gateway, network.gateway6) = ([0; 4], [0; 16]);
    for c in [C1, C2] {
        h.tables.endpoints[usize::from(c.slot)].flags = ENDPOINT_ISOLATED;
    }
    h.tables.host_addrs.remove(&GW1);
    h
}

#[test]
fn neighbours_talk_without_the_host() {
    let mut h = host();
    let packet = tcp(C1.ip(), 40000, C2.ip(), 80, SYN);
    let frame = packet.frame(C1.mac, C2.mac, C1.ifindex);
    assert_eq!(h.run(Hook::Veth, &frame).result, Ok(Verdict::Within));
    h.tables.networks[usize::from(NET1)].flags |= NETWORK_DIRECT;
    let ifindex = C2.ifindex;
    assert_eq!(
        h.run(Hook::Veth, &frame).result,
        Ok(Verdict::ToNeighbour { ifindex })
    );
    // What all ports get the host does not.
    let out = h.from(&C1, &udp(C1.ip(), 5353, MULTICAST, 5353, b""));
    assert_eq!(out.result, Ok(Verdict::Within));
    assert_eq!(bridge_ingress(Vetted::Within), Err(DropReason::NotRoutable));
}

#[test]
fn the_host_is_not_reached() {
    let mut h = host();
    for dst in [H, GW1, GW2] {
        for packet in [
            tcp(C1.ip(), 40000, dst, 22, SYN),
            tcp(C1.ip(), 40000, dst, 8080, SYN),
            query(C1.ip(), dst, ECHO, 7),
        ] {
            // Up to the bridge at most, where the host does not get it.
            let out = h.from(&C1, &packet);
            assert_eq!(out.result, Ok(Verdict::Within), "{packet:?}");
        }
    }
    for dst in [S, C3.ip()] {
        let out = h.from(&C1, &tcp(C1.ip(), 40000, dst, 80, SYN));
        assert!(
            matches!(
                out.dropped(),
                Some(DropReason::NotRoutable | DropReason::OtherNetwork)
            ),
            "{:?}",
            out.result
        );
    }
    assert_eq!(h.tables.entry_count(), 0);
}

#[test]
fn nobody_comes_in() {
    let mut h = host();
    let out = h.from_outside(&tcp(S, 51000, C1.ip(), 80, SYN));
    assert_eq!(out.dropped(), Some(DropReason::DirectAccess));
    assert!(h.from_outside(&tcp(S, 51000, H, 8080, SYN)).passed());
    let out = h.from(&C3, &tcp(C3.ip(), 51000, H, 8080, SYN));
    assert!(out.passed(), "the host's own stack refuses it");
}
