//! The maps that exist once for each family, and what the kernel's structures hold of it.
//!
//! Owns which map is whose. Decides nothing.

use core::ffi::c_void;

use aya_ebpf::{
    bindings::{bpf_fib_lookup, bpf_sock_tuple},
    btf_maps::lpm_trie::Key,
};
use netpath_common::{
    Tuple, V4,
    conntrack::CtEntry,
    datapath::{Held, NextHop, Work},
    event::DropEvent,
    packet::Family,
    records::{ALLOWED_RULE_BITS, AllowedKey, FragKey, FragRecord, Published, PublishedKey},
};

use crate::{global, maps};

/// A family with maps of its own.
pub(crate) trait Maps: Family {
    /// The kernel's number of the family (`AF_*`).
    const AF: u8;
    /// Bytes of [`bpf_sock_tuple`] that the family uses.
    const SOCK_TUPLE: u32;

    fn ct(key: &Tuple<Self>) -> Option<*mut CtEntry<Self>>;
    fn ct_insert(key: &Tuple<Self>, entry: &CtEntry<Self>, flags: u64) -> Result<(), i32>;
    fn ct_delete(key: &Tuple<Self>);
    fn endpoint_by_addr(addr: &Self) -> Option<u16>;
    fn subnet(addr: &Self) -> Option<u16>;
    fn is_host_addr(addr: &Self) -> bool;
    fn published(key: &PublishedKey<Self>) -> Option<Published<Self>>;
    fn is_listed(rule: u16, source: &Self) -> bool;
    fn frag(key: &FragKey<Self>) -> Option<*mut FragRecord<Self>>;
    fn frag_insert(key: &FragKey<Self>, record: &FragRecord<Self>);
    fn held(index: u32) -> Option<*mut Held<Self>>;
    fn reclaim_push(key: &Tuple<Self>, inbound: bool, flags: u64);
    fn reclaim_pop(inbound: bool) -> Option<Tuple<Self>>;
    fn next_hop(slot: u32) -> Option<*mut NextHop<Self>>;
    fn work() -> Option<*mut Work<Self>>;
    /// [`netpath_common::nat::reserve_and_index`] as a global function.
    fn make(ctx: *mut c_void) -> u32;
    /// [`netpath_common::datapath::find_port`] as a global function.
    fn find(ctx: *mut c_void, exact: u32) -> u32;
    /// [`netpath_common::datapath::note_part`] as a global function.
    fn note(ctx: *mut c_void) -> u32;
    /// [`netpath_common::datapath::refuse`] as a global function.
    fn refuse(ctx: *mut c_void, reason: u32) -> u32;
    /// Writes what is known of a packet to the event about it.
    fn show(tuple: &Tuple<Self>, event: &mut DropEvent);
    /// Writes addresses to the kernel's question about routes.
    fn ask_route(tuple: &Tuple<Self>, p: &mut bpf_fib_lookup);
    /// Reads the source address of its answer.
    fn route_source(p: &bpf_fib_lookup) -> Self;
    /// Writes addresses and ports to the kernel's question about sockets.
    fn ask_socket(tuple: &Tuple<Self>, p: &mut bpf_sock_tuple);
}

