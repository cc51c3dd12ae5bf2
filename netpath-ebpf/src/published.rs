//! The maps behind the trait [`PublishedPorts`], for packets and for sockets.
//!
//! Owns the map look-ups of published ports. Decides nothing.

use core::marker::PhantomData;

use aya_ebpf::{EbpfContext, helpers::generated::bpf_check_mtu};
use netpath_common::{
    publish::{Backends, PublishedPorts, Starts, starts_index},
    records::{EndpointRecord, NetworkRecord, Published, PublishedKey, RuleRecord, SourceKey},
};

use crate::{
    family::Maps,
    maps,
    tables::{KernelTables, repeat},
};

/// What both have in common.
macro_rules! published_ports {
    () => {
        type A = A;

        #[inline(always)]
        fn endpoint(&self, slot: u16) -> Option<&EndpointRecord> {
            maps::ENDPOINTS.get(u32::from(slot))
        }

        #[inline(always)]
        fn network(&self, slot: u16) -> Option<&NetworkRecord> {
            maps::NETWORKS.get(u32::from(slot))
        }

        #[inline(always)]
        fn rule(&self, slot: u16) -> Option<&RuleRecord> {
            maps::RULES.get(u32::from(slot))
        }

        #[inline(always)]
        fn starts(&self, proto: u8) -> Option<&Starts> {
            maps::STARTS.get(starts_index(proto)?)
        }

        #[inline(always)]
        fn published(&self, key: &PublishedKey<A>) -> Option<&Published<A>> {
            A::published(key)
        }

        #[inline(always)]
        fn backends(&self, group: u32) -> Option<&Backends> {
            maps::BACKENDS.get(group)
        }

        #[inline(always)]
        fn is_listed(&self, source: &SourceKey<A>) -> bool {
            A::is_listed(source)
        }

        #[inline(always)]
        fn repeat<S>(&self, n: u32, state: &mut S, body: extern "C" fn(u32, *mut S) -> i64) {
            repeat(n, state, body);
        }
    };
}

/// The maps for programs that see no packet.
pub(crate) struct SocketTables<A>(PhantomData<A>);

impl<A: Maps> SocketTables<A> {
    #[inline(always)]
    pub(crate) const fn new() -> Self {
        Self(PhantomData)
    }
}

impl<A: Maps> PublishedPorts for SocketTables<A> {
    published_ports!();

    /// The helpers of these programs cannot tell.
    #[inline(always)]
    fn is_there(&self, _ifindex: u32) -> bool {
        true
    }
}

impl<C: EbpfContext, A: Maps> PublishedPorts for KernelTables<'_, C, A> {
    published_ports!();

    #[inline(always)]
    fn is_there(&self, ifindex: u32) -> bool {
        const ENODEV: i64 = -19;
        let mut mtu = 0u32;
        // SAFETY: the context is the program's own. What the helper says of the MTU is no matter.
        let answer = unsafe { bpf_check_mtu(self.ctx.as_ptr(), ifindex, &raw mut mtu, 0, 0) };
        answer != ENODEV
    }
}
