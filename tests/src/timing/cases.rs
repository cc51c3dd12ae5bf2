//! What is timed.
//!
//! Owns the frames, the flows they belong to, and what must be true afterwards for a time to count.
//!
//! A run repeats the program on one frame without resetting it. So an established flow is timed on
//! two conntrack entries that translate into each other: the one that the datapath made, and its
//! mirror, which turns the translated frame back. Every repetition is then a hit and a rewrite, and
//! the entries' own packet counters prove it.

use netpath_common::{
    V6,
    conntrack::{
        Admission,
        tcp::{ACK, PSH, SYN},
    },
    event::Hook,
    testing::{
        BRIDGE1_MAC, C1, C2, Datagram, Frame, H, ROUTER_MAC, S, UPLINK_IF, UPLINK_MAC, tcp,
        tcp_data, udp,
    },
    tuple::{TCP, Tuple, UDP},
};

use crate::runner::{NEXT, REDIRECT, Runner, SHOT, program_of};

/// The program that changes a checksum and nothing else.
pub(super) const CHECKSUM: &str = "np_time_checksum";
/// What the program of the look-up returns.
const HIT: i32 = 1;
const MISS: i32 = 0;

/// How a case is repeated, and what has to be true afterwards.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Kind {
    /// The frame stays as it is: as many runs as one likes.
    Unchanged,
    /// Source and TTL change: an even number of runs gives the frame back but for the TTL.
    Alternating,
    /// A live flow, by its key; the mirror is made for the time of the measurement.
    Flow(Tuple),
    /// As [`Kind::Flow`], of IPv6.
    Flow6(Tuple<V6>),
    /// Each run makes a flow, which is removed again: single runs.
    NewFlow(Tuple),
}

/// One thing to time.
pub(super) struct Case {
    /// What users read and other programs find it by.
    pub(super) name: &'static str,
    pub(super) program: &'static str,
    pub(super) frame: Frame,
    pub(super) kind: Kind,
    /// What every run returns.
    pub(super) action: i32,
    /// The counter that grows with every run, if one does.
    pub(super) counter: Option<&'static str>,
}

fn sent(p: &Datagram) -> Frame {
    p.clone().ttl(255).frame(C1.mac, BRIDGE1_MAC, C1.ifindex)
}

fn arrived(p: &Datagram) -> Frame {
    p.clone().ttl(255).frame(ROUTER_MAC, UPLINK_MAC, UPLINK_IF)
}

fn key(src: [u8; 4], sport: u16, dst: [u8; 4], dport: u16, proto: u8) -> Tuple {
    Tuple {
        src,
        dst,
        sport,
        dport,
        proto,
        ..Tuple::default()
    }
}

/// Bytes of payload: what a small request or answer has.
pub(super) const PAYLOAD: &[u8] = &[b'x'; 64];

fn segment(src: [u8; 4], sport: u16, dst: [u8; 4], dport: u16) -> Datagram {
    tcp_data(src, sport, dst, dport, ACK | PSH, PAYLOAD)
}

fn datagram(src: [u8; 4], sport: u16, dst: [u8; 4], dport: u16) -> Datagram {
    udp(src, sport, dst, dport, PAYLOAD)
}

