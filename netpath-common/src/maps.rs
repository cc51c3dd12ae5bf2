//! Names and capacities of the maps: the one place both sides take them from.
//!
//! Owns no map; `netpath-ebpf/src/maps.rs` declares them and says who reads and who writes.

/// Conntrack, IPv4: [`crate::Tuple`] to [`crate::conntrack::CtEntry`]; two entries a flow.
pub const CT4: &str = "np_ct4";
/// Endpoints by slot: [`crate::records::EndpointRecord`].
pub const ENDPOINTS: &str = "np_endpoints";
/// Networks by slot: [`crate::records::NetworkRecord`].
pub const NETWORKS: &str = "np_networks";
/// Uplinks by slot: [`crate::records::UplinkRecord`].
pub const UPLINKS: &str = "np_uplinks";
/// Interface index to [`crate::records::IfaceRecord`].
pub const IFACES: &str = "np_ifaces";
/// Endpoint slot (u32) by address: `[u8; 4]`.
pub const ENDPOINT_BY_ADDR4: &str = "np_ep_by_addr4";
/// Subnets of the networks, longest prefix first: network slot (u32).
pub const SUBNETS4: &str = "np_subnets4";
/// Addresses of the host: `[u8; 4]` to interface index (u32).
pub const HOST_ADDRS4: &str = "np_host_addrs4";
/// Published ranges of ports: [`crate::records::PublishedKey`] to [`crate::records::Published`].
pub const PUBLISHED4: &str = "np_published4";
/// Where published ranges begin: [`crate::publish::Starts`] by [`crate::publish::starts_index`].
pub const STARTS: &str = "np_starts";
/// Groups of endpoints that share a published range, by slot: [`crate::publish::Backends`].
pub const BACKENDS: &str = "np_backends";
/// Sources that rules let in, longest prefix first: [`crate::records::AllowedKey`] to 1.
pub const ALLOWED4: &str = "np_allowed4";
/// The same of IPv6.
pub const ALLOWED6: &str = "np_allowed6";
/// Publishing rules by slot: [`crate::records::RuleRecord`].
pub const RULES: &str = "np_rules";
/// Ports that masquerade never chooses: bitmap of u64 words, see [`reserved_word`].
pub const RESERVED: &str = "np_reserved";
/// Fragments by [`crate::records::FragKey`].
pub const FRAGS4: &str = "np_frags4";
/// Queue of record keys of flows that may be removed when [`CT4`] is full.
pub const RECLAIM: &str = "np_reclaim";
/// The same of flows that the outside has begun.
pub const RECLAIM_IN: &str = "np_reclaim_in";
/// Numbers of live flows that are limited: by [`crate::conntrack::Budget`].
pub const LIVE: &str = "np_live";
/// Answers to refused flows by endpoint slot: [`crate::datapath::Bucket`].
pub const TOLD: &str = "np_told";
/// The configuration: one [`crate::records::Config`].
pub const CONFIG: &str = "np_config";
/// Per-CPU drop counters by [`crate::DropReason`].
pub const DROPS: &str = "np_drops";
/// Per-CPU counters by [`crate::counters::Counter`].
pub const COUNTERS: &str = "np_counters";
/// Per-CPU counters of endpoints by slot: [`crate::records::EndpointStats`].
pub const ENDPOINT_STATS: &str = "np_ep_stats";
/// Counters of publishing rules: [`crate::records::RuleStats`] by [`rule_stats_index`].
pub const RULE_STATS: &str = "np_rule_stats";
/// Ring buffer of [`crate::event::DropEvent`].
pub const EVENTS: &str = "np_events";
/// Sockets of the host that were sent to a published port, of both families:
/// [`crate::sock::SockKey`].
pub const SOCKS: &str = "np_socks";
/// IPv6 addresses of the host by the IPv4 address that stands for each at the loopback device.
pub const STAND_INS: &str = "np_stand_ins";
/// Published ports that nobody else may bind: bitmap of u64 words, see [`taken_word`].
pub const TAKEN: &str = "np_taken";
/// Per-CPU bucket of packets to ports that nobody has: [`crate::datapath::Bucket`].
pub const REFUSED: &str = "np_refused";
/// Per-CPU leases of next hops: [`crate::datapath::NextHop`] by a hash of the flow's tuple.
pub const NEXT_HOPS: &str = "np_next_hops";
/// Ports of the host, TCP then UDP: [`crate::datapath::PortUse`] by [`port_index`].
pub const PORTS: &str = "np_ports";
/// Per-CPU working memory of the programs.
pub const SCRATCH: &str = "np_scratch";

