//! What networks need of the datapath that others do without.

use crate::{
    bpf::Needs,
    config::{self, Firewall},
    state,
};

/// Of a network of the configuration.
pub(super) fn of_wanted(n: &config::Network) -> Needs {
    Needs {
        bindings: n.bindings,
        visible: n.firewall == Firewall::Visible,
        ipv6: n.ipv6.is_some() || n.ipv6_size.is_some(),
        xdp_translate: n.xdp_translate,
        ..Needs::default()
    }
}

/// Of a network that is there, or planned.
pub(super) fn of_network(n: &state::Network) -> Needs {
    Needs {
        bindings: n.bindings,
        visible: n.firewall == Firewall::Visible,
        ipv6: n.ipv6.is_some(),
        xdp_translate: n.xdp_translate,
        ..Needs::default()
    }
}
