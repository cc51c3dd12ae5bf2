//! The last step that all packets share.
//!
//! Owns the execution of the plan in the working memory: the flow is made, the packet rewritten,
//! counted and sent on. The plan is whoever's decided it.

use super::{
    Tables,
    fragment::VIA_STACK,
    mss,
    step::{Next, Step},
    work::Work,
};
use crate::{
    conntrack::{CtRef, tcp},
    counters::Counter,
    drop_reason::DropReason,
    event::Hook,
    nat::create,
    packet::{Family, Kind, Packet, Rewrite, set_macs},
    records::{CONFIG_MSS_CLAMP, ENDPOINT_SHAPED, ENDPOINT_VISIBLE},
    verdict::Action,
};

impl<A: Family> Work<A> {
    /// Plans the translation that an entry gives.
    #[inline(always)]
    fn follow(&mut self, e: CtRef<A>) {
        self.to = Rewrite {
            src: e.src(),
            dst: e.dst(),
            sport: e.sport(),
            dport: e.dport(),
            hop: false,
        };
        self.from_endpoint = e.from();
        self.to_endpoint = e.to();
        self.uplink = e.uplink();
        self.rule = e.rule();
    }

    /// Sets whether the datapath forwards the packet itself. False: the stack must have the packet
    /// as it is, because it has to answer for it (TTL, MTU) or to fragment it first.
    #[inline(always)]
    fn decide_hop<P: Packet, T: Tables<A = A>>(
        &mut self,
        pkt: &P,
        t: &T,
        hook: Hook,
    ) -> Result<bool, DropReason> {
        if matches!(hook, Hook::UplinkEgress) || self.from_endpoint == 0 && self.to_endpoint == 0 {
            // What the stack sends, or what goes to the host itself.
            return Ok(true);
        }
        let mut flags = 0;
        let mtu = if self.to_endpoint == 0 {
            // The smaller one is right in any case: the stack looks again.
            let mtu = t.uplink(self.uplink).ok_or(DropReason::NoConfig)?.mtu;
            if self.mtu == 0 {
                mtu
            } else {
                mtu.min(self.mtu)
            }
        } else {
            let endpoint = t.endpoint(self.to_endpoint).ok_or(DropReason::NoConfig)?;
            if matches!(hook, Hook::UplinkIngress) {
                flags = endpoint.flags;
            }
            endpoint.mtu
        };
        self.to.hop = flags & ENDPOINT_VISIBLE == 0 && self.fits(pkt, mtu);
        // Towards a container the stack can only route the packet once it is translated; its
        // errors are translated back on their way out.
        Ok(self.to.hop || self.to_endpoint != 0)
    }

    /// Whether the packet can be forwarded by a way of this MTU (bytes) as it is.
    #[inline(always)]
    pub(super) fn fits<P: Packet>(&self, pkt: &P, mtu: u32) -> bool {
        self.ip.ttl > 1 && self.ip.wire_len(pkt.gso_size()) <= mtu
    }

    /// Translates by an entry that admits the packet, a plain one, which [`Work::fits`] the way to its
    /// container.
    #[inline(always)]
    pub(super) fn forward<P: Packet, T: Tables<A = A>>(
        &mut self,
        pkt: &mut P,
        t: &T,
        e: CtRef<A>,
    ) -> Result<Action, DropReason> {
        self.follow(e);
        self.to.hop = true;
        self.settle();
        let bytes = pkt.len() as u64;
        if self.refresh {
            self.touch(e, bytes);
        }
        self.clamp(pkt, t)?;
        self.deliver(pkt, t, bytes)
    }

    /// Counts the packet at its flow, and keeps that alive.
    #[inline(always)]
    fn touch(&self, e: CtRef<A>, bytes: u64) {
        e.touch(self.now, bytes);
        if matches!(self.ip.kind, Kind::Tcp) {
            let ack = if self.ip.flags & tcp::ACK != 0 {
                self.ip.ack
            } else {
                0
            };
            e.note_segment(self.ip.segment_end(), ack);
        }
    }

    /// Lowers the MSS of a SYN to what the way of the flow allows, where that is wanted.
    #[inline(always)]
    fn clamp<P: Packet, T: Tables<A = A>>(&mut self, pkt: &mut P, t: &T) -> Result<(), DropReason> {
        if !matches!(self.ip.kind, Kind::Tcp) || self.ip.flags & tcp::SYN == 0 {
            return Ok(());
        }
        let wanted = t.config().is_some_and(|c| c.flags & CONFIG_MSS_CLAMP != 0);
        if !wanted {
            return Ok(());
        }
        let mut mtu = u32::MAX;
        for endpoint in [self.from_endpoint, self.to_endpoint] {
            if endpoint != 0 {
                mtu = mtu.min(t.endpoint(endpoint).map_or(mtu, |e| e.mtu));
            }
        }
        if self.uplink != 0 {
            mtu = mtu.min(t.uplink(self.uplink).map_or(mtu, |u| u.mtu));
        }
        if self.mtu != 0 {
            mtu = mtu.min(self.mtu);
        }
        mss::clamp(pkt, t, &self.ip, &mut self.mss, mtu)
    }