/// Conntrack, IPv6; as [`CT4`].
pub const CT6: &str = "np_ct6";
/// Endpoint slot by IPv6 address.
pub const ENDPOINT_BY_ADDR6: &str = "np_ep_by_addr6";
/// IPv6 subnets of the networks.
pub const SUBNETS6: &str = "np_subnets6";
/// IPv6 addresses of the host.
pub const HOST_ADDRS6: &str = "np_host_addrs6";
/// Published ports of IPv6.
pub const PUBLISHED6: &str = "np_published6";
/// Fragments of IPv6.
pub const FRAGS6: &str = "np_frags6";
/// As [`RECLAIM`], for [`CT6`].
pub const RECLAIM6: &str = "np_reclaim6";
/// As [`RECLAIM_IN`], for [`CT6`].
pub const RECLAIM_IN6: &str = "np_reclaim_in6";
/// As [`NEXT_HOPS`], of IPv6.
pub const NEXT_HOPS6: &str = "np_next_hops6";
/// As [`SCRATCH`], of IPv6.
pub const SCRATCH6: &str = "np_scratch6";
/// The programs that frames of IPv6 are handed to, by `NEXT6_*`.
pub const NEXT6: &str = "np_next6";

/// Index in [`NEXT6`]: ingress of an endpoint's veth.
pub const NEXT6_VETH: u32 = 0;
/// Index in [`NEXT6`]: ingress of an uplink.
pub const NEXT6_UPLINK_IN: u32 = 1;
/// Index in [`NEXT6`]: egress of an uplink.
pub const NEXT6_UPLINK_OUT: u32 = 2;
/// Index in [`NEXT6`]: ingress of the loopback device.
pub const NEXT6_LOOPBACK: u32 = 3;
/// Places of [`NEXT6`].
pub const NEXT6_HOOKS: usize = 4;

/// The programs that those of uplinks without an Ethernet header hand packets to, by `TUNNEL_*`.
pub const TUNNEL: &str = "np_tunnel";

/// Index in [`TUNNEL`]: what decides about a packet that came in, once it has a header.
pub const TUNNEL_IN: u32 = 0;
/// Index in [`TUNNEL`]: egress, of IPv6.
pub const TUNNEL_OUT6: u32 = 1;
/// Places of [`TUNNEL`].
pub const TUNNEL_PLACES: usize = 2;

/// Every map that user space pins, by name.
pub const PINNED: &[&str] = &[
    CT4,
    ENDPOINTS,
    NETWORKS,
    UPLINKS,
    IFACES,
    ENDPOINT_BY_ADDR4,
    SUBNETS4,
    HOST_ADDRS4,
    PUBLISHED4,
    STARTS,
    BACKENDS,
    ALLOWED4,
    ALLOWED6,
    RULES,
    RESERVED,
    FRAGS4,
    RECLAIM,
    RECLAIM_IN,
    LIVE,
    TOLD,
    CONFIG,
    DROPS,
    COUNTERS,
    ENDPOINT_STATS,
    RULE_STATS,
    EVENTS,
    SOCKS,
    TAKEN,
    STAND_INS,
    REFUSED,
    PORTS,
    CT6,
    ENDPOINT_BY_ADDR6,
    SUBNETS6,
    HOST_ADDRS6,
    PUBLISHED6,
    FRAGS6,
    RECLAIM6,
    RECLAIM_IN6,
    NEXT6,
    TUNNEL,
];

