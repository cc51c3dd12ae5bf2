//! 8: which reason a drop may have, and which it must have.
//!
//! Owns two plain judgements of a frame by what it looks like and where it was seen: a reason that
//! contradicts the frame is a fault, and so is a way on for a frame that has to be dropped.

use netpath_common::{
    DropReason,
    event::Hook,
    testing::plain::{ACK, Body, Ip, Line, Looks, SYN},
    tuple,
};

use crate::{
    fragment::Heads,
    link::{OnLink, unsupported},
    scene::Scene,
    side::{Place, Side},
    talk::{Talks, has_fixed_port},
};

/// What is known about a frame when it is judged.
pub(crate) struct Case<'w, A> {
    pub(crate) scene: &'w Scene,
    pub(crate) talks: &'w Talks<A>,
    pub(crate) heads: &'w Heads<A>,
    pub(crate) hook: Hook,
    pub(crate) bytes: &'w [u8],
    pub(crate) looks: Looks<A>,
    /// The container that owns the interface, if any does.
    pub(crate) who: Option<usize>,
    /// Whether the frame has that container's MAC address.
    pub(crate) honest_mac: bool,
    /// Entries in the table.
    pub(crate) entries: usize,
    /// The sender's flows and outside tuples in the table.
    pub(crate) used: (u32, u32),
    /// Flows of the outside in the table that are not established.
    pub(crate) embryonic: u32,
}

