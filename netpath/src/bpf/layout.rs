//! Whether pinned maps are those that this netpath means.
//!
//! Owns the comparison: the loader reuses whatever is pinned under a map's name without looking.

use std::fmt;

use aya::maps::{MapData, MapError, MapInfo, MapType};
use netpath_common::{
    Tuple, V6,
    conntrack::CtEntry,
    datapath::PortUse,
    maps,
    publish::{Backends, Starts},
    records::{
        AllowedKey, Config, EndpointRecord, EndpointStats, IfaceRecord, NetworkRecord, Published,
        PublishedKey, RuleRecord, RuleStats, UplinkRecord,
    },
};

use super::{Datapath, Error, pins::Pins};

/// Maps whose content may be lost: a new version that lays them out anew starts them afresh.
const DISPOSABLE: &[&str] = &[
    maps::DROPS,
    maps::COUNTERS,
    maps::ENDPOINT_STATS,
    maps::RULE_STATS,
    maps::EVENTS,
    maps::FRAGS4,
    maps::FRAGS6,
    maps::RECLAIM,
    maps::RECLAIM_IN,
    maps::SOCKS,
    maps::STAND_INS,
    maps::RECLAIM6,
    maps::RECLAIM_IN6,
    maps::REFUSED,
    maps::SCRATCH,
];

/// What two versions of a map must agree on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Layout {
    kind: u32,
    key: u32,
    value: u32,
    entries: u32,
}

impl fmt::Display for Layout {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            kind,
            key,
            value,
            entries,
        } = self;
        write!(
            f,
            "type {kind}, keys of {key} B, values of {value} B, {entries} entries"
        )
    }
}

/// What is to be done with the pin of a map.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum PinState {
    /// There is none.
    Missing,
    /// It can be used.
    Same,
    /// It is of another layout and nothing is lost by replacing it.
    Replace,
}

/// The maps that the object declares, without the compiler's own (whose names begin with a dot,
/// which bpffs refuses).
pub(super) fn of_object(object: &[u8]) -> Result<Vec<(String, Layout)>, Error> {
    let object = aya_obj::Object::parse(object).map_err(|e| Error::BadObject {
        what: format!("it cannot be parsed ({e})"),
    })?;
    let mut found: Vec<_> = object
        .maps
        .iter()
        .filter(|(name, _)| !name.starts_with('.'))
        .map(|(name, map)| {
            let layout = Layout {
                kind: map.map_type(),
                key: map.key_size(),
                value: map.value_size(),
                entries: map.max_entries(),
            };
            (name.clone(), layout)
        })
        .collect();
    found.sort_by(|a, b| a.0.cmp(&b.0));
    for name in maps::PINNED {
        if !found.iter().any(|(found, _)| found == name) {
            return Err(Error::BadObject {
                what: format!("map {name} is missing"),
            });
        }
    }
    Ok(found)
}

/// Compares the pin of one map with what the object declares.
pub(super) fn check_pin(
    instance: &str,
    pins: &Pins,
    map: &str,
    wanted: Layout,
) -> Result<PinState, Error> {
    let Some(info) = pinned(pins, map)? else {
        return Ok(PinState::Missing);
    };
    let kind = info.map_type().map_err(|e| Error::map("opening", map, e))?;
    let mut found = Layout {
        kind: kind as u32,
        key: info.key_size(),
        value: info.value_size(),
        entries: info.max_entries(),
    };
    // The conntrack table's size is the user's choice; the one that exists keeps its flows. That of the
    // rules' counters is by the processors, which are the same until the next boot.
    if [maps::CT4, maps::CT6, maps::RULE_STATS].contains(&map) {
        found.entries = wanted.entries;
    }
    // A ring buffer has neither keys nor values; its declaration may name the record.
    let same = if kind == MapType::RingBuf {
        (found.kind, found.entries) == (wanted.kind, wanted.entries)
    } else {
        found == wanted
    };
    if same {
        Ok(PinState::Same)
    } else if DISPOSABLE.contains(&map) {
        Ok(PinState::Replace)
    } else {
        Err(mismatch(
            instance,
            map,
            found.to_string(),
            wanted.to_string(),
        ))
    }
}

