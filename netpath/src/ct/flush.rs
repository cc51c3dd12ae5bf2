//! Removing flows by command, whatever their state.
//!
//! Owns no decision about flows that are over: see [`super::collect`].

use netpath_common::{Tuple, V4, V6};

use super::{
    Filter,
    collect::{Orphans, sweep},
    program::{KEYS, Mode, Program},
    read::Flows,
};
use crate::bpf::{Datapath, Error, Family};

/// Removes the flows that match, and says how many. An empty filter also removes what is left of
/// flows that are half gone.
///
/// # Errors
/// If the table cannot be read or the program cannot be run.
pub fn flush(dp: &Datapath, filter: &Filter) -> Result<usize, Error> {
    let removed = flush_of::<V4>(dp, filter)? + flush_of::<V6>(dp, filter)?;
    if filter.is_empty() {
        sweep::<V4>(dp, Orphans::All)?;
        if dp.serves::<V6>() {
            sweep::<V6>(dp, Orphans::All)?;
        }
    }
    Ok(removed)
}

fn flush_of<A: Family>(dp: &Datapath, filter: &Filter) -> Result<usize, Error> {
    if !filter.asks_for::<A>() || !dp.serves::<A>() {
        return Ok(0);
    }
    let program = Program::<A>::open(dp)?;
    let mut flows = Flows::<A>::new(dp, *filter)?;
    let mut removed = 0;
    while let Some((flows, _)) = flows.next()? {
        let keys: Vec<Tuple<A>> = flows.iter().map(|flow| flow.reply).collect();
        for keys in keys.chunks(KEYS) {
            removed += program.run(Mode::Any, keys)?;
        }
    }
    Ok(removed)
}
