//! The map records that user space writes and the datapath reads, and small state records.
//!
//! Owns their byte layout: `repr(C)`, padding named and zero, sizes asserted. Addresses are in
//! network order, ports and everything else in host order. The conntrack record is in
//! [`crate::conntrack`], those of published ports are in [`crate::publish`], an endpoint's counters in
//! [`crate::endpoint_stats`].

use bytemuck::{Pod, Zeroable};

use crate::addr::{Addr, V4, V6};
pub use crate::{endpoint_stats::*, publish::records::*};

/// A container's attachment to a network, by slot in `np_endpoints`. A free slot has `ifindex` 0.
///
/// `generation` only ever grows, also over free and reuse of the slot: a flow made under an older
/// one is a miss.
#[repr(C)]
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Pod, Zeroable)]
pub struct EndpointRecord {
    /// Interface index of the host side of the veth pair.
    pub ifindex: u32,
    /// Grows whenever address, network or existence changes.
    pub generation: u32,
    /// The endpoint's address.
    pub addr: [u8; 4],
    /// MAC address of the container side.
    pub mac: [u8; 6],
    /// Slot of its network.
    pub network: u16,
    /// MTU of the container side in bytes.
    pub mtu: u32,
    /// `ENDPOINT_*` bits: how its packets go, which no flow depends on.
    pub flags: u32,
    /// The endpoint's IPv6 address, zero for none.
    pub addr6: [u8; 16],
}

/// What the endpoint exchanges with the outside goes through the host's stack, whose FORWARD chain sees
/// the container's address.
pub const ENDPOINT_VISIBLE: u32 = 1;

/// The endpoint and the host do not reach each other.
pub const ENDPOINT_ISOLATED: u32 = 2;

/// What the endpoint is given goes through the queue of its host-side interface, which keeps a rate.
pub const ENDPOINT_SHAPED: u32 = 4;

/// The network is not masqueraded and not translated otherwise when this is unset.
pub const NETWORK_MASQUERADE: u32 = 1;
/// Containers of the network may talk to each other.
pub const NETWORK_ICC: u32 = 2;
/// Nothing leaves or enters the network.
pub const NETWORK_INTERNAL: u32 = 4;
/// Frames between containers of the network go straight, not through the bridge.
pub const NETWORK_DIRECT: u32 = 8;

/// Containers' interfaces take frames that a driver's program redirects to them: packets of live flows
/// are translated in the uplinks' drivers.
pub const NETWORK_XDP: u32 = 16;
/// Containers' own addresses are routed outside: no translation, and in comes what they publish.
pub const NETWORK_ROUTED: u32 = 32;
/// Somebody else's sockets hold the host's ports that the network publishes: binding them is left
/// alone.
pub const NETWORK_PORTS_HELD: u32 = 256;
/// Nobody is kept from binding the ports that a network with one of these publishes: they are
/// somebody else's, or not the host's.
pub const NETWORK_PORTS_FREE: u32 = NETWORK_PORTS_HELD | NETWORK_ROUTED;

/// A flow's outside port does not depend on its destination: bindings, see [`crate::nat`].
pub const NETWORK_BINDINGS: u32 = 64;

/// To some destinations containers keep their addresses: those that [`kept_key`] finds.
pub const NETWORK_KEEPS: u32 = 128;

/// What stands for a network in the trie of allow lists, whose rules have the numbers below.
pub const KEPT_NETWORKS: u32 = 1 << 16;

/// A question to the trie of allow lists: whether containers of a network keep their addresses to this
/// destination.
#[inline(always)]
#[must_use]
pub const fn kept_key<A: Addr>(network: u16, dst: A) -> SourceKey<A> {
    SourceKey {
        bits: ALLOWED_RULE_BITS + 8 * size_of::<A>() as u32,
        key: AllowedKey {
            rule: KEPT_NETWORKS | network as u32,
            addr: dst,
        },
    }
}

/// A network, by slot in `np_networks`. A free slot has `bridge_ifindex` 0.
#[repr(C)]
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Pod, Zeroable)]
pub struct NetworkRecord {
    /// Interface index of the bridge.
    pub bridge_ifindex: u32,
    /// The bridge's address, the containers' gateway.
    pub gateway: [u8; 4],
    /// The subnet's first address.
    pub subnet: [u8; 4],
    /// Subnet mask in network order.
    pub mask: [u8; 4],
    /// `NETWORK_*` bits.
    pub flags: u32,
    /// Fixed outside address (`snat`), or zero for the uplink's.
    pub snat: [u8; 4],
    /// MAC address of the bridge.
    pub bridge_mac: [u8; 6],
    /// Always zero.
    pub zero: u16,
    /// The bridge's IPv6 address, the containers' gateway; zero without IPv6.
    pub gateway6: [u8; 16],
    /// The IPv6 subnet's first address.
    pub subnet6: [u8; 16],
    /// Its mask; zero without IPv6.
    pub mask6: [u8; 16],
    /// Fixed outside address (`snat6`), or zero for the uplink's.
    pub snat6: [u8; 16],
}

