//! What the configuration takes and what it refuses, by the messages that users see.

use std::net::{Ipv4Addr, Ipv6Addr};

use super::*;

const FULL: &str = r#"
[limits]
conntrack = 262144
[timeouts]
profile = "kernel"
tcp_established = "5d"

[[network]]
name = "bridge"
driver = "bridge"
bridge = "netpath0"
subnet = "172.17.0.0/16"
gateway = "172.17.0.1"
ipv6 = "fd00:17::/64"
gateway6 = "fd00:17::1"
mtu = 1500
gso_max_size = 196608
icc = true
masquerade = true
internal = false
isolated = false
mode = "nat"
mapping = "kernel"
firewall = "bypass"
uplink_hook = "auto"
host_binding_ipv4 = "0.0.0.0"
uplinks = ["auto"]

[[network.endpoint]]
name = "PINK"
netns = "pink"
ip = "172.17.0.2"
ip6 = "fd00:17::2"
publish = ["8080:80", "5353:53/udp", "30000-30999:30000-30999/udp"]
"#;

fn error(text: &str) -> String {
    Config::parse(text, "test.toml").unwrap_err().to_string()
}

fn network(extra: &str) -> String {
    format!("[[network]]\nname = \"n\"\nsubnet = \"172.17.0.0/16\"\n{extra}\n")
}

fn endpoint(name: &str, extra: &str) -> String {
    format!("[[network.endpoint]]\nname = \"{name}\"\nnetns = \"{name}\"\n{extra}\n")
}

#[test]
fn the_whole_form() {
    let c = Config::parse(FULL, "test.toml").unwrap();
    assert_eq!(c.conntrack, Some(262_144));
    let [n] = c.networks.as_slice() else {
        panic!("one network")
    };
    assert_eq!((n.name.as_str(), n.bridge.as_str()), ("bridge", "netpath0"));
    assert_eq!(
        n.gateway_in(n.subnet.unwrap()),
        Ipv4Addr::new(172, 17, 0, 1)
    );
    let gateway6: Ipv6Addr = "fd00:17::1".parse().unwrap();
    assert_eq!((n.ipv6_gateway(), n.mode), (Some(gateway6), Mode::Nat));
    assert_eq!(n.uplinks, Uplinks::Auto);
    assert_eq!(n.gso_max_size, Some(196_608));
    let [e] = n.endpoints.as_slice() else {
        panic!("one endpoint")
    };
    assert_eq!(e.addr, Some(Ipv4Addr::new(172, 17, 0, 2)));
    assert_eq!(e.addr6, "fd00:17::2".parse().ok());
    assert_eq!(e.publish[2].width(), 1000);
}

#[test]
fn defaults() {
    let c = Config::parse("[[network]]\nname = \"n\"\n", "test.toml").unwrap();
    let n = &c.networks[0];
    assert_eq!(
        (n.bridge.as_str(), n.subnet, n.mtu, n.gso_max_size),
        ("netpath0", None, None, None)
    );
    assert!(n.icc && n.masquerade && !n.internal);
    assert_eq!((n.ipv6, n.ipv6_gateway(), n.mode), (None, None, Mode::Nat));
    assert_eq!(n.host_binding, HostBinding::default());
    assert_eq!(c.timeouts, netpath_common::records::Timeouts::KERNEL);
    assert!(Config::parse("", "empty").unwrap().networks.is_empty());
}

#[test]
fn an_unknown_key_is_named_with_its_line_and_the_known_ones() {
    let e = error("[[network]]\nname = \"n\"\ncolour = \"red\"\n");
    assert!(
        e.starts_with("test.toml, line 3: unknown key `colour`; the keys known here are name, "),
        "{e}"
    );
    assert!(e.contains("subnet") && !e.contains('\n'), "{e}");
    let e = error("[[network]\n");
    assert!(e.starts_with("test.toml, line 1: "), "{e}");
    let e = error("[[network]]\nname = 5\n");
    assert!(
        e.starts_with("test.toml, line 2: ") && e.contains("string"),
        "{e}"
    );
}

#[test]
fn overlaps_and_addresses() {
    let two = format!(
        "{}[[network]]\nname = \"m\"\nbridge = \"b\"\nsubnet = \"172.17.4.0/24\"\n",
        network("")
    );
    assert!(
        error(&two).contains("`m`: subnet 172.17.4.0/24 overlaps 172.17.0.0/16 of network `n`")
    );
    let at = |ip: &str| error(&(network("") + &endpoint("a", &format!("ip = \"{ip}\""))));
    assert!(
        at("10.0.0.1")
            .contains("endpoint `a`: address 10.0.0.1 is outside the subnet 172.17.0.0/16")
    );
    assert!(at("172.17.0.1").contains("is the gateway"));
    assert!(at("172.17.0.0").contains("first address"));
    assert!(at("172.17.255.255").contains("broadcast"));
    assert!(
        error(&network("gateway = \"10.0.0.1\""))
            .contains("gateway of network `n`: address 10.0.0.1 is outside")
    );
    let twice =
        network("") + &endpoint("a", "ip = \"172.17.0.2\"") + &endpoint("b", "ip = \"172.17.0.2\"");
    assert!(error(&twice).contains("endpoint `b`: address 172.17.0.2 belongs to endpoint `a`"));
    assert!(
        error("[[network]]\nname=\"n\"\nsubnet=\"172.17.0.1/16\"").contains("write 172.17.0.0/16")
    );
}

