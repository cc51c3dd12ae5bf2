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
    binding::Bindings,
    fragment::Heads,
    link::{OnLink, unsupported},
    scene::{Asked, BALANCED, Open, Scene},
    side::{Place, Side},
    talks::Talks,
};

/// What is known about a frame when it is judged.
pub(crate) struct Case<'w, A> {
    pub(crate) scene: &'w Scene,
    pub(crate) talks: &'w Talks<A>,
    pub(crate) heads: &'w Heads<A>,
    pub(crate) bindings: &'w Bindings<A>,
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
    pub(crate) fn knows(&self, line: &Line<A>) -> bool {
        self.talks.may_know(self.scene, line)
    }

    pub(crate) fn is_arp(&self) -> bool {
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
    pub(crate) fn is_known(&self, ip: &Ip<A>) -> bool {
        matches!(ip.body, Body::Talk(line, _) if self.knows(&line))
    }

    /// Whether nothing is decided here about the family.
    pub(crate) fn is_left_alone(&self) -> bool {
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
            Hook::UplinkEgress | Hook::Bridge | Hook::Loopback | Hook::BridgeEgress => None,
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
            let open = self.is_open(ip);
            return if network != c.network && open.is_some() && self.scene.is_reachable(who) {
                self.of_open(open)
            } else if network != c.network {
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
            // Where nothing is translated the stack may know about groups.
            Body::Talk(..) if self.scene.is_routed(who) && ip.dst.place() == Place::Many => None,
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
            return self.must_by_own_address(ip);
        }
        let Body::Talk(line, _) = ip.body else {
            return None;
        };
        if self.hook == Hook::Xdp
            || !self.scene.is_host(ip.dst)
            || !self.scene.is_published(line.proto, line.dport)
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
    pub(crate) fn is_of_another_link(&self, ip: &Ip<A>) -> bool {
        A::IS_V6 && ip.src.place() == Place::OneLink
    }

    /// A packet of no conversation from the outside to an address of a network.
    fn must_by_own_address(&self, ip: &Ip<A>) -> Option<DropReason> {
        let early = self.hook == Hook::Xdp;
        if !self.scene.is_open(ip.dst) {
            // It does not judge a flow that is over.
            let was = matches!(ip.body, Body::Talk(line, _) if self.talks.has_known(&line));
            return (!early || !was).then_some(DropReason::DirectAccess);
        }
        match ip.body {
            // The tc hook knows what is open.
            _ if early => None,
            Body::Error(_) => None,
            _ if self.scene.is_martian(ip.src) => Some(DropReason::Martian),
            _ if self.is_of_another_link(ip) => Some(DropReason::LinkScope),
            Body::Tail => None,
            Body::Talk(line, _) => match self.scene.open(&line) {
                None => Some(DropReason::DirectAccess),
                open => self.of_open(open),
            },
            _ => Some(DropReason::DirectAccess),
        }
    }

    /// Why a packet is not let in by what is open.
    pub(crate) fn of_open(&self, open: Option<Open>) -> Option<DropReason> {
        open.is_some_and(|open| open.refused)
            .then_some(DropReason::NotAllowed)
    }

    /// Whether a packet asks for a port that does not let its sender in.
    pub(crate) fn is_refused(&self, line: &Line<A>) -> bool {
        let asked = self.scene.asked(line.proto, line.dport, line.src);
        asked == Asked::Refused
    }

    /// The same where that may be so: which of the dead it would go to nobody knows.
    pub(crate) fn may_be_refused(&self, line: &Line<A>) -> bool {
        let is_dead = line.dport == BALANCED && !self.scene.lives(line.proto);
        self.is_refused(line) || is_dead && self.scene.is_published(line.proto, line.dport)
    }

    /// Whether it asks for what is open at a container's own address.
    pub(crate) fn is_open(&self, ip: &Ip<A>) -> Option<Open> {
        match ip.body {
            Body::Talk(line, _) => self.scene.open(&line),
            _ => None,
        }
    }
}

/// Multicast, broadcast and link-local addresses, and those of no destination at all.
pub(crate) fn is_of_one_link<A: Side>(a: A) -> bool {
    matches!(
        a.place(),
        Place::Many | Place::OneLink | Place::Loopback | Place::Nowhere
    )
}
