//! Endpoints whose bandwidth is limited: what they are given goes through a queue.

use netpath_common::{
    Verdict,
    conntrack::tcp::{ACK, SYN},
    event::Hook,
    records::{ENDPOINT_SHAPED, NETWORK_DIRECT, NETWORK_ICC},
};

use super::family::*;

/// The standard host; C1 is limited.
fn host() -> Host {
    let mut h = Host::new();
    h.tables.endpoints[usize::from(C1.slot)].flags = ENDPOINT_SHAPED;
    h
}

#[track_caller]
fn by_queue(out: &Outcome, c: &Container) -> String {
    let want = Ok(Verdict::ByQueue { ifindex: c.ifindex });
    assert_eq!(out.result, want, "{}", out.text());
    assert_eq!(out.frame.bytes[..6], c.mac);
    out.text()
}

#[test]
fn what_comes_in_goes_by_its_queue() {
    let mut h = host();
    let out = h.from_outside(&tcp(S, 51000, H, 8080, SYN));
    assert_eq!(by_queue(&out, &C1), said("tcp S:51000 > C1:80"));
    let back = h.from(&C1, &tcp(C1.ip(), 80, S, 51000, SYN | ACK));
    assert_eq!(back.to_uplink(), said("tcp H:8080 > S:51000"));
    let _ = h.from(&C2, &tcp(C2.ip(), 40000, S, 80, SYN)).to_uplink();
    let back = h.from_outside(&tcp(S, 80, H, 40000, SYN | ACK));
    assert_eq!(back.to_container(&C2), said("tcp S:80 > C2:40000"));
}

#[test]
fn so_does_what_neighbours_send() {
    let mut h = host();
    let out = h.from(&C2, &tcp(C2.ip(), 50000, H, 8080, SYN));
    assert_eq!(by_queue(&out, &C1), said("tcp C2:50000 > C1:80"));
    h.tables.networks[usize::from(NET1)].flags |= NETWORK_ICC | NETWORK_DIRECT;
    let straight = |h: &mut Host, from: &Container, to: &Container| {
        let packet = tcp(from.ip(), 40000, to.ip(), 80, SYN);
        h.run(Hook::Veth, &packet.frame(from.mac, to.mac, from.ifindex))
            .result
    };
    // The bridge sends by it.
    assert_eq!(straight(&mut h, &C2, &C1), Ok(Verdict::Pass));
    let ifindex = C2.ifindex;
    assert_eq!(
        straight(&mut h, &C1, &C2),
        Ok(Verdict::ToNeighbour { ifindex })
    );
}
