//! The working memory of one packet, and the last step that all packets share.
//!
//! Owns the plan (what to write, where to send) and its execution. The plan lives in per-CPU
//! memory, not on the 512-byte stack; what is in memory the verifier does not follow value by
//! value, so the many ways through the decisions meet again before the packet is written.

use super::{
    Tables,
    fragment::{Part, VIA_STACK},
    mss,
    step::{Next, Step},
};
use crate::{
    addr::{Addr, V4},
    conntrack::{CtRef, tcp},
    counters::Counter,
    drop_reason::DropReason,
    event::Hook,
    nat::{NewFlow, create},
    packet::{Eth, Family, Ip, Kind, Packet, Quoted, Rewrite, parse_eth, set_macs},
    publish::Lookup,
    records::{CONFIG_MSS_CLAMP, CONFIG_VISIBLE, ENDPOINT_SHAPED, ENDPOINT_VISIBLE, FragKey},
    tuple::Tuple,
    verdict::Action,
};

/// Everything the datapath knows and plans about one packet. All zero is a valid value.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
pub struct Work<A: Addr = V4> {
    /// The Ethernet header.
    pub eth: Eth,
    /// The IP packet.
    pub ip: Ip<A>,
    /// What it is to become.
    pub to: Rewrite<A>,
    /// Slot of the endpoint it comes from, 0 for the outside.
    pub from_endpoint: u16,
    /// Slot of the endpoint it goes to, 0 for an uplink.
    pub to_endpoint: u16,
    /// Slot of the uplink it leaves by.
    pub uplink: u16,
    /// Slot of the publishing rule of its flow, 0 for none.
    pub rule: u16,
    /// The packet is an ICMP error, and `quoted` and `quoted_to` say how to rewrite what it quotes.
    pub is_error: bool,
    /// The packet follows its first fragment.
    pub is_tail: bool,
    /// The datagram's fragments go up the stack as they are, which answers for them or makes them
    /// smaller.
    pub via_stack: bool,
    /// The packet keeps its flow alive.
    pub refresh: bool,
    /// The MAC addresses below are to be written, and the packet sent as it is.
    pub leased: bool,
    /// MAC address of the next hop.
    pub dst_mac: [u8; 6],
    /// MAC address of the uplink.
    pub src_mac: [u8; 6],
    /// MTU of the way out in bytes, 0 for the uplink's.
    pub mtu: u32,
    /// The interface that it leaves by, 0 for the uplink's.
    pub out: u32,
    /// The next hop's address, none where the kernel is to find it.
    pub gateway: A,
    /// The packet as it will leave, where that is asked for before the plan is made.
    pub translated: Tuple<A>,
    /// Where the packet goes, if the decision sends it somewhere: interface index.
    pub to_ifindex: u32,
    /// The packet that an ICMP error quotes.
    pub quoted: Quoted<A>,
    /// What it is to become.
    pub quoted_to: Tuple<A>,
    /// The datagram whose fragments are held or released.
    pub held_key: FragKey<A>,
    /// Where its places begin.
    pub held_group: u32,
    /// The place of the last one that was held.
    pub held: u32,
    /// Length of the first fragment while its buffer is used for the others, 0 where it is not.
    pub saved: u32,
    /// Working memory of the search for overlaps.
    pub part: Part,
    /// Working memory of the walk through a SYN's options.
    pub mss: mss::Walk,
    /// The look-up of the published port that the packet asks for.
    pub look: Lookup<A>,
    /// The flow that is to be made.
    pub flow: NewFlow<A>,
    /// Now, nanoseconds of the coarse monotonic clock.
    pub now: u64,
    /// The kernel's tick of which `now` is the time; outlives the packet.
    pub tick: u64,
    /// Whether any network is visible to the host's firewall, as of that tick; not 0 if so.
    pub visible: u32,
    /// The sender and the host do not reach each other; not 0 if so.
    pub isolated: u32,
}

impl<A: Family> Work<A> {
    /// Forgets the last packet and parses the Ethernet header.
    #[inline(always)]
    pub(super) fn begin<P: Packet, T: Tables<A = A>>(
        &mut self,
        pkt: &P,
        t: &T,
    ) -> Result<(), DropReason> {
        self.reset(t);
        parse_eth(pkt, &mut self.eth)
    }

    /// Forgets what was planned for the last packet.
    #[inline(always)]
    pub(super) fn reset<T: Tables<A = A>>(&mut self, t: &T) {
        self.is_error = false;
        self.is_tail = false;
        self.via_stack = false;
        self.refresh = true;
        self.leased = false;
        self.mtu = 0;
        self.out = 0;
        self.gateway = A::NONE;
        self.isolated = 0;
        self.look_at_clock(t);
    }

    /// Sets the time. The kernel moves the coarse clock on when it counts a tick
    /// (`tick_do_update_jiffies64`, `kernel/time/tick-sched.c`), so the clock is read once a tick and
    /// not for every packet; a packet in the moment between the two makes it late by a tick.
    #[inline(always)]
    pub fn look_at_clock<T: Tables<A = A>>(&mut self, t: &T) {
        let tick = t.tick();
        if tick != self.tick {
            self.tick = tick;
            self.now = t.now();
            self.visible = t.config().map_or(0, |c| c.flags & CONFIG_VISIBLE);
        }
    }

    /// Parses the IP packet.
    #[inline(always)]
    pub(super) fn parse<P: Packet>(&mut self, pkt: &P) -> Result<(), DropReason> {
        A::parse(pkt, &mut self.ip)?;
        self.settle();
        Ok(())
    }

    /// Makes the compiler write everything to memory and read it again from there.
    /// Without it values stay in registers along each way through the decisions, the ways do not
    /// meet, and the verifier walks what follows once for each of them.
    #[inline(always)]
    pub(super) fn settle(&mut self) {
        core::hint::black_box(core::ptr::from_mut(self));
    }

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
            Next::Pass | Next::Undecided | Next::Leave => return Ok(Action::Pass),
            Next::Held => return Ok(Action::Held),
            Next::Visible => return Ok(Action::Visible),
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
            t.count_tx(self.from_endpoint, bytes);
        }
        if self.to_endpoint != 0 {
            t.count_rx(self.to_endpoint, bytes);
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
