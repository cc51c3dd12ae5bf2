//! One variant in namespaces of its own: outside host, router, container.
//!
//! Owns the topology. Everything in it is as the kernel makes it; what is set differently is set
//! alike for all variants, and listed here.

use std::{fmt::Write as _, net::SocketAddr, path::Path};

use anyhow::{Context as _, Result};
use netpath::lab::Namespace;

use crate::{
    cpu::Cpu,
    family::Family,
    forward::Forward,
    instance::Instance,
    rules,
    schedule::Contestant,
    tool,
    variant::{BRIDGE, CONTAINER_PORT, OUTSIDE_PORT, PORT, Published, UPLINK, Variant},
    workdir::{PREFIX, Workdir},
    worker::Worker,
};

/// Settings of both endpoints.
///
/// A connection that the client closes first leaves its port unusable for a minute, and a few
/// thousand connections a second would use up all ports: with no bucket to wait in, sockets are
/// gone once both sides have closed, and every connection is still closed in full, which costs a
/// translator more than a reset. The streams are long-lived and paused between slices. Nothing is
/// lost on a veth, so that congestion control has nothing to do; reno is the one that every kernel
/// lets a namespace choose, and it does not pace.
pub(crate) const ENDPOINT: [(&str, &str); 3] = [
    ("ipv4/tcp_max_tw_buckets", "0"),
    ("ipv4/tcp_slow_start_after_idle", "0"),
    ("ipv4/tcp_congestion_control", "reno"),
];

/// Settings of the router.
const ROUTER: [(&str, &str); 1] = [("ipv4/ip_forward", "1")];

/// As [`ROUTER`], of IPv6.
const ROUTER6: [(&str, &str); 1] = [("ipv6/conf/all/forwarding", "1")];

/// Settings of everyone with IPv6, before there are interfaces: link-local addresses settle at once.
const EVERYONE6: [(&str, &str); 1] = [("ipv6/conf/default/accept_dad", "0")];

/// Settings of the router that are there where the kernel has the part in question.
///
/// The bridge would call iptables for what it switches: Docker does not ask for that, and it would
/// slow down its rules alone. Closed connections are kept for half a minute rather than two, by
/// netpath too, or a fast machine fills the kernel's table, whose size is the root namespace's.
const ROUTER_OPTIONAL: [(&str, &str); 2] = [
    ("bridge/bridge-nf-call-iptables", "0"),
    ("netfilter/nf_conntrack_tcp_timeout_time_wait", "30"),
];

/// The namespaces, and whatever works in them. Fields go in the order in which they end.
pub(crate) struct Site {
    /// What is measured.
    pub(crate) variant: Variant,
    /// Its ports.
    pub(crate) ports: Published,
    /// Whose packets it gets. Both families have addresses, one has rules.
    pub(crate) family: Family,
    /// A thread of the outside host.
    pub(crate) outside: Worker,
    /// A thread of the container.
    pub(crate) container: Worker,
    _forward: Option<Forward>,
    /// netpath, where it is the variant.
    pub(crate) instance: Option<Instance>,
    /// The router's namespace.
    pub(crate) router_ns: Namespace,
    /// The outside host's.
    pub(crate) outside_ns: Namespace,
    /// The container's.
    pub(crate) container_ns: Namespace,
}

impl Site {
    /// Builds it. `netpath` is the program to measure.
    pub(crate) fn build(
        contestant: Contestant,
        netpath: &Path,
        workdir: &Workdir,
        cpu: &Cpu,
    ) -> Result<Self> {
        Self::assemble(contestant, netpath, workdir, cpu).with_context(|| {
            format!(
                "cannot set up {}{} with {} published ports",
                contestant.variant.name(),
                contestant.family.suffix(),
                contestant.ports.count()
            )
        })
    }

    fn assemble(
        contestant: Contestant,
        netpath: &Path,
        workdir: &Workdir,
        cpu: &Cpu,
    ) -> Result<Self> {
        let Contestant {
            variant,
            ports,
            family,
        } = contestant;
        let six = family.suffix();
        let name = format!("{PREFIX}{}{six}-{}", variant.name(), ports.count());
        let create = |role: &str| Namespace::create(&format!("{name}-{role}"));
        let (router_ns, outside_ns, container_ns) =
            (create("router")?, create("outside")?, create("container")?);
        tool::sysctls(&outside_ns, &ENDPOINT)?;
        tool::sysctls(&container_ns, &ENDPOINT)?;
        tool::sysctls(&router_ns, &ROUTER)?;
        let families: &[Family] = match family {
            Family::V4 => &[Family::V4],
            Family::V6 => &[Family::V4, Family::V6],
        };
        if family == Family::V6 {
            tool::sysctls(&router_ns, &ROUTER6)?;
            for namespace in [&router_ns, &outside_ns, &container_ns] {
                tool::sysctls(namespace, &EVERYONE6)?;
            }
        }
        tool::sysctls_if_there(&router_ns, &ROUTER_OPTIONAL)?;
        ip(&router_ns, &uplink(outside_ns.name(), families))?;
        ip(&outside_ns, &outside(variant, families))?;
        let instance = if variant == Variant::Netpath {
            let directory = workdir.directory(&name)?;
            let up = Instance::up(netpath, directory, &router_ns, &container_ns, ports, family)?;
            Some(up)
        } else {
            ip(&router_ns, &bridge(container_ns.name(), families))?;
            ip(&container_ns, &container(families))?;
            rules::install(&router_ns, variant, ports, family)?;
            None
        };
        for namespace in [&outside_ns, &container_ns] {
            one_by_one(namespace)?;
        }
        let forward = match variant {
            Variant::Forward => Some(Forward::attach(&router_ns, &container_ns)?),
            Variant::Netpath
            | Variant::Legacy
            | Variant::IptablesNft
            | Variant::Nft
            | Variant::None
            | Variant::LegacyAgain => None,
        };
        Ok(Self {
            variant,
            ports,
            family,
            outside: Worker::start(&outside_ns, cpu)?,
            container: Worker::start(&container_ns, cpu)?,
            _forward: forward,
            instance,
            router_ns,
            outside_ns,
            container_ns,
        })
    }

