//! Where programs are attached to interfaces.
//!
//! Owns the names of these places. What is dropped there is told by [`netpath_common::event::Hook`], which
//! knows nothing of headers.

use netpath_common::event;

/// A place for a program.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Hook {
    /// Ingress of the host side of an endpoint's veth.
    Veth,
    /// Ingress of a network's bridge.
    Bridge,
    /// Ingress of an uplink.
    UplinkIngress,
    /// Egress of an uplink.
    UplinkEgress,
    /// Ingress of an uplink whose packets have no Ethernet header.
    TunnelIngress,
    /// Egress of such an uplink.
    TunnelEgress,
    /// The driver of an uplink.
    Xdp,
    /// Ingress of the loopback device.
    Loopback,
}

impl Hook {
    /// The name that users see.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Veth => event::Hook::Veth.as_str(),
            Self::Bridge => event::Hook::Bridge.as_str(),
            Self::UplinkIngress => event::Hook::UplinkIngress.as_str(),
            Self::UplinkEgress => event::Hook::UplinkEgress.as_str(),
            Self::TunnelIngress => "tunnel-in",
            Self::TunnelEgress => "tunnel-out",
            Self::Xdp => event::Hook::Xdp.as_str(),
            Self::Loopback => event::Hook::Loopback.as_str(),
        }
    }
}
