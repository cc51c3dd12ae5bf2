//! Sequences at random, from few names so that things meet.
//!
//! Owns the choice. What a step puts on the wires is `play`'s.

use proptest::{prelude::*, sample::select};

use crate::{
    address::{FAMILIES, Family, Who},
    packet::{ACK, ESP, FIN, GRE, PSH, RST, SYN},
    step::{Complaint, How, L4, Order, Step, What},
};

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
            L4::Options,
            L4::Options,
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
    let what = select(vec![
        What::PortUnreachable,
        What::HostUnreachable,
        What::TooBig,
        What::TimeExceeded,
        What::Parameter,
        What::Redirect,
    ]);
    let what = prop_oneof![15 => what, 1 => Just(What::ImpossibleMtu)];
    let rare = || prop::bool::weighted(0.15);
    (what, any::<bool>(), any::<bool>(), rare()).prop_map(|(what, router, short, forged)| {
        Complaint {
            what,
            router,
            short,
            forged,
        }
    })
}

/// Where a container may send to.
fn peers() -> impl Strategy<Value = (Who, u16)> {
    let servers = select(vec![Who::Server(0), Who::Server(1)]);
    let ports = select(vec![80u16, 80, 53]);
    let others = vec![
        (Who::Host, 8080),
        (Who::Host, 8080),
        (Who::Host, 5353),
        (Who::Host, 81),
        (Who::Gateway(0), 8080),
        (Who::Container(0), 80),
        (Who::Container(1), 80),
        (Who::Container(2), 80),
        (Who::Server(2), 80),
    ];
    prop_oneof![4 => (servers, ports), 3 => select(others)]
}

/// Strangers.
fn strangers() -> impl Strategy<Value = Who> {
    (0..3usize).prop_map(Who::Server)
}

/// Where a stranger may send to.
fn doors() -> impl Strategy<Value = (Who, u16)> {
    select(vec![
        (Who::Host, 8080),
        (Who::Host, 8080),
        (Who::Host, 5353),
        (Who::Host, 5353),
        (Who::Host, 81),
        (Who::Host, 40_000),
        (Who::Container(0), 80),
        (Who::Container(0), 8080),
        (Who::Container(1), 53),
        (Who::Container(2), 80),
        (Who::Gateway(0), 8080),
    ])
}

fn family() -> impl Strategy<Value = Family> {
    select(FAMILIES.to_vec())
}

/// Few ports, so that they collide; of every class, and published ones.
fn sports() -> impl Strategy<Value = u16> {
    select(vec![40_000u16, 40_000, 40_000, 40_001, 700, 80, 8080, 5353])
}

fn ttls() -> impl Strategy<Value = u8> {
    prop_oneof![12 => Just(64u8), 1 => Just(1u8), 1 => Just(2u8)]
}

fn open() -> impl Strategy<Value = Step> {
    (family(), 0..3usize, peers(), sports(), l4(), ttls()).prop_map(
        |(family, who, to, sport, l4, ttl)| Step::Open {
            family,
            who,
            to,
            sport,
            l4,
            ttl,
        },
    )
}

fn knock() -> impl Strategy<Value = Step> {
    (family(), strangers(), doors(), sports(), l4(), ttls()).prop_map(
        |(family, from, to, sport, l4, ttl)| Step::Knock {
            family,
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
    // Below what every link of IPv6 takes, and above.
    let chunk = select(vec![1024usize, 1400]);
    let answer = prop::option::of(back());
    (family(), 0..3usize, peers(), answer, order, len, chunk).prop_map(
        |(family, who, to, answer, order, len, chunk)| Step::Fragments {
            family,
            who,
            to,
            answer,
            order,
            len,
            chunk,
        },
    )
}

/// Several steps that belong together: a connection is opened, and perhaps closed.
fn connection() -> impl Strategy<Value = Vec<Step>> {
    let first = prop_oneof![
        (family(), 0..3usize, peers(), sports()).prop_map(|(family, who, to, sport)| Step::Open {
            family,
            who,
            to,
            sport,
            l4: L4::Syn,
            ttl: 64
        }),
        (family(), strangers(), sports()).prop_map(|(family, from, sport)| Step::Knock {
            family,
            from,
            to: (Who::Host, 8080),
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

/// Every container asks one server by one port, so that all but one need another.
fn crowd() -> impl Strategy<Value = Vec<Step>> {
    let udp = L4::Udp {
        len: 32,
        bare: false,
    };
    let l4 = select(vec![udp, L4::Syn, L4::Echo]);
    // Not a port of a small class, in which two choices are the same too often.
    let sport = select(vec![40_000u16, 40_001]);
    (family(), 0..2usize, sport, l4).prop_map(|(family, server, sport, l4)| {
        let one = |who| {
            let question = Step::Open {
                family,
                who,
                to: (Who::Server(server), 80),
                sport,
                l4: l4.clone(),
                ttl: 64,
            };
            let answer = Step::Answer {
                back: 0,
                how: How::Natural,
            };
            [question, answer]
        };
        (0..3).flat_map(one).collect()
    })
}

/// A sequence of one family or of both: in one of both, fewer packets meet.
pub(crate) fn sequence() -> impl Strategy<Value = Vec<Step>> {
    let part = prop_oneof![
        10 => step().prop_map(|step| vec![step]),
        2 => connection(),
        1 => crowd(),
    ];
    let only = select(vec![None, Some(Family::V4), Some(Family::V6)]);
    (only, prop::collection::vec(part, 1..24)).prop_map(|(only, parts)| {
        let mut waits = 0;
        let mut steps = parts.concat();
        steps.retain(|step| {
            waits += usize::from(matches!(step, Step::Wait(_)));
            !matches!(step, Step::Wait(_)) || waits <= 8
        });
        let of = |step: Step| only.map_or_else(|| step.clone(), |family| step.clone().of(family));
        steps.into_iter().map(of).collect()
    })
}
