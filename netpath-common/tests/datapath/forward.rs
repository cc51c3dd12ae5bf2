//! Forwarding without translation, the benchmark's yardstick.

use netpath_common::{
    datapath::{Work, forward_in, forward_out},
    testing::*,
    verdict::{Action, Verdict},
};

#[test]
fn both_ways_change_the_ttl_alone() {
    let tables = MemTables::standard(1);
    let mut work = Work::default();
    let mut out = udp(C1.addr, 5000, S, 53, b"x").frame(C1.mac, BRIDGE1_MAC, C1.ifindex);
    assert_eq!(
        forward_out(&mut out, &tables, &mut work).map(|a| work.verdict(a)),
        Ok(Verdict::ToUplink {
            ifindex: UPLINK_IF,
            leased: false
        })
    );
    let want = udp(C1.addr, 5000, S, 53, b"x").ttl(63);
    assert_eq!(
        out.bytes,
        want.frame(C1.mac, BRIDGE1_MAC, C1.ifindex).bytes,
        "addresses are the kernel's to write"
    );
    let mut next = udp(C1.addr, 5000, S, 53, b"x").frame(C1.mac, BRIDGE1_MAC, C1.ifindex);
    assert_eq!(
        forward_out(&mut next, &tables, &mut work).map(|a| work.verdict(a)),
        Ok(Verdict::ToUplink {
            ifindex: UPLINK_IF,
            leased: true
        })
    );
    let want = udp(C1.addr, 5000, S, 53, b"x").ttl(63);
    assert_eq!(
        next.bytes,
        want.frame(UPLINK_MAC, ROUTER_MAC, C1.ifindex).bytes
    );
    let mut back = udp(S, 53, C1.addr, 5000, b"y").frame(ROUTER_MAC, UPLINK_MAC, UPLINK_IF);
    assert_eq!(
        forward_in(&mut back, &tables, &mut work).map(|a| work.verdict(a)),
        Ok(Verdict::ToEndpoint {
            ifindex: C1.ifindex
        })
    );
    let want = udp(S, 53, C1.addr, 5000, b"y").ttl(63);
    assert_eq!(back.bytes, want.frame(BRIDGE1_MAC, C1.mac, UPLINK_IF).bytes);
}

#[test]
fn the_rest_goes_up() {
    let tables = MemTables::standard(1);
    let mut work = Work::default();
    for datagram in [
        udp(S, 53, H, 5000, b"y"),
        udp(S, 53, C1.addr, 5000, b"y").ttl(1),
    ] {
        let frame = datagram.frame(ROUTER_MAC, UPLINK_MAC, UPLINK_IF);
        let mut seen = frame.clone();
        assert_eq!(forward_in(&mut seen, &tables, &mut work), Ok(Action::Pass));
        assert_eq!(seen.bytes, frame.bytes);
    }
}
