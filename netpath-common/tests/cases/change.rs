//! Case 27: the uplink loses its address and gets another one.
//!
//! On real interfaces: `tests/netns/uplinks.rs`.

use netpath_common::{
    DropReason,
    conntrack::tcp::{ACK, SYN},
    counters::Counter,
    testing::*,
};

use super::help::{c1, flows, left, open, s};

/// The uplink's new address.
const H2: Addr = [192, 0, 2, 77];
/// The second uplink, and its address.
const OTHER: u16 = 2;
const OTHER_IF: u32 = 5;
const OTHER_ADDR: Addr = [203, 0, 113, 1];

/// The standard host with a second uplink, behind which is S2.
fn two_uplinks() -> Host {
    let mut h = Host::new();
    let first = h.tables.uplinks[usize::from(UPLINK)];
    h.tables.uplinks[usize::from(OTHER)] = netpath_common::records::UplinkRecord {
        ifindex: OTHER_IF,
        addr: OTHER_ADDR,
        ..first
    };
    let iface = netpath_common::records::IfaceRecord {
        kind: netpath_common::records::IFACE_UPLINK,
        slot: u32::from(OTHER),
    };
    h.tables.ifaces.insert(OTHER_IF, iface);
    h.tables.host_addrs.insert(OTHER_ADDR);
    h.tables.routes.push((S2, 32, out_of(OTHER_IF)));
    h
}

#[test]
fn c27_address_loss() {
    let mut h = two_uplinks();
    open(&mut h);
    let unrelated = |h: &mut Host, flags| h.from(&C1, &tcp(C1.addr, 40000, S2, 80, flags));
    let by_other = unrelated(&mut h, SYN);
    assert_eq!(
        by_other.text(),
        "tcp 203.0.113.1:40000 > 203.0.113.5:80",
        "{:?}",
        by_other.result
    );
    // H goes: nothing leaves by the uplink, and no answer to H enters.
    h.tables.host_addrs.remove(&H);
    let uplink = &mut h.tables.uplinks[usize::from(UPLINK)];
    (uplink.addr, uplink.generation) = ([0; 4], uplink.generation + 1);
    let out = h.from(&C1, &c1(ACK, 1001, 5001));
    assert_eq!(out.dropped(), Some(DropReason::NoUplink));
    assert_eq!(
        h.tables.counter(Counter::FlowRemoved),
        1,
        "the old flow is dead"
    );
    assert!(h.from_outside(&s(ACK, 5001, 1001)).passed());
    // H2 comes: a new flow has it. In the middle of a connection a port is kept, or none is given.
    h.tables.host_addrs.insert(H2);
    let uplink = &mut h.tables.uplinks[usize::from(UPLINK)];
    (uplink.addr, uplink.generation) = (H2, uplink.generation + 1);
    let out = h.from(&C1, &tcp(C1.addr, 40001, S, 80, SYN));
    left(&out, &tcp(H2, 40001, S, 80, SYN).ttl(63));
    let back = h.from_outside(&tcp(S, 80, H2, 40001, SYN | ACK));
    assert_eq!(
        back.to_container(&C1),
        "tcp 198.51.100.9:80 > 172.17.0.2:40001"
    );
    // The other uplink's flow has noticed nothing.
    let before = h.tables.counter(Counter::FlowNew);
    let again = unrelated(&mut h, SYN);
    assert_eq!(again.text(), "tcp 203.0.113.1:40000 > 203.0.113.5:80");
    assert_eq!(h.tables.counter(Counter::FlowNew), before);
    assert_eq!(flows(&h.tables), 2);
}
