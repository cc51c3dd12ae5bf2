//! Changes of links, addresses and routes, as the kernel announces them.

use futures_util::StreamExt as _;
use rtnetlink::MulticastGroup;
use tokio::{sync::mpsc, task::JoinHandle};

use super::Error;

/// A subscription to the kernel's announcements.
#[derive(Debug)]
pub struct Watch {
    changes: mpsc::Receiver<()>,
    tasks: [JoinHandle<()>; 2],
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
            MulticastGroup::Ipv6Ifaddr,
            MulticastGroup::Ipv6Route,
        ];
        let (connection, _, mut messages) =
            rtnetlink::new_multicast_connection(&groups).map_err(Error::Connect)?;
        // One waiting note is enough: whoever reads it looks at everything. A lost announcement
        // (the socket overran) does no harm for the same reason.
        let (sender, changes) = mpsc::channel(1);
        let reader = tokio::spawn(async move {
            while messages.next().await.is_some() {
                if let Err(mpsc::error::TrySendError::Closed(())) = sender.try_send(()) {
                    return;
                }
            }
        });
        Ok(Self {
            changes,
            tasks: [tokio::spawn(connection), reader],
        })
    }

    /// Waits until something has changed; `false` when the kernel tells no more.
    pub async fn changed(&mut self) -> bool {
        self.changes.recv().await.is_some()
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        for task in &self.tasks {
            task.abort();
        }
    }
}
