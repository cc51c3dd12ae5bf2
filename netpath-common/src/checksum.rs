//! Incremental update of Internet checksums (RFC 1071, RFC 1624).
//!
//! Owns the arithmetic. All sums are over 16-bit words in memory order, so they hold on either
//! byte order as long as words are loaded natively.

/// The change of a checksum's input: the sum of the new words minus the sum of the old ones.
#[derive(Clone, Copy, Default, Debug)]
pub struct Diff(u64);

impl Diff {
    /// Nothing changes.
    #[inline(always)]
    #[must_use]
    pub const fn new() -> Self {
        Self(0)
    }

    /// Four bytes at an even offset change.
    #[inline(always)]
    #[must_use]
    pub const fn bytes4(self, old: [u8; 4], new: [u8; 4]) -> Self {
        Self(self.0 + !u32::from_ne_bytes(old) as u64 + u32::from_ne_bytes(new) as u64)
    }

    /// Sixteen bytes at an even offset change.
    #[inline(always)]
    #[must_use]
    pub const fn bytes16(self, old: [u8; 16], new: [u8; 16]) -> Self {
        let (old, new) = (!u128::from_ne_bytes(old), u128::from_ne_bytes(new));
        let words = [
            old as u64,
            (old >> 64) as u64,
            new as u64,
            (new >> 64) as u64,
        ];
        let mut sum = self.0;
        let mut i = 0;
        while i < words.len() {
            sum += (words[i] & 0xffff_ffff) + (words[i] >> 32);
            i += 1;
        }
        Self(sum)
    }

    /// Two bytes at an even offset change; host-order values of big-endian fields.
    #[inline(always)]
    #[must_use]
    pub const fn be16(self, old: u16, new: u16) -> Self {
        Self(self.0 + (!old.to_be()) as u64 + new.to_be() as u64)
    }

    /// As the 32-bit partial sum (`__wsum`) that the kernel's helpers take.
    #[inline(always)]
    #[must_use]
    pub const fn wsum(self) -> u32 {
        let s = (self.0 & 0xffff_ffff) + (self.0 >> 32);
        let s = (s & 0xffff_ffff) + (s >> 32);
        s as u32
    }
}

/// The sum of data of which the checksum is made from nothing.
#[derive(Clone, Copy, Default, Debug)]
pub struct Sum(u64);

impl Sum {
    /// Of nothing.
    #[inline(always)]
    #[must_use]
    pub const fn new() -> Self {
        Self(0)
    }

    /// And four bytes at an even offset.
    #[inline(always)]
    #[must_use]
    pub const fn word(self, bytes: [u8; 4]) -> Self {
        Self(self.0 + u32::from_ne_bytes(bytes) as u64)
    }

    /// The field to store, which is 0 among the data.
    #[inline(always)]
    #[must_use]
    pub const fn check(self) -> [u8; 2] {
        let s = (self.0 & 0xffff_ffff) + (self.0 >> 32);
        let s = (s & 0xffff) + (s >> 16);
        let s = (s & 0xffff) + (s >> 16);
        (!fold(s as u32)).to_ne_bytes()
    }
}

/// Offset of the checksum field in a transport header, bytes.
#[inline(always)]
#[must_use]
pub const fn offset(proto: u8) -> usize {
    match proto {
        crate::tuple::TCP => 16,
        crate::tuple::UDP | crate::tuple::UDPLITE | crate::tuple::DCCP => 6,
        _ => 2,
    }
}

/// Folds a partial sum into 16 bits.
#[inline(always)]
#[must_use]
pub const fn fold(sum: u32) -> u16 {
    let s = (sum & 0xffff) + (sum >> 16);
    let s = (s & 0xffff) + (s >> 16);
    s as u16
}

/// The sum of a pseudo header (RFC 9293, 3.1), not inverted: what the transport checksum field holds
/// whose completion the sender leaves to the device (`CHECKSUM_PARTIAL`). `len` is that of header and
/// payload, bytes.
#[inline(always)]
#[must_use]
pub const fn pseudo_header(src: [u8; 4], dst: [u8; 4], proto: u8, len: u16) -> [u8; 2] {
    let sum = u32::from_ne_bytes(src) as u64
        + u32::from_ne_bytes(dst) as u64
        + (proto as u16).to_be() as u64
        + len.to_be() as u64;
    let sum = (sum & 0xffff_ffff) + (sum >> 32);
    let sum = (sum & 0xffff) + (sum >> 16);
    let sum = (sum & 0xffff) + (sum >> 16);
    fold(sum as u32).to_ne_bytes()
}

