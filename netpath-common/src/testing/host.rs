//! A host whose hooks a test feeds with frames.
//!
//! Owns what a hook does around the datapath: working memory, counting of drops. Checks with every
//! frame what must hold for all: a passed frame is untouched, a translated one is as `judge` wants
//! it, and the TTL falls by one exactly where the datapath forwards.

use std::{collections::BTreeMap, string::String};

use super::{
    build::Datagram,
    build6::Datagram6,
    frame::Frame,
    judge::judge,
    oracle::{describe, verify},
    tables::MemTables,
    topology::{BRIDGE1_MAC, BRIDGE2_MAC, Container, NET1, ROUTER_MAC, UPLINK_IF, UPLINK_MAC},
};
use crate::{
    addr::V6,
    datapath::{self, Bucket, Origin, Vetted, Work},
    drop_reason::DropReason,
    event::Hook,
    packet::Family,
    records::LOOPBACK_IFINDEX,
    verdict::{Action, Verdict},
};

/// What a hook made of a frame.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// The decision.
    pub result: Result<Verdict, DropReason>,
    /// The frame after it.
    pub frame: Frame,
    /// What the container is told that sent a frame which was refused.
    pub answer: Option<Frame>,
}

impl Outcome {
    /// The frame in words.
    #[must_use]
    pub fn text(&self) -> String {
        describe(&self.frame)
    }

    /// Why it was dropped, if it was.
    #[must_use]
    pub fn dropped(&self) -> Option<DropReason> {
        self.result.err()
    }

    /// The frame in words where it left by an uplink, straight.
    #[track_caller]
    #[must_use]
    pub fn to_uplink(&self) -> String {
        assert!(
            matches!(
                self.result,
                Ok(Verdict::ToUplink {
                    ifindex: UPLINK_IF,
                    ..
                })
            ),
            "{:?}: {}",
            self.result,
            self.text()
        );
        self.text()
    }

    /// The frame in words where it was delivered to `c`, straight.
    #[track_caller]
    #[must_use]
    pub fn to_container(&self, c: &Container) -> String {
        let want = Ok(Verdict::ToEndpoint { ifindex: c.ifindex });
        assert_eq!(self.result, want, "{}", self.text());
        assert_eq!(self.frame.bytes[..6], c.mac, "destination MAC address");
        let bridge = if c.network == NET1 {
            BRIDGE1_MAC
        } else {
            BRIDGE2_MAC
        };
        assert_eq!(self.frame.bytes[6..12], bridge, "source MAC address");
        self.text()
    }

    /// The frame in words where it went up the stack, translated.
    #[track_caller]
    #[must_use]
    pub fn to_stack(&self) -> String {
        assert_eq!(
            self.result,
            Ok(Verdict::TranslatedToStack),
            "{}",
            self.text()
        );
        self.text()
    }

    /// Whether it was left alone.
    #[must_use]
    pub fn passed(&self) -> bool {
        self.result == Ok(Verdict::Pass)
    }
}

/// Runs a tc hook on a frame.
fn tc<A: Family>(
    hook: Hook,
    frame: &mut Frame,
    t: &MemTables<A>,
    w: &mut Work<A>,
    origin: &mut Origin,
) -> Result<Verdict, DropReason> {
    let result = match hook {
        Hook::Veth => {
            let result = datapath::veth_ingress(frame, t, w);
            datapath::release(frame, t, w, &result);
            result
        }
        Hook::UplinkIngress => {
            let result = datapath::uplink_ingress(frame, t, w);
            datapath::release(frame, t, w, &result);
            result
        }
        Hook::UplinkEgress => {
            let result = datapath::uplink_egress(frame, t, w, *origin);
            if result == Ok(Action::Pass) {
                datapath::note_sender(t, w);
            }
            result
        }
        Hook::Loopback => datapath::loopback_ingress(frame, t, w),
        Hook::BridgeEgress => datapath::bridge_egress(frame, t, w, *origin),
        Hook::Bridge | Hook::Xdp => Ok(Action::Pass),
    };
    *origin = match result {
        Ok(Action::Visible) => Origin::Container,
        Ok(Action::Foreign) => Origin::Foreign,
        // The same packet again, at the program for its family.
        Ok(Action::Ipv6) => *origin,
        _ => Origin::Unknown,
    };
    result.map(|action| w.verdict(action))
}

