//! `netpath lab`: the whole story of container networking, in namespaces of its own.
//!
//! Owns the order of the steps and the ways in which the lab ends. Each step is a named check with
//! what was expected and what was found. netpath is run in the lab as any user runs it, and no
//! other program is needed. [`netns`], [`links`], [`server`], [`probe`], [`ping`], [`frame`] and
//! [`netfilter`] serve the tests too.

mod cleanup;
mod command;
mod datapath;
mod error;
pub mod frame;
mod interrupt;
pub mod links;
pub mod netfilter;
pub mod netns;
pub mod ping;
pub mod ping6;
pub mod probe;
mod report;
pub mod server;
mod steps_guard;
mod steps_host;
mod steps_network;
mod steps_published;
mod steps_traffic;
mod topology;

use std::io::{self, IsTerminal};

pub use error::Error;
pub use netns::Namespace;
use report::{Finding, Report};
use topology::Lab;

/// Arguments of `netpath lab`.
#[derive(Clone, Copy, Debug, clap::Args)]
pub struct Args {
    /// End after the last check, with the verdict as exit status; also when standard input is no
    /// terminal
    #[arg(long)]
    pub once: bool,
}

type Check = fn(&Lab) -> Result<Finding, Error>;

/// The story.
const STEPS: &[(&str, Check)] = &[
    (
        "the network as `network inspect` shows it",
        steps_network::inspect,
    ),
    (
        "routes, bridge ports and neighbours",
        steps_network::surroundings,
    ),
    ("PINK pings ORANGE", steps_traffic::neighbours_ping),
    ("PINK pings the outside host", steps_traffic::ping_outside),
    (
        "ORANGE opens a TCP connection to the outside host",
        steps_traffic::tcp_out,
    ),
    (
        "published port 8080 from outside",
        steps_published::from_outside,
    ),
    (
        "published port from the host by its address",
        steps_published::from_host,
    ),
    (
        "published port from the host by 127.0.0.1",
        steps_published::from_loopback,
    ),
    (
        "published port from ORANGE",
        steps_published::from_neighbour,
    ),
    (
        "published port from PINK itself",
        steps_published::from_itself,
    ),
    (
        "published UDP port 5353 from outside",
        steps_published::udp_from_outside,
    ),
    (
        "a container's own 127.0.0.1:8080 is untouched",
        steps_published::own_loopback,
    ),
    ("an unpublished port is refused", steps_guard::unpublished),
    (
        "outside cannot address a container directly",
        steps_guard::direct_access,
    ),
    ("ORANGE cannot send as PINK", steps_guard::forged_source),
    ("netfilter has no part in it", steps_host::no_netfilter),
    (
        "no netpath process has a part in it",
        steps_host::no_process,
    ),
    ("counters and drop reasons", steps_host::counters),
    ("without the programs nothing works", steps_host::detached),
    (
        "with the programs attached again everything works",
        steps_host::attached_again,
    ),
];

const PICTURE: &str = "\
netpath lab: container NAT in eBPF, in four network namespaces of its own

  outside             host (netpath-lab-host)              containers
  198.51.100.2 ────── 198.51.100.1 uplink0
                      172.17.0.1   netpath0 ──┬── PINK   172.17.0.2  8080:80, 5353:53/udp
                                              └── ORANGE 172.17.0.3
";

/// Builds the lab, walks through the steps and removes everything; the verdict is the result.
///
/// Stays up in between until Ctrl-C, unless `--once`, `json` or a standard input that is no
/// terminal say otherwise.
///
/// # Errors
/// When the lab cannot be built, another one is running, or a signal ended it before the verdict.
pub fn run(args: Args, json: bool) -> Result<bool, Error> {
    let uid = nix::unistd::geteuid();
    if !uid.is_root() {
        return Err(Error::NotRoot { uid: uid.as_raw() });
    }
    crate::bpf::check_kernel()?;
    interrupt::listen()?;
    let mut report = Report::new(json);
    report.say(PICTURE);
    let lab = Lab::build()?;
    let up = lab.netpath.up()?;
    report.say_all(&up.show(|_| true));

    for (name, check) in STEPS {
        if interrupt::stopped() {
            return Err(Error::Interrupted);
        }
        report.add(name, check(&lab));
    }
    if !args.once && !json && io::stdin().is_terminal() {
        report.finish();
        report.say(&look_around(&lab));
        interrupt::wait();
    }
    report.add(
        "`netpath down --all` leaves nothing",
        steps_host::removed(&lab),
    );
    drop(lab);
    Ok(report.finish())
}

fn look_around(lab: &Lab) -> String {
    let commands = [
        (
            "be in a container",
            "nsenter --net=/run/netns/netpath-lab-pink bash".to_owned(),
        ),
        (
            "ask the published port",
            "nsenter --net=/run/netns/netpath-lab-outside curl http://198.51.100.1:8080".to_owned(),
        ),
        (
            "watch the uplink",
            "nsenter --net=/run/netns/netpath-lab-host tcpdump -ni uplink0".to_owned(),
        ),
        (
            "read the conntrack map",
            "bpftool map dump pinned /sys/fs/bpf/netpath/netpath-lab-host/np_ct4".to_owned(),
        ),
        ("list the flows", lab.netpath.command_line("ct list")),
        (
            "see drops as they happen",
            lab.netpath.command_line("monitor --drops"),
        ),
    ];
    let mut text = "\nThe lab stays up. To look around, as root in another terminal:\n".to_owned();
    for (what, command) in commands {
        text.push_str(&format!("  {what:26}{command}\n"));
    }
    text.push_str("Ctrl-C ends it and removes everything.");
    text
}
