//! Where the kernel keeps what no helper tells, from its own type information (BTF).
//!
//! Owns one question, and no more of the format than its answer needs
//! (`Documentation/bpf/btf.rst`).

use std::fs;

/// The kernel's type information.
const VMLINUX: &str = "/sys/kernel/btf/vmlinux";
/// Whether programs may read the kernel's memory (`lockdown=confidentiality` forbids it).
const LOCKDOWN: &str = "/sys/kernel/security/lockdown";

const MAGIC: u16 = 0xeb9f;
const STRUCT: u32 = 4;
/// Bytes at the beginning of `struct sock` that the socket programs look at.
const SOCK_BYTES: u32 = 32;

/// Where `IPV6_V6ONLY` is in the kernel's `struct sock`, as the socket programs take it: the byte's
/// offset, times 256, and its bit. 0 where the kernel does not tell, or forbids to look.
pub(super) fn v6only() -> u32 {
    if fs::read_to_string(LOCKDOWN).is_ok_and(|text| text.contains("[confidentiality]")) {
        return 0;
    }
    // `struct sock_common` is the beginning of every `struct sock`.
    let found = fs::read(VMLINUX)
        .ok()
        .and_then(|btf| member_bit(&btf, b"sock_common", b"skc_ipv6only"));
    found.and_then(place).unwrap_or(0)
}

/// A bit of the structure as the programs take it.
fn place(bit: u32) -> Option<u32> {
    let (byte, bit) = (bit / 8, bit % 8);
    // Bits of a byte are counted from its lowest on little-endian machines, else from its highest.
    let mask = if cfg!(target_endian = "little") {
        1 << bit
    } else {
        0x80 >> bit
    };
    (byte < SOCK_BYTES).then_some(byte << 8 | mask)
}

/// Where a member of one bit is within a structure, in bits from its beginning.
fn member_bit(btf: &[u8], structure: &[u8], member: &[u8]) -> Option<u32> {
    let half = |at: usize| Some(u16::from_ne_bytes(btf.get(at..at + 2)?.try_into().ok()?));
    let word = |at: usize| Some(u32::from_ne_bytes(btf.get(at..at + 4)?.try_into().ok()?));
    if half(0)? != MAGIC {
        return None;
    }
    let header = word(4)? as usize;
    let (types, types_len) = (header + word(8)? as usize, word(12)? as usize);
    let strings = header + word(16)? as usize;
    let is_named = |at: u32, name: &[u8]| {
        btf.get(strings + at as usize..)
            .and_then(|text| text.strip_prefix(name))
            .is_some_and(|rest| rest.first() == Some(&0))
    };
    let mut at = types;
    while at < types + types_len {
        let (name, info) = (word(at)?, word(at + 4)?);
        let (kind, count) = (info >> 24 & 0x1f, (info & 0xffff) as usize);
        let more = at + 12;
        if kind == STRUCT && is_named(name, structure) {
            for i in 0..count {
                let (name, offset) = (word(more + 12 * i)?, word(more + 12 * i + 8)?);
                // The size of a bit field is beside its offset where the kind flag is set.
                if is_named(name, member) && info >> 31 == 1 && offset >> 24 == 1 {
                    return Some(offset & 0x00ff_ffff);
                }
            }
            return None;
        }
        at = more + count_bytes(kind, count)?;
    }
    None
}

/// Bytes that follow the three words of every type.
fn count_bytes(kind: u32, count: usize) -> Option<usize> {
    Some(match kind {
        // Integers, variables and declaration tags have a word.
        1 | 14 | 17 => 4,
        // Arrays have three.
        3 => 12,
        // Structures, unions, large enumerations and sections have three each.
        4 | 5 | 15 | 19 => 12 * count,
        // Enumerations and prototypes have two each.
        6 | 13 => 8 * count,
        // Pointers, forward declarations, names, qualifiers, functions, floats and type tags.
        2 | 7..=12 | 16 | 18 => 0,
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_kernel_tells_where_the_option_is() {
        // Beside the options of address reuse, in the byte behind the state.
        let place = v6only();
        assert_eq!(place & 0xff, 1 << 5, "{place:#x}");
        assert!(place >> 8 < SOCK_BYTES && place >> 8 > 0, "{place:#x}");
    }

    #[test]
    fn what_is_no_type_information_tells_nothing() {
        let btf = fs::read(VMLINUX).unwrap();
        assert_eq!(member_bit(&btf, b"sock_common", b"no_such"), None);
        assert_eq!(member_bit(&btf, b"no_such", b"skc_ipv6only"), None);
        for len in [0, 1, 8, 24, 4096, btf.len() / 2] {
            let _ = member_bit(&btf[..len], b"sock_common", b"skc_ipv6only");
        }
        assert_eq!(member_bit(&[0xff; 64], b"sock_common", b"x"), None);
    }
}
