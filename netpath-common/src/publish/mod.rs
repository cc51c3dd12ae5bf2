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
        RuleRecord, SourceKey,
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
    fn published(&self, key: &PublishedKey<Self::A>) -> Option<&Published<Self::A>>;
    /// The backends of a group.
    fn backends(&self, group: u32) -> Option<&Backends>;
    /// Whether the allow list of a rule holds an address.
    fn is_listed(&self, source: &SourceKey<Self::A>) -> bool;
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

/// A look-up: the question, the answer's target, and the memory that it needs in between. That is large
/// for IPv6 and the stack of a program is not, so packets have theirs in [`crate::datapath::Work`].
#[repr(C)]
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Lookup<A> {
    /// Who asks for what.
    pub asked: Asked<A>,
    /// Where it leads.
    pub target: Target<A>,
    key: PublishedKey<A>,
    pub(crate) source: SourceKey<A>,
    place: u32,
    best: u32,
    index: u32,
    group: u32,
    /// One of the backends could have been had but for its allow list.
    refused: u32,
}

impl<A: Addr> Lookup<A> {
    /// A look-up for this question.
    #[inline(always)]
    #[must_use]
    pub fn new(asked: Asked<A>) -> Self {
        Self {
            asked,
            ..Self::default()
        }
    }
}

/// The entry that holds a port: that of the exact address first, then that of any address unless
/// `exact` is set. `key` is written.
#[inline(always)]
pub fn entry_of<'t, T: PublishedPorts>(
    t: &'t T,
    key: &mut PublishedKey<T::A>,
    asked: &Asked<T::A>,
) -> Option<&'t Published<T::A>> {
    let (port, proto) = (asked.dport, asked.proto);
    let start = t.starts(proto)?.at_or_below(port);
    if start == NO_START {
        return None;
    }
    *key = PublishedKey {
        addr: asked.dst,
        port: start as u16,
        proto,
        zero: 0,
    };
    // Every range that holds the port has an entry at the nearest start: user space sees to that.
    if let Some(p) = t.published(key)
        && port <= p.last
    {
        return Some(p);
    }
    if asked.exact {
        return None;
    }
    key.addr = T::A::NONE;
    t.published(key).filter(|p| port <= p.last)
}

/// Where a published port leads for a client; the target is written where it leads somewhere.
#[inline(always)]
pub fn find<T: PublishedPorts>(t: &T, l: &mut Lookup<T::A>) -> Answer {
    let Some(p) = entry_of(t, &mut l.key, &l.asked) else {
        return Answer::Nothing;
    };
    let port = p.port.wrapping_add(l.asked.dport.wrapping_sub(l.key.port));
    if p.group != 0 {
        l.group = u32::from(p.group);
        return balance(t, l, port);
    }
    if !lets_in(t, p.rule, l) {
        return Answer::NotAllowed;
    }
    l.target = Target {
        addr: p.addr,
        port,
        endpoint: p.endpoint,
        rule: p.rule,
    };
    Answer::Found
}

/// Whether a rule lets a client in.
#[inline(always)]
pub(crate) fn admits<T: PublishedPorts>(t: &T, rule: u16, src: &T::A) -> bool {
    !has_list(t, rule) || t.is_listed(&SourceKey::of(rule, *src))
}

/// Whether a rule lets in who asks. [`Addr::NONE`] is the host itself, which every rule does.
#[inline(always)]
fn lets_in<T: PublishedPorts>(t: &T, rule: u16, l: &mut Lookup<T::A>) -> bool {
    if !has_list(t, rule) || l.asked.src == T::A::NONE {
        return true;
    }
    l.source = SourceKey::of(rule, l.asked.src);
    t.is_listed(&l.source)
}

#[inline(always)]
fn has_list<T: PublishedPorts>(t: &T, rule: u16) -> bool {
    t.rule(rule).is_some_and(|r| r.flags & RULE_ALLOW != 0)
}

/// What a search among backends is given.
struct Search<'s, T: PublishedPorts> {
    t: &'s T,
    l: &'s mut Lookup<T::A>,
}

/// Chooses a backend. `ahead`: how many ports of the range come before the one that is asked for.
#[inline(always)]
fn balance<T: PublishedPorts>(t: &T, l: &mut Lookup<T::A>, ahead: u16) -> Answer {
    let Some(backends) = t.backends(l.group) else {
        return Answer::Nothing;
    };
    let asked = &l.asked;
    l.place = place_of(&asked.src, asked.sport, &asked.dst, asked.dport);
    let index = backends.table.get(l.place as usize).copied();
    l.index = u32::from(index.unwrap_or(NO_BACKEND));
    if standing(t, l, l.index) != STANDS {
        let tabled = l.index;
        l.index = MAX_BACKENDS as u32;
        l.best = 0;
        l.refused = 0;
        let mut search = Search { t, l: &mut *l };
        t.repeat(MAX_BACKENDS as u32, &mut search, look::<T>);
        if l.index >= MAX_BACKENDS as u32 {
            if l.refused != 0 {
                return Answer::NotAllowed;
            }
            // With all of them dead the flow goes where it would go, and is dropped there.
            l.index = tabled;
            if !lets_in(t, backends.at(tabled).rule, l) {
                return Answer::NotAllowed;
            }
        }
    }
    let b = backends.at(l.index);
    if b.endpoint == 0 {
        return Answer::Nothing;
    }
    let Some(endpoint) = t.endpoint(b.endpoint) else {
        return Answer::Nothing;
    };
    l.target = Target {
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
    let Search { t, l } = unsafe { &mut *search };
    let t = *t;
    let wanted = claim(l.place, i);
    // None of the claims is 0 but perhaps that of index 0, which then is the first.
    if wanted < l.best {
        return 0;
    }
    match standing(t, l, i) {
        STANDS => {
            l.best = wanted;
            l.index = i;
        }
        REFUSES => l.refused = 1,
        _ => {}
    }
    0
}

/// [`standing`]: the backend cannot be sent to.
const DEAD: u32 = 0;
/// The same: it can be, but does not let the client in.
const REFUSES: u32 = 1;
/// The same: it can be, and does.
const STANDS: u32 = 2;

/// What there is to say of the backend at an index. A subprogram, for the sake of the stack.
#[inline(never)]
fn standing<T: PublishedPorts>(t: &T, l: &mut Lookup<T::A>, index: u32) -> u32 {
    let Some(backends) = t.backends(l.group) else {
        return DEAD;
    };
    let b = backends.at(index);
    if !is_alive(t, b) {
        DEAD
    } else if lets_in(t, b.rule, l) {
        STANDS
    } else {
        REFUSES
    }
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