#[test]
fn names_are_unique() {
    assert!(
        error(&(network("") + &endpoint("a", "") + &endpoint("a", "")))
            .contains("endpoint `a` is configured twice")
    );
    let two = network("") + "[[network]]\nname = \"m\"\n";
    assert!(error(&two).contains("bridge `netpath0` is configured twice"));
    assert!(error(&network("bridge = \"a/b\"")).contains("interface name"));
}

#[test]
fn a_port_is_published_once() {
    let two = |a: &str, b: &str| {
        network("")
            + &endpoint("a", &format!("publish = [\"{a}\"]"))
            + &endpoint("b", &format!("publish = [\"{b}\"]"))
    };
    let e = error(&two("8080:80", "8080:81"));
    assert!(
        e.starts_with("Bind for 0.0.0.0:8080 failed: port is already allocated"),
        "{e}"
    );
    let e = error(&two("127.0.0.1:8000-8100:8000-8100", "127.0.0.1:8050:80"));
    assert!(
        e.starts_with("Bind for 127.0.0.1:8050 failed: port is already allocated"),
        "{e}"
    );
    for (a, b) in [
        ("8080:80", "8080:80/udp"),
        ("127.0.0.1:8080:80", "192.0.2.1:8080:80"),
        // The specific one goes first.
        ("8000-8100:8000-8100", "127.0.0.1:8050:80"),
        ("0.0.0.0:8080:80", "[::]:8080:80"),
        ("8080:80,balance", "8080:81,balance"),
        ("8080-8089:80", "8080:80"),
    ] {
        assert!(Config::parse(&two(a, b), "t").is_ok(), "{a} {b}");
    }
}

#[test]
fn what_is_not_supported_yet_is_refused_by_name() {
    let e = error(&(network("") + &endpoint("a", "publish = [\"80:80,allow=x\"]")));
    assert!(e.contains("endpoint `a`") && e.contains("allow=`x`"), "{e}");
    assert!(error(&network("mode = \"magic\"")).contains("the values are nat, routed"));
}

#[test]
fn interfaces_of_containers() {
    let with = |extra: &str| network("") + &endpoint("a", extra);
    let c = Config::parse(&with("ifname = \"net1\"\ngw_priority = -5"), "t").unwrap();
    let e = &c.networks[0].endpoints[0];
    assert_eq!((e.ifname.as_deref(), e.gw_priority), (Some("net1"), -5));
    let c = Config::parse(&with(""), "t").unwrap();
    let e = &c.networks[0].endpoints[0];
    assert_eq!((e.ifname.as_deref(), e.gw_priority), (None, 0));
    let e = error(&with("ifname = \"a/b\""));
    assert!(e.contains("endpoint `a`: ifname"), "{e}");
    assert!(error(&with("gw_priority = 3000000000")).contains("line"));
}

