//! A host that has more than one way out: two gateways on its uplink, and a second uplink.
//!
//! Owns the surroundings and their changes. What the host itself runs is [`World`]'s.
//!
//! ```text
//!           uplink0 198.51.100.1 ──┬── lan0 198.51.100.2  gw1  203.0.113.17 ──┐
//! a ── host                        └── eth0 198.51.100.3  gw2  203.0.113.33 ──┴─ server 203.0.113.9
//!           uplink1 192.0.2.1 ─────── eth1 192.0.2.2      gw2
//! ```

use std::{
    fs, io,
    net::{Ipv4Addr, TcpListener},
    os::fd::AsFd,
    thread,
    time::Duration,
};

use netpath::lab::links;
use socket2::SockRef;

use crate::{
    agent::Agent,
    netns::{Namespace, stdout, within},
    probe::{Server, at},
    topology::{A, GATEWAY, UPLINK, World, assert_no_checksum_errors},
};

/// The second gateway on the first uplink.
pub const GATEWAY2: Ipv4Addr = Ipv4Addr::new(198, 51, 100, 3);
/// The host on the second uplink.
pub const HOST2: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 1);
/// The gateway on the second uplink: the second one again.
pub const OUTSIDE2: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 2);
/// The server behind both gateways.
pub const SERVER: Ipv4Addr = Ipv4Addr::new(203, 0, 113, 9);
/// The host's second interface that leads out.
pub const UPLINK2: &str = "uplink1";
/// The UDP port that the server answers on.
pub const SERVER_PORT: u16 = 7000;
/// The TCP port that the server echoes on.
pub const ECHO_PORT: u16 = 7001;
/// The published port, UDP and TCP; it leads to port 53 of the container.
pub const PUBLISHED: u16 = 5353;

/// Why no agent runs.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Without {
    /// It never did.
    NeverStarted,
    /// It was killed.
    Killed,
}

/// The namespaces of one test.
#[derive(Debug)]
pub struct Ways {
    /// Host, container `a`, and the first gateway as the outside.
    pub world: World,
    /// The second gateway.
    pub second: Namespace,
    /// What both gateways lead to.
    pub server: Namespace,
    servers: Vec<Server>,
}

/// Runs `ip` in a namespace.
///
/// # Panics
/// When it fails.
#[track_caller]
pub fn ip(namespace: &Namespace, arguments: &str) {
    stdout(
        namespace,
        "ip",
        &arguments.split_whitespace().collect::<Vec<_>>(),
    );
}

/// Writes a kernel setting of a namespace, named by its path below `/proc/sys/net/ipv4`.
///
/// # Panics
/// When there is no such setting.
#[track_caller]
pub fn set(namespace: &Namespace, path: &str, value: &str) {
    within(namespace, || {
        fs::write(format!("/proc/sys/net/ipv4/{path}"), value)
    })
    .unwrap_or_else(|error| panic!("{path} = {value}: {error}"));
}

/// Makes a veth pair, one end in each namespace, both up.
///
/// # Panics
/// When a step fails.
pub fn connect(left: (&Namespace, &str), right: (&Namespace, &str)) {
    within(left.0, || {
        // A name of its own until it is where it belongs.
        links::add_veth(left.1, "moving").unwrap();
        links::move_to("moving", right.0.file().as_fd()).unwrap();
        links::up(left.1).unwrap();
    });
    ip(right.0, &format!("link set moving name {} up", right.1));
}

/// Echoes what one TCP connection brings. The thread ends with the connection, or when none came
/// in time.
fn echo(namespace: &Namespace) {
    let listener = within(namespace, || TcpListener::bind((SERVER, ECHO_PORT))).unwrap();
    // accept() honours the receive time-out.
    SockRef::from(&listener)
        .set_read_timeout(Some(Duration::from_secs(20)))
        .unwrap();
    thread::spawn(move || {
        if let Ok((mut stream, _)) = listener.accept() {
            let _ = io::copy(&mut stream.try_clone().unwrap(), &mut stream);
        }
    });
}

