//! Published ranges of ports: their entries, their starts, and the ports that they reserve.
//!
//! Owns the maps `np_published4`, `np_published6`, `np_starts` and `np_reserved`, and the order in
//! which a change writes them: at every moment what stays is found, and masquerade chooses no port
//! that is published or that the host's administrator has reserved. Which entries there are is
//! `netpath_common::publish`'s.

use std::{collections::HashMap, fs, hash::Hash, ops::RangeInclusive, os::fd::AsFd as _};

use bytemuck::Pod;
use netpath_common::{
    V4, V6, maps,
    publish::{AllStarts, Change, START_PROTOCOLS, Starts},
    records::{Published, PublishedKey},
    tuple::{SCTP, TCP, UDP},
};

use super::{Datapath, Error, batch, bits, sys};

/// Up to this many keys are looked up one by one; for more the whole map is read in batches.
const FEW: usize = 16;
/// Ports that the administrator keeps out of automatic choice.
const LOCAL_RESERVED: &str = "/proc/sys/net/ipv4/ip_local_reserved_ports";

/// Ports that masquerade never chooses: the words of `np_reserved`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Reserved(Vec<u64>);

impl Default for Reserved {
    fn default() -> Self {
        Self(vec![0; maps::RESERVED_WORDS])
    }
}

impl Reserved {
    /// Adds ports, a word at a time; nothing for protocols without ports.
    pub fn add(&mut self, proto: u8, ports: RangeInclusive<u16>) {
        for (index, mask) in bits::of_ports(ports, |port| maps::reserved_word(proto, port)) {
            if let Some(word) = self.0.get_mut(index as usize) {
                *word |= mask;
            }
        }
    }

    /// The ports of both.
    fn union(&self, other: &Self) -> Self {
        Self(self.0.iter().zip(&other.0).map(|(a, b)| a | b).collect())
    }

    /// Whether every port of `other` is among these.
    #[must_use]
    pub fn holds(&self, other: &Self) -> bool {
        self.0.iter().zip(&other.0).all(|(a, b)| b & !a == 0)
    }
}

/// A change of what is published.
#[derive(Clone, Debug, Default)]
pub struct PortChange {
    /// Entries of IPv4.
    pub v4: Change<V4>,
    /// Entries of IPv6.
    pub v6: Change<V6>,
    /// The starts that there will be.
    pub starts: AllStarts,
    /// The ports that will be reserved for being published.
    pub reserved: Reserved,
}

impl PortChange {
    /// Entries that are written or removed.
    #[must_use]
    pub fn entries(&self) -> usize {
        let of = |write: usize, remove: usize| write + remove;
        of(self.v4.write.len(), self.v4.remove.len())
            + of(self.v6.write.len(), self.v6.remove.len())
    }
}

/// An entry of the map of a family.
pub type Entry<A = V4> = (PublishedKey<A>, Published<A>);

/// The maps before a change, as far as it touches them.
struct Before {
    v4: Vec<(PublishedKey<V4>, Option<Published<V4>>)>,
    v6: Vec<(PublishedKey<V6>, Option<Published<V6>>)>,
    starts: AllStarts,
    reserved: Reserved,
}

impl Datapath {
    /// Every entry of IPv4.
    pub fn published(&self) -> Result<Vec<Entry>, Error> {
        batch::read_all(self, maps::PUBLISHED4)
    }

    /// Every entry of IPv6.
    pub fn published6(&self) -> Result<Vec<Entry<V6>>, Error> {
        batch::read_all(self, maps::PUBLISHED6)
    }

    /// Where published ranges begin.
    pub fn starts(&self) -> Result<AllStarts, Error> {
        let map = self.map_fd(maps::STARTS)?;
        let mut keys = [0u32; START_PROTOCOLS];
        let mut all = AllStarts::default();
        sys::lookup_batch(map.as_fd(), None, &mut keys, &mut all)
            .map_err(|e| Error::system(format!("reading {}", maps::STARTS), e))?;
        Ok(all)
    }

