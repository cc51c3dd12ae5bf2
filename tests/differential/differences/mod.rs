//! The differences from the kernel that are wanted.
//!
//! Owns what a difference is judged by: the packet, what came of it, and the story before. The list
//! is `table`'s.

mod life;
mod parts;
mod table;
mod told;

pub(crate) use self::table::{TABLE, Wanted};

use crate::{
    address::{Family, is_hosts},
    compare::{Both, Difference},
    packet::{ACK, Packet, RST, SYN, TCP, UDP},
    site::Place,
};

/// A difference and what led to it.
pub(crate) struct Seen<'s> {
    pub(crate) sent: &'s Both,
    pub(crate) difference: &'s Difference,
    /// What has happened before.
    pub(crate) history: &'s [Event],
}

/// Something that has happened in a sequence.
pub(crate) enum Event {
    /// Seconds.
    Wait(u32),
    /// A packet was sent; both engines passed it on, or not.
    Sent { packet: Both, passed: bool },
    /// A packet has come out by both, which was passed on: no host has made it.
    Out(Both),
}

/// Something that has happened to a conversation, as seen from where one of its packets is sent.
#[derive(Clone, Copy)]
enum Talk<'s> {
    Wait(u32),
    /// It was sent there; both engines passed it on, or not.
    Here(Packet<'s>, bool),
    /// It came out there.
    There(Packet<'s>),
}

impl<'s> Seen<'s> {
    fn sent(&self) -> Packet<'s> {
        Packet::new(&self.sent.bytes[0])
    }

    /// Of the packet.
    pub(crate) fn family(&self) -> Family {
        self.sent().family()
    }

    fn place(&self) -> Place {
        self.difference.place
    }

    /// Whether it came out by the kernel alone, and then the packet.
    fn kernel_alone(&self) -> Option<Packet<'s>> {
        match (&self.difference.kernel, &self.difference.netpath) {
            (Some(k), None) => Some(Packet::new(k)),
            _ => None,
        }
    }

    fn netpath_alone(&self) -> Option<Packet<'s>> {
        match (&self.difference.kernel, &self.difference.netpath) {
            (None, Some(n)) => Some(Packet::new(n)),
            _ => None,
        }
    }

    /// Where it came out by both, the packets.
    fn both(&self) -> Option<[Packet<'s>; 2]> {
        match (&self.difference.kernel, &self.difference.netpath) {
            (Some(k), Some(n)) => Some([Packet::new(k), Packet::new(n)]),
            _ => None,
        }
    }

    /// Whether nothing differs but these fields.
    fn only(&self, fields: &[&str]) -> bool {
        let mut all = self.difference.fields.iter();
        all.all(|field| fields.contains(&field.as_str()))
    }

    fn has(&self, field: &str) -> bool {
        self.difference.fields.iter().any(|f| f == field)
    }

    /// What has happened to the conversation of the packet, and the time between.
    fn talk(&self) -> Vec<Talk<'s>> {
        let ends = |p: Packet<'_>| (p.proto(), p.src(), p.sport(), p.dst(), p.dport());
        let back = |p: Packet<'_>| (p.proto(), p.dst(), p.dport(), p.src(), p.sport());
        // A complaint belongs to the conversation of what it quotes, which came the other way.
        let own = self.sent().quoted().map_or_else(|| ends(self.sent()), back);
        let of = |event: &'s Event| match event {
            Event::Wait(seconds) => Some(Talk::Wait(*seconds)),
            Event::Sent { packet, passed } => {
                let q = Packet::new(&packet.bytes[0]);
                (packet.place == self.sent.place && ends(q) == own)
                    .then_some(Talk::Here(q, *passed))
            }
            Event::Out(packet) => {
                let q = Packet::new(&packet.bytes[0]);
                (packet.place == self.sent.place && back(q) == own).then_some(Talk::There(q))
            }
        };
        self.history.iter().filter_map(of).collect()
    }

    /// Whether both engines have passed on something of the conversation that was sent here.
    fn flows_before(&self) -> bool {
        let mut talk = self.talk().into_iter();
        talk.any(|t| matches!(t, Talk::Here(_, true) | Talk::There(_)))
    }

    /// Whether something of the conversation has come out where the packet is sent.
    fn answers(&self) -> bool {
        self.talk().iter().any(|t| matches!(t, Talk::There(_)))
    }

    /// The TCP flags that have passed since each time at which the connection may have begun, by a
    /// SYN or after a silence: whether they were sent here, and what.
    fn lives(&self) -> Vec<Vec<(bool, u8)>> {
        let mut lives = vec![Vec::new()];
        for talk in self.talk() {
            let (here, p) = match talk {
                Talk::Here(p, true) => (true, p),
                Talk::There(p) => (false, p),
                Talk::Wait(_) => {
                    lives.push(Vec::new());
                    continue;
                }
                Talk::Here(_, false) => continue,
            };
            let flags = p.tcp_flags().unwrap_or(0);
            if flags & (SYN | ACK | RST) == SYN {
                lives = vec![Vec::new()];
            }
            lives.iter_mut().for_each(|life| life.push((here, flags)));
        }
        lives
    }

    /// The longest of those lives.
    fn flags(&self) -> Vec<(bool, u8)> {
        self.lives().swap_remove(0)
    }

    /// Whether a segment was no continuation of what the tests have seen before: there was a gap
    /// before it, or it acknowledged what was never sent. After a silence everything is new.
    fn has_odd_numbers(&self) -> bool {
        let mut ends = [None; 2];
        self.talk().iter().any(|talk| {
            let (here, p) = match talk {
                Talk::Here(p, true) => (0, p),
                Talk::There(p) => (1, p),
                Talk::Here(_, false) => return false,
                Talk::Wait(_) => {
                    ends = [None; 2];
                    return false;
                }
            };
            let (Some((seq, ack, end)), Some(flags)) = (p.numbers(), p.tcp_flags()) else {
                return false;
            };
            let gap = ends[here].is_some_and(|sent: u32| seq > sent);
            let known = ends[1 - here].is_some_and(|sent| ack <= sent);
            ends[here] = ends[here].max(Some(end));
            gap || flags & ACK != 0 && !known
        })
    }

    /// Whether a SYN has passed in a connection that had begun.
    fn began_twice(&self) -> bool {
        let mut before = 0;
        self.talk().iter().any(|talk| match talk {
            Talk::Here(p, true) | Talk::There(p) => {
                before += 1;
                before > 1 && p.tcp_flags().is_some_and(|f| f & (SYN | ACK | RST) == SYN)
            }
            Talk::Here(_, false) | Talk::Wait(_) => false,
        })
    }

    /// Whether anything was sent before that `like` holds for.
    fn sent_before(&self, like: impl Fn(Place, Packet<'_>) -> bool) -> bool {
        self.history.iter().any(|event| match event {
            Event::Sent { packet, .. } => like(packet.place, Packet::new(&packet.bytes[0])),
            Event::Out(_) | Event::Wait(_) => false,
        })
    }

    /// What others have sent by the packet's port to where it is sent.
    fn of_others_by_its_port(&self) -> Vec<Self> {
        let p = self.sent();
        let ends = |p: Packet<'_>| (p.proto(), p.sport(), p.dst(), p.dport());
        let of = |event: &'s Event| match event {
            Event::Sent { packet: sent, .. } => (sent.place != self.sent.place
                && ends(Packet::new(&sent.bytes[0])) == ends(p))
            .then_some(Self { sent, ..*self }),
            Event::Out(_) | Event::Wait(_) => None,
        };
        self.history.iter().filter_map(of).collect()
    }

    /// Whether the kernel has treated the packet as one of no flow, and netpath as one of a flow.
    fn flow_of_netpath_alone(&self) -> bool {
        let d = self.difference;
        let untranslated = d.kernel.as_ref().is_none_or(|k| {
            let k = Packet::new(k);
            let p = self.sent();
            // As it is, or the host has answered.
            (k.src(), k.dst()) == (p.src(), p.dst()) || (k.src(), k.dst()) == (p.dst(), p.src())
        });
        let on = d.place != self.sent.place || is_hosts(self.sent().dst());
        on && d.netpath.is_some() && untranslated
    }

    /// Whether a container asks a published port of its host.
    fn is_hairpin(&self) -> bool {
        let p = self.sent();
        is_hosts(p.dst()) && is_published(p, p.dport())
    }

    /// Seconds since the conversation was heard of.
    fn silence(&self) -> u32 {
        let mut seconds = 0;
        for talk in self.talk() {
            seconds = match talk {
                Talk::Wait(more) => seconds + more,
                Talk::Here(_, true) | Talk::There(_) => 0,
                Talk::Here(_, false) => seconds,
            };
        }
        seconds
    }
}

fn is_published(p: Packet<'_>, port: Option<u16>) -> bool {
    matches!((p.proto(), port), (TCP, Some(8080)) | (UDP, Some(5353)))
}

/// The containers of one network.
const fn is_near(place: Place) -> bool {
    matches!(place, Place::C1 | Place::C2)
}

/// TCP that is no first segment of a connection.
fn is_mid_stream(p: Packet<'_>) -> bool {
    p.tcp_flags()
        .is_some_and(|flags| flags & (SYN | ACK | RST) != SYN)
}

fn is_reset(p: Packet<'_>) -> bool {
    p.tcp_flags().is_some_and(|flags| flags & RST != 0)
}
