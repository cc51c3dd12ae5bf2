//! netpath as a contestant: the real program, run as any user runs it.
//!
//! Owns its configuration, its agent, and what it says about itself. Looks into none of its maps.

use std::{
    fmt::Write as _,
    fs,
    os::unix::process::CommandExt as _,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
};

use anyhow::{Context as _, Result};
use netpath::{bpf::Datapath, lab::Namespace};
use nix::sys::{prctl::set_pdeathsig, signal::Signal};
use serde::Deserialize;

use crate::{
    family::Family,
    tool,
    variant::{BRIDGE, CONTAINER, CONTAINER_PORT, Published, SUBNET},
};

/// Flows that the table holds: what the kernel's own connection tracking takes by default.
pub(crate) const CONNTRACK: u32 = 262_144;

/// A running instance; removed when dropped.
pub(crate) struct Instance {
    /// Collects expired flows, as the kernel does for its own table.
    agent: Option<Child>,
    program: String,
    directory: PathBuf,
    router: String,
}

/// What the program tells about its one container.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Told {
    /// Packets that it translated, both ways.
    pub(crate) packets: u64,
    /// Flows that were made.
    pub(crate) flows: u64,
}

impl Instance {
    /// Runs `netpath up` in the router, for one network with one container.
    pub(crate) fn up(
        program: &Path,
        directory: PathBuf,
        router: &Namespace,
        container: &Namespace,
        ports: Published,
        family: Family,
    ) -> Result<Self> {
        let mut instance = Self {
            agent: None,
            program: program
                .to_str()
                .context("the path of netpath is no text")?
                .to_owned(),
            directory,
            router: router.name().to_owned(),
        };
        let file = instance.directory.join("netpath.toml");
        fs::write(&file, config(container.name(), ports, family, CONNTRACK))
            .with_context(|| format!("cannot write {}", file.display()))?;
        let file = file.to_string_lossy().into_owned();
        instance.run(router, &["up", "-c", &file, "--yes"])?;
        instance.start_agent()?;
        Ok(instance)
    }

    /// Starts its agent and returns the process's number.
    pub(crate) fn start_agent(&mut self) -> Result<u32> {
        // Its CPUs are those of this thread: not the one that is measured on.
        let mut agent = Command::new(&self.program);
        agent
            .args([
                "--netns",
                &self.router,
                "--state-dir",
                &self.state(),
                "agent",
            ])
            .env("NETPATH_LOG", "error")
            .stdin(Stdio::null())
            .stdout(Stdio::null());
        // SAFETY: a system call and nothing else happens between fork and exec.
        unsafe {
            // It ends with this thread, the main one, also where that is killed.
            agent.pre_exec(|| Ok(set_pdeathsig(Signal::SIGKILL)?));
        }
        let agent = agent
            .spawn()
            .with_context(|| format!("cannot run {}", self.program))?;
        Ok(self.agent.insert(agent).id())
    }

    /// Ends its agent.
    pub(crate) fn end_agent(&mut self) {
        if let Some(mut agent) = self.agent.take() {
            // It leaves nothing half-done: the datapath needs no agent. One that has ended by
            // itself cannot be killed.
            let _ = agent.kill();
            let _ = agent.wait();
        }
    }

    fn state(&self) -> String {
        self.directory.join("state").to_string_lossy().into_owned()
    }

    /// Runs one of its commands and returns what it printed.
    pub(crate) fn run(&self, router: &Namespace, arguments: &[&str]) -> Result<String> {
        let state = self.state();
        let mut words = vec!["--netns", &self.router, "--state-dir", &state];
        words.extend(arguments);
        tool::run(router, &self.program, &words, "")
    }

    /// Reads what it tells about its container.
    pub(crate) fn told(&self, router: &Namespace) -> Result<Told> {
        let json = self.run(router, &["--json", "status"])?;
        let status: Status =
            serde_json::from_str(&json).context("cannot read `netpath --json status`")?;
        let count = |sum: Told, it: &Endpoint| Told {
            packets: sum.packets + it.tx_packets + it.rx_packets,
            flows: sum.flows + it.flows,
        };
        Ok(status.endpoints.iter().fold(Told::default(), count))
    }
}

impl Drop for Instance {
    fn drop(&mut self) {
        self.end_agent();
        for error in Datapath::remove(&self.router).err().into_iter().flatten() {
            eprintln!("warning: {}: {error}", self.router);
        }
    }
}

#[derive(Deserialize)]
struct Status {
    endpoints: Vec<Endpoint>,
}

#[derive(Deserialize)]
struct Endpoint {
    tx_packets: u64,
    rx_packets: u64,
    flows: u64,
}

/// The configuration, with the ports in the order of the peers' rules, for a table of this many
/// flows.
pub(crate) fn config(container: &str, ports: Published, family: Family, flows: u32) -> String {
    let (ipv6, ip6) = match family {
        Family::V4 => (String::new(), String::new()),
        Family::V6 => (
            format!("ipv6 = \"{}\"\n", family.subnet()),
            format!("ip6 = \"{}\"\n", family.container()),
        ),
    };
    let measured = ports.measured();
    let mut publish = format!("\"{measured}:{CONTAINER_PORT}/udp\"");
    // Each by itself, as the peers have a rule for each: a range would be one entry.
    for port in ports.others() {
        let _ = write!(publish, ", \"{port}:{port}\"");
    }
    let _ = write!(publish, ", \"{measured}:{CONTAINER_PORT}\"");
    format!(
        "[limits]
conntrack = {flows}

[timeouts]
tcp_time_wait = \"30s\"

[[network]]
name = \"bridge\"
bridge = \"{BRIDGE}\"
subnet = \"{SUBNET}\"
{ipv6}
[[network.endpoint]]
name = \"c\"
netns = \"{container}\"
ip = \"{CONTAINER}\"
{ip6}publish = [{publish}]
"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_port_and_many_are_published() {
        let one = config("c", Published::new(1), Family::V4, CONNTRACK);
        assert!(
            one.contains("publish = [\"8080:80/udp\", \"8080:80\"]"),
            "{one}"
        );
        let many = config("c", Published::new(100), Family::V4, CONNTRACK);
        for part in [
            "publish = [\"10099:80/udp\", \"10000:10000\", ",
            ", \"10098:10098\", \"10099:80\"]",
        ] {
            assert!(many.contains(part), "{part}: {many}");
        }
        assert_eq!(many.matches("\"10").count(), 101, "{many}");
    }
}
