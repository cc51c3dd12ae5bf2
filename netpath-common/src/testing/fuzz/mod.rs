//! One input of the fuzzer: tables with any content, and any frames at any hook.
//!
//! Owns the form of an input and the checks of a run: what the host checks with every frame, that no
//! private source leaves, that nothing enters but what a flow, a published port or a first fragment
//! lets in, and that table, numbers and drops agree. A table that the datapath could not have made is
//! fair: another processor may be in the middle of a change, or memory be wrong.

mod bindings;
mod input;
mod open;

use std::{collections::HashSet, vec::Vec};

use arbitrary::{Result, Unstructured};
use input::{configure, frame, put_flow};
use open::is_routed;

use super::{
    frame::Frame,
    host::{Host, Outcome},
    oracle::describe,
    plain::{Body, Line, Looks, is_private, look},
    plain6::{is_private6, look6},
    tables::MemTables,
    topology::{C1, C2, C3, endpoint_record},
};
use crate::{
    addr::{V4, V6},
    conntrack::{Budget, FLAG_BOUND, is_embryonic},
    counters::Counter,
    datapath::{Tables as _, collect},
    event::Hook,
    packet::Family,
    tuple::{self, BINDING, Tuple},
    verdict::Verdict,
};

/// Frames and other events of an input.
const EVENTS: usize = 12;
/// Flows that are there before.
const FLOWS: u8 = 6;

/// Runs an input. One that is too short to say something is fine.
///
/// # Panics
/// Where something does not hold.
pub fn run(data: &[u8]) {
    // Only the end of the data is an error.
    let _ = play(&mut Unstructured::new(data));
}

/// The run of one input.
struct Run {
    host: Host,
    /// First fragments that have gone into a container.
    heads: HashSet<Datagram<V4>>,
    heads6: HashSet<Datagram<V6>>,
    refused: u64,
    /// Entries were put there that the datapath has not made in this form.
    is_odd: bool,
}

/// What a recount of the tables found: by slot, and of the outside.
#[derive(Default)]
struct Used {
    flows: [i64; 4],
    ports: [i64; 4],
    embryonic: [i64; 2],
}

/// A datagram that is in fragments: addresses, identification, and the protocol if that counts.
type Datagram<A> = (A, A, u32, u8);

/// What the run asks of a family.
trait Side: Family {
    fn look(frame: &[u8]) -> Looks<Self>;
    fn is_private(addr: Self) -> bool;
    /// Whether an ICMP message is an echo request.
    fn is_echo(proto: u8, icmp_type: u8) -> bool;
    fn heads(run: &mut Run) -> &mut HashSet<Datagram<Self>>;
    fn tables(host: &Host) -> &MemTables<Self>;
}

impl Side for V4 {
    fn look(frame: &[u8]) -> Looks<Self> {
        look(frame)
    }

    fn is_private(addr: Self) -> bool {
        is_private(addr)
    }

    fn is_echo(proto: u8, icmp_type: u8) -> bool {
        proto == tuple::ICMP && matches!(icmp_type, 8 | 13)
    }

    fn heads(run: &mut Run) -> &mut HashSet<Datagram<Self>> {
        &mut run.heads
    }

    fn tables(host: &Host) -> &MemTables<Self> {
        &host.tables
    }
}

impl Side for V6 {
    fn look(frame: &[u8]) -> Looks<Self> {
        look6(frame)
    }

    fn is_private(addr: Self) -> bool {
        is_private6(addr)
    }

    fn is_echo(proto: u8, icmp_type: u8) -> bool {
        (proto, icmp_type) == (tuple::ICMPV6, 128)
    }

    fn heads(run: &mut Run) -> &mut HashSet<Datagram<Self>> {
        &mut run.heads6
    }

    fn tables(host: &Host) -> &MemTables<Self> {
        &host.tables6
    }
}

