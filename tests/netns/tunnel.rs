//! Uplinks without an Ethernet header, on real sockets: a tun device whose other end is outside.

use std::{io::ErrorKind, net::Ipv4Addr};

use aya::programs::{SchedClassifier, TcAttachType};
use netpath::lab::links;
use netpath_common::{DropReason, testing};
use netpath_tests::{
    agent::Agent,
    dual_stack::{A6, OUTSIDE6},
    netns::{Namespace, stdout, within},
    probe::{
        BRIEFLY, Options, SOON, at, at6, ping, ping6, pings, pings6, tcp, tcp_fails, tcp_server,
        tcp_server6, transfer, udp, udp_socket,
    },
    topology::{A, GATEWAY, HOST, OUTSIDE, World, behind_firewall, succeeded},
    tunnel::{
        FAR, FAR6, Kind, NEAR, NEAR6, PUBLISHED, Site, TUNNEL, Tunnel, servers, sockets_in,
        sockets_out,
    },
    wait,
    ways::ip,
};
use socket2::{Domain, Protocol, Socket, Type};

#[test]
fn a_default_route_into_a_tunnel_makes_it_an_uplink() {
    let site = Site::plain();
    site.works();
    let status = site.world.run(&["status"]);
    for hook in ["tunnel-in", "tunnel-out"] {
        assert!(status.contains(hook), "{hook}: {status}");
    }
    let flows = site.world.run(&["ct", "list"]);
    let masqueraded = format!("src={A} dst={FAR} ");
    assert!(
        flows.contains(&masqueraded) && flows.contains(&format!("src={FAR} dst={NEAR} ")),
        "{flows}"
    );
}

#[test]
fn a_tunnel_is_named_beside_the_interface_that_leads_out() {
    let world = World::dual_stack(&["a"]);
    let tunnel = Tunnel::new(&world, Kind::Tun).unwrap();
    let names = format!("uplinks = [\"uplink0\", \"{TUNNEL}\"]");
    world.up(&world.dual_stack_config(&["a"], PUBLISHED, &names));
    let site = Site { world, tunnel };
    site.works();
    // The other one goes on as ever.
    let (a, outside) = (site.a(), site.far());
    let _servers = (
        servers(outside, "outside", 7000, 7000),
        servers(a, "a", 80, 53),
    );
    assert!(tcp(a, at(OUTSIDE, 7000)).is_from("outside", HOST));
    assert!(pings6(a, OUTSIDE6, SOON));
    assert!(tcp(outside, at(HOST, 8080)).is_from("a", OUTSIDE));
    site.loses_nothing();
}

#[test]
fn closed_ports_refuse_in_both_directions() {
    let site = Site::plain();
    let [out, out6] = sockets_out(site.a(), 7999);
    // Nobody listens in the container: its own refusal, translated.
    let [inward, inward6] = sockets_in(site.far());
    for socket in [out, out6, inward, inward6] {
        socket.send(b"?").unwrap();
        let error = socket.recv(&mut [0; 10]).unwrap_err();
        let found = error.kind();
        assert_eq!(found, ErrorKind::ConnectionRefused, "{socket:?}: {error}");
    }
    site.loses_nothing();
}

#[test]
fn a_hop_limit_of_one_ends_at_the_gateway() {
    let site = Site::plain();
    let ttl = |ttl| Options {
        ttl: Some(ttl),
        ..Options::default()
    };
    let reply = ping(site.a(), FAR, ttl(1));
    let told = (reply.icmp_type, reply.code, reply.from);
    assert_eq!(told, (11, 0, GATEWAY), "{reply:?}");
    let reply = ping(site.a(), FAR, ttl(2));
    assert!(reply.is_echo_of(FAR), "{reply:?}");
    let reply = ping6(site.a(), FAR6, ttl(1));
    assert_eq!((reply.icmp_type, reply.code), (3, 0), "{reply:?}");
    let reply = ping6(site.a(), FAR6, ttl(2));
    assert!(reply.is_echo_of(FAR6), "{reply:?}");
}

#[test]
fn the_hosts_own_connections_are_its_own() {
    let site = Site::plain();
    let (host, far) = (&site.world.host, site.far());
    let _servers = (
        servers(far, "far", 7000, 7000),
        servers(host, "host", 7100, 7100),
    );
    for (from, to, to6, port, name, seen, seen6) in [
        (host, FAR, FAR6, 7000, "far", NEAR, NEAR6),
        (far, NEAR, NEAR6, 7100, "host", FAR, FAR6),
    ] {
        assert!(pings(from, to, SOON) && pings6(from, to6, SOON));
        assert!(tcp(from, at(to, port)).is_from(name, seen));
        assert!(udp(from, at(to, port)).is_from(name, seen));
        assert!(tcp(from, at6(to6, port)).is_from(name, seen6));
        assert!(udp(from, at6(to6, port)).is_from(name, seen6));
        transfer(from, at(to, 7200), other(&site, from), 7200, 2_000_000);
        transfer(from, at6(to6, 7200), other(&site, from), 7200, 2_000_000);
    }
    site.loses_nothing();
    assert!(!site.world.run(&["ct", "list"]).contains("7000"));
    // The host's stack answers for closed ports.
    tcp_fails(far, at(NEAR, 7999), ErrorKind::ConnectionRefused);
}

