//! Unit tests of address management.

use proptest::prelude::*;

use super::*;

fn net(s: &str) -> IpNet {
    s.parse().unwrap()
}

fn pool<'a>(subnet: &str, gateway: &str, ipam: &'a Ipam) -> Pool<'a> {
    Pool {
        subnet: net(subnet),
        gateway: gateway.parse().unwrap(),
        ipam,
    }
}

fn network(more: &str) -> Result<super::super::Network, String> {
    let text = format!("[[network]]\nname = \"n\"\n{more}\n");
    let config = super::super::Config::parse(&text, "test").map_err(|e| e.to_string())?;
    Ok(config.networks[0].clone())
}

/// Gives addresses until there are none.
fn all(pool: &Pool<'_>) -> Vec<String> {
    let mut taken = HashSet::new();
    let mut given = Vec::new();
    while let Some(addr) = pool.lowest_free(&taken) {
        assert!(taken.insert(addr));
        given.push(addr.to_string());
    }
    assert_eq!(pool.usage(&taken).available, 0);
    given
}

#[test]
fn every_address_but_the_reserved_ones_is_given_from_the_lowest() {
    let none = Ipam::default();
    let given = all(&pool("10.0.0.0/29", "10.0.0.1", &none));
    assert_eq!(
        given,
        ["10.0.0.2", "10.0.0.3", "10.0.0.4", "10.0.0.5", "10.0.0.6"]
    );
    let given = all(&pool("10.0.0.0/29", "10.0.0.3", &none));
    assert_eq!(given[0], "10.0.0.1");
    // RFC 3021: both addresses are a host's; and one address is one host's.
    assert_eq!(all(&pool("10.0.0.0/31", "10.0.0.0", &none)), ["10.0.0.1"]);
    assert_eq!(all(&pool("10.0.0.0/31", "10.0.0.1", &none)), ["10.0.0.0"]);
    assert!(all(&pool("10.0.0.0/32", "10.0.0.0", &none)).is_empty());
    let given = all(&pool("fd00::/126", "fd00::1", &none));
    assert_eq!(given, ["fd00::2", "fd00::3"]);
}

#[test]
fn a_range_bounds_what_is_given_and_aux_addresses_are_not() {
    let ipam = Ipam {
        range: "10.0.0.4/30".parse().ok(),
        aux: BTreeMap::from([("router".to_owned(), "10.0.0.5".parse().unwrap())]),
        ..Ipam::default()
    };
    let p = pool("10.0.0.0/24", "10.0.0.1", &ipam);
    assert_eq!(all(&p), ["10.0.0.4", "10.0.0.6", "10.0.0.7"]);
    assert_eq!(
        p.reserved("10.0.0.5".parse().unwrap()),
        Some("auxiliary address of something else")
    );
    // Docker's count: the subnet's two ends, the gateway, the router, and the endpoints.
    let taken = HashSet::from(["10.0.0.4".parse().unwrap(), "10.0.0.200".parse().unwrap()]);
    let usage = p.usage(&taken);
    assert_eq!((usage.in_use, usage.available), (6, 2));
    let none = Ipam::default();
    let six = pool("fd00::/64", "fd00::1", &none).usage(&HashSet::new());
    assert_eq!((six.in_use, six.available), (2, u64::MAX - 1));
}

#[test]
fn the_file_says_where_endpoints_get_their_addresses() {
    let n = network(
        "subnet = \"172.30.0.0/16\"\nip_range = \"172.30.5.0/24\"\nipv6 = \"fd00::/64\"\n\
         ip_range6 = \"fd00::5:0/112\"\naux_addresses = { router = \"172.30.0.9\", dns = \"fd00::9\" }\n\
         labels = { team = \"net\" }",
    )
    .unwrap();
    assert_eq!(n.ipam.range, "172.30.5.0/24".parse().ok());
    assert_eq!(n.ipam.range6, "fd00::5:0/112".parse().ok());
    assert_eq!(
        n.ipam.aux["router"],
        "172.30.0.9".parse::<IpAddr>().unwrap()
    );
    assert_eq!(n.ipam.aux["dns"], "fd00::9".parse::<IpAddr>().unwrap());
    assert_eq!(n.labels["team"], "net");
    let n = network("subnet = \"0.0.0.0/24\"\nipv6 = \"::/96\"").unwrap();
    assert_eq!((n.subnet, n.subnet_size), (None, Some(24)));
    assert_eq!((n.ipv6, n.ipv6_size), (None, Some(96)));
}

