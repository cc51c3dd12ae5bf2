//! What a run of the benchmark measured.
//!
//! Owns the raw values alone: no statistics, no judgement.

use serde::{Deserialize, Serialize};

/// One slice of load on one variant.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Slice {
    /// Operations per second, or the value in the series' unit.
    pub(crate) rate: f64,
    /// CPU time of one operation, in nanoseconds, on all sides together.
    pub(crate) cpu_ns: Option<f64>,
}

/// One measure of one variant, through all rounds.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Series {
    /// What was measured: `udp_in`, `crr_in` and so on.
    pub(crate) measure: String,
    /// Published ports in place.
    pub(crate) ports: u32,
    /// What was under load: `netpath`, `legacy` and so on.
    pub(crate) variant: String,
    /// The unit of `rate`.
    pub(crate) unit: String,
    /// Whether a larger `rate` is the better one.
    pub(crate) higher_is_better: bool,
    /// The index is the round: the same round of another variant is its pair.
    pub(crate) rounds: Vec<Slice>,
}

/// All that a run measured.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Results {
    /// The machine and the run, as names and values.
    pub(crate) machine: Vec<(String, String)>,
    /// Every measure of every variant.
    pub(crate) series: Vec<Series>,
}
