//! Steps about published ports: from everywhere, and who the container sees.
//!
//! Owns these checks. The container answers with the address that it saw, so a lost client address
//! shows.

use std::net::{Ipv4Addr, SocketAddrV4};

use super::{
    Error, Namespace,
    probe::{self, Answer, SOON},
    report::Finding,
    steps_traffic::tracked,
    topology::{DNS, GATEWAY, HOST, Lab, ORANGE, OUTSIDE, PINK, WEB},
};

const BY_ADDRESS: SocketAddrV4 = SocketAddrV4::new(HOST, WEB);
const BY_LOOPBACK: SocketAddrV4 = SocketAddrV4::new(Ipv4Addr::LOCALHOST, WEB);

/// From the outside host: the client's address is kept.
pub(super) fn from_outside(lab: &Lab) -> Result<Finding, Error> {
    let answered = asked(&lab.outside, BY_ADDRESS, "PINK", Some(OUTSIDE))?;
    let wanted = [
        format!("src={OUTSIDE} dst={HOST}"),
        format!("src={PINK} dst={OUTSIDE}"),
    ];
    Ok(answered.and(tracked(lab, "tcp", &wanted)?))
}

/// From the host by its own address.
pub(super) fn from_host(lab: &Lab) -> Result<Finding, Error> {
    asked(&lab.host, BY_ADDRESS, "PINK", None)
}

/// From the host by 127.0.0.1, translated at the socket.
pub(super) fn from_loopback(lab: &Lab) -> Result<Finding, Error> {
    asked(&lab.host, BY_LOOPBACK, "PINK", None)
}

/// From the neighbour, by the host's address: its own address is kept.
pub(super) fn from_neighbour(lab: &Lab) -> Result<Finding, Error> {
    asked(&lab.orange, BY_ADDRESS, "PINK", Some(ORANGE))
}

/// From the container itself: the one case in which the gateway stands in as the client.
pub(super) fn from_itself(lab: &Lab) -> Result<Finding, Error> {
    asked(&lab.pink, BY_ADDRESS, "PINK", Some(GATEWAY))
}

/// A published UDP port from the outside.
pub(super) fn udp_from_outside(lab: &Lab) -> Result<Finding, Error> {
    let to = SocketAddrV4::new(HOST, DNS);
    let result = lab.outside.run(|| probe::udp(to, None, SOON))?;
    let ok = result
        .as_ref()
        .is_ok_and(|answer| answer.is_from("PINK", OUTSIDE));
    let expected = format!("PINK answers and sees {OUTSIDE}");
    let answered = Finding::new(ok, expected, probe::outcome(&result));
    let wanted = [
        format!("src={OUTSIDE} dst={HOST}"),
        format!("src={PINK} dst={OUTSIDE}"),
    ];
    Ok(answered.and(tracked(lab, "udp", &wanted)?))
}

/// A container's own 127.0.0.1 is its own, also at the number of a published port.
pub(super) fn own_loopback(lab: &Lab) -> Result<Finding, Error> {
    asked(
        &lab.orange,
        BY_LOOPBACK,
        "ORANGE",
        Some(Ipv4Addr::LOCALHOST),
    )
}

/// Asks by TCP and wants the answer of `server`, which saw `client` where that is given.
fn asked(
    from: &Namespace,
    to: SocketAddrV4,
    server: &str,
    client: Option<Ipv4Addr>,
) -> Result<Finding, Error> {
    let result = from.run(|| probe::tcp(to, None, SOON))?;
    let as_wanted = |answer: &Answer| match client {
        Some(client) => answer.is_from(server, client),
        None => answer.text.starts_with(&format!("{server} saw ")),
    };
    // Whatever was translated on the way, the client talks to whom it named.
    let ok = result
        .as_ref()
        .is_ok_and(|answer| as_wanted(answer) && answer.peer == to.into());
    let sees = client
        .map(|client| format!(" and sees {client}"))
        .unwrap_or_default();
    Ok(Finding::new(
        ok,
        format!("{server} answers{sees}; the client's peer is {to}"),
        match &result {
            Ok(answer) => format!("{}; the client's peer is {}", answer.text, answer.peer),
            Err(error) => probe::silence(error),
        },
    ))
}
