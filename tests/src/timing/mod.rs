//! Nanoseconds per packet, and where they go, by BPF_PROG_TEST_RUN.
//!
//! Owns the protocol of the measurement: rounds that interleave every case with an empty program,
//! and the proof that each repetition did what the case says. Owns no program and no table.

mod cases;
mod cases6;
mod stats;

use std::{collections::BTreeMap, net::Ipv6Addr};

use netpath_common::{
    Addr,
    conntrack::{CtEntry, FLAG_RECORD, FLAG_STEADY},
    records::NETWORK_DIRECT,
    testing::{C1, Frame, NET1, R6, ROUTER_MAC},
    tuple::Tuple,
};
use nix::{
    sched::{CpuSet, sched_getcpu, sched_setaffinity},
    time::{ClockId, clock_gettime},
    unistd::Pid,
};
use serde::Serialize;

use self::cases::{Case, Kind};
pub use self::stats::Stats;
use crate::{
    runner::Runner,
    test_run::{Input, Output},
};

/// Runs of the program in one system call: even, so that a flow and its mirror share them equally,
/// and fewer than the hops that a TTL has.
pub const REPEAT: u32 = 200;

/// The program that every time is net of.
pub const EMPTY: &str = "np_time_empty";

/// The programs that do a part of the work.
const PARTS: [&str; 9] = [
    EMPTY,
    "np_time_work",
    "np_time_clock",
    "np_time_parse",
    "np_time_lookup",
    "np_time_admit",
    cases::CHECKSUM,
    "np_time_rewrite",
    "np_time_ports",
];

/// What one case took.
#[derive(Clone, Debug, Serialize)]
pub struct Timed {
    /// What was timed.
    pub name: &'static str,
    /// The program that ran.
    pub program: &'static str,
    /// Repetitions in one run: 1 where each run needs a fresh state.
    pub repeat: u32,
    /// Nanoseconds of one repetition, net of the empty program run as often.
    pub net: Stats,
    /// As measured.
    pub gross: Stats,
}

/// All cases, and the empty program.
#[derive(Clone, Debug, Serialize)]
pub struct Timings {
    /// Rounds that were measured.
    pub rounds: u32,
    /// The empty program, [`REPEAT`] times in one run.
    pub empty: Stats,
    /// The empty program, once in a run: mostly the kernel's clock.
    pub empty_once: Stats,
    /// Every case, the parts first.
    pub cases: Vec<Timed>,
}

impl Timings {
    /// A case by its name.
    #[must_use]
    pub fn case(&self, name: &str) -> Option<&Timed> {
        self.cases.iter().find(|case| case.name == name)
    }
}

/// Loads the programs that only measure.
///
/// # Panics
/// Where the object lacks one, or the kernel refuses it.
pub fn load(r: &mut Runner) {
    for name in PARTS {
        r.load(name);
    }
}

