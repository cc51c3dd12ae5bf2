//! A sequence played in both worlds.
//!
//! Owns the packets: what a step sends is built for each world from what was seen there, as those
//! who live there would. Reports the first difference that is not wanted.

use netpath_common::testing::{Addr, Datagram, icmp, query, tcp_data, udp, udp_without_checksum};

use crate::{
    compare::{Both, Difference, Output, Ports, compare, reassembled},
    differences::{Event, Seen, TABLE},
    packet::{ACK, FIN, ICMP, PSH, Packet, RST, SYN, TCP, UDP},
    site::{CONTAINERS, HOST, Place, Site, place_of},
    step::{Complaint, How, L4, Order, ROUTER, Step, place},
};

/// First sequence number of whoever begins, and of whoever answers.
const CLIENT: u32 = 100_000;
const SERVER: u32 = 500_000;

/// The largest packet that is sent as one.
const MTU: usize = 1500;

/// What has happened over all sequences.
#[derive(Default, Debug)]
pub(crate) struct Tally {
    pub(crate) sequences: u64,
    pub(crate) packets: u64,
    pub(crate) delivered: [u64; 4],
    pub(crate) chosen_ports: u64,
    pub(crate) waits: u64,
    /// By the index in the table.
    pub(crate) differences: Vec<u64>,
    /// Sequences that ended early, since the engines knew different flows from there on.
    pub(crate) ended: u64,
}

/// One sequence.
pub(crate) struct Play<'w> {
    sites: &'w [Site; 2],
    sent: Vec<Both>,
    seen: Vec<Both>,
    ports: Ports,
    id: u16,
    history: Vec<Event>,
    log: Vec<String>,
}

/// A sequence went on, or ended at a wanted difference.
enum Next {
    On,
    Ends,
}

impl<'w> Play<'w> {
    /// `id`: a number for the first packet that no packet of the last half minute had.
    pub(crate) fn new(sites: &'w [Site; 2], id: u16) -> Self {
        for site in sites {
            site.engine.reset();
        }
        Self {
            sites,
            sent: Vec::new(),
            seen: Vec::new(),
            ports: Ports::default(),
            id,
            history: Vec::new(),
            log: Vec::new(),
        }
    }

    /// Plays all steps. The error is the story so far, in words, and what differs.
    pub(crate) fn all(&mut self, steps: &[Step], tally: &mut Tally) -> Result<(), String> {
        tally.sequences += 1;
        let mut result = Ok(());
        for step in steps {
            match self.one(step, tally) {
                Ok(Next::On) => {}
                Ok(Next::Ends) => {
                    tally.ended += 1;
                    break;
                }
                Err(what) => {
                    result = Err(format!("{}\n{what}", self.log.join("\n")));
                    break;
                }
            }
        }
        tally.chosen_ports += self.ports.chosen;
        result
    }

    /// The number for the next sequence's first packet.
    pub(crate) const fn next_id(&self) -> u16 {
        self.id
    }

