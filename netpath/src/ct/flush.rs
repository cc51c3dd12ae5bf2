//! Removing flows by command, whatever their state.
//!
//! Owns no decision about flows that are over: see [`super::collect`].

use std::collections::BTreeSet;

use netpath_common::{Tuple, V4, V6, conntrack::CtEntry, records::CONFIG_BINDINGS, tuple::BINDING};

use super::{
    AnyFlow, Filter, Flow,
    collect::{Orphans, sweep},
    program::{KEYS, Mode, Program},
    read::{BATCH, Flows},
};
use crate::bpf::{Batches, Datapath, Error, Family};

/// Removes the flows that match, and says how many. An empty filter also removes what is left of
/// flows that are half gone.
///
/// # Errors
/// If the table cannot be read or the program cannot be run.
pub fn flush(dp: &Datapath, filter: &Filter) -> Result<usize, Error> {
    let mut unseen = |_: AnyFlow, _: u64| Ok(());
    let removed = delete(dp, filter, &mut unseen)?;
    if filter.is_empty() {
        sweep::<V4>(dp, Orphans::All)?;
        sweep::<V6>(dp, Orphans::All)?;
    }
    Ok(removed)
}

/// Removes the flows that match, shows each to `see` with the time that it was read at, and says how
/// many there were. One that has ended by itself meanwhile is shown and not counted.
///
/// # Errors
/// If the table cannot be read or the program cannot be run, and those of `see`.
pub fn delete(
    dp: &Datapath,
    filter: &Filter,
    see: &mut impl FnMut(AnyFlow, u64) -> Result<(), Error>,
) -> Result<usize, Error> {
    let v4 = delete_of::<V4>(dp, filter, &mut |flow, now| see(AnyFlow::V4(flow), now))?;
    let v6 = delete_of::<V6>(dp, filter, &mut |flow, now| see(AnyFlow::V6(flow), now))?;
    Ok(v4 + v6)
}

fn delete_of<A: Family>(
    dp: &Datapath,
    filter: &Filter,
    see: &mut impl FnMut(Flow<A>, u64) -> Result<(), Error>,
) -> Result<usize, Error> {
    if !filter.asks_for::<A>() {
        return Ok(0);
    }
    let program = Program::<A>::open(dp)?;
    let mut flows = Flows::<A>::new(dp, *filter)?;
    let mut removed = 0;
    while let Some((flows, now)) = flows.next()? {
        for flows in flows.chunks(KEYS) {
            let keys: Vec<Tuple<A>> = flows.iter().map(|flow| flow.reply).collect();
            removed += program.run(Mode::Any, &keys)?;
            flows.iter().try_for_each(|flow| see(*flow, now))?;
        }
    }
    unbind(dp, &program)?;
    Ok(removed)
}

/// Removes what `endpoints` have of the outside by their network and not by a published port: masqueraded
/// flows, bindings, and flows by these. `all`: published ports' as well.
///
/// # Errors
/// As of [`flush`].
pub(crate) fn end_outward(
    dp: &Datapath,
    endpoints: &BTreeSet<u16>,
    all: bool,
) -> Result<(), Error> {
    end_outward_of::<V4>(dp, endpoints, all)?;
    end_outward_of::<V6>(dp, endpoints, all)
}

fn end_outward_of<A: Family>(
    dp: &Datapath,
    endpoints: &BTreeSet<u16>,
    all: bool,
) -> Result<(), Error> {
    let is_theirs = |slot| slot != 0 && endpoints.contains(&slot);
    remove(dp, &Program::<A>::open(dp)?, |_, e| {
        e.is_record() && (all || e.rule == 0) && (is_theirs(e.from) || is_theirs(e.to))
    })
}

/// Removes bindings that no flow uses any more, which would let the outside in for a moment yet.
fn unbind<A: Family>(dp: &Datapath, program: &Program<A>) -> Result<(), Error> {
    if dp.config()?.flags & CONFIG_BINDINGS == 0 {
        return Ok(());
    }
    remove(dp, program, |key, e| {
        key.proto == BINDING && !e.is_record() && e.packets as i64 <= 0
    })
}

/// Removes what has such an entry.
fn remove<A: Family>(
    dp: &Datapath,
    program: &Program<A>,
    is: impl Fn(&Tuple<A>, &CtEntry<A>) -> bool,
) -> Result<(), Error> {
    let mut batches = Batches::<Tuple<A>, CtEntry<A>>::new(dp, A::CT, BATCH)?;
    while let Some((keys, entries)) = batches.next()? {
        let found: Vec<Tuple<A>> = keys
            .iter()
            .zip(entries)
            .filter_map(|(key, e)| is(key, e).then_some(*key))
            .collect();
        for keys in found.chunks(KEYS) {
            program.run(Mode::Any, keys)?;
        }
    }
    Ok(())
}
