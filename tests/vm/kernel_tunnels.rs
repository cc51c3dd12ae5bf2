//! The kernel's own tunnels as uplinks, each of which hands its packets over in its own way.

use netpath_tests::{
    topology::{A, World},
    tunnel::{Kind, Site},
    ways::ip,
};

/// Everything that a network wants of an uplink.
fn works(kind: Kind) {
    let Some(site) = Site::of_kind(kind, "", "mtu = 1500") else {
        return;
    };
    site.works();
    site.transfers(300_000);
    site.loses_nothing();
}

#[test]
fn wireguard() {
    works(Kind::WireGuard);
}

#[test]
fn ip_in_ip() {
    works(Kind::Kernel("ipip"));
}

#[test]
fn sit() {
    works(Kind::Kernel("sit mode any"));
}

#[test]
fn gre() {
    works(Kind::Kernel("gre"));
}

#[test]
fn ip_in_ipv6() {
    works(Kind::Kernel("ip6tnl mode any"));
}

/// The kernel does not know of it that it takes no frames.
#[test]
fn gre_over_ipv6() {
    works(Kind::Kernel("ip6gre"));
}

/// Its packets begin with the outer header, which says to whom.
#[test]
fn gre_to_many_peers_is_refused() {
    let world = World::new(&["a"]);
    let add = "link add many0 type gre local 198.51.100.1 key 7";
    ip(&world.host, add);
    let uplinks = "uplinks = [\"many0\"]";
    let network = world.network("bridge", "netpath0", "172.17.0.0/16", uplinks);
    let output = world.try_up(&(network + &world.endpoint("a", A, &[])));
    let errors = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{errors}");
    assert!(errors.contains("uplink many0 is a gre"), "{errors}");
}
