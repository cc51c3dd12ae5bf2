//! The programs that others hand packets to: those for frames of IPv6, and behind those of tunnels.
//!
//! Owns the maps `np_next6` and `np_tunnel`. Which of them are loaded is `needs`' to say. The kernel keeps what is in the map
//! as long as it is pinned.

use std::path::PathBuf;

use aya::{maps::ProgramArray, programs::SchedClassifier};
use netpath_common::maps::{
    self, NEXT6_LOOPBACK, NEXT6_UPLINK_IN, NEXT6_UPLINK_OUT, NEXT6_VETH, TUNNEL_IN, TUNNEL_OUT6,
};

use super::{Datapath, Error};

/// Each place with its program.
const PROGRAMS: [(u32, &str); maps::NEXT6_HOOKS] = [
    (NEXT6_VETH, "np_veth6"),
    (NEXT6_UPLINK_IN, "np_uplink_in6"),
    (NEXT6_UPLINK_OUT, "np_uplink_out6"),
    (NEXT6_LOOPBACK, "np_lo_in6"),
];

/// The same of `np_tunnel`.
const BEHIND_TUNNELS: [(u32, &str); maps::TUNNEL_PLACES] =
    [(TUNNEL_IN, "np_uplink_in"), (TUNNEL_OUT6, "np_tunnel_out6")];

impl Datapath {
    /// Has packets handed to those of the programs that are `wanted`, whose pins `pin` tells. A program
    /// that is replaced goes on until its successor is there.
    pub(super) fn set_next(
        &self,
        wanted: impl Fn(&str) -> bool,
        pin: impl Fn(&str) -> PathBuf,
    ) -> Result<(), Error> {
        self.set_places(maps::NEXT6, &PROGRAMS, &wanted, &pin)?;
        self.set_places(maps::TUNNEL, &BEHIND_TUNNELS, &wanted, &pin)
    }

    fn set_places(
        &self,
        map: &'static str,
        programs: &[(u32, &str)],
        wanted: impl Fn(&str) -> bool,
        pin: impl Fn(&str) -> PathBuf,
    ) -> Result<(), Error> {
        let mut array: ProgramArray<_> = self.typed(map)?;
        for &(place, name) in programs.iter().filter(|(_, name)| wanted(name)) {
            let opening = |e| Error::system(format!("opening {name}"), std::io::Error::other(e));
            let program = SchedClassifier::from_pin(pin(name)).map_err(opening)?;
            let fd = program.fd().map_err(opening)?;
            array
                .set(place, fd, 0)
                .map_err(|e| Error::map("writing", map, e))?;
        }
        Ok(())
    }
}
