//! Unit tests of networks without a bridge, from the file and from `network create`.

use super::{
    super::{AnyNetwork, Config, IpvlanMode, MacvlanMode, NetworkOptions},
    *,
};

fn parse(lines: &str) -> Result<Config, String> {
    let text = format!("[[network]]\nname = \"n\"\n{lines}");
    Config::parse(&text, "t").map_err(|e| e.to_string())
}

fn one(lines: &str) -> Unbridged {
    let config = parse(lines).unwrap();
    assert!(config.networks.is_empty());
    config.unbridged[0].clone()
}

#[test]
fn drivers_and_modes() {
    for (lines, driver) in [
        ("driver = \"host\"", Driver::Host),
        ("driver = \"none\"", Driver::None),
        ("driver = \"null\"", Driver::None),
        (
            "driver = \"macvlan\"\nparent = \"eth0\"",
            Driver::Macvlan(MacvlanMode::Bridge),
        ),
        (
            "driver = \"macvlan\"\nparent = \"eth0\"\nmacvlan_mode = \"passthru\"",
            Driver::Macvlan(MacvlanMode::Passthru),
        ),
        (
            "driver = \"ipvlan\"\nparent = \"eth0.10\"\nipvlan_mode = \"l3s\"",
            Driver::Ipvlan(IpvlanMode::L3s),
        ),
    ] {
        assert_eq!(one(lines).driver, driver, "{lines}");
    }
    let n = one("driver = \"macvlan\"\nparent = \"eth0\"\nsubnet = \"192.0.2.0/24\"");
    assert_eq!(
        (n.parent.as_deref(), n.common.internal),
        (Some("eth0"), false)
    );
    assert_eq!(n.common.subnet, "192.0.2.0/24".parse().ok());
    // Without a parent it leads nowhere.
    assert!(one("driver = \"macvlan\"").common.internal);
}

#[test]
fn what_a_driver_has_no_use_for_is_refused_by_name() {
    for (lines, parts) in [
        (
            "driver = \"overlay\"",
            &["driver", "of several hosts", "macvlan"][..],
        ),
        (
            "driver = \"magic\"",
            &["driver", "bridge, macvlan, ipvlan, host, none"],
        ),
        (
            "driver = \"host\"\nsubnet = \"10.1.0.0/24\"",
            &["subnet", "host", "no addresses"],
        ),
        (
            "driver = \"none\"\nparent = \"eth0\"",
            &["parent", "macvlan and ipvlan"],
        ),
        (
            "driver = \"macvlan\"\nbridge = \"b0\"",
            &["bridge", "macvlan"],
        ),
        (
            "driver = \"macvlan\"\nsnat = \"192.0.2.1\"",
            &["snat", "macvlan"],
        ),
        (
            "driver = \"macvlan\"\nipvlan_mode = \"l2\"",
            &["ipvlan_mode", "of the driver ipvlan"],
        ),
        (
            "driver = \"macvlan\"\nmacvlan_mode = \"l2\"",
            &["macvlan_mode", "vepa"],
        ),
        (
            "driver = \"ipvlan\"\nipvlan_mode = \"bridge\"",
            &["ipvlan_mode", "l3s"],
        ),
        (
            "macvlan_mode = \"bridge\"",
            &["macvlan_mode", "this one is bridge"],
        ),
        (
            "driver = \"ipvlan\"\nipvlan_mode = \"l3\"\nsubnet = \"10.1.0.0/24\"\ngateway = \"10.1.0.1\"",
            &["gateway", "no gateway"],
        ),
        (
            "driver = \"macvlan\"\nparent = \"a/b\"",
            &["parent", "interface name"],
        ),
    ] {
        let e = parse(lines).unwrap_err();
        for part in parts {
            assert!(e.contains(part), "{lines}: no `{part}` in: {e}");
        }
    }
}

