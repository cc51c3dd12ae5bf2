//! A flow that is to be made, and the state it begins in.
//!
//! Owns the description. Making the flow is [`super::create`]'s.

use super::port::Ports;
use crate::{
    addr::{Addr, V4},
    conntrack::{
        CtEntry, STATE_PICKUP,
        tcp::{self, TcpState, Transition},
    },
    drop_reason::DropReason,
    packet::{Ip, Kind},
    tuple::{Direction, Tuple, is_icmp_request},
};

/// [`NewFlow::bound`]: its port is that of a binding, which is made where there is none.
pub const BIND: u8 = 1;
/// [`NewFlow::bound`]: it uses the binding that is there.
pub const BOUND: u8 = 2;

/// A flow that is to be made. The translation follows from the two tuples: the original direction
/// becomes `reply.inverse()`, the reply direction `original.inverse()`.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
pub struct NewFlow<A: Addr = V4> {
    /// The first packet's tuple.
    pub original: Tuple<A>,
    /// The tuple that answers will carry; its destination port is the one that may change.
    pub reply: Tuple<A>,
    /// Slot of the endpoint that began it, 0 for the outside.
    pub from: u16,
    /// Slot of the endpoint it goes to, 0 for the outside.
    pub to: u16,
    /// Slot of the uplink, 0 for none.
    pub uplink: u16,
    /// Slot of the publishing rule, 0 for none.
    pub rule: u16,
    /// The reply's destination is an address of the host: its reserved ports and the ports of its
    /// sockets are not chosen.
    pub host_address: bool,
    /// The ports it may be given, none for those of its own port's class.
    pub ports: Ports,
    /// Its own port is not to be kept.
    pub any_port: bool,
    /// It has this port or none: it is not translated.
    pub fixed: bool,
    /// [`BIND`], [`BOUND`], or 0: it has no binding.
    pub bound: u8,
    /// Of which life the binding is that it uses, see [`crate::conntrack::life_of`].
    pub life: u8,
    /// Initial state word without salt.
    pub state: u32,
    /// Filled in by [`super::create()`]: random bits of this life.
    pub salt: u32,
    /// Filled in by [`super::create()`]: now.
    pub now: u64,
    /// Working memory of [`super::create()`], which is too large for the stack.
    pub entry: CtEntry<A>,
    /// Working memory of [`super::bind`]: the flow while its binding is made.
    pub kept: Tuple<A>,
    /// The same of its reply.
    pub kept_reply: Tuple<A>,
    /// The same of its state.
    pub kept_state: u32,
    /// The same of the endpoint that it goes to.
    pub kept_to: u16,
    /// Working memory of the search: what is asked of sockets and bindings.
    pub asked: Tuple<A>,
    /// Working memory of its search for a port.
    pub search: Search,
}

/// The state of a search for a free port. Not on the stack: there the verifier follows every value,
/// and walks the search once for each.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
pub struct Search {
    pub(super) ports: Ports,
    /// Where a walk through few ports is.
    pub(super) offset: u32,
    pub(super) result: u32,
}

/// The initial state word for the first packet of a flow.
///
/// # Errors
/// [`DropReason::TcpNotSyn`] for a segment that cannot begin a flow, not even in the middle,
/// [`DropReason::IcmpUnmatched`] for an answer without a question.
#[inline(always)]
pub const fn initial_state<A: Addr>(ip: &Ip<A>) -> Result<u32, DropReason> {
    match ip.kind {
        Kind::Tcp | Kind::Sctp | Kind::Dccp => {
            match tcp::next(TcpState::None, Direction::Original, ip.flags) {
                Transition::To(TcpState::Established) => {
                    Ok(TcpState::Established as u32 | STATE_PICKUP)
                }
                Transition::To(s) => Ok(s as u32),
                Transition::Ignore | Transition::Invalid => Err(DropReason::TcpNotSyn),
            }
        }
        Kind::IcmpQuery if !is_icmp_request::<A>(ip.flags) => Err(DropReason::IcmpUnmatched),
        Kind::Udp
        | Kind::IcmpQuery
        | Kind::IcmpError
        | Kind::IcmpRedirect
        | Kind::IcmpOther
        | Kind::Tail
        | Kind::Other
        | Kind::Unsupported
        | Kind::Truncated
        | Kind::BadL4
        | Kind::Tiny => Ok(0),
    }
}
