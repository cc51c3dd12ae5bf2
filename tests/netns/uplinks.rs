//! No agent runs, and the uplink changes: the default route moves to another one, the first goes
//! down, vanishes, or has another address.

use std::{net::Ipv4Addr, time::Instant};

use netpath::lab::probe;
use netpath_common::DropReason;
use netpath_tests::{
    netns::within,
    probe::{BRIEFLY, at},
    recover::{Client, LIMIT, flows, recovers, without_agent},
    skip,
    topology::{A, HOST, OUTSIDE},
    wait,
    ways::{HOST2, OUTSIDE2, PUBLISHED, SERVER, SERVER_PORT, Ways, Without, ip, set},
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

/// The server asks by the first uplink.
fn inward(ways: &Ways) -> [Client<'_>; 1] {
    let to = at(HOST, PUBLISHED);
    [Client::udp_and_tcp(&ways.server, SERVER, to, "a")]
}

/// Answers that no route leads back leave by the second uplink, with the address that was asked.
#[test]
fn published_ports_of_the_first_outlive_its_route() {
    without_agent(|without| {
        let ways = Ways::new(without);
        let clients = inward(&ways);
        flows(&clients, SERVER);
        let host = &ways.world.host;
        ip(host, &format!("route replace default via {OUTSIDE2}"));
        recovers(Instant::now(), LIMIT, &clients, SERVER);
        assert_eq!(ways.world.dropped(DropReason::NoRoute), 0);
        // No route at all: lost, and counted.
        ip(host, "route del default");
        wait::until("answers without a route are counted", || {
            let _ = within(&ways.server, || {
                probe::udp(at(HOST, PUBLISHED), None, BRIEFLY)
            });
            ways.world.dropped(DropReason::NoRoute) > 0
        });
    });
}

/// Answers go back by the first uplink although the second has the better route: only the first
/// gateway forwards.
fn answers_go_back(without: Without, routes: &[&str], change: impl Fn(&Ways)) {
    let ways = Ways::with_routes(without, routes);
    set(&ways.second, "ip_forward", "0");
    change(&ways);
    let clients = inward(&ways);
    recovers(Instant::now(), LIMIT, &clients, SERVER);
}

#[test]
fn answers_take_a_worse_route_back() {
    let worse = format!("add default via {OUTSIDE} metric 200");
    without_agent(|without| {
        answers_go_back(without, &[&worse], |ways| {
            let route = format!("route replace default via {OUTSIDE2}");
            ip(&ways.world.host, &route);
        });
    });
}

#[test]
fn answers_take_the_route_of_their_source() {
    without_agent(|without| {
        answers_go_back(without, &[], |ways| {
            let host = &ways.world.host;
            ip(host, &format!("route add default via {OUTSIDE} table 100"));
            ip(host, &format!("rule add from {HOST} lookup 100"));
            ip(host, &format!("route replace default via {OUTSIDE2}"));
        });
    });
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
