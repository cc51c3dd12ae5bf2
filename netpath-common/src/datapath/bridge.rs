//! Ingress of a bridge: what goes up to the host must have passed an endpoint's own hook.
//!
//! Owns the fail-closed rule for ports without an endpoint, and the one for isolated networks.

use crate::{drop_reason::DropReason, verdict::Action};

/// What an endpoint's hook has said about a frame.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Vetted {
    /// Nothing.
    No,
    /// Neighbours may have it, the host may not.
    Within,
    /// The host may have it as well.
    Yes,
}

/// Decides about a frame that the bridge hands to the host.
///
/// `vetted`: by the mark that the frame carries and only the endpoint hook sets. A container cannot forge
/// it: the kernel clears marks when a packet changes its network namespace
/// (`net/core/skbuff.c`, `skb_scrub_packet`).
///
/// # Errors
/// [`DropReason::UnknownPort`], [`DropReason::NotRoutable`] of an isolated network: of frames that all
/// its ports get it is the host's copy that is dropped.
#[inline(always)]
pub const fn bridge_ingress(vetted: Vetted) -> Result<Action, DropReason> {
    match vetted {
        Vetted::Yes => Ok(Action::Pass),
        Vetted::Within => Err(DropReason::NotRoutable),
        Vetted::No => Err(DropReason::UnknownPort),
    }
}
