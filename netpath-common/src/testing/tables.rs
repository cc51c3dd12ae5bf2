//! [`Tables`] in memory.
//!
//! Owns the imitation of the maps and of the kernel's sockets, clock and randomness, all
//! under the test's control. Does not count drops: hooks do (see [`super::Host`]).

use core::{
    cell::{Cell, RefCell, UnsafeCell},
    ptr::NonNull,
};
use std::{
    boxed::Box,
    collections::{BTreeMap, HashMap, HashSet},
    vec,
    vec::Vec,
};

use super::{
    budget::{Live, Queues},
    build::Addr,
    ports::PortTable,
    routes,
};
use crate::{
    conntrack::{Budget, CtEntry, CtRef},
    counters::Counter,
    datapath::{InsertError, NEXT_HOPS, NextHop, PortUse, Tables},
    maps,
    packet::Ipv4,
    records::{
        Config, EndpointRecord, EndpointStats, FragKey, FragRecord, IfaceRecord, NetworkRecord,
        Published, PublishedKey, UplinkRecord,
    },
    tuple::Tuple,
};

/// The kernel's tick at 250 Hz, with which its coarse clock moves on, nanoseconds.
const TICK_NS: u64 = 4_000_000;

/// What a test does in the middle of a packet, in place of another processor.
type Interloper = Box<dyn FnOnce(&MemTables)>;

/// The tables; what user space writes is public.
pub struct MemTables {
    /// Nanoseconds of the clock.
    pub now: u64,
    /// By slot.
    pub endpoints: Vec<EndpointRecord>,
    /// By slot.
    pub networks: Vec<NetworkRecord>,
    /// By slot.
    pub uplinks: Vec<UplinkRecord>,
    /// Generations of rules, by slot.
    pub rules: Vec<u32>,
    /// By interface index.
    pub ifaces: HashMap<u32, IfaceRecord>,
    /// Endpoint slots.
    pub endpoint_by_addr: HashMap<Addr, u16>,
    /// Subnet, prefix length, network slot.
    pub subnets: Vec<(Addr, u8, u16)>,
    /// Addresses of the host, as user space wrote them.
    pub host_addrs: HashSet<Addr>,
    /// Addresses of the host that the kernel knows and user space has not written yet.
    pub local: HashSet<Addr>,
    /// Published ports.
    pub published: HashMap<PublishedKey, Published>,
    /// The configuration; `None`: not written yet.
    pub config: Option<Config>,
    /// The kernel's.
    pub routes: Vec<routes::Route>,
    /// Tuples of packets that a socket of the host would receive.
    pub host_sockets: HashSet<Tuple>,
    /// Protocols and ports at which a socket of the host takes packets from everybody.
    pub host_listeners: HashSet<(u8, u16)>,
    /// Entries that the conntrack table takes.
    pub ct_capacity: usize,
    reserved: Vec<u64>,
    random: Cell<u64>,
    ct: RefCell<HashMap<Tuple, Box<UnsafeCell<CtEntry>>>>,
    /// Boxed as before: whoever holds a reference must find the entry where it was.
    #[expect(clippy::vec_box, reason = "entries must not move")]
    deleted: RefCell<Vec<Box<UnsafeCell<CtEntry>>>>,
    leases: Box<[UnsafeCell<NextHop>]>,
    ports: PortTable,
    frags: RefCell<HashMap<FragKey, FragRecord>>,
    reclaim: Queues,
    live: Live,
    counters: RefCell<BTreeMap<u32, u64>>,
    stats: RefCell<BTreeMap<u16, EndpointStats>>,
    /// By number of inserts still to come.
    interlopers: RefCell<Vec<(usize, Interloper)>>,
}

