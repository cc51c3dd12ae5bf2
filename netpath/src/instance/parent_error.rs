//! What can be wrong with the parent of a network without a bridge.

/// Why a parent cannot be had.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ParentError {
    /// A parent is not there.
    #[error(
        "network `{network}`: parent {parent} does not exist, and is no VLAN (INTERFACE.NUMBER) of an \
         interface either; {known}"
    )]
    None {
        /// The network.
        network: String,
        /// The interface.
        parent: String,
        /// What exists.
        known: String,
    },
    /// A parent has gone.
    #[error("the parent interface {parent} is gone; {known}; make it again, or remove the network")]
    Gone {
        /// The interface.
        parent: String,
        /// What exists.
        known: String,
    },
    /// A parent that frames cannot be sent on.
    #[error(
        "network `{network}`: parent {parent} is a {kind}, whose packets have no Ethernet header; name an \
         Ethernet interface"
    )]
    Kind {
        /// The network.
        network: String,
        /// The interface.
        parent: String,
        /// Its kind.
        kind: String,
    },
    /// Larger packets than the parent sends.
    #[error(
        "network `{network}`: mtu = {wanted} is more than the {most} of its parent {parent}; leave it \
         out, or raise the parent's first"
    )]
    Mtu {
        /// The network.
        network: String,
        /// As asked for, bytes.
        wanted: u32,
        /// The interface.
        parent: String,
        /// Its MTU, bytes.
        most: u32,
    },
}