fn other<'s>(site: &'s Site, one: &Namespace) -> &'s Namespace {
    if std::ptr::eq(one, &raw const site.world.host) {
        site.far()
    } else {
        &site.world.host
    }
}

#[test]
fn nothing_else_comes_in_and_nothing_leaves_untranslated() {
    let site = Site::plain();
    let (a, far) = (site.a(), site.far());
    let _servers = servers(a, "a", 80, 53);
    ip(far, &format!("route add 172.17.0.0/16 dev {TUNNEL}"));
    ip(far, &format!("-6 route add fd00:17::/64 dev {TUNNEL}"));
    assert!(!pings(far, A, BRIEFLY) && !pings6(far, A6, BRIEFLY));
    tcp_fails(far, at(A, 80), ErrorKind::TimedOut);
    tcp_fails(far, at6(A6, 80), ErrorKind::TimedOut);
    assert!(site.world.dropped(DropReason::DirectAccess) >= 4);
    // What has a container's address that nobody has: forged on the host itself.
    let stray = Ipv4Addr::new(172, 17, 0, 99);
    let socket = within(&site.world.host, || {
        let raw = Protocol::from(libc::IPPROTO_RAW);
        Socket::new(Domain::IPV4, Type::RAW, Some(raw)).unwrap()
    });
    let packet = testing::udp(stray.octets(), 5000, FAR.octets(), 7000, b"?");
    // The kernel says that it was not sent.
    let _ = socket.send_to(&packet.bytes(), &at(FAR, 0).into());
    assert_eq!(site.world.dropped(DropReason::UntranslatedSource), 1);
}

#[test]
fn a_firewall_of_the_hosts_sees_them() {
    behind_firewall("visible", || {
        let site = Site::new(Kind::Tun, "", "mtu = 1500");
        site.works();
        site.transfers(1_000_000);
        let [out, out6] = sockets_out(site.a(), 7999);
        for socket in [out, out6] {
            socket.send(b"?").unwrap();
            let error = socket.recv(&mut [0; 10]).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::ConnectionRefused, "{error}");
        }
        site.loses_nothing();
    });
}

/// Where the flow is made on the way out the answer to the container is a frame in the place of a packet
/// without one.
#[test]
fn a_refused_flow_is_told_whatever_sees_it() {
    for firewall in ["bypass", "visible"] {
        let more = format!("firewall = \"{firewall}\"");
        let site = Site::new(Kind::Tun, "endpoint_flows = 1\n", &more);
        let a = site.a();
        let first = udp_socket(a, 0, Some(at(FAR, 7001)));
        first.send(b"the one flow").unwrap();
        wait::until("it is there", || {
            site.world.run(&["ct", "list"]).contains("7001")
        });
        for socket in sockets_out(a, 7000) {
            socket.send(b"one too many").unwrap();
            let refused = socket.recv(&mut [0; 16]).unwrap_err().kind();
            let prohibited = [ErrorKind::HostUnreachable, ErrorKind::PermissionDenied];
            assert!(prohibited.contains(&refused), "{firewall}: {refused}");
        }
        assert_eq!(site.world.dropped(DropReason::EndpointQuota), 2);
    }
}

#[test]
fn the_agent_takes_a_tunnel_that_gets_the_default_route() {
    let world = World::dual_stack(&["a"]);
    world.up(&world.dual_stack_config(&["a"], PUBLISHED, ""));
    assert!(!world.pins().join("progs/np_tunnel_in").exists());
    let agent = Agent::start(&world);
    agent.wait_until_ready();
    let tunnel = Tunnel::new(&world, Kind::Tun).unwrap();
    tunnel.take_default_route(&world);
    wait::until("the tunnel is an uplink", || {
        world.run(&["status"]).contains("tunnel-out")
    });
    let site = Site { world, tunnel };
    // What left before by the other uplink, or met the tunnel too early, is over.
    wait::until("containers get out", || pings(site.a(), FAR, BRIEFLY));
    site.leads_out();
    site.leads_in();
    assert!(agent.terminate());
}