fn play(u: &mut Unstructured<'_>) -> Result<()> {
    let seed: u8 = u.arbitrary()?;
    let mut run = Run {
        host: Host::seeded(u64::from(seed)),
        heads: HashSet::new(),
        heads6: HashSet::new(),
        refused: 0,
        is_odd: false,
    };
    configure(&mut run.host, u)?;
    let opened = open::is_opened(seed);
    if opened {
        open::configure(&mut run.host, u)?;
    }
    for i in 0..u.int_in_range(0..=FLOWS)? {
        // All of one family, or of both in turn.
        let is_v6 = (seed ^ i & seed >> 1) & 1 != 0;
        run.is_odd |= if !is_v6 {
            put_flow(&run.host.tables, u)?
        } else {
            put_flow(&run.host.tables6, u)?
        };
    }
    for _ in 0..EVENTS {
        if opened && u.ratio(1, 4)? {
            open::change(&mut run.host, u)?;
        } else {
            run.event(u)?;
        }
        run.check();
        if u.is_empty() {
            break;
        }
    }
    Ok(())
}

impl Run {
    fn event(&mut self, u: &mut Unstructured<'_>) -> Result<()> {
        let kind: u8 = u.int_in_range(0..=7)?;
        let hook = match kind {
            0 => Hook::UplinkEgress,
            1 | 2 => Hook::UplinkIngress,
            3 => Hook::Xdp,
            4 | 5 => Hook::Veth,
            6 => {
                let by = u64::from(u.arbitrary::<u32>()?);
                self.host.tables.advance_ms(by);
                self.host.tables6.advance_ms(by);
                return Ok(());
            }
            _ => {
                let force = u.arbitrary()?;
                for (key, _) in self.host.tables.entries() {
                    collect(&self.host.tables, &key, force);
                }
                for (key, _) in self.host.tables6.entries() {
                    collect(&self.host.tables6, &key, force);
                }
                return Ok(());
            }
        };
        let frame = frame(hook, u)?;
        let mut waiting = Vec::from([frame]);
        while let Some(frame) = waiting.pop() {
            let again = if frame.bytes.get(12..14) == Some(&[0x86, 0xdd]) {
                self.show::<V6>(hook, &frame)
            } else {
                self.show::<V4>(hook, &frame)
            };
            waiting.extend(again.into_iter().map(|bytes| Frame {
                bytes,
                ifindex: frame.ifindex,
                ..Frame::default()
            }));
        }
        Ok(())
    }

    /// Shows a frame to a hook and judges what becomes of it; what is sent to come in once more.
    fn show<A: Side>(&mut self, hook: Hook, frame: &Frame) -> Vec<Vec<u8>> {
        let invited = self.is_invited::<A>(frame);
        let out = self.host.run(hook, frame);
        match out.result {
            Err(_) => self.refused += 1,
            Ok(verdict) => self.judge(hook, frame, &out, verdict, &invited),
        }
        out.frame.again
    }

    /// Where a packet of the outside may go by what the tables say; none: by an error or fragment.
    fn is_invited<A: Side>(&self, frame: &Frame) -> Vec<A> {
        let t = A::tables(&self.host);
        let mut to = Vec::new();
        if let Looks::Ip(ip) = A::look(&frame.bytes) {
            match ip.body {
                Body::Talk(line, _) => {
                    to.extend(t.entry(&key(&line)).map(|e| e.dst));
                    let open = t.published.iter().filter(|(k, p)| {
                        k.proto == line.proto
                            && (k.port..=p.last).contains(&line.dport)
                            && (k.addr == ip.dst && is_routed(t, &ip.dst)
                                || k.addr == A::NONE && t.host_addrs.contains(&ip.dst))
                    });
                    to.extend(bindings::owner(t, &line));
                    if is_routed(t, &ip.dst) && A::is_echo(line.proto, line.icmp_type) {
                        to.push(ip.dst);
                    }
                    to.extend(open.flat_map(|(_, p)| {
                        match p.group {
                            0 => Vec::from([p.addr]),
                            _ => [C1, C2, C3]
                                .map(|c| A::of_endpoint(&endpoint_record(&c)))
                                .to_vec(),
                        }
                    }));
                }
                Body::Error(Some(quoted)) => {
                    to.extend(t.entry(&key(&quoted).inverse()).map(|e| e.dst));
                }
                Body::Error(None)
                | Body::Redirect
                | Body::OtherIcmp(_)
                | Body::Tail
                | Body::Tiny
                | Body::Truncated
                | Body::Bad
                | Body::Other => {}
            }
        }
        to
    }

