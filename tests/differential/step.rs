//! What can happen, chosen at random from few names so that things meet.
//!
//! Owns the choice. What a step puts on the wires is `play`'s.

use netpath_common::testing::Addr;
use proptest::{prelude::*, sample::select};

use crate::{
    packet::{ACK, ESP, FIN, GRE, PSH, RST, SYN},
    site::{CONTAINERS, HOST, Place},
};

/// Servers in the outside, behind the router.
pub(crate) const SERVERS: [Addr; 3] = [[203, 0, 113, 10], [203, 0, 113, 11], [198, 51, 100, 9]];
/// A router between host and servers.
pub(crate) const ROUTER: Addr = [192, 0, 2, 254];

/// A packet that nothing seen so far asks for.
#[derive(Clone, Debug)]
pub(crate) enum L4 {
    Udp {
        len: usize,
        /// Without a checksum, as RFC 768 allows.
        bare: bool,
    },
    Syn,
    /// Flags of a segment out of the blue.
    Flags(u8),
    Echo,
    EchoReply,
    Timestamp,
    /// ICMP of a type that is neither a query with an identifier nor an error.
    OtherIcmp,
    /// A UDP header that announces less than itself.
    ShortUdp,
    /// A UDP checksum that is wrong.
    WrongUdp,
    /// UDP-Lite, whose checksum covers so many bytes.
    UdpLite(u16),
    /// A protocol without ports, by number.
    Other(u8),
}

/// How an answer or a next segment looks.
#[derive(Clone, Copy, Debug)]
pub(crate) enum How {
    /// What a stack would do: SYN-ACK, ACK, echo reply, a datagram back.
    Natural,
    Data(usize),
    Fin,
    /// A reset by the number that is expected next, beyond it, below it, or zero.
    Reset(i64),
    ResetZero,
    /// Flags, and how far both numbers are from what is expected.
    Odd(u8, i32, i32),
}

/// What an ICMP error is like.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Complaint {
    pub(crate) kind: u8,
    pub(crate) code: u8,
    /// The MTU or gateway.
    pub(crate) word: [u8; 4],
    /// By a router on the way instead of the receiver.
    pub(crate) router: bool,
    /// Quotes eight bytes of the transport only.
    pub(crate) short: bool,
    /// About a packet that never was: another port in the quote.
    pub(crate) forged: bool,
}

/// The order in which the fragments of a datagram come.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Order {
    Sent,
    Reversed,
    /// The last one is lost.
    Lost,
}

/// One thing that happens. `back` counts from the latest packet.
#[derive(Clone, Debug)]
pub(crate) enum Step {
    /// A container begins something.
    Open {
        who: usize,
        to: (Addr, u16),
        sport: u16,
        l4: L4,
        ttl: u8,
    },
    /// A stranger knocks.
    Knock {
        from: Addr,
        to: (Addr, u16),
        sport: u16,
        l4: L4,
        ttl: u8,
    },
    /// Whoever has seen a packet answers it.
    Answer { back: usize, how: How },
    /// Whoever has sent a packet goes on.
    GoOn { back: usize, how: How },
    /// A packet comes once more: it was duplicated, or overtaken by all since.
    Again { back: usize },
    /// Somebody complains about a packet that has been seen.
    Complain { back: usize, what: Complaint },
    /// A container sends a datagram in fragments, or whoever has seen one answers so.
    Fragments {
        who: usize,
        to: (Addr, u16),
        answer: Option<usize>,
        order: Order,
        len: usize,
    },
    /// Time passes, in seconds.
    Wait(u32),
}

fn l4() -> impl Strategy<Value = L4> {
    prop_oneof![
        6 => (select(vec![0usize, 1, 32, 600]), prop::bool::weighted(0.15))
            .prop_map(|(len, bare)| L4::Udp { len, bare }),
        6 => Just(L4::Syn),
        2 => flags().prop_map(L4::Flags),
        3 => Just(L4::Echo),
        1 => Just(L4::Timestamp),
        1 => Just(L4::EchoReply),
        1 => select(vec![
            L4::OtherIcmp,
            L4::ShortUdp,
            L4::WrongUdp,
            L4::UdpLite(0),
            L4::UdpLite(8),
            L4::Other(GRE),
            L4::Other(ESP),
        ]),
    ]
}

fn flags() -> impl Strategy<Value = u8> {
    select(vec![
        ACK,
        SYN | ACK,
        RST,
        RST | ACK,
        FIN | ACK,
        PSH | ACK,
        0,
        SYN | FIN,
        SYN | RST,
        FIN,
        FIN | RST,
    ])
}

fn how() -> impl Strategy<Value = How> {
    prop_oneof![
        8 => Just(How::Natural),
        2 => select(vec![1usize, 100, 700]).prop_map(How::Data),
        2 => Just(How::Fin),
        2 => select(vec![0i64, 0, 100, 100_000, -1, -1000]).prop_map(How::Reset),
        1 => Just(How::ResetZero),
        1 => (flags(), select(vec![0i32, 1, 1000, -1000]), select(vec![0i32, -1000]))
            .prop_map(|(flags, seq, ack)| How::Odd(flags, seq, ack)),
    ]
}

fn complaint() -> impl Strategy<Value = Complaint> {
    let kinds = vec![
        (3, 3, [0; 4]),
        (3, 1, [0; 4]),
        (3, 4, [0, 0, 0x05, 0x14]),
        (11, 0, [0; 4]),
        (12, 0, [20, 0, 0, 0]),
        (5, 1, [198, 51, 100, 9]),
    ];
    let rare = || prop::bool::weighted(0.15);
    (select(kinds), any::<bool>(), any::<bool>(), rare()).prop_map(
        |((kind, code, word), router, short, forged)| Complaint {
            kind,
            code,
            word,
            router,
            short,
            forged,
        },
    )
}

