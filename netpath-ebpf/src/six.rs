//! The host's own IPv6 packets to published ports of containers without IPv6, at the loopback device.
//!
//! Owns the change of a packet's family in place. Which packets and what their headers become is
//! netpath-common's ([`netpath_common::sock`]).

use aya_ebpf::{
    bindings::{__sk_buff, BPF_F_INGRESS, BPF_F_MARK_MANGLED_0, BPF_F_PSEUDO_HDR},
    helpers::generated::{bpf_l4_csum_replace, bpf_redirect, bpf_skb_change_proto},
    programs::TcContext,
};
use netpath_common::{
    Addr, DropReason, V4, V6, checksum,
    event::Hook,
    maps::reserved_word,
    publish::Target,
    records::LOOPBACK_IFINDEX,
    sock::{
        self, HostPorts, Plain, Sent6, checksum_to_ipv4, checksum_to_ipv6, is_stand_in, stand_in,
    },
    tuple,
};

use crate::{
    counters,
    ctx::TcPacket,
    finish::{NEXT, to_itself},
    maps, memory,
    sock::SocketTables,
};

/// Bytes of the Ethernet header.
const ETH: usize = 14;
const NOEXIST: u64 = 1;

/// No action of the kernel's: a packet that has no form in the other family.
const UNTURNED: i32 = -2;
/// No action of the kernel's: a packet that could not be written.
const FAILED: i32 = -3;

/// Whether the frame is one of IPv6.
#[inline(always)]
pub(crate) fn is_ipv6(ctx: &TcContext) -> bool {
    // SAFETY: the context is valid for the whole program.
    unsafe { (*ctx.skb.skb).protocol == u32::from(V6::ETHERTYPE.to_be()) }
}

/// Whether a packet of IPv6 goes to such a port. A function of its own, as are [`np_to_ipv4`] and
/// [`np_to_ipv6`], for the stack's sake.
#[unsafe(no_mangle)]
pub(crate) extern "C" fn np_is_for_ipv4(ctx: *mut __sk_buff) -> u32 {
    u32::from(is_for_ipv4(&TcContext::new(ctx)).is_some())
}

#[inline(always)]
fn is_for_ipv4(ctx: &TcContext) -> Option<()> {
    let six = Plain::parse6(&ctx.load(ETH).ok()?)?;
    let [a, b, c, d] = ctx.load::<[u8; 4]>(ETH + 40).ok()?;
    let (sport, dport) = (u16::from_be_bytes([a, b]), u16::from_be_bytes([c, d]));
    let (word, bit) = reserved_word(six.proto, dport)?;
    if maps::RESERVED.get(word)? & bit == 0 {
        return None;
    }
    let tables = SocketTables::of_packet(ctx, six.src, sport);
    if !six.src.is_loopback() && !HostPorts::<V6>::is_host_addr(&tables, &six.src) {
        return None;
    }
    // What the packet is turned into can be sent to IPv4, whatever its socket.
    let mut to = Target::default();
    let sent = sock::destination6(&tables, six.proto, &six.dst, dport, true, &mut to);
    matches!(sent, Sent6::Four).then_some(())
}

/// Turns such a packet into one of IPv4, and lets it in anew; [`NEXT`] where its addresses cannot be
/// written down.
#[unsafe(no_mangle)]
pub(crate) extern "C" fn np_to_ipv4(ctx: *mut __sk_buff) -> i32 {
    to_ipv4(&TcContext::new(ctx)).unwrap_or(NEXT)
}

#[inline(always)]
fn to_ipv4(ctx: &TcContext) -> Option<i32> {
    let six = Plain::parse6(&ctx.load(ETH).ok()?)?;
    let four = six.over_ipv4(known(&six.src)?, known(&six.dst)?);
    let diff = checksum_to_ipv4(&six, &four);
    Some(change::<V4, 20>(ctx, &four.header4(), four.proto, diff))
}

/// The address that stands for another one, written down; `None` where it stands for a third.
#[inline(always)]
fn known(addr: &V6) -> Option<V4> {
    let four = stand_in(addr);
    // Somebody else may write it this moment: whoever comes second looks.
    let _ = maps::STAND_INS.insert(four, *addr, NOEXIST);
    // SAFETY: values never change; a copy is made at once.
    let found = unsafe { maps::STAND_INS.get(four) }.copied()?;
    (found == *addr).then_some(four)
}

