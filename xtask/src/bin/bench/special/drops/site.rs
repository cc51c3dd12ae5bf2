//! One receiver of unwanted packets in namespaces of its own, and what drops them there.
//!
//! Owns the topology (an outside host and a receiving host, joined by a veth pair), what drops, and
//! the count of what was dropped. Everything goes with the namespaces.

use std::{
    fs,
    net::Ipv4Addr,
    os::fd::{AsFd as _, OwnedFd},
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use anyhow::{Context as _, Result, bail};
use netpath::lab::{Namespace, frame::Udp, links};

use super::inject::{self, Injector};

const HOST: Ipv4Addr = Ipv4Addr::new(198, 51, 100, 1);
const OUTSIDE: Ipv4Addr = Ipv4Addr::new(198, 51, 100, 2);
/// An address in the container network that nobody has.
const CONTAINER: Ipv4Addr = Ipv4Addr::new(172, 17, 0, 9);
const SUBNET: &str = "172.17.0.0/16";
const PORT: u16 = 9;
const UPLINK: &str = "uplink0";
/// UDP bytes of a small packet: 64 on the wire with the frame's checksum.
const PAYLOAD: [u8; 18] = [0; 18];

/// What the packets are.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Packets {
    /// UDP to a port of the host that nobody has.
    Unpublished,
    /// UDP to an address of the container network.
    Direct,
}

/// What drops them.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Dropper {
    /// The sender's own device: its other end takes no frames. The cost of making and sending.
    Sender,
    /// An XDP program of two instructions.
    Nothing,
    /// netpath with XDP.
    Xdp,
    /// netpath with tc alone.
    Tc,
    /// One rule of iptables-legacy in raw PREROUTING, in a namespace without any other.
    Raw,
    /// The same once more.
    RawAgain,
}

impl Dropper {
    /// As the results name it.
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Sender => "sender",
            Self::Nothing => "xdp-drop-all",
            Self::Xdp => "netpath-xdp",
            Self::Tc => "netpath-tc",
            Self::Raw => "raw",
            Self::RawAgain => "raw-again",
        }
    }
}

/// A receiver and its sender.
#[derive(Debug)]
pub(super) struct Site {
    /// What drops.
    pub(super) dropper: Dropper,
    /// What is dropped.
    pub(super) packets: Packets,
    injector: Injector,
    frame: Vec<u8>,
    // In the order in which they are to end.
    netpath: Option<Netpath>,
    _program: Option<OwnedFd>,
    outside: Namespace,
    host: Namespace,
}

impl Site {
    /// Builds it. `prefix` begins every name; `directory` is for netpath's files.
    pub(super) fn build(
        prefix: &str,
        directory: &Path,
        netpath: &Path,
        packets: Packets,
        dropper: Dropper,
    ) -> Result<Self> {
        let host = Namespace::create(&format!("{prefix}-host"))?;
        let outside = Namespace::create(&format!("{prefix}-out"))?;
        host.run(|| -> Result<()> {
            links::add_veth(UPLINK, "eth0")?;
            links::move_to("eth0", outside.file().as_fd())?;
            links::add_address(UPLINK, HOST, 24)?;
            links::up(UPLINK)?;
            Ok(())
        })??;
        outside.run(|| -> Result<()> {
            links::add_address("eth0", OUTSIDE, 24)?;
            links::up("eth0")?;
            Ok(())
        })??;
        host.run(|| links::add_route(Ipv4Addr::UNSPECIFIED, 0, OUTSIDE))??;
        let mut site = Self {
            dropper,
            packets,
            injector: outside.run(|| Injector::new(links::index("eth0")?))??,
            frame: frame(&host, &outside, packets)?,
            outside,
            host,
            netpath: None,
            _program: None,
        };
        match dropper {
            Dropper::Sender => {}
            Dropper::Nothing => {
                let program = site
                    .host
                    .run(|| inject::drop_at_once(links::index(UPLINK)?))?;
                site._program = Some(program?);
            }
            Dropper::Xdp | Dropper::Tc => {
                let hook = if dropper == Dropper::Xdp { "xdp" } else { "tc" };
                let instance = Netpath::new(netpath, directory, site.host.name());
                instance.up(hook)?;
                site.netpath = Some(instance);
            }
            Dropper::Raw | Dropper::RawAgain => site.add_rule()?,
        }
        if matches!(dropper, Dropper::Tc | Dropper::Raw | Dropper::RawAgain) {
            // A veth takes frames in its NAPI, as network cards do, where GRO is on or XDP is there.
            site.in_host("ethtool", &["-K", UPLINK, "gro", "on"])?;
        }
        Ok(site)
    }

