//! What netpath has to reach.
//!
//! Owns the targets as data. Whether a run meets them is `judge`'s business.

/// Rounds that a comparison needs, and a time.
pub(crate) const ROUNDS: usize = 40;

/// Rounds that suffice where each works through a million flows.
const FEW: usize = 3;

/// One series of a run, by its names.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Key {
    /// The series' measure.
    pub(crate) measure: &'static str,
    /// Its published ports.
    pub(crate) ports: u32,
    /// Its variant.
    pub(crate) variant: &'static str,
}

/// What is asked for.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Goal {
    /// One series has to be at least this many times as good as another.
    Ratio {
        /// The series that is judged.
        subject: Key,
        /// What it is compared with, round by round.
        baseline: Key,
        /// The ratio to reach.
        least: f64,
    },
    /// A ratio has to be at least this part of another one of the same rounds.
    Ratios {
        /// The ratio that is judged: series and baseline.
        subject: (Key, Key),
        /// What it is compared with: series and baseline.
        other: (Key, Key),
        /// The part to reach.
        least: f64,
    },
    /// A value has to stay below a bound in the unit of its series.
    Value {
        /// The series that is judged.
        subject: Key,
        /// The bound.
        most: f64,
        /// Its unit, as the series has it.
        unit: &'static str,
        /// The rounds that it needs: fewer where each takes seconds.
        rounds: usize,
    },
    /// Another command measures it.
    Elsewhere {
        /// What has to be reached there.
        goal: &'static str,
        /// The command.
        command: &'static str,
    },
}

/// One target.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Target {
    /// What netpath is compared with.
    pub(crate) against: &'static str,
    /// What is measured, for people.
    pub(crate) what: &'static str,
    /// What has to be reached.
    pub(crate) goal: Goal,
}

const LEGACY: &str = "legacy";
const NFT: &str = "nft";
const FORWARD: &str = "forward";
const REPLAY: &str = "cargo xtask replay --bench";

