//! What a container says on its own link, and whether it may.
//!
//! Owns the messages of ARP and neighbour discovery that the model's containers send, and its own reading
//! of any that a container sends: RFC 826, 5227, 4861, 6980.

use netpath_common::{
    DropReason,
    addr::V6,
    event::Hook,
    testing::{
        plain::{Body, Ip, be},
        *,
    },
    tuple,
};

use crate::{
    reason::Case,
    scene::is_first,
    side::{Name, Place, Side},
    step::Say,
    world::World,
};

/// What becomes of a packet because of what it is on the sender's link.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum OnLink {
    /// Nothing yet.
    Neither,
    Passes,
    Dropped(DropReason),
}

impl World {
    pub(crate) fn say(&mut self, v6: bool, say: Say) {
        let frame = if v6 {
            self.neighbour_discovery(say)
        } else {
            self.arp(say)
        };
        if v6 {
            self.run::<V6>(Hook::Veth, &frame);
        } else {
            self.run::<netpath_common::addr::V4>(Hook::Veth, &frame);
        }
    }

    fn arp(&self, say: Say) -> Frame {
        let c = self.scene.containers[say.who];
        let named = self.scene.containers[say.mac.unwrap_or(say.who)];
        let (src, target) = (self.scene.named(say.src), self.scene.named(say.target));
        let operation = 1 + (say.kind % 2) as u8;
        let mut frame = arp(c.mac, operation, named.mac, src, target, c.ifindex);
        if say.wrong != 0 {
            // Hardware or protocol type, or a length.
            frame.bytes[14 + usize::from(say.wrong)] ^= 2;
        }
        frame
    }

    fn neighbour_discovery(&self, say: Say) -> Frame {
        let c = self.scene.containers[say.who];
        let (src, target) = (
            self.scene.named::<V6>(say.src),
            self.scene.named(say.target),
        );
        let kind = [133, 134, 135, 136, 137, 130, 143, 135, 136][say.kind];
        let mut options = Vec::new();
        if let Some(n) = say.mac {
            let number = if kind == 136 { 2 } else { 1 };
            options = mac_option(number, self.scene.containers[n].mac);
        }
        let dst = if say.kind > 6 {
            self.scene.named(Name::Link(say.kind - 7))
        } else {
            self.scene.named(Name::Multicast)
        };
        let mut p = match kind {
            133 => router_solicitation(src, dst, &options),
            134 => router_advertisement(src, dst, &options),
            135 | 136 => neighbour(src, dst, kind, target, &options),
            _ => icmp6(src, dst, kind, 0, [0; 4], &target).hops(255),
        };
        match say.wrong {
            0 => {}
            1 => p.hops = 254,
            2 => p = p.options(header::DESTINATION, 1),
            // An option without a length, or one that ends behind the packet.
            3 => p.l4.extend([14, 0, 0, 0, 0, 0, 0, 0]),
            4 => p.l4.extend([14, 2, 0, 0, 0, 0, 0, 0]),
            _ => p = p.fragment(0, false, 9),
        }
        let gateway = if is_first(&c) {
            BRIDGE1_MAC
        } else {
            BRIDGE2_MAC
        };
        p.summed(2).frame(c.mac, gateway, c.ifindex)
    }
}

