//! The layers of tests: which programs each has, and in which passes they run.
//!
//! Owns the choice of tests that run alone. How a pass is run is [`super`]'s.

use clap::ValueEnum;

/// A layer of tests.
#[derive(Clone, Copy, Eq, PartialEq, ValueEnum)]
pub(super) enum Layer {
    /// Logic compiled for the host. Needs no root.
    Unit,
    /// The eBPF programs by BPF_PROG_TEST_RUN. Needs root.
    Prog,
    /// Real sockets and real programs across network namespaces. Needs root.
    Netns,
    /// The same packets through the kernel's NAT and netpath. Needs root.
    Differential,
}

/// Namespace tests wait for most of their time, so two share it; not more, for they have deadlines.
const AT_ONCE: &str = "--test-threads=2";

/// Modules of namespace tests that run by themselves: they fill the machine's processors or memory, or
/// count what it does in a time.
const ALONE: [&str; 10] = [
    "big_tcp::",
    "bulk::",
    "collector::",
    "flood::",
    "killed::",
    "many::",
    "reachability::",
    "scale::",
    "shaping::",
    "systemd::",
];

impl Layer {
    pub(super) const ALL: [Self; 4] = [Self::Unit, Self::Prog, Self::Netns, Self::Differential];

    /// The words after `cargo test`.
    pub(super) fn packages(self) -> &'static [&'static str] {
        match self {
            Self::Unit => &[
                "--package=netpath-common",
                "--package=netpath",
                "--package=xtask",
                "--features=netpath-common/testing,xtask/verifier,xtask/bench,xtask/replay",
            ],
            // With the tests of what the program tests share.
            Self::Prog => &["--package=netpath-tests", "--lib", "--test=prog"],
            Self::Netns => &["--package=netpath-tests", "--test=netns"],
            Self::Differential => &["--package=netpath-tests", "--test=differential"],
        }
    }

    /// The passes in which the test programs run, each with the words for them.
    pub(super) fn passes(self, filter: Option<&str>) -> Vec<Vec<String>> {
        let own = |words: &[&str]| words.iter().map(|w| (*w).to_owned()).collect::<Vec<_>>();
        let alone = "--test-threads=1";
        match (self, filter) {
            (Self::Unit | Self::Prog, filter) => {
                vec![filter.into_iter().map(str::to_owned).collect()]
            }
            (Self::Netns, None) => {
                let others = ALONE.iter().flat_map(|name| ["--skip", name]);
                let others: Vec<_> = others.chain([AT_ONCE]).collect();
                let alone: Vec<_> = ALONE.iter().copied().chain([alone]).collect();
                vec![own(&others), own(&alone)]
            }
            // Each differential test stays on one processor; two there would take each other's time.
            (Self::Netns | Self::Differential, filter) => {
                let words: Vec<_> = filter.into_iter().chain([alone]).collect();
                vec![own(&words)]
            }
        }
    }

    pub(super) fn title(self) -> &'static str {
        match self {
            Self::Unit => "unit tests",
            Self::Prog => "program tests",
            Self::Netns => "namespace tests",
            Self::Differential => "differential tests",
        }
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    #[test]
    fn what_runs_alone_is_there() {
        let tests = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/netns");
        for name in ALONE {
            let module = tests.join(name.strip_suffix("::").unwrap());
            let is_there = module.is_dir() || module.with_extension("rs").is_file();
            assert!(is_there, "{}", module.display());
        }
    }

    #[test]
    fn every_namespace_test_is_in_one_pass() {
        let [others, alone] = <[_; 2]>::try_from(Layer::Netns.passes(None)).unwrap();
        let skipped: Vec<_> = others.iter().filter(|w| w.ends_with("::")).collect();
        let chosen: Vec<_> = alone.iter().filter(|w| w.ends_with("::")).collect();
        assert_eq!(skipped, chosen);
        assert_eq!(
            others.iter().filter(|w| *w == "--skip").count(),
            ALONE.len()
        );
        assert_eq!(
            Layer::Netns.passes(Some("vlan")),
            [["vlan", "--test-threads=1"]]
        );
    }
}
