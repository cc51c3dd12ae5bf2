//! Where XDP is attached and where not: the hook of uplinks, other programs, drivers, warnings.

use aya::{
    Ebpf,
    programs::{Xdp, XdpMode},
};
use netpath_tests::{
    netns::{stdout, within},
    probe::{SOON, pings},
    runner, skip,
    topology::{HOST, UPLINK, World},
};

use crate::xdp::{Flood, config};

/// The number of the native XDP program at the uplink.
fn program(world: &World) -> Option<u32> {
    let link = stdout(&world.host, "ip", &["-d", "link", "show", UPLINK]);
    assert!(!link.contains("xdpgeneric"), "{link}");
    let (_, id) = link.split_once("prog/xdp id ")?;
    id.split_whitespace().next()?.parse().ok()
}

#[test]
fn up_puts_it_there_again_replaces_it_and_takes_it_away() {
    let world = World::new(&["a"]);
    let hook = |world: &World| {
        let status: serde_json::Value =
            serde_json::from_str(&world.run(&["status", "--json"])).unwrap();
        assert_eq!(status["warnings"].as_array().unwrap().len(), 0, "{status}");
        status["uplinks"][0]["hook"].as_str().unwrap().to_owned()
    };
    for more in ["", "uplink_hook = \"auto\"", "uplink_hook = \"tc\""] {
        world.up(&config(&world, more));
        assert_eq!((program(&world), hook(&world).as_str()), (None, "tc"));
    }
    world.up(&config(&world, "early_drop = true"));
    let first = program(&world).expect("auto takes XDP on veth");
    assert_eq!(hook(&world), "tc, xdp");
    let listed = world.run(&["status"]);
    let squeezed = |line: &str| line.split_whitespace().collect::<Vec<_>>().join(" ");
    assert!(
        listed
            .lines()
            .any(|l| squeezed(l) == format!("xdp {UPLINK}")),
        "{listed}"
    );

    // Another build's programs are replaced under a flood: at no moment is there none.
    forget_build(&world);
    let flood = Flood::start(&world);
    world.up(&config(&world, "uplink_hook = \"xdp\""));
    let second = program(&world).expect("it stays");
    assert_ne!(first, second, "`up` replaces the programs");
    flood.goes_on(&world);
    drop(flood);

    world.up(&config(&world, ""));
    assert_eq!((program(&world), hook(&world).as_str()), (None, "tc"));
    world.up(&config(&world, "uplink_hook = \"xdp\""));
    assert!(program(&world).is_some());
    world.run(&["down", "--all"]);
    assert_eq!(program(&world), None);
    assert!(!world.pins().exists());
}

/// Has the state know nothing of the build that the pinned programs are of.
fn forget_build(world: &World) {
    let path = world
        .file("state")
        .join(world.instance())
        .join("state.json");
    let mut state: serde_json::Value =
        serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
    assert!(state["loaded"].is_string(), "{state}");
    state["loaded"] = serde_json::Value::Null;
    std::fs::write(&path, state.to_string()).unwrap();
}

#[test]
fn another_xdp_program_is_left_alone() {
    let world = World::new(&["a"]);
    for mode in [XdpMode::Driver, XdpMode::Skb] {
        let mut object = Ebpf::load_file(runner::object()).unwrap();
        let foreign: &mut Xdp = object
            .program_mut("np_uplink_xdp")
            .unwrap()
            .try_into()
            .unwrap();
        foreign.load().unwrap();
        within(&world.host, || foreign.attach(UPLINK, mode).unwrap());
        let id = foreign.info().unwrap().id();
        let there = || {
            let link = stdout(&world.host, "ip", &["-d", "link", "show", UPLINK]);
            assert!(link.contains(&format!("id {id} ")), "{link}");
        };
        there();
        let output = world.try_up(&config(&world, "uplink_hook = \"xdp\""));
        let errors = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{errors}");
        assert!(
            errors.contains(UPLINK)
                && errors.contains(&format!("(np_uplink_xdp, id {id})"))
                && errors.contains("uplink_hook = \"tc\""),
            "{errors}"
        );
        assert!(!errors.contains("undoing"), "{errors}");
        assert!(!world.pins().exists(), "a failed `up` leaves nothing");
        there();
        // Nobody insists: tc it is.
        world.up(&config(&world, "early_drop = true"));
        there();
        world.run(&["down", "--all"]);
        there();
    }
}

#[test]
fn a_driver_without_native_xdp_is_named() {
    let world = World::new(&["a"]);
    for arguments in [
        "link add lan0 type bridge",
        "addr add 203.0.113.1/24 dev lan0",
        "link set lan0 up",
    ] {
        stdout(&world.host, "ip", &arguments.split(' ').collect::<Vec<_>>());
    }
    let with = |hook: &str| config(&world, &format!("uplinks = [\"lan0\"]\n{hook}"));
    let output = world.try_up(&with("uplink_hook = \"xdp\""));
    let errors = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{errors}");
    assert!(
        errors.contains("uplink lan0: its driver bridge has no native XDP")
            && errors.contains("set uplink_hook = \"tc\""),
        "{errors}"
    );
    assert!(!errors.contains("undoing"), "{errors}");
    world.up(&with("early_drop = true"));
    let status = world.run(&["status"]);
    assert!(
        status.contains("the driver of uplink lan0 (bridge)"),
        "{status}"
    );
    // A change that cannot be made leaves the network as it was.
    assert_eq!(
        world.try_up(&with("uplink_hook = \"xdp\"")).status.code(),
        Some(1)
    );
    let status = world.run(&["status"]);
    assert!(
        status.contains("the driver of uplink lan0 (bridge)"),
        "{status}"
    );
}

#[test]
fn attaching_warns_and_another_nat_is_named() {
    if skip::missing("iptables") {
        return;
    }
    let world = World::new(&["a"]);
    let output = world.try_up(&config(&world, "uplink_hook = \"xdp\""));
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{errors}");
    assert!(errors.contains("some drivers reset the link"), "{errors}");
    let warns = || {
        world
            .run(&["status"])
            .contains("the kernel's conntrack holds ")
    };
    assert!(pings(&world.outside, HOST, SOON));
    assert!(!warns());
    let rule = "-t nat -A POSTROUTING -s 192.0.2.0/24 -j MASQUERADE";
    stdout(
        &world.host,
        "iptables",
        &rule.split(' ').collect::<Vec<_>>(),
    );
    assert!(pings(&world.outside, HOST, SOON));
    assert!(warns(), "{}", world.run(&["status"]));
}