#[test]
fn endpoints_publish_nothing_and_have_what_their_driver_gives() {
    let with = |driver: &str, line: &str| {
        let lines = format!(
            "driver = \"{driver}\"\n[[network.endpoint]]\nname = \"e\"\nnetns = \"x\"\n{line}"
        );
        parse(&lines)
    };
    for (driver, part) in [
        ("host", "listen on the port"),
        ("none", "no interface"),
        ("macvlan", "all its ports are reached"),
        ("ipvlan", "all its ports are reached"),
    ] {
        let e = with(driver, "rate_in = \"10mbit\"").unwrap_err();
        assert!(
            e.contains("endpoint `e`: rate_in") && e.contains("bridge"),
            "{e}"
        );
        let e = with(driver, "publish = [\"8080:80\"]").unwrap_err();
        assert!(
            e.contains("endpoint `e`: publish = \"8080:80\"") && e.contains(part),
            "{e}"
        );
        assert!(with(driver, "").is_ok());
    }
    assert!(
        with("host", "ip = \"10.1.0.2\"")
            .unwrap_err()
            .contains("ip")
    );
    assert!(
        with("none", "mac = \"02:00:00:00:00:01\"")
            .unwrap_err()
            .contains("no interface")
    );
    let e = with("ipvlan", "mac = \"02:00:00:00:00:01\"").unwrap_err();
    assert!(e.contains("parent's MAC address"), "{e}");
    assert!(with("macvlan", "mac = \"02:00:00:00:00:01\"").is_ok());
}

#[test]
fn there_is_one_of_each_parent_and_one_host() {
    let two = |a: &str, b: &str| parse(&format!("{a}\n[[network]]\nname = \"m\"\n{b}"));
    let macvlan = "driver = \"macvlan\"\nparent = \"eth0\"";
    let e = two(macvlan, "driver = \"ipvlan\"\nparent = \"eth0\"").unwrap_err();
    assert!(e.contains("parent eth0 is network `n`'s already"), "{e}");
    assert!(two(macvlan, "driver = \"macvlan\"\nparent = \"eth0.10\"").is_ok());
    let e = two("driver = \"host\"", "driver = \"host\"").unwrap_err();
    assert!(
        e.contains("only one instance of \"host\" network is allowed"),
        "{e}"
    );
    assert!(two("driver = \"none\"", "driver = \"null\"").is_err());
    // Names and subnets are of all drivers.
    let e = two(
        "subnet = \"10.1.0.0/16\"",
        "driver = \"macvlan\"\nparent = \"e\"\nsubnet = \"10.1.2.0/24\"",
    );
    assert!(e.unwrap_err().contains("overlaps"));
    let same = "[[network.endpoint]]\nname = \"e\"\nnetns = \"x\"";
    let e = two(same, &format!("driver = \"none\"\n{same}")).unwrap_err();
    assert!(e.contains("endpoint `e` is configured twice"), "{e}");
}

#[test]
fn docker_s_words() {
    let create = |driver: &str, options: &[&str]| {
        NetworkOptions {
            name: "n".into(),
            bridge: "br-1".into(),
            driver: Some(driver.into()),
            subnets: vec!["192.0.2.0/24".into()],
            options: options.iter().map(|o| (*o).to_owned()).collect(),
            ..NetworkOptions::default()
        }
        .check()
    };
    let made = create("macvlan", &["parent=eth0.10", "macvlan_mode=vepa"]).unwrap();
    let AnyNetwork::Unbridged(n) = made else {
        panic!("{made:?}")
    };
    assert_eq!(n.parent.as_deref(), Some("eth0.10"));
    assert_eq!(n.driver, Driver::Macvlan(MacvlanMode::Vepa));
    let made = create(
        "ipvlan",
        &["parent=eth0", "ipvlan_mode=l3", "ipvlan_flag=bridge"],
    );
    assert!(matches!(made, Ok(AnyNetwork::Unbridged(_))), "{made:?}");
    for (driver, option, part) in [
        ("ipvlan", "ipvlan_flag=vepa", "the one flag is bridge"),
        ("bridge", "parent=eth0", "macvlan and ipvlan"),
        (
            "macvlan",
            "com.docker.network.bridge.name=b0",
            "bridge is not for",
        ),
        ("macvlan", "mode=bridge", "macvlan_mode"),
    ] {
        let e = create(driver, &[option]).unwrap_err().to_string();
        assert!(e.contains(part), "{driver} {option}: {e}");
    }
}
