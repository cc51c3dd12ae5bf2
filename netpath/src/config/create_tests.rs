//! Unit tests of `network create` in Docker's words.

use super::{
    super::{Config, Mode},
    *,
};

fn options(subnets: &[&str], opts: &[&str]) -> NetworkOptions {
    let own = |all: &[&str]| all.iter().map(|s| (*s).to_owned()).collect();
    NetworkOptions {
        name: "n".into(),
        bridge: "br-1".into(),
        subnets: own(subnets),
        options: own(opts),
        ..NetworkOptions::default()
    }
}

fn bridged(any: AnyNetwork) -> Network {
    match any {
        AnyNetwork::Bridged(n) => *n,
        AnyNetwork::Unbridged(n) => panic!("{n:?}"),
    }
}

fn own(all: &[&str]) -> Vec<String> {
    all.iter().map(|s| (*s).to_owned()).collect()
}

#[test]
fn dockers_options() {
    let o = options(
        &["fd00:17::/64", "10.1.0.0/24"],
        &[
            "com.docker.network.bridge.enable_icc=false",
            "com.docker.network.driver.mtu=1400",
            "com.docker.network.bridge.gateway_mode_ipv4=routed",
            "com.docker.network.bridge.gateway_mode_ipv6=routed",
            "com.docker.network.bridge.default_bridge=false",
            "com.docker.network.bridge.inhibit_ipv4=0",
            "com.docker.network.bridge.trusted_host_interfaces=",
            "com.docker.network.container_iface_prefix=eth",
        ],
    );
    let n = NetworkOptions {
        gateways: own(&["10.1.0.9", "fd00:17::9"]),
        ip_ranges: own(&["10.1.0.128/25", "fd00:17::5:0/112"]),
        aux_addresses: own(&["router=10.1.0.2", "six=fd00:17::2"]),
        labels: own(&["team=net", "plain", "path=a=b"]),
        scope: Some("local".into()),
        ipam_driver: Some("default".into()),
        ipv4: Some(true),
        ..o
    }
    .check()
    .map(bridged)
    .unwrap();
    assert_eq!(n.subnet, "10.1.0.0/24".parse().ok());
    assert_eq!(n.ipv6, "fd00:17::/64".parse().ok());
    assert_eq!(n.gateway, "10.1.0.9".parse().ok());
    assert_eq!(n.gateway6, "fd00:17::9".parse().ok());
    assert_eq!((n.icc, n.mtu, n.mode), (false, Some(1400), Mode::Routed));
    assert_eq!(n.bridge, "br-1");
    assert_eq!(n.ipam.range, "10.1.0.128/25".parse().ok());
    assert_eq!(n.ipam.range6, "fd00:17::5:0/112".parse().ok());
    assert_eq!(n.ipam.aux.len(), 2);
    let labels: Vec<_> = n.labels.iter().map(|(k, v)| format!("{k}={v}")).collect();
    assert_eq!(labels, ["path=a=b", "plain=", "team=net"]);
}

#[test]
fn bindings_and_fixed_sources() {
    let n = options(
        &["fd00:17::/64"],
        &[
            "com.docker.network.bridge.host_binding_ipv4=::1",
            "com.docker.network.host_ipv4=192.0.2.7",
            "com.docker.network.host_ipv6=2001:db8::7",
            "com.docker.network.bridge.enable_ip_masquerade=F",
            "com.docker.network.driver.mtu=0",
        ],
    )
    .check()
    .map(bridged)
    .unwrap();
    assert_eq!(n.host_binding.addr.to_string(), "::1");
    assert_eq!(n.snat, "192.0.2.7".parse().ok());
    assert_eq!(n.snat6, "2001:db8::7".parse().ok());
    assert_eq!((n.masquerade, n.mtu), (false, None));
}

#[test]
fn ipv6_is_asked_for_by_a_flag_a_key_or_a_subnet() {
    let size = |o: NetworkOptions| {
        let n = bridged(o.check().unwrap());
        (n.ipv6.is_some(), n.ipv6_size)
    };
    let none = options(&[], &[]);
    assert_eq!(size(none.clone()), (false, None));
    let flag = NetworkOptions {
        ipv6: Some(true),
        ..none
    };
    assert_eq!(size(flag), (false, Some(64)));
    let key = options(&[], &["com.docker.network.enable_ipv6=true"]);
    assert_eq!(size(key), (false, Some(64)));
    assert_eq!(size(options(&["::/96"], &[])), (false, Some(96)));
    assert_eq!(size(options(&["fd00::/64"], &[])), (true, None));
}

#[test]
fn netpaths_own_are_what_the_file_says_by_their_keys() {
    for (own, key) in [
        ("early_drop=true", "early_drop = true"),
        ("firewall=visible", "firewall = \"visible\""),
        ("gso_max_size=100000", "gso_max_size = 100000"),
        ("host_binding_ipv6=::1", "host_binding_ipv6 = \"::1\""),
        (
            "mapping=endpoint-independent",
            "mapping = \"endpoint-independent\"",
        ),
        (
            "no_masquerade=192.0.2.0/24, 10.0.0.0/8",
            "no_masquerade = [\"192.0.2.0/24\", \"10.0.0.0/8\"]",
        ),
        ("port_holder=engine", "port_holder = \"engine\""),
        ("uplink_hook=xdp", "uplink_hook = \"xdp\""),
        ("uplinks=eth0,eth1", "uplinks = [\"eth0\", \"eth1\"]"),
        ("xdp_translate=true", "xdp_translate = true"),
    ] {
        let mut both = vec![format!("netpath.{own}")];
        let mut file =
            format!("[[network]]\nname = \"n\"\nbridge = \"br-1\"\nipv6 = \"fd00::/64\"\n{key}\n");
        if own.starts_with("xdp") {
            // It needs that hook.
            both.push("netpath.uplink_hook=xdp".into());
            file.push_str("uplink_hook = \"xdp\"\n");
        }
        let both: Vec<_> = both.iter().map(String::as_str).collect();
        let by_command = options(&["fd00::/64"], &both).check().map(bridged).unwrap();
        let by_file = Config::parse(&file, "it").unwrap().networks.remove(0);
        assert_eq!(by_command, by_file, "{own}");
        let plain = options(&["fd00::/64"], &[]).check().map(bridged).unwrap();
        assert_ne!(by_command, plain, "{own}");
    }
}

