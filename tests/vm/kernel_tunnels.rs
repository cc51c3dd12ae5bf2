//! The kernel's own tunnels as uplinks, each of which hands its packets over in its own way.

use netpath_tests::tunnel::{Kind, Site};

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

/// Hands over packets behind the outer IP header.
#[test]
fn sit() {
    works(Kind::Kernel("sit mode any"));
}

/// The same, and behind that of GRE.
#[test]
fn gre() {
    works(Kind::Kernel("gre"));
}

#[test]
fn ip_in_ipv6() {
    works(Kind::Kernel("ip6tnl mode any"));
}

/// Of which the kernel does not know that it takes no frames.
#[test]
fn gre_over_ipv6() {
    works(Kind::Kernel("ip6gre"));
}
