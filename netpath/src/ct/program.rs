//! The programs `np_collect` and `np_collect6` as user space runs them.
//!
//! Owns the frames that carry keys to it. The program decides what is really expired, claims a flow
//! and deletes both its entries, so that a packet that arrives meanwhile is never translated by
//! half a flow.

use std::marker::PhantomData;

use aya::programs::{SchedClassifier, TestRun as _, TestRunOptions};
use netpath_common::Tuple;

use crate::bpf::{Datapath, Error, Family};

/// Keys in one frame.
pub(super) const KEYS: usize = 64;
/// Bytes before the keys: an Ethernet header, then mode and count.
const HEADER: usize = 16;
/// EtherType for local experiments (IEEE 802): the kernel looks no further.
const ETHERTYPE: [u8; 2] = [0x88, 0xb5];

/// When the program removes a flow that it is given.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Mode {
    /// If it is expired, outdated, half gone or claimed.
    Expired = 0,
    /// Always.
    Any = 1,
}

/// The program of an instance for a family.
pub(super) struct Program<A> {
    program: SchedClassifier,
    family: PhantomData<A>,
}

impl<A: Family> Program<A> {
    pub(super) fn open(dp: &Datapath) -> Result<Self, Error> {
        Ok(Self {
            program: dp.collector::<A>()?,
            family: PhantomData,
        })
    }

    /// Proposes up to [`KEYS`] keys in one run; how many flows were removed.
    pub(super) fn run(&self, mode: Mode, keys: &[Tuple<A>]) -> Result<usize, Error> {
        let data = frame(mode, keys);
        let options = TestRunOptions {
            data_in: Some(&data),
            ..TestRunOptions::default()
        };
        let result = self.program.test_run(options).map_err(|e| {
            let what = format!("running {}", A::COLLECTOR);
            Error::system(what, std::io::Error::other(e))
        })?;
        Ok(result.return_value as usize)
    }
}

/// A frame with up to [`KEYS`] keys.
fn frame<A: Family>(mode: Mode, keys: &[Tuple<A>]) -> Vec<u8> {
    let keys = keys.get(..KEYS).unwrap_or(keys);
    let mut data = Vec::with_capacity(HEADER + size_of_val(keys));
    data.extend([0; 12]);
    data.extend(ETHERTYPE);
    data.extend([mode as u8, keys.len() as u8]);
    data.extend_from_slice(bytemuck::cast_slice(keys));
    debug_assert_eq!(data.len(), HEADER + size_of_val(keys));
    data
}

#[cfg(test)]
mod tests {
    use netpath_common::V4;

    use super::{
        super::testing::{masqueraded, masqueraded6},
        *,
    };

    #[test]
    fn frames_hold_mode_count_and_keys() {
        let key = masqueraded().reply;
        let data = frame(Mode::Any, &[key, key.inverse()]);
        assert_eq!(data.len(), 16 + 2 * 16);
        assert_eq!(data[..12], [0; 12]);
        assert_eq!(data[12..16], [0x88, 0xb5, 1, 2]);
        assert_eq!(data[16..32], *bytemuck::bytes_of(&key));
        assert_eq!(frame::<V4>(Mode::Expired, &[])[14..], [0, 0]);
        let key6 = masqueraded6().reply;
        let data = frame(Mode::Any, &[key6; 64]);
        // The kernel takes no more than a page less 384 bytes (`bpf_test_init`).
        assert_eq!(data.len(), 16 + 64 * 40);
        assert!(data.len() < 4096 - 384);
        assert_eq!(data[56..96], *bytemuck::bytes_of(&key6));
        assert_eq!(frame(Mode::Expired, &[key; 64]).len(), 16 + 64 * 16);
        assert_eq!(frame(Mode::Expired, &[key; 65])[15], 64);
    }
}
