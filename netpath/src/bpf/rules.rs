//! Records of publishing rules, many at once.
//!
//! Owns the map `np_rules`: a configuration of ten thousand rules is two system calls. Gives out no
//! generation (see [`crate::state::State::next_generation`]).

use std::os::fd::AsFd as _;

use netpath_common::{maps, records::RuleRecord};

use super::{Datapath, Error, batch, sys};

/// Up to this many slots are read one by one, more as one stretch of the array.
const FEW: usize = 16;

impl Datapath {
    /// The records of rules, in the order of `slots`.
    ///
    /// # Errors
    /// The map cannot be read.
    pub fn rules(&self, slots: &[u16]) -> Result<Vec<RuleRecord>, Error> {
        let (Some(first), Some(last)) = (slots.iter().min(), slots.iter().max()) else {
            return Ok(Vec::new());
        };
        let map = self.map_fd(maps::RULES)?;
        let failed = |e| Error::system(format!("reading {}", maps::RULES), e);
        if slots.len() <= FEW {
            return slots
                .iter()
                .map(|slot| {
                    let found = sys::lookup::<u32, RuleRecord>(map.as_fd(), &u32::from(*slot));
                    Ok(found.map_err(failed)?.unwrap_or_default())
                })
                .collect();
        }
        let first = usize::from(*first);
        let stretch = usize::from(*last) - first + 1;
        let mut keys = vec![0u32; stretch];
        let mut records = vec![RuleRecord::default(); stretch];
        // The token of an array is the last key that was read.
        let before = first.checked_sub(1).map(|key| key as u32);
        sys::lookup_batch(map.as_fd(), before, &mut keys, &mut records).map_err(failed)?;
        let record = |slot: &u16| records[usize::from(*slot) - first];
        Ok(slots.iter().map(record).collect())
    }

    /// Writes the records of rules.
    ///
    /// # Errors
    /// [`Error::BadSlot`] for slot 0 (nothing is written then), or the map cannot be written.
    pub fn set_rules(&self, rules: &[(u16, RuleRecord)]) -> Result<(), Error> {
        // Slot 0 means "none" in every record.
        if rules.iter().any(|(slot, _)| *slot == 0) {
            return Err(Error::BadSlot {
                map: maps::RULES.into(),
                slot: 0,
                last: maps::MAX_RULES as u32 - 1,
            });
        }
        let (keys, records): (Vec<u32>, Vec<_>) =
            rules.iter().map(|(slot, r)| (u32::from(*slot), *r)).unzip();
        batch::write(self, maps::RULES, &keys, &records)
    }
}
