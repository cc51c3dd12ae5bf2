//! The program `np_collect` as user space runs it.
//!
//! Owns the frames that carry keys to it. The program decides what is really expired, claims a flow
//! and deletes both its entries, so that a packet that arrives meanwhile is never translated by
//! half a flow.

use aya::programs::{SchedClassifier, TestRun as _, TestRunOptions};
use netpath_common::Tuple;

use crate::bpf::{Datapath, Error};

/// Keys in one frame.
pub(super) const KEYS: usize = 64;
/// Bytes before the keys: an Ethernet header, then mode and count.
const HEADER: usize = 16;
/// EtherType for local experiments (IEEE 802): the kernel looks no further.
const ETHERTYPE: [u8; 2] = [0x88, 0xb5];

/// When `np_collect` removes a flow that it is given.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Mode {
    /// If it is expired, outdated, half gone or claimed.
    Expired = 0,
    /// Always.
    Any = 1,
}

/// The program of an instance.
pub(super) struct Program(SchedClassifier);

impl Program {
    pub(super) fn open(dp: &Datapath) -> Result<Self, Error> {
        dp.collector().map(Self)
    }

    /// Proposes up to [`KEYS`] keys in one run; how many flows were removed.
    pub(super) fn run(&self, mode: Mode, keys: &[Tuple]) -> Result<usize, Error> {
        let data = frame(mode, keys);
        let options = TestRunOptions {
            data_in: Some(&data),
            ..TestRunOptions::default()
        };
        let result = self
            .0
            .test_run(options)
            .map_err(|e| Error::system("running np_collect", std::io::Error::other(e)))?;
        Ok(result.return_value as usize)
    }
}

/// A frame with up to [`KEYS`] keys.
fn frame(mode: Mode, keys: &[Tuple]) -> Vec<u8> {
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
    use super::{super::testing::masqueraded, *};

    #[test]
    fn frames_hold_mode_count_and_keys() {
        let key = masqueraded().reply;
        let data = frame(Mode::Any, &[key, key.inverse()]);
        assert_eq!(data.len(), 16 + 2 * 16);
        assert_eq!(data[..12], [0; 12]);
        assert_eq!(data[12..16], [0x88, 0xb5, 1, 2]);
        assert_eq!(data[16..32], *bytemuck::bytes_of(&key));
        assert_eq!(frame(Mode::Expired, &[])[14..], [0, 0]);
        assert_eq!(frame(Mode::Expired, &[key; 64]).len(), 16 + 64 * 16);
        assert_eq!(frame(Mode::Expired, &[key; 65])[15], 64);
    }
}
