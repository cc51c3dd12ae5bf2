//! The two engines under comparison: the kernel's NAT by Docker's rules, and netpath.
//!
//! Owns how each is set up, emptied and made older.

use std::{
    cell::{Cell, RefCell},
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

use crate::{conntrack::Conntrack, site::CONTAINERS};

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

/// Longer than any lifetime, and 1 less than a multiple of ten.
const AGES: u32 = 500_009;
/// What is over still takes its place in the table until it is removed, which takes 40 ms.
const RESETS_WITHOUT_FLUSH: u32 = 100;

/// What Docker 28 sets up for two bridge networks without userland proxy, in nftables' words, and
/// without what has no effect here. Three chains of it are in one where the order stays.
///
/// `raw` drops direct access to published containers (moby/moby, `daemon/libnetwork/drivers/bridge`).
const RULES: &str = r#"
table ip raw {
  chain PREROUTING {
    type filter hook prerouting priority -300; policy accept;
    ip daddr 172.17.0.2 iifname != "net0" drop
  }
}
table ip nat {
  chain DOCKER {
    tcp dport 8080 dnat to 172.17.0.2:80
    udp dport 5353 dnat to 172.17.0.2:53
  }
  chain PREROUTING {
    type nat hook prerouting priority -100; policy accept;
    fib daddr type local jump DOCKER
  }
  chain POSTROUTING {
    type nat hook postrouting priority 100; policy accept;
    ip saddr 172.17.0.0/16 oifname != "net0" masquerade
    ip saddr 172.18.0.0/16 oifname != "net1" masquerade
    ip saddr 172.17.0.2 ip daddr 172.17.0.2 tcp dport 80 masquerade
    ip saddr 172.17.0.2 ip daddr 172.17.0.2 udp dport 53 masquerade
  }
}
table ip filter {
  chain FORWARD {
    type filter hook forward priority 0; policy drop;
    oifname { "net0", "net1" } ct state related,established accept
    iifname != "net0" oifname "net0" ip daddr 172.17.0.2 tcp dport 80 accept
    iifname != "net0" oifname "net0" ip daddr 172.17.0.2 udp dport 53 accept
    iifname != "net0" oifname "net0" drop
    iifname != "net1" oifname "net1" drop
    iifname { "net0", "net1" } accept
  }
}
"#;

/// Windows are not checked by either, and a reset is judged by its number alone; see
/// `docs/differences.md`.
const LIBERAL: &str = "net/netfilter/nf_conntrack_tcp_be_liberal";

pub(crate) fn kernel(world: &World) -> Engine {
    for (bridge, gateway) in [("net0", "172.17.0.1/16"), ("net1", "172.18.0.1/16")] {
        let ip = |words: &[&str]| stdout(&world.host, "ip", words);
        ip(&[
            "link",
            "add",
            bridge,
            "type",
            "bridge",
            "mcast_snooping",
            "0",
        ]);
        ip(&["address", "add", gateway, "dev", bridge]);
        ip(&["link", "set", bridge, "up"]);
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
        ip(&["link", "set", &name, "master", c.bridge, "up"]);
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
    let output = command(&world.host, "nft", &[RULES]);
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
pub(crate) fn netpath(world: &World) -> Engine {
    let mut config = "\n[timeouts]\nudp_stream = \"30s\"\n".to_owned();
    for (name, bridge, subnet) in [
        ("bridge", "net0", "172.17.0.0/16"),
        ("other", "net1", "172.18.0.0/16"),
    ] {
        config += &world.network(name, bridge, subnet, "");
        for c in CONTAINERS.iter().filter(|c| c.bridge == bridge) {
            let publish: &[&str] = if c.name == "a" {
                &["8080:80", "5353:53/udp"]
            } else {
                &[]
            };
            config += &world.endpoint(c.name, c.addr.into(), publish);
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
        // The datapath looks at its clock once a tick, and the coarse clock moves on with that.
        let coarse = || clock_gettime(ClockId::CLOCK_MONOTONIC_COARSE).unwrap();
        let before = coarse();
        while coarse() == before {
            std::hint::spin_loop();
        }
    }
}