impl MemTables {
    /// Empty tables with the kernel's timeouts.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self {
            now: 1_000_000_000_000,
            endpoints: vec![EndpointRecord::default(); 16],
            networks: vec![NetworkRecord::default(); 8],
            uplinks: vec![UplinkRecord::default(); maps::MAX_UPLINKS],
            rules: vec![0; 32],
            ifaces: HashMap::new(),
            endpoint_by_addr: HashMap::new(),
            subnets: Vec::new(),
            host_addrs: HashSet::new(),
            local: HashSet::new(),
            published: HashMap::new(),
            config: Some(Config::new(1)),
            routes: Vec::new(),
            host_sockets: HashSet::new(),
            host_listeners: HashSet::new(),
            ct_capacity: maps::CT4_ENTRIES,
            reserved: vec![0; maps::RESERVED_WORDS],
            random: Cell::new(seed.wrapping_mul(2).wrapping_add(1)),
            ct: RefCell::default(),
            deleted: RefCell::default(),
            leases: (0..NEXT_HOPS).map(|_| UnsafeCell::default()).collect(),
            ports: PortTable::default(),
            frags: RefCell::default(),
            reclaim: Queues::default(),
            live: Live::default(),
            counters: RefCell::default(),
            stats: RefCell::default(),
            interlopers: RefCell::default(),
        }
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

    /// Every conntrack entry, in a fixed order.
    #[must_use]
    pub fn entries(&self) -> Vec<(Tuple, CtEntry)> {
        let mut all: Vec<_> = self
            .ct
            .borrow()
            .iter()
            // SAFETY: no other reference into the entry is alive between packets.
            .map(|(key, e)| (*key, unsafe { *e.get() }))
            .collect();
        all.sort_by_key(|(k, _)| (k.proto, k.src, k.dst, k.sport, k.dport, k.icmp_type));
        all
    }

    /// One conntrack entry.
    #[must_use]
    pub fn entry(&self, key: &Tuple) -> Option<CtEntry> {
        // SAFETY: as in `entries`.
        self.ct.borrow().get(key).map(|e| unsafe { *e.get() })
    }

    /// Writes a conntrack entry as a test wants it, past every rule.
    pub fn put_entry(&self, key: Tuple, entry: CtEntry) {
        self.ct_delete(&key);
        self.ct
            .borrow_mut()
            .insert(key, Box::new(UnsafeCell::new(entry)));
    }

    /// A counter.
    #[must_use]
    pub fn counter(&self, counter: Counter) -> u64 {
        self.counters
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

    /// The counters of an endpoint.
    #[must_use]
    pub fn stats(&self, slot: u16) -> EndpointStats {
        self.stats.borrow().get(&slot).copied().unwrap_or_default()
    }

    fn stat(&self, slot: u16, change: impl FnOnce(&mut EndpointStats)) {
        change(self.stats.borrow_mut().entry(slot).or_default());
    }
}

impl Tables for MemTables {
    fn now(&self) -> u64 {
        let offset = self.config.map_or(0, |c| c.clock_offset_ns);
        self.now / TICK_NS * TICK_NS + offset
    }

