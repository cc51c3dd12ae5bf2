//! Global functions: what the verifier looks at once a program, whatever the caller knows.
//!
//! They may take the context and numbers only, so each finds the working memory itself.

use aya_ebpf::{bindings::__sk_buff, programs::TcContext};
use netpath_common::{datapath::note_part, nat::reserve_and_index};

use crate::tables::{KernelTables, work};

/// Makes the flow in the working memory.
#[unsafe(no_mangle)]
pub(crate) extern "C" fn np_make(ctx: *mut __sk_buff) -> u32 {
    let Some(work) = work() else {
        return u32::MAX;
    };
    let ctx = TcContext::new(ctx);
    reserve_and_index(&KernelTables::new(&ctx), &mut work.flow)
}

/// Notes which part of its datagram the packet in the working memory is.
#[unsafe(no_mangle)]
pub(crate) extern "C" fn np_note(ctx: *mut __sk_buff) -> u32 {
    let Some(work) = work() else { return 0 };
    // Callers leave out what a function does not use, and the verifier misses it.
    let ctx = TcContext::new(core::hint::black_box(ctx));
    note_part(&KernelTables::new(&ctx), work)
}
