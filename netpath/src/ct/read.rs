//! Reading the conntrack table, a part at a time: it may hold millions of flows.
//!
//! Owns the pairing of a flow's two entries. Prints and removes nothing.

use std::os::fd::{AsFd as _, OwnedFd};

use netpath_common::{
    Tuple,
    conntrack::{CtEntry, STATE_CLAIMED},
    maps,
    records::Timeouts,
};

use super::{Filter, Flow};
use crate::bpf::{Batches, Datapath, Error, coarse_now, conntrack_entry};

/// Entries that one system call reads.
const BATCH: usize = 4096;

/// The flows of an instance that are asked for, part by part.
pub(super) struct Flows {
    batches: Batches<Tuple, CtEntry>,
    table: OwnedFd,
    timeouts: Timeouts,
    filter: Filter,
}

impl Flows {
    pub(super) fn new(dp: &Datapath, filter: Filter) -> Result<Self, Error> {
        Ok(Self {
            batches: Batches::new(dp, maps::CT4, BATCH)?,
            table: dp.map_fd(maps::CT4)?,
            timeouts: dp.config()?.timeouts,
            filter,
        })
    }

    /// The next part, ordered by tuple, and the time that it was read at; `None` at the end. Flows
    /// that are expired or being removed are left out.
    pub(super) fn next(&mut self) -> Result<Option<(Vec<Flow>, u64)>, Error> {
        let Some((keys, entries)) = self.batches.next()? else {
            return Ok(None);
        };
        let now = coarse_now()?;
        let mut flows = Vec::new();
        for (reply, record) in keys.iter().zip(entries) {
            let Some(mut flow) = asked_for(&self.filter, reply, record) else {
                continue;
            };
            flow.index = index_of(&self.table, &flow)?;
            if flow.remaining_ns(&self.timeouts, now) > 0 {
                flows.push(flow);
            }
        }
        flows.sort_by_key(|f| {
            let t = f.tuple;
            (t.proto, t.src, t.dst, t.sport, t.dport)
        });
        Ok(Some((flows, now)))
    }
}

/// How many flows match that are neither expired nor being removed.
///
/// # Errors
/// If the table cannot be read.
pub fn count(dp: &Datapath, filter: &Filter) -> Result<usize, Error> {
    let timeouts = dp.config()?.timeouts;
    let table = dp.map_fd(maps::CT4)?;
    let mut batches = Batches::<Tuple, CtEntry>::new(dp, maps::CT4, BATCH)?;
    let mut found = 0;
    while let Some((keys, entries)) = batches.next()? {
        let now = coarse_now()?;
        for (reply, record) in keys.iter().zip(entries) {
            let Some(mut flow) = asked_for(filter, reply, record) else {
                continue;
            };
            // What the record's own stamp keeps alive, the index's later one does not end.
            if flow.remaining_ns(&timeouts, now) == 0 {
                flow.index = index_of(&table, &flow)?;
                if flow.remaining_ns(&timeouts, now) == 0 {
                    continue;
                }
            }
            found += 1;
        }
    }
    Ok(found)
}

/// The flow of a record, without its index, if it may be among those that are asked for.
fn asked_for(filter: &Filter, reply: &Tuple, record: &CtEntry) -> Option<Flow> {
    let flow = Flow {
        tuple: record.other_key(reply),
        reply: *reply,
        record: *record,
        index: None,
    };
    let whole = record.is_record() && record.state & STATE_CLAIMED == 0;
    (whole && filter.matches(&flow)).then_some(flow)
}

/// The index, unless it is gone or another flow's.
fn index_of(table: &OwnedFd, flow: &Flow) -> Result<Option<CtEntry>, Error> {
    let found = conntrack_entry(table.as_fd(), &flow.tuple)?;
    Ok(found.filter(|e| !e.is_record() && e.other_key(&flow.tuple) == flow.reply))
}

#[cfg(test)]
mod tests {
    use super::{
        super::testing::{entries, masqueraded},
        *,
    };

    #[test]
    fn a_record_makes_a_flow_and_an_index_does_not() {
        let flow = masqueraded();
        let made: Vec<_> = entries(&flow)
            .iter()
            .filter_map(|(key, e)| asked_for(&Filter::default(), key, e))
            .collect();
        let alone = Flow {
            index: None,
            ..flow
        };
        assert_eq!(made, [alone]);
        let mut claimed = flow.record;
        claimed.state |= STATE_CLAIMED;
        assert_eq!(asked_for(&Filter::default(), &flow.reply, &claimed), None);
        let udp = Filter {
            proto: Some(17),
            ..Filter::default()
        };
        assert_eq!(asked_for(&udp, &flow.reply, &flow.record), None);
    }
}
