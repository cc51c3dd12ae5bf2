//! `netpath port`: published ports in Docker's form.

use super::{Error, output};
use crate::{
    config::{PortSpec, Protocol, host_text},
    instance::{self, Instance},
    state::{Endpoint, Network, State},
};

/// Options of `port`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The endpoint; left out, all of them
    endpoint: Option<String>,
    /// A port of the endpoint, such as 80/tcp: print only where that one is published
    #[arg(value_name = "PORT[/PROTOCOL]", value_parser = private)]
    port: Option<Private>,
}

/// A port of an endpoint.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Private {
    port: u16,
    proto: Protocol,
}

fn private(text: &str) -> Result<Private, String> {
    // It is a SPEC that says nothing of the host.
    let spec = text.parse::<PortSpec>().map_err(|e| e.to_string())?;
    let alone = spec.host.is_none() && spec.host_ip.is_none() && spec.width() == 1;
    if !alone || text.contains(',') {
        return Err("the form is PORT[/tcp|udp|sctp], a port of the endpoint".into());
    }
    Ok(Private {
        port: spec.container.first(),
        proto: spec.proto,
    })
}

pub(super) fn run(instance: &Instance, args: &Args, json: bool) -> Result<(), Error> {
    let state: State = instance.state()?.unwrap_or_default();
    let Some(name) = &args.endpoint else {
        if json {
            let ports = state.endpoints().map(|(n, e)| {
                (
                    e.name.clone(),
                    serde_json::Value::from(lines_of(n, e).collect::<Vec<_>>()),
                )
            });
            return output::json(&ports.collect::<serde_json::Map<_, _>>());
        }
        let all = state
            .endpoints()
            .flat_map(|(n, e)| lines_of(n, e).map(|line| format!("{} {line}", e.name)));
        return output::lines(all.collect::<Vec<_>>());
    };
    let (n, e) = state.endpoint(name).ok_or_else(|| {
        instance::Error::no_endpoint(name, state.endpoints().map(|(_, e)| e.name.as_str()))
    })?;
    let ports: Vec<String> = match &args.port {
        None => lines_of(n, e).collect(),
        Some(private) => places_of(n, e, *private),
    };
    if let (true, Some(Private { port, proto })) = (ports.is_empty(), args.port) {
        return Err(Error::NoPublicPort {
            endpoint: e.name.clone(),
            port: format!("{port}/{proto}"),
        });
    }
    if json {
        output::json(&ports)
    } else {
        output::lines(ports)
    }
}

/// Docker's lines, one for each place and a range as one: `80/tcp -> 0.0.0.0:8080`, and
/// `80/tcp -> [::]:8080` where the container has IPv6.
fn lines_of(n: &Network, e: &Endpoint) -> impl Iterator<Item = String> {
    let homes = e.homes(n);
    e.rules.iter().flat_map(move |r| r.lines(&homes))
}

/// Where one port is published, as Docker's `port CONTAINER PORT`: `0.0.0.0:8080`.
fn places_of(n: &Network, e: &Endpoint, private: Private) -> Vec<String> {
    let homes = e.homes(n);
    let rules = e.rules.iter().filter(|r| r.proto() == private.proto);
    let places = rules.flat_map(|r| {
        let pair = r.pairs().find(|(_, port)| *port == private.port);
        let host = pair.map(|(host, _)| host);
        r.addrs(&homes)
            .filter_map(move |addr| Some(format!("{}:{}", host_text(addr), host?)))
    });
    places.collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::state::testing::network;

    #[test]
    fn one_port_is_where_it_is_published() {
        let mut n = network(Some("fd00:17::/64"), &["fd00:17::2"]);
        let rule = |slot: u16, spec: &str, addr: &str, host: u16| {
            let value = serde_json::json!({
                "slot": slot, "spec": spec, "origin": "command", "addr": addr, "host": host,
            });
            serde_json::from_value(value).unwrap()
        };
        n.endpoints[0].rules = vec![
            rule(1, "8080:80", "0.0.0.0", 8080),
            rule(2, "127.0.0.1:9000-9009:80-89", "127.0.0.1", 9000),
            rule(3, "5353:80/udp", "0.0.0.0", 5353),
        ];
        let places = |text| places_of(&n, &n.endpoints[0], private(text).unwrap());
        assert_eq!(
            places("80"),
            ["0.0.0.0:8080", "[::]:8080", "127.0.0.1:9000"]
        );
        assert_eq!(places("85/tcp"), ["127.0.0.1:9005"]);
        assert_eq!(places("80/udp"), ["0.0.0.0:5353", "[::]:5353"]);
        assert!(places("81/udp").is_empty());
        for wrong in ["8080:80", "80-81", "80,balance", "0", "x", "80/x"] {
            assert!(private(wrong).is_err(), "{wrong}");
        }
    }
}
