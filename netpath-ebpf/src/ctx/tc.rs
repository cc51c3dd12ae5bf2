//! `__sk_buff` as a [`Packet`].
//!
//! Owns direct packet access at constant offsets and helper calls for everything else. Programs that
//! write directly get a prologue by the verifier that makes a cloned packet's header private.

use core::arch::asm;

use aya_ebpf::{
    bindings::{BPF_F_INGRESS, BPF_F_MARK_MANGLED_0, BPF_F_PSEUDO_HDR, BPF_F_RECOMPUTE_CSUM},
    helpers::generated::{
        bpf_clone_redirect, bpf_csum_update, bpf_skb_change_tail, bpf_skb_load_bytes,
        bpf_skb_store_bytes,
    },
    programs::TcContext,
};
use netpath_common::{
    DropReason,
    datapath::HELD_BYTES,
    packet::{ETH_LEN, Packet},
};

/// Ethernet, IPv4 without options, TCP without options: what is read at constant offsets.
const FIXED: u32 = 14 + 20 + 20;

/// `gso_size` of a super-packet of SCTP (the kernel's `GSO_BY_FRAGS`). Its first buffer has the common
/// header alone, its segments are the buffers behind it as they are: whoever moves bytes of one into
/// another breaks the chunks.
const GSO_BY_FRAGS: u32 = 0xffff;

/// A packet at a tc hook. `BARE`: the kernel's begins with the IP header, as those that leave by a tunnel
/// do. The Ethernet header that the datapath reads first is then one that nobody sees: without addresses,
/// and of the type that the kernel takes the packet for.
pub(crate) struct TcPacket<'c, const BARE: bool = false> {
    ctx: &'c TcContext,
}

impl<'c> TcPacket<'c> {
    #[inline(always)]
    pub(crate) fn new(ctx: &'c TcContext) -> Self {
        Self::with(ctx, FIXED)
    }

    /// With the first `fixed` bytes in linear memory, as far as there are so many.
    #[inline(always)]
    pub(crate) fn with(ctx: &'c TcContext, fixed: u32) -> Self {
        Self::linear(ctx, fixed)
    }
}

impl<'c> TcPacket<'c, true> {
    /// As [`TcPacket::with`]; `fixed` counts from the header that is not there.
    #[inline(always)]
    pub(crate) fn bare(ctx: &'c TcContext, fixed: u32) -> Self {
        Self::linear(ctx, fixed - ETH_LEN as u32)
    }
}

impl<'c, const BARE: bool> TcPacket<'c, BARE> {
    #[inline(always)]
    fn linear(ctx: &'c TcContext, fixed: u32) -> Self {
        let (pkt, linear) = (Self { ctx }, ctx.data_end() - ctx.data());
        let short = linear < fixed as usize && linear < ctx.len() as usize;
        if short && pkt.gso_size() != GSO_BY_FRAGS {
            // Headers in a fragment of the socket buffer; a failure makes reads fail.
            let _ = ctx.pull_data(ctx.len().min(fixed));
        }
        pkt
    }

    /// Where the kernel has what the frame has at `off`, which lies behind the Ethernet header.
    #[inline(always)]
    const fn at(off: usize) -> usize {
        if BARE { off.wrapping_sub(ETH_LEN) } else { off }
    }

    /// `N` bytes at `OFF` of the header that is not there.
    #[inline(always)]
    fn read_virtual<const OFF: usize, const N: usize>(&self) -> [u8; N] {
        // SAFETY: the context is valid for the whole program.
        let [a, b, ..] = unsafe { (*self.ctx.skb.skb).protocol }.to_ne_bytes();
        let mut bytes = [0; N];
        for (at, byte) in [(12, a), (13, b)] {
            if let Some(place) = usize::checked_sub(at, OFF).and_then(|i| bytes.get_mut(i)) {
                *place = byte;
            }
        }
        bytes
    }
}

/// `len` if it is from `shortest` to the length of a held frame, so that the verifier sees both: that
/// of kernel 6.1 learns a lower bound by an addition alone, and none sees what the compiler knows.
#[inline(always)]
fn bounded(len: u32, shortest: u32) -> Option<u32> {
    let more = core::hint::black_box(len.wrapping_sub(shortest));
    (more <= HELD_BYTES as u32 - shortest).then_some(more + shortest)
}

