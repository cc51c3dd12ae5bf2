//! The collector: one pass over the conntrack table of a family, in short steps.
//!
//! Owns the choice of candidates, the bound of a step, and when the next pass is worth it. What is
//! removed is decided by the datapath: the collector only proposes.

use std::time::Duration;

use netpath_common::{
    Tuple, V4,
    conntrack::{
        BINDING_IDLE_NS, CtEntry, STATE_SEEN_REPLY,
        tcp::TcpState,
        timeout::{is_expired, lifetime_ns},
    },
    records::Timeouts,
    tuple::{BINDING, DCCP, GRE, SCTP, TCP, UDP, UDPLITE},
};
use nix::time::{ClockId, clock_gettime};

use super::program::{KEYS, Mode, Program};
use crate::bpf::{Batches, Datapath, Error, Family, Generations, coarse_now};

/// Most entries that one step reads, and so most keys that it proposes.
pub const STEP_ENTRIES: usize = 2048;
/// Buckets that one step goes through, as far as that can be foreseen from the step before.
pub const STEP_BUCKETS: u32 = 131_072;
/// A first step knows nothing about how full the table is.
const FIRST_ENTRIES: usize = 64;
/// Least time between two passes.
const SOON: Duration = Duration::from_secs(5);
/// Most time between two passes, however long the flows live: new ones may live shorter.
const LATE: Duration = Duration::from_secs(30);
/// An index without a record is left alone for this long: its flow may be in the making.
const YOUNG_NS: u64 = 1_000_000_000;
/// A pass asks after the records of one index in this many. An index without a record is rare and
/// does no harm but to take a place, and asking costs a look-up.
const SLICES: u16 = 16;

/// Which indexes a pass asks after, to find those whose record is gone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Orphans {
    /// All.
    All,
    /// One part of them; counts up from pass to pass.
    Slice(u16),
}

impl Orphans {
    const fn ask_after<A: Family>(self, key: &Tuple<A>) -> bool {
        match self {
            Self::All => true,
            Self::Slice(turn) => (key.sport ^ key.dport) % SLICES == turn % SLICES,
        }
    }
}

/// What one pass of the collector did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SweepStats {
    /// Entries read.
    pub seen: usize,
    /// Entries that looked expired, outdated or orphaned and were proposed to the datapath.
    pub proposed: usize,
    /// Flows that the datapath removed.
    pub removed: usize,
    /// Steps.
    pub steps: usize,
    /// Most entries that one step read.
    pub most_entries: usize,
    /// Most keys that one run of the program was given.
    pub most_keys: usize,
    /// Most buckets that one step went through.
    pub most_buckets: u32,
    /// The longest that one system call kept a processor.
    pub longest_call: Duration,
    /// The longest that one step kept a processor.
    pub longest_step: Duration,
}

/// One pass of the collector under way.
pub struct Sweep<A: Family = V4> {
    program: Program<A>,
    batches: Batches<Tuple<A>, CtEntry<A>>,
    timeouts: Timeouts,
    generations: Generations,
    orphans: Orphans,
    capacity: u32,
    position: u32,
    entries: usize,
    candidates: Vec<Tuple<A>>,
    soonest: Option<u64>,
    stats: SweepStats,
}

impl<A: Family> Sweep<A> {
    /// Begins a pass; reads no entry yet.
    ///
    /// # Errors
    /// If the table, the program or the configuration cannot be opened.
    pub fn begin(dp: &Datapath, orphans: Orphans) -> Result<Self, Error> {
        Ok(Self {
            program: Program::open(dp)?,
            batches: Batches::new(dp, A::CT, STEP_ENTRIES)?,
            timeouts: dp.config()?.timeouts,
            generations: dp.generations()?,
            orphans,
            capacity: dp.capacity(A::CT)?,
            position: 0,
            entries: FIRST_ENTRIES,
            candidates: Vec::with_capacity(STEP_ENTRIES),
            soonest: None,
            stats: SweepStats::default(),
        })
    }

