//! What the programs under test remember: flows and fragmented datagrams.
//!
//! Owns reading and writing of those maps. Loading and running is [`crate::runner`]'s.

use aya::{Ebpf, maps::HashMap};
use netpath_common::{
    Addr, V6,
    conntrack::CtEntry,
    maps,
    records::{FragKey, FragRecord},
    tuple::Tuple,
};

use crate::runner::Runner;

/// Fragmented datagrams of either family.
#[derive(Clone, Debug)]
pub struct Fragments {
    /// Of IPv4.
    pub v4: Vec<(FragKey, FragRecord)>,
    /// Of IPv6.
    pub v6: Vec<(FragKey<V6>, FragRecord<V6>)>,
}

/// The conntrack table of a family.
const fn conntrack<A: Addr>() -> &'static str {
    if A::IS_V6 { maps::CT6 } else { maps::CT4 }
}

impl Runner {
    /// Every conntrack entry.
    #[must_use]
    pub fn flows(&self) -> Vec<(Tuple, CtEntry)> {
        let map: HashMap<_, Tuple, CtEntry> =
            HashMap::try_from(self.ebpf.map(maps::CT4).unwrap()).unwrap();
        map.iter().map(Result::unwrap).collect()
    }

    /// As [`Runner::flows`], of IPv6.
    #[must_use]
    pub fn flows6(&self) -> Vec<(Tuple<V6>, CtEntry<V6>)> {
        let map: HashMap<_, Tuple<V6>, CtEntry<V6>> =
            HashMap::try_from(self.ebpf.map(maps::CT6).unwrap()).unwrap();
        map.iter().map(Result::unwrap).collect()
    }

    /// Writes a conntrack entry, past every rule.
    ///
    /// # Panics
    /// When the table is full.
    pub fn put_flow<A: Addr>(&mut self, key: &Tuple<A>, entry: &CtEntry<A>) {
        let mut map: HashMap<_, Tuple<A>, CtEntry<A>> =
            HashMap::try_from(self.ebpf.map_mut(conntrack::<A>()).unwrap()).unwrap();
        map.insert(key, entry, 0).unwrap();
    }

    /// The conntrack entry of a tuple.
    #[must_use]
    pub fn flow<A: Addr>(&self, key: &Tuple<A>) -> Option<CtEntry<A>> {
        let map: HashMap<_, Tuple<A>, CtEntry<A>> =
            HashMap::try_from(self.ebpf.map(conntrack::<A>()).unwrap()).unwrap();
        map.get(key, 0).ok()
    }

    /// Forgets every flow and every fragmented datagram.
    ///
    /// # Panics
    /// When the kernel does not delete what it lists.
    pub fn forget(&mut self) {
        macro_rules! empty {
            ($name:expr, $key:ty, $value:ty) => {
                let mut map: HashMap<_, $key, $value> =
                    HashMap::try_from(self.ebpf.map_mut($name).unwrap()).unwrap();
                let keys: Vec<_> = map.keys().map(Result::unwrap).collect();
                for key in keys {
                    map.remove(&key).unwrap();
                }
            };
        }
        empty!(maps::CT4, Tuple, CtEntry);
        empty!(maps::FRAGS4, FragKey, FragRecord);
        empty!(maps::CT6, Tuple<V6>, CtEntry<V6>);
        empty!(maps::FRAGS6, FragKey<V6>, FragRecord<V6>);
    }

    /// Every fragmented datagram that is remembered.
    #[must_use]
    pub fn fragments(&self) -> Fragments {
        fn all<A: Addr>(ebpf: &Ebpf, name: &str) -> Vec<(FragKey<A>, FragRecord<A>)> {
            let map: HashMap<_, FragKey<A>, FragRecord<A>> =
                HashMap::try_from(ebpf.map(name).unwrap()).unwrap();
            map.iter().map(Result::unwrap).collect()
        }
        Fragments {
            v4: all(&self.ebpf, maps::FRAGS4),
            v6: all(&self.ebpf, maps::FRAGS6),
        }
    }

    /// Writes fragmented datagrams, past every rule.
    ///
    /// # Panics
    /// When the kernel refuses it.
    pub fn put_fragments(&mut self, fragments: &Fragments) {
        fn put<A: Addr>(ebpf: &mut Ebpf, name: &str, all: &[(FragKey<A>, FragRecord<A>)]) {
            let mut map: HashMap<_, FragKey<A>, FragRecord<A>> =
                HashMap::try_from(ebpf.map_mut(name).unwrap()).unwrap();
            for (key, record) in all {
                map.insert(key, record, 0).unwrap();
            }
        }
        put(&mut self.ebpf, maps::FRAGS4, &fragments.v4);
        put(&mut self.ebpf, maps::FRAGS6, &fragments.v6);
    }
}
