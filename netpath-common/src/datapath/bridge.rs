//! Ingress of a bridge: what goes up to the host must have passed an endpoint's own hook.
//!
//! Owns the fail-closed rule for ports without an endpoint.

use crate::{drop_reason::DropReason, verdict::Action};

/// Decides about a frame that the bridge hands to the host.
///
/// `vetted`: the frame carries the mark that only the endpoint hook sets. A container cannot forge
/// it: the kernel clears marks when a packet changes its network namespace
/// (`net/core/skbuff.c`, `skb_scrub_packet`).
///
/// # Errors
/// [`DropReason::UnknownPort`].
#[inline(always)]
pub const fn bridge_ingress(vetted: bool) -> Result<Action, DropReason> {
    if vetted {
        Ok(Action::Pass)
    } else {
        Err(DropReason::UnknownPort)
    }
}
