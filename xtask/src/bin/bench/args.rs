//! The command line of the benchmark.
//!
//! Owns the options and the names of the measures. `cargo xtask bench` includes this file, to know
//! a wrong option before anything is built.

use std::path::PathBuf;

use clap::{Args, ValueEnum};

/// What to measure, how often, and where to write it.
#[derive(Args, Clone, Debug)]
pub(crate) struct Options {
    /// Fewer and shorter slices, under 3 minutes in all: shows that it works, and coarse ratios.
    #[arg(long)]
    pub(crate) quick: bool,
    /// Write every slice and every ratio to this file.
    #[arg(long, value_name = "FILE")]
    pub(crate) json: Option<PathBuf>,
    /// Write the plot of new connections over published ports to this file.
    #[arg(long, value_name = "FILE")]
    pub(crate) svg: Option<PathBuf>,
    /// Only these measures.
    #[arg(long, value_name = "MEASURE", value_enum, value_delimiter = ',')]
    pub(crate) only: Vec<Measure>,
    /// Rounds after the warm-up round: a round is one slice of every variant. 60, quick 6.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) rounds: Option<u32>,
    /// Length of a slice in milliseconds. 250, quick 100.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(10..=10_000))]
    pub(crate) slice_ms: Option<u64>,
    /// The netpath program to measure; built from this workspace unless given.
    #[arg(long, value_name = "PATH")]
    pub(crate) netpath: Option<PathBuf>,
}

/// What is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, ValueEnum)]
#[value(rename_all = "snake_case")]
pub(crate) enum Measure {
    /// Small UDP packets from outside to the published port, one way.
    UdpIn,
    /// Small UDP packets from the container to the outside host, one way.
    UdpOut,
    /// One byte to the published port and one back on a TCP connection, over and over.
    RrIn,
    /// The same, asked by the container of the outside host.
    RrOut,
    /// A new TCP connection to the published port for each byte there and back.
    CrrIn,
    /// The same, from the container to the outside host.
    CrrOut,
    /// A TCP stream to the published port, one segment a packet.
    BulkIn,
    /// The same, from the container to the outside host.
    BulkOut,
}