    /// Makes the flow where one is to be made, completes the plan and carries it out.
    #[inline(always)]
    pub(super) fn conclude<P: Packet, T: Tables<A = A>>(
        &mut self,
        pkt: &mut P,
        t: &T,
        step: Step<A>,
        hook: Hook,
    ) -> Result<Action, DropReason> {
        let entry = match step.next {
            Next::Pass | Next::Undecided | Next::Leave | Next::Bound => return Ok(Action::Pass),
            Next::Held => return Ok(Action::Held),
            Next::Visible => return Ok(Action::Visible),
            Next::Foreign => return Ok(Action::Foreign),
            Next::Neighbour => {
                t.count(Counter::ToNeighbour);
                self.to_ifindex = step.ifindex;
                return Ok(Action::ToNeighbour);
            }
            Next::Flow => step.entry,
            Next::Create => {
                // Only containers have bindings.
                let binds = matches!(hook, Hook::Veth | Hook::UplinkEgress);
                Some(create(t, &mut self.flow, binds)?)
            }
            Next::Ready => None,
        };
        if let Some(e) = entry {
            self.follow(e);
        }
        self.apply(pkt, t, entry, hook)
    }

    /// Carries the plan out. `e`: the entry to count the packet at.
    #[inline(always)]
    fn apply<P: Packet, T: Tables<A = A>>(
        &mut self,
        pkt: &mut P,
        t: &T,
        e: Option<CtRef<A>>,
        hook: Hook,
    ) -> Result<Action, DropReason> {
        self.settle();
        if self.is_tail && self.via_stack {
            return if matches!(hook, Hook::UplinkEgress) {
                Err(DropReason::FragmentUnmatched)
            } else {
                Ok(Action::Pass)
            };
        }
        if !self.decide_hop(pkt, t, hook)? {
            if self.ip.first_fragment {
                self.remember(t, VIA_STACK);
                self.via_stack = true;
            }
            return Ok(Action::Pass);
        }
        if self.is_tail {
            if t.note(self) != 0 {
                return Err(DropReason::FragmentOverlap);
            }
            t.count(Counter::FragmentTranslated);
        }
        let bytes = pkt.len() as u64;
        if let Some(e) = e
            && self.refresh
        {
            self.touch(e, bytes);
        }
        self.clamp(pkt, t)?;
        if self.ip.first_fragment {
            self.remember(t, self.out);
        }
        if self.is_error {
            if A::has_bad_mtu(pkt, &self.ip) {
                return Err(DropReason::IcmpBadMtu);
            }
            A::rewrite_quoted(pkt, &self.ip, &self.quoted, &self.quoted_to)?;
            t.count(Counter::IcmpErrorTranslated);
        }
        self.deliver(pkt, t, bytes)
    }

    /// Rewrites the packet, counts it, and sends it on. `bytes`: its length as a frame.
    #[inline(always)]
    fn deliver<P: Packet, T: Tables<A = A>>(
        &mut self,
        pkt: &mut P,
        t: &T,
        bytes: u64,
    ) -> Result<Action, DropReason> {
        A::rewrite(pkt, &self.ip, &self.to)?;
        if self.from_endpoint != 0 {
            t.count_tx(self.from_endpoint, self.rule, bytes);
        }
        if self.to_endpoint != 0 {
            t.count_rx(self.to_endpoint, self.rule, bytes);
        }
        if self.rule != 0 {
            t.count_rule(self.rule, bytes);
        }
        if !self.to.hop {
            t.count(Counter::TranslatedToStack);
            return Ok(Action::TranslatedToStack);
        }
        if self.to_endpoint == 0 {
            self.to_ifindex = if self.out == 0 {
                t.uplink(self.uplink).ok_or(DropReason::NoConfig)?.ifindex
            } else {
                self.out
            };
            t.count(Counter::ToUplink);
            if self.leased {
                set_macs(pkt, self.dst_mac, self.src_mac)?;
                return Ok(Action::Leased);
            }
            return Ok(Action::ToUplink);
        }
        let endpoint = t.endpoint(self.to_endpoint).ok_or(DropReason::NoConfig)?;
        let network = t.network(endpoint.network).ok_or(DropReason::NoConfig)?;
        set_macs(pkt, endpoint.mac, network.bridge_mac)?;
        t.count(Counter::ToEndpoint);
        self.to_ifindex = endpoint.ifindex;
        Ok(if endpoint.flags & ENDPOINT_SHAPED == 0 {
            Action::ToEndpoint
        } else {
            Action::ByQueue
        })
    }
}
