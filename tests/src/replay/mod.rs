//! Captures through the loaded programs.
//!
//! Owns the way of a packet through one run: verdict, reason, changes. Reading, comparing, printing
//! and writing are the submodules'. The host is that of [`MemTables::standard`]; connection tracking
//! lives on from packet to packet, by the real clock, not by that of the capture.
//!
//! [`MemTables::standard`]: netpath_common::testing::MemTables::standard

mod change;
mod error;
mod input;
mod report;
mod summary;
mod write;

use std::collections::BTreeMap;

use netpath_common::{DropReason, counters::Counter, event::Hook, testing::Frame};
use serde::Serialize;

pub use self::{
    change::{Change, Checksums},
    error::Error,
    input::{CONTAINERS, Captured, Source, read},
    report::{text, total},
    summary::summary,
    write::pcapng,
};
use crate::{
    runner::{NEXT, REDIRECT, Runner, SHOT, program_of},
    test_run::{Input, Output},
    timing::{self, Stats},
};

/// What a program decided about a packet.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
#[serde(rename_all = "snake_case", tag = "verdict")]
pub enum Verdict {
    /// Left as it is, for the next program or the stack.
    Pass,
    /// Translated, for the stack to send on.
    ToStack,
    /// Translated and sent out of the uplink.
    ToUplink,
    /// Translated and delivered into a container.
    ToEndpoint {
        /// The container's interface; the slot's number where it has no name.
        endpoint: String,
    },
    /// Left as it is and handed to another container of the network, past the bridge.
    ToNeighbour,
    /// Dropped.
    Drop {
        /// As the drop counters name it.
        reason: &'static str,
    },
    /// BPF_PROG_TEST_RUN does not take such a frame.
    NotRun {
        /// Why.
        why: String,
    },
}

/// A packet and what became of it.
#[derive(Clone, Debug, Serialize)]
pub struct Packet {
    /// From 1.
    pub number: usize,
    /// Seconds since the first packet.
    pub time: f64,
    /// The hook, as drop events name it.
    pub hook: &'static str,
    /// The interface where it was seen.
    pub interface: String,
    /// The packet in words.
    pub packet: String,
    /// The decision.
    #[serde(flatten)]
    pub verdict: Verdict,
    /// Header fields that are not as before. Checksums are judged, not listed.
    pub changes: Vec<Change>,
    /// The judgement.
    pub checksums: Checksums,
    /// What else the programs counted: flows made and removed, ports changed.
    pub notes: Vec<&'static str>,
    /// Nanoseconds of a single run, net of an empty program, where they were asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ns: Option<Stats>,
    /// As captured.
    #[serde(skip)]
    pub input: Captured,
    /// The frame after the run.
    #[serde(skip)]
    pub output: Vec<u8>,
}

/// `enum xdp_action`.
const XDP_DROP: i32 = 1;
const XDP_PASS: i32 = 2;

/// Counters that tell the verdict, or lost events of no interest here.
const NO_NOTES: [Counter; 6] = [
    Counter::Passed,
    Counter::TranslatedToStack,
    Counter::ToUplink,
    Counter::ToEndpoint,
    Counter::ToNeighbour,
    Counter::EventLost,
];

/// Runs packets one after the other, each once. `mark` is `skb->mark` of every packet.
///
/// # Errors
/// [`Error::Run`] where the kernel refuses for another reason than the frame's length.
pub fn replay(r: &mut Runner, frames: &[Captured], mark: u32) -> Result<Vec<Packet>, Error> {
    let start = frames.first().map(|frame| frame.time).unwrap_or_default();
    let mut packets = Vec::with_capacity(frames.len());
    let (mut counters, mut received) = (r.counters(), r.received());
    for (i, frame) in frames.iter().enumerate() {
        let number = i + 1;
        let ran = run(r, frame, mark, number)?;
        let (counters_now, received_now) = (r.counters(), r.received());
        let grown = grown(&counters, &counters_now);
        let endpoint = received_now
            .iter()
            .zip(&received)
            .position(|(now, before)| now > before);
        let (verdict, output) = match ran {
            Ok(out) => {
                let action = tc_action(frame.hook, out.action);
                (verdict(action, &grown, r, endpoint), out.bytes)
            }
            Err(why) => (Verdict::NotRun { why }, frame.bytes.clone()),
        };
        let notes = Counter::ALL.iter().filter(|c| !NO_NOTES.contains(c));
        packets.push(Packet {
            number,
            time: frame.time.saturating_sub(start).as_secs_f64(),
            hook: frame.hook.as_str(),
            interface: interface(r, frame),
            packet: summary(&frame.bytes),
            verdict,
            changes: change::changes(&frame.bytes, &output),
            checksums: change::judge(&frame.bytes, &output),
            notes: notes
                .map(|counter| counter.as_str())
                .filter(|name| grown.contains_key(name))
                .collect(),
            ns: None,
            input: frame.clone(),
            output,
        });
        (counters, received) = (counters_now, received_now);
    }
    Ok(packets)
}

