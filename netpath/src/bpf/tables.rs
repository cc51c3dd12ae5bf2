//! Records of the datapath's tables, one at a time.
//!
//! Owns typed access to the maps that user space fills, except published ports. Opens the pinned
//! map for each call: configuration changes are rare, and a handle that holds nothing cannot go
//! stale.

use std::{
    collections::BTreeMap,
    net::IpAddr,
    os::fd::{AsFd as _, BorrowedFd, OwnedFd},
};

use aya::programs::SchedClassifier;
use aya::{
    Pod,
    maps::{Array, HashMap, LpmTrie, Map, MapData, MapError, PerCpuArray, RingBuf, lpm_trie::Key},
};
use ipnet::IpNet;
use netpath_common::{
    Tuple, V4, V6,
    conntrack::CtEntry,
    maps,
    records::{Config, EndpointRecord, IfaceRecord, NetworkRecord, UplinkRecord},
};

use super::{Datapath, Error, Family, sys};

macro_rules! slots {
    ($($map:expr, $t:ty: $(#[doc = $get_doc:literal])+ $get:ident,
        $(#[doc = $set_doc:literal])+ $set:ident;)+) => {
        impl Datapath {
            $(
                $(#[doc = $get_doc])+
                pub fn $get(&self, slot: u16) -> Result<$t, Error> {
                    self.slot($map, slot)
                }

                $(#[doc = $set_doc])+
                pub fn $set(&self, slot: u16, r: &$t) -> Result<(), Error> {
                    self.set_slot($map, slot, r)
                }
            )+
        }
    };
}

slots! {
    maps::ENDPOINTS, EndpointRecord:
        /// The record of an endpoint; zeros, except the generation, for a free slot.
        endpoint,
        /// Writes the record of an endpoint.
        set_endpoint;
    maps::NETWORKS, NetworkRecord:
        /// The record of a network; zeros for a free slot.
        network,
        /// Writes the record of a network.
        set_network;
    maps::UPLINKS, UplinkRecord:
        /// The record of an uplink; zeros, except the generation, for a free slot.
        uplink,
        /// Writes the record of an uplink.
        set_uplink;
}

impl Datapath {
    /// The records of all endpoints, by slot.
    pub fn endpoints(&self) -> Result<Vec<EndpointRecord>, Error> {
        self.all_slots(maps::ENDPOINTS, maps::MAX_ENDPOINTS)
    }

    /// The records of all networks, by slot.
    pub fn networks(&self) -> Result<Vec<NetworkRecord>, Error> {
        self.all_slots(maps::NETWORKS, maps::MAX_NETWORKS)
    }

    /// The records of all uplinks, by slot.
    pub fn uplinks(&self) -> Result<Vec<UplinkRecord>, Error> {
        self.all_slots(maps::UPLINKS, maps::MAX_UPLINKS)
    }

    /// The configuration that the datapath works with.
    pub fn config(&self) -> Result<Config, Error> {
        self.array::<Config>(maps::CONFIG)?
            .get(&0, 0)
            .map_err(|e| Error::map("reading", maps::CONFIG, e))
    }

    pub(super) fn set_config(&self, config: &Config) -> Result<(), Error> {
        self.array::<Config>(maps::CONFIG)?
            .set(0, config, 0)
            .map_err(|e| Error::map("writing", maps::CONFIG, e))
    }

    /// Says what an interface is.
    pub fn set_iface(&self, ifindex: u32, r: &IfaceRecord) -> Result<(), Error> {
        self.insert(maps::IFACES, &ifindex, r)
    }

    /// Forgets what an interface is; fine if it was not known.
    pub fn remove_iface(&self, ifindex: u32) -> Result<(), Error> {
        self.delete::<u32, IfaceRecord>(maps::IFACES, &ifindex)
    }

    /// Says which endpoint has an address.
    pub fn set_endpoint_addr(&self, addr: impl Into<IpAddr>, slot: u16) -> Result<(), Error> {
        let slot = u32::from(slot);
        match addr.into() {
            IpAddr::V4(a) => self.insert(maps::ENDPOINT_BY_ADDR4, &a.octets(), &slot),
            IpAddr::V6(a) => self.insert(maps::ENDPOINT_BY_ADDR6, &a.octets(), &slot),
        }
    }

    /// Forgets an endpoint's address; fine if it was not known.
    pub fn remove_endpoint_addr(&self, addr: impl Into<IpAddr>) -> Result<(), Error> {
        match addr.into() {
            IpAddr::V4(a) => self.delete::<V4, u32>(maps::ENDPOINT_BY_ADDR4, &a.octets()),
            IpAddr::V6(a) => self.delete::<V6, u32>(maps::ENDPOINT_BY_ADDR6, &a.octets()),
        }
    }

    /// Says which network a subnet belongs to.
    pub fn set_subnet(&self, subnet: impl Into<IpNet>, slot: u16) -> Result<(), Error> {
        let (subnet, slot) = (subnet.into(), u32::from(slot));
        let prefix = u32::from(subnet.prefix_len());
        match subnet.network() {
            IpAddr::V4(a) => {
                self.insert_prefix(maps::SUBNETS4, &Key::new(prefix, a.octets()), slot)
            }
            IpAddr::V6(a) => {
                self.insert_prefix(maps::SUBNETS6, &Key::new(prefix, a.octets()), slot)
            }
        }
    }

    /// Forgets a subnet; fine if it was not known.
    pub fn remove_subnet(&self, subnet: impl Into<IpNet>) -> Result<(), Error> {
        let subnet = subnet.into();
        let prefix = u32::from(subnet.prefix_len());
        match subnet.network() {
            IpAddr::V4(a) => self.delete_prefix(maps::SUBNETS4, &Key::new(prefix, a.octets())),
            IpAddr::V6(a) => self.delete_prefix(maps::SUBNETS6, &Key::new(prefix, a.octets())),
        }
    }

    /// The host's addresses of a family as the datapath knows them, each with its interface.
    pub fn host_addrs<A: Family>(&self) -> Result<BTreeMap<A, u32>, Error> {
        self.hash::<A, u32>(A::HOST_ADDRS)?
            .iter()
            .collect::<Result<_, _>>()
            .map_err(|e| Error::map("reading", A::HOST_ADDRS, e))
    }

    /// Makes the host's addresses of a family those in `want`: adds the new, drops the gone.
    pub fn sync_host_addrs<A: Family>(&self, want: &BTreeMap<A, u32>) -> Result<(), Error> {
        let have = self.host_addrs::<A>()?;
        for (addr, ifindex) in want {
            if have.get(addr) != Some(ifindex) {
                self.insert(A::HOST_ADDRS, addr, ifindex)?;
            }
        }
        for addr in have.keys().filter(|addr| !want.contains_key(*addr)) {
            self.delete::<A, u32>(A::HOST_ADDRS, addr)?;
        }
        Ok(())
    }

    fn all_slots<V: bytemuck::Pod>(&self, map: &str, slots: usize) -> Result<Vec<V>, Error> {
        let fd = self.map_fd(map)?;
        let (mut keys, mut all) = (vec![0u32; slots], vec![V::zeroed(); slots]);
        sys::lookup_batch(fd.as_fd(), None, &mut keys, &mut all)
            .map_err(|e| Error::system(format!("reading {map}"), e))?;
        Ok(all)
    }

    fn slot<V: Pod>(&self, map: &str, slot: u16) -> Result<V, Error> {
        self.array::<V>(map)?
            .get(&u32::from(slot), 0)
            .map_err(|e| slot_error("reading", map, e))
    }

    fn set_slot<V: Pod>(&self, map: &str, slot: u16, value: &V) -> Result<(), Error> {
        let mut array = self.array::<V>(map)?;
        // Slot 0 means "none" in every record: writing it would give nobody's packets an owner.
        if slot == 0 {
            return Err(Error::BadSlot {
                map: map.into(),
                slot: 0,
                last: array.len() - 1,
            });
        }
        array
            .set(u32::from(slot), value, 0)
            .map_err(|e| slot_error("writing", map, e))
    }

    fn insert<K: Pod, V: Pod>(&self, map: &str, key: &K, value: &V) -> Result<(), Error> {
        self.hash::<K, V>(map)?
            .insert(key, value, 0)
            .map_err(|e| self.write_error(map, e))
    }

    fn delete<K: Pod, V: Pod>(&self, map: &str, key: &K) -> Result<(), Error> {
        absent_is_fine(map, self.hash::<K, V>(map)?.remove(key))
    }

    fn insert_prefix<A: Family>(&self, map: &str, key: &Key<A>, slot: u32) -> Result<(), Error> {
        self.typed::<LpmTrie<MapData, A, u32>>(map)?
            .insert(key, slot, 0)
            .map_err(|e| self.write_error(map, e))
    }

    fn delete_prefix<A: Family>(&self, map: &str, key: &Key<A>) -> Result<(), Error> {
        let removed = self.typed::<LpmTrie<MapData, A, u32>>(map)?.remove(key);
        absent_is_fine(map, removed)
    }

    pub(crate) fn hash<K: Pod, V: Pod>(&self, map: &str) -> Result<HashMap<MapData, K, V>, Error> {
        self.typed(map)
    }

    pub(crate) fn array<V: Pod>(&self, map: &str) -> Result<Array<MapData, V>, Error> {
        self.typed(map)
    }

    pub(crate) fn per_cpu<V: Pod>(&self, map: &str) -> Result<PerCpuArray<MapData, V>, Error> {
        self.typed(map)
    }

    pub(crate) fn ring(&self, map: &str) -> Result<RingBuf<MapData>, Error> {
        self.typed(map)
    }

    pub(super) fn typed<T: TryFrom<Map, Error = MapError>>(&self, map: &str) -> Result<T, Error> {
        self.map_data(map)
            .and_then(Map::from_map_data)
            .and_then(T::try_from)
            .map_err(|e| Error::map("opening", map, e))
    }

    pub(crate) fn map_data(&self, map: &str) -> Result<MapData, MapError> {
        MapData::from_pin(self.pins().map(map))
    }

    /// How many entries a map holds at most.
    pub(crate) fn capacity(&self, map: &str) -> Result<u32, Error> {
        self.map_data(map)
            .and_then(|data| data.info())
            .map(|info| info.max_entries())
            .map_err(|e| Error::map("opening", map, e))
    }

    /// A descriptor of a map, for many look-ups in a row.
    pub(crate) fn map_fd(&self, map: &str) -> Result<OwnedFd, Error> {
        sys::open_pin(&self.pins().map(map)).map_err(|e| Error::system(format!("opening {map}"), e))
    }

    /// The program that removes flows of a family.
    pub(crate) fn collector<A: Family>(&self) -> Result<SchedClassifier, Error> {
        SchedClassifier::from_pin(self.pins().program(A::COLLECTOR)).map_err(|e| {
            let what = format!("opening {}", A::COLLECTOR);
            Error::system(what, std::io::Error::other(e))
        })
    }

    /// Tells a full map from other failures to write.
    pub(super) fn write_error(&self, map: &str, e: MapError) -> Error {
        let full = matches!(&e, MapError::SyscallError(s) if s.io_error.raw_os_error() == Some(libc::E2BIG)
            || s.io_error.raw_os_error() == Some(libc::ENOSPC));
        match self.map_data(map).and_then(|data| data.info()) {
            Ok(info) if full => Error::Full {
                map: map.to_owned(),
                capacity: info.max_entries(),
                remedy: "remove what is not needed",
            },
            Ok(_) | Err(_) => Error::map("writing", map, e),
        }
    }
}

/// The entry of the conntrack table (a descriptor of it) with this key.
pub(crate) fn conntrack_entry<A: Family>(
    table: BorrowedFd<'_>,
    key: &Tuple<A>,
) -> Result<Option<CtEntry<A>>, Error> {
    sys::lookup(table, key).map_err(|e| Error::system(format!("reading {}", A::CT), e))
}

fn slot_error(action: &'static str, map: &str, e: MapError) -> Error {
    if let MapError::OutOfBounds { index, max_entries } = e {
        return Error::BadSlot {
            map: map.to_owned(),
            slot: index,
            last: max_entries - 1,
        };
    }
    Error::map(action, map, e)
}

fn absent_is_fine(map: &str, removed: Result<(), MapError>) -> Result<(), Error> {
    match removed {
        Err(MapError::KeyNotFound) => Ok(()),
        Err(MapError::SyscallError(s)) if s.io_error.raw_os_error() == Some(libc::ENOENT) => Ok(()),
        other => other.map_err(|e| Error::map("writing", map, e)),
    }
}
