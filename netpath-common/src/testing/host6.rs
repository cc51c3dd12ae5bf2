//! The same host as IPv6 sees it.
//!
//! Owns nothing but names: `tables` are those of IPv6, as they are IPv4's in [`HostOf`], so that a test
//! can be the same for both.

use core::{mem::swap, ops::Deref};

use super::{
    build6::Datagram6,
    frame::Frame,
    host::{HostOf, Outcome},
    tables::MemTables,
    topology::Container,
};
use crate::{addr::V6, event::Hook, records::LOOPBACK_IFINDEX};

/// A host: tables and hooks. IPv4's come first all the same: they find that a packet is not theirs.
pub struct Host6Of<const VISIBLE: bool> {
    /// Everything but packets.
    pub tables: MemTables<V6>,
    host: HostOf<VISIBLE>,
}

/// A host whose packets netpath forwards itself.
pub type Host6 = Host6Of<false>;

impl<const VISIBLE: bool> Default for Host6Of<VISIBLE> {
    fn default() -> Self {
        Self::new()
    }
}

impl<const VISIBLE: bool> Deref for Host6Of<VISIBLE> {
    type Target = HostOf<VISIBLE>;

    fn deref(&self) -> &HostOf<VISIBLE> {
        &self.host
    }
}

impl<const VISIBLE: bool> Host6Of<VISIBLE> {
    /// The standard host.
    #[must_use]
    pub fn new() -> Self {
        Self::seeded(1)
    }

    /// The standard host with other random numbers.
    #[must_use]
    pub fn seeded(seed: u64) -> Self {
        let mut tables = MemTables::standard6(seed);
        if VISIBLE {
            tables.make_visible();
        }
        Self {
            tables,
            host: HostOf::seeded(seed),
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

    /// [`HostOf::gateway`].
    #[must_use]
    pub const fn gateway(&self) -> V6 {
        self.host.gateway6()
    }

    /// [`HostOf::from`].
    #[track_caller]
    pub fn from(&mut self, c: &Container, packet: &Datagram6) -> Outcome {
        self.swap();
        let out = self.host.from6(c, packet);
        self.swap();
        out
    }

    /// [`HostOf::from_outside`].
    #[track_caller]
    pub fn from_outside(&mut self, packet: &Datagram6) -> Outcome {
        self.swap();
        let out = self.host.from_outside6(packet);
        self.swap();
        out
    }

    /// [`HostOf::from_itself`].
    #[track_caller]
    pub fn from_itself(&mut self, packet: &Datagram6) -> Outcome {
        let frame = packet.frame([0; 6], [0; 6], LOOPBACK_IFINDEX);
        self.run(Hook::Loopback, &frame)
    }

    /// [`HostOf::from_stack`].
    #[track_caller]
    pub fn from_stack(&mut self, packet: &Datagram6) -> Outcome {
        self.swap();
        let out = self.host.from_stack6(packet);
        self.swap();
        out
    }
}
