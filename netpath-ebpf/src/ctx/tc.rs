//! `__sk_buff` as a [`Packet`].
//!
//! Owns direct packet access at constant offsets and helper calls for everything else. Programs that
//! write directly get a prologue by the verifier that makes a cloned packet's header private.

use aya_ebpf::{
    bindings::{BPF_F_MARK_MANGLED_0, BPF_F_PSEUDO_HDR},
    programs::TcContext,
};
use netpath_common::{DropReason, packet::Packet};

/// Ethernet, IPv4 without options, TCP without options: what is read at constant offsets.
const FIXED: usize = 14 + 20 + 20;

/// A packet at a tc hook.
pub(crate) struct TcPacket<'c> {
    ctx: &'c TcContext,
}

impl<'c> TcPacket<'c> {
    #[inline(always)]
    pub(crate) fn new(ctx: &'c TcContext) -> Self {
        let linear = ctx.data_end() - ctx.data();
        if linear < FIXED && linear < ctx.len() as usize {
            // Headers in a fragment of the socket buffer; a failure makes reads fail.
            let _ = ctx.pull_data(ctx.len().min(FIXED as u32));
        }
        Self { ctx }
    }
}

impl Packet for TcPacket<'_> {
    #[inline(always)]
    fn len(&self) -> usize {
        self.ctx.len() as usize
    }

    #[inline(always)]
    fn gso_size(&self) -> u32 {
        // SAFETY: the context is valid for the whole program.
        unsafe { (*self.ctx.skb.skb).gso_size }
    }

    #[inline(always)]
    fn ifindex(&self) -> u32 {
        // SAFETY: the context is valid for the whole program.
        unsafe { (*self.ctx.skb.skb).ifindex }
    }

    #[inline(always)]
    fn read<const N: usize>(&self, off: usize) -> Option<[u8; N]> {
        self.ctx.load(off).ok()
    }

    #[inline(always)]
    fn read_fixed<const OFF: usize, const N: usize>(&self) -> Option<[u8; N]> {
        let start = self.ctx.data();
        if start + OFF + N <= self.ctx.data_end() {
            // SAFETY: the bounds were checked on the line above, and `[u8; N]` has alignment 1.
            return Some(unsafe { ((start + OFF) as *const [u8; N]).read_unaligned() });
        }
        // `new` has made the longest fixed header linear: the frame is shorter.
        None
    }

    #[inline(always)]
    fn write<const N: usize>(&mut self, off: usize, bytes: &[u8; N]) -> Result<(), DropReason> {
        self.ctx
            .store(off, bytes, 0)
            .map_err(|_| DropReason::RewriteFailed)
    }

    #[inline(always)]
    fn write_fixed<const OFF: usize, const N: usize>(
        &mut self,
        bytes: &[u8; N],
    ) -> Result<(), DropReason> {
        let start = self.ctx.data();
        if start + OFF + N <= self.ctx.data_end() {
            // SAFETY: the bounds were checked on the line above, and `[u8; N]` has alignment 1.
            unsafe { ((start + OFF) as *mut [u8; N]).write_unaligned(*bytes) };
            return Ok(());
        }
        Err(DropReason::RewriteFailed)
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
            .l4_csum_replace(off, 0, u64::from(diff), flags)
            .map_err(|_| DropReason::RewriteFailed)
    }
}