/// The checksum field (two bytes as they are in memory) after `diff` (RFC 1624, equation 3).
#[inline(always)]
#[must_use]
pub const fn update(check: [u8; 2], diff: u32) -> [u8; 2] {
    let old = !u16::from_ne_bytes(check);
    let sum = old as u64 + diff as u64;
    let sum = (sum & 0xffff_ffff) as u32 as u64 + (sum >> 32);
    (!fold(((sum & 0xffff) + (sum >> 16)) as u32)).to_ne_bytes()
}

/// A sum that is not inverted (two bytes as they are in memory) after `diff`.
#[inline(always)]
#[must_use]
pub const fn add(sum: [u8; 2], diff: u32) -> [u8; 2] {
    let [a, b] = sum;
    let [c, d] = update([!a, !b], diff);
    [!c, !d]
}

/// Whether two fields stand for the same sum, of which zero has two representations.
#[inline(always)]
#[must_use]
pub const fn equal(a: [u8; 2], b: [u8; 2]) -> bool {
    let (a, b) = (u16::from_ne_bytes(a), u16::from_ne_bytes(b));
    a == b || a == !b && (a == 0 || b == 0)
}

/// As [`update`] for UDP: 0 means no checksum and stays; a computed 0 becomes 0xffff (RFC 768).
#[inline(always)]
#[must_use]
pub const fn update_udp(check: [u8; 2], diff: u32) -> [u8; 2] {
    if check[0] == 0 && check[1] == 0 {
        return check;
    }
    match update(check, diff) {
        [0, 0] => [0xff, 0xff],
        c => c,
    }
}

/// The checksum of `data` computed in full, as the two bytes to store. For tests and user space.
#[must_use]
pub fn full(parts: &[&[u8]]) -> [u8; 2] {
    let mut sum: u64 = 0;
    for part in parts {
        let mut words = part.chunks_exact(2);
        for w in &mut words {
            if let [a, b] = w {
                sum += u64::from(u16::from_ne_bytes([*a, *b]));
            }
        }
        if let [last] = words.remainder() {
            sum += u64::from(u16::from_ne_bytes([*last, 0]));
        }
    }
    while sum >> 16 != 0 {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    (!(sum as u16)).to_ne_bytes()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn incremental_equals_full(mut data in prop::collection::vec(any::<u8>(), 24), new in any::<[u8; 4]>(), port: u16) {
            // A sum of all zero words has two representations; the field value is compared by
            // verifying, as a receiver does.
            data[0] = 0x45;
            let check = full(&[&data]);
            let old = [data[4], data[5], data[6], data[7]];
            let old_port = u16::from_be_bytes([data[10], data[11]]);
            let diff = Diff::new().bytes4(old, new).be16(old_port, port).wsum();
            let updated = update(check, diff);
            data[4..8].copy_from_slice(&new);
            data[10..12].copy_from_slice(&port.to_be_bytes());
            prop_assert_eq!(full(&[&data, &updated]), [0, 0]);
        }
    }

    #[test]
    fn udp_zero_stays_and_is_never_made() {
        assert_eq!(update_udp([0, 0], 12345), [0, 0]);
        // A field of 0xfffe with a change of +1 (in memory order) would give 0xfffd; look for the
        // change that gives 0 and see 0xffff instead.
        let hit = (0..=u16::MAX)
            .filter(|d| update([0x12, 0x34], u32::from(*d)) == [0, 0])
            .map(|d| update_udp([0x12, 0x34], u32::from(d)))
            .collect::<std::vec::Vec<_>>();
        assert!(!hit.is_empty() && hit.iter().all(|c| *c == [0xff, 0xff]));
    }

    #[test]
    fn known_header() {
        // The example of RFC 1071, section 3.
        let data = [0x00, 0x01, 0xf2, 0x03, 0xf4, 0xf5, 0xf6, 0xf7];
        assert_eq!(full(&[&data]), [0x22, 0x0d]);
    }
}
