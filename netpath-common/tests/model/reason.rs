//! 8: which reason a drop may have, and which it must have.
//!
//! Owns two plain judgements of a frame by what it looks like and where it was seen: a reason that
//! contradicts the frame is a fault, and so is a way on for a frame that has to be dropped.

use netpath_common::{
    DropReason,
    event::Hook,
    testing::H,
    testing::plain::{ACK, Body, Ip, Line, Looks, SYN, be, is_private},
    tuple,
};

use crate::{
    fragment::Heads,
    life::H2,
    scene::{Scene, is_first, is_gateway, is_martian, same_net},
    talk::{Talks, has_fixed_port},
};

/// What is known about a frame when it is judged.
pub(crate) struct Case<'w> {
    pub(crate) scene: &'w Scene,
    pub(crate) talks: &'w Talks,
    pub(crate) heads: &'w Heads,
    pub(crate) hook: Hook,
    pub(crate) bytes: &'w [u8],
    pub(crate) looks: Looks,
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

impl Case<'_> {
    fn knows(&self, line: &Line) -> bool {
        self.talks.may_know(self.scene, line)
    }

    fn is_arp(&self) -> bool {
        self.bytes.get(12..14) == Some(&[8, 6])
    }

    /// Why the frame must be dropped, where that is beyond doubt.
    pub(crate) fn must(&self) -> Option<DropReason> {
        let veth = self.hook == Hook::Veth;
        if self.bytes.len() < 14 {
            return Some(DropReason::Truncated);
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
        if let Body::Talk(line, _) = ip.body
            && self.knows(&line)
        {
            return None;
        }
        match self.hook {
            Hook::Veth => self.must_inside(&ip),
            Hook::UplinkIngress | Hook::Xdp => self.must_outside(&ip),
            Hook::UplinkEgress if is_private(ip.src) => match self.scene.at(ip.src) {
                None => Some(DropReason::UntranslatedSource),
                Some(who) => self.must_leave(&ip, who),
            },
            Hook::UplinkEgress | Hook::Bridge | Hook::Loopback => None,
        }
    }

    fn must_inside(&self, ip: &Ip) -> Option<DropReason> {
        let who = self.who?;
        let c = &self.scene.containers[who];
        if ip.src != c.addr {
            return Some(DropReason::SpoofedAddress);
        }
        if ip.dst[0] >= 224 {
            return None;
        }
        if ip.dst[0] == 127 {
            return Some(DropReason::Martian);
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
        if is_private(ip.dst) {
            return if !same_net(ip.dst, c.addr) {
                Some(DropReason::OtherNetwork)
            } else if !is_first(c) && !self.scene.life.icc && ip.dst[2..] != [255, 255] {
                Some(DropReason::IccDisabled)
            } else {
                None
            };
        }
        self.must_leave(ip, who)
    }

    /// A packet of no conversation that would leave a container's network.
    fn must_leave(&self, ip: &Ip, who: usize) -> Option<DropReason> {
        match ip.body {
            Body::Error(_) | Body::Tail => None,
            _ if !self.scene.goes_out(who) => Some(DropReason::NotRoutable),
            Body::Redirect => Some(DropReason::IcmpRedirect),
            Body::OtherIcmp => Some(DropReason::IcmpUnmatched),
            Body::Tiny => Some(DropReason::FragmentTiny),
            Body::Truncated => Some(DropReason::Truncated),
            Body::Bad => Some(DropReason::BadL4Header),
            Body::Other => Some(DropReason::UnsupportedProtocol),
            Body::Talk(..) if is_of_one_link(ip.dst) => Some(DropReason::LinkScope),
            Body::Talk(line, flags) => match line.proto {
                // Nobody asked.
                tuple::ICMP if !matches!(line.icmp_type, 8 | 13) => Some(DropReason::IcmpUnmatched),
                tuple::TCP if flags != SYN && flags != ACK => Some(DropReason::TcpNotSyn),
                _ => None,
            },
        }
    }

    fn must_outside(&self, ip: &Ip) -> Option<DropReason> {
        if ip.dst[0] == 127 {
            return Some(DropReason::Martian);
        }
        if is_private(ip.dst) && !is_gateway(ip.dst) {
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
        if is_martian(self.scene, ip.src) {
            Some(DropReason::Martian)
        } else if is_gateway(ip.dst) {
            Some(DropReason::DirectAccess)
        } else if self.is_refused(&line) {
            Some(DropReason::NotAllowed)
        } else {
            None
        }
    }

    /// Whether a packet asks for a published port that does not let its sender in.
    fn is_refused(&self, line: &Line) -> bool {
        self.scene.published(line.proto, line.dport).is_some()
            && !self.scene.lets_in(line.proto, line.src)
    }

    /// Whether the frame may be dropped for this reason.
    pub(crate) fn can(&self, reason: DropReason) -> bool {
        let veth = self.hook == Hook::Veth;
        let early = matches!(self.hook, Hook::UplinkIngress | Hook::Xdp);
        let life = &self.scene.life;
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
                let own = self.who.map(|w| self.scene.containers[w].addr);
                veth && own != Some(ip.src)
            }
            DropReason::Martian => ip.dst[0] == 127 || early && is_martian(self.scene, ip.src),
            DropReason::DirectAccess => early && is_private(ip.dst),
            DropReason::OtherNetwork => veth && is_private(ip.dst) && !same_net(ip.src, ip.dst),
            DropReason::IccDisabled => {
                veth && same_net(ip.src, ip.dst) && !life.icc && ip.src[1] == 18
            }
            DropReason::NotAllowed => {
                self.hook != Hook::UplinkEgress
                    && talk.is_some_and(|(line, _)| self.is_refused(&line))
            }
            DropReason::NotRoutable => sender.is_some_and(|who| !self.scene.goes_out(who)),
            DropReason::UnsupportedProtocol => ip.body == Body::Other,
            DropReason::LinkScope => sender.is_some() && talk.is_some() && is_of_one_link(ip.dst),
            DropReason::IcmpUnmatched => {
                ip.body == Body::OtherIcmp
                    || talk.is_some_and(|(l, _)| matches!(l.icmp_type, 0 | 14))
                        && ip.proto == tuple::ICMP
            }
            DropReason::IcmpErrorUnmatched => matches!(ip.body, Body::Error(_)),
            DropReason::IcmpBadMtu => {
                let at = 14 + usize::from(self.bytes[14] & 15) * 4;
                let mtu = be(self.bytes, at + 6);
                self.bytes[at..at + 2] == [3, 4] && (1..68).contains(&mtu)
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
            DropReason::UntranslatedSource => self.hook == Hook::UplinkEgress && is_private(ip.src),
            DropReason::UnpublishedFlood => {
                // For the rest of a tick it is remembered of an address that the host has lost.
                self.hook == Hook::Xdp && (self.scene.is_host(ip.dst) || [H, H2].contains(&ip.dst))
            }
            _ => false,
        }
    }

    /// Whether a segment cannot begin a conversation: only a SYN can, and an ACK of one that began
    /// earlier where its port is still to be had.
    fn is_no_beginning(&self, line: &Line, flags: u8, sender: Option<usize>) -> bool {
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
    pub(crate) fn is_free(&self, line: &Line, port: u16) -> bool {
        !self.scene.is_taken(line.proto, port)
            && self
                .talks
                .is_free(self.scene, &self.scene.outside(line, port))
    }

    fn has_no_port(&self, line: &Line) -> bool {
        if has_fixed_port(line.proto) {
            return !self.is_free(line, line.sport);
        }
        let Some((min, max)) = self.scene.life.range else {
            return false;
        };
        line.proto != tuple::ICMP && (min..=max).all(|port| !self.is_free(line, port))
    }
}

/// Multicast, broadcast and link-local addresses.
const fn is_of_one_link(a: netpath_common::testing::Addr) -> bool {
    a[0] >= 224 || a[0] == 169 && a[1] == 254
}