    fn one(&mut self, step: &Step, tally: &mut Tally) -> Result<Next, String> {
        if let Step::Wait(seconds) = *step {
            tally.waits += 1;
            self.log.push(format!("{seconds} s pass"));
            for site in self.sites {
                site.engine.age(seconds);
            }
            self.history.push(Event::Wait(seconds));
            return Ok(Next::On);
        }
        let Some((place, packets)) = self.packets(step) else {
            return Ok(Next::On);
        };
        let [for_kernel, for_netpath] = &packets;
        let count = for_kernel.len();
        let mut outputs: [Vec<Output>; 2] = Default::default();
        for (site, (packets, output)) in self
            .sites
            .iter()
            .zip([for_kernel, for_netpath].into_iter().zip(&mut outputs))
        {
            for packet in packets {
                output.extend(site.play(place, packet));
            }
        }
        tally.packets += count as u64;
        let sent = Both {
            place,
            bytes: [whole(for_kernel), whole(for_netpath)],
        };
        self.tell(&sent, count);
        let [kernel, netpath] = outputs;
        let (pairs, differences) = compare(&sent, kernel, netpath, &mut self.ports);
        for pair in &pairs {
            tally.delivered[pair.place as usize] += 1;
            let [k, _] = pair.bytes.each_ref().map(|b| Packet::new(b).describe());
            self.log.push(format!("    to {:?}: {k}", pair.place));
        }
        let mut next = Next::On;
        for difference in &differences {
            let seen = Seen {
                sent: &sent,
                difference,
                history: &self.history,
            };
            let Some(index) = TABLE.iter().position(|wanted| (wanted.is)(&seen)) else {
                return Err(in_words(difference));
            };
            tally.differences[index] += 1;
            self.log.push(format!("    ({})", TABLE[index].name));
            if TABLE[index].diverges {
                next = Next::Ends;
            }
        }
        self.history.push(Event::Sent {
            passed: pairs.iter().any(|out| out.place != place),
            packet: sent.clone(),
        });
        self.history.extend(pairs.iter().cloned().map(Event::Out));
        self.sent.push(sent);
        self.seen.extend(pairs);
        Ok(next)
    }

    fn tell(&mut self, sent: &Both, count: usize) {
        let [k, n] = sent.bytes.each_ref().map(|b| Packet::new(b).describe());
        let more = if count > 1 {
            format!(" and {} more fragments", count - 1)
        } else {
            String::new()
        };
        let other = if k == n {
            String::new()
        } else {
            format!(" (by netpath: {n})")
        };
        self.log
            .push(format!("{:?} sends {k}{more}{other}", sent.place));
    }

    /// What a step sends, where, in each world; `None` where it does not apply.
    fn packets(&mut self, step: &Step) -> Option<(Place, [Vec<Vec<u8>>; 2])> {
        let one = |both: [Datagram; 2]| both.map(|d| vec![d]);
        let (place, both): (Place, [Vec<Datagram>; 2]) = match step {
            Step::Open {
                who,
                to,
                sport,
                l4,
                ttl,
            } => {
                let packet = fresh(CONTAINERS[*who].addr, *sport, *to, l4).ttl(*ttl);
                if matches!(l4, L4::Timestamp) && is_hosts(to.0) {
                    return None;
                }
                if to.0 == CONTAINERS[*who].addr {
                    // No stack puts that on a wire.
                    return None;
                }
                (place(*who), one([packet.clone(), packet]))
            }
            Step::Knock {
                from,
                to,
                sport,
                l4,
                ttl,
            } => {
                let packet = fresh(*from, *sport, *to, l4).ttl(*ttl);
                if matches!(l4, L4::Timestamp) && is_hosts(to.0) {
                    return None;
                }
                (Place::Outside, one([packet.clone(), packet]))
            }
            Step::Answer { back, how } => {
                let seen = latest(&self.seen, *back)?;
                let [k, n] = seen.bytes.each_ref().map(|b| answer(Packet::new(b), *how));
                (seen.place, one([k?, n?]))
            }
            Step::GoOn { back, how } => {
                let sent = latest(&self.sent, *back)?;
                let [k, n] = sent.bytes.each_ref().map(|b| go_on(Packet::new(b), *how));
                (sent.place, one([k?, n?]))
            }
            Step::Again { back } => {
                let sent = latest(&self.sent, *back)?;
                if Packet::new(&sent.bytes[0]).fragment() != 0 || sent.bytes[0].len() > MTU {
                    return None;
                }
                return Some((sent.place, sent.bytes.clone().map(|b| vec![b])));
            }
            Step::Complain { back, what } => {
                let seen = latest(&self.seen, *back)?;
                let router = what.router && seen.place == Place::Outside;
                let [k, n] = seen.bytes.each_ref().map(|b| complain(b, *what, router));
                (seen.place, one([k?, n?]))
            }
            Step::Fragments {
                who,
                to,
                answer: None,
                order,
                len,
            } => {
                let l4 = L4::Udp {
                    len: *len,
                    bare: false,
                };
                let packet = fresh(CONTAINERS[*who].addr, 40_000, *to, &l4);
                if to.0 == CONTAINERS[*who].addr {
                    return None;
                }
                let parts = in_order(&packet, *order);
                (place(*who), [parts.clone(), parts])
            }
            Step::Fragments {
                answer: Some(back),
                order,
                len,
                ..
            } => {
                let seen = latest(&self.seen, *back)?;
                let [k, n] = seen.bytes.each_ref().map(|b| {
                    let packet = Packet::new(b);
                    (packet.proto() == UDP)
                        .then(|| answer(packet, How::Data(*len)))
                        .flatten()
                        .map(|packet| in_order(&packet, *order))
                });
                (seen.place, [k?, n?])
            }
            Step::Wait(_) => return None,
        };
        let id = self.id;
        self.id = self.id.wrapping_add(1).max(1);
        let bytes = both.map(|all| all.into_iter().map(|d| d.id(id).bytes()).collect());
        Some((place, bytes))
    }
}

