//! What a program lets go on, judged as the tests of the logic judge theirs.
//!
//! Owns the choice of what is judged: all but drops. Every checksum is computed in full, and nothing
//! may have changed but what translation may change.

use netpath_common::{
    event::Hook,
    testing::{Frame, judge},
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
    if let Err(fault) = judge(frame, &after) {
        panic!("{hook:?}: {fault}");
    }
}
