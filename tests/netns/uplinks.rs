//! No agent runs, and the uplink changes: the default route moves to another one, the first goes
//! down, vanishes, or has another address.

use std::{net::Ipv4Addr, time::Instant};

use netpath_tests::{
    probe::at,
    recover::{Client, LIMIT, flows, recovers, without_agent},
    skip,
    topology::{A, HOST, OUTSIDE},
    ways::{HOST2, OUTSIDE2, PUBLISHED, SERVER, SERVER_PORT, Ways, Without, ip},
};

/// A second default route, for when the first goes.
fn with_backup(without: Without) -> Ways {
    let backup = format!("add default via {OUTSIDE2} metric 100");
    Ways::with_routes(without, &[&backup])
}

/// Flows to the outside survive `change` and carry another address from then on; what comes in by
/// the second uplink goes on as before.
fn moves_to_the_second(without: Without, change: impl Fn(&Ways)) {
    let ways = with_backup(without);
    let a = ways.world.container("a");
    let out = [Client::all(a, A, at(SERVER, SERVER_PORT), "server")];
    flows(&out, HOST);
    change(&ways);
    let since = Instant::now();
    recovers(since, LIMIT, &out, HOST2);
    let inward = [Client::udp(&ways.server, SERVER, at(HOST2, PUBLISHED), "a")];
    flows(&inward, SERVER);
}

#[test]
fn the_default_route_moves() {
    let change = |ways: &Ways| {
        let route = format!("route replace default via {OUTSIDE2}");
        ip(&ways.world.host, &route);
    };
    without_agent(|without| moves_to_the_second(without, change));
}

#[test]
fn the_first_goes_down() {
    let change = |ways: &Ways| ip(&ways.world.host, "link set uplink0 down");
    without_agent(|without| moves_to_the_second(without, change));
}

#[test]
fn the_first_vanishes() {
    let change = |ways: &Ways| ip(&ways.world.host, "link del uplink0");
    without_agent(|without| moves_to_the_second(without, change));
}

/// Flows that came in by the second uplink outlive the first.
#[test]
fn published_ports_of_the_second_outlive_the_first() {
    let ways = with_backup(Without::Killed);
    let inward = [Client::udp(&ways.server, SERVER, at(HOST2, PUBLISHED), "a")];
    flows(&inward, SERVER);
    ip(&ways.world.host, "link del uplink0");
    recovers(Instant::now(), LIMIT, &inward, SERVER);
}

/// The uplink's address changes as a DHCP client does it: the routes go with the old one.
fn has_another_address(without: Without) {
    const OTHER: Ipv4Addr = Ipv4Addr::new(198, 51, 100, 11);
    let ways = Ways::new(without);
    let a = ways.world.container("a");
    let out = [Client::all(a, A, at(SERVER, SERVER_PORT), "server")];
    flows(&out, HOST);
    let host = &ways.world.host;
    ip(host, &format!("addr del {HOST}/24 dev uplink0"));
    ip(host, &format!("addr add {OTHER}/24 dev uplink0"));
    ip(host, &format!("route replace default via {OUTSIDE}"));
    let since = Instant::now();
    recovers(since, LIMIT, &out, OTHER);
    // The published port is reached by it, too.
    let inward = [Client::udp(&ways.server, SERVER, at(OTHER, PUBLISHED), "a")];
    flows(&inward, SERVER);
}

#[test]
fn another_address() {
    // The kernel tells programs its source address since then.
    if skip::older_than(6, 7) {
        return;
    }
    without_agent(has_another_address);
}
