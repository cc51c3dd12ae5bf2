//! The host that tests speak of: names for every address, interface and slot.
//!
//! Owns the records of that host. The addresses are those of the reference's tricky cases: two
//! containers on 172.17.0.0/16, one on 172.18.0.0/16, the uplink 192.0.2.1, a server outside.

use super::{build, tables::MemTables};
use crate::{
    addr::{Addr, V6},
    datapath::NextHop,
    records::{
        EndpointRecord, IFACE_BRIDGE, IFACE_ENDPOINT, IFACE_UPLINK, IfaceRecord, NETWORK_ICC,
        NETWORK_MASQUERADE, NetworkRecord, UplinkRecord,
    },
    tuple,
};

/// A MAC address.
pub type Mac = [u8; 6];

/// A container's attachment.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Container {
    /// Its address.
    pub addr: build::Addr,
    /// Its IPv6 address.
    pub addr6: V6,
    /// Its MAC address.
    pub mac: Mac,
    /// Interface index of the host side of its veth pair.
    pub ifindex: u32,
    /// Its slot.
    pub slot: u16,
    /// The slot of its network.
    pub network: u16,
}

/// Slot of the network 172.17.0.0/16.
pub const NET1: u16 = 1;
/// Slot of the network 172.18.0.0/16.
pub const NET2: u16 = 2;
/// Slot of the uplink.
pub const UPLINK: u16 = 1;
/// Slot of the rule that publishes TCP 8080.
pub const RULE_WEB: u16 = 1;
/// Slot of the rule that publishes UDP 5353.
pub const RULE_DNS: u16 = 2;

/// Interface index of the uplink.
pub const UPLINK_IF: u32 = 2;
/// Interface index of the first network's bridge.
pub const BRIDGE1_IF: u32 = 3;
/// Interface index of the second network's bridge.
pub const BRIDGE2_IF: u32 = 4;

/// The first container, which publishes.
pub const C1: Container = Container {
    addr: [172, 17, 0, 2],
    addr6: [0xfd, 0, 0, 0x17, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 2],
    mac: [2, 0x42, 0, 0, 0, 2],
    ifindex: 11,
    slot: 1,
    network: NET1,
};
/// The second container of the first network.
pub const C2: Container = Container {
    addr: [172, 17, 0, 3],
    addr6: [0xfd, 0, 0, 0x17, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 3],
    mac: [2, 0x42, 0, 0, 0, 3],
    ifindex: 12,
    slot: 2,
    network: NET1,
};
/// The container of the second network.
pub const C3: Container = Container {
    addr: [172, 18, 0, 2],
    addr6: [0xfd, 0, 0, 0x18, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 2],
    mac: [2, 0x42, 0, 0, 0, 4],
    ifindex: 13,
    slot: 3,
    network: NET2,
};

/// One more container of the first network, 12 at most.
#[must_use]
pub fn another(n: u8) -> Container {
    let mut addr6 = C1.addr6;
    (addr6[13], addr6[15]) = (1, n);
    Container {
        addr: [172, 17, 1, n],
        addr6,
        mac: [2, 0x42, 0, 0, 2, n],
        ifindex: 50 + u32::from(n),
        slot: 4 + u16::from(n),
        ..C1
    }
}

/// The first network's gateway.
pub const GW1: build::Addr = [172, 17, 0, 1];
/// The second network's gateway.
pub const GW2: build::Addr = [172, 18, 0, 1];
/// The host's address outside.
pub const H: build::Addr = [192, 0, 2, 1];
/// The server outside.
pub const S: build::Addr = [198, 51, 100, 9];
/// Another one.
pub const S2: build::Addr = [203, 0, 113, 5];
/// The first network's IPv6 gateway.
pub const GW1_6: V6 = [0xfd, 0, 0, 0x17, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1];
/// The second network's.
pub const GW2_6: V6 = [0xfd, 0, 0, 0x18, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1];
/// The host's IPv6 address outside.
pub const H6: V6 = [0x20, 1, 0xd, 0xb8, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1];
/// The server's.
pub const S6: V6 = [0x20, 1, 0xd, 0xb8, 0, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 9];
/// Another server's.
pub const S2_6: V6 = [0x20, 1, 0xd, 0xb8, 0, 3, 0, 0, 0, 0, 0, 0, 0, 0, 0, 5];
/// That of a router on the way.
pub const R6: V6 = [0x20, 1, 0xd, 0xb8, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xfe];
/// A router on the way.
pub const R: build::Addr = [192, 0, 2, 254];

/// MAC address of the first network's bridge.
pub const BRIDGE1_MAC: Mac = [2, 0x42, 1, 0, 0, 1];
/// MAC address of the second network's bridge.
pub const BRIDGE2_MAC: Mac = [2, 0x42, 2, 0, 0, 1];
/// MAC address of the uplink.
pub const UPLINK_MAC: Mac = [2, 0, 0, 0, 0, 1];
/// MAC address of the router outside.
pub const ROUTER_MAC: Mac = [2, 0, 0, 0, 0, 0xfe];

