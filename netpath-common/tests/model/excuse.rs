//! 8: which reason a drop may have.
//!
//! Owns the judgement of a reason by what the frame looks like and where it was seen: one that contradicts
//! the frame is a fault. Which it must have is `reason`'s.

use netpath_common::{
    DropReason,
    event::Hook,
    testing::plain::{ACK, Body, Line, Looks, SYN},
    tuple,
};

use crate::{
    binding::End,
    link::unsupported,
    reason::{Case, is_of_one_link},
    side::{Place, Side},
    talk::has_fixed_port,
};

impl<A: Side> Case<'_, A> {
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
            DropReason::DirectAccess => early && ip.dst.is_private() && self.is_open(&ip).is_none(),
            DropReason::OtherNetwork => {
                let is_closed = self.is_open(&ip).is_none()
                    || sender.is_some_and(|who| !self.scene.is_reachable(who));
                veth && ip.dst.is_private() && ip.src.place() != ip.dst.place() && is_closed
            }
            DropReason::IccDisabled => {
                let links = [ip.src.place(), ip.dst.place()].contains(&Place::OneLink);
                let same = links || ip.src.place() == ip.dst.place();
                veth && same && sender.is_some_and(|who| !self.has_icc(who))
            }
            DropReason::NotAllowed => {
                let by_own = self.is_open(&ip).is_some_and(|open| open.refused);
                self.hook != Hook::UplinkEgress
                    && (by_own || talk.is_some_and(|(line, _)| self.may_be_refused(&line)))
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
            DropReason::LinkScope => {
                let inwards = early && self.scene.is_open(ip.dst);
                inwards && self.is_of_another_link(&ip)
                    || sender.is_some() && talk.is_some() && is_of_one_link(ip.dst)
            }
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
                let is_bound = talk.is_some_and(|(line, _)| self.is_surely_bound(&line));
                let is_ours = self.scene.is_host(ip.dst) || A::HOSTS.contains(&ip.dst);
                self.hook == Hook::Xdp && is_ours && !is_bound
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
        let port = self.sure_port(line);
        let own = port.is_none_or(|port| port == line.sport);
        !self.scene.life.preserve
            || !own
            || !self.scene.may_be_outside(line, line.sport)
            || !self.is_free(line, line.sport)
    }

    /// The port of its binding, where that is beyond doubt.
    fn sure_port(&self, line: &Line<A>) -> Option<u16> {
        let end = End::of(self.scene, line)?;
        self.bindings.sure_port(self.scene, self.talks, &end)
    }

    /// Whether a packet is for a bound port, beyond doubt.
    fn is_surely_bound(&self, line: &Line<A>) -> bool {
        let bound = (line.dst, line.dport, line.proto);
        self.bindings.owner(self.scene, self.talks, bound).is_some()
    }

    /// Whether a container's packet may leave by this port.
    pub(crate) fn is_free(&self, line: &Line<A>, port: u16) -> bool {
        let far = self.scene.outside(line, port);
        // What a binding has is its own alone.
        let mut owners = self.bindings.owners(self.scene, far.dst, port, far.proto);
        let end = End::of(self.scene, line);
        owners.all(|owner| Some(*owner) == end)
            && (self.scene.stays(line.src) || !self.scene.is_taken(line.proto, port))
            && self.talks.is_free(self.scene, &far)
    }

    fn has_no_port(&self, line: &Line<A>) -> bool {
        if has_fixed_port::<A>(line.proto) || self.scene.stays(line.src) {
            return !self.is_free(line, line.sport);
        }
        let fresh = self.has_no_fresh_port(line);
        let Some(end) = End::of(self.scene, line) else {
            return fresh;
        };
        // By a hairpin it is the neighbour's answers that may be another conversation's.
        let hairpin = self.scene.is_host(line.dst);
        hairpin
            || match self.bindings.possible(self.scene, &end) {
                Some(Some(port)) => fresh || !self.is_free(line, port),
                Some(None) => true,
                None => fresh,
            }
    }

    /// Whether no port is left of the range, if there is one.
    fn has_no_fresh_port(&self, line: &Line<A>) -> bool {
        let Some((min, max)) = self.scene.life.range else {
            return false;
        };
        line.proto != A::ICMP && (min..=max).all(|port| !self.is_free(line, port))
    }
}
