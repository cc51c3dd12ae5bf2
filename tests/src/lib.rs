//! What the tests share: namespaces, topologies, probes, waiting and skipping.
//!
//! Owns no test. `prog/` runs the programs on single packets, `netns/` runs netpath in namespaces.

#![expect(
    clippy::unwrap_used,
    clippy::missing_panics_doc,
    reason = "a broken surrounding fails the test that needs it"
)]

pub mod agent;
pub mod at_once;
pub mod binary;
pub mod booted;
pub mod conversation;
pub mod corpus;
pub mod dual_stack;
pub mod flood;
pub mod flows;
pub mod guarded;
pub mod inside;
mod judged;
pub mod killer;
pub mod local;
pub mod multicast;
pub mod netns;
pub mod page;
pub mod probe;
pub mod reachability;
pub mod recover;
pub mod replay;
pub mod runner;
pub mod runner_maps;
pub mod skip;
pub mod sniff;
mod standard_host;
pub mod station;
pub mod stream;
mod sync;
pub mod test_run;
pub mod timing;
pub mod topology;
pub mod tunnel;
pub mod wait;
pub mod ways;
pub mod wire;
