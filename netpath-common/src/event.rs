//! The drop event that the datapath writes to the ring buffer `np_events`.

use bytemuck::{Pod, Zeroable};

use crate::tuple::Tuple;

/// Which hook a packet was seen at.
#[repr(u8)]
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Hook {
    /// Ingress of the host side of an endpoint's veth: the container sent the packet.
    Veth = 0,
    /// Ingress of the bridge device: the packet goes up to the host.
    Bridge = 1,
    /// Ingress of an uplink.
    UplinkIngress = 2,
    /// Egress of an uplink.
    UplinkEgress = 3,
    /// The driver of an uplink has received the packet.
    Xdp = 4,
    /// Ingress of the loopback device: the host sends to itself.
    Loopback = 5,
    /// Egress of the bridge device: the host sends the packet into a network.
    BridgeEgress = 6,
}

impl Hook {
    /// The name that users see.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Veth => "veth",
            Self::Bridge => "bridge",
            Self::UplinkIngress => "uplink-in",
            Self::UplinkEgress => "uplink-out",
            Self::Xdp => "xdp",
            Self::Loopback => "lo-in",
            Self::BridgeEgress => "bridge-out",
        }
    }

    /// The hook with this number.
    #[must_use]
    pub const fn from_u8(n: u8) -> Option<Self> {
        match n {
            0 => Some(Self::Veth),
            1 => Some(Self::Bridge),
            2 => Some(Self::UplinkIngress),
            3 => Some(Self::UplinkEgress),
            4 => Some(Self::Xdp),
            5 => Some(Self::Loopback),
            6 => Some(Self::BridgeEgress),
            _ => None,
        }
    }
}

/// A dropped packet, 80 bytes. Fields that the parser did not reach are zero.
#[repr(C)]
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Pod, Zeroable)]
pub struct DropEvent {
    /// CLOCK_MONOTONIC (coarse), nanoseconds.
    pub time_ns: u64,
    /// [`crate::DropReason`] as a number.
    pub reason: u32,
    /// Interface index where the packet was seen.
    pub ifindex: u32,
    /// What the parser found; ports are zero in later fragments.
    pub tuple: Tuple,
    /// Frame length in bytes.
    pub len: u32,
    /// EtherType of the frame.
    pub ethertype: u16,
    /// [`Hook`] as a number.
    pub hook: u8,
    /// Always zero.
    pub zero: u8,
    /// Source MAC address of the frame.
    pub src_mac: [u8; 6],
    /// Slot of the endpoint that sent it, 0 if it is not known.
    pub endpoint: u16,
    /// Source address of an IPv6 packet; those of `tuple` are zero then.
    pub src6: [u8; 16],
    /// Destination address of an IPv6 packet.
    pub dst6: [u8; 16],
}

const _: () = assert!(size_of::<DropEvent>() == 80);
