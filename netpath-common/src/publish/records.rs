//! The records of published ports: entries, allow lists, rules.
//!
//! Owns their byte layout, as [`crate::records`] does for the others, which hands these out as well.

use bytemuck::{Pod, Zeroable};

use crate::addr::{Addr, V4, V6};

/// Key of a published range of ports: its first one, or one within it where another range begins. An
/// all-zero address means any address of the host.
#[repr(C)]
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub struct PublishedKey<A = V4> {
    /// Address of the host, or zero.
    pub addr: A,
    /// Port of the host.
    pub port: u16,
    /// IP protocol number.
    pub proto: u8,
    /// Always zero.
    pub zero: u8,
}

/// Where a published range of ports leads, from the port of its key on.
#[repr(C)]
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Published<A = V4> {
    /// The container's address; zero where there is a group.
    pub addr: A,
    /// The container's port for the port of the key. Where there is a group: how many ports of the
    /// range come before that of the key.
    pub port: u16,
    /// Slot of the endpoint; 0 where there is a group.
    pub endpoint: u16,
    /// Slot of the rule; 0 where there is a group.
    pub rule: u16,
    /// The last port of the host.
    pub last: u16,
    /// Slot of the backends that share the range, 0 for none.
    pub group: u16,
    /// Always zero.
    pub zero: u16,
}

/// Key of a source that a rule lets in. The whole of `rule` counts, of the address a prefix.
#[repr(C)]
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub struct AllowedKey<A = V4> {
    /// Slot of the rule.
    pub rule: u32,
    /// Address of the client.
    pub addr: A,
}

/// Bits of [`AllowedKey::rule`], which come before those of the address.
pub const ALLOWED_RULE_BITS: u32 = 32;

/// A question to the trie of allow lists: how many bits count, then the key, which the kernel's program
/// takes as it stands.
#[repr(C)]
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct SourceKey<A = V4> {
    /// All of them.
    pub bits: u32,
    /// Rule and source.
    pub key: AllowedKey<A>,
}

impl<A> SourceKey<A> {
    /// The whole of an address behind a rule.
    #[inline(always)]
    #[must_use]
    pub const fn of(rule: u16, addr: A) -> Self {
        Self {
            bits: ALLOWED_RULE_BITS + 8 * size_of::<A>() as u32,
            key: AllowedKey {
                rule: rule as u32,
                addr,
            },
        }
    }
}

/// Only clients of its allow list are let in by this rule.
pub const RULE_ALLOW: u32 = 1;
/// It names 0.0.0.0, so whoever asks for an IPv6 address of the host does not ask for it.
pub const RULE_IPV4: u32 = 2;

/// Generations are below this, so that the sum of the four that a flow depends on leaves the bits from
/// [`REVISION_SHIFT`] on to the revision of its rule.
pub const GENERATIONS: u32 = 1 << 22;
/// Where the revision of a rule begins in its generation.
pub const REVISION_SHIFT: u32 = 24;

/// A publishing rule, by slot in `np_rules`.
#[repr(C)]
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Pod, Zeroable)]
pub struct RuleRecord {
    /// Grows whenever the rule is made, changed or removed. From [`REVISION_SHIFT`] on: how often its
    /// allow list has been changed since then. A flow of an earlier revision lives on if its client
    /// is still let in.
    pub generation: u32,
    /// `RULE_*`.
    pub flags: u32,
}

/// What one processor has counted for a rule: packets of both directions that its flows had translated,
/// and the ICMP errors and later fragments that belong to them.
#[repr(C)]
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Pod, Zeroable)]
pub struct RuleStats {
    /// Packets.
    pub packets: u64,
    /// Bytes of those, by frame length.
    pub bytes: u64,
}

macro_rules! of_either_family {
    ($($t:ident),+) => { $(
        // SAFETY: all zero is a valid value of every field.
        unsafe impl<A: Addr> Zeroable for $t<A> {}
        // SAFETY: `repr(C)`, every field is `Pod`, and the sizes asserted below leave no room for
        // padding.
        unsafe impl<A: Addr> Pod for $t<A> {}
    )+ };
}

of_either_family!(PublishedKey, Published, AllowedKey);

const _: () = {
    assert!(size_of::<PublishedKey>() == 8);
    assert!(size_of::<Published>() == 16);
    assert!(size_of::<AllowedKey>() == 8);
    assert!(size_of::<AllowedKey<V6>>() == 20);
    assert!(size_of::<RuleRecord>() == 8);
    assert!(size_of::<RuleStats>() == 16);
    assert!(size_of::<PublishedKey<V6>>() == 20);
    assert!(size_of::<Published<V6>>() == 28);
};
