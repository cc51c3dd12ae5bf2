//! From a decision to the kernel's action code.
//!
//! Owns everything that only the kernel side knows: action codes, redirects, the marks that tell
//! one hook of another.

use aya_ebpf::{
    bindings::{TC_ACT_SHOT, bpf_redir_neigh},
    helpers::generated::{bpf_redirect, bpf_redirect_neigh, bpf_redirect_peer},
    programs::TcContext,
};
use netpath_common::{
    Action, DropReason, V4,
    counters::Counter,
    datapath::{Origin, Vetted},
    event::Hook,
    maps::{NEXT6_BRIDGE_OUT, NEXT6_LOOPBACK, NEXT6_UPLINK_IN, NEXT6_UPLINK_OUT, NEXT6_VETH},
};

use crate::{counters, family::Maps, maps, memory};

/// Go on with the next program or the stack (`TCX_NEXT`, `TC_ACT_UNSPEC`).
pub(crate) const NEXT: i32 = -1;

/// `skb->priority` from an endpoint's hook to the bridge's, where it is cleared. A veth clears it
/// (`____dev_forward_skb`), so no container can set it. Not the mark: the host's firewall may give
/// one in between, where bridges call it (br_netfilter).
const VETTED: u32 = 0x6e70_7674;

/// The same where the host may not have the frame.
const WITHIN: u32 = 0x6e70_7769;

/// `skb->tc_index` of what was translated and redirected, so that the uplink's egress hook lets it
/// pass. The endpoint hook overwrites whatever a container put there.
const TRANSLATED: u32 = 0x6e70;

/// `skb->tc_index` of what the endpoint hook has let up the stack to be translated at the uplink. Only a
/// hint there: whoever forges it gains nothing.
const OF_CONTAINER: u32 = 0x6e63;

/// The same of what an uplink's hook has let up the stack and nobody beyond the host may have. Whoever
/// forges it loses a packet.
const FOREIGN: u32 = 0x6e66;

#[inline(always)]
fn set_priority(ctx: &TcContext, priority: u32) {
    // SAFETY: the context is valid for the whole program.
    unsafe { (*ctx.skb.skb).priority = priority };
}

/// What the endpoint hook has said about this frame; forgets it.
#[inline(always)]
pub(crate) fn take_vetted(ctx: &TcContext) -> Vetted {
    // SAFETY: the context is valid for the whole program.
    let vetted = match unsafe { (*ctx.skb.skb).priority } {
        VETTED => Vetted::Yes,
        WITHIN => Vetted::Within,
        _ => return Vetted::No,
    };
    set_priority(ctx, 0);
    vetted
}

/// Whether the fast path has translated this packet; forgets it.
#[inline(always)]
pub(crate) fn take_translated(ctx: &TcContext) -> bool {
    // SAFETY: the context is valid for the whole program.
    unsafe {
        let translated = (*ctx.skb.skb).tc_index == TRANSLATED;
        if translated {
            (*ctx.skb.skb).tc_index = 0;
        }
        translated
    }
}

/// What a hook on the way in has said about a packet that it left to the stack. The mark stays, for the
/// program of the other family that the packet may be handed to; the endpoint hook overwrites it in what
/// comes back.
#[inline(always)]
pub(crate) fn origin(ctx: &TcContext) -> Origin {
    // SAFETY: the context is valid for the whole program.
    match unsafe { (*ctx.skb.skb).tc_index } {
        OF_CONTAINER => Origin::Container,
        FOREIGN => Origin::Foreign,
        _ => Origin::Unknown,
    }
}

/// Lets up the stack what was redirected to the loopback device. On its way in by a veth it was another
/// host's, by its MAC address, and `loopback_xmit` leaves it at that.
#[inline(always)]
pub(crate) fn to_itself(ctx: &TcContext) -> i32 {
    const PACKET_HOST: u32 = 0;
    // A packet whose type stays is dropped by the stack, and its sender sends it again.
    let _ = ctx.change_type(PACKET_HOST);
    NEXT
}