/// Times every case in `rounds` rounds, by a runner of both families. The host is not the standard one
/// any more afterwards.
///
/// # Panics
/// When a run did not do what its case says: then the time would be another one's.
#[must_use]
pub fn time(r: &mut Runner, rounds: u32) -> Timings {
    load(r);
    stay_on_this_cpu();
    r.forget();
    // Frames between containers skip the bridge.
    r.tables.networks[usize::from(NET1)].flags |= NETWORK_DIRECT;
    r.sync();
    // Packets that leave carry the MAC addresses of the leased next hop afterwards. The uplink has
    // the container's here, or the next repetition would be a stranger's.
    let [a, b, c, d, e, f] = C1.mac;
    r.ip(&format!(
        "link set uplink address {a:02x}:{b:02x}:{c:02x}:{d:02x}:{e:02x}:{f:02x}"
    ));
    let [a, b, c, d, e, f] = ROUTER_MAC;
    r.ip(&format!(
        "neigh replace 192.0.2.254 lladdr {a:02x}:{b:02x}:{c:02x}:{d:02x}:{e:02x}:{f:02x} \
         dev uplink nud permanent"
    ));
    r.ip(&format!(
        "neigh replace {} lladdr {a:02x}:{b:02x}:{c:02x}:{d:02x}:{e:02x}:{f:02x} dev uplink \
         nud permanent",
        Ipv6Addr::from(R6)
    ));
    cases::establish(r);
    let cases = cases::all();
    let mut times = vec![Vec::new(); cases.len()];
    let (mut empty, mut empty_once) = (Vec::new(), Vec::new());
    // The first round warms caches up, and is thrown away.
    for round in 0..=rounds {
        let keep = |into: &mut Vec<u32>, time| {
            if round != 0 {
                into.push(time);
            }
        };
        for (case, times) in cases.iter().zip(&mut times) {
            keep(times, run(r, case));
        }
        let frame = &cases[0].frame;
        keep(&mut empty, run_empty(r, frame, REPEAT));
        keep(&mut empty_once, run_empty(r, frame, 1));
    }
    let timed = cases.iter().zip(&times).map(|(case, times)| {
        let repeat = case.repeat();
        let empty = if repeat == 1 { &empty_once } else { &empty };
        Timed {
            name: case.name,
            program: case.program,
            repeat,
            net: Stats::net(times, empty),
            gross: Stats::raw(times),
        }
    });
    Timings {
        rounds,
        cases: timed.collect(),
        empty: Stats::raw(&empty),
        empty_once: Stats::raw(&empty_once),
    }
}

/// Keeps the calling thread on the processor that it is on: tables of a processor stay in use.
///
/// # Panics
/// When the kernel refuses.
pub fn stay_on_this_cpu() {
    let mut here = CpuSet::new();
    here.set(sched_getcpu().unwrap()).unwrap();
    sched_setaffinity(Pid::from_raw(0), &here).unwrap();
}

/// Nanoseconds that the empty program takes on a frame.
///
/// # Panics
/// When the kernel refuses to run it.
#[must_use]
pub fn run_empty(r: &Runner, frame: &Frame, repeat: u32) -> u32 {
    let input = Input {
        repeat,
        ..Input::new(&frame.bytes, frame.ifindex)
    };
    r.test_run(EMPTY, &input).unwrap().duration
}

impl Case {
    fn run_once(&self, r: &Runner, input: &Input<'_>) -> Output {
        let out = r
            .test_run(self.program, input)
            .unwrap_or_else(|e| panic!("{}: the kernel does not run it: {e}", self.name));
        assert_eq!(out.action, self.action, "{}: action", self.name);
        out
    }

    /// How often the program runs in one round.
    fn runs(&self) -> u64 {
        if matches!(self.kind, Kind::NewFlow(_)) {
            2
        } else {
            u64::from(REPEAT)
        }
    }

    fn repeat(&self) -> u32 {
        if matches!(self.kind, Kind::NewFlow(_)) {
            1
        } else {
            REPEAT
        }
    }
}

/// Runs a case, checks that it did its work, and says how long one repetition took.
fn run(r: &mut Runner, case: &Case) -> u32 {
    let (mut flow, mut flow6) = (None, None);
    match case.kind {
        Kind::Flow(key) => flow = Some(Pair::put(r, key)),
        Kind::Flow6(key) => flow6 = Some(Pair::put(r, key)),
        Kind::Unchanged | Kind::Alternating | Kind::NewFlow(_) => {}
    }
    let before = r.counters();
    let input = Input {
        repeat: case.repeat(),
        ..Input::new(&case.frame.bytes, case.frame.ifindex)
    };
    let mut out = case.run_once(r, &input);
    if let Kind::NewFlow(record) = case.kind {
        // Once more with program and tables in the caches, where the many repetitions of the other
        // cases have theirs.
        assert_eq!(r.collect(&[record], true), 1, "{}: one flow", case.name);
        out = case.run_once(r, &input);
        assert_eq!(r.collect(&[record], true), 1, "{}: one flow", case.name);
    }
    let grown = grown(&before, &r.counters());
    let want: BTreeMap<_, _> = case
        .counter
        .map(|name| (name, case.runs()))
        .into_iter()
        .collect();
    let only = |(name, _): &(&&str, &u64)| case.counter.is_some_and(|c| c == **name);
    let seen: BTreeMap<_, _> = grown.iter().filter(only).map(|(n, c)| (*n, *c)).collect();
    assert_eq!(
        seen, want,
        "{}: not every run did its work: {grown:?}",
        case.name
    );
    match case.kind {
        Kind::Unchanged if case.program == cases::CHECKSUM => {}
        Kind::Unchanged => assert_eq!(out.bytes, case.frame.bytes, "{}: output", case.name),
        Kind::Alternating => case.check_returned(&out.bytes),
        Kind::Flow(_) | Kind::Flow6(_) => {
            case.check_returned(&out.bytes);
            if case.counter == Some("to-uplink") {
                let macs = [ROUTER_MAC, C1.mac].concat();
                assert_eq!(out.bytes[..12], macs, "{}: leased next hop", case.name);
            }
        }
        Kind::NewFlow(_) => {}
    }
    if let Some(pair) = flow {
        pair.check(r, case);
    }
    if let Some(pair) = flow6 {
        pair.check(r, case);
    }
    out.duration
}

