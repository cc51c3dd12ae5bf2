//! A host with a second interface, a LAN to which no default route leads: who is there has what the outside
//! has, and a host that was no router is none with netpath, but for its containers.

use std::{
    fs,
    net::{Ipv4Addr, Ipv6Addr, SocketAddr},
    time::Duration,
};

use netpath_common::DropReason;
use netpath_tests::{
    agent::Agent,
    dual_stack::{A6, HOST6, OUTSIDE6, set6, setting6},
    netns::{Namespace, within},
    probe::{
        BRIEFLY, SOON, at, at6, pings, pings6, tcp, tcp_server, tcp_server6, udp, udp_server,
        udp_server6,
    },
    topology::{A, HOST, OUTSIDE, UPLINK, World},
    wait,
    ways::{connect, ip, set},
};

/// The host's other interface.
const LAN: &str = "lan0";
/// The host there.
pub(crate) const HOST2: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 1);
/// Somebody there.
pub(crate) const CLIENT: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 2);
/// The host there, by IPv6.
const HOST2_6: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 2, 0, 0, 0, 0, 1);
/// Somebody there, likewise.
pub(crate) const CLIENT6: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 2, 0, 0, 0, 0, 2);
/// How long nothing has to happen.
pub(crate) const NEVER: Duration = Duration::from_millis(400);

/// The host with both interfaces, the outside and the LAN: both take the host for their router.
pub(crate) struct Site {
    pub(crate) world: World,
    pub(crate) lan: Namespace,
}

impl Site {
    pub(crate) fn new() -> Self {
        let mut world = World::dual_stack(&["a"]);
        world.add_container("lan");
        let lan = world.take_container("lan");
        connect((&world.host, LAN), (&lan, "eth0"));
        for line in [
            format!("addr add {HOST2}/24 dev {LAN}"),
            format!("addr add {HOST2_6}/64 dev {LAN} nodad"),
        ] {
            ip(&world.host, &line);
        }
        for line in [
            format!("addr add {CLIENT}/24 dev eth0"),
            format!("addr add {CLIENT6}/64 dev eth0 nodad"),
            format!("route add default via {HOST2}"),
            format!("-6 route add default via {HOST2_6}"),
        ] {
            ip(&lan, &line);
        }
        ip(
            &world.outside,
            &format!("route add 192.0.2.0/24 via {HOST}"),
        );
        ip(
            &world.outside,
            &format!("-6 route add 2001:db8:2::/64 via {HOST6}"),
        );
        Self { world, lan }
    }

    pub(crate) fn config(&self, more: &str) -> String {
        self.world
            .dual_stack_config(&["a"], &["8080:80", "5353:53/udp"], more)
    }

    pub(crate) fn up(more: &str) -> Self {
        let site = Self::new();
        site.world.up(&site.config(more));
        site
    }

    /// Whether the LAN reaches the outside through the host, of either family.
    fn passes(&self, within_time: Duration) -> [bool; 2] {
        [
            pings(&self.lan, OUTSIDE, within_time),
            pings6(&self.lan, OUTSIDE6, within_time),
        ]
    }

    /// Whether the outside reaches the LAN through the host, by IPv6.
    pub(crate) fn passes_back(&self, within_time: Duration) -> bool {
        pings6(&self.world.outside, CLIENT6, within_time)
    }

    /// The host's own forwarding, of either family.
    fn forwards(&self) -> [String; 2] {
        let knob = "/proc/sys/net/ipv4/ip_forward";
        let v4 = within(&self.world.host, || fs::read_to_string(knob)).unwrap();
        [
            v4.trim().to_owned(),
            setting6(&self.world.host, "all", "forwarding"),
        ]
    }

    /// That of an interface.
    fn forwards_by(&self, ifname: &str) -> [String; 2] {
        let knob = format!("/proc/sys/net/ipv4/conf/{ifname}/forwarding");
        let v4 = within(&self.world.host, || fs::read_to_string(knob)).unwrap();
        [
            v4.trim().to_owned(),
            setting6(&self.world.host, ifname, "forwarding"),
        ]
    }

    /// Makes the host a router, as an administrator does, or another engine.
    pub(crate) fn make_router(&self) {
        set(&self.world.host, "ip_forward", "1");
        set6(&self.world.host, "all", "forwarding", "1");
    }

