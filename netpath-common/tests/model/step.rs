//! What can happen to a host, chosen at random from few names so that things meet.
//!
//! Owns the choice. What a step does to the host is `world`'s.

use netpath_common::testing::{NET1, NET2};
use proptest::{prelude::*, sample::select};

use crate::{
    mode::Mode,
    scene::{BALANCED, DNS, POOL, WEB},
    side::Name,
};

/// Allow lists there are, by number.
const LISTS: usize = 4;

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
    /// An ICMP message, by number.
    Query(usize),
}

/// How a packet looks besides addresses and ports.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Shape {
    pub(crate) l4: L4,
    pub(crate) ttl: u8,
    /// IP options, or extension headers, by number.
    pub(crate) options: usize,
    pub(crate) len: usize,
    /// The first fragment, or the tail, of a datagram.
    pub(crate) fragment: Option<bool>,
}

/// Addresses and ports of a packet.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Ends {
    pub(crate) dst: Name,
    pub(crate) sport: u16,
    pub(crate) dport: u16,
}

/// What a container puts into a frame that is not its own, or what a wire does to one.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Lie {
    Address(Name),
    Mac,
    /// The frame is for the MAC address of a container.
    To(usize),
    /// The frame ends after so many bytes.
    Cut(usize),
    /// A byte is another one.
    Byte(usize, u8),
}

/// One thing that happens.
#[derive(Clone, Debug)]
pub(crate) struct Step {
    /// Its packets are of IPv6, where the life has both families.
    pub(crate) v6: bool,
    pub(crate) what: What,
}

/// What a container says on its own link: ARP, neighbour discovery.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Say {
    pub(crate) who: usize,
    /// What kind of message, by number.
    pub(crate) kind: usize,
    pub(crate) src: Name,
    pub(crate) target: Name,
    /// Whose MAC address it names, if any.
    pub(crate) mac: Option<usize>,
    /// A number that is right where it is 0.
    pub(crate) wrong: u8,
}

/// What.
#[derive(Clone, Debug)]
pub(crate) enum What {
    /// A container sends.
    Send {
        who: usize,
        ends: Ends,
        shape: Shape,
        lie: Option<Lie>,
    },
    /// The outside sends.
    Arrive {
        src: Name,
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
    ///
    /// `kind`, `mtu`: by number.
    Complain {
        n: usize,
        kind: usize,
        mtu: usize,
        quoted: usize,
        dst: Option<Name>,
        /// The host's stack does, which had to route the packet.
        by_host: bool,
    },
    /// A container speaks on its own link.
    Say(Say),
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
    /// A rule, as a party, has another allow list, by number; none: everybody.
    Allow { rule: usize, list: Option<usize> },
    /// A container comes to share the balanced port, or goes.
    Share { udp: bool, who: usize, on: bool },
    /// A container's interface is gone.
    Lose { who: usize },
    /// A network is opened to the outside in another way.
    Open { network: u16, mode: Mode },
    /// The uplink's generation grows, perhaps with another address of IPv4, of IPv6.
    Uplink { moves: [bool; 2] },
    /// The collector is given every key.
    Collect { force: bool },
}

fn port() -> impl Strategy<Value = u16> {
    prop_oneof![
        60 => select(vec![53, 80, 700, 5000, 5001, 5353, 8080, BALANCED]),
        1 => select(vec![67, 68, 546, 547]),
    ]
}

fn anywhere() -> impl Strategy<Value = Name> {
    prop_oneof![
        12 => select(vec![Name::Server, Name::Server2]),
        8 => Just(Name::Host),
        2 => Just(Name::Host2),
        3 => (0..3_usize).prop_map(Name::Container),
        2 => select(vec![Name::Gateway, Name::Last]),
        3 => select(vec![Name::Loopback, Name::Multicast, Name::Nobody, Name::Near]),
        1 => (0..3_usize).prop_map(Name::Link),
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
        2 => (0..5_usize).prop_map(L4::Query),
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
            1 => (0..3_usize).prop_map(Lie::To),
            1 => (0..100_usize).prop_map(Lie::Cut),
            3 => (12..90_usize, any::<u8>()).prop_map(|(at, to)| Lie::Byte(at, to)),
        ].prop_map(Some),
    ]
}