/// Sizes of the records that user space reads and writes.
const RECORDS: &[(&str, usize, usize)] = &[
    (maps::CT4, size_of::<Tuple>(), size_of::<CtEntry>()),
    (maps::ENDPOINTS, 4, size_of::<EndpointRecord>()),
    (maps::NETWORKS, 4, size_of::<NetworkRecord>()),
    (maps::UPLINKS, 4, size_of::<UplinkRecord>()),
    (maps::IFACES, 4, size_of::<IfaceRecord>()),
    (maps::ENDPOINT_BY_ADDR4, 4, 4),
    (maps::SUBNETS4, 8, 4),
    (maps::HOST_ADDRS4, 4, 4),
    (maps::CT6, size_of::<Tuple<V6>>(), size_of::<CtEntry<V6>>()),
    (maps::ENDPOINT_BY_ADDR6, 16, 4),
    (maps::SUBNETS6, 20, 4),
    (maps::HOST_ADDRS6, 16, 4),
    (
        maps::PUBLISHED6,
        size_of::<PublishedKey<V6>>(),
        size_of::<Published<V6>>(),
    ),
    (maps::NEXT6, 4, 4),
    (maps::TUNNEL, 4, 4),
    (
        maps::PUBLISHED4,
        size_of::<PublishedKey>(),
        size_of::<Published>(),
    ),
    (maps::STARTS, 4, size_of::<Starts>()),
    (maps::BACKENDS, 4, size_of::<Backends>()),
    // The length of the prefix comes first.
    (maps::ALLOWED4, 4 + size_of::<AllowedKey>(), 4),
    (maps::ALLOWED6, 4 + size_of::<AllowedKey<V6>>(), 4),
    (maps::TAKEN, 4, 8),
    (maps::RULES, 4, size_of::<RuleRecord>()),
    (maps::RESERVED, 4, 8),
    (maps::LIVE, 4, 8),
    (maps::TOLD, 4, 8),
    (maps::CONFIG, 4, size_of::<Config>()),
    (maps::PORTS, 4, size_of::<PortUse>()),
    (maps::DROPS, 4, 8),
    (maps::COUNTERS, 4, 8),
    (maps::ENDPOINT_STATS, 4, size_of::<EndpointStats>()),
    (maps::RULE_STATS, 4, size_of::<RuleStats>()),
];

/// Checks that every map that user space uses is pinned and holds the records that it means.
pub(super) fn check_records(dp: &Datapath) -> Result<(), Error> {
    for (map, key, value) in RECORDS {
        let wanted = || format!("keys of {key} B and values of {value} B");
        let Some(info) = pinned(dp.pins(), map)? else {
            return Err(mismatch(dp.instance(), map, "no pin".into(), wanted()));
        };
        let found = (info.key_size(), info.value_size());
        if found != (*key as u32, *value as u32) {
            let found = format!("keys of {} B and values of {} B", found.0, found.1);
            return Err(mismatch(dp.instance(), map, found, wanted()));
        }
    }
    Ok(())
}

fn pinned(pins: &Pins, map: &str) -> Result<Option<MapInfo>, Error> {
    match MapData::from_pin(pins.map(map)).and_then(|data| data.info()) {
        Ok(info) => Ok(Some(info)),
        Err(MapError::SyscallError(e)) if e.io_error.raw_os_error() == Some(libc::ENOENT) => {
            Ok(None)
        }
        Err(e) => Err(Error::map("opening", map, e)),
    }
}

fn mismatch(instance: &str, map: &str, found: String, wanted: String) -> Error {
    Error::Layout {
        instance: instance.to_owned(),
        map: map.to_owned(),
        found,
        wanted,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_map_is_checked_or_disposable() {
        for map in maps::PINNED {
            let checked = RECORDS.iter().any(|(name, ..)| name == map);
            assert!(checked || DISPOSABLE.contains(map), "{map}");
        }
    }

    #[test]
    fn an_object_that_is_none_is_refused() {
        assert!(matches!(
            of_object(b"no object"),
            Err(Error::BadObject { .. })
        ));
    }
}