fn grown<'a>(
    before: &BTreeMap<&'a str, u64>,
    after: &BTreeMap<&'a str, u64>,
) -> BTreeMap<&'a str, u64> {
    let change = |(name, count): (&&'a str, &u64)| {
        let by = count - before.get(name).copied().unwrap_or(0);
        (by != 0).then_some((*name, by))
    };
    after.iter().filter_map(change).collect()
}

impl Case {
    /// Whether the frame is back where it began, with a hop less for each run and right checksums.
    fn check_returned(&self, bytes: &[u8]) {
        let frame = Frame {
            bytes: bytes.to_vec(),
            ..self.frame.clone()
        };
        let hops = u32::from(self.frame.ttl() - frame.ttl());
        assert_eq!(hops, self.repeat(), "{}: one hop for each run", self.name);
        assert_eq!(
            netpath_common::testing::verify(&frame),
            Ok(()),
            "{}",
            self.name
        );
        // Addresses and ports; MAC addresses and TTL stay changed.
        let tuple = match self.kind {
            Kind::Flow6(_) => 22..58,
            Kind::Unchanged | Kind::Alternating | Kind::Flow(_) | Kind::NewFlow(_) => 26..38,
        };
        assert_eq!(
            bytes[tuple.clone()],
            self.frame.bytes[tuple],
            "{}: tuple",
            self.name
        );
    }
}

/// A flow's entry and its mirror, fresh for one run.
struct Pair<A> {
    keys: [Tuple<A>; 2],
}

impl<A: Addr> Pair<A> {
    /// Resets the entry's counters and stamp, and puts the mirror beside it.
    fn put(r: &mut Runner, key: Tuple<A>) -> Self {
        let entry = r.flow(&key).unwrap_or_else(|| panic!("no flow {key:?}"));
        let entry = CtEntry {
            stamp: now(),
            packets: 0,
            bytes: 0,
            ..entry
        };
        assert_ne!(
            entry.flags & FLAG_STEADY,
            0,
            "the flow {key:?} is not established"
        );
        let mirror = CtEntry {
            src: key.src,
            dst: key.dst,
            sport: key.sport,
            dport: key.dport,
            // Of a record the datapath does not ask whether its source is the uplink's address.
            flags: entry.flags | FLAG_RECORD,
            ..entry
        };
        let keys = [key, entry.translated(&key)];
        r.put_flow(&keys[0], &entry);
        r.put_flow(&keys[1], &mirror);
        Self { keys }
    }

    /// Whether each of the two has translated half of the packets.
    fn check(&self, r: &Runner, case: &Case) {
        let packets = self.keys.map(|key| r.flow(&key).map(|entry| entry.packets));
        let half = Some(u64::from(case.repeat() / 2));
        assert_eq!(packets, [half; 2], "{}: not every run was a hit", case.name);
    }
}

/// Nanoseconds of the clock that conntrack entries are stamped with.
fn now() -> u64 {
    let now = clock_gettime(ClockId::CLOCK_MONOTONIC_COARSE).unwrap();
    now.tv_sec() as u64 * 1_000_000_000 + now.tv_nsec() as u64
}
