//! Which entries a published range has, and which of them a change writes and removes.
//!
//! Owns the rule that [`super::entry_of`] relies on: every range that holds a port has an entry at the
//! nearest start below it. So a range has one entry, however wide it is, and one more for each other
//! range that begins within, of whatever address and family. Writes nothing.

use std::{collections::HashMap, vec::Vec};

use super::{NO_START, START_PROTOCOLS, Starts, starts_index};
use crate::{
    addr::{Addr, V4},
    records::{Published, PublishedKey},
};

/// A published range as it was asked for: the key of its first port, and where that leads.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Binding<A = V4> {
    /// Address, first port and protocol.
    pub key: PublishedKey<A>,
    /// Where it leads.
    pub to: Published<A>,
}

/// Starts of all protocols, by [`starts_index`].
pub type AllStarts = [Starts; START_PROTOCOLS];

/// The starts of ranges, given as protocol and first port.
#[must_use]
pub fn starts_of(ranges: impl IntoIterator<Item = (u8, u16)>) -> AllStarts {
    let mut all = AllStarts::default();
    for (proto, first) in ranges {
        if let Some(starts) = starts_index(proto).and_then(|i| all.get_mut(i as usize)) {
            starts.insert(first);
        }
    }
    all
}

impl<A: Addr> Binding<A> {
    const fn is_single(&self) -> bool {
        self.key.port == self.to.last
    }

    /// The entry of this range at `start`, a port of it.
    fn entry_at(&self, start: u16) -> (PublishedKey<A>, Published<A>) {
        let (key, to) = (
            PublishedKey {
                port: start,
                ..self.key
            },
            Published {
                port: self.to.port.wrapping_add(start - self.key.port),
                ..self.to
            },
        );
        (key, to)
    }

    /// All entries of this range, the last start first.
    pub fn entries<'s>(
        &self,
        starts: &'s AllStarts,
    ) -> impl Iterator<Item = (PublishedKey<A>, Published<A>)> + use<'s, A> {
        let this = *self;
        let starts = starts_index(self.key.proto).and_then(|i| starts.get(i as usize));
        let mut next = Some(self.to.last);
        std::iter::from_fn(move || {
            let start = starts?.at_or_below(next?);
            if start == NO_START || start < u32::from(this.key.port) {
                return None;
            }
            let start = start as u16;
            next = start.checked_sub(1);
            Some(this.entry_at(start))
        })
    }
}

/// What a change writes into the map, then removes from it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Change<A = V4> {
    /// Entries to write.
    pub write: Vec<(PublishedKey<A>, Published<A>)>,
    /// Keys to remove.
    pub remove: Vec<PublishedKey<A>>,
}

impl<A> Default for Change<A> {
    fn default() -> Self {
        Self {
            write: Vec::new(),
            remove: Vec::new(),
        }
    }
}

/// What ranges that go, come and stay change in the map, whose starts were `before` and will be `after`.
///
/// Ranges of one port that stay are not looked at: a change costs what it changes, and a look at every
/// wide range.
#[must_use]
pub fn change<A: Addr>(
    gone: &[Binding<A>],
    come: &[Binding<A>],
    stay: impl IntoIterator<Item = Binding<A>>,
    (before, after): (&AllStarts, &AllStarts),
) -> Change<A> {
    let mut old: HashMap<_, _> = gone.iter().flat_map(|b| b.entries(before)).collect();
    let mut new: HashMap<_, _> = come.iter().flat_map(|b| b.entries(after)).collect();
    for binding in stay.into_iter().filter(|b| !b.is_single()) {
        old.extend(binding.entries(before));
        new.extend(binding.entries(after));
    }
    let remove = old.keys().filter(|key| !new.contains_key(*key));
    let remove = remove.copied().collect();
    new.retain(|key, to| old.get(key) != Some(to));
    Change {
        write: new.into_iter().collect(),
        remove,
    }
}