impl Ways {
    /// The surroundings, with neither netpath nor a way into the container.
    ///
    /// # Panics
    /// When the caller is not root.
    #[must_use]
    pub fn bare() -> Self {
        let mut world = World::new(&["a"]);
        world.add_container("gw2");
        world.add_container("server");
        let (second, server) = (world.take_container("gw2"), world.take_container("server"));
        let first = &world.outside;
        for gateway in [first, &second] {
            set(gateway, "ip_forward", "1");
        }
        for namespace in [first, &second, &server, &world.host] {
            // Answers may come another way than questions went.
            set(namespace, "conf/all/rp_filter", "0");
            set(namespace, "conf/default/rp_filter", "0");
        }
        set(&world.host, "conf/uplink0/rp_filter", "0");

        // A MAC address that is no port's: frames to a port's would still arrive after a change.
        ip(first, "link add lan0 address 02:00:5e:00:53:01 type bridge");
        ip(first, "addr flush dev eth0");
        ip(first, "link set eth0 master lan0");
        ip(first, "link set lan0 up");
        ip(first, "addr add 198.51.100.2/24 dev lan0");
        connect((first, "lan2"), (&second, "eth0"));
        ip(first, "link set lan2 master lan0");
        ip(&second, "addr add 198.51.100.3/24 dev eth0");

        connect((&world.host, UPLINK2), (&second, "eth1"));
        ip(&world.host, "addr add 192.0.2.1/24 dev uplink1");
        ip(&second, "addr add 192.0.2.2/24 dev eth1");

        connect((first, "wan"), (&server, "wan1"));
        connect((&second, "wan"), (&server, "wan2"));
        ip(first, "addr add 203.0.113.17/28 dev wan");
        ip(&second, "addr add 203.0.113.33/28 dev wan");
        ip(&server, "addr add 203.0.113.18/28 dev wan1");
        ip(&server, "addr add 203.0.113.34/28 dev wan2");
        ip(&server, "addr add 203.0.113.9/32 dev lo");
        ip(first, "route add 203.0.113.9/32 via 203.0.113.18");
        ip(&second, "route add 203.0.113.9/32 via 203.0.113.34");
        for subnet in ["198.51.100.0/24", "172.17.0.0/16"] {
            ip(&server, &format!("route add {subnet} via 203.0.113.17"));
        }
        ip(&server, "route add 192.0.2.0/24 via 203.0.113.33");
        let answer = at(SERVER, SERVER_PORT);
        let servers = vec![
            Server::udp(&server, "server", answer).unwrap(),
            Server::tcp(&server, "server", answer).unwrap(),
        ];
        echo(&server);
        Self {
            world,
            second,
            server,
            servers,
        }
    }

    /// With netpath, container `a` attached, its port 53 published, and no agent.
    ///
    /// # Panics
    /// When a step fails.
    #[must_use]
    pub fn new(without: Without) -> Self {
        Self::with_routes(without, &[])
    }

    /// The same, with changes to the host's routes first, in the words of `ip route`.
    ///
    /// # Panics
    /// When a step fails.
    #[must_use]
    pub fn with_routes(without: Without, routes: &[&str]) -> Self {
        let mut ways = Self::bare();
        let world = &ways.world;
        for route in routes {
            ip(&world.host, &format!("route {route}"));
        }
        let uplinks = format!("uplinks = [\"{UPLINK}\", \"{UPLINK2}\"]");
        let [udp, tcp] = ["udp", "tcp"].map(|proto| format!("{PUBLISHED}:53/{proto}"));
        let config = world.network("bridge", "netpath0", "172.17.0.0/16", &uplinks)
            + &world.endpoint("a", A, &[&udp, &tcp]);
        world.up(&config);
        if without == Without::Killed {
            let agent = Agent::start(world);
            agent.wait_until_ready();
            agent.kill();
        }
        ways.serve_in_container();
        ways
    }

    /// With the kernel's own forwarding in netpath's place: no translation, the gateways know the
    /// way back.
    ///
    /// # Panics
    /// When a step fails.
    #[must_use]
    pub fn forwarding() -> Self {
        let mut ways = Self::bare();
        let (host, a) = (&ways.world.host, ways.world.container("a"));
        connect((host, "veth-a"), (a, "eth0"));
        ip(host, &format!("addr add {GATEWAY}/16 dev veth-a"));
        ip(a, &format!("addr add {A}/16 dev eth0"));
        ip(a, &format!("route add default via {GATEWAY}"));
        set(host, "ip_forward", "1");
        ip(
            &ways.world.outside,
            "route add 172.17.0.0/16 via 198.51.100.1",
        );
        ways.serve_in_container();
        ways
    }

    fn serve_in_container(&mut self) {
        let a = self.world.container("a");
        let every = at(Ipv4Addr::UNSPECIFIED, 53);
        let servers = [
            Server::udp(a, "a", every).unwrap(),
            Server::tcp(a, "a", every).unwrap(),
        ];
        // Echo sockets that keep their identifier.
        set(a, "ping_group_range", "0 0");
        self.servers.extend(servers);
    }

    /// The first gateway forwards nothing any more, and the server knows to answer by the second.
    ///
    /// # Panics
    /// When a step fails.
    pub fn first_gateway_fails(&self) {
        set(&self.world.outside, "ip_forward", "0");
        ip(
            &self.server,
            "route replace 198.51.100.0/24 via 203.0.113.33",
        );
    }

    /// Gives the first gateway another MAC address; whether it tells the neighbours.
    ///
    /// # Panics
    /// When a step fails.
    pub fn change_mac(&self, announced: bool) {
        let notify = if announced { "1" } else { "0" };
        set(&self.world.outside, "conf/lan0/arp_notify", notify);
        ip(
            &self.world.outside,
            "link set lan0 address 02:00:5e:00:53:02",
        );
    }

    /// The kernel forgets a silent neighbour's address in seconds instead of half a minute.
    ///
    /// # Panics
    /// When a setting is missing.
    pub fn hasten_neighbours(&self) {
        for (name, value) in [
            ("base_reachable_time_ms", "500"),
            ("delay_first_probe_time", "1"),
            ("retrans_time_ms", "200"),
            ("ucast_solicit", "1"),
        ] {
            set(&self.world.host, &format!("neigh/{UPLINK}/{name}"), value);
        }
    }
}

impl Drop for Ways {
    fn drop(&mut self) {
        if !thread::panicking() {
            // The world looks after its own.
            assert_no_checksum_errors(&self.second);
            assert_no_checksum_errors(&self.server);
        }
    }
}