    /// The ports that masquerade never chooses.
    pub fn reserved(&self) -> Result<Reserved, Error> {
        let map = self.map_fd(maps::RESERVED)?;
        let (mut keys, mut all) = (vec![0u32; maps::RESERVED_WORDS], Reserved::default());
        sys::lookup_batch(map.as_fd(), None, &mut keys, &mut all.0)
            .map_err(|e| Error::system(format!("reading {}", maps::RESERVED), e))?;
        Ok(all)
    }

    /// Changes what is published, all or nothing. What goes stays taken until [`Datapath::sync_taken`]:
    /// a port that endpoints share goes with the last of them.
    ///
    /// # Errors
    /// After an error the maps are as they were before.
    pub fn change_ports(&self, change: &PortChange) -> Result<(), Error> {
        let before = Before {
            v4: self.entries_before(maps::PUBLISHED4, &change.v4)?,
            v6: self.entries_before(maps::PUBLISHED6, &change.v6)?,
            starts: self.starts()?,
            reserved: self.reserved()?,
        };
        let written = self.write_ports(change, &before);
        if let Err(e) = written {
            // Failures are only logged: the first error is the one that the caller needs.
            if let Err(e) = self.restore(&before) {
                tracing::error!("putting the published ports back failed: {e}");
            }
            return Err(e);
        }
        Ok(())
    }

    fn write_ports(&self, change: &PortChange, before: &Before) -> Result<(), Error> {
        let reserved = change.reserved.union(&local_reserved()?);
        // Reserved first: no flow may take a port between the steps.
        let all = reserved.union(&before.reserved);
        self.write_reserved(&before.reserved, &all)?;
        self.take(&change.v4.write)?;
        self.take(&change.v6.write)?;
        write_pairs(self, maps::PUBLISHED4, &change.v4.write)?;
        write_pairs(self, maps::PUBLISHED6, &change.v6.write)?;
        self.write_starts(&before.starts, &change.starts)?;
        batch::remove(self, maps::PUBLISHED4, &change.v4.remove)?;
        batch::remove(self, maps::PUBLISHED6, &change.v6.remove)?;
        self.write_reserved(&all, &reserved)
    }

    /// Adds and removes starts, so that a search meanwhile finds all that stay, see [`Starts`].
    fn write_starts(&self, before: &AllStarts, after: &AllStarts) -> Result<(), Error> {
        for (index, (old, new)) in (0u32..).zip(before.iter().zip(after)) {
            let all = old.union(new);
            let steps = [all.with_levels_of(old), all, all.with_levels_of(new), *new];
            let mut last = *old;
            for step in steps {
                if step != last {
                    batch::write::<u32, Starts>(self, maps::STARTS, &[index], &[step])?;
                }
                last = step;
            }
        }
        Ok(())
    }

    fn write_reserved(&self, before: &Reserved, after: &Reserved) -> Result<(), Error> {
        let pairs = before.0.iter().zip(&after.0).enumerate();
        let (keys, words): (Vec<u32>, Vec<u64>) = pairs
            .filter(|(_, (old, new))| old != new)
            .map(|(index, (_, new))| (index as u32, *new))
            .unzip();
        if keys.is_empty() {
            return Ok(());
        }
        batch::write(self, maps::RESERVED, &keys, &words)
    }

    fn entries_before<K: Pod + Eq + Hash, V: Pod>(
        &self,
        map: &str,
        change: &impl Keys<K>,
    ) -> Result<Vec<(K, Option<V>)>, Error> {
        let keys = change.keys();
        if keys.len() > FEW {
            let all: HashMap<K, V> = batch::read_all(self, map)?.into_iter().collect();
            let found = |key: K| (key, all.get(&key).copied());
            return Ok(keys.into_iter().map(found).collect());
        }
        if keys.is_empty() {
            return Ok(Vec::new());
        }
        let fd = self.map_fd(map)?;
        let look = |key: K| Ok((key, sys::lookup(fd.as_fd(), &key)?));
        keys.into_iter()
            .map(look)
            .collect::<Result<_, std::io::Error>>()
            .map_err(|e| Error::system(format!("reading {map}"), e))
    }

