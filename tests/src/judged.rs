//! What a program lets go on, judged as the tests of the logic judge theirs.
//!
//! Owns the choice of what is judged: all but drops. Every checksum is computed in full, and nothing
//! may have changed but what translation may change.

use netpath_common::{
    event::Hook,
    testing::{Frame, judge, verify},
    tuple,
};

use crate::runner::{Ran, SHOT};

/// An XDP program drops the frame.
const XDP_DROP: i32 = 1;

/// Judges what the program of a hook made of a frame.
#[track_caller]
pub(crate) fn check(hook: Hook, frame: &Frame, ran: &Ran) {
    let dropped = if hook == Hook::Xdp { XDP_DROP } else { SHOT };
    if ran.action == dropped {
        return;
    }
    let after = Frame {
        bytes: ran.bytes.clone(),
        ..frame.clone()
    };
    let verdict = if hook == Hook::Veth && is_refusal(&after) && !is_refusal(frame) {
        // Made from nothing.
        verify(&after)
    } else {
        judge(frame, &after)
    };
    if let Err(fault) = verdict {
        panic!("{hook:?}: {fault}");
    }
}

/// Whether a frame tells a container that its flow was refused: IPv4 without options, ICMP 3/13.
fn is_refusal(frame: &Frame) -> bool {
    let b = &frame.bytes;
    b.get(14) == Some(&0x45) && b.get(23) == Some(&tuple::ICMP) && b.get(34..36) == Some(&[3, 13])
}