/// As when a line is dialled anew: another device of the same name.
#[test]
fn the_agent_follows_a_tunnel_that_goes_and_comes_again() {
    let mut site = Site::plain();
    let agent = Agent::start(&site.world);
    agent.wait_until_ready();
    site.works();
    let index = |site: &Site| within(&site.world.host, || links::index(TUNNEL).unwrap());
    let before = index(&site);
    let Site { world, tunnel } = site;
    drop(tunnel);
    wait::until("the uplink is gone", || {
        !world.run(&["status"]).contains("tunnel-out")
    });
    let tunnel = Tunnel::new(&world, Kind::Tun).unwrap();
    tunnel.take_default_route(&world);
    site = Site { world, tunnel };
    assert_ne!(index(&site), before);
    wait::until("containers get out", || pings(site.a(), FAR, BRIEFLY));
    wait::until("by IPv6 as well", || pings6(site.a(), FAR6, BRIEFLY));
    site.leads_out();
    site.leads_in();
    assert!(agent.terminate());
}

/// How many programs are at the tunnel, by the kernel's own word.
fn programs(host: &Namespace) -> usize {
    let at = |place| SchedClassifier::query_tcx(TUNNEL, place).unwrap().1.len();
    within(host, || {
        at(TcAttachType::Ingress) + at(TcAttachType::Egress)
    })
}

#[test]
fn down_leaves_no_program_and_up_repairs() {
    let site = Site::plain();
    let world = &site.world;
    assert_eq!(programs(&world.host), 2);
    // Somebody takes one away.
    let links = world.pins().join("links");
    let pin = std::fs::read_dir(&links)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .find(|path| path.to_string_lossy().contains("tunnel-out"))
        .unwrap();
    std::fs::remove_file(pin).unwrap();
    wait::until("it is gone", || programs(&world.host) == 1);
    let status = world.run(&["status"]);
    let text = format!("the tunnel-out program is not attached to {TUNNEL}");
    assert!(status.contains(&text), "{status}");
    world.up(&world.dual_stack_config(&["a"], PUBLISHED, ""));
    assert_eq!(programs(&world.host), 2);
    site.works();

    world.run(&["down", "--all"]);
    assert!(!world.pins().exists());
    assert_eq!(programs(&world.host), 0);
    let _server = tcp_server(site.far(), "far", 7000);
    assert!(tcp(&world.host, at(FAR, 7000)).is_from("far", NEAR));
}

#[test]
fn without_tcx_by_filters() {
    let site = Site::plain();
    let world = &site.world;
    world.run(&["down", "--all"]);
    let file = world.file("netpath.toml");
    let mut up = world.netpath_command();
    up.env("NETPATH_FORCE_CLSACT", "1").args(["up", "-c"]);
    succeeded("netpath up", up.arg(file).arg("--yes").output().unwrap());
    assert_eq!(programs(&world.host), 0);
    let filters = |direction| {
        let words = ["filter", "show", "dev", TUNNEL, direction];
        stdout(&world.host, "tc", &words)
    };
    assert!(filters("ingress").contains("np_tunnel_in"));
    assert!(filters("egress").contains("np_tunnel_out"));
    site.works();
    world.run(&["down", "--all"]);
    assert_eq!(filters("ingress"), "");
}

/// IPv6's programs are added where a network needs them, whatever came first.
#[test]
fn ipv6_comes_later() {
    let world = World::dual_stack(&["a", "b"]);
    let tunnel = Tunnel::new(&world, Kind::Tun).unwrap();
    tunnel.take_default_route(&world);
    let one = world.network("bridge", "netpath0", "172.17.0.0/16", "");
    world.up(&(one + &world.endpoint("a", A, &[])));
    let program = world.pins().join("progs/np_tunnel_out6");
    assert!(!program.exists());
    world.run(&[
        "network",
        "create",
        "--ipv6",
        "--subnet",
        "fd00:18::/64",
        "six",
    ]);
    assert!(program.exists());
    let name = world.container("b").name().to_owned();
    world.run(&[
        "endpoint",
        "add",
        "--name",
        "b",
        "--network",
        "six",
        "--netns",
        &name,
    ]);
    let _server = tcp_server6(&world.outside, "far", 7000);
    assert!(tcp(world.container("b"), at6(FAR6, 7000)).is_from("far", NEAR6));
    assert!(pings(world.container("a"), FAR, SOON));
}

#[test]
fn xdp_needs_an_ethernet_header() {
    let world = World::dual_stack(&["a"]);
    let tunnel = Tunnel::new(&world, Kind::Tun).unwrap();
    tunnel.take_default_route(&world);
    let config = |hook: &str| world.dual_stack_config(&["a"], PUBLISHED, hook);
    let output = world.try_up(&config("uplink_hook = \"xdp\""));
    let errors = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{errors}");
    assert!(
        errors.contains(TUNNEL) && errors.contains("XDP"),
        "{errors}"
    );
    assert!(!world.pins().exists(), "all was taken back");
    world.up(&config("early_drop = true"));
    let site = Site { world, tunnel };
    site.works();
}
