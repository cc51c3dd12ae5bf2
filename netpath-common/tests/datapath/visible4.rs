//! Tests that are the same for both families, over IPv4, of networks that are visible to the host's
//! firewall.

/// The standard host in the words of IPv4, with the host's stack between its hooks.
mod family {
    pub(crate) use netpath_common::testing::{HostOf, v4::*};

    pub(crate) type Host = HostOf<true>;
}

#[path = "visible_both.rs"]
mod both;
