//! Global functions: what the verifier looks at once a program, whatever the caller knows.
//!
//! They may take the context and numbers only, so each finds the working memory itself.

use core::ffi::c_void;

use aya_ebpf::{
    EbpfContext,
    bindings::{__sk_buff, TC_ACT_SHOT},
    helpers::generated::{bpf_redirect, bpf_redirect_peer},
    programs::TcContext,
};
use netpath_common::{
    V4, V6, conntrack,
    datapath::{self, find_port, note_part},
    nat::{self, reserve_and_index},
};

use crate::{ctx::TcPacket, family::Maps, hooks, memory::work, tables::KernelTables};

/// No context: for functions that programs of every type call.
struct Anywhere;

impl EbpfContext for Anywhere {
    fn as_ptr(&self) -> *mut c_void {
        core::ptr::null_mut()
    }
}

/// Judges the packet in the working memory by its flow. `_any` is of no meaning: a function without
/// arguments has no type that the kernel could check.
#[unsafe(no_mangle)]
pub(crate) extern "C" fn np_consult(_any: u32) -> u32 {
    consult::<V4>()
}

/// As [`np_consult`].
#[unsafe(no_mangle)]
pub(crate) extern "C" fn np_consult6(_any: u32) -> u32 {
    consult::<V6>()
}

#[inline(always)]
fn consult<A: Maps>() -> u32 {
    let Some(work) = work::<A>() else {
        return u32::MAX;
    };
    conntrack::consult(&KernelTables::<_, A>::new(&Anywhere), &work.ip, work.now)
}

/// Makes the flow in the working memory.
#[unsafe(no_mangle)]
pub(crate) extern "C" fn np_make(ctx: *mut __sk_buff) -> u32 {
    make::<V4>(ctx)
}

/// As [`np_make`].
#[unsafe(no_mangle)]
pub(crate) extern "C" fn np_make6(ctx: *mut __sk_buff) -> u32 {
    make::<V6>(ctx)
}

#[inline(always)]
fn make<A: Maps>(ctx: *mut __sk_buff) -> u32 {
    let Some(work) = work::<A>() else {
        return u32::MAX;
    };
    let ctx = TcContext::new(ctx);
    reserve_and_index(&KernelTables::<_, A>::new(&ctx), &mut work.flow)
}

/// Finds the binding of the flow in the working memory.
#[unsafe(no_mangle)]
pub(crate) extern "C" fn np_binding(ctx: *mut __sk_buff) -> u32 {
    bind::<V4>(ctx)
}

/// As [`np_binding`].
#[unsafe(no_mangle)]
pub(crate) extern "C" fn np_binding6(ctx: *mut __sk_buff) -> u32 {
    bind::<V6>(ctx)
}

#[inline(always)]
fn bind<A: Maps>(ctx: *mut __sk_buff) -> u32 {
    let Some(work) = work::<A>() else {
        return u32::MAX;
    };
    let ctx = TcContext::new(core::hint::black_box(ctx));
    nat::bind(&KernelTables::<_, A>::new(&ctx), &mut work.flow)
}

/// Plans the flow of the packet in the working memory to a binding.
#[unsafe(no_mangle)]
pub(crate) extern "C" fn np_bound(
    ctx: *mut __sk_buff,
    from: u32,
    uplink: u32,
    as_bound: u32,
) -> u32 {
    bound::<V4>(ctx, from, uplink, as_bound)
}

/// As [`np_bound`].
#[unsafe(no_mangle)]
pub(crate) extern "C" fn np_bound6(
    ctx: *mut __sk_buff,
    from: u32,
    uplink: u32,
    as_bound: u32,
) -> u32 {
    bound::<V6>(ctx, from, uplink, as_bound)
}

#[inline(always)]
fn bound<A: Maps>(ctx: *mut __sk_buff, from: u32, uplink: u32, as_bound: u32) -> u32 {
    let Some(work) = work::<A>() else { return 0 };
    let ctx = TcContext::new(core::hint::black_box(ctx));
    let tables = KernelTables::<_, A>::new(&ctx);
    datapath::plan_bound(&tables, work, from as u16, uplink as u16, as_bound != 0)
}

/// Holds the tuple of the host's packet in the working memory.
#[unsafe(no_mangle)]
pub(crate) extern "C" fn np_hold(ctx: *mut __sk_buff, ifindex: u32) -> u32 {
    hold::<V4>(ctx, ifindex)
}

