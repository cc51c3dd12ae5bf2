//! A sequence played in both worlds.
//!
//! Owns the packets: what a step sends is built for each world from what was seen there, as those
//! who live there would. Reports the first difference that is not wanted.

use netpath_common::testing::Datagram;

use crate::{
    compare::{Both, Difference, Output, Ports, compare, reassembled},
    craft::{answer, complain, fresh, go_on, in_order, is_hosts},
    differences::{Event, Seen, TABLE},
    packet::{Packet, UDP},
    site::{CONTAINERS, Place, Site},
    step::{How, L4, Step, place},
    tally::Tally,
};

/// The largest packet that is sent as one.
const MTU: usize = 1500;

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
                    result = Err(format!("{}\n{what}", self.story()));
                    break;
                }
            }
        }
        tally.chosen_ports += self.ports.chosen;
        result
    }

    /// What has happened, in words.
    pub(crate) fn story(&self) -> String {
        self.log.join("\n")
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
