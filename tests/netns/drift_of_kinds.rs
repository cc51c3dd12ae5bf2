//! Drift where networks and endpoints are of other kinds: isolated, limited, adopted, without a bridge,
//! and several of one container.

use netpath_tests::{
    netns::stdout,
    topology::{A, B, World},
};

use crate::{
    drift::{drift, interface},
    gone::status,
};

fn ip(world: &World, arguments: &str) {
    stdout(&world.host, "ip", &arguments.split(' ').collect::<Vec<_>>());
}

/// After `change` there is drift that says each of `named`, `up` repairs it, and then there is none.
#[track_caller]
fn is_repaired(world: &World, config: &str, named: &[&str], change: impl FnOnce()) {
    assert_eq!(drift(world), Vec::<String>::new(), "before");
    change();
    let found = drift(world);
    for text in named {
        assert!(found.iter().any(|d| d.contains(text)), "{text}: {found:?}");
    }
    let printed = world.up(config);
    assert_eq!(drift(world), Vec::<String>::new(), "after: {printed}");
    assert_eq!(world.up(config).trim(), "nothing to change");
}

#[test]
fn the_bridge_of_an_isolated_network_has_no_address() {
    let world = World::new(&["a"]);
    let config = world.network(
        "bridge",
        "netpath0",
        "172.17.0.0/16",
        "internal = true\nisolated = true\nipv6 = \"fd00:17::/64\"",
    ) + &world.endpoint("a", A, &[]);
    world.up(&config);
    is_repaired(
        &world,
        &config,
        &["bridge netpath0 of an isolated network has 172.17.0.1/16"],
        || ip(&world, "addr add 172.17.0.1/16 dev netpath0"),
    );
}

#[test]
fn the_limit_of_an_endpoint() {
    let world = World::new(&["a", "b"]);
    let config = world.network("bridge", "netpath0", "172.17.0.0/16", "")
        + &world.endpoint("a", A, &[])
        + "rate_in = \"10mbit\"\nrate_out = \"20mbit\"\n"
        + &world.endpoint("b", B, &[]);
    world.up(&config);
    let veth = interface(&world, "a");
    let queues = || stdout(&world.host, "tc", &["qdisc", "show", "dev", &veth, "root"]);
    is_repaired(&world, &config, &["not have the limit of 10mbit"], || {
        stdout(&world.host, "tc", &["qdisc", "del", "dev", &veth, "root"]);
    });
    assert!(queues().contains("rate 10Mbit"), "{}", queues());
    is_repaired(&world, &config, &["not have the limit of 10mbit"], || {
        let change = format!(
            "qdisc change dev {veth} root handle 6e70: tbf rate 90mbit burst 90kb limit 900kb"
        );
        stdout(&world.host, "tc", &change.split(' ').collect::<Vec<_>>());
    });
    assert!(queues().contains("rate 10Mbit"), "{}", queues());
}

#[test]
fn the_second_interface_of_a_container() {
    let world = World::new(&["a"]);
    let netns = world.container("a").name();
    let config = world.network("alpha", "alpha0", "10.1.0.0/24", "mtu = 1400")
        + &format!("[[network.endpoint]]\nname = \"a\"\nnetns = \"{netns}\"\n")
        + &world.network("beta", "beta0", "10.2.0.0/24", "mtu = 1300")
        + &format!("[[network.endpoint]]\nname = \"a-beta\"\nnetns = \"{netns}\"\n");
    world.up(&config);
    let veth = interface(&world, "a-beta");
    let mtus = || {
        let all = stdout(world.container("a"), "ip", &["-o", "link"]);
        let of = |name: &str| all.lines().find(|l| l.contains(name)).unwrap().to_owned();
        [of("eth0@"), of("eth1@")]
    };
    is_repaired(&world, &config, &["is 1200, not 1300"], || {
        ip(&world, &format!("link set {veth} mtu 1200"));
        stdout(
            world.container("a"),
            "ip",
            &["link", "set", "eth1", "mtu", "1200"],
        );
    });
    let [first, second] = mtus();
    assert!(first.contains("mtu 1400"), "{first}");
    assert!(second.contains("mtu 1300"), "{second}");
    is_repaired(&world, &config, &["is gone"], || {
        ip(&world, &format!("link del {veth}"));
    });
    let [first, second] = mtus();
    assert!(first.contains("mtu 1400"), "{first}");
    assert!(second.contains("mtu 1300"), "{second}");
}

#[test]
fn an_adopted_bridge() {
    let world = World::new(&["a"]);
    ip(&world, "link add br7 type bridge");
    ip(&world, "addr add 172.17.0.1/16 dev br7");
    let config = world.network("bridge", "br7", "172.17.0.0/16", "") + &world.endpoint("a", A, &[]);
    world.up(&config);
    is_repaired(&world, &config, &["does not have 172.17.0.1/16"], || {
        ip(&world, "addr del 172.17.0.1/16 dev br7");
    });
    is_repaired(&world, &config, &["bridge br7 is down"], || {
        ip(&world, "link set br7 down");
    });
}

#[test]
fn a_network_without_a_bridge_has_none() {
    let world = World::new(&["a", "b"]);
    let netns = world.container("b").name().to_owned();
    let config = world.network("bridge", "netpath0", "172.17.0.0/16", "")
        + &world.endpoint("a", A, &[])
        + "[[network]]\nname = \"lan\"\ndriver = \"macvlan\"\nparent = \"uplink0\"\n\
           subnet = \"10.7.0.0/24\"\n"
        + &format!("[[network.endpoint]]\nname = \"b\"\nnetns = \"{netns}\"\n");
    world.up(&config);
    assert_eq!(drift(&world), Vec::<String>::new());
    assert_eq!(status(&world, "b").0, "up");
    // An interface that is gone is made again all the same.
    stdout(world.container("b"), "ip", &["link", "del", "eth0"]);
    assert_eq!(status(&world, "b").0, "gone");
    let printed = world.up(&config);
    assert!(printed.contains("add endpoint b"), "{printed}");
    let shown = stdout(world.container("b"), "ip", &["-o", "addr", "show", "eth0"]);
    assert!(shown.contains("10.7.0.2/24"), "{shown}");
    assert_eq!(world.up(&config).trim(), "nothing to change");
}
