//! [`Tables`] in memory.
//!
//! Owns the imitation of the maps and of the kernel's sockets, clock and randomness, all
//! under the test's control. Does not count drops: hooks do (see [`super::Host`]).

use core::cell::{Cell, OnceCell, RefCell, UnsafeCell};
use std::{
    boxed::Box,
    collections::{HashMap, HashSet},
    rc::Rc,
    vec,
    vec::Vec,
};

use super::{
    budget::Queues,
    common::Common,
    frags::{Frags, Shared},
    routes,
};
use crate::{
    addr::{Addr, V4},
    conntrack::CtEntry,
    counters::Counter,
    datapath::{NEXT_HOPS, NextHop},
    maps,
    publish::{Backends, START_PROTOCOLS, Starts},
    records::{
        CONFIG_VISIBLE, Config, ENDPOINT_VISIBLE, EndpointRecord, EndpointStats, IfaceRecord,
        LOOPBACK_IFINDEX, LOOPBACK_UPLINK, NetworkRecord, Published, PublishedKey, RuleRecord,
        RuleStats, UplinkRecord,
    },
    tuple::Tuple,
};

/// What a test does in the middle of a packet, in place of another processor.
type Interloper<A> = Box<dyn FnOnce(&MemTables<A>)>;

/// The tables; what user space writes is public.
pub struct MemTables<A: Addr = V4> {
    /// Nanoseconds of the clock.
    pub now: u64,
    /// By slot.
    pub endpoints: Vec<EndpointRecord>,
    /// By slot.
    pub networks: Vec<NetworkRecord>,
    /// By slot.
    pub uplinks: Vec<UplinkRecord>,
    /// By slot.
    pub rules: Vec<RuleRecord>,
    /// By interface index.
    pub ifaces: HashMap<u32, IfaceRecord>,
    /// Endpoint slots.
    pub endpoint_by_addr: HashMap<A, u16>,
    /// Subnet, prefix length, network slot.
    pub subnets: Vec<(A, u8, u16)>,
    /// Addresses of the host, as user space wrote them.
    pub host_addrs: HashSet<A>,
    /// Addresses of the host that the kernel knows and user space has not written yet.
    pub local: HashSet<A>,
    /// Published ranges. Whoever writes them writes their starts as well, see
    /// [`MemTables::set_published`].
    pub published: HashMap<PublishedKey<A>, Published<A>>,
    /// Where they begin, by protocol.
    pub starts: Vec<Starts>,
    /// Groups of endpoints behind a port, by slot.
    pub backends: Vec<Backends>,
    /// What the trie of allow lists holds: rule or network, prefix, its length.
    pub allowed: Vec<(u32, A, u8)>,
    /// Interfaces that are gone though user space's records still name them.
    pub gone: HashSet<u32>,
    /// The configuration; `None`: not written yet.
    pub config: Option<Config>,
    /// The kernel's.
    pub routes: Vec<routes::Route<A>>,
    /// Tuples of packets that a socket of the host would receive.
    pub host_sockets: HashSet<Tuple<A>>,
    /// Protocols and ports at which a socket of the host takes packets from everybody.
    pub host_listeners: HashSet<(u8, u16)>,
    /// `ENDPOINT_*` bits of endpoints that are added.
    pub endpoint_flags: u32,
    /// How often the conntrack table has been looked at.
    pub looked_up: Cell<u64>,
    /// Entries that the conntrack table takes.
    pub ct_capacity: usize,
    pub(super) reserved: Vec<u64>,
    pub(super) random: Cell<u64>,
    pub(super) ct: RefCell<HashMap<Tuple<A>, Shared<CtEntry<A>>>>,
    /// Boxed as before: whoever holds a reference must find the entry where it was.
    pub(super) deleted: RefCell<Vec<Shared<CtEntry<A>>>>,
    /// Made when they are looked at first.
    pub(super) leases: Box<[OnceCell<Shared<NextHop<A>>>]>,
    pub(super) frags: Frags<A>,
    pub(super) reclaim: Queues<A>,
    pub(super) common: Rc<Common>,
    /// By number of inserts still to come.
    pub(super) interlopers: RefCell<Vec<(usize, Interloper<A>)>>,
    /// By number of deletions still to come.
    pub(super) onlookers: RefCell<Vec<(usize, Interloper<A>)>>,
}