/// A host: tables and hooks.
///
/// `VISIBLE`: its networks are visible to the host's firewall, and what they leave to the host's stack the
/// stack forwards (`stack.rs`): a packet goes its whole way, and its outcome is what comes of it
/// in the end.
pub struct HostOf<const VISIBLE: bool> {
    /// Everything but packets.
    pub tables: MemTables,
    /// The same of IPv6. Counters and numbers are those of both families, as in the maps; what user
    /// space writes is in each by itself.
    pub tables6: MemTables<V6>,
    /// Drops by reason, as the hooks count them.
    pub drops: BTreeMap<&'static str, u64>,
    /// The XDP hook translates too.
    pub xdp_translates: bool,
    work: Work,
    work6: Work<V6>,
    refused: Bucket,
    /// What a hook tells those of the ways out.
    pub(super) origin: Origin,
    /// What it has told that of the bridge.
    pub vetted: Vetted,
}

/// A host whose packets netpath forwards itself.
pub type Host = HostOf<false>;

impl<const VISIBLE: bool> Default for HostOf<VISIBLE> {
    fn default() -> Self {
        Self::new()
    }
}

impl<const VISIBLE: bool> HostOf<VISIBLE> {
    /// The standard host.
    #[must_use]
    pub fn new() -> Self {
        Self::seeded(1)
    }

    /// The standard host with other random numbers.
    #[must_use]
    pub fn seeded(seed: u64) -> Self {
        let mut tables = MemTables::standard(seed);
        let mut tables6 = MemTables::standard6(seed);
        if VISIBLE {
            tables.make_visible();
            tables6.make_visible();
        }
        tables6.count_with(&tables);
        Self {
            tables,
            tables6,
            drops: BTreeMap::new(),
            xdp_translates: false,
            work: Work::default(),
            work6: Work::default(),
            refused: Bucket::default(),
            origin: Origin::Unknown,
            vetted: Vetted::No,
        }
    }

    /// Runs a hook on a frame.
    #[track_caller]
    pub fn run(&mut self, hook: Hook, input: &Frame) -> Outcome {
        let out = self.run_hook(hook, input);
        if VISIBLE {
            self.forward(hook, input, out)
        } else {
            out
        }
    }

    /// Runs one hook on a frame.
    #[track_caller]
    pub(super) fn run_hook(&mut self, hook: Hook, input: &Frame) -> Outcome {
        let mut frame = input.clone();
        let (t, w) = (&self.tables, &mut self.work);
        let mut result = match hook {
            Hook::Bridge => datapath::bridge_ingress(self.vetted).map(|action| w.verdict(action)),
            Hook::Veth
            | Hook::UplinkIngress
            | Hook::UplinkEgress
            | Hook::Loopback
            | Hook::BridgeEgress => tc(hook, &mut frame, t, w, &mut self.origin),
            Hook::Xdp if datapath::is_known_nobodys(&frame, t) => Err(DropReason::UnpublishedFlood),
            Hook::Xdp if self.xdp_translates => {
                datapath::uplink_xdp_nat(&mut frame, t, w, &mut self.refused)
                    .map(|action| w.verdict(action))
            }
            Hook::Xdp => datapath::uplink_xdp(&frame, t, w, &mut self.refused)
                .map(|action| w.verdict(action)),
        };
        let is_v6 = result == Ok(Verdict::Ipv6);
        if is_v6 {
            let (t, w) = (&self.tables6, &mut self.work6);
            result = tc(hook, &mut frame, t, w, &mut self.origin);
        }
        let mut out = Outcome {
            result,
            frame,
            answer: None,
        };
        if let Err(reason) = result {
            *self.drops.entry(reason.as_str()).or_default() += 1;
            let mut answer = out.frame.clone();
            if matches!(hook, Hook::Veth | Hook::UplinkEgress)
                && datapath::is_told(reason as u32)
                && self.refuse(&mut answer, is_v6)
            {
                // It quotes the packet as it came, with what the sender broke.
                if verify(input).is_ok() {
                    assert_eq!(verify(&answer), Ok(()), "{}", describe(&answer));
                }
                out.answer = Some(answer);
            }
            return out;
        }
        if matches!(result, Ok(Verdict::Pass | Verdict::Within | Verdict::Held)) {
            let untouched = Frame {
                again: input.again.clone(),
                ..out.frame.clone()
            };
            assert_eq!(*input, untouched, "a passed frame is untouched");
            return out;
        }
        if let Err(fault) = judge(input, &out.frame) {
            panic!("{result:?}: {fault}");
        }
        match result {
            Ok(Verdict::ToUplink { .. } | Verdict::ToEndpoint { .. } | Verdict::ByQueue { .. }) => {
                assert!(input.ttl() > 1, "forwarded with a TTL of {}", input.ttl());
                assert_eq!(out.frame.ttl(), input.ttl() - 1, "one hop");
            }
            Ok(
                Verdict::TranslatedToStack
                | Verdict::Pass
                | Verdict::Within
                | Verdict::Ipv6
                | Verdict::Held
                | Verdict::ToNeighbour { .. },
            )
            | Err(_) => {
                assert_eq!(out.frame.ttl(), input.ttl(), "the stack counts the hop");
            }
        }
        out
    }