    fn add_rule(&self) -> Result<()> {
        let port = PORT.to_string();
        let container = CONTAINER.to_string();
        let matching: &[&str] = match self.packets {
            Packets::Unpublished => &["-i", UPLINK, "-p", "udp", "--dport", &port],
            // Docker's own rule for a container's address.
            Packets::Direct => &["-d", &container, "!", "-i", "docker0"],
        };
        let rule = [
            &["-t", "raw", "-A", "PREROUTING"],
            matching,
            &["-j", "DROP"],
        ]
        .concat();
        self.in_host("iptables-legacy", &rule).map(drop)
    }

    /// Sends so many frames; they have been dropped when it returns, but for what ksoftirqd has
    /// left to do. In the calling thread, which stays where it is.
    pub(super) fn send(&self, frames: u32) -> Result<()> {
        self.outside.enter()?;
        self.injector.send(&self.frame, frames)
    }

    /// Frames that were dropped; `None` where nothing counts them.
    pub(super) fn dropped(&self) -> Result<Option<u64>> {
        match self.dropper {
            Dropper::Sender | Dropper::Nothing => Ok(None),
            Dropper::Xdp | Dropper::Tc => match &self.netpath {
                Some(netpath) => netpath.dropped().map(Some),
                None => Ok(None),
            },
            Dropper::Raw | Dropper::RawAgain => {
                let listed = self.in_host(
                    "iptables-legacy",
                    &["-t", "raw", "-L", "PREROUTING", "-v", "-x", "-n"],
                )?;
                let rule = listed.lines().find(|line| line.contains("DROP"));
                let packets = rule.and_then(|r| r.split_whitespace().next());
                Ok(Some(packets.context("the rule is gone")?.parse()?))
            }
        }
    }

    fn in_host(&self, program: &str, arguments: &[&str]) -> Result<String> {
        self.host
            .run(|| run(Command::new(program).args(arguments)))?
    }
}

/// A netpath instance.
#[derive(Debug)]
struct Netpath {
    program: PathBuf,
    directory: PathBuf,
    netns: String,
}

impl Netpath {
    fn new(program: &Path, directory: &Path, netns: &str) -> Self {
        Self {
            program: program.to_owned(),
            directory: directory.join(netns),
            netns: netns.to_owned(),
        }
    }

    fn command(&self) -> Command {
        let mut command = Command::new(&self.program);
        command.args(["--netns", &self.netns, "--state-dir"]);
        command.arg(self.directory.join("state"));
        command
    }

    fn up(&self, hook: &str) -> Result<()> {
        fs::create_dir_all(&self.directory)?;
        let file = self.directory.join("netpath.toml");
        let config = format!(
            "[limits]\nconntrack = 65536\n\n[[network]]\nname = \"n\"\nbridge = \"np0\"\nsubnet = \"{SUBNET}\"\nuplink_hook = \"{hook}\"\n"
        );
        fs::write(&file, config)?;
        run(self.command().args(["up", "-c"]).arg(file)).map(drop)
    }

    fn dropped(&self) -> Result<u64> {
        let status = run(self.command().args(["status", "--json"]))?;
        let status: serde_json::Value = serde_json::from_str(&status)?;
        let drops = status["drops"].as_array().context("status has no drops")?;
        Ok(drops.iter().filter_map(|d| d["packets"].as_u64()).sum())
    }
}

impl Drop for Netpath {
    fn drop(&mut self) {
        if let Err(error) = run(self.command().args(["down", "--all"])) {
            eprintln!("warning: {error:#}");
        }
    }
}

/// The frame that arrives at the host.
fn frame(host: &Namespace, outside: &Namespace, packets: Packets) -> Result<Vec<u8>> {
    let mac = |namespace: &Namespace, name: &str| -> Result<[u8; 6]> {
        let links = namespace.run(links::links)??;
        let link = links.iter().find(|link| link.name == name);
        let mac = link.map(|link| link.mac.clone()).unwrap_or_default();
        <[u8; 6]>::try_from(mac)
            .ok()
            .context("a veth has no MAC address")
    };
    let datagram = Udp {
        from_mac: mac(outside, "eth0")?,
        to_mac: mac(host, UPLINK)?,
        from: (OUTSIDE, 7),
        to: match packets {
            Packets::Unpublished => (HOST, PORT),
            Packets::Direct => (CONTAINER, PORT),
        },
    };
    Ok(datagram.frame(&PAYLOAD))
}

/// Runs a program; what it prints.
fn run(command: &mut Command) -> Result<String> {
    let name = command.get_program().to_string_lossy().into_owned();
    let path = std::env::var("PATH").unwrap_or_default() + ":/usr/sbin:/sbin";
    let done = command
        .env("PATH", path)
        .stdin(Stdio::null())
        .output()
        .with_context(|| format!("cannot run {name}: is it installed?"))?;
    if !done.status.success() {
        bail!(
            "{name} failed: {}",
            String::from_utf8_lossy(&done.stderr).trim()
        );
    }
    Ok(String::from_utf8_lossy(&done.stdout).into_owned())
}
