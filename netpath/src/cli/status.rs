//! `netpath status`.

use std::fmt::Display;

use super::{
    Error,
    output::{self, table},
};
use crate::instance::{Instance, Report};

pub(super) async fn run(instance: &Instance, json: bool) -> Result<(), Error> {
    let report = instance.report().await?;
    if json {
        return output::json(&report);
    }
    output::lines(text(&report))
}

/// The first few published ports; `netpath port` has them all.
fn ports(all: &[String]) -> String {
    const SHOWN: usize = 8;
    let mut text = all.iter().take(SHOWN).cloned().collect::<Vec<_>>();
    if all.len() > SHOWN {
        text.push(format!("and {} more", all.len() - SHOWN));
    }
    text.join(", ")
}

/// What there is of either family.
fn both(v4: Option<&impl Display>, v6: Option<&impl Display>) -> String {
    let parts = [v4.map(ToString::to_string), v6.map(ToString::to_string)];
    parts.into_iter().flatten().collect::<Vec<_>>().join(" ")
}

fn text(r: &Report) -> Vec<String> {
    let mut lines = vec![format!("instance {}", r.instance)];
    let mut part = |title: &str, rows: Vec<String>| {
        if rows.len() > 1 || title == "conntrack" {
            lines.extend([String::new(), title.to_owned()]);
            lines.extend(rows.into_iter().map(|row| format!("  {row}")));
        }
    };
    part(
        "networks",
        table(
            &[
                "NAME", "DRIVER", "BRIDGE", "SUBNET", "GATEWAY", "MTU", "FLAGS",
            ],
            r.networks.iter().map(|n| {
                let gateway = both(n.gateway.as_ref(), n.gateway6.as_ref());
                let subnet = both(n.subnet.as_ref(), n.subnet6.as_ref());
                let mtu = n.mtu.map(|mtu| mtu.to_string()).unwrap_or_default();
                vec![
                    n.name.clone(),
                    n.driver.to_owned(),
                    n.bridge.clone(),
                    subnet,
                    gateway,
                    mtu,
                    n.flags.join(","),
                ]
            }),
        ),
    );
    part(
        "endpoints",
        table(
            &[
                "NAME",
                "NETWORK",
                "ADDRESS",
                "INTERFACE",
                "FLOWS",
                "TX",
                "RX",
                "DROPS",
                "PORTS",
            ],
            r.endpoints.iter().map(|e| {
                let counts = [e.flows, e.tx_packets, e.rx_packets, e.drops].map(|n| n.to_string());
                let mut row = vec![
                    e.name.clone(),
                    e.network.clone(),
                    both(e.addr.as_ref(), e.addr6.as_ref()),
                    e.interface.clone(),
                ];
                row.extend(counts);
                let gone = format!("(gone: there is no `{}`)", e.netns);
                row.push(if e.state == "gone" {
                    gone
                } else {
                    ports(&e.ports)
                });
                row
            }),
        ),
    );
    part(
        "uplinks",
        table(
            &["NAME", "ADDRESS", "MTU", "HOOK"],
            r.uplinks.iter().map(|u| {
                let addr = match (u.addr, u.addr6) {
                    (Some(addr), addr6) => both(Some(&addr), addr6.as_ref()),
                    (None, Some(addr6)) => addr6.to_string(),
                    (None, None) => "none".to_owned(),
                };
                let hook = if u.leads_out {
                    u.hook.to_owned()
                } else {
                    format!("{} (way in only)", u.hook)
                };
                vec![u.name.clone(), addr, u.mtu.to_string(), hook]
            }),
        ),
    );
    part(
        "programs",
        table(
            &["HOOK", "INTERFACE"],
            r.attachments
                .iter()
                .map(|(hook, name)| vec![hook.clone(), name.clone()]),
        ),
    );
    let c = r.conntrack;
    part(
        "conntrack",
        vec![
            format!("{} of {} flows, {} KiB", c.flows, c.limit, c.bytes / 1024),
            format!(
                "{} of {} flows of IPv6, {} KiB",
                c.flows6,
                c.limit,
                c.bytes6 / 1024
            ),
        ],
    );
    part(
        "counters",
        table(
            &["COUNTER", "PACKETS"],
            r.counters
                .iter()
                .map(|(name, n)| vec![name.clone(), n.to_string()]),
        ),
    );
    part(
        "drops",
        table(
            &["REASON", "PACKETS", "MEANING"],
            r.drops.iter().map(|d| {
                vec![
                    d.reason.to_owned(),
                    d.packets.to_string(),
                    d.help.to_owned(),
                ]
            }),
        ),
    );
    lines.extend(
        r.drift
            .iter()
            .map(|d| format!("\nDRIFT: {d}; run `netpath up`")),
    );
    lines.extend(r.warnings.iter().map(|w| format!("\nwarning: {w}")));
    lines
}
