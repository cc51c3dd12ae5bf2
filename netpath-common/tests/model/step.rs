//! What can happen to a host, chosen at random from few names so that things meet.
//!
//! Owns the choice. What a step does to the host is `world`'s.

use netpath_common::testing::{Addr, C1, C2, C3, GW1, H, S, S2};
use proptest::{prelude::*, sample::select};

use crate::{life::H2, scene::LISTS};

/// A transport of a packet.
#[derive(Clone, Copy, Debug)]
pub(crate) enum L4 {
    Tcp {
        flags: u8,
        seq: u32,
        mss: Option<u16>,
    },
    Udp {
        sum: bool,
    },
    /// ICMP type.
    Query(u8),
}

/// How a packet looks besides addresses and ports.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Shape {
    pub(crate) l4: L4,
    pub(crate) ttl: u8,
    pub(crate) options: usize,
    pub(crate) len: usize,
    /// The first fragment, or the tail, of a datagram.
    pub(crate) fragment: Option<bool>,
}

/// Addresses and ports of a packet.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Ends {
    pub(crate) dst: Addr,
    pub(crate) sport: u16,
    pub(crate) dport: u16,
}

/// What a container puts into a frame that is not its own, or what a wire does to one.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Lie {
    Address(Addr),
    Mac,
    /// The frame ends after so many bytes.
    Cut(usize),
    /// A byte is another one.
    Byte(usize, u8),
}

/// One thing that happens.
#[derive(Clone, Debug)]
pub(crate) enum Step {
    /// A container sends.
    Send {
        who: usize,
        ends: Ends,
        shape: Shape,
        lie: Option<Lie>,
    },
    /// The outside sends.
    Arrive {
        src: Addr,
        ends: Ends,
        shape: Shape,
        lie: Option<Lie>,
    },
    /// A container or the outside sends a datagram in parts: their order by number, some twice.
    Parts {
        who: Option<usize>,
        ends: Ends,
        tcp: bool,
        len: usize,
        order: Vec<usize>,
    },
    /// The other end answers the `n`th packet that has left or been delivered.
    Answer {
        n: usize,
        flags: u8,
        seq: u32,
        ttl: u8,
    },
    /// A TCP handshake: a container's with the outside, or one with a published port.
    Handshake { who: Option<usize>, sport: u16 },
    /// Somebody complains about the `n`th packet that has left or been delivered.
    Complain {
        n: usize,
        kind: u8,
        mtu: u16,
        quoted: usize,
        dst: Option<Addr>,
        /// The host's stack does, which had to route the packet.
        by_host: bool,
    },
    /// The stack sends what it was given untranslated.
    FromStack {
        who: usize,
        ends: Ends,
        shape: Shape,
    },
    /// The host sends for itself.
    FromHost { ends: Ends, shape: Shape },
    /// A socket of the host begins to listen, or ends.
    Listen { port: u16, on: bool },
    /// Time goes by.
    Wait { ms: u64 },
    /// The endpoint is replaced by another one with its address.
    Replace { who: usize },
    /// The port is published, at another container perhaps, or taken back.
    Publish { udp: bool, to: Option<usize> },
    /// The port has another allow list, by number; none: everybody.
    Allow { udp: bool, list: Option<usize> },
    /// The uplink's generation grows, perhaps with another address.
    Uplink { moves: bool },
    /// The collector is given every key.
    Collect { force: bool },
}

fn port() -> impl Strategy<Value = u16> {
    select(vec![53, 80, 700, 5000, 5001, 5353, 8080])
}

fn inside() -> impl Strategy<Value = Addr> {
    select(vec![C1.addr, C2.addr, C3.addr, GW1, [172, 17, 255, 255]])
}

fn anywhere() -> impl Strategy<Value = Addr> {
    prop_oneof![
        6 => select(vec![S, S2]),
        4 => Just(H),
        1 => Just(H2),
        2 => inside(),
        1 => select(vec![[127, 0, 0, 1], [224, 0, 0, 1], [255; 4], [192, 0, 2, 200]]),
    ]
}

fn ends() -> impl Strategy<Value = Ends> {
    (anywhere(), port(), port()).prop_map(|(dst, sport, dport)| Ends { dst, sport, dport })
}

fn flags() -> impl Strategy<Value = u8> {
    prop_oneof![
        4 => Just(0x02), 3 => Just(0x12), 5 => Just(0x10), 2 => Just(0x11), 1 => Just(0x04),
        1 => any::<u8>(),
    ]
}

/// What the other end has acknowledged is 2000, so these are before, at and behind it.
fn seq() -> impl Strategy<Value = u32> {
    prop_oneof![4 => Just(2000), 1 => select(vec![0, 1, 1999, 2001, 3000, u32::MAX])]
}