#[test]
fn ipv6() {
    let v6 = |lines: &str| network(&format!("ipv6 = \"fd00:17::/64\"\n{lines}"));
    let n = Config::parse(&v6("snat6 = \"2001:db8::7\""), "t").unwrap();
    let gateway: Ipv6Addr = "fd00:17::1".parse().unwrap();
    assert_eq!(n.networks[0].ipv6_gateway(), Some(gateway));
    let at = |ip6: &str| error(&(v6("") + &endpoint("a", &format!("ip6 = \"{ip6}\""))));
    for (ip6, why) in [
        (
            "fd00:18::2",
            "is outside the subnet fd00:17::/64 of network `n`",
        ),
        ("fd00:17::1", "is the gateway of network `n`"),
        ("fd00:17::", "is the first address"),
        ("172.17.0.2", "it must be an IPv6 address"),
    ] {
        let e = at(ip6);
        assert!(e.starts_with("endpoint `a`: ") && e.contains(why), "{e}");
    }
    // There is no broadcast address.
    let last = v6("") + &endpoint("a", "ip6 = \"fd00:17::ffff:ffff:ffff:ffff\"");
    assert!(Config::parse(&last, "t").is_ok());
    for (lines, why) in [
        (
            "gateway6 = \"fd00:18::1\"",
            "gateway of network `n`: address fd00:18::1 is outside",
        ),
        (
            "gateway6 = \"fe80::1\"",
            "gateway6 = \"fe80::1\" is not valid",
        ),
        ("snat6 = \"ff02::1\"", "multicast"),
        ("snat6 = \"::\"", "unspecified"),
        ("mtu = 1279", "IPv6 needs 1280"),
    ] {
        let e = error(&v6(lines));
        assert!(e.contains(why), "{e}");
    }
    for (lines, why) in [
        ("gateway6 = \"fd00:17::1\"", "network `n`: gateway6"),
        ("snat6 = \"2001:db8::7\"", "network `n`: snat6"),
        ("ipv6 = \"fe80::/64\"", "link-local"),
    ] {
        let e = error(&network(lines));
        assert!(e.contains(why), "{e}");
    }
    let e = error(&(network("") + &endpoint("a", "ip6 = \"fd00:17::2\"")));
    assert!(
        e.contains("endpoint `a`: ip6 = \"fd00:17::2\"") && e.contains("network `n` has no IPv6"),
        "{e}"
    );
    let two = v6("") + "[[network]]\nname = \"m\"\nbridge = \"b\"\nipv6 = \"fd00:17::8:0/112\"\n";
    let e = error(&two);
    assert!(
        e.contains("`m`: subnet fd00:17::8:0/112 overlaps fd00:17::/64 of network `n`"),
        "{e}"
    );
    let same = "ip6 = \"fd00:17::2\"";
    let e = error(&(v6("") + &endpoint("a", same) + &endpoint("b", same)));
    assert!(
        e.contains("endpoint `b`: address fd00:17::2 belongs to endpoint `a`"),
        "{e}"
    );
}

#[test]
fn routed_networks_translate_nothing() {
    let routed = |lines: &str| network(&format!("mode = \"routed\"\n{lines}"));
    let c = Config::parse(&routed("masquerade = false"), "t").unwrap();
    assert_eq!(c.networks[0].mode, Mode::Routed);
    for line in ["snat = \"192.0.2.7\"", "masquerade = true"] {
        let e = error(&routed(line));
        assert!(
            e.contains("in a routed network nothing is translated"),
            "{e}"
        );
    }
}

#[test]
fn the_hook_of_uplinks() {
    let hook = |lines: &str| {
        let c = Config::parse(&network(lines), "t").unwrap();
        (c.networks[0].uplink_hook, c.networks[0].early_drop)
    };
    assert_eq!(hook(""), (UplinkHook::Auto, false));
    assert_eq!(hook("early_drop = true"), (UplinkHook::Auto, true));
    assert_eq!(hook("uplink_hook = \"tc\""), (UplinkHook::Tc, false));
    assert_eq!(hook("uplink_hook = \"xdp\""), (UplinkHook::Xdp, true));
    let e = error(&network("uplink_hook = \"tc\"\nearly_drop = true"));
    assert!(
        e.contains("network `n`: early_drop") && e.contains("XDP"),
        "{e}"
    );
    let e = error(&network("uplink_hook = \"xdp\"\nearly_drop = false"));
    assert!(e.contains("network `n`: early_drop"), "{e}");
    let e = error(&network("xdp_translate = true"));
    assert!(
        e.contains("network `n`: xdp_translate") && e.contains("uplink_hook"),
        "{e}"
    );
    let e = error(&network("uplink_hook = \"ebpf\""));
    assert!(e.contains("the values are auto, tc, xdp"), "{e}");
}

#[test]
fn limits() {
    assert!(error("[limits]\nconntrack = 100\n").contains("within 65536 and 1048576"));
    assert!(error("[limits]\nconntrack = -1\n").contains("within"));
    assert!(error("[timeouts]\nudp = \"soon\"\n").contains("[timeouts]: udp = \"soon\""));
    assert!(error(&network("mtu = 10")).contains("within 68 and 65535"));
    for size in ["65535", "524281", "-1"] {
        let e = error(&network(&format!("gso_max_size = {size}")));
        assert!(e.contains("within 65536 and 524280"), "{e}");
    }
}

#[test]
fn a_namespace_may_be_a_process() {
    let of = |netns: &str| {
        let endpoint = format!("[[network.endpoint]]\nname = \"a\"\nnetns = {netns}\n");
        let text = format!("[[network]]\nname = \"n\"\n{endpoint}");
        let config = Config::parse(&text, "test").map_err(|e| e.to_string());
        config.map(|c| c.networks[0].endpoints[0].netns.to_string())
    };
    assert_eq!(of("1234"), Ok("pid:1234".into()));
    assert_eq!(of("\"pid:1234\""), Ok("pid:1234".into()));
    assert!(of("-1").unwrap_err().contains("a process id is a number"));
    assert!(of("true").unwrap_err().contains("process id"));
}