/// A way out of an interface whose next hop is known to the kernel.
#[must_use]
pub fn out_of<A: Addr>(ifindex: u32) -> NextHop<A> {
    NextHop {
        ifindex,
        mtu: 1500,
        dst_mac: ROUTER_MAC,
        src_mac: UPLINK_MAC,
        ..NextHop::default()
    }
}

/// The record of a container.
#[must_use]
pub fn endpoint_record(c: &Container) -> EndpointRecord {
    EndpointRecord {
        ifindex: c.ifindex,
        generation: 1,
        addr: c.addr,
        addr6: c.addr6,
        mac: c.mac,
        network: c.network,
        mtu: 1500,
        flags: 0,
    }
}

/// The record of a network.
#[must_use]
pub fn network_record(slot: u16) -> NetworkRecord {
    let (bridge_ifindex, gateway, gateway6, subnet, bridge_mac) = if slot == NET1 {
        (BRIDGE1_IF, GW1, GW1_6, [172, 17, 0, 0], BRIDGE1_MAC)
    } else {
        (BRIDGE2_IF, GW2, GW2_6, [172, 18, 0, 0], BRIDGE2_MAC)
    };
    let mut subnet6 = gateway6;
    subnet6[15] = 0;
    let mut mask6 = [0xff; 16];
    mask6[8..].fill(0);
    NetworkRecord {
        bridge_ifindex,
        gateway,
        subnet,
        mask: [255, 255, 0, 0],
        flags: NETWORK_MASQUERADE | NETWORK_ICC,
        snat: [0; 4],
        bridge_mac,
        gateway6,
        subnet6,
        mask6,
        ..NetworkRecord::default()
    }
}

impl MemTables {
    /// The host with everything in place.
    #[must_use]
    pub fn standard(seed: u64) -> Self {
        let mut t = Self::of_standard_host(seed);
        for slot in [NET1, NET2] {
            t.subnets.push((network_record(slot).subnet, 16, slot));
        }
        t.host_addrs.extend([H, GW1, GW2]);
        t
    }
}

impl MemTables<V6> {
    /// The same of IPv6.
    #[must_use]
    pub fn standard6(seed: u64) -> Self {
        let mut t = Self::of_standard_host(seed);
        for slot in [NET1, NET2] {
            t.subnets.push((network_record(slot).subnet6, 64, slot));
        }
        t.host_addrs.extend([H6, GW1_6, GW2_6]);
        t
    }
}

impl<A: Addr> MemTables<A> {
    /// What is the same for both families.
    fn of_standard_host(seed: u64) -> Self {
        let mut t = Self::new(seed);
        for slot in [NET1, NET2] {
            let record = network_record(slot);
            t.networks[usize::from(slot)] = record;
            let iface = IfaceRecord {
                kind: IFACE_BRIDGE,
                slot: u32::from(slot),
                flags: 0,
            };
            t.ifaces.insert(record.bridge_ifindex, iface);
        }
        for c in [C1, C2, C3] {
            t.add_container(&c);
        }
        t.uplinks[usize::from(UPLINK)] = UplinkRecord {
            ifindex: UPLINK_IF,
            generation: 1,
            addr: H,
            addr6: H6,
            mtu: 1500,
        };
        t.ifaces.insert(
            UPLINK_IF,
            IfaceRecord {
                kind: IFACE_UPLINK,
                slot: u32::from(UPLINK),
                flags: 0,
            },
        );
        t.routes.push((A::NONE, 0, out_of(UPLINK_IF)));
        t.publish(tuple::TCP, 8080, &C1, 80, RULE_WEB);
        t.publish(tuple::UDP, 5353, &C1, 53, RULE_DNS);
        t
    }

    /// Adds an endpoint.
    pub fn add_container(&mut self, c: &Container) {
        let record = endpoint_record(c);
        let old = self.endpoints[usize::from(c.slot)].generation;
        self.endpoints[usize::from(c.slot)] = EndpointRecord {
            generation: old + 1,
            flags: self.endpoint_flags,
            ..record
        };
        self.endpoint_by_addr
            .insert(A::of_endpoint(&record), c.slot);
        self.ifaces.insert(
            c.ifindex,
            IfaceRecord {
                kind: IFACE_ENDPOINT,
                slot: u32::from(c.slot),
                flags: 0,
            },
        );
    }

    /// Removes an endpoint; its slot keeps a generation that has grown.
    pub fn remove_container(&mut self, c: &Container) {
        let generation = self.endpoints[usize::from(c.slot)].generation + 1;
        self.endpoints[usize::from(c.slot)] = EndpointRecord {
            generation,
            ..EndpointRecord::default()
        };
        self.endpoint_by_addr
            .remove(&A::of_endpoint(&endpoint_record(c)));
        self.ifaces.remove(&c.ifindex);
    }
}
