//! Container to container on one bridge, with netpath's programs at its ports and without.
//!
//! Owns the measures `bridge_rr` and `bridge_udp`, and the second container.

use std::{
    cell::Cell,
    net::{Ipv4Addr, SocketAddrV4},
};

use anyhow::{Context as _, Result, ensure};
use netpath::lab::Namespace;

use super::{Setup, talk::Talk, turns::Turns};
use crate::{
    evidence,
    load::Kind,
    results::Results,
    site::{self, Site},
    tool,
    variant::{BRIDGE, CONTAINER, CONTAINER_PORT, Variant},
    worker::Worker,
};

/// The second container.
const NEIGHBOUR: Ipv4Addr = Ipv4Addr::new(172, 17, 0, 3);

/// A site and its second container.
pub(super) struct Pair {
    pub(super) site: Site,
    pub(super) neighbour: Worker,
    _namespace: Namespace,
}

pub(super) fn run(setup: Setup<'_>, results: &mut Results) -> Result<()> {
    let pairs = [
        ("netpath", pair(setup, Variant::Netpath, 1)?),
        ("none", pair(setup, Variant::None, 1)?),
        ("none-again", pair(setup, Variant::None, 2)?),
    ];
    for (measure, kind, unit) in [
        ("bridge_rr", Kind::Rr, "transactions/s"),
        ("bridge_udp", Kind::Udp, "packets/s"),
    ] {
        let worst = Cell::new(0.0_f64);
        let lost = &worst;
        let mut turns = Turns::rate(measure, unit);
        let mut forwarded = Vec::new();
        for (variant, pair) in &pairs {
            let target = SocketAddrV4::new(CONTAINER, CONTAINER_PORT);
            let (client, server) = (&pair.neighbour, &pair.site.container);
            let talk = Talk::open(kind, client, server, target, CONTAINER_PORT, NEIGHBOUR)
                .with_context(|| format!("{measure}: {variant}"))?;
            forwarded.push((&pair.site, evidence::forwarded(&pair.site)?));
            turns.add(variant, move || {
                let (slice, share) = talk.slice(setup.cpu, setup.pace.slice)?;
                lost.set(lost.get().max(share));
                Ok(slice)
            });
        }
        results
            .series
            .extend(turns.take(setup.pace.rounds, setup.progress)?);
        if kind == Kind::Udp {
            let share = format!("at most {:.4} % of a slice", worst.get() * 100.0);
            results
                .machine
                .push((format!("datagrams lost, {measure}"), share));
        }
        for (site, before) in forwarded {
            let routed = evidence::forwarded(site)? - before;
            // A few of the host's own, like neighbour discovery, are none of it.
            ensure!(
                routed < 100,
                "{measure}: {} has routed {routed} packets, which its bridge should have switched",
                site.name()
            );
        }
    }
    Ok(())
}

/// Adds a container to a site, the way that its variant connects containers.
pub(super) fn pair(setup: Setup<'_>, variant: Variant, ports: u32) -> Result<Pair> {
    let site = setup.site(variant, ports)?;
    let namespace = Namespace::create(&format!("{}-2", site.container_ns.name()))?;
    if let Some(instance) = &site.instance {
        let address = NEIGHBOUR.to_string();
        let words = [
            "endpoint",
            "add",
            "--network",
            "bridge",
            "--netns",
            namespace.name(),
            "--name",
            "neighbour",
            "--ip",
            &address,
        ];
        instance.run(&site.router_ns, &words)?;
    } else {
        let lines = format!(
            "link add veth1 type veth peer name eth0 netns {}
link set veth1 master {BRIDGE}
link set veth1 up
",
            namespace.name()
        );
        tool::run(&site.router_ns, "ip", &["-batch", "-"], &lines)?;
        let lines = format!("addr add {NEIGHBOUR}/16 dev eth0\nlink set eth0 up\n");
        tool::run(&namespace, "ip", &["-batch", "-"], &lines)?;
    }
    site::one_by_one(&namespace)?;
    Ok(Pair {
        neighbour: Worker::start(&namespace, setup.cpu)?,
        site,
        _namespace: namespace,
    })
}
