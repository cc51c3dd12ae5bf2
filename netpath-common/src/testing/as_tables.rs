//! [`MemTables`] as [`Tables`]: what each look-up answers.

use core::{cell::UnsafeCell, ptr::NonNull};
use std::boxed::Box;

use super::{routes, tables::MemTables};
use crate::{
    conntrack::{Budget, CtEntry, CtRef},
    counters::Counter,
    datapath::{Bucket, HELD_BYTES, HeldRef, InsertError, NextHop, PortUse, Tables},
    drop_reason::DropReason,
    maps,
    packet::{Family, Ip},
    records::{Config, FragKey, FragRecord, IfaceRecord, Traffic, UplinkRecord, place},
    tuple::Tuple,
};

/// The kernel's tick at 250 Hz, with which its coarse clock moves on, nanoseconds.
const TICK_NS: u64 = 4_000_000;

impl<A: Family> Tables for MemTables<A> {
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

    fn ct(&self, key: &Tuple<A>) -> Option<CtRef<A>> {
        self.looked_up.set(self.looked_up.get() + 1);
        let table = self.ct.borrow();
        let entry = NonNull::new(table.get(key)?.get())?;
        // SAFETY: deleted entries are kept as long as the table, so the pointer stays valid.
        Some(unsafe { CtRef::new(entry) })
    }

    fn ct_insert(&self, key: &Tuple<A>, entry: &CtEntry<A>) -> Result<(), InsertError> {
        self.meanwhile(&self.interlopers);
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

    fn ct_delete(&self, key: &Tuple<A>) {
        self.meanwhile(&self.onlookers);
        if let Some(entry) = self.ct.borrow_mut().remove(key) {
            self.deleted.borrow_mut().push(entry);
        }
    }

    fn uplink(&self, slot: u16) -> Option<&UplinkRecord> {
        self.uplinks.get(usize::from(slot))
    }

    fn iface(&self, ifindex: u32) -> Option<IfaceRecord> {
        self.ifaces.get(&ifindex).copied()
    }

    fn endpoint_by_addr(&self, addr: &A) -> Option<u16> {
        self.endpoint_by_addr.get(addr).copied()
    }

    fn subnet(&self, addr: &A) -> Option<u16> {
        self.subnets
            .iter()
            .filter(|(net, len, _)| routes::in_prefix(*addr, *net, *len))
            .max_by_key(|(_, len, _)| *len)
            .map(|(_, _, slot)| *slot)
    }

    fn is_host_addr(&self, addr: &A) -> bool {
        self.host_addrs.contains(addr)
    }

    fn is_reserved(&self, proto: u8, port: u16) -> bool {
        maps::reserved_word(proto, port)
            .is_some_and(|(word, bit)| self.reserved[word as usize] & bit != 0)
    }

    fn frag(&self, key: &FragKey<A>) -> Option<&mut FragRecord<A>> {
        self.frags.record(key)
    }

    fn frag_insert(&self, key: &FragKey<A>, record: &FragRecord<A>) {
        self.frags.insert(key, record);
    }

    fn held(&self, index: u32) -> Option<HeldRef<A>> {
        self.frags.place(index)
    }

    fn saved(&self) -> Option<&mut [u8; HELD_BYTES]> {
        Some(self.frags.saved())
    }

    fn told(&self, endpoint: u16) -> Option<&mut Bucket> {
        // SAFETY: the datapath holds one reference at a time, and nothing else hands them out.
        self.common
            .told
            .get(usize::from(endpoint))
            .map(|b| unsafe { &mut *b.get() })
    }

    fn count_drop(&self, _reason: DropReason) {
        let dropped = &self.common.dropped;
        dropped.set(dropped.get() + 1);
    }

    fn reclaim_push(&self, key: &Tuple<A>, inbound: bool) {
        self.reclaim.push(key, inbound);
    }

    fn reclaim_pop(&self, inbound: bool, key: &mut Tuple<A>) -> bool {
        let popped = self.reclaim.pop(inbound);
        *key = popped.unwrap_or_default();
        popped.is_some()
    }

    fn live(&self, budget: Budget) -> i64 {
        self.common.live.get(budget)
    }

    fn add_live(&self, budget: Budget, by: i64) {
        self.common.live.add(budget, by);
    }

    fn next_hop(&self, slot: u32) -> Option<&mut NextHop<A>> {
        let lease = self.leases.get(slot as usize)?.get_or_init(Box::default);
        // SAFETY: one thread, and the engine holds one lease at a time.
        Some(unsafe { &mut *lease.get() })
    }

    fn route(&self, tuple: &Tuple<A>, _ifindex: u32, hop: &mut NextHop<A>) {
        *hop = routes::best(&self.routes, tuple.dst, |_| true);
    }

    fn route_out(&self, tuple: &Tuple<A>, ifindex: u32, hop: &mut NextHop<A>) {
        *hop = routes::best(&self.routes, tuple.dst, |hop| hop.ifindex == ifindex);
    }

    fn is_local(&self, ip: &Ip<A>, _ifindex: u32) -> bool {
        self.local.contains(&ip.tuple.dst)
    }

    fn host_socket(&self, tuple: &Tuple<A>) -> bool {
        self.host_sockets.contains(tuple)
            || self.host_addrs.contains(&tuple.dst)
                && self.host_listeners.contains(&(tuple.proto, tuple.dport))
    }

    fn tick(&self) -> u64 {
        1 + self.now / TICK_NS
    }

    fn port(&self, proto: u8, port: u16) -> Option<PortUse> {
        self.common.ports.get(proto, port)
    }

    fn set_nobody(&self, proto: u8, port: u16, nobody: u64) {
        self.common.ports.change(proto, port, |p| p.nobody = nobody);
    }

    fn set_used(&self, proto: u8, port: u16) {
        self.common.ports.change(proto, port, |p| p.used = 1);
    }

    fn set_translated(&self, proto: u8, port: u16) {
        self.common.ports.change(proto, port, |p| p.translated = 1);
    }

    fn count(&self, counter: Counter) {
        *self
            .common
            .counters
            .borrow_mut()
            .entry(counter as u32)
            .or_default() += 1;
    }

    fn count_tx(&self, endpoint: u16, rule: u16, bytes: u64) {
        let packet = Traffic { packets: 1, bytes };
        self.stat(endpoint, |s| {
            let count = &mut s.tx[place(A::IS_V6, rule)];
            *count = *count + packet;
        });
    }

    fn count_rx(&self, endpoint: u16, rule: u16, bytes: u64) {
        let packet = Traffic { packets: 1, bytes };
        self.stat(endpoint, |s| {
            let count = &mut s.rx[place(A::IS_V6, rule)];
            *count = *count + packet;
        });
    }

    fn count_rule(&self, rule: u16, bytes: u64) {
        let mut all = self.common.rule_stats.borrow_mut();
        let stats = all.entry(rule).or_default();
        stats.packets += 1;
        stats.bytes += bytes;
    }

    fn count_flow(&self, endpoint: u16) {
        self.stat(endpoint, |s| s.flows += 1);
    }
}
