//! Packets of the model, made of a step, in either family.
//!
//! Owns no expectation.

use std::fmt::Debug;

use netpath_common::{
    addr::{V4, V6},
    testing::*,
};

use crate::step::{L4, Shape};

/// How packets of a family are made.
pub(crate) trait Packets: Sized + Copy {
    type Datagram: Clone + Debug;
    /// Types of ICMP messages with an identifier, the same one more often, and others.
    const QUERIES: [u8; 5];
    /// Types of ICMP errors, and the redirect.
    const ERRORS: [u8; 6];
    /// MTUs that an error may tell of.
    const MTUS: [u16; 4];

    fn tcp(src: Self, sport: u16, dst: Self, dport: u16, flags: u8, data: &[u8]) -> Self::Datagram;
    fn udp(src: Self, sport: u16, dst: Self, dport: u16, data: &[u8], sum: bool) -> Self::Datagram;
    fn query(src: Self, dst: Self, kind: u8, id: u16) -> Self::Datagram;
    /// A TCP segment with these numbers, and its checksum made anew.
    fn numbered(d: Self::Datagram, seq: u32, ack: u32) -> Self::Datagram;
    /// With a TTL, and with options or extension headers by number, 0 for none, 10 the last.
    fn dressed(d: Self::Datagram, ttl: u8, headers: usize) -> Self::Datagram;
    /// About `about`, of which it quotes so many bytes behind the headers.
    fn complaint(
        from: Self,
        to: Self,
        kind: u8,
        mtu: u16,
        about: &Self::Datagram,
        quoted: usize,
    ) -> Self::Datagram;
    fn parts(d: &Self::Datagram, chunk: usize, id: u16) -> Vec<Self::Datagram>;
    fn l4(d: &mut Self::Datagram) -> &mut Vec<u8>;
    fn frame(d: &Self::Datagram, src: Mac, dst: Mac, ifindex: u32) -> Frame;
    /// The datagram that fragments make up.
    fn whole(parts: &[Frame]) -> Result<Option<Frame>, String>;
}

impl Packets for V4 {
    type Datagram = Datagram;
    const QUERIES: [u8; 5] = [8, 8, 0, 13, 14];
    const ERRORS: [u8; 6] = [3, 3, 4, 5, 11, 12];
    const MTUS: [u16; 4] = [0, 67, 68, 1300];

    fn tcp(src: Self, sport: u16, dst: Self, dport: u16, flags: u8, data: &[u8]) -> Datagram {
        tcp_data(src, sport, dst, dport, flags, data)
    }

    fn udp(src: Self, sport: u16, dst: Self, dport: u16, data: &[u8], sum: bool) -> Datagram {
        if sum {
            udp(src, sport, dst, dport, data)
        } else {
            udp_without_checksum(src, sport, dst, dport, data)
        }
    }

    fn query(src: Self, dst: Self, kind: u8, id: u16) -> Datagram {
        query(src, dst, kind, id)
    }

    fn numbered(d: Datagram, seq: u32, ack: u32) -> Datagram {
        d.numbered(seq, ack)
    }

    fn dressed(d: Datagram, ttl: u8, headers: usize) -> Datagram {
        d.ttl(ttl).options(headers)
    }

    fn complaint(
        from: Self,
        to: Self,
        kind: u8,
        mtu: u16,
        about: &Datagram,
        quoted: usize,
    ) -> Datagram {
        let code = if kind == 3 { 4 } else { 1 };
        let p = error(from, to, kind, code, about, quoted);
        let [a, b] = mtu.to_be_bytes();
        icmp(from, to, kind, code, [0, 0, a, b], &p.l4[8..])
    }

    fn parts(d: &Datagram, chunk: usize, id: u16) -> Vec<Datagram> {
        d.clone().id(id).fragments(chunk)
    }

    fn l4(d: &mut Datagram) -> &mut Vec<u8> {
        &mut d.l4
    }

    fn frame(d: &Datagram, src: Mac, dst: Mac, ifindex: u32) -> Frame {
        d.frame(src, dst, ifindex)
    }

    fn whole(parts: &[Frame]) -> Result<Option<Frame>, String> {
        reassemble(parts)
    }
}

impl Packets for V6 {
    type Datagram = Datagram6;
    // Behind them a router advertisement and a neighbour solicitation.
    const QUERIES: [u8; 5] = [128, 128, 129, 134, 135];
    const ERRORS: [u8; 6] = [1, 2, 2, 137, 3, 4];
    const MTUS: [u16; 4] = [0, 1279, 1280, 1300];

