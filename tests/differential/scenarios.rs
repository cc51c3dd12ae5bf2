//! One short sequence for each wanted difference.
//!
//! Owns the proof that an entry of the table is about something: a difference that is gone fails the
//! run as one that is new does.

use crate::{
    address::{Family, Who},
    engine::Mode,
    packet::{ACK, FIN, GRE, RST},
    rare,
    step::{Complaint, How, L4, Order, Step, What},
};

pub(crate) const SERVER: Who = Who::Server(0);
pub(crate) const WEB: (Who, u16) = (SERVER, 80);
pub(crate) const PUBLISHED: (Who, u16) = (Who::Host, 8080);
const DNS: (Who, u16) = (Who::Host, 5353);
pub(crate) const LENT: (Who, u16) = (Who::Gateway(0), 8080);
/// Each sequence is made of this one and turned into the other.
const FAMILY: Family = Family::V4;
pub(crate) const C1: usize = 0;
pub(crate) const C2: usize = 1;
pub(crate) const C3: usize = 2;

pub(crate) const fn open(who: usize, to: (Who, u16), sport: u16, l4: L4, ttl: u8) -> Step {
    Step::Open {
        family: FAMILY,
        who,
        to,
        sport,
        l4,
        ttl,
    }
}

pub(crate) const fn syn(who: usize, to: (Who, u16), sport: u16) -> Step {
    open(who, to, sport, L4::Syn, 64)
}

pub(crate) const fn knock(to: (Who, u16), l4: L4) -> Step {
    Step::Knock {
        family: FAMILY,
        from: SERVER,
        to,
        sport: 40_000,
        l4,
        ttl: 64,
    }
}

pub(crate) const fn answer(back: usize, how: How) -> Step {
    Step::Answer { back, how }
}

pub(crate) const fn go_on(how: How) -> Step {
    Step::GoOn { back: 0, how }
}

const fn fragments(who: usize, to: (Who, u16), order: Order, len: usize) -> Step {
    Step::Fragments {
        family: FAMILY,
        who,
        to,
        answer: None,
        order,
        len,
        chunk: 1024,
    }
}

/// About the latest packet, by a router or its receiver.
const fn complaint(what: What, router: bool) -> Step {
    Step::Complain {
        back: 0,
        what: Complaint {
            what,
            router,
            short: false,
            forged: false,
        },
    }
}

/// A connection, as far as its handshake.
pub(crate) fn connection(who: usize, to: (Who, u16), more: Vec<Step>) -> Vec<Step> {
    let mut steps = vec![
        syn(who, to, 40_000),
        answer(0, How::Natural),
        answer(0, How::Natural),
    ];
    steps.extend(more);
    steps
}

/// The sequences that show a difference in a family, each for itself, and beside which network.
pub(crate) fn of(name: &str, family: Family) -> Vec<(Mode, Vec<Step>)> {
    let rare = rare::sequences().into_iter();
    let routed = rare::beside_a_routed_network().into_iter();
    let more = rare
        .map(|(of, steps)| (of, Mode::Nat, steps))
        .chain(routed.map(|(of, steps)| (of, Mode::Routed, steps)));
    let more = more.filter_map(|(of, mode, steps)| (of == name).then_some((mode, steps)));
    let plain = [(Mode::Nat, named(name))]
        .into_iter()
        .filter(|(_, steps)| !steps.is_empty());
    let in_family = |steps: Vec<Step>| steps.into_iter().map(|step| step.of(family)).collect();
    let all: Vec<_> = plain
        .chain(more)
        .map(|(mode, steps)| (mode, in_family(steps)))
        .collect();
    assert!(!all.is_empty(), "no sequence shows `{name}`");
    all
}

