//! What can happen to a host, chosen at random from few names so that things meet.
//!
//! Owns the choice. What a step does to the host is `world`'s.

use netpath_common::testing::{Addr, C1, C2, C3, GW1, H, S, S2};
use proptest::prelude::*;

/// A transport of a packet.
#[derive(Clone, Copy, Debug)]
pub(crate) enum L4 {
    /// Flags.
    Tcp(u8),
    Udp,
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

/// One thing that happens.
#[derive(Clone, Debug)]
pub(crate) enum Step {
    /// A container sends, perhaps with an address that is not its own.
    Send {
        who: usize,
        src: Addr,
        dst: Addr,
        sport: u16,
        dport: u16,
        shape: Shape,
    },
    /// The outside sends.
    Arrive {
        src: Addr,
        dst: Addr,
        sport: u16,
        dport: u16,
        shape: Shape,
    },
    /// The other end answers the `n`th packet that has left or been delivered.
    Answer { n: usize, flags: u8, ttl: u8 },
    /// Somebody complains about the `n`th packet that has left or been delivered.
    Complain {
        n: usize,
        kind: u8,
        quoted: usize,
        dst: Option<Addr>,
    },
    /// The stack sends what it was given untranslated.
    FromStack {
        who: usize,
        dst: Addr,
        sport: u16,
        dport: u16,
        shape: Shape,
    },
    /// Time goes by.
    Wait { ms: u64 },
    /// The endpoint is replaced by another one with its address.
    Replace { who: usize },
    /// The port is published, at another container perhaps, or taken back.
    Publish { udp: bool, to: Option<usize> },
    /// The uplink's generation grows.
    Uplink,
    /// The collector is given every key.
    Collect { force: bool },
}

fn port() -> impl Strategy<Value = u16> {
    prop::sample::select(vec![53, 80, 5000, 5001, 5353, 8080])
}

fn inside() -> impl Strategy<Value = Addr> {
    prop::sample::select(vec![C1.addr, C2.addr, C3.addr, GW1])
}

fn anywhere() -> impl Strategy<Value = Addr> {
    prop_oneof![
        6 => prop::sample::select(vec![S, S2]),
        4 => Just(H),
        2 => inside(),
        1 => prop::sample::select(vec![[127, 0, 0, 1], [224, 0, 0, 1], [192, 0, 2, 200]]),
    ]
}

fn flags() -> impl Strategy<Value = u8> {
    prop_oneof![
        4 => Just(0x02), 3 => Just(0x12), 4 => Just(0x10), 2 => Just(0x11), 1 => Just(0x04),
        1 => any::<u8>(),
    ]
}

fn shape() -> impl Strategy<Value = Shape> {
    let l4 = prop_oneof![
        4 => flags().prop_map(L4::Tcp),
        4 => Just(L4::Udp),
        2 => prop::sample::select(vec![8, 0, 13, 14]).prop_map(L4::Query),
    ];
    let ttl = prop_oneof![8 => Just(64_u8), 1 => 0..3_u8];
    let options = prop_oneof![6 => Just(0_usize), 1 => 0..11_usize];
    let len = prop_oneof![6 => 0..64_usize, 1 => 1400..1600_usize];
    let fragment = prop_oneof![6 => Just(None), 1 => any::<bool>().prop_map(Some)];
    (l4, ttl, options, len, fragment).prop_map(|(l4, ttl, options, len, fragment)| Shape {
        l4,
        ttl,
        options,
        len,
        fragment,
    })
}

/// Any step.
pub(crate) fn step() -> impl Strategy<Value = Step> {
    let who = 0..3_usize;
    let n = 0..40_usize;
    prop_oneof![
        30 => (who.clone(), prop_oneof![9 => Just(None), 1 => anywhere().prop_map(Some)],
               anywhere(), port(), port(), shape())
            .prop_map(|(who, src, dst, sport, dport, shape)| Step::Send {
                who, src: src.unwrap_or([C1, C2, C3][who].addr), dst, sport, dport, shape,
            }),
        20 => (anywhere(), anywhere(), port(), port(), shape())
            .prop_map(|(src, dst, sport, dport, shape)| Step::Arrive { src, dst, sport, dport, shape }),
        30 => (n.clone(), flags(), prop_oneof![8 => Just(64_u8), 1 => 0..3_u8])
            .prop_map(|(n, flags, ttl)| Step::Answer { n, flags, ttl }),
        10 => (n, prop::sample::select(vec![3, 4, 5, 11, 12]), 4..60_usize,
               prop_oneof![8 => Just(None), 1 => anywhere().prop_map(Some)])
            .prop_map(|(n, kind, quoted, dst)| Step::Complain { n, kind, quoted, dst }),
        8 => (who.clone(), anywhere(), port(), port(), shape())
            .prop_map(|(who, dst, sport, dport, shape)| Step::FromStack { who, dst, sport, dport, shape }),
        8 => prop::sample::select(vec![1, 900, 1100, 5_000, 29_999, 30_000, 120_000, 500_000_000])
            .prop_map(|ms| Step::Wait { ms }),
        2 => who.clone().prop_map(|who| Step::Replace { who }),
        2 => (any::<bool>(), prop::option::of(who)).prop_map(|(udp, to)| Step::Publish { udp, to }),
        1 => Just(Step::Uplink),
        3 => any::<bool>().prop_map(|force| Step::Collect { force }),
    ]
}
