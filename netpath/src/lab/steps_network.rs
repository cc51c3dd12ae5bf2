//! Steps about what is there: the network's description, routes, bridge ports and neighbours.
//!
//! Owns these checks. What netpath says is compared with what the kernel says by netlink.

use serde_json::Value;

use super::{
    Error,
    links::{self, Link, mac_text},
    ping::{self, ping},
    report::Finding,
    topology::{BRIDGE, GATEWAY, HOST, Lab, ORANGE, OUTSIDE, PINK, PREFIX, SUBNET, UPLINK},
};

/// `network inspect` describes the network as Docker does.
pub(super) fn inspect(lab: &Lab) -> Result<Finding, Error> {
    let printed = lab.netpath.run(&["network", "inspect", "bridge"])?;
    let json = printed.json()?;
    let network = json.get(0).unwrap_or(&json);
    let config = &network["IPAM"]["Config"][0];
    let subnet = format!("{SUBNET}/{PREFIX}");
    let containers = &network["Containers"];
    let inside = [("PINK", PINK), ("ORANGE", ORANGE)];
    let ok = config["Subnet"] == subnet.as_str()
        && config["Gateway"] == GATEWAY.to_string().as_str()
        && inside.iter().all(|(name, address)| {
            address_of(containers, name) == Some(format!("{address}/{PREFIX}").as_str())
        });
    let found = format!(
        "subnet {}, gateway {}, {}",
        text(&config["Subnet"]),
        text(&config["Gateway"]),
        inside
            .map(|(name, _)| format!(
                "{name} {}",
                address_of(containers, name).unwrap_or("absent")
            ))
            .join(", ")
    );
    let expected = format!(
        "subnet {subnet}, gateway {GATEWAY}, PINK {PINK}/{PREFIX}, ORANGE {ORANGE}/{PREFIX}"
    );
    Ok(Finding::new(ok, expected, found).showing(printed.show(|_| true)))
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or("absent")
}

fn address_of<'a>(containers: &'a Value, name: &str) -> Option<&'a str> {
    let container = containers
        .as_object()?
        .values()
        .find(|c| c["Name"] == name)?;
    container["IPv4Address"].as_str()
}

/// Routes of host and containers, ports of the bridge, neighbours on it.
pub(super) fn surroundings(lab: &Lab) -> Result<Finding, Error> {
    // Neighbours are learnt when somebody speaks.
    for container in [&lab.pink, &lab.orange] {
        let _ = container.run(|| ping(GATEWAY, ping::Options::default()))?;
    }
    let (links, routes, neighbours) = lab
        .host
        .run(|| Ok::<_, Error>((links::links()?, links::routes()?, links::neighbours()?)))??;
    let (pink_links, pink_routes) = lab
        .pink
        .run(|| Ok::<_, Error>((links::links()?, links::routes()?)))??;

    let bridge = links.iter().find(|link| link.name == BRIDGE);
    let ports: Vec<&Link> = links
        .iter()
        .filter(|link| link.controller.is_some() && link.controller == bridge.map(|b| b.index))
        .collect();
    let routed = |destination, gateway, via: &str| {
        routes.iter().any(|route| {
            route.destination == destination
                && route.gateway == gateway
                && name_of(&links, route.interface) == via
        })
    };
    let default = (std::net::Ipv4Addr::UNSPECIFIED, 0);
    let pink_default = pink_routes
        .iter()
        .any(|route| route.destination == default && route.gateway == Some(GATEWAY));
    let known = [PINK, ORANGE].into_iter().filter(|address| {
        neighbours.iter().any(|neighbour| {
            neighbour.address == *address
                && !neighbour.mac.is_empty()
                && name_of(&links, neighbour.interface) == BRIDGE
        })
    });
    let known = known.count();
    let up = ports.iter().filter(|port| port.up).count();
    let host_routed =
        routed(default, Some(OUTSIDE), UPLINK) && routed((SUBNET, PREFIX), None, BRIDGE);
    let ok = host_routed && pink_default && ports.len() == 2 && up == 2 && known == 2;

    let mut shown = vec![format!("routes of the host ({HOST}):")];
    shown.extend(
        routes
            .iter()
            .map(|route| format!("  {}", route_text(route, &links))),
    );
    shown.push("routes of PINK:".to_owned());
    shown.extend(
        pink_routes
            .iter()
            .map(|route| format!("  {}", route_text(route, &pink_links))),
    );
    shown.push(format!("ports of {BRIDGE}:"));
    shown.extend(ports.iter().map(|port| {
        let state = if port.up { "up" } else { "down" };
        format!(
            "  {} {} mtu {} {state}",
            port.name,
            mac_text(&port.mac),
            port.mtu
        )
    }));
    shown.push("neighbours of the host:".to_owned());
    shown.extend(neighbours.iter().map(|neighbour| {
        let dev = name_of(&links, neighbour.interface);
        let mac = mac_text(&neighbour.mac);
        format!(
            "  {} dev {dev} lladdr {mac} {}",
            neighbour.address, neighbour.state
        )
    }));
    let yes_no = |holds| if holds { "right" } else { "wrong" };
    Ok(Finding::new(
        ok,
        "default routes by the uplink and by the gateway, two bridge ports up, two neighbours",
        format!(
            "host's routes {}, PINK's default route {}, {} bridge ports ({up} up), {known} neighbours",
            yes_no(host_routed),
            yes_no(pink_default),
            ports.len()
        ),
    )
    .showing(shown))
}

fn name_of(links: &[Link], index: u32) -> &str {
    links
        .iter()
        .find(|link| link.index == index)
        .map_or("?", |link| &link.name)
}

fn route_text(route: &links::Route, links: &[Link]) -> String {
    let destination = match route.destination {
        (address, 0) if address.is_unspecified() => "default".to_owned(),
        (address, length) => format!("{address}/{length}"),
    };
    let via = route
        .gateway
        .map(|gateway| format!(" via {gateway}"))
        .unwrap_or_default();
    format!("{destination}{via} dev {}", name_of(links, route.interface))
}
