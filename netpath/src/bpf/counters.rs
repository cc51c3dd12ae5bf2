//! Counters of the datapath, summed over processors.
//!
//! Owns the sums. The datapath counts.

use std::os::fd::{AsFd as _, AsRawFd as _};

use aya::maps::PerCpuValues;
use aya::util::nr_cpus;
use netpath_common::{
    DropReason,
    counters::Counter,
    maps,
    records::{EndpointStats, RuleStats},
};

use super::{Datapath, Error, batch, sys};

/// Processors that there may be.
pub(super) fn processors() -> Result<u32, Error> {
    let cpus = nr_cpus().map_err(|(path, e)| Error::system(format!("reading {path}"), e))?;
    Ok(cpus as u32)
}

impl Datapath {
    /// Bytes of kernel memory that a map holds, as the kernel accounts them.
    ///
    /// # Errors
    /// Where the map cannot be opened, or the kernel does not say.
    pub fn memory(&self, map: &str) -> Result<u64, Error> {
        let fd = self.map_fd(map)?;
        let path = format!("/proc/self/fdinfo/{}", fd.as_raw_fd());
        let text = std::fs::read_to_string(&path)
            .map_err(|e| Error::system(format!("reading {path}"), e))?;
        text.lines()
            .find_map(|l| l.strip_prefix("memlock:")?.trim().parse().ok())
            .ok_or_else(|| {
                let none = std::io::Error::other("no memlock line");
                Error::system(format!("reading {path}"), none)
            })
    }

    /// How many packets were dropped for each reason, in the order of [`DropReason::ALL`].
    pub fn drops(&self) -> Result<Vec<(DropReason, u64)>, Error> {
        self.sums(maps::DROPS, DropReason::ALL)
    }

    /// Every other counter, in the order of [`Counter::ALL`].
    pub fn counters(&self) -> Result<Vec<(Counter, u64)>, Error> {
        self.sums(maps::COUNTERS, Counter::ALL)
    }

    /// The counters of one endpoint.
    pub fn endpoint_stats(&self, slot: u16) -> Result<EndpointStats, Error> {
        let values = self
            .per_cpu::<EndpointStats>(maps::ENDPOINT_STATS)?
            .get(&u32::from(slot), 0)
            .map_err(|e| Error::map("reading", maps::ENDPOINT_STATS, e))?;
        let of_cpus = values.iter().copied();
        Ok(of_cpus.fold(EndpointStats::default(), |sum, of_cpu| sum + of_cpu))
    }

    /// Zeroes the counters of one endpoint, for a slot that is given away.
    pub fn reset_endpoint_stats(&self, slot: u16) -> Result<(), Error> {
        let zeros = vec![EndpointStats::default(); processors()? as usize];
        let zeros = PerCpuValues::try_from(zeros)
            .map_err(|e| Error::system("counting the processors", e))?;
        self.per_cpu::<EndpointStats>(maps::ENDPOINT_STATS)?
            .set(u32::from(slot), zeros, 0)
            .map_err(|e| Error::map("writing", maps::ENDPOINT_STATS, e))
    }

    /// The counters of rules, in the order of `slots`.
    ///
    /// # Errors
    /// The map cannot be read.
    pub fn rule_stats(&self, slots: &[u16]) -> Result<Vec<RuleStats>, Error> {
        let (Some(first), Some(last)) = (slots.iter().min(), slots.iter().max()) else {
            return Ok(Vec::new());
        };
        let failed = |e| Error::system(format!("reading {}", maps::RULE_STATS), e);
        let map = self.map_fd(maps::RULE_STATS)?;
        let stretch = usize::from(last - first) + 1;
        let (mut keys, mut read) = (vec![0u32; stretch], vec![RuleStats::default(); stretch]);
        let mut sums = vec![RuleStats::default(); slots.len()];
        for cpu in 0..processors()? {
            // The token of an array is the last key that was read.
            let before = maps::rule_stats_index(cpu, *first).checked_sub(1);
            sys::lookup_batch(map.as_fd(), before, &mut keys, &mut read).map_err(failed)?;
            for (sum, slot) in sums.iter_mut().zip(slots) {
                let of_cpu = read[usize::from(slot - first)];
                sum.packets += of_cpu.packets;
                sum.bytes += of_cpu.bytes;
            }
        }
        Ok(sums)
    }

    /// Zeroes the counters of rules, for slots that are given away.
    ///
    /// # Errors
    /// The map cannot be written.
    pub fn reset_rule_stats(&self, slots: &[u16]) -> Result<(), Error> {
        if slots.is_empty() {
            return Ok(());
        }
        let of_cpu = |cpu| slots.iter().map(move |s| maps::rule_stats_index(cpu, *s));
        let keys: Vec<u32> = (0..processors()?).flat_map(of_cpu).collect();
        let zeros = vec![RuleStats::default(); keys.len()];
        batch::write(self, maps::RULE_STATS, &keys, &zeros)
    }

    fn sums<T: Copy>(&self, map: &str, names: &[T]) -> Result<Vec<(T, u64)>, Error> {
        let values = self.per_cpu::<u64>(map)?;
        (0..)
            .zip(names)
            .map(|(index, name)| {
                let cpus = values
                    .get(&index, 0)
                    .map_err(|e| Error::map("reading", map, e))?;
                Ok((*name, cpus.iter().sum()))
            })
            .collect()
    }
}
