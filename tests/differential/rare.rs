//! More sequences of wanted differences: one for each shape that a difference can have.
//!
//! Owns what comes of several flows, of what a container says to itself, and of long stories. The plain
//! ones are in `scenarios`.

use crate::{
    address::Who,
    packet::{ACK, RST, SYN},
    scenarios::{
        C1, C2, C3, LENT, PUBLISHED, SERVER, WEB, answer, connection, go_on, knock, open, syn,
    },
    step::{Complaint, How, L4, Step, What},
};

const ACKNOWLEDGES: L4 = L4::Flags(ACK);

/// The sequences, each with the name of the difference that it shows.
pub(crate) fn sequences() -> Vec<(&'static str, Vec<Step>)> {
    // By the published port's own name, to where its client is.
    let from_published = |l4, ttl| open(C1, (SERVER, 40_000), 80, l4, ttl);
    vec![
        // It asks the port that its client has been lent, in the middle of the answered connection.
        (
            "client-address-between-networks",
            vec![
                syn(C3, LENT, 8080),
                answer(0, How::Natural),
                syn(C1, LENT, 80),
            ],
        ),
        // It begins anew, by the port that it had to netpath alone.
        (
            "unacknowledged-data",
            connection(
                C1,
                WEB,
                vec![
                    syn(C2, WEB, 40_000),
                    answer(0, How::Natural),
                    answer(0, How::Data(1)),
                    Step::Wait(301),
                    syn(C2, WEB, 40_000),
                ],
            ),
        ),
        (
            "reset-of-unanswered",
            vec![
                from_published(ACKNOWLEDGES, 64),
                go_on(How::Reset(-1)),
                knock(PUBLISHED, L4::Syn),
            ],
        ),
        (
            "reset-of-unanswered",
            vec![
                from_published(ACKNOWLEDGES, 64),
                go_on(How::Reset(-1)),
                knock(PUBLISHED, ACKNOWLEDGES),
            ],
        ),
        (
            "reset-of-unanswered",
            vec![
                open(C3, WEB, 40_000, ACKNOWLEDGES, 64),
                go_on(How::Reset(-1)),
                open(C1, WEB, 40_000, ACKNOWLEDGES, 64),
            ],
        ),
        (
            "expired-ttl-makes-flow",
            vec![from_published(L4::Syn, 1), knock(PUBLISHED, L4::Syn)],
        ),
        // Quotes the packet that never left.
        (
            "expired-ttl-makes-flow",
            vec![
                open(C1, WEB, 40_000, L4::Syn, 1),
                syn(C1, WEB, 40_001),
                Step::Complain {
                    back: 0,
                    what: Complaint {
                        what: What::PortUnreachable,
                        router: false,
                        short: true,
                        forged: true,
                    },
                },
            ],
        ),
        (
            "syn-in-open-connection",
            connection(
                C1,
                WEB,
                vec![
                    Step::Again { back: 2 },
                    answer(0, How::Natural),
                    answer(0, How::Odd(SYN | ACK, 0, 0)),
                ],
            ),
        ),
        // A container that asks its own published port.
        (
            "reset-after-odd-numbers",
            connection(
                C1,
                PUBLISHED,
                vec![
                    go_on(How::Data(100)),
                    Step::Wait(301),
                    Step::Again { back: 0 },
                    answer(0, How::ResetZero),
                ],
            ),
        ),
        (
            "reset-after-repeated-syn",
            connection(
                C1,
                PUBLISHED,
                vec![Step::Again { back: 2 }, answer(0, How::Reset(-1))],
            ),
        ),
    ]
}

/// The same, where the second network is routed.
pub(crate) fn beside_a_routed_network() -> Vec<(&'static str, Vec<Step>)> {
    let third = (Who::Container(2), 80);
    vec![
        (
            "stray-to-routed-network",
            vec![knock(third, L4::Flags(RST | ACK))],
        ),
        ("stray-to-routed-network", vec![knock(third, L4::EchoReply)]),
        (
            "client-address-between-networks",
            vec![syn(C1, third, 40_000), answer(0, How::Natural)],
        ),
        // Both let the question out as it is, and one knows the answer.
        (
            "wrong-checksum",
            vec![
                open(C3, WEB, 40_000, L4::WrongUdp, 64),
                answer(0, How::Natural),
            ],
        ),
        (
            "private-source",
            vec![open(C1, third, 40_000, L4::Flags(RST), 64)],
        ),
    ]
}
