//! Case 27: the uplink loses its address and gets another one.
//!
//! On real interfaces: `tests/netns/uplinks.rs`.

use netpath_common::{
    DropReason,
    conntrack::tcp::{ACK, SYN},
    counters::Counter,
    records::{IFACE_UPLINK, IfaceRecord, UplinkRecord},
};

use super::{
    family::*,
    help::{c1, flows, left, open, s},
};

/// The second uplink. Its address is H2; H3 is the new one of the first.
const OTHER: u16 = 2;
const OTHER_IF: u32 = 5;

/// The standard host with a second uplink, behind which is S2.
fn two_uplinks() -> Host {
    let mut h = Host::new();
    let first = h.tables.uplinks[usize::from(UPLINK)];
    let mut second = UplinkRecord {
        ifindex: OTHER_IF,
        ..first
    };
    set_uplink(&mut second, H2);
    h.tables.uplinks[usize::from(OTHER)] = second;
    let iface = IfaceRecord {
        kind: IFACE_UPLINK,
        slot: u32::from(OTHER),
        flags: 0,
    };
    h.tables.ifaces.insert(OTHER_IF, iface);
    h.tables.host_addrs.insert(H2);
    h.tables.routes.push((S2, BITS, out_of(OTHER_IF)));
    h
}

#[test]
fn c27_address_loss() {
    let mut h = two_uplinks();
    open(&mut h);
    let unrelated = |h: &mut Host, flags| h.from(&C1, &tcp(C1.ip(), 40000, S2, 80, flags));
    let by_other = unrelated(&mut h, SYN);
    assert_eq!(
        by_other.text(),
        said("tcp H2:40000 > S2:80"),
        "{:?}",
        by_other.result
    );
    // H goes: nothing leaves by the uplink, and no answer to H enters.
    h.tables.host_addrs.remove(&H);
    let uplink = &mut h.tables.uplinks[usize::from(UPLINK)];
    uplink.generation += 1;
    set_uplink(uplink, Addr::default());
    let out = h.from(&C1, &c1(ACK, 1001, 5001));
    assert_eq!(out.dropped(), Some(DropReason::NoUplink));
    assert_eq!(
        h.tables.counter(Counter::FlowRemoved),
        1,
        "the old flow is dead"
    );
    assert!(h.from_outside(&s(ACK, 5001, 1001)).passed());
    // H3 comes: a new flow has it. In the middle of a connection a port is kept, or none is given.
    h.tables.host_addrs.insert(H3);
    let uplink = &mut h.tables.uplinks[usize::from(UPLINK)];
    uplink.generation += 1;
    set_uplink(uplink, H3);
    let out = h.from(&C1, &tcp(C1.ip(), 40001, S, 80, SYN));
    left(&out, &tcp(H3, 40001, S, 80, SYN).ttl(63));
    let back = h.from_outside(&tcp(S, 80, H3, 40001, SYN | ACK));
    assert_eq!(back.to_container(&C1), said("tcp S:80 > C1:40001"));
    // The other uplink's flow has noticed nothing.
    let before = h.tables.counter(Counter::FlowNew);
    let again = unrelated(&mut h, SYN);
    assert_eq!(again.text(), said("tcp H2:40000 > S2:80"));
    assert_eq!(h.tables.counter(Counter::FlowNew), before);
    assert_eq!(flows(&h.tables), 2);
}