/// Default capacity of [`CT4`] in entries (two a flow); replaced at load time.
pub const CT4_ENTRIES: usize = 2 * 65_536;
/// Slots of endpoints; slot 0 means none.
pub const MAX_ENDPOINTS: usize = 4096;
/// Slots of networks; slot 0 means none.
pub const MAX_NETWORKS: usize = 256;
/// Slots of uplinks; slot 0 means none.
pub const MAX_UPLINKS: usize = 16;
/// Interfaces: endpoints, bridges and uplinks.
pub const MAX_IFACES: usize = 8192;
/// Addresses of the host.
pub const MAX_HOST_ADDRS: usize = 4096;
/// Published ranges of one family, counted once more for each other range that begins within.
pub const MAX_PUBLISHED: usize = 131_072;
/// Slots of groups of backends; slot 0 means none.
pub const MAX_GROUPS: usize = 1024;
/// Prefixes of all allow lists of one family.
pub const MAX_ALLOWED: usize = 65_536;
/// Slots of publishing rules; slot 0 means none.
pub const MAX_RULES: usize = 65_536;
/// Words of the bitmap of reserved ports: TCP, UDP, SCTP.
pub const RESERVED_WORDS: usize = 3 * 1024;
/// Words of the bitmap of taken ports: as [`RESERVED_WORDS`], IPv4 and then IPv6.
pub const TAKEN_WORDS: usize = 2 * RESERVED_WORDS;
/// Keys of flows that may be removed.
pub const MAX_RECLAIM: usize = 16_384;
/// The same of flows that the outside has begun.
pub const MAX_RECLAIM_IN: usize = 65_536;
/// Numbers of live flows: two for each endpoint, where slot 0 is none, and one more.
pub const LIVE_ENTRIES: usize = 2 * MAX_ENDPOINTS + 1;
/// Fragment records.
pub const MAX_FRAGS: usize = 8192;
/// Socket records.
pub const MAX_SOCKS: usize = 65_536;
/// Bytes of the ring buffer of events; a power of two and a multiple of the page size.
pub const EVENT_BYTES: usize = 256 * 1024;

/// Where a processor counts for a rule in [`RULE_STATS`].
///
/// An array with a stretch of [`MAX_RULES`] for each processor, rather than one of the kernel's for each
/// CPU: that takes its memory element by element, 65,536 times when an instance is made.
#[inline(always)]
#[must_use]
pub const fn rule_stats_index(cpu: u32, rule: u16) -> u32 {
    cpu.wrapping_mul(MAX_RULES as u32) + rule as u32
}

/// Records of ports: TCP, then UDP.
pub const PORT_ENTRIES: usize = 2 * 65_536;

/// Where the record of a port lives in [`PORTS`]; `None` for protocols without ports.
#[inline(always)]
#[must_use]
pub const fn port_index(proto: u8, port: u16) -> Option<u32> {
    match proto {
        crate::tuple::TCP => Some(port as u32),
        crate::tuple::UDP => Some(65_536 + port as u32),
        _ => None,
    }
}

/// Where the bit of a reserved port lives: (word index, bit mask). `None` for protocols without
/// ports.
#[inline(always)]
#[must_use]
pub const fn reserved_word(proto: u8, port: u16) -> Option<(u32, u64)> {
    let base = match proto {
        crate::tuple::TCP => 0,
        crate::tuple::UDP => 1024,
        crate::tuple::SCTP => 2048,
        _ => return None,
    };
    Some((base + (port as u32 >> 6), 1u64 << (port & 63)))
}

/// Where the bit of a taken port lives: (word index, bit mask). `None` for protocols without ports.
#[inline(always)]
#[must_use]
pub const fn taken_word<A: crate::Addr>(proto: u8, port: u16) -> Option<(u32, u64)> {
    let base = if A::IS_V6 { RESERVED_WORDS as u32 } else { 0 };
    match reserved_word(proto, port) {
        Some((word, bit)) => Some((base + word, bit)),
        None => None,
    }
}
