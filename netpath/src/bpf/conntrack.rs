//! What user space knows of the conntrack table besides its entries.
//!
//! Owns the generations that flows are compared with. Removes nothing (see [`crate::ct`]).

use std::os::fd::AsFd as _;

use bytemuck::Pod;
use netpath_common::{
    Tuple,
    conntrack::CtEntry,
    maps,
    records::{EndpointRecord, RuleRecord, UplinkRecord},
};

use super::{Datapath, Error, Family, batch, sys};

/// Entries that one system call writes.
const WRITE: usize = 4096;

/// The generations of everything that flows depend on, as they were when they were read.
#[derive(Clone, Debug, Default)]
pub(crate) struct Generations {
    endpoints: Vec<u32>,
    uplinks: Vec<u32>,
    rules: Vec<u32>,
}

impl Generations {
    /// The sum that a flow made now would carry, where `e` was.
    pub(crate) fn of<A: Family>(&self, e: &CtEntry<A>) -> u32 {
        let part = |of: &[u32], slot: u16| match slot {
            0 => 0,
            slot => of.get(usize::from(slot)).copied().unwrap_or(0),
        };
        part(&self.endpoints, e.from)
            .wrapping_add(part(&self.endpoints, e.to))
            .wrapping_add(part(&self.uplinks, e.uplink.into()))
            .wrapping_add(part(&self.rules, e.rule))
    }
}

impl Datapath {
    pub(crate) fn generations(&self) -> Result<Generations, Error> {
        Ok(Generations {
            endpoints: self.column(maps::ENDPOINTS, |r: &EndpointRecord| r.generation)?,
            uplinks: self.column(maps::UPLINKS, |r: &UplinkRecord| r.generation)?,
            rules: self.column(maps::RULES, |r: &RuleRecord| r.generation)?,
        })
    }

    /// Writes entries of the conntrack table as they are, for tests and benchmarks. Flows are made
    /// by the datapath.
    ///
    /// # Errors
    /// The table is full, or cannot be written.
    pub fn write_flows<A: Family>(
        &self,
        keys: &[Tuple<A>],
        entries: &[CtEntry<A>],
    ) -> Result<(), Error> {
        keys.chunks(WRITE)
            .zip(entries.chunks(WRITE))
            .try_for_each(|(keys, entries)| batch::write(self, A::CT, keys, entries))
    }

    /// One field of every record of an array.
    fn column<V: Pod>(&self, map: &str, field: impl Fn(&V) -> u32) -> Result<Vec<u32>, Error> {
        const PART: usize = 1024;
        let fd = self.map_fd(map)?;
        let (mut keys, mut records) = (vec![0u32; PART], vec![V::zeroed(); PART]);
        let (mut column, mut token) = (Vec::new(), None);
        loop {
            let (read, next) = sys::lookup_batch(fd.as_fd(), token, &mut keys, &mut records)
                .map_err(|e| Error::system(format!("reading {map}"), e))?;
            column.extend(records.iter().take(read).map(&field));
            // An array of a multiple of PART ends with an empty part.
            if next.is_none() || read == 0 {
                return Ok(column);
            }
            token = next;
        }
    }
}
