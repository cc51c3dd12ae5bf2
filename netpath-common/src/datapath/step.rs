//! What decisions come to, in forms of which every bit is defined.
//!
//! Owns those forms. What an enum does not use in a variant the compiler fills with whatever a register
//! holds, and the verifier refuses a program that stores or shifts such a value: it may be undefined,
//! or a pointer.

use super::work::Work;
use crate::{
    addr::Addr,
    conntrack::CtRef,
    drop_reason::DropReason,
    verdict::{Action, Verdict},
};

/// What to do next with a packet.
#[repr(u8)]
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Next {
    /// Nothing has been decided yet.
    Undecided = 0,
    /// Leave it as it is.
    Pass = 1,
    /// A copy waits for the first fragment.
    Held = 2,
    /// Leave it as it is, and hand it to the container behind [`Step::ifindex`].
    Neighbour = 3,
    /// Translate by [`Step::entry`].
    Flow = 4,
    /// Make [`super::Work::flow`] and translate by it.
    Create = 5,
    /// The plan is complete.
    Ready = 6,
    /// Leave the network, by the way that the routes say.
    Leave = 7,
    /// Leave it as it is: it is translated where it leaves the host.
    Visible = 8,
    /// From the endpoint [`Work::from_endpoint`] to a port of the host that is not published: to its
    /// binding, where it has one.
    Bound = 9,
    /// Leave it as it is: it is for the host, if its firewall makes that of it, and for nobody beyond.
    Foreign = 10,
}

/// A decision that needs no entry, or the reason to drop the packet, in one word: what a subprogram of
/// the kernel returns.
#[derive(Clone, Copy)]
pub(super) struct Word(u64);

impl Word {
    /// Values of [`Next`] are below, those of [`DropReason`] from here on.
    const DROPPED: u32 = 0x100;

    /// Of a step other than [`Next::Flow`].
    #[inline(always)]
    pub(super) fn of<A: Addr>(result: Result<Step<A>, DropReason>) -> Self {
        Self(match result {
            Ok(step) => step.next as u64 | u64::from(step.ifindex) << 32,
            Err(reason) => u64::from(Self::DROPPED + reason as u32),
        })
    }

    #[inline(always)]
    pub(super) fn step<A: Addr>(self) -> Result<Step<A>, DropReason> {
        const UNDECIDED: u32 = Next::Undecided as u32;
        const NEIGHBOUR: u32 = Next::Neighbour as u32;
        const HELD: u32 = Next::Held as u32;
        const CREATE: u32 = Next::Create as u32;
        const READY: u32 = Next::Ready as u32;
        const LEAVE: u32 = Next::Leave as u32;
        const VISIBLE: u32 = Next::Visible as u32;
        const BOUND: u32 = Next::Bound as u32;
        const FOREIGN: u32 = Next::Foreign as u32;
        let code = self.0 as u32;
        if code >= Self::DROPPED {
            let reason = DropReason::from_index(code - Self::DROPPED);
            return Err(reason.unwrap_or(DropReason::NoConfig));
        }
        Ok(match code {
            UNDECIDED => Step::UNDECIDED,
            NEIGHBOUR => Step::neighbour((self.0 >> 32) as u32),
            HELD => Step::HELD,
            CREATE => Step::CREATE,
            READY => Step::READY,
            LEAVE => Step::LEAVE,
            VISIBLE => Step::VISIBLE,
            BOUND => Step::BOUND,
            FOREIGN => Step::FOREIGN,
            _ => Step::PASS,
        })
    }
}

/// What the decision about a packet came to.
#[derive(Clone, Copy, Debug)]
pub(super) struct Step<A: Addr> {
    pub(super) next: Next,
    pub(super) entry: Option<CtRef<A>>,
    pub(super) ifindex: u32,
}

impl<A: Addr> Step<A> {
    /// See [`Next`].
    pub(super) const UNDECIDED: Self = Self::plain(Next::Undecided);
    /// See [`Next`].
    pub(super) const PASS: Self = Self::plain(Next::Pass);
    /// See [`Next`].
    pub(super) const HELD: Self = Self::plain(Next::Held);
    /// See [`Next`].
    pub(super) const CREATE: Self = Self::plain(Next::Create);
    /// See [`Next`].
    pub(super) const READY: Self = Self::plain(Next::Ready);
    /// See [`Next`].
    pub(super) const LEAVE: Self = Self::plain(Next::Leave);
    /// See [`Next`].
    pub(super) const VISIBLE: Self = Self::plain(Next::Visible);
    /// See [`Next`].
    pub(super) const BOUND: Self = Self::plain(Next::Bound);
    /// See [`Next`].
    pub(super) const FOREIGN: Self = Self::plain(Next::Foreign);

    #[inline(always)]
    const fn plain(next: Next) -> Self {
        Self {
            next,
            entry: None,
            ifindex: 0,
        }
    }

    /// See [`Next::Flow`].
    #[inline(always)]
    pub(super) const fn flow(e: CtRef<A>) -> Self {
        Self {
            next: Next::Flow,
            entry: Some(e),
            ifindex: 0,
        }
    }

    /// See [`Next::Neighbour`].
    #[inline(always)]
    pub(super) const fn neighbour(ifindex: u32) -> Self {
        Self {
            next: Next::Neighbour,
            entry: None,
            ifindex,
        }
    }
}

impl<A: Addr> Work<A> {
    /// The decision in full, right after it was made.
    #[inline(always)]
    pub const fn verdict(&self, action: Action) -> Verdict {
        let ifindex = self.to_ifindex;
        match action {
            Action::Pass | Action::Visible | Action::Foreign => Verdict::Pass,
            Action::Within => Verdict::Within,
            Action::Ipv6 => Verdict::Ipv6,
            Action::Held => Verdict::Held,
            Action::TranslatedToStack => Verdict::TranslatedToStack,
            Action::ToUplink | Action::Leased => Verdict::ToUplink {
                ifindex,
                leased: matches!(action, Action::Leased),
            },
            Action::ToNeighbour => Verdict::ToNeighbour { ifindex },
            Action::ToEndpoint => Verdict::ToEndpoint { ifindex },
            Action::ByQueue => Verdict::ByQueue { ifindex },
        }
    }
}
