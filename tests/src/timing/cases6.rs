//! What is timed of IPv6: established packets, by the tail call that leads to their programs.
//!
//! Owns frames and flows. How they are repeated is `cases`'s, as for IPv4.

use netpath_common::{
    V6,
    conntrack::tcp::{ACK, PSH, SYN},
    event::Hook,
    testing::{
        Addr6, BRIDGE1_MAC, C1, Datagram6, Frame, H6, ROUTER_MAC, S6, UPLINK_IF, UPLINK_MAC,
        tcp_data6, tcp6, udp6,
    },
    tuple::{TCP, Tuple, UDP},
};

use super::cases::{Case, Kind, PAYLOAD};
use crate::runner::{REDIRECT, program_of};

fn sent(p: &Datagram6) -> Frame {
    p.clone().hops(255).frame(C1.mac, BRIDGE1_MAC, C1.ifindex)
}

fn arrived(p: &Datagram6) -> Frame {
    p.clone().hops(255).frame(ROUTER_MAC, UPLINK_MAC, UPLINK_IF)
}

fn segment(src: Addr6, sport: u16, dst: Addr6, dport: u16) -> Datagram6 {
    tcp_data6(src, sport, dst, dport, ACK | PSH, PAYLOAD)
}

fn datagram(src: Addr6, sport: u16, dst: Addr6, dport: u16) -> Datagram6 {
    udp6(src, sport, dst, dport, PAYLOAD)
}

/// The packets that make the flows of these cases.
pub(super) fn handshakes() -> Vec<(Hook, Frame)> {
    let (c1, out, back) = (C1.addr6, Hook::Veth, Hook::UplinkIngress);
    vec![
        (out, sent(&tcp6(c1, 40000, S6, 80, SYN))),
        (back, arrived(&tcp6(S6, 80, H6, 40000, SYN | ACK))),
        (out, sent(&tcp6(c1, 40000, S6, 80, ACK))),
        (back, arrived(&tcp6(S6, 80, H6, 40000, ACK))),
        (back, arrived(&tcp6(S6, 51000, H6, 8080, SYN))),
        (out, sent(&tcp6(c1, 80, S6, 51000, SYN | ACK))),
        (back, arrived(&tcp6(S6, 51000, H6, 8080, ACK))),
        (out, sent(&tcp6(c1, 80, S6, 51000, ACK))),
        (out, sent(&datagram(c1, 5000, S6, 53))),
        (back, arrived(&datagram(S6, 53, H6, 5000))),
        (out, sent(&datagram(c1, 5000, S6, 53))),
    ]
}

/// Established packets, both ways.
pub(super) fn established() -> Vec<Case> {
    let c1 = C1.addr6;
    let case = |name, hook, frame, src, sport, dst, dport, proto| Case {
        name,
        program: program_of(hook),
        frame,
        kind: Kind::Flow6(Tuple::<V6> {
            src,
            dst,
            sport,
            dport,
            proto,
            ..Tuple::default()
        }),
        action: REDIRECT,
        counter: Some(if matches!(hook, Hook::Veth) {
            "to-uplink"
        } else {
            "to-endpoint"
        }),
    };
    let out = |name, proto, build: fn(Addr6, u16, Addr6, u16) -> Datagram6, sport, dport| {
        let frame = sent(&build(c1, sport, S6, dport));
        case(name, Hook::Veth, frame, c1, sport, S6, dport, proto)
    };
    let back = |name, proto, build: fn(Addr6, u16, Addr6, u16) -> Datagram6, sport, dport| {
        let frame = arrived(&build(S6, sport, H6, dport));
        case(
            name,
            Hook::UplinkIngress,
            frame,
            S6,
            sport,
            H6,
            dport,
            proto,
        )
    };
    vec![
        out(
            "established out tcp, IPv6 masquerade",
            TCP,
            segment,
            40000,
            80,
        ),
        out(
            "established out udp, IPv6 masquerade",
            UDP,
            datagram,
            5000,
            53,
        ),
        back(
            "established in tcp, IPv6 masquerade",
            TCP,
            segment,
            80,
            40000,
        ),
        back(
            "established in udp, IPv6 masquerade",
            UDP,
            datagram,
            53,
            5000,
        ),
        back(
            "established in tcp, IPv6 published port",
            TCP,
            segment,
            51000,
            8080,
        ),
        out(
            "established out tcp, IPv6 published port",
            TCP,
            segment,
            80,
            51000,
        ),
    ]
}
