//! When a host forwards IPv6, what becomes of its own default route by router advertisements, and
//! which interfaces lead out.

use std::{fs, net::Ipv6Addr};

use netpath_tests::{
    dual_stack::{addresses6, advertise, forwards6, routes6, set6, setting6},
    topology::{UPLINK, World},
    wait,
    ways::ip,
};

use crate::lifecycle::{Snapshot, assert_same};

/// The prefix that routers outside advertise.
const ADVERTISED: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 2, 0, 0, 0, 0, 0);

#[test]
fn an_internal_network_leads_nowhere() {
    let world = World::dual_stack(&["a"]);
    world.up(&world.dual_stack_config(&["a"], &[], "internal = true"));
    let routes = routes6(world.container("a"));
    assert_eq!(routes.len(), 1, "{routes:?}");
    assert!(routes[0].starts_with("fd00:17::/64 "), "{routes:?}");
    assert_eq!(setting6(&world.host, "all", "forwarding"), "0");
    assert!(!forwards6(&world.host, "netpath0"));
}

/// The host has made itself an address of the advertised prefix.
fn has_advertised_address(world: &World) -> bool {
    let addresses = addresses6(&world.host, Some(UPLINK));
    addresses.iter().any(|line| line.contains(" 2001:db8:2:"))
}

#[test]
fn the_hosts_own_default_route_by_router_advertisement_stays() {
    let world = World::new(&["a"]);
    let host = &world.host;
    let config = world.dual_stack_config(&["a"], &[], "");
    let default = || {
        let routes = routes6(host);
        let ra =
            |route: &String| route.starts_with("default via fe80:") && route.contains("proto ra");
        routes.into_iter().filter(ra).collect::<Vec<_>>()
    };
    // What an administrator has set for one interface alone comes back as well.
    set6(host, "lo", "forwarding", "1");
    wait::until("the host has a route by an advertisement", || {
        advertise(&world, ADVERTISED);
        !default().is_empty() && has_advertised_address(&world)
    });
    let (before, routes) = (Snapshot::of_host(&world), default());

    let file = world.file("plan.toml");
    fs::write(&file, &config).unwrap();
    let plan = world.run(&["up", "--dry-run", "-c", file.to_str().unwrap()]);
    assert!(
        plan.contains("turn IPv6 forwarding on, and accept_ra = 2 on uplink0"),
        "{plan}"
    );
    assert_eq!(setting6(host, UPLINK, "accept_ra"), "1");

    world.up(&config);
    assert_eq!(setting6(host, UPLINK, "accept_ra"), "2");
    assert!(forwards6(host, UPLINK) && forwards6(host, "netpath0"));
    assert_eq!(default(), routes);
    // It listens on: a route that was taken away comes back.
    ip(host, "-6 route del default");
    wait::until("the host listens to the next advertisement", || {
        advertise(&world, ADVERTISED);
        default() == routes
    });

    world.run(&["down", "--all"]);
    assert_eq!(setting6(host, "lo", "forwarding"), "1");
    assert_eq!(default(), routes);
    assert_same(&[Snapshot::of_host(&world)], &[before]);
}

/// A host goes on hearing what it would have heard without netpath.
#[test]
fn an_advertisement_that_comes_later_is_heard() {
    let world = World::new(&["a"]);
    let before = Snapshot::of_host(&world);
    world.up(&world.dual_stack_config(&["a"], &[], ""));
    assert!(forwards6(&world.host, UPLINK) && !has_advertised_address(&world));
    wait::until("the host has an address by an advertisement", || {
        advertise(&world, ADVERTISED);
        has_advertised_address(&world)
    });
    ip(&world.host, "-6 route flush proto ra");
    ip(&world.host, &format!("addr flush dev {UPLINK} dynamic"));
    ip(&world.host, "-6 route flush 2001:db8:2::/64");
    assert_eq!(setting6(&world.host, UPLINK, "accept_ra"), "2");
    world.run(&["down", "--all"]);
    assert_eq!(setting6(&world.host, UPLINK, "accept_ra"), "1");
    assert_same(&[Snapshot::of_host(&world)], &[before]);
}

#[test]
fn forwarding_goes_with_the_last_network_that_needs_it() {
    let world = World::dual_stack(&["a", "c"]);
    let other = world.network("other", "netpath1", "172.18.0.0/16", "");
    let both = world.dual_stack_config(&["a"], &[], "") + &other;
    let forwards = || forwards6(&world.host, UPLINK);
    let all = || setting6(&world.host, "all", "forwarding");
    world.up(&both);
    assert!(forwards());
    world.run(&["down", "bridge"]);
    assert!(!forwards() && all() == "0");
    // By a new configuration as well.
    world.up(&both);
    assert!(forwards());
    world.up(&other);
    assert!(!forwards() && all() == "0");
    // A network that no longer leads out needs none either.
    world.up(&both);
    world.up(&(world.dual_stack_config(&["a"], &[], "internal = true") + &other));
    assert!(!forwards() && !forwards6(&world.host, "netpath0") && all() == "0");
}

#[test]
fn uplinks_are_those_of_the_default_routes_of_either_family() {
    let world = World::new(&["a"]);
    for line in [
        "link add uplink1 type veth peer name beyond",
        "link set beyond up",
        "link set uplink1 up",
        "addr add 2001:db8:9::1/64 dev uplink1 nodad preferred_lft 0",
        "addr add fd00:9::2/64 dev uplink1 nodad",
        "addr add 2001:db8:9::3/64 dev uplink1 nodad",
        "-6 route add default dev uplink1",
    ] {
        ip(&world.host, line);
    }
    world.up(&world.dual_stack_config(&["a"], &[], ""));
    let status: serde_json::Value =
        serde_json::from_str(&world.run(&["--json", "status"])).unwrap();
    let uplinks: Vec<_> = status["uplinks"]
        .as_array()
        .unwrap()
        .iter()
        .map(|u| {
            let text = |key: &str| u[key].as_str().unwrap_or("none").to_owned();
            (text("name"), text("addr"), text("addr6"))
        })
        .collect();
    let uplink =
        |name: &str, addr: &str, addr6: &str| (name.to_owned(), addr.to_owned(), addr6.to_owned());
    // Not the one that is deprecated, nor the one that is not global.
    assert_eq!(
        uplinks,
        [
            uplink("uplink0", "198.51.100.1", "none"),
            uplink("uplink1", "none", "2001:db8:9::3"),
        ]
    );
    assert_eq!(
        status["warnings"].as_array().map(Vec::len),
        Some(0),
        "{status}"
    );
    // Without an address of IPv6 on any uplink, status says what that means.
    ip(&world.host, "link del uplink1");
    world.up(&world.dual_stack_config(&["a"], &[], ""));
    let text = world.run(&["status"]);
    assert!(
        text.contains("warning: no uplink has a global IPv6 address"),
        "{text}"
    );
}
