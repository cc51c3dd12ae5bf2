//! Attaching the socket programs.

use super::{Datapath, Error};

impl Datapath {
    /// Attaches the socket programs; `false` when there is no cgroup v2.
    pub fn attach_host_sockets(&self) -> Result<bool, Error> {
        Ok(false)
    }
}