/// Where a container may send to.
fn peers() -> impl Strategy<Value = (Addr, u16)> {
    let servers = select(SERVERS[..2].to_vec());
    let ports = select(vec![80u16, 80, 53]);
    let others = vec![
        (HOST, 8080),
        (HOST, 8080),
        (HOST, 5353),
        (HOST, 81),
        (CONTAINERS[0].gateway, 8080),
        (CONTAINERS[0].addr, 80),
        (CONTAINERS[1].addr, 80),
        (CONTAINERS[2].addr, 80),
        (SERVERS[2], 80),
    ];
    prop_oneof![4 => (servers, ports), 3 => select(others)]
}

/// Where a stranger may send to.
fn doors() -> impl Strategy<Value = (Addr, u16)> {
    select(vec![
        (HOST, 8080),
        (HOST, 8080),
        (HOST, 5353),
        (HOST, 5353),
        (HOST, 81),
        (HOST, 40_000),
        (CONTAINERS[0].addr, 80),
        (CONTAINERS[0].addr, 8080),
        (CONTAINERS[1].addr, 53),
        (CONTAINERS[2].addr, 80),
        (CONTAINERS[0].gateway, 8080),
    ])
}

/// Few ports, so that they collide; of every class, and published ones.
fn sports() -> impl Strategy<Value = u16> {
    select(vec![40_000u16, 40_000, 40_000, 40_001, 700, 80, 8080, 5353])
}

fn ttls() -> impl Strategy<Value = u8> {
    prop_oneof![12 => Just(64u8), 1 => Just(1u8), 1 => Just(2u8)]
}

fn open() -> impl Strategy<Value = Step> {
    (0..3usize, peers(), sports(), l4(), ttls()).prop_map(|(who, to, sport, l4, ttl)| Step::Open {
        who,
        to,
        sport,
        l4,
        ttl,
    })
}

fn knock() -> impl Strategy<Value = Step> {
    (select(SERVERS.to_vec()), doors(), sports(), l4(), ttls()).prop_map(
        |(from, to, sport, l4, ttl)| Step::Knock {
            from,
            to,
            sport,
            l4,
            ttl,
        },
    )
}

/// Mostly the latest packet.
fn back() -> impl Strategy<Value = usize> {
    prop_oneof![6 => Just(0usize), 2 => 1..3usize, 1 => 3..12usize]
}

/// Each is 1 more than a multiple of ten, and there are at most eight in a sequence: their sums never
/// hit a lifetime exactly, all of which are multiples of ten.
fn wait() -> impl Strategy<Value = Step> {
    select(vec![1u32, 11, 21, 31, 61, 121, 301, 43_201, 432_001]).prop_map(Step::Wait)
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        8 => open(),
        4 => knock(),
        14 => (back(), how()).prop_map(|(back, how)| Step::Answer { back, how }),
        5 => (back(), how()).prop_map(|(back, how)| Step::GoOn { back, how }),
        2 => back().prop_map(|back| Step::Again { back }),
        4 => (back(), complaint()).prop_map(|(back, what)| Step::Complain { back, what }),
        2 => fragments(),
        2 => wait(),
    ]
}

fn fragments() -> impl Strategy<Value = Step> {
    let order = prop_oneof![
        3 => Just(Order::Sent),
        2 => Just(Order::Reversed),
        1 => Just(Order::Lost)
    ];
    let len = select(vec![1200usize, 2000, 3500]);
    (0..3usize, peers(), prop::option::of(back()), order, len).prop_map(
        |(who, to, answer, order, len)| Step::Fragments {
            who,
            to,
            answer,
            order,
            len,
        },
    )
}

/// Several steps that belong together: a connection is opened, and perhaps closed.
fn connection() -> impl Strategy<Value = Vec<Step>> {
    let first = prop_oneof![
        (0..3usize, peers(), sports()).prop_map(|(who, to, sport)| Step::Open {
            who,
            to,
            sport,
            l4: L4::Syn,
            ttl: 64
        }),
        (select(SERVERS.to_vec()), sports()).prop_map(|(from, sport)| Step::Knock {
            from,
            to: (HOST, 8080),
            sport,
            l4: L4::Syn,
            ttl: 64
        }),
    ];
    (first, 1..9usize).prop_map(|(first, more)| {
        let answer = |how| Step::Answer { back: 0, how };
        let life = [
            answer(How::Natural),
            answer(How::Natural),
            Step::GoOn {
                back: 0,
                how: How::Data(100),
            },
            answer(How::Natural),
            answer(How::Fin),
            answer(How::Natural),
            Step::GoOn {
                back: 0,
                how: How::Fin,
            },
            answer(How::Natural),
        ];
        let mut steps = vec![first];
        steps.extend(life.into_iter().take(more));
        steps
    })
}

/// A sequence.
pub(crate) fn sequence() -> impl Strategy<Value = Vec<Step>> {
    let part = prop_oneof![
        5 => step().prop_map(|step| vec![step]),
        1 => connection(),
    ];
    prop::collection::vec(part, 1..24).prop_map(|parts| {
        let mut waits = 0;
        let mut steps = parts.concat();
        steps.retain(|step| {
            waits += usize::from(matches!(step, Step::Wait(_)));
            !matches!(step, Step::Wait(_)) || waits <= 8
        });
        steps
    })
}

/// The place of a container by its number.
pub(crate) const fn place(who: usize) -> Place {
    [Place::C1, Place::C2, Place::C3][who]
}