/// An interface that leads out, by slot in `np_uplinks`. A free slot has `ifindex` 0.
#[repr(C)]
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Pod, Zeroable)]
pub struct UplinkRecord {
    /// Interface index.
    pub ifindex: u32,
    /// Grows whenever the address changes or the interface goes.
    pub generation: u32,
    /// The address that masquerade uses; zero if the interface has none (then flows are refused).
    pub addr: [u8; 4],
    /// MTU in bytes.
    pub mtu: u32,
    /// The same of IPv6.
    pub addr6: [u8; 16],
}

/// Interface index of the loopback device, in every network namespace (`LOOPBACK_IFINDEX`,
/// `include/net/flow.h`).
pub const LOOPBACK_IFINDEX: u32 = 1;
/// Slot of the uplink that the loopback device stands for: the last one. Free where the host's sockets
/// are translated instead.
pub const LOOPBACK_UPLINK: u16 = crate::maps::MAX_UPLINKS as u16 - 1;

/// The interface is the host side of an endpoint's veth.
pub const IFACE_ENDPOINT: u32 = 1;
/// The interface is a network's bridge.
pub const IFACE_BRIDGE: u32 = 2;
/// The interface is an uplink.
pub const IFACE_UPLINK: u32 = 3;
/// The interface is an uplink by which somebody comes in and no container goes out.
pub const IFACE_UPLINK_IN: u32 = 4;

/// The uplink forwards IPv4 because netpath has it do so: what comes in by it and is for neither the host
/// nor a container goes no further.
pub const IFACE_CLOSED4: u32 = 1;
/// The same of IPv6.
pub const IFACE_CLOSED6: u32 = 2;

/// What an interface is, by interface index in `np_ifaces`.
#[repr(C)]
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Pod, Zeroable)]
pub struct IfaceRecord {
    /// `IFACE_*`.
    pub kind: u32,
    /// Slot in the map of that kind.
    pub slot: u32,
    /// `IFACE_CLOSED*` bits.
    pub flags: u32,
}

impl IfaceRecord {
    /// Whether it is an uplink, of either kind.
    #[inline(always)]
    #[must_use]
    pub const fn is_uplink(&self) -> bool {
        matches!(self.kind, IFACE_UPLINK | IFACE_UPLINK_IN)
    }

    /// Whether the host forwards packets of this family that come in by the interface for containers
    /// alone.
    #[inline(always)]
    #[must_use]
    pub const fn is_closed<A: Addr>(&self) -> bool {
        let bit = if A::IS_V6 {
            IFACE_CLOSED6
        } else {
            IFACE_CLOSED4
        };
        self.flags & bit != 0
    }
}

/// Lifetimes in milliseconds.
#[repr(C)]
#[derive(Clone, Copy, PartialEq, Eq, Debug, Pod, Zeroable)]
pub struct Timeouts {
    /// By `TcpState` number; index 0 (NONE) is unused.
    pub tcp: [u32; 10],
    /// A TCP connection picked up in the middle, until its first answer.
    pub tcp_pickup: u32,
    /// UDP without an answer.
    pub udp: u32,
    /// UDP with answers for longer than two seconds.
    pub udp_stream: u32,
    /// ICMP queries.
    pub icmp: u32,
    /// Fragment records.
    pub frag: u32,
    /// Always zero.
    pub zero: u32,
}

impl Timeouts {
    /// The kernel's defaults (Documentation/networking/nf_conntrack-sysctl.rst).
    pub const KERNEL: Self = Self {
        //     NONE SYN_SENT SYN_RECV ESTABLISHED  FIN_WAIT CLOSE_WAIT
        tcp: [
            0,
            120_000,
            60_000,
            432_000_000,
            120_000,
            60_000,
            // LAST_ACK TIME_WAIT CLOSE SYN_SENT2
            30_000,
            120_000,
            10_000,
            120_000,
        ],
        tcp_pickup: 300_000,
        udp: 30_000,
        udp_stream: 120_000,
        icmp: 30_000,
        frag: 30_000,
        zero: 0,
    };

    /// What the RFCs ask for: an established TCP connection 2 h 4 min, any other 4 min (RFC 5382,
    /// REQ-5), also after a reset (RFC 7857, 2.2); UDP 5 min (RFC 4787, REQ-5 c); ICMP queries 60 s
    /// (RFC 5508, REQ-2).
    pub const RFC: Self = Self {
        //     NONE SYN_SENT SYN_RECV ESTABLISHED FIN_WAIT CLOSE_WAIT
        tcp: [
            0, 240_000, 240_000, 7_440_000, 240_000, 240_000,
            // LAST_ACK TIME_WAIT CLOSE SYN_SENT2
            240_000, 240_000, 240_000, 240_000,
        ],
        tcp_pickup: 300_000,
        udp: 300_000,
        udp_stream: 300_000,
        icmp: 60_000,
        frag: 30_000,
        zero: 0,
    };
}

