//! Devices that lead out: what cannot, and what is none.

use netpath_common::DropReason;
use netpath_tests::{
    probe::udp_socket,
    topology::{A, World},
    wait,
    ways::ip,
};

#[test]
fn a_device_of_other_frames_is_refused_by_name() {
    let world = World::new(&["a"]);
    let mut config = world.network("bridge", "netpath0", "172.17.0.0/16", "uplinks = [\"lo\"]");
    config += &world.endpoint("a", A, &[]);
    let output = world.try_up(&config);
    assert_eq!(output.status.code(), Some(1));
    let errors = String::from_utf8_lossy(&output.stderr);
    for part in ["network `bridge`", "uplink lo ", "Ethernet frames"] {
        assert!(errors.contains(part), "{part}: {errors}");
    }
    assert!(!world.pins().exists(), "nothing was loaded");
}

#[test]
fn a_tunnel_that_is_no_uplink_lets_no_container_out() {
    let world = World::with_ports(&["a"], &[]);
    ip(&world.host, "tuntap add dev tun7 mode tun");
    ip(&world.host, "addr add 10.7.0.1/24 dev tun7");
    ip(&world.host, "link set tun7 up");
    ip(&world.host, "route add 192.0.2.0/24 dev tun7");
    // Nothing of a container leaves by it, translated or not.
    let socket = udp_socket(world.container("a"), 4000, None);
    socket.send_to(b"?", ("192.0.2.9", 7000)).unwrap();
    wait::until("it is dropped", || world.dropped(DropReason::NoUplink) == 1);
    assert!(!world.run(&["status"]).contains("tun7"));
}
