//! The records of the host's ports in memory.

use core::cell::RefCell;
use std::collections::HashMap;

use crate::{datapath::PortUse, maps};

/// Ports by protocol and number; those that were never written are zero.
#[derive(Debug, Default)]
pub(super) struct PortTable(RefCell<HashMap<u32, PortUse>>);

impl PortTable {
    pub(super) fn get(&self, proto: u8, port: u16) -> Option<PortUse> {
        let index = maps::port_index(proto, port)?;
        Some(self.0.borrow().get(&index).copied().unwrap_or_default())
    }

    pub(super) fn change(&self, proto: u8, port: u16, change: impl FnOnce(&mut PortUse)) {
        if let Some(index) = maps::port_index(proto, port) {
            change(self.0.borrow_mut().entry(index).or_default());
        }
    }
}
