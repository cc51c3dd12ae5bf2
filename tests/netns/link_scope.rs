//! What means something on one link only: it works within the bridge, and does not leave.

use std::{
    net::{Ipv4Addr, UdpSocket},
    process::{Child, Command, Stdio},
};

use netpath_common::DropReason;
use netpath_tests::{
    multicast::Router,
    netns::{Namespace, command, within},
    probe::udp_socket,
    skip,
    topology::{A, B, GATEWAY, UPLINK, World},
    wait,
};

const MDNS: Ipv4Addr = Ipv4Addr::new(224, 0, 0, 251);

/// A socket in the group of multicast DNS.
fn mdns(namespace: &Namespace, own: Ipv4Addr) -> UdpSocket {
    let socket = udp_socket(namespace, 5353, None);
    within(namespace, || {
        socket.join_multicast_v4(&MDNS, &own).unwrap();
    });
    socket
}

#[test]
fn containers_of_a_network_find_each_other_by_multicast() {
    let world = World::with_ports(&["a", "b"], &[]);
    let a = mdns(world.container("a"), A);
    let b = mdns(world.container("b"), B);
    b.set_multicast_loop_v4(false).unwrap();
    b.send_to(b"who is a?", (MDNS, 5353)).unwrap();
    let mut text = [0; 32];
    let (len, from) = a.recv_from(&mut text).unwrap();
    assert_eq!((&text[..len], from.ip()), (&b"who is a?"[..], B.into()));
    // The answer of multicast DNS goes to whom has asked, or to all.
    a.send_to(b"I am", from).unwrap();
    let (len, from) = b.recv_from(&mut text).unwrap();
    assert_eq!((&text[..len], from.ip()), (&b"I am"[..], A.into()));
    assert!(world.drops().is_empty(), "{:?}", world.drops());
}

#[test]
fn link_local_destinations_do_not_leave() {
    let world = World::with_ports(&["a"], &[]);
    let metadata = Ipv4Addr::new(169, 254, 169, 254);
    let socket = udp_socket(world.container("a"), 4000, None);
    socket.send_to(b"?", (metadata, 80)).unwrap();
    wait::until("it is dropped", || {
        world.dropped(DropReason::LinkScope) == 1
    });
}

#[test]
fn what_a_host_that_routes_multicast_would_send_out_is_dropped() {
    let world = World::with_ports(&["a"], &[]);
    let group = Ipv4Addr::new(239, 1, 2, 3);
    let _router = within(&world.host, || {
        Router::new("netpath0", UPLINK, A, group).unwrap()
    });
    let socket = udp_socket(world.container("a"), 4000, None);
    socket.set_multicast_ttl_v4(8).unwrap();
    wait::until("it is dropped", || {
        socket.send_to(b"?", (group, 5004)).unwrap();
        world.dropped(DropReason::LinkScope) > 0
    });
}

/// A program, until it is dropped.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// The DHCP server of busybox on an interface.
fn dhcp_server(world: &World, namespace: &Namespace, interface: &str, name: &str) -> Running {
    let (config, leases) = (world.file(name), world.file(&format!("{name}.leases")));
    std::fs::write(&leases, "").unwrap();
    std::fs::write(
        &config,
        format!(
            "start 172.17.9.9\nend 172.17.9.9\ninterface {interface}\nlease_file {}\npidfile {}\n\
             option subnet 255.255.0.0\noption router {GATEWAY}\n",
            leases.display(),
            world.file(&format!("{name}.pid")).display()
        ),
    )
    .unwrap();
    let child = within(namespace, || {
        Command::new("busybox")
            // Before it offers an address it asks by ARP whether that is taken: two seconds unless told
            // otherwise, when the client has given up.
            .args(["udhcpd", "-f", "-a", "20"])
            .arg(&config)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap()
    });
    wait::until("the DHCP server has its socket", || {
        within(namespace, || UdpSocket::bind(("0.0.0.0", 67)).is_err())
    });
    Running(child)
}

/// Whether the DHCP client of busybox gets a lease in a container; it is told what and sets nothing.
fn leases(world: &World, name: &str) -> Option<String> {
    let script = world.file("lease.sh");
    std::fs::write(
        &script,
        "#!/bin/sh\n[ \"$1\" = bound ] && echo \"lease $ip\"\nexit 0\n",
    )
    .unwrap();
    let mut mode = std::fs::metadata(&script).unwrap().permissions();
    std::os::unix::fs::PermissionsExt::set_mode(&mut mode, 0o700);
    std::fs::set_permissions(&script, mode).unwrap();
    let script = script.to_str().unwrap();
    let arguments = [
        "udhcpc", "-i", "eth0", "-n", "-q", "-f", "-t", "4", "-T", "1", "-s", script,
    ];
    let output = command(world.container(name), "busybox", &arguments);
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let line = text.lines().find_map(|l| l.strip_prefix("lease "))?;
    Some(line.to_owned())
}

#[test]
fn a_dhcp_server_of_the_host_serves_containers() {
    if skip::missing("busybox") {
        return;
    }
    let world = World::with_ports(&["a"], &[]);
    let _server = dhcp_server(&world, &world.host, "netpath0", "udhcpd");
    assert_eq!(leases(&world, "a").as_deref(), Some("172.17.9.9"));
    assert_eq!(world.dropped(DropReason::RogueDhcp), 0);
}

#[test]
fn a_dhcp_server_in_a_container_serves_nobody() {
    if skip::missing("busybox") {
        return;
    }
    let world = World::with_ports(&["a", "b"], &[]);
    let _server = dhcp_server(&world, world.container("b"), "eth0", "udhcpd");
    assert_eq!(leases(&world, "a"), None);
    assert!(
        world.dropped(DropReason::RogueDhcp) > 0,
        "{:?}",
        world.drops()
    );
}