impl<A: Addr> MemTables<A> {
    /// What the host sends to itself is translated at its loopback device.
    pub fn translate_at_loopback(&mut self) {
        self.uplinks[usize::from(LOOPBACK_UPLINK)] = UplinkRecord {
            ifindex: LOOPBACK_IFINDEX,
            generation: 1,
            addr: [127, 0, 0, 1],
            addr6: *b"\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\x01",
            mtu: 65_536,
        };
    }

    /// Empty tables with the kernel's timeouts.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self {
            now: 1_000_000_000_000,
            endpoints: vec![EndpointRecord::default(); 16],
            networks: vec![NetworkRecord::default(); 8],
            uplinks: vec![UplinkRecord::default(); maps::MAX_UPLINKS],
            rules: vec![RuleRecord::default(); 32],
            ifaces: HashMap::new(),
            endpoint_by_addr: HashMap::new(),
            subnets: Vec::new(),
            host_addrs: HashSet::new(),
            local: HashSet::new(),
            published: HashMap::new(),
            starts: vec![Starts::default(); START_PROTOCOLS],
            backends: vec![Backends::default(); 4],
            allowed: Vec::new(),
            gone: HashSet::new(),
            config: Some(Config::new(1)),
            routes: Vec::new(),
            host_sockets: HashSet::new(),
            host_listeners: HashSet::new(),
            endpoint_flags: 0,
            looked_up: Cell::new(0),
            ct_capacity: maps::CT4_ENTRIES,
            reserved: vec![0; maps::RESERVED_WORDS],
            random: Cell::new(seed.wrapping_mul(2).wrapping_add(1)),
            ct: RefCell::default(),
            deleted: RefCell::default(),
            leases: (0..NEXT_HOPS).map(|_| OnceCell::new()).collect(),
            frags: Frags::default(),
            reclaim: Queues::default(),
            common: Rc::default(),
            interlopers: RefCell::default(),
            onlookers: RefCell::default(),
        }
    }

    /// Every network becomes visible to the host's firewall.
    pub fn make_visible(&mut self) {
        self.endpoint_flags |= ENDPOINT_VISIBLE;
        for endpoint in &mut self.endpoints {
            if endpoint.ifindex != 0 {
                endpoint.flags |= ENDPOINT_VISIBLE;
            }
        }
        if let Some(config) = &mut self.config {
            config.flags |= CONFIG_VISIBLE;
        }
    }

    /// Counts where `other` does, the tables of the same host for the other family.
    pub fn count_with<B: Addr>(&mut self, other: &MemTables<B>) {
        self.common = other.common.clone();
    }

    /// Lets time go by.
    pub fn advance_ms(&mut self, ms: u64) {
        self.now += ms * 1_000_000;
    }

    /// Reserves a port, or gives it free.
    pub fn set_reserved(&mut self, proto: u8, port: u16, on: bool) {
        if let Some((word, bit)) = maps::reserved_word(proto, port) {
            let word = &mut self.reserved[word as usize];
            *word = if on { *word | bit } else { *word & !bit };
        }
    }

    /// The bitmap of reserved ports, as the map holds it.
    #[must_use]
    pub fn reserved_words(&self) -> &[u64] {
        &self.reserved
    }

    /// Runs `work` just before the conntrack insert that `skip` others precede.
    pub fn before_insert(&self, skip: usize, work: impl FnOnce(&Self) + 'static) {
        self.interlopers.borrow_mut().push((skip, Box::new(work)));
    }

    /// The same before a deletion.
    pub fn before_delete(&self, skip: usize, work: impl FnOnce(&Self) + 'static) {
        self.onlookers.borrow_mut().push((skip, Box::new(work)));
    }

    /// Does what is due before an insert or a deletion.
    pub(super) fn meanwhile(&self, waiting: &RefCell<Vec<(usize, Interloper<A>)>>) {
        let due = {
            let mut waiting = waiting.borrow_mut();
            let at = waiting.iter().position(|(skip, _)| *skip == 0);
            let due = at.map(|at| waiting.remove(at).1);
            waiting
                .iter_mut()
                .for_each(|(skip, _)| *skip = skip.saturating_sub(1));
            due
        };
        if let Some(work) = due {
            work(self);
        }
    }

    /// Every conntrack entry, in a fixed order.
    #[must_use]
    pub fn entries(&self) -> Vec<(Tuple<A>, CtEntry<A>)> {
        let mut all: Vec<_> = self
            .ct
            .borrow()
            .iter()
            // SAFETY: no other reference into the entry is alive between packets.
            .map(|(key, e)| (*key, unsafe { *e.get() }))
            .collect();
        let order = |t: &Tuple<A>| {
            (
                t.proto,
                bytemuck::bytes_of(&t.src).to_vec(),
                bytemuck::bytes_of(&t.dst).to_vec(),
                t.sport,
                t.dport,
                t.icmp_type,
            )
        };
        all.sort_by_key(|(k, _)| order(k));
        all
    }

    /// Shows every conntrack entry, in no order.
    pub fn for_each_entry(&self, mut show: impl FnMut(&Tuple<A>, &CtEntry<A>)) {
        for (key, e) in self.ct.borrow().iter() {
            // SAFETY: as in `entries`.
            show(key, unsafe { &*e.get() });
        }
    }

    /// How many conntrack entries there are.
    #[must_use]
    pub fn entry_count(&self) -> usize {
        self.ct.borrow().len()
    }

    /// One conntrack entry.
    #[must_use]
    pub fn entry(&self, key: &Tuple<A>) -> Option<CtEntry<A>> {
        // SAFETY: as in `entries`.
        self.ct.borrow().get(key).map(|e| unsafe { *e.get() })
    }

    /// Writes a conntrack entry as a test wants it, past every rule.
    pub fn put_entry(&self, key: Tuple<A>, entry: CtEntry<A>) {
        if let Some(old) = self.ct.borrow_mut().remove(&key) {
            self.deleted.borrow_mut().push(old);
        }
        self.ct
            .borrow_mut()
            .insert(key, Box::new(UnsafeCell::new(entry)));
    }

    /// A counter.
    #[must_use]
    pub fn counter(&self, counter: Counter) -> u64 {
        self.common
            .counters
            .borrow()
            .get(&(counter as u32))
            .copied()
            .unwrap_or(0)
    }

    /// Every counter.
    #[must_use]
    pub fn counters(&self) -> Vec<u64> {
        Counter::ALL.iter().map(|c| self.counter(*c)).collect()
    }

    /// Waiting fragments that were dropped.
    #[must_use]
    pub fn held_dropped(&self) -> u64 {
        self.common.dropped.get()
    }

    /// The counters of an endpoint.
    #[must_use]
    pub fn stats(&self, slot: u16) -> EndpointStats {
        let stats = self.common.stats.borrow();
        stats.get(&slot).copied().unwrap_or_default()
    }

    /// The counters of a publishing rule.
    #[must_use]
    pub fn rule_stats(&self, slot: u16) -> RuleStats {
        let stats = self.common.rule_stats.borrow();
        stats.get(&slot).copied().unwrap_or_default()
    }

    pub(super) fn stat(&self, slot: u16, change: impl FnOnce(&mut EndpointStats)) {
        change(self.common.stats.borrow_mut().entry(slot).or_default());
    }
}