/// The datagram that fragments make, or one of them where one is lost.
fn whole(parts: &[Vec<u8>]) -> Vec<u8> {
    reassembled(parts.to_vec()).swap_remove(0)
}

fn latest(all: &[Both], back: usize) -> Option<&Both> {
    (!all.is_empty()).then(|| &all[all.len() - 1 - back % all.len()])
}

/// A packet out of the blue.
fn fresh(src: Addr, sport: u16, (dst, dport): (Addr, u16), l4: &L4) -> Datagram {
    let segment = |flags: u8| {
        let ack = if flags & ACK == 0 { 0 } else { SERVER };
        tcp_data(src, sport, dst, dport, flags, b"").numbered(CLIENT, ack)
    };
    match *l4 {
        L4::Udp { len, bare: false } => udp(src, sport, dst, dport, &content(len)),
        L4::Udp { len, bare: true } => udp_without_checksum(src, sport, dst, dport, &content(len)),
        L4::Syn => segment(SYN),
        L4::Flags(flags) => segment(flags),
        L4::Echo => query(src, dst, 8, sport),
        L4::EchoReply => query(src, dst, 0, sport),
        L4::Timestamp => {
            let [a, b] = sport.to_be_bytes();
            icmp(src, dst, 13, 0, [a, b, 0, 1], &[0; 12])
        }
        L4::OtherIcmp => icmp(src, dst, 42, 0, [0, 1, 0, 0], &[0; 8]),
        L4::ShortUdp => {
            let mut packet = udp_without_checksum(src, sport, dst, dport, b"");
            packet.l4[5] = 4;
            packet
        }
        L4::WrongUdp => {
            let mut packet = udp(src, sport, dst, dport, b"abcd");
            packet.l4[6] ^= 0x55;
            packet
        }
        L4::Gre => Datagram::new(src, dst, 47, vec![0, 0, 8, 0, 1, 2, 3, 4]),
    }
}

/// The host would say what time it is, which is never the same twice.
fn is_hosts(addr: Addr) -> bool {
    addr == HOST || CONTAINERS.iter().any(|c| c.gateway == addr)
}

fn content(len: usize) -> Vec<u8> {
    (0..len).map(|i| i as u8).collect()
}

/// What the receiver of a packet says.
fn answer(p: Packet<'_>, how: How) -> Option<Datagram> {
    match p.proto() {
        UDP if !p.is_tail() => {
            let len = match how {
                How::Data(len) => len,
                How::Natural | How::Fin | How::Reset(_) | How::ResetZero | How::Odd(..) => 24,
            };
            Some(udp(p.dst(), p.dport()?, p.src(), p.sport()?, &content(len)))
        }
        ICMP => {
            let kind = match p.icmp()?.0 {
                8 => 0,
                13 => 14,
                _ => return None,
            };
            let l4 = p.l4();
            let word = l4[4..8].try_into().unwrap();
            Some(icmp(p.dst(), p.src(), kind, 0, word, &l4[8..]))
        }
        TCP => {
            let flags = p.tcp_flags()?;
            let (_, ack, end) = p.numbers()?;
            let seq = if flags & ACK == 0 { SERVER } else { ack };
            let natural = if flags & (SYN | ACK) == SYN {
                SYN | ACK
            } else {
                ACK
            };
            let from = (p.dst(), p.dport()?);
            Some(segment(from, (p.src(), p.sport()?), how, natural, seq, end))
        }
        _ => None,
    }
}