fn named(name: &str) -> Vec<Step> {
    let udp = L4::Udp {
        len: 32,
        bare: false,
    };
    match name {
        "private-source" => vec![open(C1, WEB, 40_000, L4::Flags(RST), 64)],
        "wrong-checksum" => vec![open(C1, WEB, 40_000, L4::WrongUdp, 64)],
        "no-checksum" => {
            let bare = L4::Udp {
                len: 32,
                bare: true,
            };
            vec![open(C1, WEB, 40_000, bare, 64)]
        }
        "impossible-mtu" => vec![syn(C1, WEB, 40_000), complaint(What::ImpossibleMtu, true)],
        "invalid-to-host" => vec![knock(PUBLISHED, L4::Flags(FIN | ACK))],
        "gateway-from-outside" => vec![knock((Who::Gateway(0), 8080), L4::Syn)],
        "dropped-before-its-ttl" => {
            vec![open(C3, (Who::Container(1), 80), 40_000, L4::Syn, 1)]
        }
        "hairpin-ttl-expires" => vec![open(C2, PUBLISHED, 40_000, L4::Syn, 1)],
        "hairpin-ttl" => vec![syn(C2, PUBLISHED, 40_000)],
        // The second asks by the port that the first has been lent.
        "client-address-between-networks" => vec![syn(C3, LENT, 8080), syn(C1, LENT, 80)],
        "published-port-as-source" => vec![syn(C1, WEB, 8080)],
        "pickup-needs-own-port" => vec![open(C2, WEB, 8080, L4::Flags(ACK), 64)],
        "fragment-boundaries" => vec![fragments(C1, WEB, Order::Sent, 1200)],
        "fragment-identification" => vec![fragments(C1, WEB, Order::Sent, 2000)],
        "atomic-fragment" => vec![fragments(C1, WEB, Order::Sent, 600)],
        "fragment-order" => vec![fragments(C1, WEB, Order::Reversed, 3500)],
        "incomplete-datagram" => vec![fragments(C1, WEB, Order::Lost, 2000)],
        "udplite-checksum" => vec![open(C1, WEB, 40_000, L4::UdpLite(0), 64)],
        "second-of-a-protocol" => [C1, C2]
            .into_iter()
            .map(|c| open(c, WEB, 40_000, L4::Other(GRE), 64))
            .collect(),
        "hairpin-error-quotes-translation" => vec![open(C3, DNS, 40_000, udp, 1)],
        "untranslated-between-containers" => {
            connection(C2, PUBLISHED, vec![answer(0, How::Reset(-1000))])
        }
        "reset-of-unanswered" => vec![
            syn(C1, WEB, 40_000),
            answer(0, How::ResetZero),
            answer(1, How::Natural),
        ],
        "unacknowledged-data" => connection(
            C1,
            WEB,
            vec![
                go_on(How::Data(100)),
                Step::Wait(301),
                answer(0, How::Natural),
            ],
        ),
        "expired-ttl-makes-flow" => vec![open(C1, WEB, 40_000, L4::Syn, 1), syn(C2, WEB, 40_000)],
        "mapping-of-another-flow" => vec![
            syn(C1, WEB, 40_000),
            syn(C2, WEB, 40_000),
            syn(C2, (Who::Server(1), 80), 40_000),
        ],
        "redirect-between-neighbours" => {
            vec![syn(C2, PUBLISHED, 40_000), complaint(What::Redirect, false)]
        }
        "reset-after-odd-numbers" => vec![
            open(C1, WEB, 40_000, L4::Flags(ACK), 64),
            answer(0, How::Reset(-1)),
        ],
        "hairpin-fragments-out-of-order" => {
            vec![fragments(C2, DNS, Order::Reversed, 2000)]
        }
        "neighbours-untracked" => {
            vec![syn(C2, (Who::Container(0), 80), 80), syn(C2, PUBLISHED, 80)]
        }
        "reset-shortens-life" => connection(
            C1,
            WEB,
            vec![
                answer(0, How::Reset(100_000)),
                Step::Wait(11),
                answer(1, How::Natural),
            ],
        ),
        "router-of-an-error" => vec![
            open(C1, (SERVER, 40_000), 80, L4::Flags(ACK), 64),
            knock(PUBLISHED, L4::Syn),
            answer(0, How::Natural),
            complaint(What::HostUnreachable, true),
        ],
        "reset-after-repeated-syn" => connection(
            C1,
            WEB,
            vec![Step::Again { back: 2 }, go_on(How::ResetZero)],
        ),
        "reused-port-keeps-mapping" => vec![
            syn(C1, WEB, 40_000),
            syn(C2, WEB, 40_000),
            answer(0, How::Natural),
            answer(0, How::Natural),
            go_on(How::Reset(0)),
            syn(C2, WEB, 40_000),
        ],
        "syn-in-open-connection" => connection(
            C1,
            WEB,
            vec![
                Step::Again { back: 2 },
                answer(0, How::Natural),
                Step::Wait(61),
                answer(0, How::Fin),
            ],
        ),
        "syn-after-reset" => vec![
            syn(C1, WEB, 40_000),
            answer(0, How::Natural),
            go_on(How::Reset(-1)),
            Step::Again { back: 2 },
            answer(0, How::Fin),
        ],
        "host-flows-untracked" => vec![
            Step::Knock {
                family: FAMILY,
                from: SERVER,
                to: (Who::Host, 40_000),
                sport: 53,
                l4: udp.clone(),
                ttl: 64,
            },
            open(C1, (SERVER, 53), 40_000, udp, 64),
        ],
        // Of a routed network alone.
        _ => Vec::new(),
    }
}