    /// Containers reach the outside and the LAN, and are reached by what they publish.
    pub(crate) fn works(&self) {
        let a = self.world.container("a");
        for (v4, v6) in [(OUTSIDE, OUTSIDE6), (CLIENT, CLIENT6)] {
            assert!(pings(a, v4, SOON), "{v4}");
            assert!(pings6(a, v6, SOON), "{v6}");
        }
        let _servers = [tcp_server(a, "a", 80), tcp_server6(a, "a6", 80)];
        assert!(tcp(&self.lan, at(HOST, 8080)).is_from("a", CLIENT));
        assert!(tcp(&self.lan, at6(HOST6, 8080)).is_from("a6", CLIENT6));
        assert!(tcp(&self.world.outside, at(HOST, 8080)).is_from("a", OUTSIDE));
        assert!(tcp(&self.world.outside, at6(HOST6, 8080)).is_from("a6", OUTSIDE6));
    }
}

/// Whether a kernel tells IPv6 forwarding apart by interface (Linux 6.17).
fn tells_apart(site: &Site) -> bool {
    let knob = "/proc/sys/net/ipv6/conf/lo/force_forwarding";
    within(&site.world.host, || fs::exists(knob)).unwrap()
}

#[test]
fn who_is_there_has_the_published_ports_with_his_address() {
    let site = Site::up("");
    let a = site.world.container("a");
    let _servers = [
        tcp_server(a, "a", 80),
        udp_server(a, "a", 53),
        tcp_server6(a, "a6", 80),
        udp_server6(a, "a6", 53),
    ];
    for host in [HOST2, HOST] {
        assert!(
            tcp(&site.lan, at(host, 8080)).is_from("a", CLIENT),
            "{host}"
        );
        assert!(
            udp(&site.lan, at(host, 5353)).is_from("a", CLIENT),
            "{host}"
        );
    }
    for host in [HOST2_6, HOST6] {
        let answer = tcp(&site.lan, at6(host, 8080));
        assert!(answer.is_from("a6", CLIENT6), "{host}: {answer:?}");
        let answer = udp(&site.lan, at6(host, 5353));
        assert!(answer.is_from("a6", CLIENT6), "{host}: {answer:?}");
    }
}

#[test]
fn containers_go_there_with_the_hosts_address_of_that_side() {
    let site = Site::up("");
    let a = site.world.container("a");
    let _servers = [
        tcp_server(&site.lan, "lan", 80),
        tcp_server6(&site.lan, "lan6", 80),
    ];
    assert!(tcp(a, at(CLIENT, 80)).is_from("lan", HOST2));
    let answer = tcp(a, at6(CLIENT6, 80));
    assert!(answer.is_from("lan6", HOST2_6), "{answer:?}");
    assert!(pings(a, CLIENT, SOON) && pings6(a, CLIENT6, SOON));
}

#[test]
fn nobody_there_reaches_a_container_by_its_own_address() {
    // Nor where only the other interface is an uplink: what the host forwards into the network has been
    // seen by nobody then.
    for uplinks in [String::new(), format!("uplinks = [\"{UPLINK}\"]")] {
        let site = Site::new();
        // Else the kernel forwards nothing from there.
        site.make_router();
        site.world.up(&site.config(&uplinks));
        assert!(!pings(&site.lan, A, NEVER) && !pings6(&site.lan, A6, NEVER));
        let count = site.world.dropped(DropReason::DirectAccess);
        assert!(count >= 2, "{uplinks}: {count}");
        assert_eq!(site.passes(SOON), [true; 2], "{uplinks}");
    }
}

#[test]
fn a_host_that_was_no_router_is_none() {
    let site = Site::new();
    assert_eq!(site.passes(NEVER), [false; 2], "before");
    site.world.up(&site.config(""));
    site.works();
    assert_eq!(site.passes(NEVER), [false; 2]);
    assert!(!pings(&site.world.outside, CLIENT, NEVER));
    assert!(!pings6(&site.world.outside, CLIENT6, NEVER));
    // Each is counted.
    assert!(site.world.dropped(DropReason::NotARouter) >= 4);
    let of_six = if tells_apart(&site) { "0" } else { "1" };
    assert_eq!(site.forwards(), ["0", of_six]);
    // Interfaces to come are not made routers' either.
    assert_eq!(setting6(&site.world.host, "default", "forwarding"), "0");
    site.world.run(&["down", "--all"]);
    assert_eq!(site.forwards(), ["0", "0"]);
    for ifname in [UPLINK, LAN] {
        assert_eq!(site.forwards_by(ifname), ["0", "0"], "{ifname}");
    }
}

