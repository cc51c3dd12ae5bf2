//! Where a published port leads: the one look-up that every way in asks.
//!
//! Owns the order of addresses, ranges, source allow lists and the choice among backends, for packets
//! and for sockets of the host alike. Does not make flows, and writes no map: which entries there are
//! is user space's.
//!
//! What it costs does not depend on how many ports, ranges and backends there are: the nearest start
//! of a range in a bitmap, at most two look-ups of a hash, and where a rule has one, its allow list.

mod backends;
pub(crate) mod records;
#[cfg(any(feature = "std", test))]
mod split;
mod starts;

pub use backends::*;
#[cfg(any(feature = "std", test))]
pub use split::*;
pub use starts::*;

use crate::{
    addr::Addr,
    records::{
        EndpointRecord, NETWORK_INTERNAL, NetworkRecord, Published, PublishedKey, RULE_ALLOW,
        RuleRecord,
    },
};

/// What the look-up asks of the world. Getters by slot answer `None` for slots out of range; a free
/// slot answers a zero record.
pub trait PublishedPorts {
    /// The family.
    type A: Addr;

    /// An endpoint by slot.
    fn endpoint(&self, slot: u16) -> Option<&EndpointRecord>;
    /// A network by slot.
    fn network(&self, slot: u16) -> Option<&NetworkRecord>;
    /// A publishing rule by slot.
    fn rule(&self, slot: u16) -> Option<&RuleRecord>;
    /// Where the published ranges of a protocol begin.
    fn starts(&self, proto: u8) -> Option<&Starts>;
    /// What begins at a port: exact key only.
    fn published(&self, key: &PublishedKey<Self::A>) -> Option<Published<Self::A>>;
    /// The backends of a group.
    fn backends(&self, group: u16) -> Option<&Backends>;
    /// Whether the allow list of a rule holds an address.
    fn is_listed(&self, rule: u16, source: &Self::A) -> bool;
    /// Whether the interface exists, as far as that can be asked here.
    fn is_there(&self, ifindex: u32) -> bool;
    /// Calls `body(i, state)` for `i` from 0 to `n` - 1 until it returns something but 0.
    ///
    /// The kernel's verifier walks a loop once for each turn, but a callback of `bpf_loop` once.
    fn repeat<S>(&self, n: u32, state: &mut S, body: extern "C" fn(u32, *mut S) -> i64);
}

/// Who asks for what.
#[repr(C)]
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Asked<A> {
    /// Address of the host.
    pub dst: A,
    /// The client's; [`Addr::NONE`] for the host itself, which is always allowed.
    pub src: A,
    /// Port of the host.
    pub dport: u16,
    /// The client's.
    pub sport: u16,
    /// IP protocol number.
    pub proto: u8,
    /// Published at this very address, not at any of the host.
    pub exact: bool,
}

/// Where a published port leads.
#[repr(C)]
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Target<A> {
    /// The container's address.
    pub addr: A,
    /// The container's port.
    pub port: u16,
    /// Slot of the endpoint.
    pub endpoint: u16,
    /// Slot of the rule.
    pub rule: u16,
}

/// The answer of [`find`].
#[repr(u32)]
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Answer {
    /// The port is not published.
    Nothing = 0,
    /// It is, and leads there.
    Found = 1,
    /// It is, but not for this client.
    NotAllowed = 2,
}

impl Answer {
    /// From a number, as subprograms of the kernel return it.
    #[inline(always)]
    #[must_use]
    pub const fn from_u32(n: u32) -> Self {
        match n {
            1 => Self::Found,
            2 => Self::NotAllowed,
            _ => Self::Nothing,
        }
    }
}

/// The entry that holds a port: that of the exact address first, then that of any address unless
/// `exact` is set.
#[inline(always)]
pub fn entry_of<T: PublishedPorts>(
    t: &T,
    dst: T::A,
    port: u16,
    proto: u8,
    exact: bool,
) -> Option<(u16, Published<T::A>)> {
    let start = t.starts(proto)?.at_or_below(port);
    if start == NO_START {
        return None;
    }
    let start = start as u16;
    let mut key = PublishedKey {
        addr: dst,
        port: start,
        proto,
        zero: 0,
    };
    // Every range that holds the port has an entry at the nearest start: user space sees to that.
    if let Some(p) = t.published(&key)
        && port <= p.last
    {
        return Some((start, p));
    }
    if exact {
        return None;
    }
    key.addr = T::A::NONE;
    t.published(&key)
        .filter(|p| port <= p.last)
        .map(|p| (start, p))
}

