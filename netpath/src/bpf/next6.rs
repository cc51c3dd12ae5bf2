//! The programs that frames of IPv6 are handed to.
//!
//! Owns the map `np_next6`. Which of them are loaded is `needs`' to say. The kernel keeps what is in the map
//! as long as it is pinned.

use std::path::PathBuf;

use aya::{maps::ProgramArray, programs::SchedClassifier};
use netpath_common::maps::{
    self, NEXT6_BRIDGE_OUT, NEXT6_LOOPBACK, NEXT6_UPLINK_IN, NEXT6_UPLINK_OUT, NEXT6_VETH,
};

use super::{Datapath, Error};

/// Each place with its program.
const PROGRAMS: [(u32, &str); maps::NEXT6_HOOKS] = [
    (NEXT6_VETH, "np_veth6"),
    (NEXT6_UPLINK_IN, "np_uplink_in6"),
    (NEXT6_UPLINK_OUT, "np_uplink_out6"),
    (NEXT6_LOOPBACK, "np_lo_in6"),
    (NEXT6_BRIDGE_OUT, "np_bridge_out6"),
];

impl Datapath {
    /// Hands frames of IPv6 to those of the programs that are `wanted`, whose pins `pin` tells. A program
    /// that is replaced goes on until its successor is there.
    pub(super) fn set_next6(
        &self,
        wanted: impl Fn(&str) -> bool,
        pin: impl Fn(&str) -> PathBuf,
    ) -> Result<(), Error> {
        let mut array: ProgramArray<_> = self.typed(maps::NEXT6)?;
        for (place, name) in PROGRAMS.into_iter().filter(|(_, name)| wanted(name)) {
            let opening = |e| Error::system(format!("opening {name}"), std::io::Error::other(e));
            let program = SchedClassifier::from_pin(pin(name)).map_err(opening)?;
            let fd = program.fd().map_err(opening)?;
            array
                .set(place, fd, 0)
                .map_err(|e| Error::map("writing", maps::NEXT6, e))?;
        }
        Ok(())
    }
}
