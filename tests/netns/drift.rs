//! What is changed by hand behind netpath's back: `status` names it, `up` repairs it and then leaves it.

use std::{fs, process::Command};

use netpath::bpf::Datapath;
use netpath_common::{V4, records::PublishedKey};
use netpath_tests::{
    dual_stack::{A6, GATEWAY6},
    netns::{stdout, within},
    probe::{SOON, at, pings, tcp, tcp_server},
    topology::{A, HOST, OUTSIDE, World, succeeded},
};
use serde_json::Value;

const MTU: &str = "mtu = 1400\nicc = false";

fn world() -> (World, String) {
    let world = World::dual_stack(&["a", "b"]);
    let config = world.dual_stack_config(&["a", "b"], &["8080:80"], MTU);
    world.up(&config);
    (world, config)
}

fn status(world: &World) -> Value {
    serde_json::from_str(&world.run(&["--json", "status"])).unwrap()
}

/// The drift, as `OBJECT: WHAT` each.
pub(crate) fn drift(world: &World) -> Vec<String> {
    let status = status(world);
    let all = status["drift"].as_array().unwrap().iter();
    all.map(|d| {
        format!(
            "{}: {}",
            d["object"].as_str().unwrap(),
            d["found"].as_str().unwrap()
        )
    })
    .collect()
}

fn ip(world: &World, arguments: &str) -> String {
    let arguments: Vec<_> = arguments.split(' ').collect();
    stdout(&world.host, "ip", &arguments)
}

/// The host's interface of an endpoint.
pub(crate) fn interface(world: &World, endpoint: &str) -> String {
    let all: Value = serde_json::from_str(&world.run(&["--json", "endpoint", "ls"])).unwrap();
    let all = all.as_array().unwrap().iter();
    let e = all.clone().find(|e| e["name"] == endpoint).unwrap();
    e["interface"].as_str().unwrap().to_owned()
}

fn works(world: &World) {
    let _server = tcp_server(world.container("a"), "a", 80);
    assert!(tcp(&world.outside, at(HOST, 8080)).is_from("a", OUTSIDE));
    for name in ["a", "b"] {
        assert!(pings(world.container(name), OUTSIDE, SOON), "{name}");
    }
}

/// After `change`, `status` says each of `named`, `up` says the same and does it, and then there is
/// nothing more to do.
#[track_caller]
fn is_repaired(world: &World, config: &str, named: &[&str], change: impl FnOnce()) {
    assert_eq!(drift(world), Vec::<String>::new(), "before");
    change();
    let found = drift(world);
    for text in named {
        assert!(found.iter().any(|d| d.contains(text)), "{text}: {found:?}");
    }
    let plain = world.run(&["status"]);
    for d in &found {
        assert!(plain.contains(&format!("DRIFT: {d}")), "{plain}");
    }
    let printed = world.up(config);
    for d in &found {
        assert!(printed.contains(&format!("repair {d}")), "{printed}");
    }
    assert_eq!(drift(world), Vec::<String>::new(), "after: {printed}");
    assert_eq!(world.up(config).trim(), "nothing to change");
    works(world);
}

#[test]
fn the_bridge() {
    let (world, config) = world();
    works(&world);
    is_repaired(&world, &config, &["does not have 172.17.0.1/16"], || {
        ip(&world, "addr del 172.17.0.1/16 dev netpath0");
    });
    is_repaired(&world, &config, &["does not have fd00:17::1/64"], || {
        ip(&world, &format!("addr del {GATEWAY6}/64 dev netpath0"));
    });
    is_repaired(&world, &config, &["bridge netpath0 is down"], || {
        ip(&world, "link set netpath0 down");
    });
    is_repaired(
        &world,
        &config,
        &["the MTU of bridge netpath0 is 1300, not 1400"],
        || {
            ip(&world, "link set netpath0 mtu 1300");
        },
    );
    is_repaired(
        &world,
        &config,
        &["the MAC address of bridge netpath0 is 02:00:00:00:00:77"],
        || {
            ip(&world, "link set netpath0 address 02:00:00:00:00:77");
        },
    );
    is_repaired(&world, &config, &["bridge netpath0 is gone"], || {
        ip(&world, "link del netpath0");
    });
}