/// Makes the flows that the cases use, by the packets that make them in life.
pub(super) fn establish(r: &mut Runner) {
    let handshakes = [
        (Hook::Veth, sent(&tcp(C1.addr, 40000, S, 80, SYN))),
        (
            Hook::UplinkIngress,
            arrived(&tcp(S, 80, H, 40000, SYN | ACK)),
        ),
        (Hook::Veth, sent(&tcp(C1.addr, 40000, S, 80, ACK))),
        (Hook::UplinkIngress, arrived(&tcp(S, 80, H, 40000, ACK))),
        (Hook::UplinkIngress, arrived(&tcp(S, 51000, H, 8080, SYN))),
        (Hook::Veth, sent(&tcp(C1.addr, 80, S, 51000, SYN | ACK))),
        (Hook::UplinkIngress, arrived(&tcp(S, 51000, H, 8080, ACK))),
        (Hook::Veth, sent(&tcp(C1.addr, 80, S, 51000, ACK))),
        (Hook::Veth, sent(&datagram(C1.addr, 5000, S, 53))),
        (Hook::UplinkIngress, arrived(&datagram(S, 53, H, 5000))),
        (Hook::Veth, sent(&datagram(C1.addr, 5000, S, 53))),
        (Hook::UplinkIngress, arrived(&datagram(S, 51000, H, 5353))),
        (Hook::Veth, sent(&datagram(C1.addr, 53, S, 51000))),
        (Hook::UplinkIngress, arrived(&datagram(S, 51000, H, 5353))),
    ];
    for (hook, frame) in handshakes.into_iter().chain(super::cases6::handshakes()) {
        let ran = r.run(hook, &frame);
        assert_eq!(
            ran.action, REDIRECT,
            "a flow that is to be timed is refused"
        );
    }
}

/// Every case, the parts first.
pub(super) fn all() -> Vec<Case> {
    let mut cases = parts();
    cases.extend(established());
    cases.extend(super::cases6::established());
    cases.extend(others());
    cases
}

fn parts() -> Vec<Case> {
    let out = sent(&segment(C1.addr, 40000, S, 80));
    let out_udp = sent(&datagram(C1.addr, 5000, S, 53));
    let unknown = sent(&segment(C1.addr, 40001, S, 80));
    let unknown_udp = sent(&datagram(C1.addr, 5001, S, 53));
    let live = Admission::Live as i32;
    let part = |name, program, frame: &Frame, kind, action| Case {
        name,
        program,
        frame: frame.clone(),
        kind,
        action,
        counter: None,
    };
    use Kind::{Alternating, Unchanged};
    vec![
        part("working memory", "np_time_work", &out, Unchanged, NEXT),
        part("clock", "np_time_clock", &out, Unchanged, NEXT),
        part("parse tcp", "np_time_parse", &out, Unchanged, NEXT),
        part("parse udp", "np_time_parse", &out_udp, Unchanged, NEXT),
        part(
            "parse, lookup hit tcp",
            "np_time_lookup",
            &out,
            Unchanged,
            HIT,
        ),
        part(
            "parse, lookup hit udp",
            "np_time_lookup",
            &out_udp,
            Unchanged,
            HIT,
        ),
        part(
            "parse, lookup miss tcp",
            "np_time_lookup",
            &unknown,
            Unchanged,
            MISS,
        ),
        part(
            "parse, lookup miss udp",
            "np_time_lookup",
            &unknown_udp,
            Unchanged,
            MISS,
        ),
        part(
            "parse, lookup, clock, admit tcp",
            "np_time_admit",
            &out,
            Unchanged,
            live,
        ),
        part(
            "parse, lookup, clock, admit udp",
            "np_time_admit",
            &out_udp,
            Unchanged,
            live,
        ),
        part("parse, checksum tcp", CHECKSUM, &out, Unchanged, NEXT),
        part("parse, checksum udp", CHECKSUM, &out_udp, Unchanged, NEXT),
        part(
            "parse, rewrite address, ttl tcp",
            "np_time_rewrite",
            &out,
            Alternating,
            NEXT,
        ),
        part(
            "parse, rewrite address, ttl udp",
            "np_time_rewrite",
            &out_udp,
            Alternating,
            NEXT,
        ),
        part(
            "parse, rewrite address, port, ttl tcp",
            "np_time_ports",
            &out,
            Alternating,
            NEXT,
        ),
        part(
            "parse, rewrite address, port, ttl udp",
            "np_time_ports",
            &out_udp,
            Alternating,
            NEXT,
        ),
    ]
}

