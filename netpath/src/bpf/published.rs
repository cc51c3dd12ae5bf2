//! Published ports and reserved ports.
//!
//! Owns the maps `np_published4` and `np_published6` and the bitmap `np_reserved`, and keeps them in
//! step: masquerade never chooses a port that is published, by either family, or that the host's
//! administrator has reserved.

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    fs,
    os::fd::AsFd as _,
};

use netpath_common::{
    V4, V6, maps,
    records::{Published, PublishedKey},
    tuple::{TCP, UDP},
};

use super::{Datapath, Error, Family, batch, bits, sys};

/// A published port: where it is, and where it leads.
pub type Entry<A = V4> = (PublishedKey<A>, Published<A>);

/// Up to this many keys are looked up one by one; for more the whole map is read in batches.
const FEW: usize = 1024;
/// Ports that the administrator keeps out of automatic choice.
const LOCAL_RESERVED: &str = "/proc/sys/net/ipv4/ip_local_reserved_ports";

impl Datapath {
    /// Every published port of IPv4.
    pub fn published(&self) -> Result<Vec<Entry>, Error> {
        self.published_of::<V4>()
    }

    /// Every published port of a family.
    pub fn published_of<A: Family>(&self) -> Result<Vec<Entry<A>>, Error> {
        batch::read_all(self, A::PUBLISHED)
    }

    /// Publishes ports, all or none, and reserves them.
    ///
    /// # Errors
    /// After an error the map is as it was before.
    pub fn publish<A: Family>(&self, entries: &[Entry<A>]) -> Result<(), Error> {
        let (keys, values): (Vec<_>, Vec<_>) = entries.iter().copied().unzip();
        let before = self.lookup_published(&keys)?;
        // Reserved first: no flow may take a port between the two steps.
        self.change_reserved(keys.iter().map(|k| (k.proto, k.port)), true)?;
        self.take(entries)?;
        let written = batch::write(self, A::PUBLISHED, &keys, &values);
        if let Err(e) = written {
            self.restore(&keys, &before);
            return Err(e);
        }
        Ok(())
    }

    /// Removes published ports, and the reservation of those that nothing else reserves.
    pub fn unpublish<A: Family>(&self, keys: &[PublishedKey<A>]) -> Result<(), Error> {
        batch::remove(self, A::PUBLISHED, keys)?;
        self.release(keys)
    }

    /// Reserves a port against masquerade, or releases it; nothing for protocols without ports.
    pub fn set_reserved(&self, proto: u8, port: u16, reserved: bool) -> Result<(), Error> {
        self.change_reserved([(proto, port)].into_iter(), reserved)
    }

    fn lookup_published<A: Family>(
        &self,
        keys: &[PublishedKey<A>],
    ) -> Result<Vec<Option<Published<A>>>, Error> {
        if keys.len() > FEW {
            let all: HashMap<_, _> = self.published_of::<A>()?.into_iter().collect();
            return Ok(keys.iter().map(|key| all.get(key).copied()).collect());
        }
        let map = self.map_fd(A::PUBLISHED)?;
        keys.iter()
            .map(|key| sys::lookup(map.as_fd(), key))
            .collect::<Result<_, _>>()
            .map_err(|e| Error::system(format!("reading {}", A::PUBLISHED), e))
    }

    /// Puts entries back as they were. Failures are only logged: the first error is the one that
    /// the caller needs.
    fn restore<A: Family>(&self, keys: &[PublishedKey<A>], before: &[Option<Published<A>>]) {
        let (mut old, mut values, mut new) = (Vec::new(), Vec::new(), Vec::new());
        for (key, value) in keys.iter().zip(before) {
            match value {
                Some(value) => {
                    old.push(*key);
                    values.push(*value);
                }
                None => new.push(*key),
            }
        }
        let undone = batch::remove(self, A::PUBLISHED, &new)
            .and_then(|()| batch::write(self, A::PUBLISHED, &old, &values))
            .and_then(|()| self.release(&new));
        if let Err(e) = undone {
            tracing::error!("putting the published ports back failed: {e}");
        }
    }

    fn release<A: Family>(&self, keys: &[PublishedKey<A>]) -> Result<(), Error> {
        self.sync_taken()?;
        let v4 = self.published_of::<V4>()?.into_iter();
        let v6 = self.published_of::<V6>()?.into_iter();
        let mut published: HashSet<_> = v4.map(|(k, _)| (k.proto, k.port)).collect();
        published.extend(v6.map(|(k, _)| (k.proto, k.port)));
        let local = local_reserved()?;
        let free = keys
            .iter()
            .map(|k| (k.proto, k.port))
            .filter(|p| !published.contains(p) && !local.iter().any(|r| r.contains(&p.1)));
        self.change_reserved(free, false)
    }

    fn change_reserved(
        &self,
        ports: impl Iterator<Item = (u8, u16)>,
        reserved: bool,
    ) -> Result<(), Error> {
        let mut masks = BTreeMap::<u32, u64>::new();
        for (proto, port) in ports {
            if let Some((word, bit)) = maps::reserved_word(proto, port) {
                *masks.entry(word).or_default() |= bit;
            }
        }
        bits::change(self, maps::RESERVED, maps::RESERVED_WORDS, &masks, reserved)
    }

    /// Reserves what the administrator reserved, for a fresh instance.
    pub(super) fn reserve_local(&self) -> Result<(), Error> {
        let ranges = local_reserved()?;
        let ports = ranges
            .into_iter()
            .flatten()
            .flat_map(|p| [(TCP, p), (UDP, p)]);
        self.change_reserved(ports, true)
    }
}

fn local_reserved() -> Result<Vec<std::ops::RangeInclusive<u16>>, Error> {
    let text = fs::read_to_string(LOCAL_RESERVED)
        .map_err(|e| Error::system(format!("reading {LOCAL_RESERVED}"), e))?;
    Ok(parse_ranges(&text))
}

fn parse_ranges(text: &str) -> Vec<std::ops::RangeInclusive<u16>> {
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
}
