//! Reading the conntrack table, a part at a time: it may hold millions of flows.
//!
//! Owns the pairing of a flow's two entries. Prints and removes nothing.

use std::{
    collections::BTreeSet,
    os::fd::{AsFd as _, OwnedFd},
};

use netpath_common::{
    Tuple, V4, V6,
    conntrack::{CtEntry, STATE_CLAIMED},
    records::Timeouts,
    tuple::BINDING,
};

use super::{Filter, Flow};
use crate::bpf::{Batches, Datapath, Error, Family, coarse_now, conntrack_entry};

/// Entries that one system call reads.
pub(super) const BATCH: usize = 4096;

/// Flows, and the time that they were read at.
type Part<A> = (Vec<Flow<A>>, u64);

/// The flows of an instance that are asked for, part by part.
pub(super) struct Flows<A: Family> {
    batches: Batches<Tuple<A>, CtEntry<A>>,
    table: OwnedFd,
    timeouts: Timeouts,
    filter: Filter,
}

impl<A: Family> Flows<A> {
    pub(super) fn new(dp: &Datapath, filter: Filter) -> Result<Self, Error> {
        Ok(Self {
            batches: Batches::new(dp, A::CT, BATCH)?,
            table: dp.map_fd(A::CT)?,
            timeouts: dp.config()?.timeouts,
            filter,
        })
    }

    /// The next part, ordered by tuple, and the time that it was read at; `None` at the end. Flows
    /// that are expired or being removed are left out.
    pub(super) fn next(&mut self) -> Result<Option<Part<A>>, Error> {
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

/// The protocols and ports that flows of an instance expect answers at.
///
/// # Errors
/// If the table cannot be read.
pub(crate) fn reply_ports(dp: &Datapath) -> Result<BTreeSet<(u8, u16)>, Error> {
    let mut ports = BTreeSet::new();
    add_reply_ports::<V4>(dp, &mut ports)?;
    add_reply_ports::<V6>(dp, &mut ports)?;
    Ok(ports)
}

fn add_reply_ports<A: Family>(dp: &Datapath, ports: &mut BTreeSet<(u8, u16)>) -> Result<(), Error> {
    let mut flows = Flows::<A>::new(dp, Filter::default())?;
    while let Some((part, _)) = flows.next()? {
        ports.extend(part.iter().map(|flow| (flow.reply.proto, flow.reply.dport)));
    }
    Ok(())
}

/// How many flows of both families match that are neither expired nor being removed.
///
/// # Errors
/// If a table cannot be read.
pub fn count(dp: &Datapath, filter: &Filter) -> Result<usize, Error> {
    Ok(count_of::<V4>(dp, filter)? + count_of::<V6>(dp, filter)?)
}

/// As [`count`], of one family.
///
/// # Errors
/// If the table cannot be read.
pub fn count_of<A: Family>(dp: &Datapath, filter: &Filter) -> Result<usize, Error> {
    if !filter.asks_for::<A>() {
        return Ok(0);
    }
    let timeouts = dp.config()?.timeouts;
    let table = dp.map_fd(A::CT)?;
    let mut batches = Batches::<Tuple<A>, CtEntry<A>>::new(dp, A::CT, BATCH)?;
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
fn asked_for<A: Family>(filter: &Filter, reply: &Tuple<A>, record: &CtEntry<A>) -> Option<Flow<A>> {
    let flow = Flow {
        tuple: record.other_key(reply),
        reply: *reply,
        record: *record,
        index: None,
    };
    // A binding is no flow.
    let is_flow = record.is_record() && reply.proto != BINDING;
    let whole = is_flow && record.state & STATE_CLAIMED == 0;
    (whole && filter.matches(&flow)).then_some(flow)
}

/// The index, unless it is gone or another flow's.
fn index_of<A: Family>(table: &OwnedFd, flow: &Flow<A>) -> Result<Option<CtEntry<A>>, Error> {
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
