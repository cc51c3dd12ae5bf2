//! Kernel settings that the instance changes, and their way back.
//!
//! Owns what the state remembers of them. Which are changed, and to what, is their users'
//! ([`super::forwarding`], [`super::ipv6`]).

use super::{Error, rollback::Undo, work::Work};
use crate::{
    net::sysctl,
    state::{State, Sysctl},
};

impl Work<'_> {
    /// Changes a setting and remembers the value before. A setting that the kernel does not have
    /// (IPv6 compiled out, an interface that has gone) stays alone.
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
        self.remember_sysctl(key, &before, network)?;
        self.undo.push(Undo::Sysctl(key.to_owned()));
        Ok(sysctl::write(key, value)?)
    }

    /// Remembers the value of a setting that is about to change, unless an older one is.
    pub(super) fn remember_sysctl(
        &mut self,
        key: &str,
        before: &str,
        network: Option<&str>,
    ) -> Result<(), Error> {
        if position(&self.state, key).is_some() {
            return Ok(());
        }
        self.state.sysctls.push(Sysctl {
            key: key.to_owned(),
            before: before.to_owned(),
            network: network.map(ToOwned::to_owned),
        });
        self.save()
    }

    /// Gives a setting its former value back and forgets it.
    pub(super) fn restore_sysctl(&mut self, key: &str) -> Result<(), Error> {
        let Some(at) = position(&self.state, key) else {
            return Ok(());
        };
        let saved = self.state.sysctls.remove(at);
        // The interface that the setting belonged to may be gone.
        if sysctl::read_optional(key)?.is_some_and(|now| now != saved.before) {
            sysctl::write(key, &saved.before)?;
        }
        Ok(())
    }

    /// Gives back those of the settings that are `meant`, the last one first.
    pub(super) fn restore_those(&mut self, meant: impl Fn(&Sysctl) -> bool) -> Result<(), Error> {
        let all = self.state.sysctls.iter().rev();
        let keys: Vec<_> = all.filter(|s| meant(s)).map(|s| s.key.clone()).collect();
        keys.iter().try_for_each(|key| self.restore_sysctl(key))
    }

    /// Gives back every setting that was changed for `network`, or for the instance as a whole.
    pub(super) fn restore_sysctls(&mut self, network: Option<&str>) -> Result<(), Error> {
        self.restore_those(|s| s.network.as_deref() == network)
    }
}

pub(super) fn position(state: &State, key: &str) -> Option<usize> {
    state.sysctls.iter().position(|s| s.key == key)
}
