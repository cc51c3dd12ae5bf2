//! The host's network over rtnetlink: links, addresses, routes, settings and namespaces.
//!
//! Owns single operations, each on one object of the network namespace that the calling thread is
//! in. Does not know networks or endpoints and undoes nothing: [`crate::instance`] does.

mod address;
mod address6;
mod announce;
mod bridge;
pub mod container;
mod device;
mod error;
pub(crate) mod frames;
mod lan;
mod link;
pub mod listeners;
pub mod namespace;
mod peer;
mod random;
mod route;
pub mod segments;
mod shaping;
mod sock_diag;
pub mod sysctl;
mod uplink;
mod veth;
mod watch;
pub mod ways;

use rtnetlink::Handle;
use tokio::task::JoinHandle;

pub use address::Address;
pub use address6::{Address6, link_local};
pub use announce::Announced;
pub use bridge::PortFlags;
pub use device::{driver, has_gro, has_tx_checksum, set_gro};
pub use error::Error;
pub use lan::LanPort;
pub use link::Link;
pub use peer::{Peer, namespace_by_ino};
pub use random::{hex_id, random_ifname, random_mac, random_subnet6};
pub use route::Hop;
pub(crate) use route::Route;
pub use segments::SegmentSizes;
pub use shaping::rate_bytes;
pub use uplink::Uplink;
pub use veth::VethPair;
pub use watch::Watch;
pub use ways::Way;

/// A connection to the kernel's rtnetlink in the current network namespace.
#[derive(Debug)]
pub struct Netlink {
    handle: Handle,
    task: JoinHandle<()>,
}

impl Netlink {
    /// Connects. Must be called within a tokio runtime.
    ///
    /// # Errors
    /// The socket cannot be opened.
    pub fn connect() -> Result<Self, Error> {
        let (connection, handle, _) = rtnetlink::new_connection().map_err(Error::Connect)?;
        Ok(Self {
            handle,
            task: tokio::spawn(connection),
        })
    }
}

impl Drop for Netlink {
    fn drop(&mut self) {
        self.task.abort();
    }
}
