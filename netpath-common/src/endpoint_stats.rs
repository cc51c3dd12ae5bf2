//! What is counted for each endpoint.
//!
//! Owns the record's layout, and which packet is counted where in it. A packet is counted at one place of
//! one direction, so telling published ports from the rest costs the datapath no second count.

use core::ops::Add;

use bytemuck::{Pod, Zeroable};

/// Packets, and their bytes by frame length.
#[repr(C)]
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Pod, Zeroable)]
pub struct Traffic {
    /// Packets.
    pub packets: u64,
    /// Bytes of those.
    pub bytes: u64,
}

impl Add for Traffic {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        Self {
            packets: self.packets.wrapping_add(other.packets),
            bytes: self.bytes.wrapping_add(other.bytes),
        }
    }
}

/// Counters of one endpoint on one CPU. Directions are as the container sees them.
#[repr(C)]
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Pod, Zeroable)]
pub struct EndpointStats {
    /// What the container sent and netpath translated, by [`place`].
    pub tx: [Traffic; PLACES],
    /// What was translated and delivered to the container, likewise.
    pub rx: [Traffic; PLACES],
    /// Packets from the container that were dropped.
    pub drops: u64,
    /// Flows that the container began, or that were begun to it.
    pub flows: u64,
}

/// How many places a direction has.
pub const PLACES: usize = 4;

/// Where a packet is counted: by its family, and by whether its flow is of a published port, whose slot
/// is `rule`; 0 for none.
#[inline(always)]
#[must_use]
pub const fn place(v6: bool, rule: u16) -> usize {
    (v6 as usize) * 2 + (rule != 0) as usize
}

impl EndpointStats {
    /// All that the container sent.
    #[must_use]
    pub fn sent(&self) -> Traffic {
        self.tx.into_iter().fold(Traffic::default(), Add::add)
    }

    /// All that it was given.
    #[must_use]
    pub fn given(&self) -> Traffic {
        self.rx.into_iter().fold(Traffic::default(), Add::add)
    }

    /// What it exchanged without a published port, in both directions.
    #[must_use]
    pub fn by_itself(&self, v6: bool) -> Traffic {
        let place = place(v6, 0);
        self.tx[place] + self.rx[place]
    }
}

impl Add for EndpointStats {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        let both = |a: [Traffic; PLACES], b: [Traffic; PLACES]| {
            let mut sum = a;
            for (sum, more) in sum.iter_mut().zip(b) {
                *sum = *sum + more;
            }
            sum
        };
        Self {
            tx: both(self.tx, other.tx),
            rx: both(self.rx, other.rx),
            drops: self.drops.wrapping_add(other.drops),
            flows: self.flows.wrapping_add(other.flows),
        }
    }
}

const _: () = assert!(size_of::<EndpointStats>() == 144);
