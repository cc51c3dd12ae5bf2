//! Queues of reclaimable flows and numbers of live ones in memory.

use core::cell::RefCell;
use std::collections::{HashMap, VecDeque};

use crate::{
    addr::{Addr, V4},
    conntrack::Budget,
    maps,
    tuple::Tuple,
};

/// Both queues, bounded as the maps are.
#[derive(Debug, Default)]
pub(super) struct Queues<A = V4>([RefCell<VecDeque<Tuple<A>>>; 2]);

impl<A: Addr> Queues<A> {
    pub(super) fn push(&self, key: &Tuple<A>, inbound: bool) {
        let (at, capacity) = if inbound {
            (1, maps::MAX_RECLAIM_IN)
        } else {
            (0, maps::MAX_RECLAIM)
        };
        let mut queue = self.0[at].borrow_mut();
        if queue.len() == capacity {
            queue.pop_front();
        }
        queue.push_back(*key);
    }

    pub(super) fn pop(&self, inbound: bool) -> Option<Tuple<A>> {
        self.0[usize::from(inbound)].borrow_mut().pop_front()
    }
}

/// Numbers of live flows by budget.
#[derive(Debug, Default)]
pub(super) struct Live(RefCell<HashMap<u32, i64>>);

impl Live {
    pub(super) fn get(&self, budget: Budget) -> i64 {
        let live = self.0.borrow();
        live.get(&budget.index()).copied().unwrap_or(0)
    }

    pub(super) fn add(&self, budget: Budget, by: i64) {
        *self.0.borrow_mut().entry(budget.index()).or_default() += by;
    }
}
