//! Removal of flows on request of user space.
//!
//! Owns the form of the request. Which flows may go is decided in netpath-common.

use aya_ebpf::programs::TcContext;
use netpath_common::{Tuple, datapath, packet::Packet as _};

use crate::{
    ctx::TcPacket,
    family::Maps,
    tables::{self, KernelTables},
};

/// Most keys that one run of [`collect`] takes.
const COLLECT_KEYS: u32 = 64;

/// Removes flows.
///
/// The frame is 16 bytes (at 14 the mode: 1 removes in any case; at 15 the number of keys) and
/// then keys, of 16 bytes or 40. Returns how many flows were removed.
#[inline(always)]
pub(crate) fn collect<A: Maps>(ctx: &TcContext) -> i32 {
    let pkt = TcPacket::new(ctx);
    let tables = KernelTables::<_, A>::new(ctx);
    let Some([mode, count]) = pkt.read::<2>(14) else {
        return 0;
    };
    let mut state = Collect {
        ctx,
        tables: &tables,
        force: mode == 1,
        removed: 0,
    };
    tables::repeat(
        u32::from(count).min(COLLECT_KEYS),
        &mut state,
        collect_one::<A>,
    );
    state.removed
}

struct Collect<'c, A> {
    ctx: &'c TcContext,
    tables: &'c KernelTables<'c, TcContext, A>,
    force: bool,
    removed: i32,
}

extern "C" fn collect_one<A: Maps>(i: u32, state: *mut Collect<'_, A>) -> i64 {
    // SAFETY: `repeat` hands on the pointer that `collect` gave it.
    let s = unsafe { &mut *state };
    let Ok(key) = s
        .ctx
        .load::<Tuple<A>>(16 + i as usize * size_of::<Tuple<A>>())
    else {
        return 1;
    };
    if datapath::collect(s.tables, &key, s.force) {
        s.removed += 1;
    }
    0
}