/// Times every packet: the whole capture `rounds` times, from an empty conntrack table each time.
///
/// A packet is run once in its state, as in life; the time holds the first touch of what was in no
/// cache, and is net of an empty program that was run once just before.
///
/// # Errors
/// As [`replay`].
pub fn time(
    r: &mut Runner,
    frames: &[Captured],
    mark: u32,
    rounds: u32,
    packets: &mut [Packet],
) -> Result<(), Error> {
    timing::load(r);
    timing::stay_on_this_cpu();
    let mut times = vec![(Vec::new(), Vec::new()); frames.len()];
    // The first round warms caches up, and is thrown away.
    for round in 0..=rounds {
        r.forget();
        for (i, (frame, (times, empties))) in frames.iter().zip(&mut times).enumerate() {
            let empty = Frame {
                bytes: vec![0; 64],
                ifindex: frame.ifindex,
                ..Frame::default()
            };
            let empty = timing::run_empty(r, &empty, 1);
            if let Ok(out) = run(r, frame, mark, i + 1)?
                && round != 0
            {
                times.push(out.duration);
                empties.push(empty);
            }
        }
    }
    for (packet, (times, empties)) in packets.iter_mut().zip(&times) {
        packet.ns = (!times.is_empty()).then(|| Stats::net(times, empties));
    }
    Ok(())
}

/// Runs one frame; the inner error says why BPF_PROG_TEST_RUN does not take it.
fn run(
    r: &Runner,
    frame: &Captured,
    mark: u32,
    number: usize,
) -> Result<Result<Output, String>, Error> {
    let program = program_of(frame.hook);
    let input = Input {
        mark,
        ..Input::new(&frame.bytes, frame.ifindex)
    };
    let refused = match r.test_run(program, &input) {
        Ok(out) => return Ok(Ok(out)),
        Err(refused) => refused,
    };
    let len = frame.bytes.len();
    match refused.raw_os_error() {
        Some(libc::EINVAL) => Ok(Err(format!("{len} bytes are too few"))),
        Some(libc::EMSGSIZE | libc::ENOMEM) => Ok(Err(format!("{len} bytes are too many"))),
        _ => Err(Error::Run {
            number,
            program,
            source: refused,
        }),
    }
}

fn grown(
    before: &BTreeMap<&'static str, u64>,
    after: &BTreeMap<&'static str, u64>,
) -> BTreeMap<&'static str, u64> {
    let change = |(name, count): (&&'static str, &u64)| {
        let by = count - before.get(name).copied().unwrap_or(0);
        (by != 0).then_some((*name, by))
    };
    after.iter().filter_map(change).collect()
}

/// What a program returned, in the numbers of tc.
const fn tc_action(hook: Hook, action: i32) -> i32 {
    match (hook, action) {
        (Hook::Xdp, XDP_DROP) => SHOT,
        (Hook::Xdp, XDP_PASS) => NEXT,
        _ => action,
    }
}

/// The verdict by what the program returned and counted.
fn verdict(
    action: i32,
    grown: &BTreeMap<&'static str, u64>,
    r: &Runner,
    endpoint: Option<usize>,
) -> Verdict {
    let counted = |counter: Counter| grown.contains_key(counter.as_str());
    match action {
        NEXT if counted(Counter::TranslatedToStack) => Verdict::ToStack,
        NEXT => Verdict::Pass,
        REDIRECT if counted(Counter::ToUplink) => Verdict::ToUplink,
        REDIRECT if counted(Counter::ToEndpoint) => Verdict::ToEndpoint {
            endpoint: endpoint.map_or_else(|| "?".to_owned(), |slot| endpoint_name(r, slot)),
        },
        REDIRECT if counted(Counter::ToNeighbour) => Verdict::ToNeighbour,
        SHOT => {
            let reason = DropReason::ALL.iter().map(|reason| reason.as_str());
            Verdict::Drop {
                reason: reason
                    .clone()
                    .find(|reason| grown.contains_key(reason))
                    .unwrap_or(if counted(Counter::FragmentHeld) {
                        "held for its first fragment"
                    } else {
                        "not counted"
                    }),
            }
        }
        other => Verdict::NotRun {
            why: format!("the program returned {other}, which is no verdict"),
        },
    }
}

fn endpoint_name(r: &Runner, slot: usize) -> String {
    let ifindex = r.tables.endpoints.get(slot).map(|e| e.ifindex);
    let known = CONTAINERS.iter().find(|(_, c)| Some(c.ifindex) == ifindex);
    known.map_or_else(|| slot.to_string(), |(name, _)| (*name).to_owned())
}

fn interface(r: &Runner, frame: &Captured) -> String {
    match frame.hook {
        Hook::Veth => {
            let slot = r
                .tables
                .endpoints
                .iter()
                .position(|e| e.ifindex == frame.ifindex);
            slot.map_or_else(|| frame.ifindex.to_string(), |slot| endpoint_name(r, slot))
        }
        Hook::Bridge | Hook::BridgeEgress
            if frame.ifindex == netpath_common::testing::BRIDGE2_IF =>
        {
            "bridge2".to_owned()
        }
        Hook::Bridge | Hook::BridgeEgress => "bridge1".to_owned(),
        Hook::UplinkIngress | Hook::UplinkEgress | Hook::Xdp => "uplink".to_owned(),
        Hook::Loopback => "the host".to_owned(),
    }
}