/// Every target, in the order of the report.
pub(crate) const TARGETS: &[Target] = &[
    over(LEGACY, "UDP packets in", "udp_in", 1, 1.8),
    over(LEGACY, "UDP packets out", "udp_out", 1, 1.5),
    over(LEGACY, "TCP request/response in", "rr_in", 1, 1.25),
    over(LEGACY, "TCP request/response out", "rr_out", 1, 1.25),
    over(LEGACY, "new connections in", "crr_in", 1, 1.3),
    over(LEGACY, "new connections out", "crr_out", 1, 1.3),
    over(
        LEGACY,
        "new connections in, 10,000 ports",
        "crr_in",
        10_000,
        7.0,
    ),
    over(
        LEGACY,
        "bulk TCP in, one segment a packet",
        "bulk_in",
        1,
        1.6,
    ),
    over(
        LEGACY,
        "bulk TCP out, one segment a packet",
        "bulk_out",
        1,
        1.6,
    ),
    over(NFT, "UDP packets in", "udp_in", 1, 1.7),
    over(NFT, "new connections in", "crr_in", 1, 1.2),
    over(NFT, "new connections out", "crr_out", 1, 1.2),
    over(FORWARD, "UDP packets in, first goal", "udp_in", 1, 0.93),
    over(FORWARD, "UDP packets out, first goal", "udp_out", 1, 0.93),
    over(
        FORWARD,
        "TCP request/response in, first goal",
        "rr_in",
        1,
        0.93,
    ),
    over(
        FORWARD,
        "TCP request/response out, first goal",
        "rr_out",
        1,
        0.93,
    ),
    over(FORWARD, "UDP packets in, second goal", "udp_in", 1, 0.97),
    over(FORWARD, "UDP packets out, second goal", "udp_out", 1, 0.97),
    over(
        FORWARD,
        "TCP request/response in, second goal",
        "rr_in",
        1,
        0.97,
    ),
    over(
        FORWARD,
        "TCP request/response out, second goal",
        "rr_out",
        1,
        0.97,
    ),
    Target {
        against: "netpath",
        what: "new connections in, 10,000 ports over 1",
        goal: Goal::Ratio {
            subject: key("crr_in", 10_000, "netpath"),
            baseline: key("crr_in", 1, "netpath"),
            least: 0.92,
        },
    },
    six("UDP packets in", "udp_in6", "udp_in"),
    six("UDP packets out", "udp_out6", "udp_out"),
    six("TCP request/response in", "rr_in6", "rr_in"),
    six("TCP request/response out", "rr_out6", "rr_out"),
    six("new connections in", "crr_in6", "crr_in"),
    six("new connections out", "crr_out6", "crr_out"),
    six("bulk TCP in", "bulk_in6", "bulk_in"),
    six("bulk TCP out", "bulk_out6", "bulk_out"),
    elsewhere("program time, 10,000 ports over 1", "60 ns more at most"),
    elsewhere("program time, established packet, IPv4", "160 ns at most"),
    elsewhere("program time, established packet, IPv6", "200 ns at most"),
    Target {
        against: "not loaded",
        what: "the host's own traffic, TCP request/response",
        goal: Goal::Ratio {
            subject: key("host_rr", 1, "netpath"),
            baseline: key("host_rr", 1, "none"),
            least: 0.97,
        },
    },
    Target {
        against: "raw DROP",
        what: "a flood's packet dropped by XDP",
        goal: Goal::Ratio {
            subject: key("drop_unpublished", 1, "netpath-xdp"),
            baseline: key("drop_unpublished", 1, "raw"),
            least: 5.0,
        },
    },
    below(
        "map update, 10,000 ports",
        "install_map",
        10_000,
        50.0,
        "ms",
        ROUNDS,
    ),
    below(
        "the whole `up`, 10,000 ports",
        "install",
        10_000,
        1_000.0,
        "ms",
        ROUNDS,
    ),
    below(
        "map update, one more at 10,000 ports",
        "install_one_more_map",
        10_000,
        1.0,
        "ms",
        ROUNDS,
    ),
    below(
        "a million expired flows collected",
        "collect_agent",
        1,
        60.0,
        "s",
        FEW,
    ),
    below(
        "longest step of the collector",
        "collect_step",
        1,
        10.0,
        "ms",
        FEW,
    ),
    below(
        "the agent with a million flows",
        "agent_rss",
        1,
        20.0,
        "MiB",
        FEW,
    ),
];

const fn key(measure: &'static str, ports: u32, variant: &'static str) -> Key {
    Key {
        measure,
        ports,
        variant,
    }
}

/// netpath over another variant, both with as many ports.
const fn over(
    against: &'static str,
    what: &'static str,
    measure: &'static str,
    ports: u32,
    least: f64,
) -> Target {
    Target {
        against,
        what,
        goal: Goal::Ratio {
            subject: key(measure, ports, "netpath"),
            baseline: key(measure, ports, against),
            least,
        },
    }
}

/// How netpath does over iptables-legacy with IPv6, beside how it does with IPv4.
const fn six(what: &'static str, measure: &'static str, four: &'static str) -> Target {
    Target {
        against: "IPv4's ratio",
        what,
        goal: Goal::Ratios {
            subject: (key(measure, 1, "netpath"), key(measure, 1, LEGACY)),
            other: (key(four, 1, "netpath"), key(four, 1, LEGACY)),
            least: 0.95,
        },
    }
}

/// A time or size of netpath.
const fn below(
    what: &'static str,
    measure: &'static str,
    ports: u32,
    most: f64,
    unit: &'static str,
    rounds: usize,
) -> Target {
    Target {
        against: "the clock",
        what,
        goal: Goal::Value {
            subject: key(measure, ports, "netpath"),
            most,
            unit,
            rounds,
        },
    }
}

const fn elsewhere(what: &'static str, goal: &'static str) -> Target {
    Target {
        against: "an empty program",
        what,
        goal: Goal::Elsewhere {
            goal,
            command: REPLAY,
        },
    }
}