    fn tcp(src: Self, sport: u16, dst: Self, dport: u16, flags: u8, data: &[u8]) -> Datagram6 {
        tcp_data6(src, sport, dst, dport, flags, data)
    }

    fn udp(src: Self, sport: u16, dst: Self, dport: u16, data: &[u8], sum: bool) -> Datagram6 {
        let mut d = udp6(src, sport, dst, dport, data);
        if !sum {
            d.l4[6..8].fill(0);
        }
        d
    }

    fn query(src: Self, dst: Self, kind: u8, id: u16) -> Datagram6 {
        query6(src, dst, kind, id)
    }

    fn numbered(mut d: Datagram6, seq: u32, ack: u32) -> Datagram6 {
        d.l4[4..8].copy_from_slice(&seq.to_be_bytes());
        d.l4[8..12].copy_from_slice(&ack.to_be_bytes());
        d.summed(16)
    }

    fn dressed(d: Datagram6, ttl: u8, headers: usize) -> Datagram6 {
        use header::{AUTHENTICATION, DESTINATION, HOP_BY_HOP};
        let authentication = [
            0, 4, 0, 0, 0, 0, 0, 9, 0, 0, 0, 1, 1, 2, 3, 4, 5, 6, 7, 8, 9, 9, 9, 9,
        ];
        let d = d.hops(ttl);
        match headers {
            0 => d,
            1 => d.options(HOP_BY_HOP, 1),
            2 => d.options(DESTINATION, 3),
            3 => d.options(DESTINATION, 1).routing(4, 0),
            4 => d.header(AUTHENTICATION, &authentication),
            // A datagram in one fragment (RFC 6946).
            5 => d.fragment(0, false, 9),
            6 => (0..5).fold(d.options(HOP_BY_HOP, 2), |d, _| d.options(DESTINATION, 1)),
            // What nobody may look behind.
            7 => d.routing(0, 0),
            8 => d.routing(4, 1),
            9 => d.options(DESTINATION, 1).options(HOP_BY_HOP, 1),
            _ => (0..7).fold(d, |d, _| d.options(DESTINATION, 1)),
        }
    }

    fn complaint(
        from: Self,
        to: Self,
        kind: u8,
        mtu: u16,
        about: &Datagram6,
        quoted: usize,
    ) -> Datagram6 {
        let about = if quoted.is_multiple_of(4) {
            about.clone().options(header::DESTINATION, 1)
        } else {
            about.clone()
        };
        error6(from, to, kind, 0, u32::from(mtu), &about, quoted)
    }

    fn parts(d: &Datagram6, chunk: usize, id: u16) -> Vec<Datagram6> {
        d.fragments(chunk, u32::from(id) << 8)
    }

    fn l4(d: &mut Datagram6) -> &mut Vec<u8> {
        &mut d.l4
    }

    fn frame(d: &Datagram6, src: Mac, dst: Mac, ifindex: u32) -> Frame {
        d.frame(src, dst, ifindex)
    }

    fn whole(parts: &[Frame]) -> Result<Option<Frame>, String> {
        reassemble6(parts)
    }
}

/// A packet before it is cut into fragments.
pub(crate) fn whole<A: Packets>(
    src: A,
    dst: A,
    (sport, dport): (u16, u16),
    s: &Shape,
) -> A::Datagram {
    let payload = vec![0x5a; s.len];
    let d = match s.l4 {
        L4::Tcp { flags, seq, mss } => {
            let mut d = A::tcp(src, sport, dst, dport, flags, &payload);
            if let Some(mss) = mss {
                // Behind a filler, so that the value lies at an odd offset where there are two.
                let [a, b] = mss.to_be_bytes();
                let filler = [1_u8; 3];
                let words = [&filler[..], &[2, 4, a, b, 0]].concat();
                let l4 = A::l4(&mut d);
                l4[12] = 0x70;
                l4.splice(20..20, words);
            }
            let ack = if flags & plain::ACK == 0 { 0 } else { 2000 };
            A::numbered(d, seq, ack)
        }
        L4::Udp { sum } => A::udp(src, sport, dst, dport, &payload, sum),
        L4::Query(kind) => A::query(src, dst, A::QUERIES[kind], sport),
    };
    A::dressed(d, s.ttl, s.options)
}

pub(crate) fn packet<A: Packets>(src: A, dst: A, ports: (u16, u16), s: &Shape) -> A::Datagram {
    let d = whole(src, dst, ports, s);
    match s.fragment {
        None => d,
        Some(first) => {
            let parts = A::parts(&d, 24, 7);
            parts[if first { 0 } else { parts.len() - 1 }].clone()
        }
    }
}