    fn random(&self) -> u32 {
        // splitmix64 (Vigna).
        let state = self.random.get().wrapping_add(0x9e37_79b9_7f4a_7c15);
        self.random.set(state);
        let z = (state ^ (state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z >> 32) as u32
    }

    fn config(&self) -> Option<&Config> {
        self.config.as_ref()
    }

    fn ct(&self, key: &Tuple) -> Option<CtRef> {
        let table = self.ct.borrow();
        let entry = NonNull::new(table.get(key)?.get())?;
        // SAFETY: deleted entries are kept as long as the table, so the pointer stays valid.
        Some(unsafe { CtRef::new(entry) })
    }

    fn ct_insert(&self, key: &Tuple, entry: &CtEntry) -> Result<(), InsertError> {
        let due = {
            let mut waiting = self.interlopers.borrow_mut();
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
        let mut table = self.ct.borrow_mut();
        if table.contains_key(key) {
            return Err(InsertError::Exists);
        }
        if table.len() >= self.ct_capacity {
            return Err(InsertError::Full);
        }
        table.insert(*key, Box::new(UnsafeCell::new(*entry)));
        Ok(())
    }

    fn ct_delete(&self, key: &Tuple) {
        if let Some(entry) = self.ct.borrow_mut().remove(key) {
            self.deleted.borrow_mut().push(entry);
        }
    }

    fn endpoint(&self, slot: u16) -> Option<&EndpointRecord> {
        self.endpoints.get(usize::from(slot))
    }

    fn network(&self, slot: u16) -> Option<&NetworkRecord> {
        self.networks.get(usize::from(slot))
    }

    fn uplink(&self, slot: u16) -> Option<&UplinkRecord> {
        self.uplinks.get(usize::from(slot))
    }

    fn rule_generation(&self, slot: u16) -> u32 {
        self.rules.get(usize::from(slot)).copied().unwrap_or(0)
    }

    fn iface(&self, ifindex: u32) -> Option<IfaceRecord> {
        self.ifaces.get(&ifindex).copied()
    }

    fn endpoint_by_addr(&self, addr: &[u8; 4]) -> Option<u16> {
        self.endpoint_by_addr.get(addr).copied()
    }

    fn subnet(&self, addr: &[u8; 4]) -> Option<u16> {
        self.subnets
            .iter()
            .filter(|(net, len, _)| routes::in_prefix(*addr, *net, *len))
            .max_by_key(|(_, len, _)| *len)
            .map(|(_, _, slot)| *slot)
    }

    fn is_host_addr(&self, addr: &[u8; 4]) -> bool {
        self.host_addrs.contains(addr)
    }

    fn published(&self, key: &PublishedKey) -> Option<Published> {
        self.published.get(key).copied()
    }

    fn is_reserved(&self, proto: u8, port: u16) -> bool {
        maps::reserved_word(proto, port)
            .is_some_and(|(word, bit)| self.reserved[word as usize] & bit != 0)
    }

    fn frag(&self, key: &FragKey) -> Option<FragRecord> {
        self.frags.borrow().get(key).copied()
    }

    fn frag_insert(&self, key: &FragKey, record: &FragRecord) {
        self.frags.borrow_mut().insert(*key, *record);
    }

    fn reclaim_push(&self, key: &Tuple, inbound: bool) {
        self.reclaim.push(key, inbound);
    }

    fn reclaim_pop(&self, inbound: bool) -> Option<Tuple> {
        self.reclaim.pop(inbound)
    }

    fn live(&self, budget: Budget) -> i64 {
        self.live.get(budget)
    }

    fn add_live(&self, budget: Budget, by: i64) {
        self.live.add(budget, by);
    }

    fn next_hop(&self, slot: u32) -> Option<&mut NextHop> {
        // SAFETY: one thread, and the engine holds one lease at a time.
        Some(unsafe { &mut *self.leases.get(slot as usize)?.get() })
    }

    fn route(&self, tuple: &Tuple, _ifindex: u32, hop: &mut NextHop) {
        *hop = routes::best(&self.routes, tuple.dst, |_| true);
    }

    fn route_out(&self, tuple: &Tuple, ifindex: u32, hop: &mut NextHop) {
        *hop = routes::best(&self.routes, tuple.dst, |hop| hop.ifindex == ifindex);
    }

    fn is_local(&self, ip: &Ipv4, _ifindex: u32) -> bool {
        self.local.contains(&ip.tuple.dst)
    }

    fn host_socket(&self, tuple: &Tuple) -> bool {
        self.host_sockets.contains(tuple)
            || self.host_addrs.contains(&tuple.dst)
                && self.host_listeners.contains(&(tuple.proto, tuple.dport))
    }

    fn tick(&self) -> u64 {
        1 + self.now / TICK_NS
    }

    fn port(&self, proto: u8, port: u16) -> Option<PortUse> {
        self.ports.get(proto, port)
    }

    fn set_nobody(&self, proto: u8, port: u16, nobody: u64) {
        self.ports.change(proto, port, |p| p.nobody = nobody);
    }

    fn set_used(&self, proto: u8, port: u16) {
        self.ports.change(proto, port, |p| p.used = 1);
    }

    fn set_translated(&self, proto: u8, port: u16) {
        self.ports.change(proto, port, |p| p.translated = 1);
    }

    fn repeat<S>(&self, n: u32, state: &mut S, body: extern "C" fn(u32, *mut S) -> i64) {
        for i in 0..n {
            if body(i, state) != 0 {
                break;
            }
        }
    }

    fn count(&self, counter: Counter) {
        *self
            .counters
            .borrow_mut()
            .entry(counter as u32)
            .or_default() += 1;
    }

    fn count_tx(&self, endpoint: u16, bytes: u64) {
        self.stat(endpoint, |s| {
            s.tx_packets += 1;
            s.tx_bytes += bytes;
        });
    }

    fn count_rx(&self, endpoint: u16, bytes: u64) {
        self.stat(endpoint, |s| {
            s.rx_packets += 1;
            s.rx_bytes += bytes;
        });
    }

    fn count_flow(&self, endpoint: u16) {
        self.stat(endpoint, |s| s.flows += 1);
    }
}
