//! Access to a packet, and what the parser makes of it.
//!
//! Owns the traits through which every byte of a packet is read and written. Does not own the
//! packets: the kernel programs implement [`Packet`] over `__sk_buff`, tests over byte vectors.

mod family;
mod other;
mod parse;
mod parse6;
mod quoted;
mod quoted6;
mod rewrite;
mod rewrite6;

pub use family::Family;
pub use parse::*;
pub use parse6::parse_ipv6;
pub use quoted::Quoted;
pub use rewrite::{Rewrite, set_macs};

use crate::{datapath::HELD_BYTES, drop_reason::DropReason};

/// Length of an Ethernet header in bytes.
pub const ETH_LEN: usize = 14;
/// EtherType of IPv4.
pub const ETHERTYPE_IPV4: u16 = 0x0800;
/// EtherType of IPv6.
pub const ETHERTYPE_IPV6: u16 = 0x86dd;
/// EtherType of ARP.
pub const ETHERTYPE_ARP: u16 = 0x0806;

/// A frame that begins with an Ethernet header, and what the kernel knows about it.
///
/// Offsets are in bytes from the first byte of the Ethernet header.
pub trait Packet {
    /// Length of the frame in bytes, also where parts of it are not in linear memory.
    fn len(&self) -> usize;

    /// Whether the frame is empty.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Whether the frame has `len` bytes or more.
    #[inline(always)]
    fn holds(&self, len: usize) -> bool {
        len <= self.len()
    }

    /// Whether all of the frame is in one buffer, as far as that matters to the hook.
    #[inline(always)]
    fn in_one_piece(&self) -> bool {
        true
    }

    /// Whether the frame has come, or is to leave, with the tag of a VLAN (IEEE 802.1Q) that the kernel
    /// keeps beside its bytes. The tag of no VLAN, which is for its priority alone, does not count.
    #[inline(always)]
    fn is_tagged(&self) -> bool {
        false
    }

    /// Payload bytes of each segment of a super-packet, 0 for an ordinary one.
    fn gso_size(&self) -> u32;

    /// Interface index where the packet was seen.
    fn ifindex(&self) -> u32;

    /// Interface index by which the host has received the packet; 0 for one of its own.
    #[inline(always)]
    fn came_by(&self) -> u32 {
        0
    }

    /// Copies `N` bytes from `off`; `None` where the frame is shorter.
    fn read<const N: usize>(&self, off: usize) -> Option<[u8; N]>;

    /// As [`Packet::read`], to where the bytes stay; false where the frame is shorter, and then nobody
    /// knows what is there.
    #[inline(always)]
    fn read_to<const N: usize>(&self, off: usize, to: &mut [u8; N]) -> bool {
        let bytes = self.read::<N>(off);
        *to = bytes.unwrap_or(*to);
        bytes.is_some()
    }

    /// As [`Packet::read`] for an offset known at compile time, which the kernel can read without
    /// a helper call.
    #[inline(always)]
    fn read_fixed<const OFF: usize, const N: usize>(&self) -> Option<[u8; N]> {
        self.read(OFF)
    }

    /// [`Packet::read_fixed`] of an IPv6 address, to where it stays: the least that can be done with so
    /// many bytes.
    #[inline(always)]
    fn read_addr6<const OFF: usize>(&self, to: &mut [u8; 16]) -> bool {
        self.read_to(OFF, to)
    }

    /// Overwrites `N` bytes at `off`. Does not touch any checksum.
    ///
    /// # Errors
    /// [`DropReason::RewriteFailed`] where the frame is shorter or cannot be made writable.
    fn write<const N: usize>(&mut self, off: usize, bytes: &[u8; N]) -> Result<(), DropReason>;

    /// As [`Packet::write`] for an offset known at compile time, which the kernel can write without
    /// a helper call.
    ///
    /// # Errors
    /// As [`Packet::write`].
    #[inline(always)]
    fn write_fixed<const OFF: usize, const N: usize>(
        &mut self,
        bytes: &[u8; N],
    ) -> Result<(), DropReason> {
        self.write(OFF, bytes)
    }

    /// Copies the whole frame; false where it is longer or cannot be read.
    fn copy_to(&self, to: &mut [u8; HELD_BYTES]) -> bool;

    /// Becomes the frame of `len` bytes in `by`; false where that fails, and then nobody knows what
    /// the packet is.
    fn replace_by(&mut self, by: &[u8; HELD_BYTES], len: usize) -> bool;

    /// Sends a copy to where the packet has come in, as if it came again.
    fn send_copy_back(&mut self) -> bool;

    /// Adds `diff` (see [`crate::checksum::Diff`]) to the transport checksum at `off`, aware of
    /// checksum offload.
    ///
    /// `pseudo`: the change is one of the pseudo header, as IPv4's: see
    /// [`Packet::update_packet_sum`] for IPv6. `zero_is_none`: the field is UDP's, where
    /// 0 means that there is no checksum: it is left alone, and a result of 0 becomes 0xffff.
    ///
    /// # Errors
    /// [`DropReason::RewriteFailed`] where the frame is shorter or cannot be made writable.
    fn update_l4_checksum(
        &mut self,
        off: usize,
        diff: u32,
        pseudo: bool,
        zero_is_none: bool,
    ) -> Result<(), DropReason>;

    /// Adds `diff` to the sum of the whole packet that the device has computed
    /// (`CHECKSUM_COMPLETE`), where it has.
    ///
    /// That sum stays right by itself as long as each change is made up for by a checksum within the
    /// packet. [`Packet::update_l4_checksum`] takes a change of the pseudo header for one that both
    /// the IP header's checksum and the transport's make up for, and subtracts it once
    /// (`inet_proto_csum_replace_by_diff`, `net/core/utils.c`). An IPv6 header has no checksum: its
    /// addresses are made up for at most once, and its hop limit never.
    #[inline(always)]
    fn update_packet_sum(&mut self, diff: u32) {
        let _ = diff;
    }
}

/// Reads a big-endian `u16` out of a header; 0 where the index is wrong (it never is: constant).
#[inline(always)]
pub(crate) fn be16<const N: usize>(b: &[u8; N], at: usize) -> u16 {
    match (b.get(at), b.get(at + 1)) {
        (Some(h), Some(l)) => u16::from_be_bytes([*h, *l]),
        _ => 0,
    }
}

/// Reads an IPv6 address out of a header; none where the index is wrong.
#[inline(always)]
pub(crate) fn sixteen<const N: usize>(b: &[u8; N], at: usize) -> [u8; 16] {
    match b.get(at..).and_then(<[u8]>::first_chunk) {
        Some(chunk) => *chunk,
        None => [0; 16],
    }
}

/// Reads four bytes out of a header.
#[inline(always)]
pub(crate) fn four<const N: usize>(b: &[u8; N], at: usize) -> [u8; 4] {
    match (b.get(at), b.get(at + 1), b.get(at + 2), b.get(at + 3)) {
        (Some(a), Some(b), Some(c), Some(d)) => [*a, *b, *c, *d],
        _ => [0; 4],
    }
}
