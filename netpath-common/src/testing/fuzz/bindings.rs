//! What must hold of bindings in the table of a run.
//!
//! Owns the checks that one inside has one outside port, and that a binding counts the flows that use it.

use std::collections::HashMap;

use super::super::{plain::Line, tables::MemTables};
use crate::{
    addr::Addr,
    conntrack::{CtEntry, FLAG_BOUND, FLAG_LIFE_MASK, life_of},
    nat::{inside_key, outside_key},
    tuple::{BINDING, TCP, Tuple, UDP},
};

/// Whom a packet may reach by the port that it is for.
pub(super) fn owner<A: Addr>(t: &MemTables<A>, line: &Line<A>) -> Option<A> {
    if !matches!(line.proto, TCP | UDP) {
        return None;
    }
    let record = t.entry(&outside_key(line.dst, line.dport, line.proto))?;
    Some(record.dst)
}

/// The inside of a bound flow's record, and the port that it is seen by.
fn end_of<A: Addr>(key: &Tuple<A>, e: &CtEntry<A>) -> (Tuple<A>, u16) {
    if e.to != 0 {
        let inside = inside_key(e.dst, e.dport, key.dst, key.proto);
        (inside, key.dport)
    } else {
        let inside = inside_key(key.src, key.sport, e.src, key.proto);
        (inside, e.sport)
    }
}

/// Checks all of a table that only the datapath has written flows to.
pub(super) fn check<A: Addr>(t: &MemTables<A>) {
    let entries = t.entries();
    let mut users: HashMap<Tuple<A>, i64> = HashMap::new();
    for (key, e) in &entries {
        if !e.is_record() || e.flags & FLAG_BOUND == 0 {
            continue;
        }
        let (inside, port) = end_of(key, e);
        let Some(binding) = t.entry(&inside) else {
            continue;
        };
        // Else it is a later one.
        if life_of(binding.generation) == e.flags & FLAG_LIFE_MASK {
            assert_eq!(binding.sport, port, "REQ-1: {key:?} of {inside:?}");
            *users.entry(inside).or_default() += 1;
        }
    }
    for (key, e) in &entries {
        if key.proto == BINDING && !e.is_record() {
            let users = users.get(key).copied().unwrap_or(0);
            assert_eq!(e.packets as i64, users, "flows of {key:?}");
        }
    }
}
