//! Steps about traffic that begins in a container: ping and TCP, inside and to the outside.
//!
//! Owns these checks, and what a conntrack line must say.

use std::net::{Ipv4Addr, SocketAddrV4};

use super::{
    Error, Namespace,
    ping::{self, ping},
    probe::{self, SOON},
    report::Finding,
    topology::{HOST, Lab, ORANGE, OUTSIDE, OUTSIDE_PORT, PINK},
};

/// Two containers of one network reach each other by the bridge.
pub(super) fn neighbours_ping(lab: &Lab) -> Result<Finding, Error> {
    pinged(&lab.pink, ORANGE)
}

/// A container reaches the outside, and the flow is tracked.
pub(super) fn ping_outside(lab: &Lab) -> Result<Finding, Error> {
    let reached = pinged(&lab.pink, OUTSIDE)?;
    // src and dst of the original direction, then of the answers: to the host's address.
    let wanted = [
        format!("src={PINK} dst={OUTSIDE}"),
        format!("src={OUTSIDE} dst={HOST}"),
    ];
    Ok(reached.and(tracked(lab, "icmp", &wanted)?))
}

/// The outside sees the host's address as the source of a container's connection.
pub(super) fn tcp_out(lab: &Lab) -> Result<Finding, Error> {
    let to = SocketAddrV4::new(OUTSIDE, OUTSIDE_PORT);
    let result = lab.orange.run(|| probe::tcp(to, None, SOON))?;
    let ok = result
        .as_ref()
        .is_ok_and(|answer| answer.is_from("outside", HOST));
    let answered = Finding::new(ok, format!("outside sees {HOST}"), probe::outcome(&result));
    let wanted = [
        format!("src={ORANGE} dst={OUTSIDE}"),
        format!("src={OUTSIDE} dst={HOST}"),
    ];
    Ok(answered.and(tracked(lab, "tcp", &wanted)?))
}

/// Pings `to` from `from` and wants the echo.
pub(super) fn pinged(from: &Namespace, to: Ipv4Addr) -> Result<Finding, Error> {
    let result = from.run(|| ping(to, ping::Options::default()))?;
    let ok = result.as_ref().is_ok_and(|reply| reply.is_echo_of(to));
    let found = match result {
        Ok(reply) if reply.icmp_type == 0 => format!(
            "echo reply from {}, ttl {}, {:.3} ms",
            reply.from,
            reply.ttl,
            reply.after.as_secs_f64() * 1000.0
        ),
        Ok(reply) => {
            format!(
                "ICMP type {} code {} from {}",
                reply.icmp_type, reply.code, reply.from
            )
        }
        Err(error) => probe::silence(&error),
    };
    Ok(Finding::new(ok, format!("echo reply from {to}"), found))
}

/// Wants a conntrack line of `protocol` that holds every one of `wanted`, and shows it.
pub(super) fn tracked(lab: &Lab, protocol: &str, wanted: &[String]) -> Result<Finding, Error> {
    let printed = lab.netpath.run(&["ct", "list", "-p", protocol])?;
    let is_it = |line: &str| wanted.iter().all(|part| line.contains(part.as_str()));
    let lines = printed.stdout.lines().filter(|line| is_it(line)).count();
    let found = match lines {
        0 => "no conntrack line for it".to_owned(),
        _ => "its conntrack line".to_owned(),
    };
    Ok(Finding::new(lines > 0, "its conntrack line", found).showing(printed.show(is_it)))
}
