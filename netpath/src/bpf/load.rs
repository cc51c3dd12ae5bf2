//! Loading and removing an instance.

use super::{Datapath, Error, LoadOptions};

impl Datapath {
    /// Loads an instance, or replaces the programs of a loaded one.
    pub fn load(instance: &str, o: &LoadOptions) -> Result<Self, Error> {
        let _ = (instance, o.config());
        Err(Error::NoObject)
    }

    /// Detaches and unpins everything of an instance.
    pub fn remove(instance: &str) -> Result<(), Vec<Error>> {
        let _ = instance;
        Ok(())
    }
}
