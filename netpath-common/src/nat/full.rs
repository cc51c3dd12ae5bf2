//! A new flow and a full table: room is made, and the insert tried again.
//!
//! Owns how often. Which flows have to go is [`crate::conntrack`]'s.

use super::{
    attempt::{Try, try_port},
    create::Turn,
    flow::NewFlow,
};
use crate::{
    conntrack::make_room,
    datapath::{InsertError, Tables},
};

/// How often room is made for one entry.
const ROOM_TRIES: u32 = 4;

/// Makes room in a full table and inserts what `insert` does, until that finds a place; whether it
/// has. Several times, since a place made free may be another processor's at once: under a flood it
/// is again and again.
#[inline(always)]
pub(super) fn again<'s, T: Tables>(
    t: &'s T,
    flow: &'s mut NewFlow<T::A>,
    insert: extern "C" fn(u32, *mut Turn<'s, T>) -> i64,
) -> bool {
    flow.search.result = Try::Full as u32;
    let mut turn = Turn { t, flow };
    t.repeat(ROOM_TRIES, &mut turn, insert);
    matches!(Try::from_u32(turn.flow.search.result), Try::Reserved)
}

/// Makes room for the record; 1 ends the attempts.
pub(super) extern "C" fn record_again<T: Tables>(_i: u32, turn: *mut Turn<'_, T>) -> i64 {
    // SAFETY: `repeat` hands on the pointer that `again` gave it, and nobody else uses it.
    let Turn { t, flow } = unsafe { &mut *turn };
    if !make_room(*t, flow) {
        return 1;
    }
    let result = try_port(*t, flow);
    flow.search.result = result as u32;
    i64::from(!matches!(result, Try::Full))
}

/// Makes room for the index; 1 ends the attempts.
pub(super) extern "C" fn index_again<T: Tables>(_i: u32, turn: *mut Turn<'_, T>) -> i64 {
    // SAFETY: `repeat` hands on the pointer that `again` gave it, and nobody else uses it.
    let Turn { t, flow } = unsafe { &mut *turn };
    if !make_room(*t, flow) {
        return 1;
    }
    match t.ct_insert(&flow.original, &flow.entry) {
        Ok(()) => {
            flow.search.result = Try::Reserved as u32;
            1
        }
        Err(InsertError::Full) => 0,
        Err(InsertError::Exists) => 1,
    }
}
