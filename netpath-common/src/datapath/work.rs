//! The working memory of one packet.
//!
//! Owns the plan (what to write, where to send) and its beginning; its execution is
//! `conclude`'s. The plan lives in per-CPU memory, not on the 512-byte stack; what is in memory the
//! verifier does not follow value by value, so the many ways through the decisions meet again before
//! the packet is written.

use super::{Tables, fragment::Part, mss};
use crate::{
    addr::{Addr, V4},
    drop_reason::DropReason,
    nat::NewFlow,
    packet::{Eth, Family, Ip, Packet, Quoted, Rewrite, parse_eth},
    publish::Lookup,
    records::{CONFIG_VISIBLE, FragKey},
    tuple::Tuple,
};

/// [`Work::read`]: nothing yet.
pub const READ_NOTHING: u8 = 0;
/// [`Work::read`]: the Ethernet header.
pub const READ_FRAME: u8 = 1;
/// [`Work::read`]: the IP packet too.
pub const READ_PACKET: u8 = 2;

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
    /// What of the above has been read from the packet: [`READ_NOTHING`] and so on.
    pub read: u8,
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
        self.read = READ_NOTHING;
        parse_eth(pkt, &mut self.eth)?;
        self.read = READ_FRAME;
        Ok(())
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
        self.read = READ_PACKET;
        self.settle();
        Ok(())
    }

    /// Reads a packet that no decision was asked about, for a report.
    #[inline(always)]
    pub fn read_again<P: Packet>(&mut self, pkt: &P) {
        self.read = READ_NOTHING;
        if parse_eth(pkt, &mut self.eth).is_err() {
            return;
        }
        self.read = READ_FRAME;
        if self.eth.ethertype == A::ETHERTYPE && A::parse(pkt, &mut self.ip).is_ok() {
            self.read = READ_PACKET;
        }
    }

    /// Makes the compiler write everything to memory and read it again from there.
    /// Without it values stay in registers along each way through the decisions, the ways do not
    /// meet, and the verifier walks what follows once for each of them.
    #[inline(always)]
    pub(super) fn settle(&mut self) {
        core::hint::black_box(core::ptr::from_mut(self));
    }
}
