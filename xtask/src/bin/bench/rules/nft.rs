//! A native nftables ruleset that does what Docker's rules do, as one would write it by hand.
//!
//! Owns its text for `nft -f`. One map holds the published ports, so that their number does not
//! matter, and the filter decides by connection state. Counted like iptables' rules, which always
//! are; the counters are the proof that packets came by.

use std::fmt::Write as _;

use crate::{
    family::Family,
    variant::{BRIDGE, CONTAINER_PORT, Published},
};

/// The ruleset.
pub(super) fn rules(ports: Published, family: Family) -> String {
    let (container, subnet, loopback) = (family.container(), family.subnet(), family.loopback());
    let (ip, kind) = match family {
        Family::V4 => ("ip", "ipv4_addr"),
        Family::V6 => ("ip6", "ipv6_addr"),
    };
    let measured = ports.measured();
    let mut elements = format!("udp . {measured} : {container} . {CONTAINER_PORT}");
    for port in ports.others() {
        let _ = write!(elements, ", tcp . {port} : {container} . {port}");
    }
    let _ = write!(
        elements,
        ", tcp . {measured} : {container} . {CONTAINER_PORT}"
    );
    format!(
        "table {ip} bench {{
    counter forwarded {{ }}
    counter to_container {{ }}
    counter from_container {{ }}
    map published {{
        type inet_proto . inet_service : {kind} . inet_service
        elements = {{ {elements} }}
    }}
    chain prerouting {{
        type nat hook prerouting priority dstnat; policy accept;
        iifname != \"{BRIDGE}\" fib daddr type local counter name to_container \
         dnat {ip} to meta l4proto . th dport map @published
    }}
    chain output {{
        type nat hook output priority -100; policy accept;
        {ip} daddr != {loopback} fib daddr type local \
         dnat {ip} to meta l4proto . th dport map @published
    }}
    chain postrouting {{
        type nat hook postrouting priority srcnat; policy accept;
        {ip} saddr {subnet} oifname != \"{BRIDGE}\" counter name from_container masquerade
    }}
    chain forward {{
        type filter hook forward priority filter; policy drop;
        counter name forwarded
        ct state vmap {{ established : accept, related : accept, invalid : drop }}
        iifname \"{BRIDGE}\" accept
        oifname \"{BRIDGE}\" ct status dnat accept
    }}
}}
"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_port_is_one_element() {
        let rules = rules(Published::new(100), Family::V4);
        assert_eq!(rules.matches("tcp . ").count(), 100);
        assert_eq!(rules.matches("udp . ").count(), 1);
        assert!(rules.contains("tcp . 10099 : 172.17.0.2 . 80 }"));
    }
}