/// What the sender of a packet says next.
fn go_on(p: Packet<'_>, how: How) -> Option<Datagram> {
    match p.proto() {
        UDP if !p.is_tail() => Some(udp(p.src(), p.sport()?, p.dst(), p.dport()?, b"more")),
        ICMP => {
            let (kind, _) = p.icmp()?;
            let l4 = p.l4();
            (kind == 8).then(|| icmp(p.src(), p.dst(), 8, 0, [l4[4], l4[5], 0, 2], b"more"))
        }
        TCP => {
            let (_, ack, end) = p.numbers()?;
            let ack = if p.tcp_flags()? & ACK == 0 {
                SERVER + 1
            } else {
                ack
            };
            let to = (p.dst(), p.dport()?);
            Some(segment((p.src(), p.sport()?), to, how, ACK, end, ack))
        }
        _ => None,
    }
}

/// A segment with the numbers that are expected next, or as `how` has it.
fn segment(
    from: (Addr, u16),
    to: (Addr, u16),
    how: How,
    natural: u8,
    seq: u32,
    ack: u32,
) -> Datagram {
    let (flags, seq, ack, len) = match how {
        How::Natural => (natural, seq, ack, 0),
        How::Data(len) => (PSH | ACK, seq, ack, len),
        How::Fin => (FIN | ACK, seq, ack, 0),
        How::Reset(off) => (RST, seq.wrapping_add(off as u32), 0, 0),
        How::ResetZero => (RST | ACK, 0, ack, 0),
        How::Odd(flags, of_seq, of_ack) => {
            let ack = ack.wrapping_add(of_ack as u32);
            let ack = if flags & ACK == 0 { 0 } else { ack };
            (flags, seq.wrapping_add(of_seq as u32), ack, 0)
        }
    };
    tcp_data(from.0, from.1, to.0, to.1, flags, &content(len)).numbered(seq, ack)
}

/// An ICMP error about a packet, as whoever got it or a router before says it.
fn complain(about: &[u8], what: Complaint, router: bool) -> Option<Datagram> {
    let p = Packet::new(about);
    // Nobody complains about a complaint (RFC 1122, 3.2.2), nor about what is no first fragment.
    if p.is_tail() || p.quoted().is_some() {
        return None;
    }
    let header = about.len() - p.l4().len();
    let mut quoted = about.to_vec();
    if what.short {
        quoted.truncate(header + 8);
    }
    quoted.truncate(576 - 28);
    if what.forged {
        // A source port, or an identifier.
        let at = if p.proto() == ICMP { 5 } else { 1 };
        *quoted.get_mut(header + at)? ^= 1;
    }
    let src = if router { ROUTER } else { p.dst() };
    // A container says nothing in another's name.
    let src = if place_of(p.dst()).is_some() {
        p.dst()
    } else {
        src
    };
    Some(icmp(src, p.src(), what.kind, what.code, what.word, &quoted))
}

fn in_order(packet: &Datagram, order: Order) -> Vec<Datagram> {
    let mut parts = packet.fragments(1024);
    match order {
        Order::Sent => {}
        Order::Reversed => parts.reverse(),
        Order::Lost => {
            parts.pop();
        }
    }
    parts
}

/// A difference, and both outputs.
fn in_words(d: &Difference) -> String {
    let words = |bytes: &Option<Vec<u8>>| {
        let packet = bytes.as_ref().map(|b| Packet::new(b).describe());
        packet.unwrap_or_else(|| "nothing".into())
    };
    format!(
        "  DIFFERENCE at {:?} in {:?}\n    the kernel sends {}\n    netpath sends {}",
        d.place,
        d.fields,
        words(&d.kernel),
        words(&d.netpath)
    )
}