    /// Whether a container that has sent `packet`, which was refused, is told, and by what.
    fn refuse(&mut self, packet: &mut Frame, is_v6: bool) -> bool {
        let told = if is_v6 {
            datapath::refuse6(packet, &self.tables6, &mut self.work6)
        } else {
            datapath::refuse(packet, &self.tables, &mut self.work)
        };
        told != 0
    }

    /// The next hop that the last packet was sent to; none where the kernel is to find it.
    #[must_use]
    pub const fn gateway(&self) -> [u8; 4] {
        self.work.gateway
    }

    /// The same of IPv6.
    #[must_use]
    pub const fn gateway6(&self) -> V6 {
        self.work6.gateway
    }

    /// A container sends a packet to its gateway's MAC address.
    #[track_caller]
    pub fn from(&mut self, c: &Container, packet: &Datagram) -> Outcome {
        let gateway = if c.network == NET1 {
            BRIDGE1_MAC
        } else {
            BRIDGE2_MAC
        };
        self.run(Hook::Veth, &packet.frame(c.mac, gateway, c.ifindex))
    }

    /// A packet comes in by the uplink.
    #[track_caller]
    pub fn from_outside(&mut self, packet: &Datagram) -> Outcome {
        self.run(
            Hook::UplinkIngress,
            &packet.frame(ROUTER_MAC, UPLINK_MAC, UPLINK_IF),
        )
    }

    /// The stack sends a packet out of the uplink.
    #[track_caller]
    pub fn from_stack(&mut self, packet: &Datagram) -> Outcome {
        self.run(
            Hook::UplinkEgress,
            &packet.frame(UPLINK_MAC, ROUTER_MAC, UPLINK_IF),
        )
    }

    /// The host sends a packet to itself.
    #[track_caller]
    pub fn from_itself(&mut self, packet: &Datagram) -> Outcome {
        self.run(
            Hook::Loopback,
            &packet.frame([0; 6], [0; 6], LOOPBACK_IFINDEX),
        )
    }

    /// [`Host::from`] of IPv6.
    #[track_caller]
    pub fn from6(&mut self, c: &Container, packet: &Datagram6) -> Outcome {
        let gateway = if c.network == NET1 {
            BRIDGE1_MAC
        } else {
            BRIDGE2_MAC
        };
        self.run(Hook::Veth, &packet.frame(c.mac, gateway, c.ifindex))
    }

    /// [`Host::from_outside`] of IPv6.
    #[track_caller]
    pub fn from_outside6(&mut self, packet: &Datagram6) -> Outcome {
        let frame = packet.frame(ROUTER_MAC, UPLINK_MAC, UPLINK_IF);
        self.run(Hook::UplinkIngress, &frame)
    }

    /// [`Host::from_stack`] of IPv6.
    #[track_caller]
    pub fn from_stack6(&mut self, packet: &Datagram6) -> Outcome {
        let frame = packet.frame(UPLINK_MAC, ROUTER_MAC, UPLINK_IF);
        self.run(Hook::UplinkEgress, &frame)
    }

    /// How often a reason was counted.
    #[must_use]
    pub fn drops_of(&self, reason: DropReason) -> u64 {
        self.drops.get(reason.as_str()).copied().unwrap_or(0)
    }
}
