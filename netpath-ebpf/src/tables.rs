//! The maps and the kernel behind the trait [`Tables`].
//!
//! Owns every map look-up of the programs that see packets. Decides nothing.

use core::{marker::PhantomData, ptr::NonNull};

use aya_ebpf::{
    EbpfContext,
    bindings::bpf_sock_tuple,
    helpers::{
        bpf_get_prandom_u32, bpf_ktime_get_coarse_ns, bpf_sk_lookup_udp, bpf_sk_release,
        bpf_skc_lookup_tcp,
        generated::{bpf_get_smp_processor_id, bpf_jiffies64, bpf_loop},
    },
};
use netpath_common::{
    DropReason, Tuple, V4,
    conntrack::{Budget, CtEntry, CtRef, add64},
    counters::Counter,
    datapath::{Bucket, HELD_BYTES, HeldRef, InsertError, NextHop, PortUse, Tables, Work},
    maps::{port_index, reserved_word, rule_stats_index},
    nat::NewFlow,
    packet::Ip,
    records::{
        Config, EndpointStats, FragKey, FragRecord, IfaceRecord, Traffic, UplinkRecord, place,
    },
    tuple,
};

use crate::{counters, family::Maps, fib, maps};

const NOEXIST: u64 = 1;
const EXIST: u64 = 2;
const EEXIST: i32 = -17;

/// The kernel's tables as seen from one program run.
pub(crate) struct KernelTables<'c, C, A = V4> {
    pub(crate) ctx: &'c C,
    family: PhantomData<A>,
}

impl<'c, C: EbpfContext, A: Maps> KernelTables<'c, C, A> {
    #[inline(always)]
    pub(crate) const fn new(ctx: &'c C) -> Self {
        Self {
            ctx,
            family: PhantomData,
        }
    }
}

