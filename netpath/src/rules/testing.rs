//! A host for the tests of this module: two containers in a network of both families.

use std::collections::HashMap;

use netpath_common::{
    V4,
    publish::Binding,
    records::{
        EndpointRecord, LOOPBACK_UPLINK, NETWORK_ICC, NETWORK_MASQUERADE, NetworkRecord, Published,
        PublishedKey, UplinkRecord,
    },
};

use super::{Names, Snapshot};
use crate::bpf::Entry;

/// Addresses, slot, name.
pub(super) type Container = ([u8; 4], [u8; 16], u16, &'static str);

const fn six(last: u8) -> [u8; 16] {
    [0xfd, 0, 0, 0x17, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, last]
}

pub(super) const C1: Container = ([172, 17, 0, 2], six(2), 1, "PINK");
pub(super) const C2: Container = ([172, 17, 0, 3], six(3), 2, "ORANGE");

pub(super) fn snapshot() -> Snapshot {
    let mut maps = Snapshot {
        networks: vec![NetworkRecord::default(); 4],
        endpoints: vec![EndpointRecord::default(); 4],
        uplinks: vec![UplinkRecord::default(); usize::from(LOOPBACK_UPLINK) + 1],
        ..Snapshot::default()
    };
    maps.networks[1] = NetworkRecord {
        bridge_ifindex: 3,
        gateway: [172, 17, 0, 1],
        subnet: [172, 17, 0, 0],
        mask: [255, 255, 0, 0],
        flags: NETWORK_ICC | NETWORK_MASQUERADE,
        ..NetworkRecord::default()
    };
    for (addr, addr6, slot, _) in [C1, C2] {
        maps.endpoints[usize::from(slot)] = EndpointRecord {
            ifindex: 10,
            addr,
            addr6,
            network: 1,
            ..EndpointRecord::default()
        };
    }
    for (slot, ifindex, addr) in [(1, 2, [192, 0, 2, 1]), (LOOPBACK_UPLINK, 1, [127, 0, 0, 1])] {
        maps.uplinks[usize::from(slot)] = UplinkRecord {
            ifindex,
            addr,
            ..UplinkRecord::default()
        };
    }
    maps
}

pub(super) fn names() -> Names {
    let name = |(_, _, slot, name): Container| (slot, name.to_owned());
    Names {
        networks: HashMap::from([(1, "bridge".into())]),
        endpoints: [C1, C2].map(name).into(),
        interfaces: HashMap::from([(2, "eth0".into()), (3, "netpath0".into())]),
    }
}

/// Ports of the host that lead to a container's from `port` on, by a rule.
pub(super) fn binding(
    addr: V4,
    (first, last): (u16, u16),
    proto: u8,
    (to, _, endpoint, _): &Container,
    port: u16,
    rule: u16,
) -> Binding {
    Binding {
        key: PublishedKey {
            addr,
            port: first,
            proto,
            zero: 0,
        },
        to: Published {
            addr: *to,
            port,
            endpoint: *endpoint,
            rule,
            last,
            ..Published::default()
        },
    }
}

/// The entry of a range that nothing begins within.
pub(super) fn single(b: Binding) -> Vec<Entry> {
    vec![(b.key, b.to)]
}