fn established() -> Vec<Case> {
    let veth = |name, p: &Datagram, key| Case {
        name,
        program: program_of(Hook::Veth),
        frame: sent(p),
        kind: Kind::Flow(key),
        action: REDIRECT,
        counter: Some("to-uplink"),
    };
    let uplink = |name, p: &Datagram, key| Case {
        name,
        program: program_of(Hook::UplinkIngress),
        frame: arrived(p),
        kind: Kind::Flow(key),
        action: REDIRECT,
        counter: Some("to-endpoint"),
    };
    vec![
        veth(
            "established out tcp, masquerade",
            &segment(C1.addr, 40000, S, 80),
            key(C1.addr, 40000, S, 80, TCP),
        ),
        veth(
            "established out udp, masquerade",
            &datagram(C1.addr, 5000, S, 53),
            key(C1.addr, 5000, S, 53, UDP),
        ),
        uplink(
            "established in tcp, masquerade",
            &segment(S, 80, H, 40000),
            key(S, 80, H, 40000, TCP),
        ),
        uplink(
            "established in udp, masquerade",
            &datagram(S, 53, H, 5000),
            key(S, 53, H, 5000, UDP),
        ),
        uplink(
            "established in tcp, published port",
            &segment(S, 51000, H, 8080),
            key(S, 51000, H, 8080, TCP),
        ),
        uplink(
            "established in udp, published port",
            &datagram(S, 51000, H, 5353),
            key(S, 51000, H, 5353, UDP),
        ),
        veth(
            "established out tcp, published port",
            &segment(C1.addr, 80, S, 51000),
            key(C1.addr, 80, S, 51000, TCP),
        ),
        veth(
            "established out udp, published port",
            &datagram(C1.addr, 53, S, 51000),
            key(C1.addr, 53, S, 51000, UDP),
        ),
    ]
}

fn others() -> Vec<Case> {
    let (veth, uplink) = (program_of(Hook::Veth), program_of(Hook::UplinkIngress));
    let case = |name, program, frame, kind, action, counter| Case {
        name,
        program,
        frame,
        kind,
        action,
        counter: Some(counter),
    };
    vec![
        case(
            "miss in, the host's own tcp",
            uplink,
            arrived(&segment(S, 80, H, 50000)),
            Kind::Unchanged,
            NEXT,
            "passed",
        ),
        case(
            "miss out, by the bridge",
            veth,
            sent(&segment(C1.addr, 40000, C2.addr, 80)),
            Kind::Unchanged,
            NEXT,
            "passed",
        ),
        case(
            "handed to a neighbour",
            veth,
            segment(C1.addr, 40000, C2.addr, 80).frame(C1.mac, C2.mac, C1.ifindex),
            Kind::Unchanged,
            REDIRECT,
            "to-neighbour",
        ),
        case(
            "drop in, a container's own address",
            uplink,
            arrived(&tcp(S, 51009, C1.addr, 80, SYN)),
            Kind::Unchanged,
            SHOT,
            "direct-access",
        ),
        case(
            "new flow out tcp, masquerade",
            veth,
            sent(&tcp(C1.addr, 40002, S, 80, SYN)),
            Kind::NewFlow(key(S, 80, H, 40002, TCP)),
            REDIRECT,
            "flow-new",
        ),
        case(
            "new flow out udp, masquerade",
            veth,
            sent(&datagram(C1.addr, 5002, S, 53)),
            Kind::NewFlow(key(S, 53, H, 5002, UDP)),
            REDIRECT,
            "flow-new",
        ),
        case(
            "new flow in tcp, published port",
            uplink,
            arrived(&tcp(S, 51002, H, 8080, SYN)),
            Kind::NewFlow(key(C1.addr, 80, S, 51002, TCP)),
            REDIRECT,
            "flow-new",
        ),
        case(
            "new flow in udp, published port",
            uplink,
            arrived(&datagram(S, 51002, H, 5353)),
            Kind::NewFlow(key(C1.addr, 53, S, 51002, UDP)),
            REDIRECT,
            "flow-new",
        ),
    ]
}
