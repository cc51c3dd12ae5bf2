//! The kernel's routes and neighbours (`bpf_fib_lookup`).
//!
//! Owns the questions and what their answers mean. Keeps no answer.

use core::ffi::c_void;

use aya_ebpf::{bindings::bpf_fib_lookup, helpers::generated::bpf_fib_lookup as fib_lookup};
use netpath_common::{Tuple, datapath::NextHop};

use crate::{family::Maps, maps};

const SUCCESS: i64 = 0;
/// A route that says no: blackhole, unreachable or prohibit.
const BLACKHOLE: i64 = 1;
/// No route at all, or none of a neighbour: a local address, or a broadcast one.
const NOT_FWDED: i64 = 4;
/// The route is known, the next hop's MAC address is not yet: `bpf_redirect_neigh` asks for it.
const NO_NEIGH: i64 = 7;
/// Take the interface for that of the way out (`flowi4_oif`).
const OUTPUT: u32 = 1 << 1;
/// Answer with the source address too (Linux 6.7; before, the flag is refused).
const SRC: u32 = 1 << 4;
const EINVAL: i64 = -22;

/// Asks the kernel for the way of a packet that came in by `ifindex`, or with `out` is to go out of
/// it. A subprogram, so that its parameters do not lie on the stack while a flow is made.
#[inline(never)]
pub(crate) fn route<A: Maps>(
    ctx: *mut c_void,
    tuple: &Tuple<A>,
    ifindex: u32,
    out: bool,
    hop: &mut NextHop<A>,
) {
    hop.ifindex = 0;
    hop.source = A::NONE;
    hop.gateway = A::NONE;
    hop.mtu = 0;
    hop.dst_mac = [0; 6];
    let output = if out { OUTPUT } else { 0 };
    let Some(p) = question() else { return };
    ask(p, tuple, ifindex);
    let mut source = SRC;
    let mut code = lookup(ctx, p, output | source);
    if code == EINVAL {
        source = 0;
        ask(p, tuple, ifindex);
        code = lookup(ctx, p, output);
    }
    hop.no_route = u32::from((BLACKHOLE..=NOT_FWDED).contains(&code));
    if code != SUCCESS && code != NO_NEIGH {
        return;
    }
    hop.ifindex = p.ifindex;
    if p.family == A::AF {
        // Of a route by a gateway of the other family the kernel is asked again.
        hop.gateway = A::next_hop_of(p);
    }
    if source != 0 {
        hop.source = A::route_source(p);
    }
    if code == SUCCESS {
        // SAFETY: the kernel has written the MTU over the length.
        hop.mtu = u32::from(unsafe { p.__bindgen_anon_1.mtu_result });
        hop.src_mac = p.smac;
        hop.dst_mac = p.dmac;
    }
}

/// Whether the kernel's routes say that a packet is for the host itself.
#[inline(never)]
pub(crate) fn is_local<A: Maps>(ctx: *mut c_void, tuple: &Tuple<A>, ifindex: u32) -> bool {
    let Some(p) = question() else { return false };
    ask(p, tuple, ifindex);
    // Also broadcast, which matches no flow and no published address.
    lookup(ctx, p, 0) == NOT_FWDED
}

/// This CPU's memory for a question, all zero.
#[inline(always)]
fn question<'a>() -> Option<&'a mut bpf_fib_lookup> {
    const { assert!(size_of::<bpf_fib_lookup>() == 64 && align_of::<bpf_fib_lookup>() <= 8) };
    let p = maps::FIB.get_ptr_mut(0)?;
    // SAFETY: the value belongs to this CPU, where no other program runs meanwhile; all zero is a
    // valid value of this C struct, which has the size and alignment asserted above.
    unsafe {
        *p = [0; 8];
        Some(&mut *p.cast())
    }
}

/// Fills in what an earlier question may have overwritten.
#[inline(always)]
fn ask<A: Maps>(p: &mut bpf_fib_lookup, tuple: &Tuple<A>, ifindex: u32) {
    p.family = A::AF;
    p.l4_protocol = tuple.proto;
    p.sport = tuple.sport.to_be();
    p.dport = tuple.dport.to_be();
    p.ifindex = ifindex;
    // The kernel answers with the MTU of the way only where it is given a length, and refuses a
    // packet that is longer: the shortest one asks without being refused.
    p.__bindgen_anon_1.tot_len = 1;
    A::ask_route(tuple, p);
}

#[inline(always)]
fn lookup(ctx: *mut c_void, p: &mut bpf_fib_lookup, flags: u32) -> i64 {
    // SAFETY: the struct is initialised and of the size given.
    unsafe {
        fib_lookup(
            ctx,
            core::ptr::from_mut(p),
            size_of::<bpf_fib_lookup>() as i32,
            flags,
        )
    }
}