fn ttl() -> impl Strategy<Value = u8> {
    prop_oneof![12 => Just(64_u8), 1 => 0..3_u8]
}

fn shape() -> impl Strategy<Value = Shape> {
    let mss = prop_oneof![3 => Just(None), 1 => select(vec![536, 1300, 1460, 8960]).prop_map(Some)];
    let l4 = prop_oneof![
        4 => (flags(), seq(), mss).prop_map(|(flags, seq, mss)| L4::Tcp { flags, seq, mss }),
        4 => (0..5_u8).prop_map(|n| L4::Udp { sum: n != 0 }),
        2 => select(vec![8, 8, 0, 13, 14]).prop_map(L4::Query),
    ];
    let options = prop_oneof![8 => Just(0_usize), 1 => 0..11_usize];
    let len = prop_oneof![8 => 0..64_usize, 1 => 1300..1600_usize];
    let fragment = prop_oneof![9 => Just(None), 1 => any::<bool>().prop_map(Some)];
    (l4, ttl(), options, len, fragment).prop_map(|(l4, ttl, options, len, fragment)| Shape {
        l4,
        ttl,
        options,
        len,
        fragment,
    })
}

fn lie() -> impl Strategy<Value = Option<Lie>> {
    prop_oneof![
        14 => Just(None),
        1 => anywhere().prop_map(|a| Some(Lie::Address(a))),
        1 => prop_oneof![
            1 => Just(Lie::Mac),
            1 => (0..80_usize).prop_map(Lie::Cut),
            3 => (12..70_usize, any::<u8>()).prop_map(|(at, to)| Lie::Byte(at, to)),
        ].prop_map(Some),
    ]
}

fn parts() -> impl Strategy<Value = Step> {
    let order = prop_oneof![
        2 => Just((0..5).collect::<Vec<usize>>()),
        2 => Just((0..5).collect::<Vec<usize>>()).prop_shuffle(),
        1 => prop::collection::vec(0..5_usize, 1..8),
    ];
    let who = prop::option::of(0..3_usize);
    (who, ends(), 0..4_u8, 0..600_usize, order).prop_map(|(who, ends, tcp, len, order)| {
        Step::Parts {
            who,
            ends,
            tcp: tcp == 0,
            len,
            order,
        }
    })
}

fn changes() -> impl Strategy<Value = Step> {
    let who = 0..3_usize;
    let wait = vec![
        1,
        4,
        900,
        1100,
        2000,
        5_000,
        29_996,
        30_000,
        60_000,
        120_000,
        500_000_000,
    ];
    prop_oneof![
        10 => select(wait).prop_map(|ms| Step::Wait { ms }),
        2 => who.clone().prop_map(|who| Step::Replace { who }),
        2 => (any::<bool>(), prop::option::of(who)).prop_map(|(udp, to)| Step::Publish { udp, to }),
        2 => (any::<bool>(), prop::option::of(0..LISTS.len()))
            .prop_map(|(udp, list)| Step::Allow { udp, list }),
        1 => any::<bool>().prop_map(|moves| Step::Uplink { moves }),
        1 => (port(), any::<bool>()).prop_map(|(port, on)| Step::Listen { port, on }),
        4 => (0..8_u8).prop_map(|n| Step::Collect { force: n == 0 }),
    ]
}

/// Any step.
pub(crate) fn step() -> impl Strategy<Value = Step> {
    let who = 0..3_usize;
    let n = 0..40_usize;
    prop_oneof![
        30 => (who.clone(), ends(), shape(), lie())
            .prop_map(|(who, ends, shape, lie)| Step::Send { who, ends, shape, lie }),
        20 => (anywhere(), ends(), shape(), lie())
            .prop_map(|(src, ends, shape, lie)| Step::Arrive { src, ends, shape, lie }),
        30 => (n.clone(), flags(), seq(), ttl())
            .prop_map(|(n, flags, seq, ttl)| Step::Answer { n, flags, seq, ttl }),
        6 => (prop::option::of(who.clone()), port()).prop_map(|(who, sport)| Step::Handshake { who, sport }),
        4 => parts(),
        10 => (n, select(vec![3, 3, 4, 5, 11, 12]), select(vec![0, 67, 68, 1300]), 4..60_usize,
               prop_oneof![8 => Just(None), 1 => anywhere().prop_map(Some)], 0..4_u8)
            .prop_map(|(n, kind, mtu, quoted, dst, host)| Step::Complain {
                n, kind, mtu, quoted, dst, by_host: host == 0,
            }),
        8 => (who, ends(), shape()).prop_map(|(who, ends, shape)| Step::FromStack { who, ends, shape }),
        5 => (ends(), shape()).prop_map(|(ends, shape)| Step::FromHost { ends, shape }),
        18 => changes(),
    ]
}
