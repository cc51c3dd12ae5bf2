//! The two engines under comparison: the kernel's NAT by Docker's rules, and netpath.
//!
//! Owns how each is set up, emptied and made older.

use std::{
    cell::{Cell, RefCell},
    net::IpAddr,
    time::Duration,
};

use aya::maps::{Array, Map, MapData};
use netpath::{
    bpf::Datapath,
    ct::{Filter, flush},
};
use netpath_common::{maps, records::Config};
use netpath_tests::{
    netns::{command, stdout, within},
    topology::World,
};
use nix::time::{ClockId, clock_gettime};

use crate::{
    address::{FAMILIES, Family, Who},
    conntrack::Conntrack,
    site::{CONTAINERS, NETWORKS},
};

/// How the second network leaves; the first one is masqueraded.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Mode {
    Nat,
    /// Its containers' own addresses are known outside, with TCP 80, UDP 53 and ICMP open.
    Routed,
}

/// An engine at work.
pub(crate) enum Engine {
    Kernel(RefCell<Conntrack>),
    Netpath(Box<Netpath>),
}

/// netpath's tables.
pub(crate) struct Netpath {
    datapath: Datapath,
    config: RefCell<Array<MapData, Config>>,
    resets: Cell<u32>,
}

/// Longer than any lifetime, seconds.
const AGES: u32 = 500_000;
/// What is over still takes its place in the table until it is removed, which takes 40 ms.
const RESETS_WITHOUT_FLUSH: u32 = 100;

/// What Docker 28 sets up for two bridge networks without userland proxy, in nftables' words, and
/// without what has no effect here. Three chains of it are in one where the order stays. Its chains
/// against traffic between networks (`DOCKER-ISOLATION-STAGE-1` and `-2`) are left out: they would drop
/// all that could be compared there.
///
/// `raw` drops direct access to published containers (moby/moby, `daemon/libnetwork/drivers/bridge`).
/// Once for each family, with its name and addresses instead of what is in angle brackets.
const RULES: &str = r#"
table <ip> raw {
  chain PREROUTING {
    type filter hook prerouting priority -300; policy accept;
    <ip> daddr <a> iifname != "net0" drop
  }
}
table <ip> nat {
  chain DOCKER {
    tcp dport 8080 dnat to <[a]>:80
    udp dport 5353 dnat to <[a]>:53
  }
  chain PREROUTING {
    type nat hook prerouting priority -100; policy accept;
    fib daddr type local jump DOCKER
  }
  chain POSTROUTING {
    type nat hook postrouting priority 100; policy accept;
    <ip> saddr <net0> oifname != "net0" masquerade
    <ip> saddr <net1> oifname != "net1" masquerade
    <ip> saddr <a> <ip> daddr <a> tcp dport 80 masquerade
    <ip> saddr <a> <ip> daddr <a> udp dport 53 masquerade
  }
}
table <ip> filter {
  chain FORWARD {
    type filter hook forward priority 0; policy drop;
    oifname { "net0", "net1" } ct state related,established accept
    iifname != "net0" oifname "net0" <ip> daddr <a> tcp dport 80 accept
    iifname != "net0" oifname "net0" <ip> daddr <a> udp dport 53 accept
    iifname != "net0" oifname "net0" drop
    iifname != "net1" oifname "net1" drop
    iifname { "net0", "net1" } accept
  }
}
"#;

/// The same, where the second network is routed: `gateway_mode` of Docker.
const ROUTED: [(&str, &str); 2] = [
    ("    <ip> saddr <net1> oifname != \"net1\" masquerade\n", ""),
    (
        "    iifname != \"net1\" oifname \"net1\" drop\n",
        "    iifname != \"net1\" oifname \"net1\" <ip> daddr <c> tcp dport 80 accept
    iifname != \"net1\" oifname \"net1\" <ip> daddr <c> udp dport 53 accept
    iifname != \"net1\" oifname \"net1\" meta l4proto <icmp> accept
    iifname != \"net1\" oifname \"net1\" drop\n",
    ),
];

fn rules(family: Family, mode: Mode) -> String {
    let a = Who::Container(0).addr(family).to_string();
    let (ip, port_of) = match family {
        Family::V4 => ("ip", a.clone()),
        Family::V6 => ("ip6", format!("[{a}]")),
    };
    let [net0, net1] = NETWORKS.map(|network| network.subnet(family));
    let c = Who::Container(2).addr(family).to_string();
    let icmp = match family {
        Family::V4 => "icmp",
        Family::V6 => "ipv6-icmp",
    };
    let words = [
        ("<c>", c.as_str()),
        ("<icmp>", icmp),
        ("<ip>", ip),
        ("<a>", &a),
        ("<[a]>", &port_of),
        ("<net0>", net0),
        ("<net1>", net1),
    ];
    let put = |rules: String, (name, word): &(&str, &str)| rules.replace(name, word);
    let routed: &[_] = match mode {
        Mode::Nat => &[],
        Mode::Routed => &ROUTED,
    };
    routed.iter().chain(&words).fold(RULES.to_owned(), put)
}

/// Windows are not checked by either, and a reset is judged by its number alone; see
/// `docs/differences.md`.
const LIBERAL: &str = "net/netfilter/nf_conntrack_tcp_be_liberal";

