//! Published ports that nobody else may bind.
//!
//! Owns the bitmap `np_taken`: a set bit says that some address of the host has this port published.
//! The socket programs look further only then. Ports of networks whose ports somebody else holds are
//! not in it.

use std::collections::{BTreeMap, HashMap};

use netpath_common::{
    Addr, V4, V6, maps,
    records::{NETWORK_PORTS_FREE, Published, PublishedKey},
};

use super::{Datapath, Error, bits};

impl Datapath {
    /// Brings the bitmap in line with what is published and with who holds the ports.
    ///
    /// # Errors
    /// A map cannot be read or written.
    pub fn sync_taken(&self) -> Result<(), Error> {
        let mut wanted = self.taken_bits(&self.published()?)?;
        wanted.extend(self.taken_bits(&self.published6()?)?);
        bits::replace(self, maps::TAKEN, maps::TAKEN_WORDS, &wanted)
    }

    /// Adds ports that are about to be published.
    pub(super) fn take<A: Addr>(
        &self,
        entries: &[(PublishedKey<A>, Published<A>)],
    ) -> Result<(), Error> {
        let masks = self.taken_bits(entries)?;
        bits::change(self, maps::TAKEN, maps::TAKEN_WORDS, &masks, true)
    }

    fn taken_bits<A: Addr>(
        &self,
        entries: &[(PublishedKey<A>, Published<A>)],
    ) -> Result<BTreeMap<u32, u64>, Error> {
        let mut masks = BTreeMap::<u32, u64>::new();
        let (mut held, mut shared) = (HashMap::<u16, bool>::new(), HashMap::<u16, bool>::new());
        for (key, to) in entries {
            let is_held = match (to.group, shared.get(&to.group)) {
                (0, _) => self.is_held(to.endpoint, &mut held)?,
                (_, Some(found)) => *found,
                (group, None) => {
                    let found = self.is_group_held(group, &mut held)?;
                    shared.insert(group, found);
                    found
                }
            };
            if is_held {
                continue;
            }
            let place = |port| maps::taken_word::<A>(key.proto, port);
            for (word, mask) in bits::of_ports(key.port..=to.last, place) {
                *masks.entry(word).or_default() |= mask;
            }
        }
        Ok(masks)
    }

    /// Whether somebody else holds the ports of everyone in a group.
    fn is_group_held(&self, group: u16, held: &mut HashMap<u16, bool>) -> Result<bool, Error> {
        for backend in self.backends(group)?.list {
            if backend.endpoint != 0 && !self.is_held(backend.endpoint, held)? {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// The same of an endpoint's; `held` is what is known already.
    fn is_held(&self, endpoint: u16, held: &mut HashMap<u16, bool>) -> Result<bool, Error> {
        if let Some(found) = held.get(&endpoint) {
            return Ok(*found);
        }
        let found = self.is_network_held(endpoint)?;
        held.insert(endpoint, found);
        Ok(found)
    }

    fn is_network_held(&self, endpoint: u16) -> Result<bool, Error> {
        let network = self.endpoint(endpoint)?.network;
        Ok(self.network(network)?.flags & NETWORK_PORTS_FREE != 0)
    }

    /// Whether a published port stands against a bind to any address, for tests and for `status`.
    ///
    /// # Errors
    /// The map cannot be read.
    pub fn is_taken(&self, proto: u8, port: u16) -> Result<bool, Error> {
        let word = |place: Option<(u32, u64)>| {
            let Some((word, bit)) = place else {
                return Ok(false);
            };
            let words = self.array::<u64>(maps::TAKEN)?;
            let word = words
                .get(&word, 0)
                .map_err(|e| Error::map("reading", maps::TAKEN, e))?;
            Ok(word & bit != 0)
        };
        Ok(
            word(maps::taken_word::<V4>(proto, port))?
                || word(maps::taken_word::<V6>(proto, port))?,
        )
    }
}