#[test]
fn a_way_out_that_is_no_uplink_is_closed_as_well() {
    let site = Site::up(&format!("uplinks = [\"{UPLINK}\"]"));
    let from_outside = || {
        [
            pings(&site.world.outside, CLIENT, NEVER),
            pings6(&site.world.outside, CLIENT6, NEVER),
        ]
    };
    assert_eq!(from_outside(), [false; 2]);
    assert!(site.world.dropped(DropReason::NotARouter) >= 2);
    // The kernel does not forward what comes in by that.
    assert_eq!(site.forwards_by(LAN)[0], "0");
    let passes = site.passes(NEVER);
    assert!(!passes[0]);
    assert!(
        !passes[1] || !tells_apart(&site),
        "IPv6 has a switch of its own for each interface"
    );
}

#[test]
fn a_host_that_is_a_router_stays_one() {
    let site = Site::new();
    site.make_router();
    assert_eq!(site.passes(SOON), [true; 2], "before");
    site.world.up(&site.config(""));
    assert_eq!(site.passes(SOON), [true; 2]);
    site.works();
    assert_eq!(site.world.dropped(DropReason::NotARouter), 0);
    site.world.run(&["down", "--all"]);
    assert_eq!(site.forwards(), ["1", "1"]);
    assert_eq!(site.passes(SOON), [true; 2], "after");
}

/// As another engine does that starts later.
#[test]
fn who_makes_the_host_a_router_later_means_it() {
    let site = Site::up("");
    let agent = Agent::start(&site.world);
    agent.wait_until_ready();
    assert_eq!(site.passes(NEVER), [false; 2]);
    site.make_router();
    wait::until("the agent sees that the host forwards", || {
        site.passes(NEVER) == [true; 2]
    });
    site.works();
    drop(agent);
    site.world.run(&["down", "--all"]);
    assert_eq!(site.forwards(), ["1", "1"]);
    assert_eq!(site.passes(SOON), [true; 2], "after");
}

/// Without an agent the next command sees it.
#[test]
fn so_does_a_command() {
    let site = Site::up("");
    site.make_router();
    assert_eq!(site.passes(NEVER), [false; 2]);
    site.world.up(&site.config(""));
    assert_eq!(site.passes(SOON), [true; 2]);
    // Who turns it off again takes it from the containers too, until somebody looks.
    set(&site.world.host, "ip_forward", "0");
    set6(&site.world.host, "all", "forwarding", "0");
    site.world.up(&site.config(""));
    site.works();
    assert_eq!(site.passes(NEVER), [false; 2]);
}

/// An interface that comes later, or another engine's bridge, is followed.
#[test]
fn an_interface_that_comes_later_is_an_uplink() {
    let site = Site::new();
    ip(&site.world.host, &format!("addr del {HOST2}/24 dev {LAN}"));
    ip(
        &site.world.host,
        &format!("addr del {HOST2_6}/64 dev {LAN}"),
    );
    site.world.up(&site.config(""));
    let agent = Agent::start(&site.world);
    agent.wait_until_ready();
    assert_eq!(site.forwards_by(LAN), ["0", "0"]);
    let a = site.world.container("a");
    let _server = tcp_server(a, "a", 80);
    let web = SocketAddr::V4(at(HOST2, 8080));
    ip(&site.world.host, &format!("addr add {HOST2}/24 dev {LAN}"));
    wait::until("the published port is served there", || {
        within(&site.lan, || netpath::lab::probe::tcp(web, None, BRIEFLY))
            .is_ok_and(|answer| answer.is_from("a", CLIENT))
    });
    assert!(pings(a, CLIENT, SOON));
    assert_eq!(site.passes(NEVER), [false; 2]);
    // One that has gone and come again is another one by the same name.
    ip(&site.world.host, &format!("link del {LAN}"));
    connect((&site.world.host, LAN), (&site.lan, "eth1"));
    ip(&site.lan, &format!("addr add {CLIENT}/24 dev eth1"));
    ip(&site.world.host, &format!("addr add {HOST2}/24 dev {LAN}"));
    wait::until("and again", || {
        within(&site.lan, || netpath::lab::probe::tcp(web, None, BRIEFLY))
            .is_ok_and(|answer| answer.is_from("a", CLIENT))
    });
}
