//! The command line of the benchmark.
//!
//! Owns the options and the names of the measures. `cargo xtask bench` includes this file, to know
//! a wrong option before anything is built.

use std::path::PathBuf;

use clap::{Args, ValueEnum, builder::PossibleValue};

/// The variants' names.
pub(crate) const VARIANTS: [&str; 7] = [
    "netpath",
    "legacy",
    "iptables-nft",
    "nft",
    "none",
    "forward",
    "legacy-again",
];

/// What to measure, how often, and where to write it.
#[derive(Args, Clone, Debug)]
pub(crate) struct Options {
    /// Fewer and shorter slices, under 3 minutes in all: shows that it works, and coarse ratios.
    #[arg(long)]
    pub(crate) quick: bool,
    /// Write every slice and every ratio to this file.
    #[arg(long, value_name = "FILE")]
    pub(crate) json: Option<PathBuf>,
    /// Draw the plots into this directory.
    #[arg(long, value_name = "DIRECTORY")]
    pub(crate) plots: Option<PathBuf>,
    /// Measure nothing: report on what --json has written to this file.
    #[arg(long, value_name = "FILE", conflicts_with_all = ["quick", "json", "only", "rounds", "slice_ms"])]
    pub(crate) from: Option<PathBuf>,
    /// Measure nothing: say which targets are met in both of these runs.
    #[arg(long, value_names = ["FILE", "FILE"], num_args = 2, conflicts_with_all = ["quick", "json", "only", "rounds", "slice_ms", "from", "plots"])]
    pub(crate) compare: Vec<PathBuf>,
    /// Only these measures.
    #[arg(long, value_name = "MEASURE", value_enum, value_delimiter = ',')]
    pub(crate) only: Vec<Choice>,
    /// Only these variants, of those measures that share their namespaces. Without `legacy` and its
    /// copy nothing counts: for development.
    #[arg(long, value_name = "VARIANT", value_delimiter = ',', value_parser = VARIANTS)]
    pub(crate) variants: Vec<String>,
    /// Rounds after the warm-up round: a round is one slice of every variant. 50, quick 6.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) rounds: Option<u32>,
    /// Length of a slice in milliseconds. 200, quick 100.
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

/// What is measured in namespaces of its own, beside those that the measures above share.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, ValueEnum)]
#[value(rename_all = "snake_case")]
pub(crate) enum Special {
    /// The first packet of a flow, and one of a flow that is there, among many live flows.
    Flows,
    /// Publishing many ports, and one more.
    Install,
    /// Kernel memory of a flow.
    Bytes,
    /// From container to container on one bridge.
    Bridge,
    /// Bulk TCP with segments of 64 KB and with larger ones.
    BigTcp,
    /// From the host to the published port by 127.0.0.1.
    Local,
    /// The host's own connections, with netpath loaded and not.
    Host,
    /// What a dropped packet costs in a flood of unwanted ones.
    Drops,
    /// Being rid of a million flows that are over.
    Collector,
}

/// A measure of either kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Choice {
    /// One of those that share their namespaces.
    Shared(Measure),
    /// One of the others.
    Special(Special),
}

impl Choice {
    const ALL: [Self; 17] = [
        Self::Shared(Measure::UdpIn),
        Self::Shared(Measure::UdpOut),
        Self::Shared(Measure::RrIn),
        Self::Shared(Measure::RrOut),
        Self::Shared(Measure::CrrIn),
        Self::Shared(Measure::CrrOut),
        Self::Shared(Measure::BulkIn),
        Self::Shared(Measure::BulkOut),
        Self::Special(Special::Flows),
        Self::Special(Special::Install),
        Self::Special(Special::Bytes),
        Self::Special(Special::Bridge),
        Self::Special(Special::BigTcp),
        Self::Special(Special::Local),
        Self::Special(Special::Host),
        Self::Special(Special::Drops),
        Self::Special(Special::Collector),
    ];
}

impl ValueEnum for Choice {
    fn value_variants<'a>() -> &'a [Self] {
        &Self::ALL
    }

    fn to_possible_value(&self) -> Option<PossibleValue> {
        match self {
            Self::Shared(measure) => measure.to_possible_value(),
            Self::Special(special) => special.to_possible_value(),
        }
    }
}
