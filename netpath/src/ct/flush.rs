//! Removing flows by command, whatever their state.
//!
//! Owns no decision about flows that are over: see [`super::collect`].

use netpath_common::Tuple;

use super::{
    Filter,
    collect::{Orphans, sweep},
    program::{KEYS, Mode, Program},
    read::Flows,
};
use crate::bpf::{Datapath, Error};

/// Removes the flows that match, and says how many. An empty filter also removes what is left of
/// flows that are half gone.
///
/// # Errors
/// If the table cannot be read or the program cannot be run.
pub fn flush(dp: &Datapath, filter: &Filter) -> Result<usize, Error> {
    let program = Program::open(dp)?;
    let mut flows = Flows::new(dp, *filter)?;
    let mut removed = 0;
    while let Some((flows, _)) = flows.next()? {
        let keys: Vec<Tuple> = flows.iter().map(|flow| flow.reply).collect();
        for keys in keys.chunks(KEYS) {
            removed += program.run(Mode::Any, keys)?;
        }
    }
    if filter.is_empty() {
        sweep(dp, Orphans::All)?;
    }
    Ok(removed)
}
