//! The same host as IPv6 sees it.
//!
//! Owns nothing but names: `tables` are those of IPv6, as they are IPv4's in [`Host`], so that a test
//! can be the same for both.

use core::{mem::swap, ops::Deref};

use super::{
    build6::Datagram6,
    frame::Frame,
    host::{Host, Outcome},
    tables::MemTables,
    topology::Container,
};
use crate::{addr::V6, event::Hook, records::LOOPBACK_IFINDEX};

/// A host: tables and hooks. IPv4's come first all the same: they find that a packet is not theirs.
pub struct Host6 {
    /// Everything but packets.
    pub tables: MemTables<V6>,
    host: Host,
}

impl Default for Host6 {
    fn default() -> Self {
        Self::new()
    }
}

impl Deref for Host6 {
    type Target = Host;

    fn deref(&self) -> &Host {
        &self.host
    }
}

impl Host6 {
    /// The standard host.
    #[must_use]
    pub fn new() -> Self {
        Self::seeded(1)
    }

    /// The standard host with other random numbers.
    #[must_use]
    pub fn seeded(seed: u64) -> Self {
        Self {
            tables: MemTables::standard6(seed),
            host: Host::seeded(seed),
        }
    }

    fn swap(&mut self) {
        swap(&mut self.tables, &mut self.host.tables6);
    }

    /// Runs a hook on a frame.
    #[track_caller]
    pub fn run(&mut self, hook: Hook, input: &Frame) -> Outcome {
        self.swap();
        let out = self.host.run(hook, input);
        self.swap();
        out
    }

    /// [`Host::from`].
    #[track_caller]
    pub fn from(&mut self, c: &Container, packet: &Datagram6) -> Outcome {
        self.swap();
        let out = self.host.from6(c, packet);
        self.swap();
        out
    }

    /// [`Host::from_outside`].
    #[track_caller]
    pub fn from_outside(&mut self, packet: &Datagram6) -> Outcome {
        self.swap();
        let out = self.host.from_outside6(packet);
        self.swap();
        out
    }

    /// [`Host::from_itself`].
    #[track_caller]
    pub fn from_itself(&mut self, packet: &Datagram6) -> Outcome {
        let frame = packet.frame([0; 6], [0; 6], LOOPBACK_IFINDEX);
        self.run(Hook::Loopback, &frame)
    }

    /// [`Host::from_stack`].
    #[track_caller]
    pub fn from_stack(&mut self, packet: &Datagram6) -> Outcome {
        self.swap();
        let out = self.host.from_stack6(packet);
        self.swap();
        out
    }
}
