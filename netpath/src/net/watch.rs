//! Changes of links, addresses, routes and forwarding, as the kernel announces them.
//!
//! Owns hearing that something has changed. What it was is not read: whoever is told looks at everything.

use std::{future::poll_fn, io};

use rtnetlink::{
    MulticastGroup,
    sys::{AsyncSocket as _, SocketAddr, TokioSocket, protocols::NETLINK_ROUTE},
};

use super::Error;

/// A subscription to the kernel's announcements.
#[derive(Debug)]
pub struct Watch(Socket);

struct Socket(TokioSocket);

impl std::fmt::Debug for Socket {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Socket")
    }
}

impl Watch {
    /// Subscribes. Must be called within a tokio runtime.
    ///
    /// # Errors
    /// The socket cannot be opened.
    pub fn start() -> Result<Self, Error> {
        let groups = [
            MulticastGroup::Link,
            MulticastGroup::Ipv4Ifaddr,
            MulticastGroup::Ipv4Route,
            MulticastGroup::Ipv4Netconf,
            MulticastGroup::Ipv6Ifaddr,
            MulticastGroup::Ipv6Route,
            MulticastGroup::Ipv6Netconf,
        ];
        Self::subscribe(&groups).map_err(Error::Connect)
    }

    fn subscribe(groups: &[MulticastGroup]) -> io::Result<Self> {
        let mut socket = TokioSocket::new(NETLINK_ROUTE)?;
        socket.socket_mut().bind(&SocketAddr::new(0, 0))?;
        for group in groups {
            socket.socket_mut().add_membership(*group as u32)?;
        }
        Ok(Self(Socket(socket)))
    }

    /// Waits until something has changed; `false` when the kernel tells no more.
    pub async fn changed(&mut self) -> bool {
        let mut heard = Vec::with_capacity(1 << 16);
        let socket = &self.0.0;
        match poll_fn(|cx| socket.poll_recv(cx, &mut heard)).await {
            Ok(()) => {}
            // Some were lost because many came at once: a change all the same.
            Err(e) if e.raw_os_error() == Some(libc::ENOBUFS) => {}
            Err(_) => return false,
        }
        // What else is waiting is the same to whoever looks at everything.
        loop {
            heard.clear();
            if socket
                .socket_ref()
                .recv(&mut heard, libc::MSG_DONTWAIT)
                .is_err()
            {
                return true;
            }
        }
    }
}