/// Carries out a decision. `to`: the interface that it names, if it does.
#[inline(always)]
pub(crate) fn finish<A: Maps>(
    ctx: &TcContext,
    hook: Hook,
    to: u32,
    result: Result<Action, DropReason>,
) -> i32 {
    match result {
        Ok(Action::Pass) => {
            counters::count(Counter::Passed);
            to_stack(ctx, hook)
        }
        Ok(Action::TranslatedToStack) => to_stack(ctx, hook),
        Ok(Action::Within) => {
            counters::count(Counter::Passed);
            set_priority(ctx, WITHIN);
            NEXT
        }
        Ok(Action::Visible) => {
            counters::count(Counter::Passed);
            let action = to_stack(ctx, hook);
            // SAFETY: the context is valid for the whole program.
            unsafe { (*ctx.skb.skb).tc_index = OF_CONTAINER };
            action
        }
        Ok(Action::Foreign) => {
            counters::count(Counter::Passed);
            // SAFETY: the context is valid for the whole program.
            unsafe { (*ctx.skb.skb).tc_index = FOREIGN };
            NEXT
        }
        Ok(action @ (Action::ToUplink | Action::Leased)) => {
            // SAFETY: the context is valid for the whole program.
            unsafe { (*ctx.skb.skb).tc_index = TRANSLATED };
            if matches!(action, Action::Leased) {
                // SAFETY: the helper has no preconditions.
                unsafe { bpf_redirect(to, 0) as i32 }
            } else {
                by_neighbour::<A>(to)
            }
        }
        // By the host side's transmission: that forgets the route to the host itself, which what the host
        // sends to itself carries with it and the container's stack would follow.
        // SAFETY: the helper has no preconditions.
        Ok(Action::ToEndpoint) if matches!(hook, Hook::Loopback) => unsafe {
            bpf_redirect(to, 0) as i32
        },
        // Likewise, for its queue.
        // SAFETY: the helper has no preconditions.
        Ok(Action::ByQueue) => unsafe { bpf_redirect(to, 0) as i32 },
        // SAFETY: the helper has no preconditions.
        Ok(Action::ToEndpoint | Action::ToNeighbour) => unsafe { bpf_redirect_peer(to, 0) as i32 },
        // The copy goes on; this packet ends here, and is no loss.
        Ok(Action::Held) => TC_ACT_SHOT,
        Ok(Action::Ipv6) => to_ipv6(ctx, hook),
        Err(reason) => counters::dropped::<A>(ctx, reason, hook),
    }
}

/// Sends the packet out of an interface to the next hop that the working memory has, or that the kernel
/// finds by its routes for what leaves. A subprogram: the stack of its caller is full.
#[inline(never)]
fn by_neighbour<A: Maps>(to: u32) -> i32 {
    const LEN: i32 = size_of::<bpf_redir_neigh>() as i32;
    const { assert!(size_of::<bpf_redir_neigh>() <= 64 && align_of::<bpf_redir_neigh>() <= 8) };
    let to_any = |to| {
        // SAFETY: no parameters means the next hop by the routes.
        unsafe { bpf_redirect_neigh(to, core::ptr::null_mut(), 0, 0) as i32 }
    };
    let (Some(work), Some(p)) = (memory::work::<A>(), maps::FIB.get_ptr_mut(0)) else {
        return to_any(to);
    };
    if work.gateway == A::NONE {
        return to_any(to);
    }
    // SAFETY: the value belongs to this CPU, where no other program runs meanwhile; all zero is a valid
    // value of this C struct, which has the size and alignment asserted above.
    let p: &mut bpf_redir_neigh = unsafe {
        *p = [0; 8];
        &mut *p.cast()
    };
    p.nh_family = u32::from(A::AF);
    A::set_next_hop(&work.gateway, p);
    // SAFETY: the struct is initialised and of the size given.
    unsafe { bpf_redirect_neigh(to, core::ptr::from_mut(p), LEN, 0) as i32 }
}

/// Goes on in the hook's program for IPv6, and does not come back.
#[inline(always)]
fn to_ipv6(ctx: &TcContext, hook: Hook) -> i32 {
    let slot = match hook {
        Hook::Veth => NEXT6_VETH,
        Hook::UplinkIngress => NEXT6_UPLINK_IN,
        Hook::UplinkEgress => NEXT6_UPLINK_OUT,
        Hook::Loopback => NEXT6_LOOPBACK,
        Hook::BridgeEgress => NEXT6_BRIDGE_OUT,
        Hook::Bridge | Hook::Xdp => return NEXT,
    };
    // SAFETY: the context is the program's own; programs of the array have the same type.
    unsafe { maps::NEXT6.tail_call(ctx, slot) };
    // Without such a program nothing leaves a container.
    if matches!(hook, Hook::Veth) {
        counters::dropped::<V4>(ctx, DropReason::BadEthertype, hook)
    } else {
        NEXT
    }
}

#[inline(always)]
fn to_stack(ctx: &TcContext, hook: Hook) -> i32 {
    if matches!(hook, Hook::Veth) {
        set_priority(ctx, VETTED);
        // SAFETY: the context is valid for the whole program.
        unsafe { (*ctx.skb.skb).tc_index = 0 };
    }
    NEXT
}