#[test]
fn refusals_name_the_option() {
    const MODE4: &str = "com.docker.network.bridge.gateway_mode_ipv4=";
    let mode4 = |mode: &str| format!("{MODE4}{mode}");
    for (subnets, opt, why) in [
        (
            &["10.1.0.0/24", "10.2.0.0/24"][..],
            String::new(),
            "--subnet = \"10.2.0.0/24\"",
        ),
        (&["fd00::1/64"], String::new(), "write fd00::/64"),
        (&[], "colour=red".into(), "--opt = \"colour=red\""),
        (&[], "netpath.colour=red".into(), "netpath's own are"),
        (&[], "netpath.early_drop=maybe".into(), "true or false"),
        (&[], "netpath.mapping=none".into(), "endpoint-independent"),
        (
            &[],
            "com.docker.network.driver.mtu=big".into(),
            "a number of bytes",
        ),
        (
            &[],
            "com.docker.network.bridge.enable_icc=yes".into(),
            "it is true or false",
        ),
        (&[], mode4("tunnel"), "nat, routed, isolated"),
        (&[], mode4("isolated"), "it needs --internal"),
        (&[], mode4("nat-unprotected"), "use nat and publish"),
        (&["fd00::/64"], mode4("routed"), "give both the same"),
        (
            &[],
            "com.docker.network.bridge.gateway_mode_ipv6=routed".into(),
            "gateway_mode_ipv6=routed\" is not valid: both families",
        ),
        (
            &[],
            "com.docker.network.bridge.inhibit_ipv4=true".into(),
            "the bridge is the containers' gateway",
        ),
        (
            &[],
            "com.docker.network.bridge.trusted_host_interfaces=vxlan1:eth3".into(),
            "set gateway_mode_ipv4 to routed",
        ),
        (
            &[],
            "com.docker.network.container_iface_prefix=net".into(),
            "give each endpoint its ifname",
        ),
        (
            &[],
            "com.docker.network.bridge.default_bridge=true".into(),
            "named `bridge`",
        ),
        (
            &[],
            "com.docker.network.enable_ipv4=false".into(),
            "every network of netpath has IPv4",
        ),
    ] {
        let opts: Vec<_> = [opt.as_str()]
            .into_iter()
            .filter(|o| !o.is_empty())
            .collect();
        let e = options(subnets, &opts).check().unwrap_err().to_string();
        assert!(e.starts_with("network `n`: ") && e.contains(why), "{e}");
    }
}

#[test]
fn what_netpath_has_nothing_for_is_refused() {
    let none = options(&[], &[]);
    let n = || none.clone();
    let some = |text: &str| Some(text.to_owned());
    for (o, why) in [
        (
            NetworkOptions {
                ipv4: Some(false),
                ..n()
            },
            "--ipv4 = \"false\"",
        ),
        (
            NetworkOptions {
                ipv6: Some(false),
                subnets: own(&["fd00::/64"]),
                ..n()
            },
            "--ipv6 = \"false\" is not valid: --subnet fd00::/64",
        ),
        (
            NetworkOptions {
                scope: some("swarm"),
                ..n()
            },
            "--scope = \"swarm\"",
        ),
        (
            NetworkOptions {
                ingress: true,
                ..n()
            },
            "--ingress = ",
        ),
        (
            NetworkOptions {
                config_only: true,
                ..n()
            },
            "--config-only = ",
        ),
        (
            NetworkOptions {
                config_from: some("x"),
                ..n()
            },
            "--config-from = \"x\"",
        ),
        (
            NetworkOptions {
                ipam_driver: some("dhcp"),
                ..n()
            },
            "--ipam-driver = \"dhcp\"",
        ),
        (
            NetworkOptions {
                ipam_options: own(&["a=b"]),
                ..n()
            },
            "--ipam-opt = \"a=b\"",
        ),
        (
            NetworkOptions {
                aux_addresses: own(&["a"]),
                ..n()
            },
            "NAME=ADDRESS",
        ),
        (
            NetworkOptions {
                subnets: own(&["10.1.0.0/24"]),
                aux_addresses: own(&["a=10.1.0.2", "a=10.1.0.3"]),
                ..n()
            },
            "given twice",
        ),
        (
            NetworkOptions {
                ip_ranges: own(&["10.1.0.0/24"]),
                ..n()
            },
            "set subnet",
        ),
        (
            NetworkOptions {
                labels: own(&["=x"]),
                ..n()
            },
            "a label has a name",
        ),
        (
            NetworkOptions {
                driver: some("overlay"),
                ..n()
            },
            "driver = \"overlay\"",
        ),
    ] {
        let e = o.check().unwrap_err().to_string();
        assert!(e.starts_with("network `n`: ") && e.contains(why), "{e}");
    }
}