#[test]
fn an_endpoint_s_interface() {
    let (world, config) = world();
    let veth = interface(&world, "a");
    is_repaired(&world, &config, &["is no port of bridge netpath0"], || {
        ip(&world, &format!("link set {veth} nomaster"));
    });
    is_repaired(&world, &config, &["is called strange"], || {
        ip(&world, &format!("link set {veth} name strange"));
    });
    assert_eq!(interface(&world, "a"), veth);
    is_repaired(&world, &config, &["is down"], || {
        ip(&world, &format!("link set {veth} down"));
    });
    is_repaired(&world, &config, &["is 1300, not 1400"], || {
        ip(&world, &format!("link set {veth} mtu 1300"));
    });
    is_repaired(
        &world,
        &config,
        &["the flag isolated of bridge port"],
        || {
            ip(
                &world,
                &format!("link set {veth} type bridge_slave isolated off"),
            );
        },
    );
    is_repaired(
        &world,
        &config,
        &["endpoint `a`: its interface", "is gone"],
        || {
            ip(&world, &format!("link del {veth}"));
        },
    );
    // Made again as it was, for the neighbours.
    assert!(pings(&world.host, A, SOON));
}

/// Detaches a pinned link behind netpath's back.
fn detach(world: &World, pin: &str) {
    let all = fs::read_dir(world.pins().join("links")).unwrap();
    let mut all = all.map(|e| e.unwrap().file_name().into_string().unwrap());
    let name = all
        .find(|n| {
            let interface = n.strip_prefix(pin);
            // By a number, or of the root cgroup by nothing.
            interface.is_some_and(|i| i.bytes().all(|b| b.is_ascii_digit()))
        })
        .unwrap_or_else(|| panic!("no {pin}"));
    let path = world.pins().join("links").join(name);
    let bpftool = Command::new("bpftool")
        .args(["link", "detach", "pinned", path.to_str().unwrap()])
        .output()
        .unwrap();
    succeeded("bpftool link detach", bpftool);
}

#[test]
fn programs() {
    if netpath_tests::skip::missing("bpftool") || netpath_tests::skip::older_than(6, 6) {
        return;
    }
    let (world, config) = world();
    for (pin, named) in [
        ("veth-", "the veth program is not attached to veth"),
        ("bridge-", "the bridge program is not attached to netpath0"),
        (
            "bridge-out-",
            "the bridge-out program is not attached to netpath0",
        ),
        ("uplink-in-", "program is not attached to uplink0"),
        ("uplink-out-", "program is not attached to uplink0"),
        ("lo-in-", "program is not attached to lo"),
        ("cgroup-np_bind4", "not every socket program is attached"),
    ] {
        is_repaired(&world, &config, &[named], || detach(&world, pin));
    }
}

#[test]
fn forwarding() {
    let (world, config) = world();
    for (key, named) in [
        (
            "net/ipv4/conf/uplink0/forwarding",
            "uplink uplink0: net/ipv4/conf/uplink0/forwarding is 0",
        ),
        (
            "net/ipv4/conf/netpath0/forwarding",
            "network `bridge`: net/ipv4/conf/netpath0/forwarding is 0",
        ),
        // Of all at once, by whichever of its settings the kernel forwards.
        (
            "net/ipv6/conf/all/forwarding",
            "uplink uplink0: net/ipv6/conf/",
        ),
        (
            "net/ipv6/conf/netpath0/forwarding",
            "network `bridge`: net/ipv6/conf/netpath0/forwarding is 0",
        ),
        (
            "net/ipv6/conf/netpath0/disable_ipv6",
            "net/ipv6/conf/netpath0/disable_ipv6 is not 0",
        ),
    ] {
        is_repaired(&world, &config, &[named], || {
            let value = if key.ends_with("disable_ipv6") {
                "1"
            } else {
                "0"
            };
            within(&world.host, || {
                fs::write(format!("/proc/sys/{key}"), value).unwrap()
            });
        });
    }
}

