//! What the maps have once for both families.
//!
//! Owns the numbers, counters and ports that the tables of a host share. What is keyed by addresses is
//! each table's own.

use core::cell::{Cell, RefCell, UnsafeCell};
use std::{boxed::Box, collections::BTreeMap};

use super::{budget::Live, ports::PortTable};
use crate::{
    datapath::Bucket,
    records::{EndpointStats, RuleStats},
};

/// The shared part of [`super::MemTables`].
pub(super) struct Common {
    pub(super) ports: PortTable,
    pub(super) live: Live,
    pub(super) told: Box<[UnsafeCell<Bucket>]>,
    pub(super) counters: RefCell<BTreeMap<u32, u64>>,
    pub(super) stats: RefCell<BTreeMap<u16, EndpointStats>>,
    pub(super) rule_stats: RefCell<BTreeMap<u16, RuleStats>>,
    /// Drops that no hook decided about.
    pub(super) dropped: Cell<u64>,
}

impl Default for Common {
    fn default() -> Self {
        Self {
            ports: PortTable::default(),
            live: Live::default(),
            told: (0..16).map(|_| UnsafeCell::default()).collect(),
            counters: RefCell::default(),
            stats: RefCell::default(),
            rule_stats: RefCell::default(),
            dropped: Cell::new(0),
        }
    }
}
