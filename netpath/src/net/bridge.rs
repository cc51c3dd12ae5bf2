//! Bridges and their ports.

use rtnetlink::{LinkBridge, LinkBridgePort, LinkMessageBuilder, LinkUnspec};

use super::{Error, Netlink};
use crate::config::Mac;

/// How a port of the bridge treats its neighbour ports.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct PortFlags {
    /// It exchanges no frames with other isolated ports (`icc = false`).
    pub isolated: bool,
}

impl Netlink {
    /// Creates a bridge, down. Its MAC address is fixed, or it would change with its ports.
    ///
    /// # Errors
    /// The kernel refused.
    pub async fn create_bridge(&self, name: &str, mac: Mac, mtu: u32) -> Result<(), Error> {
        let message = LinkMessageBuilder::<LinkBridge>::new(name)
            .address(mac.0.to_vec())
            .mtu(mtu)
            .build();
        self.handle
            .link()
            .add(message)
            .execute()
            .await
            .map_err(|e| Error::request(format!("creating bridge {name}"), &e))
    }

    /// Makes a link a port of a bridge. Hairpin stays off: a container reaches its own published
    /// port through the datapath.
    ///
    /// # Errors
    /// The kernel refused.
    pub async fn add_port(&self, bridge: u32, port: u32, flags: PortFlags) -> Result<(), Error> {
        let message = LinkUnspec::new_with_index(port).controller(bridge).build();
        self.handle
            .link()
            .change(message)
            .execute()
            .await
            .map_err(|e| {
                Error::request(format!("adding interface {port} to bridge {bridge}"), &e)
            })?;
        self.set_port(port, flags).await
    }

    /// Sets the flags of a bridge's port.
    ///
    /// # Errors
    /// The kernel refused.
    pub async fn set_port(&self, port: u32, flags: PortFlags) -> Result<(), Error> {
        let message = LinkBridgePort::new(port)
            .hairpin(false)
            .learning(true)
            .isolated(flags.isolated)
            .build();
        self.handle
            .link()
            .set_port(message)
            .execute()
            .await
            .map_err(|e| Error::request(format!("setting the flags of bridge port {port}"), &e))
    }
}