impl<const BARE: bool> Packet for TcPacket<'_, BARE> {
    #[inline(always)]
    fn len(&self) -> usize {
        self.ctx.len() as usize + if BARE { ETH_LEN } else { 0 }
    }

    #[inline(always)]
    fn gso_size(&self) -> u32 {
        // SAFETY: the context is valid for the whole program.
        unsafe { (*self.ctx.skb.skb).gso_size }
    }

    #[inline(always)]
    fn is_tagged(&self) -> bool {
        const VLAN_VID_MASK: u32 = 0x0fff;
        let skb = self.ctx.skb.skb;
        // SAFETY: the context is valid for the whole program.
        let (present, tci) = unsafe { ((*skb).vlan_present, (*skb).vlan_tci) };
        // Before 6.2 a VLAN device that takes the tag off leaves its number behind.
        present != 0 && tci & VLAN_VID_MASK != 0
    }

    #[inline(always)]
    fn ifindex(&self) -> u32 {
        // SAFETY: the context is valid for the whole program.
        unsafe { (*self.ctx.skb.skb).ifindex }
    }

    #[inline(always)]
    fn read<const N: usize>(&self, off: usize) -> Option<[u8; N]> {
        self.ctx.load(Self::at(off)).ok()
    }

    #[inline(always)]
    fn read_to<const N: usize>(&self, off: usize, to: &mut [u8; N]) -> bool {
        let skb = self.ctx.skb.skb;
        // SAFETY: the buffer is writable and of the length given.
        unsafe {
            let (at, to) = (Self::at(off) as u32, to.as_mut_ptr());
            bpf_skb_load_bytes(skb.cast(), at, to.cast(), N as u32) == 0
        }
    }

    #[inline(always)]
    fn read_fixed<const OFF: usize, const N: usize>(&self) -> Option<[u8; N]> {
        if BARE && OFF < ETH_LEN {
            // Without the look the verifier walks what follows half as often again.
            if self.ctx.data() + 1 > self.ctx.data_end() {
                return None;
            }
            return Some(self.read_virtual::<OFF, N>());
        }
        let start = self.ctx.data() + const { Self::at(OFF) };
        if start + N <= self.ctx.data_end() {
            // SAFETY: the bounds were checked on the line above, and `[u8; N]` has alignment 1.
            return Some(unsafe { (start as *const [u8; N]).read_unaligned() });
        }
        // `with` has made the longest fixed header linear: the frame is shorter.
        None
    }

    #[inline(always)]
    fn read_addr6<const OFF: usize>(&self, to: &mut [u8; 16]) -> bool {
        let start = self.ctx.data() + const { Self::at(OFF) };
        if start + 16 > self.ctx.data_end() {
            return false;
        }
        let (lower, upper): (u64, u64);
        // To the compiler a packet is not aligned, and it would move single bytes; the machine and
        // the verifier take words from any address (`CONFIG_HAVE_EFFICIENT_UNALIGNED_ACCESS`).
        // SAFETY: the bounds were checked above.
        unsafe {
            asm!(
                "{a} = *(u64 *)({p} + 0)",
                "{b} = *(u64 *)({p} + 8)",
                a = out(reg) lower,
                b = out(reg) upper,
                p = in(reg) start,
                options(readonly, nostack)
            );
        }
        *to = (u128::from(upper) << 64 | u128::from(lower)).to_le_bytes();
        true
    }

    #[inline(always)]
    fn write<const N: usize>(&mut self, off: usize, bytes: &[u8; N]) -> Result<(), DropReason> {
        self.ctx
            .store(Self::at(off), bytes, 0)
            .map_err(|_| DropReason::RewriteFailed)
    }

    #[inline(always)]
    fn write_fixed<const OFF: usize, const N: usize>(
        &mut self,
        bytes: &[u8; N],
    ) -> Result<(), DropReason> {
        if BARE && OFF < ETH_LEN {
            // There are no MAC addresses to be set.
            return Ok(());
        }
        let start = self.ctx.data() + const { Self::at(OFF) };
        if start + N <= self.ctx.data_end() {
            // SAFETY: the bounds were checked on the line above, and `[u8; N]` has alignment 1.
            unsafe { (start as *mut [u8; N]).write_unaligned(*bytes) };
            return Ok(());
        }
        Err(DropReason::RewriteFailed)
    }

    #[inline(always)]
    fn copy_to(&self, to: &mut [u8; HELD_BYTES]) -> bool {
        // Nothing is held, answered or sent again where packets are without a header.
        if BARE {
            return false;
        }
        let Some(len) = bounded(self.ctx.len(), 1) else {
            return false;
        };
        let skb = self.ctx.skb.skb;
        // SAFETY: the buffer is a map's value and longer than `len`.
        unsafe { bpf_skb_load_bytes(skb.cast(), 0, to.as_mut_ptr().cast(), len) == 0 }
    }

    #[inline(always)]
    fn replace_by(&mut self, by: &[u8; HELD_BYTES], len: usize) -> bool {
        const SHORTEST: u32 = ETH_LEN as u32 + 1;
        if BARE {
            return false;
        }
        let skb = self.ctx.skb.skb;
        let Some(len) = bounded(len as u32, SHORTEST) else {
            return false;
        };
        let store = |at: usize, len: u32, flags: u32| {
            let from = by.as_ptr().wrapping_add(at).cast_mut().cast();
            // SAFETY: `at + len` is at most the length of the buffer, a map's value.
            unsafe { bpf_skb_store_bytes(skb, at as u32, from, len, flags.into()) == 0 }
        };
        // SAFETY: the context is valid for the whole program.
        let resized = unsafe { bpf_skb_change_tail(skb, len, 0) == 0 };
        // The sum that a device computed (`CHECKSUM_COMPLETE`) does not hold the Ethernet header.
        resized
            && store(0, ETH_LEN as u32, 0)
            && store(ETH_LEN, len - ETH_LEN as u32, BPF_F_RECOMPUTE_CSUM)
    }

    #[inline(always)]
    fn send_copy_back(&mut self) -> bool {
        if BARE {
            return false;
        }
        let skb = self.ctx.skb.skb;
        // SAFETY: the helper has no preconditions.
        unsafe { bpf_clone_redirect(skb, (*skb).ifindex, u64::from(BPF_F_INGRESS)) == 0 }
    }

    #[inline(always)]
    fn update_l4_checksum(
        &mut self,
        off: usize,
        diff: u32,
        pseudo: bool,
        zero_is_none: bool,
    ) -> Result<(), DropReason> {
        let mut flags = 0;
        if pseudo {
            flags |= u64::from(BPF_F_PSEUDO_HDR);
        }
        if zero_is_none {
            flags |= u64::from(BPF_F_MARK_MANGLED_0);
        }
        self.ctx
            .l4_csum_replace(Self::at(off), 0, u64::from(diff), flags)
            .map_err(|_| DropReason::RewriteFailed)
    }
    #[inline(always)]
    fn update_packet_sum(&mut self, diff: u32) {
        // SAFETY: the context is valid for the whole program. Without such a sum the helper does
        // nothing and returns an error.
        unsafe { bpf_csum_update(self.ctx.skb.skb, diff) };
    }
}
