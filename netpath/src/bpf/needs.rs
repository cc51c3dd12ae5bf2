//! What networks and hosts need of a datapath that others do without.
//!
//! Owns which settings and programs that are. The verifier takes nearly all of the time of `up`, so what
//! nobody needs is not loaded.

use netpath_common::records::{CONFIG_BINDINGS, CONFIG_VISIBLE};

use super::pins::Pins;

/// Who needs something more.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Needs {
    /// A network maps independently of endpoints.
    pub bindings: bool,
    /// A network is visible to the host's firewall.
    pub visible: bool,
    /// A network has IPv6. Without these programs a container's frames of IPv6 are dropped, and the
    /// host's own go on as they are.
    pub ipv6: bool,
    /// The host's own connections by IPv6 are translated at its loopback device.
    pub loopback6: bool,
    /// A driver translates what comes in for a network.
    pub xdp_translate: bool,
    /// Packets of an uplink have no Ethernet header.
    pub tunnels: bool,
}

/// The programs that only some need.
const OPTIONAL: [&str; 8] = [
    "np_veth6",
    "np_uplink_in6",
    "np_uplink_out6",
    "np_lo_in6",
    "np_uplink_xdp_nat",
    "np_tunnel_in",
    "np_tunnel_out",
    "np_tunnel_out6",
];

impl Needs {
    /// Both together.
    #[must_use]
    pub const fn or(self, other: Self) -> Self {
        Self {
            bindings: self.bindings || other.bindings,
            visible: self.visible || other.visible,
            ipv6: self.ipv6 || other.ipv6,
            loopback6: self.loopback6 || other.loopback6,
            xdp_translate: self.xdp_translate || other.xdp_translate,
            tunnels: self.tunnels || other.tunnels,
        }
    }

    /// The settings.
    pub(super) const fn flags(self) -> u32 {
        (if self.bindings { CONFIG_BINDINGS } else { 0 })
            | if self.visible { CONFIG_VISIBLE } else { 0 }
    }

    /// Whether a program is to be loaded.
    pub(super) fn want(self, program: &str) -> bool {
        match program {
            "np_veth6" | "np_uplink_in6" | "np_uplink_out6" => self.ipv6,
            "np_lo_in6" => self.loopback6,
            "np_uplink_xdp_nat" => self.xdp_translate,
            "np_tunnel_in" | "np_tunnel_out" => self.tunnels,
            "np_tunnel_out6" => self.tunnels && self.ipv6,
            _ => true,
        }
    }

    /// Whether a program is to be loaded that `there` has not, beside what that has.
    pub(super) fn want_beyond(self, there: Self, program: &str) -> bool {
        self.or(there).want(program) && !there.want(program)
    }

    /// Whether there is such a program.
    pub(super) fn are_beyond(self, there: Self) -> bool {
        OPTIONAL.iter().any(|name| self.want_beyond(there, name))
    }

    /// What is loaded, by its pins. Settings are not looked at.
    pub(super) fn of(pins: &Pins) -> Self {
        let has = |program| pins.program(program).exists();
        let ipv6 = has("np_veth6") && has("np_uplink_in6") && has("np_uplink_out6");
        let tunnels = has("np_tunnel_in") && has("np_tunnel_out");
        Self {
            ipv6,
            loopback6: has("np_lo_in6"),
            xdp_translate: has("np_uplink_xdp_nat"),
            tunnels: tunnels && (!ipv6 || has("np_tunnel_out6")),
            ..Self::default()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_two_needs_together_make_is_loaded_whichever_comes_first() {
        let ipv6 = Needs {
            ipv6: true,
            ..Needs::default()
        };
        let tunnels = Needs {
            tunnels: true,
            ..Needs::default()
        };
        for (first, second) in [(ipv6, tunnels), (tunnels, ipv6)] {
            assert!(second.are_beyond(first));
            assert!(second.want_beyond(first, "np_tunnel_out6"));
            assert!(!first.are_beyond(first));
            assert!(!second.are_beyond(first.or(second)));
        }
        assert!(!tunnels.want("np_tunnel_out6"));
        assert!(!ipv6.want("np_tunnel_out6"));
    }
}