impl<A: Side> Case<'_, A> {
    fn knows(&self, line: &Line<A>) -> bool {
        self.talks.may_know(self.scene, line)
    }

    fn is_arp(&self) -> bool {
        self.bytes.get(12..14) == Some(&[8, 6])
    }

    /// What becomes of a container's frame for what it is on its link.
    pub(crate) fn of_its_link(&self) -> OnLink {
        if !self.honest_mac {
            return OnLink::Neither;
        }
        match self.looks {
            Looks::Foreign => self.arp().unwrap_or(OnLink::Neither),
            Looks::Ip(ip) if !self.is_known(&ip) => self.on_link(&ip),
            Looks::Ip(_) | Looks::Short | Looks::BadIp => OnLink::Neither,
        }
    }

    /// Whether it may belong to a conversation.
    fn is_known(&self, ip: &Ip<A>) -> bool {
        matches!(ip.body, Body::Talk(line, _) if self.knows(&line))
    }

    /// Whether nothing is decided here about the family.
    fn is_left_alone(&self) -> bool {
        A::IS_V6 && self.hook == Hook::Xdp
    }

    /// Why the frame must be dropped, where that is beyond doubt.
    pub(crate) fn must(&self) -> Option<DropReason> {
        let veth = self.hook == Hook::Veth;
        if self.bytes.len() < 14 {
            return Some(DropReason::Truncated);
        }
        if self.is_left_alone() {
            return None;
        }
        match self.looks {
            Looks::Short => return Some(DropReason::Truncated),
            Looks::BadIp => return Some(DropReason::BadIpHeader),
            Looks::Foreign | Looks::Ip(_) => {}
        }
        if veth && self.who.is_none() {
            return Some(DropReason::NoConfig);
        }
        if veth && !self.honest_mac {
            return Some(DropReason::SpoofedMac);
        }
        let Looks::Ip(ip) = self.looks else {
            return (veth && !self.is_arp()).then_some(DropReason::BadEthertype);
        };
        if self.is_known(&ip) {
            return None;
        }
        match self.hook {
            Hook::Veth => self.must_inside(&ip),
            Hook::UplinkIngress | Hook::Xdp => self.must_outside(&ip),
            Hook::UplinkEgress if ip.src.is_private() => match self.scene.at(ip.src) {
                None => Some(DropReason::UntranslatedSource),
                Some(who) => self.must_leave(&ip, who),
            },
            Hook::UplinkEgress | Hook::Bridge | Hook::Loopback => None,
        }
    }

    fn must_inside(&self, ip: &Ip<A>) -> Option<DropReason> {
        let who = self.who?;
        let c = &self.scene.containers[who];
        if ip.src != A::of(c) {
            return Some(DropReason::SpoofedAddress);
        }
        let place = ip.dst.place();
        let is_near = place == Place::Many || place == Place::Network(c.network);
        if self.is_dhcp_answer(ip) && (is_near || self.scene.is_host(ip.dst)) {
            return Some(DropReason::RogueDhcp);
        }
        match place {
            Place::Many => return None,
            Place::Loopback | Place::Nowhere => return Some(DropReason::Martian),
            Place::OneLink | Place::Network(_) | Place::Elsewhere => {}
        }
        if let Body::Talk(line, _) = ip.body
            && self.scene.is_host(ip.dst)
            && self.scene.is_reachable(who)
            && self.is_refused(&line)
        {
            return Some(DropReason::NotAllowed);
        }
        if matches!(ip.body, Body::Error(_) | Body::Tail) || self.scene.is_host(ip.dst) {
            return None;
        }
        if let Place::Network(network) = place {
            return if network != c.network {
                Some(DropReason::OtherNetwork)
            } else if !self.has_icc(who) && !ip.dst.is_subnet_broadcast() {
                Some(DropReason::IccDisabled)
            } else {
                None
            };
        }
        self.must_leave(ip, who)
    }

    /// A packet of no conversation that would leave a container's network.
    fn must_leave(&self, ip: &Ip<A>, who: usize) -> Option<DropReason> {
        match ip.body {
            Body::Error(_) | Body::Tail => None,
            _ if !self.scene.goes_out(who) => Some(DropReason::NotRoutable),
            Body::Redirect => Some(DropReason::IcmpRedirect),
            Body::OtherIcmp(_) => Some(DropReason::IcmpUnmatched),
            Body::Tiny => Some(DropReason::FragmentTiny),
            Body::Truncated => Some(DropReason::Truncated),
            Body::Bad => Some(DropReason::BadL4Header),
            Body::Other => Some(unsupported::<A>(ip.proto)),
            Body::Talk(..) if is_of_one_link(ip.dst) => Some(DropReason::LinkScope),
            Body::Talk(line, flags) => match line.proto {
                // Nobody asked.
                icmp if icmp == A::ICMP && !A::asks(line.icmp_type) => {
                    Some(DropReason::IcmpUnmatched)
                }
                tuple::TCP if flags != SYN && flags != ACK => Some(DropReason::TcpNotSyn),
                _ => None,
            },
        }
    }

    fn must_outside(&self, ip: &Ip<A>) -> Option<DropReason> {
        if ip.dst.place() == Place::Loopback {
            return Some(DropReason::Martian);
        }
        if ip.dst.is_private() && !ip.dst.is_gateway() {
            return Some(DropReason::DirectAccess);
        }
        let Body::Talk(line, _) = ip.body else {
            return None;
        };
        if self.hook == Hook::Xdp
            || !self.scene.is_host(ip.dst)
            || self.scene.published(line.proto, line.dport).is_none()
        {
            return None;
        }
        if self.scene.is_martian(ip.src) {
            Some(DropReason::Martian)
        } else if self.is_of_another_link(ip) {
            None
        } else if ip.dst.is_gateway() {
            Some(DropReason::DirectAccess)
        } else if self.is_refused(&line) {
            Some(DropReason::NotAllowed)
        } else {
            None
        }
    }

    /// Whether a container that had the packet could not tell where to answer.
    fn is_of_another_link(&self, ip: &Ip<A>) -> bool {
        A::IS_V6 && ip.src.place() == Place::OneLink
    }

    /// Whether a packet asks for a published port that does not let its sender in.
    fn is_refused(&self, line: &Line<A>) -> bool {
        self.scene.published(line.proto, line.dport).is_some()
            && !self.scene.lets_in(line.proto, line.src)
    }

    /// Whether the frame may be dropped for this reason.
    pub(crate) fn can(&self, reason: DropReason) -> bool {
        let veth = self.hook == Hook::Veth;
        let early = matches!(self.hook, Hook::UplinkIngress | Hook::Xdp);
        let life = &self.scene.life;
        if self.is_left_alone() {
            return reason == DropReason::Truncated && self.bytes.len() < 14;
        }
        match reason {
            DropReason::NoConfig => return veth && self.who.is_none(),
            DropReason::SpoofedMac => return veth && !self.honest_mac,
            DropReason::BadEthertype => return veth && matches!(self.looks, Looks::Foreign),
            DropReason::BadIpHeader => return matches!(self.looks, Looks::BadIp),
            DropReason::SpoofedArp => return veth && self.is_arp(),
            DropReason::Truncated if !matches!(self.looks, Looks::Ip(_)) => {
                let short_arp = veth && self.is_arp() && self.bytes.len() < 42;
                return matches!(self.looks, Looks::Short) || short_arp;
            }
            // One processor at a time, one uplink with a route, no bridge.
            DropReason::FlowRace
            | DropReason::NoUplink
            | DropReason::NoRoute
            | DropReason::RewriteFailed
            | DropReason::UnknownPort => return false,
            _ => {}
        }
        let Looks::Ip(ip) = self.looks else {
            return false;
        };
        let talk = match ip.body {
            Body::Talk(line, flags) => Some((line, flags)),
            _ => None,
        };
        let begins = talk.filter(|(line, _)| !self.talks.is_sure(self.scene, line));
        let sender = self.who.or_else(|| self.scene.at(ip.src));
        match reason {
            DropReason::Truncated => ip.body == Body::Truncated,
            DropReason::BadL4Header => ip.body == Body::Bad,
            DropReason::SpoofedAddress => {
                let own = self.who.map(|w| A::of(&self.scene.containers[w]));
                veth && own != Some(ip.src)
            }
            DropReason::Martian => {
                let place = ip.dst.place();
                place == Place::Loopback
                    || veth && place == Place::Nowhere
                    || early && self.scene.is_martian(ip.src)
            }
            DropReason::DirectAccess => early && ip.dst.is_private(),
            DropReason::OtherNetwork => {
                veth && ip.dst.is_private() && ip.src.place() != ip.dst.place()
            }
            DropReason::IccDisabled => {
                let links = [ip.src.place(), ip.dst.place()].contains(&Place::OneLink);
                let same = links || ip.src.place() == ip.dst.place();
                veth && same && sender.is_some_and(|who| !self.has_icc(who))
            }
            DropReason::NotAllowed => {
                self.hook != Hook::UplinkEgress
                    && talk.is_some_and(|(line, _)| self.is_refused(&line))
            }
            DropReason::NotRoutable => sender.is_some_and(|who| !self.scene.goes_out(who)),
            DropReason::UnsupportedProtocol
            | DropReason::RoutingHeader
            | DropReason::HeaderChain => {
                ip.body == Body::Other && unsupported::<A>(ip.proto) == reason
            }
            DropReason::SpoofedNeighbour => {
                A::IS_V6 && veth && matches!(ip.body, Body::OtherIcmp(133 | 135 | 136))
            }
            DropReason::RogueRa => A::IS_V6 && veth && ip.body == Body::OtherIcmp(134),
            DropReason::RogueDhcp => veth && self.is_dhcp_answer(&ip),
            DropReason::LinkScope => sender.is_some() && talk.is_some() && is_of_one_link(ip.dst),
            DropReason::IcmpUnmatched => {
                matches!(ip.body, Body::OtherIcmp(_))
                    || ip.proto == A::ICMP && talk.is_some_and(|(l, _)| A::answers(l.icmp_type))
            }
            DropReason::IcmpErrorUnmatched => matches!(ip.body, Body::Error(_)),
            DropReason::IcmpBadMtu => {
                matches!(ip.body, Body::Error(_)) && A::has_tiny_mtu(&self.bytes[ip.at..])
            }
            DropReason::IcmpRedirect => ip.body == Body::Redirect,
            DropReason::TcpInvalid => talk.is_some_and(|(line, _)| self.knows(&line)),
            DropReason::TcpNotSyn => {
                begins.is_some_and(|(line, flags)| self.is_no_beginning(&line, flags, sender))
            }
            DropReason::FragmentUnmatched => ip.body == Body::Tail,
            DropReason::FragmentOverlap => ip.body == Body::Tail && self.heads.repeats(&ip),
            DropReason::FragmentTiny => ip.body == Body::Tiny,
            DropReason::ConntrackFull => begins.is_some() && self.entries + 2 > life.capacity,
            DropReason::EndpointQuota => {
                let over = |used: u32, limit: u32| limit != 0 && used >= limit;
                begins.is_some() && (over(self.used.0, life.flows) || over(self.used.1, life.ports))
            }
            DropReason::InboundBudget => {
                begins.is_some() && life.inbound != 0 && self.embryonic >= life.inbound
            }
            DropReason::NoPort => begins.is_some_and(|(line, _)| self.has_no_port(&line)),
            DropReason::UntranslatedSource => {
                self.hook == Hook::UplinkEgress && ip.src.is_private()
            }
            DropReason::UnpublishedFlood => {
                // For the rest of a tick it is remembered of an address that the host has lost.
                self.hook == Hook::Xdp && (self.scene.is_host(ip.dst) || A::HOSTS.contains(&ip.dst))
            }
            _ => false,
        }
    }

    /// Whether a segment cannot begin a conversation: only a SYN can, and an ACK of one that began
    /// earlier where its port is still to be had.
    fn is_no_beginning(&self, line: &Line<A>, flags: u8, sender: Option<usize>) -> bool {
        if matches!(line.proto, tuple::SCTP | tuple::DCCP) {
            return flags != SYN;
        }
        if line.proto != tuple::TCP || flags == SYN {
            return false;
        }
        let out = sender.is_some() && !self.scene.is_host(line.dst);
        if flags != ACK || !out {
            return true;
        }
        !self.scene.life.preserve
            || !self.scene.may_be_outside(line, line.sport)
            || !self.is_free(line, line.sport)
    }

    /// Whether a container's packet may leave by this port.
    pub(crate) fn is_free(&self, line: &Line<A>, port: u16) -> bool {
        !self.scene.is_taken(line.proto, port)
            && self
                .talks
                .is_free(self.scene, &self.scene.outside(line, port))
    }

    fn has_no_port(&self, line: &Line<A>) -> bool {
        if has_fixed_port::<A>(line.proto) {
            return !self.is_free(line, line.sport);
        }
        let Some((min, max)) = self.scene.life.range else {
            return false;
        };
        line.proto != A::ICMP && (min..=max).all(|port| !self.is_free(line, port))
    }
}

/// Multicast, broadcast and link-local addresses, and those of no destination at all.
fn is_of_one_link<A: Side>(a: A) -> bool {
    matches!(
        a.place(),
        Place::Many | Place::OneLink | Place::Loopback | Place::Nowhere
    )
}
