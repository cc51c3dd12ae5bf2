//! Tests that are the same for both families, over IPv6, of networks that are visible to the host's
//! firewall.

/// The standard host in the words of IPv6, with the host's stack between its hooks.
mod family {
    pub(crate) use netpath_common::testing::{Host6Of, v6::*};

    pub(crate) type Host = Host6Of<true>;
}

#[path = "visible_both.rs"]
mod both;