pub(crate) fn kernel(world: &World, mode: Mode) -> Engine {
    for (n, network) in NETWORKS.iter().enumerate() {
        let ip = |words: &[&str]| stdout(&world.host, "ip", words);
        let link = ["type", "bridge", "mcast_snooping", "0"];
        ip(&[&["link", "add", network.bridge][..], &link].concat());
        for family in FAMILIES {
            let (_, prefix) = network.subnet(family).split_once('/').unwrap();
            let gateway = format!("{}/{prefix}", Who::Gateway(n).addr(family));
            let to = ["dev", network.bridge];
            let nodad: &[&str] = match family {
                Family::V4 => &[],
                Family::V6 => &["nodad"],
            };
            ip(&[&["address", "add", &gateway][..], &to, nodad].concat());
        }
        ip(&["link", "set", network.bridge, "up"]);
    }
    for c in &CONTAINERS {
        let space = world.container(c.name);
        let name = format!("veth-{}", c.name);
        let ip = |words: &[&str]| stdout(&world.host, "ip", words);
        let pair = [
            "type",
            "veth",
            "peer",
            "name",
            "eth0",
            "netns",
            space.name(),
        ];
        ip(&[&["link", "add", &name][..], &pair[..]].concat());
        // A bridge's port speaks for nobody.
        let key = format!("net/ipv6/conf/{name}/disable_ipv6");
        within(&world.host, || {
            netpath::net::sysctl::write(&key, "1").unwrap();
        });
        ip(&["link", "set", &name, "master", c.bridge(), "up"]);
        ip(&[
            "link",
            "set",
            &name,
            "type",
            "bridge_slave",
            "hairpin",
            "on",
        ]);
        stdout(space, "ip", &["link", "set", "eth0", "up"]);
    }
    let output = command(
        &world.host,
        "nft",
        &[&FAMILIES.map(|family| rules(family, mode)).concat()],
    );
    assert!(
        output.status.success(),
        "nft: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    within(&world.host, || {
        netpath::net::sysctl::write(LIBERAL, "1").unwrap();
    });
    Engine::Kernel(RefCell::new(Conntrack::open(&world.host)))
}

/// Streams of UDP live as long as a single question: the kernel's test for a stream takes two
/// seconds of its own clock, which the test does not turn on.
pub(crate) fn netpath(world: &World, mode: Mode) -> Engine {
    let mut config = "\n[timeouts]\nudp_stream = \"30s\"\n".to_owned();
    let modes = [Mode::Nat, mode];
    for ((name, network), mode) in ["bridge", "other"].iter().zip(&NETWORKS).zip(modes) {
        let word = match mode {
            Mode::Nat => "nat",
            Mode::Routed => "routed",
        };
        let v6 = network.subnet(Family::V6);
        let six = format!("ipv6 = \"{v6}\"\nmode = \"{word}\"");
        let subnet = network.subnet(Family::V4);
        config += &world.network(name, network.bridge, subnet, &six);
        for (n, c) in CONTAINERS.iter().enumerate() {
            let publish: &[&str] = match (n, mode) {
                (0, _) => &["8080:80", "5353:53/udp"],
                (2, Mode::Routed) => &["80:80", "53:53/udp"],
                _ => &[],
            };
            let [IpAddr::V4(four), IpAddr::V6(six)] =
                FAMILIES.map(|family| Who::Container(n).addr(family))
            else {
                panic!("an address of each family");
            };
            if c.bridge() == network.bridge {
                config += &world.endpoint6(c.name, four, six, publish);
            }
        }
    }
    world.up(&config);
    let datapath = within(&world.host, || {
        Datapath::open(world.instance()).unwrap().unwrap()
    });
    let map = MapData::from_pin(world.pins().join(maps::CONFIG)).unwrap();
    let config = Array::try_from(Map::from_map_data(map).unwrap()).unwrap();
    Engine::Netpath(Box::new(Netpath {
        datapath,
        config: RefCell::new(config),
        resets: Cell::new(0),
    }))
}

impl Engine {
    /// Forgets every flow.
    pub(crate) fn reset(&self) {
        match self {
            Self::Kernel(conntrack) => conntrack.borrow_mut().flush(),
            Self::Netpath(netpath) => netpath.reset(),
        }
    }

    /// Lets time pass.
    pub(crate) fn age(&self, seconds: u32) {
        match self {
            Self::Kernel(conntrack) => {
                conntrack.borrow_mut().age(seconds);
            }
            Self::Netpath(netpath) => netpath.advance(seconds),
        }
    }
}

impl Netpath {
    /// Flows that are over are none to the datapath, and fragments that wait are forgotten.
    fn reset(&self) {
        self.advance(AGES);
        let resets = self.resets.get() + 1;
        self.resets.set(resets);
        if resets.is_multiple_of(RESETS_WITHOUT_FLUSH) {
            flush(&self.datapath, &Filter::default()).unwrap();
        }
    }

    fn advance(&self, seconds: u32) {
        let mut table = self.config.borrow_mut();
        let mut config = table.get(&0, 0).unwrap();
        config.clock_offset_ns += Duration::from_secs(seconds.into()).as_nanos() as u64;
        table.set(0, config, 0).unwrap();
        // The datapath looks at its clock once a tick.
        tick();
    }
}

/// Waits for the next tick of the kernel, with which the coarse clock moves on.
pub(crate) fn tick() {
    let coarse = || clock_gettime(ClockId::CLOCK_MONOTONIC_COARSE).unwrap();
    let before = coarse();
    while coarse() == before {
        std::hint::spin_loop();
    }
}
