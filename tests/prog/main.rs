//! The real programs on single frames: action, output bytes and exact counters of every case.
//!
//! Owns the form of a case. Loading and running is `netpath_tests::runner`. Every case that lets a
//! frame go on is run once more with its checksum known to the kernel, which then checks it.

mod big_tcp;
mod binding;
mod collect;
mod corpus;
mod drops;
mod entropy;
mod fragment;
mod icmp_error;
mod ipv6;
mod ipv6_guard;
mod next_hop;
mod other_protocol;
mod publish;
mod race;
mod race_collect;
mod timing;
mod translate;
mod truncate;
mod tunnel;
mod xdp;
mod xdp_nat;

use std::collections::BTreeMap;

use netpath_common::{
    event::Hook,
    testing::{
        BRIDGE1_MAC, BRIDGE2_MAC, Container, Datagram, Frame, NET1, ROUTER_MAC, UPLINK_IF,
        UPLINK_MAC,
    },
};
use netpath_tests::runner::{NEXT, Runner, SHOT};

/// One frame and what must become of it. A counter that is not listed must not change.
pub(crate) struct Case {
    pub(crate) name: &'static str,
    pub(crate) input: (Hook, Frame),
    pub(crate) action: i32,
    /// What the frame is afterwards; `None`: as before.
    pub(crate) output: Option<Frame>,
    pub(crate) counters: &'static [(&'static str, u64)],
}

impl Case {
    /// A frame that is dropped for one reason.
    pub(crate) fn drop(
        name: &'static str,
        input: (Hook, Frame),
        reason: &'static [(&'static str, u64)],
    ) -> Self {
        Self {
            name,
            input,
            action: SHOT,
            output: None,
            counters: reason,
        }
    }

    /// A frame that goes on as it is.
    pub(crate) fn pass(name: &'static str, input: (Hook, Frame)) -> Self {
        Self {
            name,
            input,
            action: NEXT,
            output: None,
            counters: &[("passed", 1)],
        }
    }

    /// Runs the case.
    pub(crate) fn check(&self, r: &mut Runner) {
        let (hook, frame) = &self.input;
        let before = r.counters();
        let datagrams = r.fragments();
        let ran = r.run(*hook, frame);
        assert_eq!(
            ran.action,
            self.action,
            "{}: {:?}",
            self.name,
            change(&before, &r.counters())
        );
        let want = self.output.as_ref().unwrap_or(frame);
        assert_eq!(ran.bytes, want.bytes, "{}: output", self.name);
        let listed: BTreeMap<_, _> = self.counters.iter().copied().collect();
        assert_eq!(
            change(&before, &r.counters()),
            listed,
            "{}: counters",
            self.name
        );
        if self.action != SHOT {
            // Or a fragment would repeat itself.
            r.put_fragments(&datagrams);
            let again = r.run_checksummed(*hook, frame);
            let again = again.unwrap_or_else(|e| panic!("{}: checksum: {e}", self.name));
            assert_eq!(again, ran, "{}: with a known checksum", self.name);
        }
    }
}

fn change(
    before: &BTreeMap<&'static str, u64>,
    after: &BTreeMap<&'static str, u64>,
) -> BTreeMap<&'static str, u64> {
    let grown = |(k, n): (&&'static str, &u64)| {
        let by = n - before.get(*k).copied().unwrap_or(0);
        (by != 0).then_some((*k, by))
    };
    after.iter().filter_map(grown).collect()
}

/// Runs cases one after the other on one host.
pub(crate) fn check(cases: &[Case]) {
    let mut r = Runner::new();
    for case in cases {
        case.check(&mut r);
    }
}

/// The same with the programs for IPv6.
pub(crate) fn check6(cases: &[Case]) {
    let mut r = Runner::dual();
    for case in cases {
        case.check(&mut r);
    }
}

pub(crate) const fn bridge(c: &Container) -> [u8; 6] {
    if c.network == NET1 {
        BRIDGE1_MAC
    } else {
        BRIDGE2_MAC
    }
}

/// A container sends a packet.
pub(crate) fn sent(c: &Container, p: &Datagram) -> (Hook, Frame) {
    (Hook::Veth, p.frame(c.mac, bridge(c), c.ifindex))
}

/// A packet that a container sent, translated: the MAC addresses are for the kernel to set.
pub(crate) fn left(c: &Container, p: &Datagram) -> Option<Frame> {
    Some(p.frame(c.mac, bridge(c), c.ifindex))
}

/// A packet comes in by the uplink.
pub(crate) fn arrived(p: &Datagram) -> (Hook, Frame) {
    (
        Hook::UplinkIngress,
        p.frame(ROUTER_MAC, UPLINK_MAC, UPLINK_IF),
    )
}

/// A packet as it is delivered to a container.
pub(crate) fn delivered(c: &Container, p: &Datagram) -> Option<Frame> {
    Some(p.frame(bridge(c), c.mac, 0))
}

/// The stack sends a packet out of the uplink.
pub(crate) fn from_stack(p: &Datagram) -> (Hook, Frame) {
    (
        Hook::UplinkEgress,
        p.frame(UPLINK_MAC, ROUTER_MAC, UPLINK_IF),
    )
}
