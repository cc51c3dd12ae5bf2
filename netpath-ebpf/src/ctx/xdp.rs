//! `xdp_md` as a [`Packet`].
//!
//! Owns direct packet access at constant offsets and helper calls for everything else. Knows
//! nothing of checksum offload, as the hook does not: [`Packet::update_l4_checksum`] takes the
//! field for a whole checksum.

use aya_ebpf::{
    helpers::generated::{bpf_xdp_get_buff_len, bpf_xdp_load_bytes, bpf_xdp_store_bytes},
    programs::XdpContext,
};
use netpath_common::{
    DropReason,
    checksum::{offset, update, update_udp},
    datapath::HELD_BYTES,
    packet::{ETH_LEN, Packet},
    tuple,
};

/// Offset of TCP's checksum behind an IPv4 header without options, bytes.
const TCP_CHECK: usize = ETH_LEN + 20 + offset(tuple::TCP);
/// As [`TCP_CHECK`] of UDP.
const UDP_CHECK: usize = ETH_LEN + 20 + offset(tuple::UDP);

/// A frame that a driver has received.
pub(crate) struct XdpPacket<'c> {
    ctx: &'c XdpContext,
}

impl<'c> XdpPacket<'c> {
    #[inline(always)]
    pub(crate) const fn new(ctx: &'c XdpContext) -> Self {
        Self { ctx }
    }

    #[inline(always)]
    fn load<const N: usize>(&self, off: usize) -> Option<[u8; N]> {
        let mut bytes = [0u8; N];
        // SAFETY: the buffer is writable and of the length given.
        let rc = unsafe {
            bpf_xdp_load_bytes(
                self.ctx.ctx,
                off as u32,
                bytes.as_mut_ptr().cast(),
                N as u32,
            )
        };
        (rc == 0).then_some(bytes)
    }
}

impl Packet for XdpPacket<'_> {
    #[inline(always)]
    fn len(&self) -> usize {
        // SAFETY: the context is valid for the whole program.
        (unsafe { bpf_xdp_get_buff_len(self.ctx.ctx) }) as usize
    }

    #[inline(always)]
    fn holds(&self, len: usize) -> bool {
        // Most frames are in one piece, and a helper call costs a tenth of a drop.
        len <= self.ctx.data_end() - self.ctx.data() || len <= self.len()
    }

    #[inline(always)]
    fn in_one_piece(&self) -> bool {
        self.ctx.data_end() - self.ctx.data() == self.len()
    }

    #[inline(always)]
    fn gso_size(&self) -> u32 {
        // Drivers merge nothing before this hook, but a veth hands over its peer's super-packets.
        // Their segments' size is not told; which they are, only where no packet is as long.
        u32::from(self.len() > ETH_LEN + usize::from(u16::MAX))
    }

    #[inline(always)]
    fn ifindex(&self) -> u32 {
        self.ctx.ingress_ifindex() as u32
    }

    #[inline(always)]
    fn read<const N: usize>(&self, off: usize) -> Option<[u8; N]> {
        self.load(off)
    }

    #[inline(always)]
    fn read_fixed<const OFF: usize, const N: usize>(&self) -> Option<[u8; N]> {
        let start = self.ctx.data();
        if start + OFF + N <= self.ctx.data_end() {
            // SAFETY: the bounds were checked on the line above, and `[u8; N]` has alignment 1.
            return Some(unsafe { ((start + OFF) as *const [u8; N]).read_unaligned() });
        }
        // The frame is shorter, or its headers lie in a fragment.
        self.load(OFF)
    }

    #[inline(always)]
    fn write<const N: usize>(&mut self, off: usize, bytes: &[u8; N]) -> Result<(), DropReason> {
        // SAFETY: the buffer is readable and of the length given.
        let rc = unsafe {
            bpf_xdp_store_bytes(
                self.ctx.ctx,
                off as u32,
                bytes.as_ptr().cast_mut().cast(),
                N as u32,
            )
        };
        if rc == 0 {
            Ok(())
        } else {
            Err(DropReason::RewriteFailed)
        }
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
        self.write(OFF, bytes)
    }

    // Fragments are left to the tc hook.
    #[inline(always)]
    fn copy_to(&self, _to: &mut [u8; HELD_BYTES]) -> bool {
        false
    }

    #[inline(always)]
    fn replace_by(&mut self, _by: &[u8; HELD_BYTES], _len: usize) -> bool {
        false
    }

    #[inline(always)]
    fn send_copy_back(&mut self) -> bool {
        false
    }

    #[inline(always)]
    fn update_l4_checksum(
        &mut self,
        off: usize,
        diff: u32,
        _pseudo: bool,
        zero_is_none: bool,
    ) -> Result<(), DropReason> {
        // Behind an IPv4 header without options no helper is called.
        match off {
            TCP_CHECK => {
                let field = self.read_fixed::<TCP_CHECK, 2>();
                self.write_fixed::<TCP_CHECK, 2>(&updated(field, diff, zero_is_none)?)
            }
            UDP_CHECK => {
                let field = self.read_fixed::<UDP_CHECK, 2>();
                self.write_fixed::<UDP_CHECK, 2>(&updated(field, diff, zero_is_none)?)
            }
            _ => {
                let field = self.load::<2>(off);
                self.write(off, &updated(field, diff, zero_is_none)?)
            }
        }
    }
}

/// A transport checksum after `diff`.
#[inline(always)]
fn updated(field: Option<[u8; 2]>, diff: u32, zero_is_none: bool) -> Result<[u8; 2], DropReason> {
    let field = field.ok_or(DropReason::RewriteFailed)?;
    Ok(if zero_is_none {
        update_udp(field, diff)
    } else {
        update(field, diff)
    })
}
