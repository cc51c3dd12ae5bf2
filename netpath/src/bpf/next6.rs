//! The programs that frames of IPv6 are handed to.
//!
//! Owns the map `np_next6`, and whether they are loaded: only where a network has IPv6, since the
//! verifier takes as long for them as for those of IPv4. Without them a container's frames of IPv6 are
//! dropped, and the host's own go on as they are. The kernel keeps what is in the map as long as it is
//! pinned.

use std::path::PathBuf;

use aya::{maps::ProgramArray, programs::SchedClassifier};
use netpath_common::maps::{self, NEXT6_LOOPBACK, NEXT6_UPLINK_IN, NEXT6_UPLINK_OUT, NEXT6_VETH};

use super::{Datapath, Error};

/// Each place with its program.
const PROGRAMS: [(u32, &str); maps::NEXT6_HOOKS] = [
    (NEXT6_VETH, "np_veth6"),
    (NEXT6_UPLINK_IN, "np_uplink_in6"),
    (NEXT6_UPLINK_OUT, "np_uplink_out6"),
    (NEXT6_LOOPBACK, "np_lo_in6"),
];

/// Whether frames of IPv6 are handed to this program.
pub(super) fn is_one(program: &str) -> bool {
    PROGRAMS.iter().any(|(_, name)| *name == program)
}

impl Datapath {
    /// Whether the programs are loaded.
    pub(super) fn has_next6(&self) -> bool {
        PROGRAMS
            .iter()
            .all(|(_, name)| self.pins.program(name).exists())
    }

    /// Hands frames of IPv6 to the programs whose pins `pin` tells. A program that is replaced goes on
    /// until its successor is there.
    pub(super) fn set_next6(&self, pin: impl Fn(&str) -> PathBuf) -> Result<(), Error> {
        let mut array: ProgramArray<_> = self.typed(maps::NEXT6)?;
        for (place, name) in PROGRAMS {
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