macro_rules! maps_of {
    ($ct:ident, $by_addr:ident, $subnets:ident, $host_addrs:ident, $published:ident,
     $allowed:ident, $frags:ident,
     $held:ident, $reclaim:ident, $reclaim_in:ident, $next_hops:ident, $scratch:ident,
     $make:ident, $find:ident, $note:ident, $refuse:ident) => {
        #[inline(always)]
        fn ct(key: &Tuple<Self>) -> Option<*mut CtEntry<Self>> {
            maps::$ct.get_ptr_mut(key)
        }

        #[inline(always)]
        fn ct_insert(key: &Tuple<Self>, entry: &CtEntry<Self>, flags: u64) -> Result<(), i32> {
            maps::$ct.insert(key, entry, flags)
        }

        #[inline(always)]
        fn ct_delete(key: &Tuple<Self>) {
            // Absent is as good as deleted.
            let _ = maps::$ct.remove(key);
        }

        #[inline(always)]
        fn endpoint_by_addr(addr: &Self) -> Option<u16> {
            // SAFETY: user space replaces values whole; a copy is made at once.
            unsafe { maps::$by_addr.get(addr) }.map(|slot| *slot as u16)
        }

        #[inline(always)]
        fn subnet(addr: &Self) -> Option<u16> {
            let key = Key::new(size_of::<Self>() as u32 * 8, *addr);
            maps::$subnets.get(&key).map(|slot| *slot as u16)
        }

        #[inline(always)]
        fn is_host_addr(addr: &Self) -> bool {
            maps::$host_addrs.get_ptr(addr).is_some()
        }

        #[inline(always)]
        fn published(key: &PublishedKey<Self>) -> Option<Published<Self>> {
            // SAFETY: user space replaces values whole; a copy is made at once.
            unsafe { maps::$published.get(key) }.copied()
        }

        #[inline(always)]
        fn is_listed(rule: u16, source: &Self) -> bool {
            let data = AllowedKey {
                rule: u32::from(rule),
                addr: *source,
            };
            let bits = ALLOWED_RULE_BITS + 8 * size_of::<Self>() as u32;
            maps::$allowed.get(&Key::new(bits, data)).is_some()
        }

        #[inline(always)]
        fn frag(key: &FragKey<Self>) -> Option<*mut FragRecord<Self>> {
            maps::$frags.get_ptr_mut(key)
        }

        #[inline(always)]
        fn frag_insert(key: &FragKey<Self>, record: &FragRecord<Self>) {
            // A full table evicts its oldest entry; a failure costs the datagram, which is counted
            // when its next fragment finds no record.
            let _ = maps::$frags.insert(key, record, 0);
        }

        #[inline(always)]
        fn held(index: u32) -> Option<*mut Held<Self>> {
            maps::$held.get_ptr_mut(index)
        }

        #[inline(always)]
        fn reclaim_push(key: &Tuple<Self>, inbound: bool, flags: u64) {
            let _ = if inbound {
                maps::$reclaim_in.push(key, flags)
            } else {
                maps::$reclaim.push(key, flags)
            };
        }

        #[inline(always)]
        fn reclaim_pop(inbound: bool) -> Option<Tuple<Self>> {
            let popped = if inbound {
                maps::$reclaim_in.pop()
            } else {
                maps::$reclaim.pop()
            };
            popped.ok().flatten()
        }

        #[inline(always)]
        fn next_hop(slot: u32) -> Option<*mut NextHop<Self>> {
            maps::$next_hops.get_ptr_mut(slot)
        }

        #[inline(always)]
        fn work() -> Option<*mut Work<Self>> {
            maps::$scratch.get_ptr_mut(0)
        }

        #[inline(always)]
        fn make(ctx: *mut c_void) -> u32 {
            global::$make(ctx.cast())
        }

        #[inline(always)]
        fn find(ctx: *mut c_void, exact: u32) -> u32 {
            global::$find(ctx.cast(), exact)
        }

        #[inline(always)]
        fn note(ctx: *mut c_void) -> u32 {
            global::$note(ctx.cast())
        }

        #[inline(always)]
        fn refuse(ctx: *mut c_void, reason: u32) -> u32 {
            global::$refuse(ctx.cast(), reason)
        }
    };
}

impl Maps for V4 {
    const AF: u8 = 2;
    const SOCK_TUPLE: u32 = 12;

    maps_of!(
        CT4,
        ENDPOINT_BY_ADDR4,
        SUBNETS4,
        HOST_ADDRS4,
        PUBLISHED4,
        ALLOWED4,
        FRAGS4,
        HELD,
        RECLAIM,
        RECLAIM_IN,
        NEXT_HOPS,
        SCRATCH,
        np_make,
        np_find,
        np_note,
        np_refuse
    );

    #[inline(always)]
    fn show(tuple: &Tuple, event: &mut DropEvent) {
        event.tuple = *tuple;
    }

    #[inline(always)]
    fn ask_route(tuple: &Tuple, p: &mut bpf_fib_lookup) {
        p.__bindgen_anon_3.ipv4_src = u32::from_ne_bytes(tuple.src);
        p.__bindgen_anon_4.ipv4_dst = u32::from_ne_bytes(tuple.dst);
    }

    #[inline(always)]
    fn route_source(p: &bpf_fib_lookup) -> Self {
        // SAFETY: the kernel has written an IPv4 address for this family.
        unsafe { p.__bindgen_anon_3.ipv4_src }.to_ne_bytes()
    }

    #[inline(always)]
    fn ask_socket(tuple: &Tuple, p: &mut bpf_sock_tuple) {
        p.__bindgen_anon_1.ipv4.saddr = u32::from_ne_bytes(tuple.src);
        p.__bindgen_anon_1.ipv4.daddr = u32::from_ne_bytes(tuple.dst);
        p.__bindgen_anon_1.ipv4.sport = tuple.sport.to_be();
        p.__bindgen_anon_1.ipv4.dport = tuple.dport.to_be();
    }
}
