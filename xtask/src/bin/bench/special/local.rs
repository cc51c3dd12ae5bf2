//! From the host to a published port by 127.0.0.1.
//!
//! Owns the measures `local_rr` and `local_crr`, and the peers' ways: a proxy in user space, which
//! is Docker's default, and NAT of loopback addresses by `route_localnet`, which is Docker without
//! its proxy.

use std::net::{Ipv4Addr, SocketAddrV4};

use anyhow::{Context as _, Result, ensure};

use super::{Setup, proxy::Proxy, talk::Talk, turns::Turns};
use crate::{
    load::Kind,
    results::Results,
    site::Site,
    tool,
    variant::{BRIDGE, CONTAINER, CONTAINER_PORT, GATEWAY, Variant},
    worker::Worker,
};

/// A contestant.
struct Contestant {
    variant: &'static str,
    client: Worker,
    _proxy: Option<Proxy>,
    site: Site,
}

pub(super) fn run(setup: Setup<'_>, results: &mut Results) -> Result<()> {
    let contestants = [
        contestant(setup, "netpath", Variant::Netpath, 1)?,
        contestant(setup, "proxy", Variant::None, 1)?,
        contestant(setup, "proxy-again", Variant::None, 2)?,
        contestant(setup, "route-localnet", Variant::Legacy, 1)?,
    ];
    for (measure, kind, unit) in [
        ("local_rr", Kind::Rr, "transactions/s"),
        ("local_crr", Kind::Crr, "connections/s"),
    ] {
        let before: Vec<u64> = contestants
            .iter()
            .map(|it| translated(&it.site))
            .collect::<Result<_>>()?;
        let mut turns = Turns::rate(measure, unit);
        for contestant in &contestants {
            let Contestant {
                variant,
                client,
                site,
                ..
            } = contestant;
            // The container sees the bridge's address whichever way it was.
            let talk = Talk::open(
                kind,
                client,
                &site.container,
                target(site),
                CONTAINER_PORT,
                GATEWAY,
            )
            .with_context(|| format!("{measure}: {variant}"))?;
            turns.add(variant, move || {
                Ok(talk.slice(setup.cpu, setup.pace.slice)?.0)
            });
        }
        let series = turns.take(setup.pace.rounds, setup.progress)?;
        for (contestant, before) in contestants.iter().zip(before) {
            let after = translated(&contestant.site)?;
            ensure!(
                (contestant.variant == "route-localnet") == (after > before),
                "{measure}: {}: iptables has translated {} connections",
                contestant.variant,
                after - before
            );
        }
        results.series.extend(series);
    }
    Ok(())
}

/// Where the host finds the port.
fn target(site: &Site) -> SocketAddrV4 {
    SocketAddrV4::new(Ipv4Addr::LOCALHOST, site.ports.measured())
}

fn contestant(
    setup: Setup<'_>,
    variant: &'static str,
    kind: Variant,
    ports: u32,
) -> Result<Contestant> {
    let site = setup.site(kind, ports)?;
    let proxy = if kind == Variant::None {
        let container = SocketAddrV4::new(CONTAINER, CONTAINER_PORT);
        let router = &site.router_ns;
        Some(Proxy::start(router, setup.cpu, target(&site), container)?)
    } else {
        None
    };
    if kind == Variant::Legacy {
        route_localnet(&site)?;
    }
    // With the ports of closed connections free again at once, as for every other client.
    tool::sysctls(&site.router_ns, &crate::site::ENDPOINT)?;
    Ok(Contestant {
        variant,
        client: Worker::start(&site.router_ns, setup.cpu)?,
        _proxy: proxy,
        site,
    })
}

/// What Docker adds where its proxy is turned off.
fn route_localnet(site: &Site) -> Result<()> {
    let setting = format!("ipv4/conf/{BRIDGE}/route_localnet");
    tool::sysctls(&site.router_ns, &[(&setting, "1")])?;
    let rules = format!(
        "*nat
-D OUTPUT ! -d 127.0.0.0/8 -m addrtype --dst-type LOCAL -j DOCKER
-A OUTPUT -m addrtype --dst-type LOCAL -j DOCKER
-A POSTROUTING -o {BRIDGE} -m addrtype --src-type LOCAL -j MASQUERADE
COMMIT
"
    );
    let program = "iptables-legacy-restore";
    tool::run(&site.router_ns, program, &["--noflush"], &rules)?;
    Ok(())
}

/// Connections that iptables' published ports have taken; none where there are no rules. Only a
/// site that has its rules is asked: the asking alone would load them.
fn translated(site: &Site) -> Result<u64> {
    if site.variant != Variant::Legacy {
        return Ok(0);
    }
    let rules = tool::run(&site.router_ns, "iptables-legacy-save", &["-c"], "")?;
    Ok(crate::evidence::rule_packets(&rules, "-j DNAT"))
}