    fn restore(&self, before: &Before) -> Result<(), Error> {
        restore_entries(self, maps::PUBLISHED4, &before.v4, false)?;
        restore_entries(self, maps::PUBLISHED6, &before.v6, false)?;
        self.write_starts(&self.starts()?, &before.starts)?;
        restore_entries(self, maps::PUBLISHED4, &before.v4, true)?;
        restore_entries(self, maps::PUBLISHED6, &before.v6, true)?;
        self.write_reserved(&self.reserved()?, &before.reserved)?;
        self.sync_taken()
    }

    /// Reserves what the administrator reserved, for a fresh instance.
    pub(super) fn reserve_local(&self) -> Result<(), Error> {
        let found = self.reserved()?;
        self.write_reserved(&found, &found.union(&local_reserved()?))
    }
}

/// The keys that a change touches.
trait Keys<K> {
    fn keys(&self) -> Vec<K>;
}

impl<A: Copy> Keys<PublishedKey<A>> for Change<A> {
    fn keys(&self) -> Vec<PublishedKey<A>> {
        let written = self.write.iter().map(|(key, _)| *key);
        written.chain(self.remove.iter().copied()).collect()
    }
}

fn write_pairs<K: Pod, V: Pod>(dp: &Datapath, map: &str, pairs: &[(K, V)]) -> Result<(), Error> {
    if pairs.is_empty() {
        return Ok(());
    }
    let (keys, values): (Vec<K>, Vec<V>) = pairs.iter().copied().unzip();
    batch::write(dp, map, &keys, &values)
}

/// Writes entries as they were; with `absent` removes those that were not there instead.
fn restore_entries<K: Pod, V: Pod>(
    dp: &Datapath,
    map: &str,
    before: &[(K, Option<V>)],
    absent: bool,
) -> Result<(), Error> {
    if absent {
        let new = before.iter().filter(|(_, value)| value.is_none());
        return batch::remove(dp, map, &new.map(|(key, _)| *key).collect::<Vec<_>>());
    }
    let old = before
        .iter()
        .filter_map(|(key, value)| Some((*key, (*value)?)));
    write_pairs(dp, map, &old.collect::<Vec<_>>())
}

fn local_reserved() -> Result<Reserved, Error> {
    let text = fs::read_to_string(LOCAL_RESERVED)
        .map_err(|e| Error::system(format!("reading {LOCAL_RESERVED}"), e))?;
    let mut reserved = Reserved::default();
    for ports in parse_ranges(&text) {
        for proto in [TCP, UDP, SCTP] {
            reserved.add(proto, ports.clone());
        }
    }
    Ok(reserved)
}

fn parse_ranges(text: &str) -> Vec<RangeInclusive<u16>> {
    text.trim()
        .split(',')
        .filter_map(|part| {
            let (first, last) = part.split_once('-').unwrap_or((part, part));
            Some(first.trim().parse().ok()?..=last.trim().parse().ok()?)
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernels_port_lists_are_understood() {
        assert_eq!(parse_ranges("\n"), []);
        assert_eq!(parse_ranges("8080,9148-9150\n"), [8080..=8080, 9148..=9150]);
    }

    #[test]
    fn ranges_are_reserved_bit_by_bit() {
        for (first, last) in [
            (0, 0),
            (63, 64),
            (1, 65_535),
            (100, 100),
            (70, 300),
            (64, 127),
        ] {
            let mut words = Reserved::default();
            words.add(UDP, first..=last);
            for proto in [TCP, UDP, SCTP] {
                for port in 0..=u16::MAX {
                    let (word, bit) = maps::reserved_word(proto, port).unwrap();
                    let want = proto == UDP && (first..=last).contains(&port);
                    assert_eq!(words.0[word as usize] & bit != 0, want, "{proto} {port}");
                }
            }
            assert!(words.holds(&Reserved::default()) && words.holds(&words.clone()));
            assert!(!Reserved::default().holds(&words));
        }
    }
}
