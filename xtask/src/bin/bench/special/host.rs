//! The host's own traffic, with netpath loaded and not.
//!
//! Owns the measure `host_rr`: request and response on one TCP connection from the router itself
//! to the outside host, which passes netpath's programs on the uplink both ways.

use std::net::SocketAddrV4;

use anyhow::{Context as _, Result, ensure};

use super::{Setup, talk::Talk, turns::Turns};
use crate::{
    load::Kind,
    results::Results,
    site::Site,
    variant::{HOST, OUTSIDE, OUTSIDE_PORT, Variant},
    worker::Worker,
};

pub(super) fn run(setup: Setup<'_>, results: &mut Results) -> Result<()> {
    let loaded = setup.site(Variant::Netpath, 1)?;
    let without = setup.site(Variant::None, 1)?;
    let again = setup.site(Variant::None, 2)?;
    let sites = [
        ("netpath", &loaded),
        ("none", &without),
        ("none-again", &again),
    ];
    let routers: Vec<Worker> = sites
        .iter()
        .map(|(_, site)| Worker::start(&site.router_ns, setup.cpu))
        .collect::<Result<_>>()?;
    let before = counted(&loaded)?;
    let mut turns = Turns::rate("host_rr", "transactions/s");
    for ((variant, site), router) in sites.into_iter().zip(&routers) {
        let target = SocketAddrV4::new(OUTSIDE, OUTSIDE_PORT);
        let talk = Talk::open(Kind::Rr, router, &site.outside, target, OUTSIDE_PORT, HOST)?;
        turns.add(variant, move || {
            Ok(talk.slice(setup.cpu, setup.pace.slice)?.0)
        });
    }
    let series = turns.take(setup.pace.rounds, setup.progress)?;
    // The host's own connections are neither translated nor tracked.
    ensure!(
        counted(&loaded)? == before,
        "host_rr: netpath has counted packets or flows of its container, which had none"
    );
    results.series.extend(series);
    Ok(())
}

/// Packets and flows of the container.
fn counted(site: &Site) -> Result<(u64, u64)> {
    let instance = site.instance.as_ref().context("netpath is not up")?;
    let told = instance.told(&site.router_ns)?;
    Ok((told.packets, told.flows))
}