impl<A: Side> Case<'_, A> {
    /// What becomes of a container's packet, whose MAC address is its own, by what it is on its link.
    pub(crate) fn on_link(&self, ip: &Ip<A>) -> OnLink {
        let (true, Some(who)) = (A::IS_V6, self.who) else {
            return OnLink::Neither;
        };
        let all = &self.scene.containers;
        let (own, link) = (A::of(&all[who]), A::named(Name::Link(who), all));
        let nothing = A::named(Name::Nothing, all);
        match ip.body {
            Body::Truncated => return OnLink::Dropped(DropReason::Truncated),
            Body::Tiny => return OnLink::Dropped(DropReason::FragmentTiny),
            Body::Other if unsupported::<A>(ip.proto) != DropReason::UnsupportedProtocol => {
                return OnLink::Dropped(unsupported::<A>(ip.proto));
            }
            Body::Redirect => return OnLink::Dropped(DropReason::IcmpRedirect),
            Body::OtherIcmp(134) => return OnLink::Dropped(DropReason::RogueRa),
            Body::OtherIcmp(kind @ (133 | 135 | 136)) => {
                return if self.speaks_for_itself(ip, kind, [own, link]) {
                    OnLink::Passes
                } else {
                    OnLink::Dropped(DropReason::SpoofedNeighbour)
                };
            }
            Body::OtherIcmp(130..=132 | 143)
                if ip.dst.place() == Place::Many && ip.src == nothing =>
            {
                return OnLink::Passes;
            }
            _ => {}
        }
        if ![ip.src, ip.dst].iter().any(|a| a.place() == Place::OneLink) {
            return if ip.src == nothing {
                OnLink::Dropped(DropReason::SpoofedAddress)
            } else {
                OnLink::Neither
            };
        }
        if ip.src != own && ip.src != link {
            OnLink::Dropped(DropReason::SpoofedAddress)
        } else if self.is_dhcp_answer(ip) {
            OnLink::Dropped(DropReason::RogueDhcp)
        } else if ip.dst.place() == Place::Many || self.to_bridge(who) || self.has_icc(who) {
            OnLink::Passes
        } else {
            OnLink::Dropped(DropReason::IccDisabled)
        }
    }

    /// Whether the frame is for the bridge of this container.
    fn to_bridge(&self, who: usize) -> bool {
        let first = is_first(&self.scene.containers[who]);
        self.bytes[..6] == if first { BRIDGE1_MAC } else { BRIDGE2_MAC }
    }

    /// Whether containers of its network may talk with each other.
    pub(crate) fn has_icc(&self, who: usize) -> bool {
        is_first(&self.scene.containers[who]) || self.scene.life.icc
    }

    /// Whether only a DHCP server or relay sends such a packet.
    pub(crate) fn is_dhcp_answer(&self, ip: &Ip<A>) -> bool {
        let is_udp = ip.proto == tuple::UDP && matches!(ip.body, Body::Talk(..) | Body::Bad);
        let port = |behind: usize| be(self.bytes, ip.at + behind);
        is_udp && (port(0) == A::DHCP.0 || port(2) == A::DHCP.1)
    }

    /// Whether a message of neighbour discovery is one that its receivers accept, and speaks for its
    /// sender alone.
    fn speaks_for_itself(&self, ip: &Ip<A>, kind: u8, own: [A; 2]) -> bool {
        let all = &self.scene.containers;
        let nothing = A::named(Name::Nothing, all);
        let mac = self.who.map(|who| all[who].mac);
        let probes = ip.src == nothing;
        // Directly behind the header, and from this very link.
        if ip.at != 54 || ip.ttl != 255 || !probes && !own.contains(&ip.src) {
            return false;
        }
        let message = &self.bytes[ip.at..14 + ip.len];
        let has_target = kind != 133;
        let Some(mut options) = message.get(if has_target { 24 } else { 8 }..) else {
            return false;
        };
        if has_target {
            let is_own = own.iter().any(|a| a.bytes() == &message[8..24]);
            let may = is_own || kind == 135 && !probes;
            if message[1] != 0 || message[8] == 0xff || !may || kind == 136 && probes {
                return false;
            }
        }
        let mut count = 0;
        while let [number, words, ..] = *options {
            let len = 8 * usize::from(words);
            let names = matches!(number, 1 | 2);
            if len == 0 || len > options.len() {
                return false;
            }
            if names && (probes || len != 8 || mac.as_ref().map(|m| &m[..]) != Some(&options[2..8]))
            {
                return false;
            }
            options = &options[len..];
            count += 1;
        }
        options.is_empty() && count <= 8
    }

    /// What becomes of an ARP message.
    pub(crate) fn arp(&self) -> Option<OnLink> {
        let c = &self.scene.containers[self.who?];
        if self.bytes.get(12..14) != Some(&[8, 6]) {
            return None;
        }
        Some(if self.bytes.len() < 42 {
            OnLink::Dropped(DropReason::Truncated)
        } else if self.bytes[14..20] == [0, 1, 8, 0, 6, 4]
            && self.bytes[22..28] == c.mac
            && (self.bytes[28..32] == c.addr || self.bytes[28..32] == [0; 4])
        {
            OnLink::Passes
        } else {
            OnLink::Dropped(DropReason::SpoofedArp)
        })
    }
}

/// Why a packet cannot be translated that ends its headers with this number.
pub(crate) fn unsupported<A: Side>(proto: u8) -> DropReason {
    match proto {
        43 if A::IS_V6 => DropReason::RoutingHeader,
        0 | 44 | 51 | 60 if A::IS_V6 => DropReason::HeaderChain,
        _ => DropReason::UnsupportedProtocol,
    }
}
