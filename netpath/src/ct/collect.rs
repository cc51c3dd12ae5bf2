//! Removing flows: the collector, and `flush`.
//!
//! Owns the choice of candidates and the frames that carry them to the program `np_collect`. The
//! program decides what is really expired, claims a flow and deletes both its entries, so that a
//! packet that arrives meanwhile is never translated by half a flow.

use std::{
    os::fd::{AsFd as _, OwnedFd},
    thread,
    time::Duration,
};

use aya::programs::{SchedClassifier, TestRun as _, TestRunOptions};
use netpath_common::{
    Tuple,
    conntrack::{
        CtEntry,
        timeout::{is_expired, lifetime_ns},
    },
    maps,
    records::Timeouts,
    tuple::{TCP, UDP},
};

use super::{BATCH, Filter, flows};
use crate::bpf::{Batches, Datapath, Error, coarse_now, contains_key};

/// Keys in one frame.
const KEYS: usize = 64;
/// Bytes before the keys: an Ethernet header, then mode and count.
const HEADER: usize = 16;
/// EtherType for local experiments (IEEE 802): the kernel looks no further.
const ETHERTYPE: [u8; 2] = [0x88, 0xb5];
/// Between two batches of the collector: other processes get the processor.
const PAUSE: Duration = Duration::from_millis(1);
/// An index without a record is left alone for this long: its flow may be in the making.
const YOUNG_NS: u64 = 1_000_000_000;

/// What one pass of the collector did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SweepStats {
    /// Entries read.
    pub seen: usize,
    /// Entries that looked expired and were proposed to the datapath.
    pub proposed: usize,
    /// Flows that the datapath removed.
    pub removed: usize,
}

/// When `np_collect` removes a flow that it is given.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mode {
    /// If it is expired, half gone or claimed.
    Expired = 0,
    /// Always.
    Any = 1,
}

/// One pass of the collector over the whole table. Gives way to others between batches.
///
/// # Errors
/// If the table cannot be read or the program cannot be run.
pub fn sweep(dp: &Datapath) -> Result<SweepStats, Error> {
    let timeouts = dp.config()?.timeouts;
    let collector = Collector::open(dp)?;
    let mut stats = SweepStats::default();
    let mut batches = Batches::<Tuple, CtEntry>::new(dp, maps::CT4, BATCH)?;
    while let Some((keys, entries)) = batches.next()? {
        let now = coarse_now()?;
        let mut candidates = Vec::new();
        for (key, entry) in keys.iter().zip(entries) {
            if collector.looks_dead(&timeouts, key, entry, now)? {
                candidates.push(*key);
            }
        }
        stats.seen += keys.len();
        stats.proposed += candidates.len();
        stats.removed += collector.run(Mode::Expired, &candidates)?;
        thread::sleep(PAUSE);
    }
    Ok(stats)
}

/// Removes the flows that match, and says how many. An empty filter also removes what is left of
/// flows that are half gone.
///
/// # Errors
/// If the table cannot be read or the program cannot be run.
pub fn flush(dp: &Datapath, filter: &Filter) -> Result<usize, Error> {
    let collector = Collector::open(dp)?;
    let found = flows(dp)?;
    let keys: Vec<_> = found
        .iter()
        .filter(|f| filter.matches(f))
        .map(|f| f.reply)
        .collect();
    let removed = collector.run(Mode::Any, &keys)?;
    if filter.is_empty() {
        sweep(dp)?;
    }
    Ok(removed)
}

/// The program `np_collect` and the table that it works on.
struct Collector {
    program: SchedClassifier,
    table: OwnedFd,
}

impl Collector {
    fn open(dp: &Datapath) -> Result<Self, Error> {
        Ok(Self {
            program: dp.collector()?,
            table: dp.map_fd(maps::CT4)?,
        })
    }

    /// Whether an entry by itself looks expired or orphaned. The other direction may still be
    /// alive: the program knows.
    fn looks_dead(
        &self,
        t: &Timeouts,
        key: &Tuple,
        entry: &CtEntry,
        now: u64,
    ) -> Result<bool, Error> {
        if entry.is_record() {
            return Ok(is_expired(
                t,
                key.proto,
                entry.state,
                entry.created,
                entry.stamp,
                now,
            ));
        }
        let idle = now.saturating_sub(entry.stamp);
        if idle > longest_lifetime_ns(t, key.proto) {
            return Ok(true);
        }
        Ok(idle > YOUNG_NS && !contains_key(self.table.as_fd(), &entry.other_key(key))?)
    }

    fn run(&self, mode: Mode, keys: &[Tuple]) -> Result<usize, Error> {
        let mut removed = 0;
        for chunk in keys.chunks(KEYS) {
            let data = frame(mode, chunk);
            let result = self
                .program
                .test_run(TestRunOptions {
                    data_in: Some(&data),
                    ..TestRunOptions::default()
                })
                .map_err(|e| Error::system("running np_collect", std::io::Error::other(e)))?;
            removed += result.return_value as usize;
        }
        Ok(removed)
    }
}

/// A frame with up to [`KEYS`] keys.
fn frame(mode: Mode, keys: &[Tuple]) -> Vec<u8> {
    let keys = keys.get(..KEYS).unwrap_or(keys);
    let mut data = vec![0; 12];
    data.extend(ETHERTYPE);
    data.extend([mode as u8, keys.len() as u8]);
    data.extend_from_slice(bytemuck::cast_slice(keys));
    debug_assert_eq!(data.len(), HEADER + size_of_val(keys));
    data
}

/// No flow of this protocol lives longer without packets, whatever its state.
fn longest_lifetime_ns(t: &Timeouts, proto: u8) -> u64 {
    let ms = match proto {
        TCP => t.tcp.iter().copied().max().unwrap_or(0).max(t.tcp_pickup),
        UDP => t.udp.max(t.udp_stream),
        _ => return lifetime_ns(t, proto, 0, 0, 0),
    };
    u64::from(ms) * 1_000_000
}

#[cfg(test)]
mod tests {
    use super::{super::testing::masqueraded, *};

    #[test]
    fn frames_hold_mode_count_and_keys() {
        let key = masqueraded().reply;
        let data = frame(Mode::Any, &[key, key.inverse()]);
        assert_eq!(data.len(), 16 + 2 * 16);
        assert_eq!(data[..12], [0; 12]);
        assert_eq!(data[12..16], [0x88, 0xb5, 1, 2]);
        assert_eq!(data[16..32], *bytemuck::bytes_of(&key));
        assert_eq!(frame(Mode::Expired, &[])[14..], [0, 0]);
        assert_eq!(frame(Mode::Expired, &[key; 64]).len(), 16 + 64 * 16);
        assert_eq!(frame(Mode::Expired, &[key; 65])[15], 64);
    }

    #[test]
    fn the_longest_lifetime_covers_every_state() {
        let t = Timeouts::KERNEL;
        assert_eq!(longest_lifetime_ns(&t, TCP), 432_000_000_000_000);
        assert_eq!(longest_lifetime_ns(&t, UDP), 120_000_000_000);
        assert_eq!(longest_lifetime_ns(&t, 1), 30_000_000_000);
    }
}
