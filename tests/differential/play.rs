//! A sequence played in both worlds.
//!
//! Owns the packets: what a step sends is built for each world from what was seen there, as those
//! who live there would. Reports the first difference that is not wanted.

use crate::{
    address::{Family, Who},
    compare::{Both, Difference, Output, Ports, compare, is_of_the_host},
    craft::{answer, complain, fresh, go_on, in_order},
    datagram::Datagram,
    differences::{Event, Seen, TABLE},
    fragments::reassembled,
    packet::{Packet, UDP},
    site::{Place, Site},
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
    /// `id`: a number for the first packet that no packet of the last seconds had, see `site`.
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
            let k = Packet::new(&pair.bytes[0]);
            tally.delivered[k.family() as usize][pair.place as usize] += 1;
            self.log
                .push(format!("    to {:?}: {}", pair.place, k.describe()));
        }
        let mut next = Next::On;
        for difference in &differences {
            let seen = Seen {
                sent: &sent,
                difference,
                history: &self.history,
            };
            let Some(index) = TABLE.iter().position(|wanted| wanted.knows(&seen)) else {
                return Err(in_words(difference));
            };
            tally.differences[index] += 1;
            self.log.push(format!("    ({})", TABLE[index].name));
            if TABLE[index].diverges {
                next = Next::Ends;
            }
        }
        self.history.push(Event::Sent {
            passed: pairs.iter().any(|out| !is_of_the_host(&sent, out)),
            packet: sent.clone(),
        });
        let passed = pairs.iter().filter(|out| !is_of_the_host(&sent, out));
        self.history.extend(passed.cloned().map(Event::Out));
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
                family,
                who,
                to,
                sport,
                l4,
                ttl,
            } => {
                let packet = open(*family, Who::Container(*who), *sport, *to, l4)?.ttl(*ttl);
                (place(*who), one([packet.clone(), packet]))
            }
            Step::Knock {
                family,
                from,
                to,
                sport,
                l4,
                ttl,
            } => {
                let packet = open(*family, *from, *sport, *to, l4)?.ttl(*ttl);
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
                family,
                who,
                to,
                answer: None,
                order,
                len,
                chunk,
            } => {
                let l4 = L4::Udp {
                    len: *len,
                    bare: false,
                };
                let packet = open(*family, Who::Container(*who), 40_000, *to, &l4)?;
                let parts = in_order(&packet, *chunk, *order);
                (place(*who), [parts.clone(), parts])
            }
            Step::Fragments {
                answer: Some(back),
                order,
                len,
                chunk,
                ..
            } => {
                let seen = latest(&self.seen, *back)?;
                let [k, n] = seen.bytes.each_ref().map(|b| {
                    let packet = Packet::new(b);
                    (packet.proto() == UDP)
                        .then(|| answer(packet, How::Data(*len)))
                        .flatten()
                        .map(|packet| in_order(&packet, *chunk, *order))
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

/// A first packet, if somebody sends such a one.
fn open(family: Family, from: Who, sport: u16, to: (Who, u16), l4: &L4) -> Option<Datagram> {
    let end = |who: Who, port: u16| (who.addr(family), port);
    // No stack puts on a wire what is for itself.
    (from != to.0).then(|| fresh(end(from, sport), end(to.0, to.1), l4))?
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
