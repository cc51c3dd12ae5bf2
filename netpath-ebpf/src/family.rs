//! The maps that exist once for each family, and what the kernel's structures hold of it.
//!
//! Owns which map is whose. Decides nothing.

use core::ffi::c_void;

use aya_ebpf::{
    bindings::{bpf_fib_lookup, bpf_redir_neigh, bpf_sock_tuple},
    btf_maps::lpm_trie::Key,
    helpers::generated::bpf_map_pop_elem,
};
use netpath_common::{
    Tuple, V4, V6,
    conntrack::CtEntry,
    datapath::{Held, NextHop, Work},
    event::DropEvent,
    packet::Family,
    records::{AllowedKey, FragKey, FragRecord, Published, PublishedKey, SourceKey},
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
    fn published<'a>(key: &PublishedKey<Self>) -> Option<&'a Published<Self>>;
    fn is_listed(source: &SourceKey<Self>) -> bool;
    fn frag(key: &FragKey<Self>) -> Option<*mut FragRecord<Self>>;
    fn frag_insert(key: &FragKey<Self>, record: &FragRecord<Self>);
    fn held(index: u32) -> Option<*mut Held<Self>>;
    fn reclaim_push(key: &Tuple<Self>, inbound: bool, flags: u64);
    fn reclaim_pop(inbound: bool, key: &mut Tuple<Self>) -> bool;
    fn next_hop(slot: u32) -> Option<*mut NextHop<Self>>;
    fn work() -> Option<*mut Work<Self>>;
    /// [`netpath_common::nat::reserve_and_index`] as a global function.
    fn make(ctx: *mut c_void) -> u32;
    /// [`netpath_common::conntrack::consult`] as a global function.
    fn consult() -> u32;
    /// [`netpath_common::nat::bind`] as a global function.
    fn bind(ctx: *mut c_void) -> u32;
    /// [`netpath_common::datapath::plan_bound`] as a global function.
    fn bound(ctx: *mut c_void, from: u32, uplink: u32, as_bound: u32) -> u32;
    /// [`netpath_common::datapath::hold_tuple`] as a global function.
    fn hold(ctx: *mut c_void, ifindex: u32) -> u32;
    /// [`netpath_common::datapath::find_port`] as a global function.
    fn find(ctx: *mut c_void, how: u32) -> u32;
    /// [`netpath_common::datapath::note_part`] as a global function.
    fn note(ctx: *mut c_void) -> u32;
    /// [`netpath_common::datapath::refuse`] as a global function.
    fn refuse(ctx: *mut c_void, reason: u32) -> u32;
    /// Writes what is known of a packet to the event about it.
    fn show(tuple: &Tuple<Self>, event: &mut DropEvent);
    /// Writes addresses to the kernel's question about routes.
    fn ask_route(tuple: &Tuple<Self>, p: &mut bpf_fib_lookup);
    /// Reads the next hop's address of its answer.
    fn next_hop_of(p: &bpf_fib_lookup) -> Self;
    /// Writes the next hop to the kernel's order to send a packet there.
    fn set_next_hop(gateway: &Self, p: &mut bpf_redir_neigh);
    /// Reads the source address of its answer.
    fn route_source(p: &bpf_fib_lookup) -> Self;
    /// Writes addresses and ports to the kernel's question about sockets.
    fn ask_socket(tuple: &Tuple<Self>, p: &mut bpf_sock_tuple);
}

