//! A host in memory for the tests of this module.

use std::collections::HashSet;

use super::*;
use crate::{
    records::{NETWORK_PORTS_FREE, Published, PublishedKey},
    testing::MemTables,
};

/// `::1`.
pub(super) const LOCAL6: V6 = [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1];
/// The host's own address of IPv6.
pub(super) const HOST6: V6 = [0x20, 1, 0xd, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1];
/// An endpoint without IPv6, in network 1.
pub(super) const ONLY4: u16 = 1;
/// An endpoint with both, in network 1.
pub(super) const DUAL: u16 = 2;
/// An endpoint of network 2.
pub(super) const OTHERS: u16 = 3;

pub(super) struct Host {
    pub(super) endpoints: [EndpointRecord; 4],
    pub(super) networks: [NetworkRecord; 3],
    pub(super) listening6: HashSet<(u8, V6, u16)>,
    pub(super) ports4: MemTables<V4>,
    pub(super) ports6: MemTables<V6>,
    pub(super) client: u16,
    taken: HashSet<(bool, u8, u16)>,
}

impl Host {
    pub(super) fn new() -> Self {
        let endpoint = |n: u8, network, six: bool| EndpointRecord {
            ifindex: 10 + u32::from(n),
            addr: [172, 17, 0, n],
            addr6: if six { [0xfd; 16] } else { V6::NONE },
            network,
            ..EndpointRecord::default()
        };
        Self {
            endpoints: [
                EndpointRecord::default(),
                endpoint(2, 1, false),
                endpoint(3, 1, true),
                endpoint(4, 2, false),
            ],
            networks: [NetworkRecord::default(); 3],
            listening6: HashSet::new(),
            ports4: MemTables::new(1),
            ports6: MemTables::new(1),
            client: 0,
            taken: HashSet::new(),
        }
    }

    pub(super) fn publish4(&mut self, addr: V4, port: u16, proto: u8, endpoint: u16) {
        let (key, to) = self.entry(addr, port, proto, endpoint);
        self.ports4.set_published(key, to);
    }

    pub(super) fn publish6(&mut self, addr: V6, port: u16, proto: u8, endpoint: u16) {
        let (key, to) = self.entry(addr, port, proto, endpoint);
        self.ports6.set_published(key, to);
    }

    /// Publishes a range of IPv4 at an address, TCP.
    pub(super) fn publish_range4(&mut self, addr: V4, first: u16, last: u16, endpoint: u16) {
        let (key, to) = self.entry(addr, first, tuple::TCP, endpoint);
        self.ports4.set_published(key, Published { last, ..to });
        for port in first..=last {
            self.taken.insert((false, tuple::TCP, port));
        }
    }

    fn entry<A: Addr>(
        &mut self,
        addr: A,
        port: u16,
        proto: u8,
        endpoint: u16,
    ) -> (PublishedKey<A>, Published<A>) {
        let e = &self.endpoints[usize::from(endpoint)];
        if self.networks[usize::from(e.network)].flags & NETWORK_PORTS_FREE == 0 {
            self.taken.insert((A::IS_V6, proto, port));
        }
        let key = PublishedKey {
            addr,
            port,
            proto,
            zero: 0,
        };
        let to = Published {
            addr: A::of_endpoint(e),
            port: 80,
            endpoint,
            rule: 1,
            last: port,
            ..Published::default()
        };
        (key, to)
    }
}

impl HostPorts<V4> for Host {
    type Ports = MemTables<V4>;

    fn ports(&self) -> &MemTables<V4> {
        &self.ports4
    }

    fn is_host_addr(&self, addr: &V4) -> bool {
        *addr == [198, 51, 100, 1]
    }

    fn is_taken(&self, proto: u8, port: u16) -> bool {
        self.taken.contains(&(false, proto, port))
    }
}

impl HostPorts<V6> for Host {
    type Ports = MemTables<V6>;

    fn ports(&self) -> &MemTables<V6> {
        &self.ports6
    }

    fn is_host_addr(&self, addr: &V6) -> bool {
        *addr == HOST6
    }

    fn is_taken(&self, proto: u8, port: u16) -> bool {
        self.taken.contains(&(true, proto, port))
    }
}

impl Sockets for Host {
    fn client(&self) -> u16 {
        self.client
    }

    fn endpoint(&self, slot: u16) -> Option<&EndpointRecord> {
        self.endpoints.get(usize::from(slot))
    }

    fn network(&self, slot: u16) -> Option<&NetworkRecord> {
        self.networks.get(usize::from(slot))
    }

    fn listens6(&self, proto: u8, addr: &V6, port: u16) -> bool {
        self.listening6.contains(&(proto, *addr, port))
    }
}
