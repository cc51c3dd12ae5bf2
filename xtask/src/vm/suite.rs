//! The test programs that run inside the machine.
//!
//! Owns which ones there are, which of their tests run, and the command lines.

/// A test program and the choice of its tests.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Suite {
    /// As its target is called.
    pub(crate) name: &'static str,
    /// What the names of its tests contain, any of these; all of them where nothing is named.
    chosen: &'static [&'static str],
    /// What the names of the others contain; without a filter only.
    left_out: &'static [&'static str],
    /// Further words, for its harness.
    arguments: &'static str,
}

/// All of them, in the order in which they run.
pub(crate) const SUITES: [Suite; 3] = [
    Suite {
        name: "prog",
        chosen: &[],
        // It measures times, which say nothing on an emulated machine.
        left_out: &["timing::"],
        arguments: "",
    },
    Suite {
        name: "netns",
        // What depends most on the kernel, and little on its speed: the hooks at the host's sockets, the
        // kinds of devices, and the protocols that meet the kernel's own here.
        chosen: &[
            "drivers::",
            "host::",
            "host_bind::",
            "host_lo::",
            "host_six::",
            "other_protocol::",
            "other_interface::",
            "uplink_kinds::",
            "vlan::",
        ],
        // One of the choice is part of their names; the page needs programs that the machine has not.
        left_out: &["ipv6_host::", "study::"],
        arguments: " --test-threads=2",
    },
    Suite {
        name: "vm",
        chosen: &[],
        left_out: &[],
        arguments: " --test-threads=2",
    },
];

impl Suite {
    /// The shell's command. A filter takes the place of the choice, over every test of the program.
    pub(crate) fn command(self, filter: Option<&str>) -> String {
        let mut words = String::new();
        match filter.map(|filter| filter.replace('\'', "")) {
            Some(filter) => words.push_str(&format!(" '{filter}'")),
            None => {
                for chosen in self.chosen {
                    words.push_str(&format!(" '{chosen}'"));
                }
                for out in self.left_out {
                    words.push_str(&format!(" --skip '{out}'"));
                }
            }
        }
        format!("{}{words}{}", self.name, self.arguments)
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    #[test]
    fn what_is_chosen_is_there() {
        let tests = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests");
        for suite in SUITES {
            assert!(tests.join(suite.name).join("main.rs").is_file());
            for chosen in suite.chosen.iter().chain(suite.left_out) {
                let module = chosen.strip_suffix("::").unwrap();
                let module = tests.join(suite.name).join(module);
                let is_there = module.is_dir() || module.with_extension("rs").is_file();
                assert!(is_there, "{}", module.display());
            }
        }
    }

    #[test]
    fn a_filter_takes_the_place_of_the_choice() {
        let [prog, netns, _] = SUITES;
        assert_eq!(prog.command(None), "prog --skip 'timing::'");
        assert_eq!(prog.command(Some("timing")), "prog 'timing'");
        assert!(
            netns
                .command(None)
                .starts_with("netns 'drivers::' 'host::' ")
        );
        assert_eq!(netns.command(Some("it's")), "netns 'its' --test-threads=2");
    }
}