    fn judge<A: Side>(
        &mut self,
        hook: Hook,
        frame: &Frame,
        out: &Outcome,
        verdict: Verdict,
        invited: &[A],
    ) {
        let Looks::Ip(after) = A::look(&out.frame.bytes) else {
            return;
        };
        let Looks::Ip(before) = A::look(&frame.bytes) else {
            // A super-packet of BIG TCP says nothing of its length.
            let length = if A::IS_V6 { 18..20 } else { 16..18 };
            assert!(
                frame.bytes[length] == [0, 0],
                "{verdict:?}: {}",
                describe(frame)
            );
            return;
        };
        let what = || std::format!("{verdict:?}: {} became {}", describe(frame), out.text());
        let leaves = matches!(verdict, Verdict::ToUplink { .. }) || hook == Hook::UplinkEgress;
        let stays = is_routed(A::tables(&self.host), &after.src);
        assert!(!leaves || stays || !A::is_private(after.src), "{}", what());
        let inwards = match verdict {
            Verdict::ToEndpoint { ifindex } => {
                let c = [C1, C2, C3].into_iter().find(|c| c.ifindex == ifindex);
                let c = c.unwrap_or_else(|| panic!("to nobody: {}", what()));
                assert_eq!(
                    after.dst,
                    A::of_endpoint(&endpoint_record(&c)),
                    "{}",
                    what()
                );
                let _ = out.to_container(&c);
                true
            }
            Verdict::TranslatedToStack => hook != Hook::UplinkEgress,
            Verdict::Pass
            | Verdict::Within
            | Verdict::Ipv6
            | Verdict::Held
            | Verdict::ToUplink { .. }
            | Verdict::ByQueue { .. }
            | Verdict::ToNeighbour { .. } => false,
        };
        if !inwards {
            return;
        }
        let proto = if A::IS_V6 { 0 } else { before.proto };
        let datagram = (before.src, before.dst, before.id, proto);
        let asked = if before.body == Body::Tail {
            A::heads(self).contains(&datagram)
        } else {
            invited.contains(&after.dst)
        };
        assert!(asked, "uninvited at {hook:?}: {}", what());
        if before.is_head {
            A::heads(self).insert(datagram);
        }
    }

    /// What must hold between events.
    fn check(&self) {
        assert_eq!(self.host.drops.values().sum::<u64>(), self.refused);
        // Counted for both families.
        let t = &self.host.tables;
        let held = t.counter(Counter::FragmentHeld) - t.counter(Counter::FragmentReleased);
        assert_eq!(t.live(Budget::HELD), (held - t.held_dropped()) as i64);
        if self.is_odd {
            return;
        }
        let mut used = Used::default();
        self.recount::<V4>(&mut used);
        self.recount::<V6>(&mut used);
        for slot in 1..4_u16 {
            let kept = [t.live(Budget::flows(slot)), t.live(Budget::ports(slot))];
            let at = usize::from(slot);
            assert_eq!(kept, [used.flows[at], used.ports[at]], "slot {slot}");
        }
        let inbound = [Budget::inbound::<V4>(), Budget::inbound::<V6>()];
        assert_eq!(inbound.map(|budget| t.live(budget)), used.embryonic);
    }

    fn recount<A: Side>(&self, used: &mut Used) {
        let t = A::tables(&self.host);
        bindings::check(t);
        for (key, e) in t.entries() {
            let other_key = e.other_key(&key);
            let other = t.entry(&other_key);
            let other = other.unwrap_or_else(|| panic!("{key:?} stands alone"));
            assert_eq!(other.other_key(&other_key), key);
            assert_ne!(other.is_record(), e.is_record());
            if !e.is_record() {
                continue;
            }
            if e.to != 0 {
                // A binding is one outside port, its flows are none.
                let bound = e.flags & FLAG_BOUND != 0;
                used.flows[usize::from(e.to)] += i64::from(key.proto != BINDING);
                used.ports[usize::from(e.to)] += i64::from(e.from == 0 && !bound);
            } else if e.from != 0 {
                used.embryonic[usize::from(A::IS_V6)] +=
                    i64::from(is_embryonic(key.proto, e.state));
            }
        }
    }
}

fn key<A: Copy>(line: &Line<A>) -> Tuple<A> {
    Tuple {
        src: line.src,
        dst: line.dst,
        sport: line.sport,
        dport: line.dport,
        proto: line.proto,
        icmp_type: line.icmp_type,
        zero: 0,
    }
}