    /// One step: reads some entries and proposes those that look dead. False at the end of the
    /// table. Callers let others have the processor between two steps.
    ///
    /// # Errors
    /// If the table cannot be read or the program cannot be run.
    pub fn step(&mut self) -> Result<bool, Error> {
        let began = cpu_time()?;
        let Some((keys, entries)) = self.batches.next_of(self.entries)? else {
            return Ok(false);
        };
        let read = cpu_time()?;
        let now = coarse_now()?;
        self.candidates.clear();
        for (key, entry) in keys.iter().zip(entries) {
            match judge(
                &self.timeouts,
                &self.generations,
                self.orphans,
                (key, entry),
                now,
            ) {
                Judgement::Propose => self.candidates.push(*key),
                Judgement::Until(end) => {
                    self.soonest = Some(self.soonest.map_or(end, |soonest| soonest.min(end)));
                }
                Judgement::Skip => {}
            }
        }
        let stats = &mut self.stats;
        let seen = keys.len();
        stats.steps += 1;
        stats.seen += seen;
        stats.proposed += self.candidates.len();
        stats.most_entries = stats.most_entries.max(seen);
        // The kernel's table has the next power of two (`htab_map_alloc`).
        let rest = self.capacity.next_power_of_two() - self.position;
        let walked = self.batches.walked().unwrap_or(rest);
        self.position += walked;
        stats.most_buckets = stats.most_buckets.max(walked);
        stats.longest_call = stats.longest_call.max(read.saturating_sub(began));
        self.entries = entries_for(seen, walked);
        let mut before = cpu_time()?;
        for keys in self.candidates.chunks(KEYS) {
            stats.removed += self.program.run(Mode::Expired, keys)?;
            stats.most_keys = stats.most_keys.max(keys.len());
            let after = cpu_time()?;
            stats.longest_call = stats.longest_call.max(after.saturating_sub(before));
            before = after;
        }
        stats.longest_step = stats.longest_step.max(before.saturating_sub(began));
        Ok(true)
    }

    /// What was done so far.
    #[must_use]
    pub const fn stats(&self) -> SweepStats {
        self.stats
    }

    /// How long to wait before the next pass, when this one is over: until the first flow that was
    /// seen can end, within bounds, and not long where the table is nearly full.
    ///
    /// # Errors
    /// The clock cannot be read.
    pub fn rest(&self) -> Result<Duration, Error> {
        let left = self.stats.seen.saturating_sub(2 * self.stats.removed);
        let crowded = left / 3 >= self.capacity as usize / 4;
        if crowded {
            return Ok(SOON);
        }
        let now = coarse_now()?;
        Ok(self.soonest.map_or(LATE, |end| {
            Duration::from_nanos(end.saturating_sub(now)).clamp(SOON, LATE)
        }))
    }
}

/// A whole pass at once, for commands. Gives way to others between steps.
///
/// # Errors
/// As of [`Sweep::step`].
pub fn sweep<A: Family>(dp: &Datapath, orphans: Orphans) -> Result<SweepStats, Error> {
    let mut sweep = Sweep::<A>::begin(dp, orphans)?;
    while sweep.step()? {
        std::thread::yield_now();
    }
    Ok(sweep.stats())
}

/// Entries to ask for, so that about [`STEP_BUCKETS`] buckets are walked, when the last batch found
/// `seen` in `walked`.
fn entries_for(seen: usize, walked: u32) -> usize {
    let entries = seen as u64 * u64::from(STEP_BUCKETS) / u64::from(walked.max(1));
    entries.clamp(1, STEP_ENTRIES as u64) as usize
}

/// What is to be done about one entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Judgement {
    /// It looks dead by itself. The other direction may still be alive: the program knows.
    Propose,
    /// It lives until then, if no packet comes.
    Until(u64),
    /// Its record tells.
    Skip,
}

fn judge<A: Family>(
    t: &Timeouts,
    generations: &Generations,
    orphans: Orphans,
    (key, e): (&Tuple<A>, &CtEntry<A>),
    now: u64,
) -> Judgement {
    if key.proto == BINDING {
        return judge_binding(generations, orphans, (key, e), now);
    }
    if e.is_record() {
        let expired = is_expired(t, key.proto, e.state, e.created, e.stamp, now);
        if expired || generations.of(e) != e.generation {
            return Judgement::Propose;
        }
        let lifetime = lifetime_ns(t, key.proto, e.state, e.created, e.stamp);
        return Judgement::Until(e.stamp.saturating_add(lifetime));
    }
    let asked = orphans.ask_after(key);
    let idle = now.saturating_sub(e.stamp);
    if (asked && idle > YOUNG_NS) || idle > longest_lifetime_ns(t, key.proto) {
        Judgement::Propose
    } else {
        Judgement::Skip
    }
}