/// Lets up the stack what the datapath has sent to the host: as it is, or where it goes to an address
/// that stands for one of IPv6, as a packet of that.
#[unsafe(no_mangle)]
pub(crate) extern "C" fn np_to_ipv6(ctx: *mut __sk_buff) -> i32 {
    let ctx = &TcContext::new(ctx);
    let Ok(header) = ctx.load::<[u8; 20]>(ETH) else {
        return to_itself(ctx);
    };
    let dst = V4::from_slice(&header[16..20]);
    if is_ipv6(ctx) || !is_stand_in(&dst) {
        return to_itself(ctx);
    }
    // ICMP errors and fragments are not turned.
    to_ipv6(ctx, &header).unwrap_or(UNTURNED)
}

/// Carries out what a function of this file says. It drops nothing itself: the event about it would not
/// fit on the stack beside its own.
#[inline(always)]
pub(crate) fn finish(ctx: &TcContext, action: i32) -> i32 {
    let reason = match action {
        UNTURNED => DropReason::UnsupportedProtocol,
        FAILED => DropReason::RewriteFailed,
        action => return action,
    };
    read_again(ctx);
    counters::dropped::<V4>(ctx, reason, Hook::Loopback)
}

/// Reads the packet for the report about it: no decision was asked.
#[inline(never)]
fn read_again(ctx: &TcContext) {
    if let Some(work) = memory::work::<V4>() {
        work.read_again(&TcPacket::new(ctx));
    }
}

#[inline(always)]
fn to_ipv6(ctx: &TcContext, header: &[u8; 20]) -> Option<i32> {
    let four = Plain::parse4(header)?;
    // SAFETY: values never change; a copy is made at once.
    let src = unsafe { maps::STAND_INS.get(four.src) }.copied()?;
    // SAFETY: as above.
    let dst = unsafe { maps::STAND_INS.get(four.dst) }.copied()?;
    if four.proto == tuple::UDP && ctx.load::<[u8; 2]>(ETH + 20 + 6).ok()? == [0, 0] {
        // IPv6 has no datagrams without a checksum (RFC 8200, 8.1).
        return None;
    }
    let six = four.over_ipv6(src, dst);
    let diff = checksum_to_ipv6(&four, &six);
    Some(change::<V6, 40>(ctx, &six.header6(), six.proto, diff))
}

/// Gives the packet a header of family `A`, and lets it in anew: with the route that it was sent by it
/// would never reach the other family.
#[inline(always)]
fn change<A: Addr, const N: usize>(ctx: &TcContext, header: &[u8; N], proto: u8, diff: u32) -> i32 {
    let ethertype = A::ETHERTYPE.to_be();
    // Not `BPF_F_IPV6`, which older kernels refuse: it is for packets whose device has computed a sum
    // (`CHECKSUM_COMPLETE`), and the loopback device computes none.
    let mut flags = u64::from(BPF_F_PSEUDO_HDR);
    if proto == tuple::UDP {
        flags |= u64::from(BPF_F_MARK_MANGLED_0);
    }
    let check = ETH + N + checksum::offset(proto);
    // SAFETY: the context is valid; offsets lie within what the helpers check.
    let changed = unsafe { bpf_skb_change_proto(ctx.skb.skb, ethertype, 0) } == 0
        && ctx.store(12, &ethertype, 0).is_ok()
        && ctx.store(ETH, header, 0).is_ok()
        // SAFETY: as above.
        && unsafe {
            bpf_l4_csum_replace(ctx.skb.skb, check as u32, 0, u64::from(diff), flags)
        } == 0;
    if !changed {
        return FAILED;
    }
    // SAFETY: the helper has no preconditions.
    unsafe { bpf_redirect(LOOPBACK_IFINDEX, u64::from(BPF_F_INGRESS)) as i32 }
}

/// Whether the loopback device's program is attached: it carries what sockets cannot send.
#[inline(always)]
pub(crate) fn is_carried() -> bool {
    let slot = u32::from(netpath_common::records::LOOPBACK_UPLINK);
    maps::UPLINKS
        .get(slot)
        .is_some_and(|u| u.ifindex == LOOPBACK_IFINDEX)
}