/// As [`np_hold`].
#[unsafe(no_mangle)]
pub(crate) extern "C" fn np_hold6(ctx: *mut __sk_buff, ifindex: u32) -> u32 {
    hold::<V6>(ctx, ifindex)
}

#[inline(always)]
fn hold<A: Maps>(ctx: *mut __sk_buff, ifindex: u32) -> u32 {
    let Some(work) = work::<A>() else { return 0 };
    let ctx = TcContext::new(core::hint::black_box(ctx));
    datapath::hold_tuple(&KernelTables::<_, A>::new(&ctx), work, ifindex)
}

/// Looks for the published port that the packet in the working memory asks for, `how` as
/// [`find_port`] is told: an `Answer`.
#[unsafe(no_mangle)]
pub(crate) extern "C" fn np_find(ctx: *mut __sk_buff, how: u32) -> u32 {
    find::<V4>(ctx, how)
}

/// As [`np_find`].
#[unsafe(no_mangle)]
pub(crate) extern "C" fn np_find6(ctx: *mut __sk_buff, how: u32) -> u32 {
    find::<V6>(ctx, how)
}

#[inline(always)]
fn find<A: Maps>(ctx: *mut __sk_buff, how: u32) -> u32 {
    let Some(work) = work::<A>() else { return 0 };
    let ctx = TcContext::new(ctx);
    find_port(&KernelTables::<_, A>::new(&ctx), work, how)
}

/// What the host has sent to itself, of IPv4: by itself, since the other half of `np_lo_in` needs much of
/// the stack.
#[unsafe(no_mangle)]
pub(crate) extern "C" fn np_loopback(ctx: *mut __sk_buff) -> i32 {
    hooks::loopback::<V4>(&TcContext::new(ctx))
}

/// Notes which part of its datagram the packet in the working memory is.
#[unsafe(no_mangle)]
pub(crate) extern "C" fn np_note(ctx: *mut __sk_buff) -> u32 {
    note::<V4>(ctx)
}

/// As [`np_note`].
#[unsafe(no_mangle)]
pub(crate) extern "C" fn np_note6(ctx: *mut __sk_buff) -> u32 {
    note::<V6>(ctx)
}

#[inline(always)]
fn note<A: Maps>(ctx: *mut __sk_buff) -> u32 {
    let Some(work) = work::<A>() else { return 0 };
    // Callers leave out what a function does not use, and the verifier misses it.
    let ctx = TcContext::new(core::hint::black_box(ctx));
    note_part(&KernelTables::<_, A>::new(&ctx), work)
}

/// Sends the answer to a container, by its veth: on the way out of the host there is no peer to be asked
/// for.
#[inline(always)]
fn tell(ctx: &TcContext, ifindex: u32) -> u32 {
    // SAFETY: the context is valid for the whole program, and the helpers have no preconditions.
    unsafe {
        if (*ctx.skb.skb).ifindex == ifindex {
            bpf_redirect_peer(ifindex, 0) as u32
        } else {
            bpf_redirect(ifindex, 0) as u32
        }
    }
}

/// Tells a container that its flow was refused, if it is to be told for this reason: the action.
#[unsafe(no_mangle)]
pub(crate) extern "C" fn np_refuse(ctx: *mut __sk_buff, reason: u32) -> u32 {
    const DROPPED: u32 = TC_ACT_SHOT as u32;
    let Some(work) = work::<V4>() else {
        return DROPPED;
    };
    if !datapath::is_told(reason) {
        return DROPPED;
    }
    let ctx = TcContext::new(ctx);
    match datapath::refuse(&mut TcPacket::new(&ctx), &KernelTables::new(&ctx), work) {
        0 => DROPPED,
        ifindex => tell(&ctx, ifindex),
    }
}

/// As [`np_refuse`].
#[unsafe(no_mangle)]
pub(crate) extern "C" fn np_refuse6(ctx: *mut __sk_buff, reason: u32) -> u32 {
    const DROPPED: u32 = TC_ACT_SHOT as u32;
    let Some(work) = work::<V6>() else {
        return DROPPED;
    };
    if !datapath::is_told(reason) {
        return DROPPED;
    }
    let ctx = TcContext::new(ctx);
    match datapath::refuse6(&mut TcPacket::new(&ctx), &KernelTables::new(&ctx), work) {
        0 => DROPPED,
        ifindex => tell(&ctx, ifindex),
    }
}