macro_rules! maps_of {
    ($ct:ident, $by_addr:ident, $subnets:ident, $host_addrs:ident, $published:ident,
     $allowed:ident, $frags:ident,
     $held:ident, $reclaim:ident, $reclaim_in:ident, $next_hops:ident, $scratch:ident,
     $consult:ident, $make:ident, $find:ident, $bind:ident, $bound:ident, $hold:ident, $note:ident, $refuse:ident) => {
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
        fn published<'a>(key: &PublishedKey<Self>) -> Option<&'a Published<Self>> {
            // SAFETY: user space replaces entries whole, and the old one stays until the program ends.
            unsafe { maps::$published.get(key) }
        }

        #[inline(always)]
        fn is_listed(source: &SourceKey<Self>) -> bool {
            // SAFETY: both begin with the number of bits, and the key follows without a gap.
            let key = unsafe { &*core::ptr::from_ref(source).cast::<Key<AllowedKey<Self>>>() };
            maps::$allowed.get(key).is_some()
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
        fn reclaim_pop(inbound: bool, key: &mut Tuple<Self>) -> bool {
            let queue: *const c_void = if inbound {
                (&raw const maps::$reclaim_in).cast()
            } else {
                (&raw const maps::$reclaim).cast()
            };
            let to = core::ptr::from_mut(key).cast();
            // SAFETY: the address is that of a queue map, whose values are keys.
            unsafe { bpf_map_pop_elem(queue.cast_mut(), to) == 0 }
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
        fn consult() -> u32 {
            global::$consult(0)
        }

        #[inline(always)]
        fn bind(ctx: *mut c_void) -> u32 {
            global::$bind(ctx.cast())
        }

        #[inline(always)]
        fn bound(ctx: *mut c_void, from: u32, uplink: u32, as_bound: u32) -> u32 {
            global::$bound(ctx.cast(), from, uplink, as_bound)
        }

        #[inline(always)]
        fn hold(ctx: *mut c_void, ifindex: u32) -> u32 {
            global::$hold(ctx.cast(), ifindex)
        }

        #[inline(always)]
        fn find(ctx: *mut c_void, how: u32) -> u32 {
            global::$find(ctx.cast(), how)
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
        np_consult,
        np_make,
        np_find,
        np_binding,
        np_bound,
        np_hold,
        np_note,
        np_refuse
    );

    #[inline(always)]
    fn show(tuple: &Tuple, event: &mut DropEvent) {
        event.tuple = *tuple;
    }

    #[inline(always)]
    fn ask_route(tuple: &Tuple, p: &mut bpf_fib_lookup) {
        p.__bindgen_anon_2.tos = 0;
        p.__bindgen_anon_3.ipv4_src = u32::from_ne_bytes(tuple.src);
        p.__bindgen_anon_4.ipv4_dst = u32::from_ne_bytes(tuple.dst);
    }

    #[inline(always)]
    fn next_hop_of(p: &bpf_fib_lookup) -> Self {
        // SAFETY: the kernel has left or written an IPv4 address for this family.
        unsafe { p.__bindgen_anon_4.ipv4_dst }.to_ne_bytes()
    }

    #[inline(always)]
    fn set_next_hop(gateway: &Self, p: &mut bpf_redir_neigh) {
        p.__bindgen_anon_1.ipv4_nh = u32::from_ne_bytes(*gateway);
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

/// An IPv6 address that the kernel's structures hold.
#[inline(always)]
fn address([a, b, c, d]: [u32; 4]) -> V6 {
    let word = |hi: u32, lo: u32| u64::from(hi) | u64::from(lo) << 32;
    let both = u128::from(word(a, b)) | u128::from(word(c, d)) << 64;
    both.to_ne_bytes()
}

/// An IPv6 address of a tuple as the kernel's structures hold it.
///
/// # Safety
/// `addr` must be readable, and aligned as `u64` is.
#[inline(always)]
unsafe fn words(addr: *const V6) -> [u32; 4] {
    let p = addr.cast::<u64>();
    // SAFETY: the caller's.
    let (a, b) = unsafe { (p.read(), p.add(1).read()) };
    [a as u32, (a >> 32) as u32, b as u32, (b >> 32) as u32]
}

impl Maps for V6 {
    const AF: u8 = 10;
    const SOCK_TUPLE: u32 = 36;

    maps_of!(
        CT6,
        ENDPOINT_BY_ADDR6,
        SUBNETS6,
        HOST_ADDRS6,
        PUBLISHED6,
        ALLOWED6,
        FRAGS6,
        HELD6,
        RECLAIM6,
        RECLAIM_IN6,
        NEXT_HOPS6,
        SCRATCH6,
        np_consult6,
        np_make6,
        np_find6,
        np_binding6,
        np_bound6,
        np_hold6,
        np_note6,
        np_refuse6
    );

    #[inline(always)]
    fn show(tuple: &Tuple<V6>, event: &mut DropEvent) {
        event.src6 = tuple.src;
        event.dst6 = tuple.dst;
        event.tuple = Tuple {
            sport: tuple.sport,
            dport: tuple.dport,
            proto: tuple.proto,
            icmp_type: tuple.icmp_type,
            ..Tuple::default()
        };
    }

    #[inline(always)]
    fn ask_route(tuple: &Tuple<V6>, p: &mut bpf_fib_lookup) {
        p.__bindgen_anon_2.flowinfo = 0;
        // SAFETY: tuples are aligned as `u64` is, and their addresses are the first fields.
        p.__bindgen_anon_3.ipv6_src = unsafe { words(&raw const tuple.src) };
        // SAFETY: as above.
        p.__bindgen_anon_4.ipv6_dst = unsafe { words(&raw const tuple.dst) };
    }

    #[inline(always)]
    fn next_hop_of(p: &bpf_fib_lookup) -> Self {
        // SAFETY: the kernel has left or written an IPv6 address for this family.
        address(unsafe { p.__bindgen_anon_4.ipv6_dst })
    }

    #[inline(always)]
    fn set_next_hop(gateway: &Self, p: &mut bpf_redir_neigh) {
        // SAFETY: the working memory is aligned as `u64` is, and so is the address in it.
        p.__bindgen_anon_1.ipv6_nh = unsafe { words(core::ptr::from_ref(gateway)) };
    }

    #[inline(always)]
    fn route_source(p: &bpf_fib_lookup) -> Self {
        // SAFETY: the kernel has written an IPv6 address for this family.
        address(unsafe { p.__bindgen_anon_3.ipv6_src })
    }

    #[inline(always)]
    fn ask_socket(tuple: &Tuple<V6>, p: &mut bpf_sock_tuple) {
        // SAFETY: tuples are aligned as `u64` is, and their addresses are the first fields.
        p.__bindgen_anon_1.ipv6.saddr = unsafe { words(&raw const tuple.src) };
        // SAFETY: as above.
        p.__bindgen_anon_1.ipv6.daddr = unsafe { words(&raw const tuple.dst) };
        p.__bindgen_anon_1.ipv6.sport = tuple.sport.to_be();
        p.__bindgen_anon_1.ipv6.dport = tuple.dport.to_be();
    }
}
