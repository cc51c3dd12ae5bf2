//! What has happened over all sequences.
//!
//! Owns the counts. The verdict is `main`'s.

use std::fmt;

use crate::{address::FAMILIES, differences::TABLE, site::PLACES};

/// Counts.
#[derive(Default, Debug)]
pub(crate) struct Tally {
    pub(crate) sequences: u64,
    pub(crate) packets: u64,
    /// Of each family, at each place.
    pub(crate) delivered: [[u64; 4]; 2],
    pub(crate) chosen_ports: u64,
    pub(crate) waits: u64,
    /// By the index in the table.
    pub(crate) differences: Vec<u64>,
    /// Sequences that ended early, since the engines knew different flows from there on.
    pub(crate) ended: u64,
}

impl Tally {
    pub(crate) fn new() -> Self {
        Self {
            differences: vec![0; TABLE.len()],
            ..Self::default()
        }
    }
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} sequences, {} of them until a difference that changes what the engines know; {} \
             packets sent, {} flows under another port, {} waits; the same by both",
            self.sequences, self.ended, self.packets, self.chosen_ports, self.waits
        )?;
        for (family, delivered) in FAMILIES.iter().zip(self.delivered) {
            for (place, n) in PLACES.iter().zip(delivered) {
                write!(f, ", {family:?} to {place:?} {n}")?;
            }
        }
        Ok(())
    }
}