#[test]
fn refusals_tell_the_key_and_the_remedy() {
    let subnet = "subnet = \"172.30.0.0/16\"\n";
    for (more, why) in [
        (
            "ip_range = \"172.30.5.0/24\"",
            "set subnet, or leave it out",
        ),
        (
            &format!("{subnet}ip_range = \"172.31.0.0/24\""),
            "within the subnet 172.30.0.0/16",
        ),
        (
            &format!("{subnet}ip_range = \"172.0.0.0/8\""),
            "within the subnet 172.30.0.0/16",
        ),
        (
            &format!("{subnet}ip_range = \"172.30.5.1/24\""),
            "write 172.30.5.0/24",
        ),
        (&format!("{subnet}ip_range6 = \"fd00::/96\""), "set ipv6"),
        (
            &format!("{subnet}aux_addresses = {{ r = \"172.31.0.9\" }}"),
            "aux_addresses = \"r=172.31.0.9\" is not valid: it must lie within",
        ),
        (
            &format!("{subnet}aux_addresses = {{ r = \"172.30.0.1\" }}"),
            "is the gateway of network",
        ),
        (
            &format!("{subnet}aux_addresses = {{ r = \"172.30.255.255\" }}"),
            "broadcast address",
        ),
        (
            &format!("{subnet}aux_addresses = {{ a = \"172.30.0.9\", b = \"172.30.0.9\" }}"),
            "`a` has that address already",
        ),
        (
            &format!("{subnet}aux_addresses = {{ DefaultGatewayIPv4 = \"172.30.0.9\" }}"),
            "have the bridge for their gateway",
        ),
        (
            &format!(
                "{subnet}aux_addresses = {{ r = \"172.30.0.9\" }}\n[[network.endpoint]]\n\
                 name = \"e\"\nnetns = \"e\"\nip = \"172.30.0.9\""
            ),
            "endpoint `e`: address 172.30.0.9 is the auxiliary address",
        ),
        ("subnet = \"0.0.0.0/4\"", "within 8 and 32"),
        ("subnet = \"0.1.0.0/16\"", "unicast"),
        ("ipv6 = \"::/40\"", "within 48 and 126"),
        (
            "ipv6 = \"::/64\"\ngateway6 = \"fd00::1\"",
            "needs a fixed subnet",
        ),
        (
            "subnet = \"0.0.0.0/24\"\ngateway = \"172.17.0.9\"",
            "a gateway needs a subnet",
        ),
    ] {
        let e = network(more).unwrap_err();
        assert!(e.contains(why), "{more}: {e}");
    }
}

proptest! {
    /// However endpoints come and go: no address is given twice, no reserved one ever, and none
    /// outside the range; and one is refused only when there is none.
    #[test]
    fn no_address_is_given_twice(
        prefix in 24u8..=32,
        narrower in 0u8..4,
        at in any::<u32>(),
        gateway in any::<u32>(),
        aux in proptest::collection::vec(any::<u32>(), 0..4),
        moves in proptest::collection::vec((any::<bool>(), any::<usize>()), 1..300),
    ) {
        let subnet = Ipv4Net::new(Ipv4Addr::new(10, 1, 2, 0), prefix).unwrap();
        let within = |n: u32| {
            let mask = u32::from(subnet.hostmask());
            Ipv4Addr::from(u32::from(subnet.network()) | (n & mask))
        };
        let range = Ipv4Net::new(within(at), (prefix + narrower).min(32)).unwrap().trunc();
        let ipam = Ipam {
            range: Some(range),
            aux: aux.iter().enumerate().map(|(i, n)| (i.to_string(), within(*n).into())).collect(),
            ..Ipam::default()
        };
        let pool = Pool { subnet: subnet.into(), gateway: within(gateway).into(), ipam: &ipam };
        let mut taken = HashSet::new();
        for (comes, which) in moves {
            if comes {
                let usage = pool.usage(&taken);
                match pool.lowest_free(&taken) {
                    Some(addr) => {
                        prop_assert!(IpNet::from(range).contains(&addr));
                        prop_assert!(addr != pool.gateway && !ipam.aux.values().any(|a| *a == addr));
                        let ends = [subnet.network().into(), subnet.broadcast().into()];
                        prop_assert!(prefix >= 31 || !ends.contains(&addr));
                        prop_assert!(taken.insert(addr), "{addr} was given twice");
                        prop_assert_eq!(pool.usage(&taken).available, usage.available - 1);
                    }
                    None => prop_assert_eq!(usage.available, 0),
                }
            } else if let Some(addr) = taken.iter().nth(which % taken.len().max(1)).copied() {
                taken.remove(&addr);
                // The lowest that is free: it is no higher than the one that was just left.
                prop_assert!(pool.lowest_free(&taken).is_some_and(|a| a <= addr));
            }
        }
    }
}