    /// As messages name it.
    pub(crate) fn name(&self) -> String {
        let (name, six) = (self.variant.name(), self.family.suffix());
        format!("{name}{six} ({} ports)", self.ports.count())
    }

    /// Where the outside host finds the container's service.
    pub(crate) fn published(&self) -> SocketAddr {
        if self.variant.translates() {
            SocketAddr::new(self.family.host(), self.ports.measured())
        } else {
            SocketAddr::new(self.family.container(), CONTAINER_PORT)
        }
    }

    /// Where the container finds the outside host's service.
    pub(crate) fn outside_service(&self) -> SocketAddr {
        SocketAddr::new(self.family.outside(), OUTSIDE_PORT)
    }

    /// Turns segmentation offloads of every interface on the way on or off.
    pub(crate) fn offloads(&self, on: bool) -> Result<()> {
        let state = if on { "on" } else { "off" };
        for namespace in [&self.router_ns, &self.outside_ns, &self.container_ns] {
            for interface in interfaces(namespace)? {
                let words = ["-K", &interface, "gso", state, "tso", state, "gro", "off"];
                tool::run(namespace, "ethtool", &words, "")?;
            }
        }
        Ok(())
    }
}

/// Has a sender's device take datagrams one by one: the kernel cuts a burst before it leaves.
pub(crate) fn one_by_one(namespace: &Namespace) -> Result<()> {
    let words = ["-K", "eth0", "tx-udp-segmentation", "off"];
    tool::run(namespace, "ethtool", &words, "").map(drop)
}

/// The interfaces of a namespace but the loopback.
fn interfaces(namespace: &Namespace) -> Result<Vec<String>> {
    let links = namespace.run(netpath::lab::links::links)??;
    let names = links.into_iter().map(|link| link.name);
    Ok(names.filter(|name| name != "lo").collect())
}

/// Runs the lines as commands of `ip`.
fn ip(namespace: &Namespace, lines: &str) -> Result<()> {
    tool::run(namespace, "ip", &["-batch", "-"], lines)?;
    Ok(())
}

/// Adds one line of `ip` for each family.
fn each(lines: &mut String, families: &[Family], line: impl Fn(Family) -> String) {
    for family in families {
        // Writing to a string does not fail.
        let _ = writeln!(lines, "{}", line(*family));
    }
}

fn uplink(outside: &str, families: &[Family]) -> String {
    let mut lines = format!("link add {UPLINK} type veth peer name eth0 netns {outside}\n");
    each(&mut lines, families, |it| {
        format!("addr add {}/{} dev {UPLINK}", it.host(), it.prefixes().1)
    });
    lines += &format!("link set {UPLINK} up\n");
    each(&mut lines, families, |it| {
        format!("route add default via {}", it.outside())
    });
    lines
}

fn outside(variant: Variant, families: &[Family]) -> String {
    let mut lines = String::new();
    for family in families {
        for address in family.outside_all() {
            lines += &format!("addr add {address}/{} dev eth0\n", family.prefixes().1);
        }
    }
    lines += "link set eth0 up\n";
    if !variant.translates() {
        each(&mut lines, families, |it| {
            format!("route add {} via {}", it.subnet(), it.host())
        });
    }
    lines
}

fn bridge(container: &str, families: &[Family]) -> String {
    let mut lines = format!("link add {BRIDGE} type bridge\n");
    each(&mut lines, families, |it| {
        format!("addr add {}/{} dev {BRIDGE}", it.gateway(), it.prefixes().0)
    });
    lines += &format!(
        "link set {BRIDGE} up
link add {PORT} type veth peer name eth0 netns {container}
link set {PORT} master {BRIDGE}
link set {PORT} up
"
    );
    lines
}

fn container(families: &[Family]) -> String {
    let mut lines = String::new();
    each(&mut lines, families, |it| {
        format!("addr add {}/{} dev eth0", it.container(), it.prefixes().0)
    });
    lines += "link set eth0 up\n";
    each(&mut lines, families, |it| {
        format!("route add default via {}", it.gateway())
    });
    lines
}
