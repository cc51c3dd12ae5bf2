//! Attaching to interfaces.

use super::{Datapath, Error, Hook};

impl Datapath {
    /// Attaches the hook's program to an interface; does nothing if it is attached.
    pub fn attach(&self, hook: Hook, ifname: &str, ifindex: u32) -> Result<(), Error> {
        let _ = (hook, ifname, ifindex);
        Err(Error::NoObject)
    }

    /// Detaches the hook's program from an interface; fine if it is not attached.
    pub fn detach(&self, hook: Hook, ifindex: u32) -> Result<(), Error> {
        let _ = (hook, ifindex);
        Ok(())
    }

    /// The live attachments.
    pub fn attachments(&self) -> Result<Vec<(Hook, u32)>, Error> {
        Ok(Vec::new())
    }
}