impl<C: EbpfContext, A: Maps> Tables for KernelTables<'_, C, A> {
    #[inline(always)]
    fn now(&self) -> u64 {
        let ahead = maps::CONFIG.get(0).map_or(0, |c| c.clock_offset_ns);
        // SAFETY: the helper has no preconditions.
        unsafe { bpf_ktime_get_coarse_ns() }.wrapping_add(ahead)
    }

    #[inline(always)]
    fn random(&self) -> u32 {
        // SAFETY: the helper has no preconditions.
        unsafe { bpf_get_prandom_u32() }
    }

    #[inline(always)]
    fn config(&self) -> Option<&Config> {
        maps::CONFIG.get(0)
    }

    #[inline(always)]
    fn ct(&self, key: &Tuple<A>) -> Option<CtRef<A>> {
        let p = A::ct(key)?;
        // SAFETY: the kernel keeps values of a map readable and writable until the program ends.
        NonNull::new(p).map(|p| unsafe { CtRef::new(p) })
    }

    #[inline(always)]
    fn ct_insert(&self, key: &Tuple<A>, entry: &CtEntry<A>) -> Result<(), InsertError> {
        A::ct_insert(key, entry, NOEXIST).map_err(|e| {
            if e == EEXIST {
                InsertError::Exists
            } else {
                InsertError::Full
            }
        })
    }

    #[inline(always)]
    fn ct_delete(&self, key: &Tuple<A>) {
        A::ct_delete(key);
    }

    #[inline(always)]
    fn uplink(&self, slot: u16) -> Option<&UplinkRecord> {
        maps::UPLINKS.get(u32::from(slot))
    }

    #[inline(always)]
    fn iface(&self, ifindex: u32) -> Option<IfaceRecord> {
        // SAFETY: user space replaces values whole; a copy is made at once.
        unsafe { maps::IFACES.get(ifindex) }.copied()
    }

    #[inline(always)]
    fn endpoint_by_addr(&self, addr: &A) -> Option<u16> {
        A::endpoint_by_addr(addr)
    }

    #[inline(always)]
    fn subnet(&self, addr: &A) -> Option<u16> {
        A::subnet(addr)
    }

    #[inline(always)]
    fn is_host_addr(&self, addr: &A) -> bool {
        A::is_host_addr(addr)
    }

    #[inline(always)]
    fn is_reserved(&self, proto: u8, port: u16) -> bool {
        match reserved_word(proto, port) {
            Some((word, bit)) => maps::RESERVED.get(word).is_some_and(|w| w & bit != 0),
            None => false,
        }
    }

    #[inline(always)]
    fn frag(&self, key: &FragKey<A>) -> Option<&mut FragRecord<A>> {
        let p = A::frag(key)?;
        // SAFETY: the value stays while the program runs; a race about what was seen is harmless.
        Some(unsafe { &mut *p })
    }

    #[inline(always)]
    fn frag_insert(&self, key: &FragKey<A>, record: &FragRecord<A>) {
        A::frag_insert(key, record);
    }

    #[inline(always)]
    fn held(&self, index: u32) -> Option<HeldRef<A>> {
        let p = A::held(index)?;
        // SAFETY: the kernel keeps values of a map readable and writable until the program ends.
        NonNull::new(p).map(|p| unsafe { HeldRef::new(p) })
    }

    #[inline(always)]
    fn saved(&self) -> Option<&mut [u8; HELD_BYTES]> {
        let p = maps::SAVED.get_ptr_mut(0)?;
        // SAFETY: the value belongs to this CPU, where no other program runs meanwhile.
        Some(unsafe { &mut *p })
    }

    #[inline(always)]
    fn told(&self, endpoint: u16) -> Option<&mut Bucket> {
        let p = maps::TOLD.get_ptr_mut(u32::from(endpoint))?;
        // SAFETY: the value stays while the program runs; a race about a token is harmless.
        Some(unsafe { &mut *p })
    }

    #[inline(always)]
    fn count_drop(&self, reason: DropReason) {
        counters::count_drop(reason);
    }

    #[inline(always)]
    fn reclaim_push(&self, key: &Tuple<A>, inbound: bool) {
        // With BPF_EXIST the oldest gives way; failure means contention, and one key fewer.
        A::reclaim_push(key, inbound, EXIST);
    }

    #[inline(always)]
    fn reclaim_pop(&self, inbound: bool, key: &mut Tuple<A>) -> bool {
        A::reclaim_pop(inbound, key)
    }

    #[inline(always)]
    fn live(&self, budget: Budget) -> i64 {
        let Some(p) = maps::LIVE.get_ptr(budget.index()) else {
            return 0;
        };
        // SAFETY: the value stays while the program runs, and is written whole.
        unsafe { p.read_volatile() as i64 }
    }

    #[inline(always)]
    fn add_live(&self, budget: Budget, by: i64) {
        if let Some(p) = maps::LIVE.get_ptr_mut(budget.index()) {
            // SAFETY: the value stays while the program runs, and is only added to.
            unsafe { add64(p, by as u64) };
        }
    }

    #[inline(always)]
    fn next_hop(&self, slot: u32) -> Option<&mut NextHop<A>> {
        let p = A::next_hop(slot)?;
        // SAFETY: the value belongs to this CPU, where no other program runs meanwhile.
        Some(unsafe { &mut *p })
    }

    #[inline(always)]
    fn route(&self, tuple: &Tuple<A>, ifindex: u32, hop: &mut NextHop<A>) {
        fib::route(self.ctx.as_ptr(), tuple, ifindex, false, hop);
    }

    #[inline(always)]
    fn route_out(&self, tuple: &Tuple<A>, ifindex: u32, hop: &mut NextHop<A>) {
        fib::route(self.ctx.as_ptr(), tuple, ifindex, true, hop);
    }

    #[inline(always)]
    fn is_local(&self, ip: &Ip<A>, ifindex: u32) -> bool {
        fib::is_local(self.ctx.as_ptr(), &ip.tuple, ifindex)
    }

    #[inline(always)]
    fn host_socket(&self, tuple: &Tuple<A>) -> bool {
        // SAFETY: all zero is a valid value of this C union.
        let mut key: bpf_sock_tuple = unsafe { core::mem::zeroed() };
        A::ask_socket(tuple, &mut key);
        const THIS_NETNS: u64 = u64::MAX;
        // SAFETY: the tuple is initialised; a socket that is found is released at once.
        unsafe {
            let ctx = self.ctx.as_ptr();
            if tuple.proto == tuple::TCP {
                let sk = bpf_skc_lookup_tcp(ctx, &raw mut key, A::SOCK_TUPLE, THIS_NETNS, 0);
                if !sk.is_null() {
                    bpf_sk_release(sk.cast());
                    return true;
                }
            } else {
                let sk = bpf_sk_lookup_udp(ctx, &raw mut key, A::SOCK_TUPLE, THIS_NETNS, 0);
                if !sk.is_null() {
                    bpf_sk_release(sk.cast());
                    return true;
                }
            }
        }
        false
    }

    #[inline(always)]
    fn tick(&self) -> u64 {
        // SAFETY: the helper has no preconditions. The kernel makes a single load of it.
        unsafe { bpf_jiffies64() }
    }

    #[inline(always)]
    fn port(&self, proto: u8, port: u16) -> Option<PortUse> {
        let p = maps::PORTS.get_ptr(port_index(proto, port)?)?;
        // SAFETY: the value stays while the program runs; each word is written whole.
        Some(unsafe {
            PortUse {
                nobody: (&raw const (*p).nobody).read_volatile(),
                used: (&raw const (*p).used).read_volatile(),
                translated: (&raw const (*p).translated).read_volatile(),
            }
        })
    }

    #[inline(always)]
    fn set_nobody(&self, proto: u8, port: u16, nobody: u64) {
        if let Some(p) = port_index(proto, port).and_then(|i| maps::PORTS.get_ptr_mut(i)) {
            // SAFETY: as above; whoever comes last is right.
            unsafe { (&raw mut (*p).nobody).write_volatile(nobody) };
        }
    }

    #[inline(always)]
    fn set_used(&self, proto: u8, port: u16) {
        if let Some(p) = port_index(proto, port).and_then(|i| maps::PORTS.get_ptr_mut(i)) {
            // SAFETY: as above; nobody writes another value.
            unsafe { (&raw mut (*p).used).write_volatile(1) };
        }
    }

    #[inline(always)]
    fn set_translated(&self, proto: u8, port: u16) {
        if let Some(p) = port_index(proto, port).and_then(|i| maps::PORTS.get_ptr_mut(i)) {
            // SAFETY: as above.
            unsafe { (&raw mut (*p).translated).write_volatile(1) };
        }
    }

    #[inline(always)]
    fn make(&self, _flow: &mut NewFlow<A>) -> u32 {
        A::make(self.ctx.as_ptr())
    }

    #[inline(always)]
    fn consult(&self, _ip: &Ip<A>, _now: u64) -> u32 {
        A::consult()
    }

    #[inline(always)]
    fn find(&self, _w: &mut Work<A>, how: u32) -> u32 {
        A::find(self.ctx.as_ptr(), how)
    }

    #[inline(always)]
    fn bind(&self, _flow: &mut NewFlow<A>) -> u32 {
        A::bind(self.ctx.as_ptr())
    }

    #[inline(always)]
    fn plan_bound(&self, _w: &mut Work<A>, from: u16, uplink: u16, as_bound: bool) -> u32 {
        A::bound(
            self.ctx.as_ptr(),
            u32::from(from),
            u32::from(uplink),
            u32::from(as_bound),
        )
    }

    #[inline(always)]
    fn hold_tuple(&self, _w: &mut Work<A>, ifindex: u32) -> u32 {
        A::hold(self.ctx.as_ptr(), ifindex)
    }

    #[inline(always)]
    fn note(&self, _w: &mut Work<A>) -> u32 {
        A::note(self.ctx.as_ptr())
    }

    #[inline(always)]
    fn count(&self, counter: Counter) {
        counters::count(counter);
    }

    #[inline(always)]
    fn count_tx(&self, endpoint: u16, rule: u16, bytes: u64) {
        stats(endpoint, |s| add(&mut s.tx, place(A::IS_V6, rule), bytes));
    }

    #[inline(always)]
    fn count_rx(&self, endpoint: u16, rule: u16, bytes: u64) {
        stats(endpoint, |s| add(&mut s.rx, place(A::IS_V6, rule), bytes));
    }

    #[inline(always)]
    fn count_rule(&self, rule: u16, bytes: u64) {
        // SAFETY: the helper has no preconditions.
        let cpu = unsafe { bpf_get_smp_processor_id() };
        if let Some(s) = maps::RULE_STATS.get_ptr_mut(rule_stats_index(cpu, rule)) {
            // SAFETY: the place is this processor's, and programs are not preempted by themselves.
            unsafe {
                (*s).packets += 1;
                (*s).bytes += bytes;
            }
        }
    }

    #[inline(always)]
    fn count_flow(&self, endpoint: u16) {
        stats(endpoint, |s| s.flows += 1);
    }
}

/// `bpf_loop`: the callback gets a pointer into the caller's stack.
#[inline(always)]
pub(crate) fn repeat<S>(n: u32, state: &mut S, body: extern "C" fn(u32, *mut S) -> i64) {
    // SAFETY: the callback has the signature that the kernel expects, and the state outlives it.
    unsafe {
        bpf_loop(
            n,
            body as *mut core::ffi::c_void,
            core::ptr::from_mut(state).cast(),
            0,
        );
    }
}

#[inline(always)]
fn add(counts: &mut [Traffic], place: usize, bytes: u64) {
    if let Some(count) = counts.get_mut(place) {
        count.packets += 1;
        count.bytes += bytes;
    }
}

#[inline(always)]
fn stats(endpoint: u16, f: impl FnOnce(&mut EndpointStats)) {
    if let Some(s) = maps::ENDPOINT_STATS.get_ptr_mut(u32::from(endpoint)) {
        // SAFETY: the value belongs to this CPU, and programs are not preempted by themselves.
        f(unsafe { &mut *s });
    }
}
