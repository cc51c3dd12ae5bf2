//! Kernel settings that the instance changes, and their way back.

use super::{Error, rollback::Undo, work::Work};
use crate::{net::sysctl, state::Sysctl};

impl Work<'_> {
    /// Turns forwarding on, if it is not. Called when every program is attached: from here on the
    /// host forwards, and only the programs decide what.
    pub(super) fn enable_forwarding(&mut self) -> Result<(), Error> {
        self.set_sysctl(sysctl::IP_FORWARD, "1", None)
    }

    /// Changes a setting and remembers the value before. A setting that the kernel does not have
    /// (IPv6 compiled out) stays alone.
    pub(super) fn set_sysctl(
        &mut self,
        key: &str,
        value: &str,
        network: Option<&str>,
    ) -> Result<(), Error> {
        let Some(before) = sysctl::read_optional(key)? else {
            return Ok(());
        };
        if before == value {
            return Ok(());
        }
        if !self.state.sysctls.iter().any(|s| s.key == key) {
            let network = network.map(ToOwned::to_owned);
            self.state.sysctls.push(Sysctl {
                key: key.to_owned(),
                before,
                network,
            });
            self.save()?;
        }
        self.undo.push(Undo::Sysctl(key.to_owned()));
        Ok(sysctl::write(key, value)?)
    }

    /// Gives a setting its former value back and forgets it.
    pub(super) fn restore_sysctl(&mut self, key: &str) -> Result<(), Error> {
        let Some(at) = self.state.sysctls.iter().position(|s| s.key == key) else {
            return Ok(());
        };
        let saved = self.state.sysctls.remove(at);
        // The interface that the setting belonged to may be gone.
        if sysctl::read_optional(key)?.is_some_and(|now| now != saved.before) {
            sysctl::write(key, &saved.before)?;
        }
        Ok(())
    }

    /// Gives back every setting that was changed for `network`, or for the instance as a whole.
    pub(super) fn restore_sysctls(&mut self, network: Option<&str>) -> Result<(), Error> {
        let keys: Vec<_> = self
            .state
            .sysctls
            .iter()
            .filter(|s| s.network.as_deref() == network)
            .map(|s| s.key.clone())
            .collect();
        keys.iter().try_for_each(|key| self.restore_sysctl(key))
    }
}
