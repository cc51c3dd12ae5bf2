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
}

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
            "np_veth6" | "np_uplink_in6" | "np_uplink_out6" | "np_bridge_out6" => self.ipv6,
            "np_lo_in6" => self.loopback6,
            "np_uplink_xdp_nat" => self.xdp_translate,
            _ => true,
        }
    }

    /// Whether a program is to be loaded that `there` has not.
    pub(super) fn want_beyond(self, there: Self, program: &str) -> bool {
        self.want(program) && !there.want(program)
    }

    /// Whether there is such a program.
    pub(super) const fn are_beyond(self, there: Self) -> bool {
        self.ipv6 && !there.ipv6
            || self.loopback6 && !there.loopback6
            || self.xdp_translate && !there.xdp_translate
    }

    /// What is loaded, by its pins. Settings are not looked at.
    pub(super) fn of(pins: &Pins) -> Self {
        let has = |program| pins.program(program).exists();
        Self {
            ipv6: has("np_veth6")
                && has("np_uplink_in6")
                && has("np_uplink_out6")
                && has("np_bridge_out6"),
            loopback6: has("np_lo_in6"),
            xdp_translate: has("np_uplink_xdp_nat"),
            ..Self::default()
        }
    }
}