/// A binding lives as long as its flows, which are counted in the index.
fn judge_binding<A: Family>(
    generations: &Generations,
    orphans: Orphans,
    (key, e): (&Tuple<A>, &CtEntry<A>),
    now: u64,
) -> Judgement {
    if e.is_record() {
        return if generations.of(e) == e.generation {
            Judgement::Skip
        } else {
            Judgement::Propose
        };
    }
    let idle = now.saturating_sub(e.stamp);
    let unused = (e.packets as i64) <= 0 && idle >= BINDING_IDLE_NS;
    if unused || orphans.ask_after(key) && idle > YOUNG_NS {
        Judgement::Propose
    } else {
        Judgement::Skip
    }
}

/// No flow of this protocol lives longer without packets, whatever its state.
fn longest_lifetime_ns(t: &Timeouts, proto: u8) -> u64 {
    let ms = match proto {
        TCP => t.tcp.iter().copied().max().unwrap_or(0).max(t.tcp_pickup),
        UDP | UDPLITE => t.udp.max(t.udp_stream),
        SCTP | DCCP => {
            return lifetime_ns(t, proto, TcpState::Established as u32, 0, 0);
        }
        GRE => return lifetime_ns(t, proto, STATE_SEEN_REPLY, 0, 0),
        _ => return lifetime_ns(t, proto, 0, 0, 0),
    };
    u64::from(ms) * 1_000_000
}

/// What this thread has had of a processor so far: what others did meanwhile does not count.
fn cpu_time() -> Result<Duration, Error> {
    let spent = clock_gettime(ClockId::CLOCK_THREAD_CPUTIME_ID)
        .map_err(|e| Error::system("reading the thread's clock", e))?;
    Ok(Duration::from(spent))
}

#[cfg(test)]
mod tests {
    use super::{
        super::testing::{NOW, entries, masqueraded},
        *,
    };

    #[test]
    fn the_longest_lifetime_covers_every_state() {
        let t = Timeouts::KERNEL;
        assert_eq!(longest_lifetime_ns(&t, TCP), 432_000_000_000_000);
        assert_eq!(longest_lifetime_ns(&t, UDP), 120_000_000_000);
        assert_eq!(longest_lifetime_ns(&t, 1), 30_000_000_000);
    }

    #[test]
    fn a_sparse_table_is_read_in_small_batches() {
        assert_eq!(entries_for(2048, 2048), 2048);
        assert_eq!(entries_for(64, 131_072), 64);
        assert_eq!(entries_for(64, 64 * 131_072), 1);
        assert_eq!(entries_for(1, 2048), 64);
        // An empty table ends with its first step.
        assert_eq!(entries_for(0, 0), 1);
    }

    #[test]
    fn records_tell_their_end_and_a_share_of_the_indexes_is_asked_after() {
        let t = Timeouts::KERNEL;
        let flow = masqueraded();
        let all = entries(&flow);
        let (record, index) = if all[0].1.is_record() {
            (all[0], all[1])
        } else {
            (all[1], all[0])
        };
        let current = Generations::default();
        let judged = |generations: &Generations, orphans, e: &(Tuple, CtEntry), now| {
            judge(&t, generations, orphans, (&e.0, &e.1), now)
        };
        let at = |(key, e): (Tuple, CtEntry)| {
            let e = CtEntry {
                generation: current.of(&e),
                ..e
            };
            (key, e)
        };
        let (record, index) = (at(record), at(index));
        let end = record.1.stamp + 432_000_000_000_000;
        let turn = index.0.sport ^ index.0.dport;
        assert_eq!(
            judged(&current, Orphans::Slice(0), &record, NOW),
            Judgement::Until(end)
        );
        assert_eq!(
            judged(&current, Orphans::Slice(0), &record, end),
            Judgement::Propose
        );
        let old = (
            record.0,
            CtEntry {
                generation: 7,
                ..record.1
            },
        );
        assert_eq!(
            judged(&current, Orphans::Slice(0), &old, NOW),
            Judgement::Propose
        );
        let later = index.1.stamp + 2 * YOUNG_NS;
        for (orphans, now, wanted) in [
            (Orphans::Slice(turn), later, Judgement::Propose),
            (Orphans::Slice(turn + SLICES), later, Judgement::Propose),
            (Orphans::Slice(turn + 1), later, Judgement::Skip),
            (Orphans::Slice(turn), index.1.stamp, Judgement::Skip),
            (Orphans::All, later, Judgement::Propose),
            (
                Orphans::Slice(turn + 1),
                end + YOUNG_NS * 100,
                Judgement::Propose,
            ),
        ] {
            assert_eq!(
                judged(&current, orphans, &index, now),
                wanted,
                "{orphans:?}"
            );
        }
    }
}
