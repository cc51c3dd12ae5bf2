//! Frames with a VLAN tag, which the kernel takes out of the bytes before any hook sees them.

use std::net::Ipv4Addr;

use netpath::lab::links;
use netpath_common::DropReason;
use netpath_tests::{
    netns::{Namespace, within},
    probe::{
        SOON,
        frame::{self, Udp},
        pings, udp_socket,
    },
    topology::{A, HOST, OUTSIDE, UPLINK, World},
    wait,
};

/// The MAC address of an interface.
fn mac(namespace: &Namespace, name: &str) -> [u8; 6] {
    let links = within(namespace, || links::links().unwrap());
    let link = links.into_iter().find(|link| link.name == name).unwrap();
    link.mac.try_into().unwrap()
}

/// A UDP frame from `from` to `to`, in VLAN 5 or in none. The tagged one has a port of its own.
fn udp(macs: [[u8; 6]; 2], from: Ipv4Addr, to: Ipv4Addr, tagged: bool, text: &[u8]) -> Vec<u8> {
    let [from_mac, to_mac] = macs;
    let mut bytes = Udp {
        from_mac,
        to_mac,
        from: (from, if tagged { 4005 } else { 4000 }),
        to: (to, 7000),
    }
    .frame(text);
    if tagged {
        bytes.splice(12..12, [0x81, 0, 0, 5]);
    }
    bytes
}

#[test]
fn a_containers_tagged_frame_is_dropped() {
    let world = World::with_ports(&["a"], &[]);
    let a = world.container("a");
    let macs = [mac(a, "eth0"), mac(&world.host, "netpath0")];
    let server = udp_socket(&world.outside, 7000, None);
    let send = |tagged, text: &[u8]| {
        let bytes = udp(macs, A, OUTSIDE, tagged, text);
        within(a, || frame::send("eth0", &bytes).unwrap());
    };
    // Also of a flow that is there already.
    for n in 1..=2 {
        send(true, b"tagged");
        wait::until("the tagged frame is dropped", || {
            world.dropped(DropReason::BadEthertype) == n
        });
        send(false, b"plain");
        let mut text = [0; 16];
        let len = server.recv(&mut text).unwrap();
        assert_eq!(text[..len], *b"plain");
    }
    assert!(pings(a, OUTSIDE, SOON));
}

#[test]
fn a_tagged_frame_of_the_uplink_reaches_no_container() {
    let world = World::with_ports(&["a"], &["7000:7000/udp"]);
    let server = udp_socket(world.container("a"), 7000, None);
    let macs = [mac(&world.outside, "eth0"), mac(&world.host, UPLINK)];
    for (tagged, text) in [(true, &b"tagged"[..]), (false, b"plain")] {
        let bytes = udp(macs, OUTSIDE, HOST, tagged, text);
        within(&world.outside, || frame::send("eth0", &bytes).unwrap());
    }
    // Frames of one sender stay in order: the tagged one would be the first.
    let mut text = [0; 16];
    let len = server.recv(&mut text).unwrap();
    assert_eq!(text[..len], *b"plain");
    let flows = world.run(&["ct", "list"]);
    assert!(flows.contains("sport=4000"), "{flows}");
    assert!(!flows.contains("sport=4005"), "it made a flow: {flows}");
}
