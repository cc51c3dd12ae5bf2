//! A frame in a byte vector behind the trait [`Packet`].
//!
//! Owns the imitation of the kernel's socket buffer: what `bpf_skb_load_bytes`,
//! `bpf_skb_store_bytes` and `bpf_l4_csum_replace` do. Does not build packets.

use std::vec::Vec;

use crate::{datapath::HELD_BYTES, drop_reason::DropReason, packet::Packet};

/// What the transport checksum field of a frame holds.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Offload {
    /// The checksum.
    #[default]
    None,
    /// The sum of the pseudo header: the device is to add the rest (`CHECKSUM_PARTIAL`).
    Partial,
    /// The checksum, and the device has computed the sum of the packet, which this is, folded
    /// (`CHECKSUM_COMPLETE`).
    Complete(u16),
}

/// A frame as a hook sees it.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Frame {
    /// From the Ethernet header on.
    pub bytes: Vec<u8>,
    /// Where it is seen.
    pub ifindex: u32,
    /// Where the host has received it; 0 for its own.
    pub came_by: u32,
    /// Of a super-packet.
    pub gso_size: u32,
    /// What the checksum field holds.
    pub offload: Offload,
    /// With the tag of a VLAN beside the bytes.
    pub tagged: bool,
    /// Frames that were sent to come in once more.
    pub again: Vec<Vec<u8>>,
}

impl Frame {
    /// The first `len` bytes of the frame.
    #[must_use]
    pub fn truncated(&self, len: usize) -> Self {
        Self {
            bytes: self.bytes.get(..len).unwrap_or(&self.bytes).to_vec(),
            ..self.clone()
        }
    }

    /// As a device hands it up that has computed the sum of the packet.
    #[must_use]
    pub fn complete(mut self) -> Self {
        self.offload = Offload::Complete(self.sum());
        self
    }

    /// The sum of everything behind the Ethernet header (RFC 1071), folded, in memory order; of zero
    /// the representation that is not 0.
    #[must_use]
    pub fn sum(&self) -> u16 {
        let mut sum = 0;
        for pair in self.bytes.get(14..).unwrap_or_default().chunks(2) {
            let word = [pair[0], pair.get(1).copied().unwrap_or(0)];
            sum += u64::from(u16::from_ne_bytes(word));
        }
        folded(sum)
    }

    /// The TTL of the IPv4 header, or the hop limit.
    #[must_use]
    pub fn ttl(&self) -> u8 {
        let is_v6 = self.bytes[12..14] == [0x86, 0xdd];
        self.bytes[if is_v6 { 21 } else { 22 }]
    }
}

/// `csum_fold` of the kernel, which inverts.
fn fold_inverted(mut sum: u64) -> u16 {
    while sum >> 16 != 0 {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    !(sum as u16)
}

/// As [`fold_inverted`], not inverted; of zero the representation that is not 0.
fn folded(sum: u64) -> u16 {
    match !fold_inverted(sum) {
        0 => 0xffff,
        sum => sum,
    }
}

impl Packet for Frame {
    fn len(&self) -> usize {
        self.bytes.len()
    }

    fn is_tagged(&self) -> bool {
        self.tagged
    }

    fn gso_size(&self) -> u32 {
        self.gso_size
    }

    fn ifindex(&self) -> u32 {
        self.ifindex
    }

    fn came_by(&self) -> u32 {
        self.came_by
    }

    fn read<const N: usize>(&self, off: usize) -> Option<[u8; N]> {
        self.bytes.get(off..off.checked_add(N)?)?.try_into().ok()
    }

    fn write<const N: usize>(&mut self, off: usize, bytes: &[u8; N]) -> Result<(), DropReason> {
        self.bytes
            .get_mut(off..off + N)
            .ok_or(DropReason::RewriteFailed)?
            .copy_from_slice(bytes);
        Ok(())
    }

    fn copy_to(&self, to: &mut [u8; HELD_BYTES]) -> bool {
        let room = to.get_mut(..self.bytes.len());
        room.map(|room| room.copy_from_slice(&self.bytes)).is_some()
    }

    fn replace_by(&mut self, by: &[u8; HELD_BYTES], len: usize) -> bool {
        by.get(..len).map(|by| self.bytes = by.to_vec()).is_some()
    }

    fn send_copy_back(&mut self) -> bool {
        self.again.push(self.bytes.clone());
        true
    }

    // net/core/filter.c bpf_l4_csum_replace with from = 0, and
    // net/core/utils.c inet_proto_csum_replace_by_diff.
    fn update_l4_checksum(
        &mut self,
        off: usize,
        diff: u32,
        pseudo: bool,
        zero_is_none: bool,
    ) -> Result<(), DropReason> {
        let field: [u8; 2] = self.read(off).ok_or(DropReason::RewriteFailed)?;
        let old = u16::from_ne_bytes(field);
        if zero_is_none && old == 0 {
            return Ok(());
        }
        let mut new = match self.offload {
            Offload::None | Offload::Complete(_) => {
                fold_inverted(u64::from(diff) + u64::from(!old))
            }
            Offload::Partial if pseudo => !fold_inverted(u64::from(diff) + u64::from(old)),
            Offload::Partial => old,
        };
        if zero_is_none && new == 0 {
            new = 0xffff;
        }
        if let Offload::Complete(sum) = self.offload
            && pseudo
        {
            self.offload = Offload::Complete(folded(u64::from(sum) + u64::from(!diff)));
        }
        self.write(off, &new.to_ne_bytes())
    }
    // net/core/filter.c bpf_csum_update.
    fn update_packet_sum(&mut self, diff: u32) {
        if let Offload::Complete(sum) = self.offload {
            self.offload = Offload::Complete(folded(u64::from(sum) + u64::from(diff)));
        }
    }
}
