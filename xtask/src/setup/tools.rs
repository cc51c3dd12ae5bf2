//! The programs that the namespace tests and the benchmark run.
//!
//! Owns the list. netpath itself needs none of them: they are the tests' witnesses, and what
//! netpath is measured against.

use crate::context::which;

/// A program and the Debian package that has it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Tool {
    /// As it is called.
    pub(crate) program: &'static str,
    /// As Debian names it.
    pub(crate) package: &'static str,
}

const TOOLS: [Tool; 12] = [
    Tool {
        program: "ip",
        package: "iproute2",
    },
    Tool {
        program: "nft",
        package: "nftables",
    },
    Tool {
        program: "iptables",
        package: "iptables",
    },
    Tool {
        program: "conntrack",
        package: "conntrack",
    },
    Tool {
        program: "ping",
        package: "iputils-ping",
    },
    Tool {
        program: "bpftool",
        package: "bpftool",
    },
    Tool {
        program: "curl",
        package: "curl",
    },
    Tool {
        program: "ethtool",
        package: "ethtool",
    },
    Tool {
        program: "stun",
        package: "stun-client",
    },
    // Its service is off unless /etc/default/stun says otherwise.
    Tool {
        program: "stund",
        package: "stun-server",
    },
    Tool {
        program: "busybox",
        package: "busybox",
    },
    // It judges the units, and needs no running systemd.
    Tool {
        program: "systemd-analyze",
        package: "systemd",
    },
];

/// Those of them that the benchmark runs.
const BENCH: [&str; 5] = ["ip", "nft", "iptables", "ethtool", "conntrack"];

/// Those that are not installed.
pub(crate) fn missing() -> Vec<Tool> {
    TOOLS
        .into_iter()
        .filter(|tool| which(tool.program).is_none())
        .collect()
}

/// Those that the benchmark runs and that are not installed.
pub(crate) fn missing_for_bench() -> Vec<Tool> {
    let mut missing = missing();
    missing.retain(|tool| BENCH.contains(&tool.program));
    missing
}
