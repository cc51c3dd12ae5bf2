//! No agent runs, and the uplink changes: the default route moves to another one, the first goes
//! down, vanishes, or has another address.

use std::{net::Ipv4Addr, time::Instant};

use netpath_tests::{
    probe::at,
    recover::{Client, LIMIT, flows, recovers},
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
fn moves_to_the_second(without: Without, change: impl FnOnce(&Ways)) {
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

fn default_route_moves(ways: &Ways) {
    let route = format!("route replace default via {OUTSIDE2}");
    ip(&ways.world.host, &route);
}

#[test]
fn the_default_route_moves() {
    moves_to_the_second(Without::Killed, default_route_moves);
}

#[test]
fn the_default_route_moves_without_an_agent_ever() {
    moves_to_the_second(Without::NeverStarted, default_route_moves);
}

#[test]
fn the_first_goes_down() {
    moves_to_the_second(Without::Killed, |ways| {
        ip(&ways.world.host, "link set uplink0 down");
    });
}

#[test]
fn the_first_vanishes() {
    moves_to_the_second(Without::Killed, |ways| {
        ip(&ways.world.host, "link del uplink0");
    });
}

#[test]
fn the_first_vanishes_without_an_agent_ever() {
    moves_to_the_second(Without::NeverStarted, |ways| {
        ip(&ways.world.host, "link del uplink0");
    });
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

#[test]
fn another_address() {
    const OTHER: Ipv4Addr = Ipv4Addr::new(198, 51, 100, 11);
    let ways = Ways::new(Without::Killed);
    let a = ways.world.container("a");
    let out = [Client::all(a, A, at(SERVER, SERVER_PORT), "server")];
    flows(&out, HOST);
    // As a DHCP client does it: the routes go with the old address.
    let host = &ways.world.host;
    ip(host, &format!("addr del {HOST}/24 dev uplink0"));
    ip(host, &format!("addr add {OTHER}/24 dev uplink0"));
    ip(host, &format!("route replace default via {OUTSIDE}"));
    recovers(Instant::now(), LIMIT, &out, OTHER);
}
