//! Steps about the host: no netfilter, no process, counters, and life with and without the
//! programs.
//!
//! Owns these checks. They come last, since one takes the programs away and another everything.

use std::{fs, net::SocketAddrV4, path::Path};

use super::{
    Error, datapath, links, netfilter,
    ping::{self, ping},
    probe::{self, BRIEFLY, SOON},
    report::Finding,
    topology::{BRIDGE, HOST, Lab, OUTSIDE, OUTSIDE_PORT, WEB},
};

/// After all that traffic the kernel holds no rule and no connection for the host's namespace.
pub(super) fn no_netfilter(lab: &Lab) -> Result<Finding, Error> {
    let found = lab.host.run(netfilter::look)??;
    Ok(Finding::new(
        found.is_empty(),
        "no nftables table, no iptables table, no connection in the kernel's conntrack",
        format!(
            "{} nftables tables, {} iptables tables, {} connections",
            found.nft_tables,
            found.iptables_tables.len(),
            found.connections
        ),
    ))
}

/// No process of netpath is behind it: every command has ended, and traffic goes on.
pub(super) fn no_process(lab: &Lab) -> Result<Finding, Error> {
    let left = others_of(lab.netpath.program())?;
    let trips = round_trips(lab, SOON)?;
    Ok(Finding::new(
        left.is_empty() && trips.iter().all(|(_, ok)| *ok),
        "no netpath process but the lab itself, which only asks and answers; traffic goes on",
        format!("{} processes; {}", left.len(), words(&trips)),
    )
    .showing(left))
}

/// Processes other than this one that run `program` on behalf of this lab.
fn others_of(program: &Path) -> Result<Vec<String>, Error> {
    let own = std::process::id().to_string();
    let entries = fs::read_dir("/proc").map_err(Error::io("read /proc"))?;
    Ok(entries
        .flatten()
        .filter(|entry| {
            let name = entry.file_name();
            name.to_str()
                .is_some_and(|n| n != own && n.bytes().all(|b| b.is_ascii_digit()))
        })
        .filter(|entry| fs::read_link(entry.path().join("exe")).is_ok_and(|exe| exe == program))
        .filter_map(|entry| {
            let line = fs::read_to_string(entry.path().join("cmdline"))
                .ok()?
                .replace('\0', " ");
            let mine = line.contains(super::topology::HOST_NAMESPACE);
            mine.then(|| format!("{} {line}", entry.file_name().to_string_lossy()))
        })
        .collect())
}

/// What was counted: forwarded, translated, dropped by reason.
pub(super) fn counters(lab: &Lab) -> Result<Finding, Error> {
    let printed = lab.netpath.run(&["status"])?;
    let dropped = |reason: netpath_common::DropReason| datapath::dropped(&lab.host, reason);
    let direct = dropped(netpath_common::DropReason::DirectAccess)?;
    let forged = dropped(netpath_common::DropReason::SpoofedMac)?;
    let mentioned = ["direct-access", "spoofed-mac"]
        .iter()
        .all(|reason| printed.stdout.contains(reason));
    Ok(Finding::new(
        direct > 0 && forged > 0 && mentioned,
        "status shows drops as direct-access and as spoofed-mac",
        format!("direct-access {direct}, spoofed-mac {forged}"),
    )
    .showing(printed.show(|_| true)))
}

/// The same probes fail once the programs are taken off their interfaces.
pub(super) fn detached(lab: &Lab) -> Result<Finding, Error> {
    let count = datapath::detach_all(&lab.host)?;
    let trips = round_trips(lab, BRIEFLY)?;
    Ok(Finding::new(
        count > 0 && trips.iter().all(|(_, ok)| !*ok),
        "with the programs detached every probe fails",
        format!("{count} programs detached; {}", words(&trips)),
    ))
}

/// `netpath up` puts them back, and the probes work again.
pub(super) fn attached_again(lab: &Lab) -> Result<Finding, Error> {
    let printed = lab.netpath.up()?;
    let trips = round_trips(lab, SOON)?;
    Ok(Finding::new(
        trips.iter().all(|(_, ok)| *ok),
        "after `netpath up` every probe works again",
        words(&trips),
    )
    .showing(printed.show(|_| true)))
}

/// `netpath down --all` leaves the host as it was.
pub(super) fn removed(lab: &Lab) -> Result<Finding, Error> {
    let printed = lab.netpath.run(&["down", "--all"])?;
    let links = lab.host.run(links::links)??;
    let left: Vec<&str> = links
        .iter()
        .map(|link| link.name.as_str())
        .filter(|name| !["lo", super::topology::UPLINK].contains(name))
        .collect();
    let bridge = if links.iter().any(|link| link.name == BRIDGE) {
        "there"
    } else {
        "gone"
    };
    let forwarding = lab.host.run(|| {
        let of = |name: &str| fs::read_to_string(format!("/proc/sys/net/ipv4/{name}"));
        let uplink = format!("conf/{}/forwarding", super::topology::UPLINK);
        Ok(of("ip_forward")?.trim().to_owned() + of(&uplink)?.trim())
    })?;
    let forwarding = forwarding.map_err(Error::io("read net.ipv4.ip_forward"))?;
    let pins = if datapath::exists() { "there" } else { "gone" };
    Ok(Finding::new(
        left.is_empty() && forwarding == "00" && pins == "gone",
        "bridge, veth pairs and pins gone, net.ipv4.ip_forward 0 as before",
        format!(
            "bridge {bridge}, {} interfaces left over, pins {pins}, net.ipv4.ip_forward {}",
            left.len(),
            forwarding
        ),
    )
    .showing(printed.show(|_| true)))
}

/// The three kinds of translation: ping out, TCP out, published port in.
fn round_trips(lab: &Lab, within: std::time::Duration) -> Result<[(&'static str, bool); 3], Error> {
    let echo = lab.pink.run(|| {
        ping(
            OUTSIDE,
            ping::Options {
                within,
                ..Default::default()
            },
        )
    })?;
    let out = lab
        .pink
        .run(|| probe::tcp(SocketAddrV4::new(OUTSIDE, OUTSIDE_PORT), None, within))?;
    let published = lab
        .outside
        .run(|| probe::tcp(SocketAddrV4::new(HOST, WEB), None, within))?;
    Ok([
        (
            "ping out",
            echo.is_ok_and(|reply| reply.is_echo_of(OUTSIDE)),
        ),
        (
            "TCP out",
            out.is_ok_and(|answer| answer.is_from("outside", HOST)),
        ),
        (
            "published port",
            published.is_ok_and(|answer| answer.is_from("PINK", OUTSIDE)),
        ),
    ])
}

fn words(trips: &[(&'static str, bool)]) -> String {
    let word = |ok: bool| if ok { "works" } else { "fails" };
    trips
        .iter()
        .map(|(what, ok)| format!("{what} {}", word(*ok)))
        .collect::<Vec<_>>()
        .join(", ")
}
