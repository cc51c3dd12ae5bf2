//! The packet that an ICMP error quotes: what is known of it, and its rewriting.
//!
//! Owns the checksums within and around it. What it is to become is planned in [`super::icmp_error`].

use super::work::Work;
use crate::{checksum, drop_reason::DropReason, packet::Packet, tuple::Tuple};

/// A packet quoted by an ICMP error.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
pub struct Quoted {
    /// Its tuple, as the sender of the error saw it.
    pub tuple: Tuple,
    /// Offset of its IPv4 header from the start of the frame, bytes.
    pub ip: u16,
    /// Offset of its transport header, bytes.
    pub l4: u16,
    /// Its header checksum, as in memory.
    pub check: [u8; 2],
}

impl Work {
    /// Rewrites the quoted packet of an ICMP error, and the checksums that cover it.
    #[inline(always)]
    pub(super) fn rewrite_quoted<P: Packet>(&self, pkt: &mut P) -> Result<(), DropReason> {
        let (old, new) = (&self.quoted.tuple, &self.quoted_to);
        let at = usize::from(self.quoted.ip);
        let l4 = usize::from(self.quoted.l4);
        let addrs = checksum::Diff::new()
            .bytes4(old.src, new.src)
            .bytes4(old.dst, new.dst);
        let check = checksum::update(self.quoted.check, addrs.wsum());
        let (s, d) = (new.src, new.dst);
        pkt.write(
            at + 10,
            &[
                check[0], check[1], s[0], s[1], s[2], s[3], d[0], d[1], d[2], d[3],
            ],
        )?;
        // The sum of the ICMP message changes with everything that is quoted; IP headers are
        // multiples of four bytes, so every field is at an even offset.
        let mut sum = addrs
            .be16(
                u16::from_be_bytes(self.quoted.check),
                u16::from_be_bytes(check),
            )
            .be16(old.sport, new.sport);
        let check_at = l4 + checksum::offset(old.proto);
        let inner = if old.proto == crate::tuple::ICMP {
            pkt.write(l4 + 4, &new.sport.to_be_bytes())?;
            checksum::Diff::new().be16(old.sport, new.sport)
        } else {
            let [a, b] = new.sport.to_be_bytes();
            let [c, d] = new.dport.to_be_bytes();
            pkt.write(l4, &[a, b, c, d])?;
            sum = sum.be16(old.dport, new.dport);
            addrs.be16(old.sport, new.sport).be16(old.dport, new.dport)
        };
        // TCP's checksum is often beyond what is quoted.
        let quoted_check = if check_at + 2 <= self.ip.end() {
            pkt.read::<2>(check_at)
        } else {
            None
        };
        if let Some(old_check) = quoted_check {
            let new_check = if old.proto == crate::tuple::UDP {
                checksum::update_udp(old_check, inner.wsum())
            } else {
                checksum::update(old_check, inner.wsum())
            };
            pkt.write(check_at, &new_check)?;
            sum = sum.be16(u16::from_be_bytes(old_check), u16::from_be_bytes(new_check));
        }
        let icmp_check = usize::from(self.ip.l4) + checksum::offset(crate::tuple::ICMP);
        pkt.update_l4_checksum(icmp_check, sum.wsum(), false, false)
    }
}
