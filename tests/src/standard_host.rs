//! A network namespace with interfaces where the records of [`MemTables::standard`] expect them.
//!
//! Owns the namespace. Loads nothing.
//!
//! [`MemTables::standard`]: netpath_common::testing::MemTables::standard

use std::{net::Ipv6Addr, process::Command};

use netpath_common::testing::{
    BRIDGE1_IF, BRIDGE2_IF, C1, C2, C3, GW1_6, GW2_6, H6, R6, UPLINK_IF,
};

pub(crate) fn run_ip(arguments: &str) {
    let out = Command::new("ip").args(arguments.split(' ')).output();
    let out = out.unwrap_or_else(|e| panic!("cannot run ip: {e}"));
    let errors = String::from_utf8_lossy(&out.stderr);
    assert!(out.status.success(), "ip {arguments}: {errors}");
}

/// Puts the calling thread into a network namespace of its own, which ends with the thread.
pub(crate) fn own_namespace() {
    assert!(nix::unistd::geteuid().is_root(), "program tests need root");
    nix::sched::unshare(nix::sched::CloneFlags::CLONE_NEWNET).unwrap();
    for (ifindex, name) in [
        (UPLINK_IF, "uplink"),
        (BRIDGE1_IF, "bridge1"),
        (BRIDGE2_IF, "bridge2"),
        (C1.ifindex, "c1"),
        (C2.ifindex, "c2"),
        (C3.ifindex, "c3"),
    ] {
        let peer = 100 + ifindex;
        run_ip(&format!(
            "link add {name} index {ifindex} type veth peer name {name}-peer index {peer}"
        ));
        run_ip(&format!("link set {name}-peer up"));
        run_ip(&format!("link set {name} up"));
    }
    run_ip("link set uplink address 02:00:00:00:00:01");
    run_ip("link set lo up");
    run_ip("addr add 192.0.2.1/24 dev uplink");
    run_ip("addr add 172.17.0.1/16 dev bridge1");
    run_ip("addr add 172.18.0.1/16 dev bridge2");
    run_ip("route add default via 192.0.2.254");
    std::fs::write("/proc/sys/net/ipv4/ip_forward", "1").unwrap();
    for (name, address) in [("uplink", H6), ("bridge1", GW1_6), ("bridge2", GW2_6)] {
        let address = Ipv6Addr::from(address);
        run_ip(&format!("addr add {address}/64 dev {name} nodad"));
    }
    run_ip(&format!("-6 route add default via {}", Ipv6Addr::from(R6)));
    std::fs::write("/proc/sys/net/ipv6/conf/all/forwarding", "1").unwrap();
}