/// A masqueraded flow keeps its port where that is free.
pub const CONFIG_PRESERVE_PORTS: u32 = 1;
/// The MSS option of translated SYNs is lowered to what the MTU of the way allows.
pub const CONFIG_MSS_CLAMP: u32 = 2;

/// There may be bindings: a network has [`NETWORK_BINDINGS`].
pub const CONFIG_BINDINGS: u32 = 4;

/// There may be endpoints with [`ENDPOINT_VISIBLE`].
pub const CONFIG_VISIBLE: u32 = 8;

/// The one record of `np_config`.
#[repr(C)]
#[derive(Clone, Copy, PartialEq, Eq, Debug, Pod, Zeroable)]
pub struct Config {
    /// Cookie of the network namespace that this instance manages (`SO_NETNS_COOKIE`).
    pub netns_cookie: u64,
    /// Nanoseconds that the datapath's clock is ahead of the kernel's: 0 but in tests.
    pub clock_offset_ns: u64,
    /// Lifetimes.
    pub timeouts: Timeouts,
    /// The lowest port that masquerade gives a TCP or UDP flow; 0: by the class of its own port.
    pub port_min: u16,
    /// The highest one.
    pub port_max: u16,
    /// `CONFIG_*`.
    pub flags: u32,
    /// Flows that an endpoint may have begun, 0 for any number.
    pub endpoint_flows: u32,
    /// Outside tuples that masquerade may have given an endpoint, 0 for any number.
    pub endpoint_ports: u32,
    /// Flows from the outside to published ports that are not established yet, 0 for any number.
    pub inbound_embryonic: u32,
    /// Always zero.
    pub zero: u32,
}

impl Config {
    /// The defaults: the kernel's lifetimes and ports, no limits.
    #[must_use]
    pub const fn new(netns_cookie: u64) -> Self {
        Self {
            netns_cookie,
            clock_offset_ns: 0,
            timeouts: Timeouts::KERNEL,
            port_min: 0,
            port_max: 0,
            flags: CONFIG_PRESERVE_PORTS,
            endpoint_flows: 0,
            endpoint_ports: 0,
            inbound_embryonic: 0,
            zero: 0,
        }
    }
}

/// Key of a fragmented datagram (RFC 791).
#[repr(C, align(8))]
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub struct FragKey<A = V4> {
    /// Source address as seen.
    pub src: A,
    /// Destination address as seen.
    pub dst: A,
    /// Identification; 16 bits of IPv4.
    pub id: u32,
    /// IP protocol number, 0 of IPv6, whose fragments need not have the same.
    pub proto: u8,
    /// Always zero.
    pub zero: [u8; 3],
}

/// Pieces of a datagram that [`FragRecord::seen`] holds.
pub const FRAG_PARTS: usize = 8;

/// What was done with a first fragment, so that the later ones follow it.
#[repr(C)]
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct FragRecord<A = V4> {
    /// When the first fragment was seen, nanoseconds of the coarse monotonic clock.
    pub stamp: u64,
    /// New source address.
    pub src: A,
    /// New destination address.
    pub dst: A,
    /// Slot of the endpoint it goes to, 0 for an uplink.
    pub to: u16,
    /// Slot of the uplink it leaves by.
    pub uplink: u16,
    /// Slot of the endpoint it came from, 0 for the outside.
    pub from: u16,
    /// Slot of the publishing rule of its flow, 0 for none.
    pub rule: u16,
    /// Sum of the generations of both endpoints, uplink and rule.
    pub generation: u32,
    /// The interface that it left by, 0 for the uplink's.
    pub out: u32,
    /// Its next hop's address, zero where the kernel has found it.
    pub gateway: A,
    /// Always zero.
    pub zero: [u8; 4],
    /// Which parts of the datagram have been seen: from and to, in units of 8 bytes; both 0 for none.
    /// Parts beyond as many that touch no other are not remembered: the receiver judges those.
    pub seen: [[u16; 2]; FRAG_PARTS],
}

macro_rules! of_either_family {
    ($($t:ident),+) => { $(
        // SAFETY: all zero is a valid value of every field.
        unsafe impl<A: Addr> Zeroable for $t<A> {}
        // SAFETY: `repr(C)`, every field is `Pod`, and the sizes asserted below leave no room for
        // padding.
        unsafe impl<A: Addr> Pod for $t<A> {}
    )+ };
}

of_either_family!(FragKey, FragRecord);

const _: () = {
    assert!(size_of::<EndpointRecord>() == 44);
    assert!(size_of::<NetworkRecord>() == 96);
    assert!(size_of::<UplinkRecord>() == 32);
    assert!(size_of::<Timeouts>() == 64);
    assert!(size_of::<Config>() == 104);
    assert!(size_of::<FragKey>() == 16);
    assert!(size_of::<FragRecord>() == 72);
    assert!(size_of::<FragKey<V6>>() == 40);
    assert!(size_of::<FragRecord<V6>>() == 112);
};