fn datapath(world: &World) -> Datapath {
    Datapath::open(world.instance()).unwrap().unwrap()
}

#[test]
fn entries_of_maps() {
    let (world, config) = world();
    is_repaired(
        &world,
        &config,
        &["endpoint `a`: port 8080", "is not published any more"],
        || {
            within(&world.host, || {
                let key = PublishedKey {
                    addr: [0; 4],
                    port: 8080,
                    proto: 6,
                    ..PublishedKey::<V4>::default()
                };
                remove_published(&world, key);
            });
        },
    );
    is_repaired(
        &world,
        &config,
        &["np_ep_by_addr does not have 172.17.0.2"],
        || {
            within(&world.host, || {
                datapath(&world).remove_endpoint_addr(A).unwrap()
            });
        },
    );
    is_repaired(
        &world,
        &config,
        &[&format!("np_ep_by_addr does not have {A6}")],
        || {
            within(&world.host, || {
                datapath(&world).remove_endpoint_addr(A6).unwrap()
            });
        },
    );
    is_repaired(
        &world,
        &config,
        &["endpoint `a`: its record in np_endpoints"],
        || {
            within(&world.host, || {
                let datapath = datapath(&world);
                let mut record = datapath.endpoint(1).unwrap();
                record.mac = [2; 6];
                datapath.set_endpoint(1, &record).unwrap();
            });
        },
    );
    is_repaired(
        &world,
        &config,
        &["np_subnets does not have 172.17.0.0/16"],
        || {
            within(&world.host, || {
                let subnet: ipnet::Ipv4Net = "172.17.0.0/16".parse().unwrap();
                datapath(&world).remove_subnet(subnet).unwrap();
            });
        },
    );
    is_repaired(
        &world,
        &config,
        &["np_ifaces does not have uplink0"],
        || {
            let index = within(&world.host, || {
                netpath::lab::links::index("uplink0").unwrap()
            });
            within(&world.host, || {
                datapath(&world).remove_iface(index).unwrap()
            });
        },
    );
}

fn remove_published(world: &World, key: PublishedKey) {
    use netpath_common::publish::Change;
    let datapath = datapath(world);
    let change = netpath::bpf::PortChange {
        v4: Change {
            write: Vec::new(),
            remove: vec![key],
        },
        v6: Change::default(),
        starts: datapath.starts().unwrap(),
        reserved: datapath.reserved().unwrap(),
    };
    datapath.change_ports(&change).unwrap();
}

#[test]
fn what_commands_made_is_repaired_too() {
    let world = World::new(&["a"]);
    world.words("network create --subnet 172.17.0.0/16 n");
    let netns = world.container("a").name();
    world.words(&format!(
        "endpoint add --network n --netns {netns} --name a -p 8080:80"
    ));
    let bridge = status(&world)["networks"][0]["bridge"]
        .as_str()
        .unwrap()
        .to_owned();
    let veth = interface(&world, "a");
    let before = world.run(&["endpoint", "ls"]);
    ip(&world, &format!("link del {bridge}"));
    ip(&world, &format!("link del {veth}"));
    assert!(!drift(&world).is_empty());
    let file = world.file("empty.toml");
    fs::write(&file, "").unwrap();
    let up = || world.run(&["up", "-c", file.to_str().unwrap()]);
    let printed = up();
    assert!(
        printed.contains("make network n again") && printed.contains("add endpoint a"),
        "{printed}"
    );
    assert_eq!(drift(&world), Vec::<String>::new());
    assert_eq!(up().trim(), "nothing to change");
    // The same addresses and ports, only the interface has another name.
    let after = world.run(&["endpoint", "ls"]);
    assert_eq!(after.replace(&interface(&world, "a"), &veth), before);
    let _server = tcp_server(world.container("a"), "a", 80);
    assert!(tcp(&world.outside, at(HOST, 8080)).is_from("a", OUTSIDE));
}
