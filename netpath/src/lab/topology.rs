//! The lab's surroundings: four namespaces, the uplink, and netpath itself run in them.
//!
//! Owns names and addresses, and the configuration that is handed to `netpath up`. Bridge, veth
//! pairs and translation are netpath's own work, done as for any user.

use std::{
    net::{Ipv4Addr, SocketAddrV4},
    os::fd::AsFd,
};

use super::{
    Error, Namespace,
    cleanup::{self, Workdir},
    command::Netpath,
    links,
    server::Server,
};

/// The namespaces by their fixed names: host, PINK, ORANGE, outside.
pub(super) const NAMESPACES: [&str; 4] = [
    HOST_NAMESPACE,
    "netpath-lab-pink",
    "netpath-lab-orange",
    "netpath-lab-outside",
];
/// The namespace that netpath manages; its name is the name of the instance too.
pub(super) const HOST_NAMESPACE: &str = "netpath-lab-host";

/// The host's address on the uplink.
pub(super) const HOST: Ipv4Addr = Ipv4Addr::new(198, 51, 100, 1);
/// The host on the other side of the uplink.
pub(super) const OUTSIDE: Ipv4Addr = Ipv4Addr::new(198, 51, 100, 2);
/// The network's first address.
pub(super) const SUBNET: Ipv4Addr = Ipv4Addr::new(172, 17, 0, 0);
/// Its prefix length.
pub(super) const PREFIX: u8 = 16;
/// The bridge's address.
pub(super) const GATEWAY: Ipv4Addr = Ipv4Addr::new(172, 17, 0, 1);
/// The container with the published ports.
pub(super) const PINK: Ipv4Addr = Ipv4Addr::new(172, 17, 0, 2);
/// The other container.
pub(super) const ORANGE: Ipv4Addr = Ipv4Addr::new(172, 17, 0, 3);
/// The host's interface that leads out.
pub(super) const UPLINK: &str = "uplink0";
/// The network's bridge.
pub(super) const BRIDGE: &str = "netpath0";
/// The host port that leads to PINK's web server.
pub(super) const WEB: u16 = 8080;
/// The host port that leads to PINK's name server.
pub(super) const DNS: u16 = 5353;
/// The port that the outside host's servers listen on.
pub(super) const OUTSIDE_PORT: u16 = 7000;

const CONFIG: &str = r#"# The lab's network: Docker's bridge defaults.
[limits]
conntrack = 65536

[[network]]
name = "bridge"
bridge = "netpath0"
subnet = "172.17.0.0/16"

[[network.endpoint]]
name = "PINK"
netns = "netpath-lab-pink"
ip = "172.17.0.2"
publish = ["8080:80", "5353:53/udp"]

[[network.endpoint]]
name = "ORANGE"
netns = "netpath-lab-orange"
ip = "172.17.0.3"
"#;

/// Everything that the steps look at. Fields go in the order in which they must be removed.
#[derive(Debug)]
pub(super) struct Lab {
    /// Servers in PINK, ORANGE and outside.
    _servers: Vec<Server>,
    /// The namespace that netpath manages.
    pub(super) host: Namespace,
    /// The container that publishes ports.
    pub(super) pink: Namespace,
    /// The other container.
    pub(super) orange: Namespace,
    /// The rest of the world.
    pub(super) outside: Namespace,
    /// netpath, acting on the host.
    pub(super) netpath: Netpath,
    _workdir: Workdir,
}

impl Lab {
    /// Builds the namespaces and the uplink. Nothing of netpath is in them yet.
    pub(super) fn build() -> Result<Self, Error> {
        let workdir = Workdir::take()?;
        let [host, pink, orange, outside] = NAMESPACES.map(Namespace::create);
        let (host, pink, orange, outside) = (host?, pink?, orange?, outside?);
        host.run(|| {
            links::add_veth(UPLINK, "eth0")?;
            links::move_to("eth0", outside.file().as_fd())?;
            links::add_address(UPLINK, HOST, 24)?;
            links::up(UPLINK)
        })??;
        outside.run(|| {
            links::add_address("eth0", OUTSIDE, 24)?;
            links::up("eth0")
        })??;
        host.run(|| links::add_route(Ipv4Addr::UNSPECIFIED, 0, OUTSIDE))??;

        let any = Ipv4Addr::UNSPECIFIED;
        let servers = vec![
            Server::tcp(&pink, "PINK", SocketAddrV4::new(any, 80))?,
            Server::udp(&pink, "PINK", SocketAddrV4::new(any, 53))?,
            // Deliberately on the published port's number, on its own loopback address only.
            Server::tcp(
                &orange,
                "ORANGE",
                SocketAddrV4::new(Ipv4Addr::LOCALHOST, WEB),
            )?,
            Server::tcp(&outside, "outside", SocketAddrV4::new(any, OUTSIDE_PORT))?,
            Server::udp(&outside, "outside", SocketAddrV4::new(any, OUTSIDE_PORT))?,
        ];
        let config = workdir.path().join("netpath.toml");
        cleanup::write(&config, CONFIG)?;
        let netpath = Netpath::new(HOST_NAMESPACE, workdir.path().join("state"), config)?;
        Ok(Self {
            _servers: servers,
            host,
            pink,
            orange,
            outside,
            netpath,
            _workdir: workdir,
        })
    }
}