/// Where a published port leads for a client; `target` is written where it leads somewhere.
#[inline(always)]
pub fn find<T: PublishedPorts>(t: &T, asked: &Asked<T::A>, target: &mut Target<T::A>) -> Answer {
    let Some((start, p)) = entry_of(t, asked.dst, asked.dport, asked.proto, asked.exact) else {
        return Answer::Nothing;
    };
    let offset = asked.dport.wrapping_sub(start);
    if p.group != 0 {
        let ahead = p.port.wrapping_add(offset);
        return balance(t, asked, p.group, ahead, target);
    }
    if !admits(t, p.rule, &asked.src) {
        return Answer::NotAllowed;
    }
    *target = Target {
        addr: p.addr,
        port: p.port.wrapping_add(offset),
        endpoint: p.endpoint,
        rule: p.rule,
    };
    Answer::Found
}

/// Whether a rule lets a client in. [`Addr::NONE`] is the host itself.
#[inline(always)]
pub(crate) fn admits<T: PublishedPorts>(t: &T, rule: u16, src: &T::A) -> bool {
    let listed = t.rule(rule).is_some_and(|r| r.flags & RULE_ALLOW != 0);
    !listed || *src == T::A::NONE || t.is_listed(rule, src)
}

/// What a search among backends is given.
struct Search<'s, T: PublishedPorts> {
    t: &'s T,
    asked: &'s Asked<T::A>,
    group: u16,
    place: u32,
    best: u32,
    index: u32,
    /// One of them could have been had but for its allow list.
    refused: bool,
}

/// Chooses a backend. `ahead`: how many ports of the range come before the one that is asked for.
#[inline(always)]
fn balance<T: PublishedPorts>(
    t: &T,
    asked: &Asked<T::A>,
    group: u16,
    ahead: u16,
    target: &mut Target<T::A>,
) -> Answer {
    let Some(backends) = t.backends(group) else {
        return Answer::Nothing;
    };
    let place = place_of(&asked.src, asked.sport, &asked.dst, asked.dport);
    let index = backends.table.get(place as usize).copied();
    let mut index = u32::from(index.unwrap_or(NO_BACKEND));
    let b = backends.at(index);
    if !is_alive(t, b) || !admits(t, b.rule, &asked.src) {
        let mut search = Search {
            t,
            asked,
            group,
            place,
            best: 0,
            index: MAX_BACKENDS as u32,
            refused: false,
        };
        t.repeat(MAX_BACKENDS as u32, &mut search, look::<T>);
        if search.index < MAX_BACKENDS as u32 {
            index = search.index;
        } else if search.refused {
            return Answer::NotAllowed;
        }
        // With all of them dead the flow goes where it would go, and is dropped there.
    }
    let b = backends.at(index);
    if b.endpoint == 0 {
        return Answer::Nothing;
    }
    let Some(endpoint) = t.endpoint(b.endpoint) else {
        return Answer::Nothing;
    };
    *target = Target {
        addr: T::A::of_endpoint(endpoint),
        port: b.port.wrapping_add(ahead),
        endpoint: b.endpoint,
        rule: b.rule,
    };
    Answer::Found
}

/// Looks at one backend.
extern "C" fn look<T: PublishedPorts>(i: u32, search: *mut Search<'_, T>) -> i64 {
    // SAFETY: `repeat` hands on the pointer that `balance` gave it, and nobody else uses it.
    let s = unsafe { &mut *search };
    let Some(backends) = s.t.backends(s.group) else {
        return 1;
    };
    let b = backends.at(i);
    let wanted = claim(s.place, i);
    // None of the claims is 0 but perhaps that of index 0, which then is the first.
    if wanted < s.best || !is_alive(s.t, b) {
        return 0;
    }
    if !admits(s.t, b.rule, &s.asked.src) {
        s.refused = true;
        return 0;
    }
    s.best = wanted;
    s.index = i;
    0
}

/// Whether a backend can be sent to: its endpoint stands, has an address of this family, may be
/// entered, and its interface exists.
#[inline(always)]
fn is_alive<T: PublishedPorts>(t: &T, b: Backend) -> bool {
    if b.endpoint == 0 {
        return false;
    }
    let Some(e) = t.endpoint(b.endpoint) else {
        return false;
    };
    if e.ifindex == 0 || T::A::of_endpoint(e) == T::A::NONE {
        return false;
    }
    let Some(n) = t.network(e.network) else {
        return false;
    };
    n.flags & NETWORK_INTERNAL == 0 && t.is_there(e.ifindex)
}
