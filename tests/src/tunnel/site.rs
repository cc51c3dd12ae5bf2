//! A host whose default routes lead into a tunnel, and what such a host has to do.
//!
//! Owns the questions that every kind of tunnel is asked.

use std::net::UdpSocket;

use super::{FAR, FAR6, Kind, NEAR, NEAR6, Tunnel};
use crate::{
    netns::Namespace,
    probe::{
        Options, Server, at, at6, ping, ping6, tcp, tcp_server, tcp_server6, transfer, udp,
        udp_server, udp_server6, udp_socket, udp_socket6,
    },
    topology::World,
};

/// Ports of the container.
pub const PUBLISHED: &[&str] = &["8080:80", "8081:81", "5353:53/udp"];

/// Host, container `a`, the outside, and the tunnel to it.
#[derive(Debug)]
pub struct Site {
    /// The namespaces.
    pub world: World,
    /// What leads there.
    pub tunnel: Tunnel,
}

impl Site {
    /// The tunnel is made first and gets the default routes. `limits`: lines before the network; `more`:
    /// further lines of it. `None` where the kernel does not have such tunnels.
    #[must_use]
    pub fn of_kind(kind: Kind, limits: &str, more: &str) -> Option<Self> {
        let world = World::dual_stack(&["a"]);
        let tunnel = Tunnel::new(&world, kind)?;
        tunnel.take_default_route(&world);
        world.up(&(limits.to_owned() + &world.dual_stack_config(&["a"], PUBLISHED, more)));
        Some(Self { world, tunnel })
    }

    /// The same of a kind that every kernel has.
    #[must_use]
    pub fn new(kind: Kind, limits: &str, more: &str) -> Self {
        Self::of_kind(kind, limits, more).unwrap()
    }

    /// A tun device, and nothing special.
    #[must_use]
    pub fn plain() -> Self {
        Self::new(Kind::Tun, "", "")
    }

    /// The container.
    #[must_use]
    pub fn a(&self) -> &Namespace {
        self.world.container("a")
    }

    /// The far end.
    #[must_use]
    pub const fn far(&self) -> &Namespace {
        &self.world.outside
    }

    /// What a network wants of an uplink, in both directions.
    #[track_caller]
    pub fn works(&self) {
        self.leads_out();
        self.leads_in();
        self.loses_nothing();
    }

    /// Nothing has been dropped so far.
    #[track_caller]
    pub fn loses_nothing(&self) {
        assert!(self.world.drops().is_empty(), "{:?}", self.world.drops());
    }

    /// The container reaches the far end, which sees the host.
    #[track_caller]
    pub fn leads_out(&self) {
        let (a, far) = (self.a(), self.far());
        let _servers = servers(far, "far", 7000, 7000);
        // The second time by what is remembered of the first.
        for _ in 0..2 {
            if self.tunnel.kind.carries_ipv4() {
                let reply = ping(a, FAR, Options::default());
                assert!(reply.is_echo_of(FAR) && reply.ttl == 63, "{reply:?}");
                assert!(tcp(a, at(FAR, 7000)).is_from("far", NEAR));
                assert!(udp(a, at(FAR, 7000)).is_from("far", NEAR));
            }
            if self.tunnel.kind.carries_ipv6() {
                let reply = ping6(a, FAR6, Options::default());
                assert!(reply.is_echo_of(FAR6) && reply.ttl == 63, "{reply:?}");
                assert!(tcp(a, at6(FAR6, 7000)).is_from("far", NEAR6));
                assert!(udp(a, at6(FAR6, 7000)).is_from("far", NEAR6));
            }
        }
    }

    /// The far end reaches the published ports, and the container sees it.
    #[track_caller]
    pub fn leads_in(&self) {
        let (a, far) = (self.a(), self.far());
        let _servers = servers(a, "a", 80, 53);
        for _ in 0..2 {
            if self.tunnel.kind.carries_ipv4() {
                assert!(tcp(far, at(NEAR, 8080)).is_from("a", FAR));
                assert!(udp(far, at(NEAR, 5353)).is_from("a", FAR));
            }
            if self.tunnel.kind.carries_ipv6() {
                assert!(tcp(far, at6(NEAR6, 8080)).is_from("a", FAR6));
                assert!(udp(far, at6(NEAR6, 5353)).is_from("a", FAR6));
            }
        }
    }

    /// TCP both ways over connections of both directions, `length` bytes each.
    #[track_caller]
    pub fn transfers(&self, length: usize) {
        let (a, far) = (self.a(), self.far());
        if self.tunnel.kind.carries_ipv4() {
            transfer(a, at(FAR, 7001), far, 7001, length);
            transfer(far, at(NEAR, 8081), a, 81, length);
        }
        if self.tunnel.kind.carries_ipv6() {
            transfer(a, at6(FAR6, 7001), far, 7001, length);
            transfer(far, at6(NEAR6, 8081), a, 81, length);
        }
    }
}

/// Servers of each protocol and family.
#[must_use]
pub fn servers(namespace: &Namespace, name: &str, tcp: u16, udp: u16) -> [Server; 4] {
    [
        tcp_server(namespace, name, tcp),
        udp_server(namespace, name, udp),
        tcp_server6(namespace, name, tcp),
        udp_server6(namespace, name, udp),
    ]
}

/// A UDP socket of each family to the far end.
#[must_use]
pub fn sockets_out(a: &Namespace, port: u16) -> [UdpSocket; 2] {
    [
        udp_socket(a, 0, Some(at(FAR, port))),
        udp_socket6(a, 0, Some(at6(FAR6, port))),
    ]
}

/// A UDP socket of each family to the published port 5353.
#[must_use]
pub fn sockets_in(far: &Namespace) -> [UdpSocket; 2] {
    [
        udp_socket(far, 0, Some(at(NEAR, 5353))),
        udp_socket6(far, 0, Some(at6(NEAR6, 5353))),
    ]
}
