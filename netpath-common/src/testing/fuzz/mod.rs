//! One input of the fuzzer: tables with any content, and any frames at any hook.
//!
//! Owns the form of an input and the checks of a run: what the host checks with every frame, that no
//! private source leaves, that nothing enters but what a flow, a published port or a first fragment
//! lets in, and that table, numbers and drops agree. A table that the datapath could not have made is
//! fair: another processor may be in the middle of a change, or memory be wrong.

mod input;

use std::{collections::HashSet, vec::Vec};

use arbitrary::{Result, Unstructured};
use input::{configure, frame, put_flow};

use super::{
    build::Addr,
    frame::Frame,
    host::{Host, Outcome},
    oracle::describe,
    plain::{Body, Line, Looks, is_private, look},
    topology::{C1, C2, C3},
};
use crate::{
    conntrack::{Budget, is_embryonic},
    counters::Counter,
    datapath::{Tables as _, collect},
    event::Hook,
    tuple::Tuple,
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
    /// First fragments that have gone into a container: addresses, identification, protocol.
    heads: HashSet<(Addr, Addr, u32, u8)>,
    refused: u64,
    /// Entries were put there that the datapath has not made in this form.
    is_odd: bool,
}

fn play(u: &mut Unstructured<'_>) -> Result<()> {
    let mut run = Run {
        host: Host::seeded(u64::from(u.arbitrary::<u8>()?)),
        heads: HashSet::new(),
        refused: 0,
        is_odd: false,
    };
    configure(&mut run.host, u)?;
    for _ in 0..u.int_in_range(0..=FLOWS)? {
        run.is_odd |= put_flow(&run.host.tables, u)?;
    }
    for _ in 0..EVENTS {
        run.event(u)?;
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
                self.host
                    .tables
                    .advance_ms(u64::from(u.arbitrary::<u32>()?));
                return Ok(());
            }
            _ => {
                let force = u.arbitrary()?;
                for (key, _) in self.host.tables.entries() {
                    collect(&self.host.tables, &key, force);
                }
                return Ok(());
            }
        };
        let frame = frame(hook, u)?;
        let mut waiting = Vec::from([frame]);
        while let Some(frame) = waiting.pop() {
            let again = self.show(hook, &frame);
            waiting.extend(again.into_iter().map(|bytes| Frame {
                bytes,
                ifindex: frame.ifindex,
                ..Frame::default()
            }));
        }
        Ok(())
    }

    /// Shows a frame to a hook and judges what becomes of it; what is sent to come in once more.
    fn show(&mut self, hook: Hook, frame: &Frame) -> Vec<Vec<u8>> {
        let invited = self.is_invited(frame);
        let out = self.host.run(hook, frame);
        match out.result {
            Err(_) => self.refused += 1,
            Ok(verdict) => self.judge(hook, frame, &out, verdict, &invited),
        }
        out.frame.again
    }

    /// Where a packet of the outside may go by what the tables say; none: by an error or fragment.
    fn is_invited(&self, frame: &Frame) -> Vec<Addr> {
        let t = &self.host.tables;
        let mut to = Vec::new();
        if let Looks::Ip(ip) = look(&frame.bytes) {
            match ip.body {
                Body::Talk(line, _) => {
                    to.extend(t.entry(&key(&line)).map(|e| e.dst));
                    let open = t.published.iter().filter(|(k, p)| {
                        k.proto == line.proto
                            && (k.port..=p.last).contains(&line.dport)
                            && t.host_addrs.contains(&ip.dst)
                    });
                    to.extend(open.flat_map(|(_, p)| match p.group {
                        0 => Vec::from([p.addr]),
                        _ => Vec::from([C1.addr, C2.addr]),
                    }));
                }
                Body::Error(Some(quoted)) => {
                    to.extend(t.entry(&key(&quoted).inverse()).map(|e| e.dst));
                }
                Body::Error(None)
                | Body::Redirect
                | Body::OtherIcmp
                | Body::Tail
                | Body::Tiny
                | Body::Truncated
                | Body::Bad
                | Body::Other => {}
            }
        }
        to
    }

    fn judge(
        &mut self,
        hook: Hook,
        frame: &Frame,
        out: &Outcome,
        verdict: Verdict,
        invited: &[Addr],
    ) {
        let Looks::Ip(after) = look(&out.frame.bytes) else {
            return;
        };
        let Looks::Ip(before) = look(&frame.bytes) else {
            // A super-packet of BIG TCP says nothing of its length.
            assert!(
                frame.bytes[16..18] == [0, 0],
                "{verdict:?}: {}",
                describe(frame)
            );
            return;
        };
        let what = || std::format!("{verdict:?}: {} became {}", describe(frame), out.text());
        let leaves = matches!(verdict, Verdict::ToUplink { .. }) || hook == Hook::UplinkEgress;
        assert!(!leaves || !is_private(after.src), "{}", what());
        let inwards = match verdict {
            Verdict::ToEndpoint { ifindex } => {
                let c = [C1, C2, C3].into_iter().find(|c| c.ifindex == ifindex);
                let c = c.unwrap_or_else(|| panic!("to nobody: {}", what()));
                assert_eq!(after.dst, c.addr, "{}", what());
                let _ = out.to_container(&c);
                true
            }
            Verdict::TranslatedToStack => hook != Hook::UplinkEgress,
            Verdict::Pass
            | Verdict::Ipv6
            | Verdict::Held
            | Verdict::ToUplink { .. }
            | Verdict::ToNeighbour { .. } => false,
        };
        if !inwards {
            return;
        }
        let datagram = (before.src, before.dst, before.id, before.proto);
        let asked = if before.body == Body::Tail {
            self.heads.contains(&datagram)
        } else {
            invited.contains(&after.dst)
        };
        assert!(asked, "uninvited at {hook:?}: {}", what());
        if before.is_head {
            self.heads.insert(datagram);
        }
    }

    /// What must hold between events.
    fn check(&self) {
        let t = &self.host.tables;
        assert_eq!(self.host.drops.values().sum::<u64>(), self.refused);
        let held = t.counter(Counter::FragmentHeld) - t.counter(Counter::FragmentReleased);
        assert_eq!(t.live(Budget::HELD), (held - t.held_dropped()) as i64);
        if self.is_odd {
            return;
        }
        let mut live = [[0; 4]; 2];
        let mut embryonic = 0;
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
                live[0][usize::from(e.to)] += 1;
                live[1][usize::from(e.to)] += i64::from(e.from == 0);
            } else if e.from != 0 {
                embryonic += i64::from(is_embryonic(key.proto, e.state));
            }
        }
        for slot in 1..4_u16 {
            let kept = [t.live(Budget::flows(slot)), t.live(Budget::ports(slot))];
            let at = usize::from(slot);
            assert_eq!(kept, [live[0][at], live[1][at]], "slot {slot}");
        }
        assert_eq!(t.live(Budget::INBOUND), embryonic);
    }
}

fn key(line: &Line) -> Tuple {
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
