//! Steps about what must not work: unpublished ports, direct access, forged sources.
//!
//! Owns these checks. A packet that is kept out must also be counted under its reason.

use std::{
    io,
    net::{Ipv4Addr, SocketAddrV4},
};

use netpath_common::DropReason;

use super::{
    Error, datapath,
    frame::{self, Udp},
    links,
    probe::{self, BRIEFLY},
    report::Finding,
    topology::{BRIDGE, HOST, Lab, ORANGE, OUTSIDE, OUTSIDE_PORT, PINK, PREFIX, SUBNET},
};

/// A port that nothing publishes is refused by the host's own stack.
pub(super) fn unpublished(lab: &Lab) -> Result<Finding, Error> {
    let to = SocketAddrV4::new(HOST, 8081);
    let result = lab.outside.run(|| probe::tcp(to, None, BRIEFLY))?;
    let refused = result
        .as_ref()
        .is_err_and(|error| error.kind() == io::ErrorKind::ConnectionRefused);
    Ok(Finding::new(
        refused,
        "connection refused",
        probe::outcome(&result),
    ))
}

/// The outside cannot address a container, even with a route to it.
pub(super) fn direct_access(lab: &Lab) -> Result<Finding, Error> {
    let before = datapath::dropped(&lab.host, DropReason::DirectAccess)?;
    let to = SocketAddrV4::new(PINK, 80);
    let result = lab.outside.run(|| {
        links::add_route(SUBNET, PREFIX, HOST)?;
        let result = probe::tcp(to, None, BRIEFLY);
        links::remove_route(SUBNET, PREFIX, HOST)?;
        Ok::<_, Error>(result)
    })??;
    let counted = datapath::dropped(&lab.host, DropReason::DirectAccess)? - before;
    let silent = result
        .as_ref()
        .is_err_and(|error| error.kind() == io::ErrorKind::TimedOut);
    Ok(Finding::new(
        silent && counted > 0,
        "no answer, counted as direct-access",
        format!(
            "{}, {counted} counted as direct-access",
            probe::outcome(&result)
        ),
    ))
}

/// ORANGE cannot send as PINK, neither with its MAC address nor with its IP address alone.
pub(super) fn forged_source(lab: &Lab) -> Result<Finding, Error> {
    let mac_in = |namespace: &super::Namespace, name: &'static str| {
        namespace.run(|| {
            let link = links::links()?.into_iter().find(|link| link.name == name);
            link.and_then(|link| <[u8; 6]>::try_from(link.mac).ok())
                .ok_or_else(|| {
                    Error::io(format!("find the MAC address of {name}"))(
                        io::ErrorKind::NotFound.into(),
                    )
                })
        })?
    };
    let (pink, orange) = (mac_in(&lab.pink, "eth0")?, mac_in(&lab.orange, "eth0")?);
    let gateway = mac_in(&lab.host, BRIDGE)?;
    let to = (OUTSIDE, OUTSIDE_PORT);
    let mut finding = Finding {
        ok: true,
        ..Finding::default()
    };
    let forgeries: [(&str, [u8; 6], Ipv4Addr, DropReason); 2] = [
        ("PINK's MAC and IP", pink, PINK, DropReason::SpoofedMac),
        ("PINK's IP", orange, PINK, DropReason::SpoofedAddress),
    ];
    for (what, from_mac, from, reason) in forgeries {
        let before = datapath::dropped(&lab.host, reason)?;
        let forged = Udp {
            from_mac,
            to_mac: gateway,
            from: (from, 4000),
            to,
        };
        lab.orange
            .run(|| frame::send("eth0", &forged.frame(b"who am I?\n")))??;
        // A frame is through the veth pair and its program when the call that sent it returns,
        // unless the machine is busy.
        let counted = probe::until(BRIEFLY, || {
            let now = datapath::dropped(&lab.host, reason)?;
            Ok::<_, Error>((now > before).then_some(now - before))
        })?
        .unwrap_or(0);
        let reason = reason.as_str();
        finding = finding.and(Finding::new(
            counted == 1,
            format!("{what} from ORANGE: 1 counted as {reason}"),
            format!("{what}: {counted} counted as {reason}"),
        ));
    }
    let honest = lab
        .orange
        .run(|| probe::udp(SocketAddrV4::new(OUTSIDE, OUTSIDE_PORT), None, probe::SOON))?;
    let through = honest
        .as_ref()
        .is_ok_and(|answer| answer.is_from("outside", HOST));
    Ok(finding.and(Finding::new(
        through,
        format!("{ORANGE} itself gets through"),
        probe::outcome(&honest),
    )))
}