fn parts() -> impl Strategy<Value = What> {
    let order = prop_oneof![
        2 => Just((0..5).collect::<Vec<usize>>()),
        2 => Just((0..5).collect::<Vec<usize>>()).prop_shuffle(),
        1 => prop::collection::vec(0..5_usize, 1..8),
    ];
    let who = prop::option::of(0..3_usize);
    (who, ends(), 0..4_u8, 0..600_usize, order).prop_map(|(who, ends, tcp, len, order)| {
        What::Parts {
            who,
            ends,
            tcp: tcp == 0,
            len,
            order,
        }
    })
}

fn changes() -> impl Strategy<Value = What> {
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
        10 => select(wait).prop_map(|ms| What::Wait { ms }),
        2 => who.clone().prop_map(|who| What::Replace { who }),
        2 => (any::<bool>(), prop::option::of(who.clone()))
            .prop_map(|(udp, to)| What::Publish { udp, to }),
        2 => (prop_oneof![2 => WEB..=DNS, 1 => POOL..POOL + 6], prop::option::of(0..LISTS))
            .prop_map(|(rule, list)| What::Allow { rule, list }),
        3 => (any::<bool>(), who.clone(), 0..3_u8)
            .prop_map(|(udp, who, on)| What::Share { udp, who, on: on != 0 }),
        1 => who.clone().prop_map(|who| What::Lose { who }),
        1 => (select(vec![NET1, NET2]), select(vec![Mode::Nat, Mode::Bound, Mode::Bound, Mode::Routed]))
            .prop_map(|(network, mode)| What::Open { network, mode }),
        1 => any::<[bool; 2]>().prop_map(|moves| What::Uplink { moves }),
        1 => (port(), any::<bool>()).prop_map(|(port, on)| What::Listen { port, on }),
        4 => (0..8_u8).prop_map(|n| What::Collect { force: n == 0 }),
    ]
}

fn say() -> impl Strategy<Value = What> {
    let who = 0..3_usize;
    let name = prop_oneof![
        4 => (0..3_usize).prop_map(Name::Container),
        4 => (0..3_usize).prop_map(Name::Link),
        1 => select(vec![Name::Nothing, Name::Multicast, Name::Gateway, Name::Server]),
    ];
    let wrong = prop_oneof![6 => Just(0_u8), 1 => 1..6_u8];
    let mac = prop::option::of(who.clone());
    (who, 0..9_usize, name.clone(), name, mac, wrong).prop_map(
        |(who, kind, src, target, mac, wrong)| {
            What::Say(Say {
                who,
                kind,
                src,
                target,
                mac,
                wrong,
            })
        },
    )
}

/// Any step.
pub(crate) fn step() -> impl Strategy<Value = Step> {
    (any::<bool>(), what()).prop_map(|(v6, what)| Step { v6, what })
}

fn what() -> impl Strategy<Value = What> {
    let who = 0..3_usize;
    let n = 0..40_usize;
    prop_oneof![
        30 => (who.clone(), ends(), shape(), lie())
            .prop_map(|(who, ends, shape, lie)| What::Send { who, ends, shape, lie }),
        20 => (anywhere(), ends(), shape(), lie())
            .prop_map(|(src, ends, shape, lie)| What::Arrive { src, ends, shape, lie }),
        30 => (n.clone(), flags(), seq(), ttl())
            .prop_map(|(n, flags, seq, ttl)| What::Answer { n, flags, seq, ttl }),
        6 => (prop::option::of(who.clone()), port()).prop_map(|(who, sport)| What::Handshake { who, sport }),
        4 => parts(),
        4 => say(),
        10 => (n, 0..6_usize, 0..4_usize, 4..60_usize,
               prop_oneof![8 => Just(None), 1 => anywhere().prop_map(Some)], 0..4_u8)
            .prop_map(|(n, kind, mtu, quoted, dst, host)| What::Complain {
                n, kind, mtu, quoted, dst, by_host: host == 0,
            }),
        8 => (who, ends(), shape()).prop_map(|(who, ends, shape)| What::FromStack { who, ends, shape }),
        5 => (ends(), shape()).prop_map(|(ends, shape)| What::FromHost { ends, shape }),
        18 => changes(),
    ]
}
