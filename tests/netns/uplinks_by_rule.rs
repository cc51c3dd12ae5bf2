//! Several uplinks, and rules of the host's that choose among them (`ip rule`): by the container's source,
//! and by marks that its firewall gives.

use std::{net::Ipv4Addr, time::Instant};

use netpath_tests::{
    netns::stdout,
    probe::{Server, at},
    recover::{Client, LIMIT, flows, recovers},
    skip,
    topology::{A, HOST},
    ways::{HOST2, OUTSIDE2, PUBLISHED, SERVER, SERVER_PORT, Ways, ip, set},
};

const B: Ipv4Addr = Ipv4Addr::new(172, 18, 0, 2);
/// The published port of the second network's container.
const PUBLISHED_B: u16 = 6363;

/// Two networks; what has the second one's source leaves by the second uplink, whose default route is in
/// a table of its own.
fn by_source(firewall: &str) -> (Ways, Vec<Server>) {
    let mut ways = Ways::bare();
    ways.world.add_container("b");
    let world = &ways.world;
    let host = &world.host;
    ip(host, &format!("route add default via {OUTSIDE2} table 100"));
    ip(host, "rule add from 172.18.0.0/16 lookup 100");
    let more = format!("firewall = \"{firewall}\"");
    let [a, b] = [PUBLISHED, PUBLISHED_B]
        .map(|port| ["udp", "tcp"].map(|proto| format!("{port}:53/{proto}")));
    // `uplinks = ["auto"]` finds both: the default routes of any table.
    world.up(&(world.network("one", "netpath0", "172.17.0.0/16", &more)
        + &world.endpoint("a", A, &[&a[0], &a[1]])
        + &world.network("two", "netpath1", "172.18.0.0/16", &more)
        + &world.endpoint("b", B, &[&b[0], &b[1]])));
    let every = at(Ipv4Addr::UNSPECIFIED, 53);
    let mut servers = Vec::new();
    for name in ["a", "b"] {
        let container = world.container(name);
        set(container, "ping_group_range", "0 0");
        servers.push(Server::udp(container, name, every).unwrap());
        servers.push(Server::tcp(container, name, every).unwrap());
    }
    (ways, servers)
}

/// The other gateway forwards nothing: whatever arrives has gone by this one.
fn only_by(ways: &Ways, second: bool) {
    let (on, off) = if second {
        (&ways.second, &ways.world.outside)
    } else {
        (&ways.world.outside, &ways.second)
    };
    set(on, "ip_forward", "1");
    set(off, "ip_forward", "0");
}

#[test]
fn each_network_leaves_by_the_uplink_of_its_rule() {
    for firewall in ["bypass", "visible"] {
        let (ways, _servers) = by_source(firewall);
        let (a, b) = (ways.world.container("a"), ways.world.container("b"));
        let to = at(SERVER, SERVER_PORT);
        only_by(&ways, false);
        flows(&[Client::all(a, A, to, "server")], HOST);
        only_by(&ways, true);
        flows(&[Client::all(b, B, to, "server")], HOST2);
    }
}

#[test]
fn published_ports_answer_by_the_uplink_that_was_asked() {
    let (ways, _servers) = by_source("bypass");
    for (second, host) in [(false, HOST), (true, HOST2)] {
        only_by(&ways, second);
        for (port, name) in [(PUBLISHED, "a"), (PUBLISHED_B, "b")] {
            let client = [Client::udp_and_tcp(
                &ways.server,
                SERVER,
                at(host, port),
                name,
            )];
            // The first network has no route by the second uplink at all, nor the second one by the first:
            // their answers leave by the rules then.
            let has_way = second == (name == "b");
            if has_way {
                flows(&client, SERVER);
            }
        }
    }
    // By either, where each gateway forwards.
    set(&ways.world.outside, "ip_forward", "1");
    for host in [HOST, HOST2] {
        for (port, name) in [(PUBLISHED, "a"), (PUBLISHED_B, "b")] {
            let client = [Client::udp_and_tcp(
                &ways.server,
                SERVER,
                at(host, port),
                name,
            )];
            flows(&client, SERVER);
        }
    }
}

#[test]
fn a_rule_that_changes_is_followed() {
    let (ways, _servers) = by_source("bypass");
    let b = ways.world.container("b");
    let client = [Client::all(b, B, at(SERVER, SERVER_PORT), "server")];
    flows(&client, HOST2);
    ip(&ways.world.host, "rule del from 172.18.0.0/16 lookup 100");
    recovers(Instant::now(), LIMIT, &client, HOST);
}

/// Marks are the firewall's, which sees visible networks only.
#[test]
fn a_mark_of_the_firewall_chooses_the_uplink_of_a_visible_network() {
    if skip::missing("nft") {
        return;
    }
    let (ways, _servers) = by_source("visible");
    let host = &ways.world.host;
    let nft = |command: &str| stdout(host, "nft", &command.split(' ').collect::<Vec<_>>());
    ip(host, "rule add fwmark 7 lookup 100");
    nft("add table ip choose");
    nft("add chain ip choose pre { type filter hook prerouting priority mangle ; }");
    let a = ways.world.container("a");
    let client = [Client::all(a, A, at(SERVER, SERVER_PORT), "server")];
    flows(&client, HOST);
    nft("add rule ip choose pre iifname netpath0 meta mark set 7");
    recovers(Instant::now(), LIMIT, &client, HOST2);
    only_by(&ways, true);
    flows(&client, HOST2);
}
