//! One short sequence for each wanted difference.
//!
//! Owns the proof that an entry of the table is about something: a difference that is gone fails the
//! run as one that is new does.

use netpath_common::testing::Addr;

use crate::{
    packet::{ACK, FIN, GRE, RST},
    site::{CONTAINERS, HOST},
    step::{Complaint, How, L4, Order, SERVERS, Step},
};

const SERVER: Addr = SERVERS[0];
const WEB: (Addr, u16) = (SERVER, 80);
const PUBLISHED: (Addr, u16) = (HOST, 8080);
const C1: usize = 0;
const C2: usize = 1;
const C3: usize = 2;

const fn open(who: usize, to: (Addr, u16), sport: u16, l4: L4, ttl: u8) -> Step {
    Step::Open {
        who,
        to,
        sport,
        l4,
        ttl,
    }
}

const fn syn(who: usize, to: (Addr, u16), sport: u16) -> Step {
    open(who, to, sport, L4::Syn, 64)
}

const fn knock(to: (Addr, u16), l4: L4) -> Step {
    Step::Knock {
        from: SERVER,
        to,
        sport: 40_000,
        l4,
        ttl: 64,
    }
}

const fn answer(back: usize, how: How) -> Step {
    Step::Answer { back, how }
}

const fn go_on(how: How) -> Step {
    Step::GoOn { back: 0, how }
}

const fn fragments(who: usize, to: (Addr, u16), order: Order, len: usize) -> Step {
    Step::Fragments {
        who,
        to,
        answer: None,
        order,
        len,
    }
}

/// About the latest packet, by a router or its receiver.
const fn complaint(kind: u8, code: u8, router: bool) -> Step {
    Step::Complain {
        back: 0,
        what: Complaint {
            kind,
            code,
            word: [0; 4],
            router,
            short: false,
            forged: false,
        },
    }
}

/// A connection, as far as its handshake.
fn connection(who: usize, to: (Addr, u16), more: Vec<Step>) -> Vec<Step> {
    let mut steps = vec![
        syn(who, to, 40_000),
        answer(0, How::Natural),
        answer(0, How::Natural),
    ];
    steps.extend(more);
    steps
}

/// The sequence that shows a difference.
pub(crate) fn of(name: &str) -> Vec<Step> {
    let udp = L4::Udp {
        len: 32,
        bare: false,
    };
    match name {
        "private-source" => vec![open(C1, WEB, 40_000, L4::Flags(RST), 64)],
        "wrong-checksum" => vec![open(C1, WEB, 40_000, L4::WrongUdp, 64)],
        "invalid-to-host" => vec![knock(PUBLISHED, L4::Flags(FIN | ACK))],
        "gateway-from-outside" => vec![knock((CONTAINERS[0].gateway, 8080), L4::Syn)],
        "dropped-before-its-ttl" => {
            vec![open(C3, (CONTAINERS[1].addr, 80), 40_000, L4::Syn, 1)]
        }
        "hairpin-ttl-expires" => vec![open(C2, PUBLISHED, 40_000, L4::Syn, 1)],
        "hairpin-ttl" => vec![syn(C2, PUBLISHED, 40_000)],
        "client-address-between-networks" => vec![syn(C3, PUBLISHED, 40_000)],
        "published-port-as-source" => vec![syn(C1, WEB, 8080)],
        "pickup-needs-own-port" => vec![open(C2, WEB, 8080, L4::Flags(ACK), 64)],
        "fragment-boundaries" => vec![fragments(C1, WEB, Order::Sent, 1200)],
        "fragment-order" => vec![fragments(C1, WEB, Order::Reversed, 3500)],
        "incomplete-datagram" => vec![fragments(C1, WEB, Order::Lost, 2000)],
        "udplite-checksum" => vec![open(C1, WEB, 40_000, L4::UdpLite(0), 64)],
        "second-of-a-protocol" => [C1, C2]
            .into_iter()
            .map(|c| open(c, WEB, 40_000, L4::Other(GRE), 64))
            .collect(),
        "hairpin-error-quotes-translation" => vec![open(C3, (HOST, 5353), 40_000, udp, 1)],
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
            syn(C2, (SERVERS[1], 80), 40_000),
        ],
        "redirect-between-neighbours" => vec![syn(C2, PUBLISHED, 40_000), complaint(5, 1, false)],
        "reset-after-odd-numbers" => vec![
            open(C1, WEB, 40_000, L4::Flags(ACK), 64),
            answer(0, How::Reset(-1)),
        ],
        "hairpin-fragments-out-of-order" => {
            vec![fragments(C2, (HOST, 5353), Order::Reversed, 2000)]
        }
        "neighbours-untracked" => vec![
            syn(C2, (CONTAINERS[0].addr, 80), 80),
            syn(C2, PUBLISHED, 80),
        ],
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
            complaint(3, 1, true),
        ],
        "reset-after-repeated-syn" => connection(
            C1,
            WEB,
            vec![Step::Again { back: 2 }, go_on(How::ResetZero)],
        ),
        "host-flows-untracked" => vec![
            Step::Knock {
                from: SERVER,
                to: (HOST, 40_000),
                sport: 53,
                l4: udp.clone(),
                ttl: 64,
            },
            open(C1, (SERVER, 53), 40_000, udp, 64),
        ],
        other => panic!("no sequence shows `{other}`"),
    }
}
