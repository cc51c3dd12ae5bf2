//! Why a container cannot be in a network.

/// Why a container cannot be in a network.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PlaceError {
    /// A container is in a network once.
    #[error(
        "endpoint `{endpoint}`: its container is in network `{network}` already, as endpoint `{other}`; \
         remove that one first, or choose another network"
    )]
    AlreadyConnected {
        /// The endpoint.
        endpoint: String,
        /// The other one of the same container.
        other: String,
        /// The network.
        network: String,
    },
    /// The container is not in the host's namespace.
    #[error(
        "endpoint `{endpoint}`: `{netns}` is not the host's network namespace, and a container of the \
         driver host shares that; name the host's, such as /proc/1/ns/net, or take another network"
    )]
    NotHost {
        /// The endpoint.
        endpoint: String,
        /// Its namespace.
        netns: String,
    },
}
