//! What is left after a boot, which the tests bring about by what tells one boot from another.

use std::fs;

use netpath::bpf::Datapath;
use netpath_tests::{
    dual_stack::A6,
    netns::{command, stdout, within},
    probe::{SOON, at, pings, pings6, tcp, tcp_server},
    topology::{HOST, OUTSIDE, World},
};
use serde_json::Value;

use crate::gone::{endpoint, json, status};

/// What a boot leaves: the files.
fn boot(world: &World, key: &str, value: &str) {
    let state = world
        .file("state")
        .join(world.instance())
        .join("state.json");
    let mut text: Value = serde_json::from_slice(&fs::read(&state).unwrap()).unwrap();
    Datapath::remove(world.instance()).unwrap();
    let links: Value = serde_json::from_str(&stdout(&world.host, "ip", &["-j", "link"])).unwrap();
    for link in links.as_array().unwrap() {
        let name = link["ifname"].as_str().unwrap();
        if name != "lo" && name != "uplink0" {
            // The other end of a pair may have taken it along.
            command(&world.host, "ip", &["link", "del", name]);
        }
    }
    within(&world.host, || {
        fs::write("/proc/sys/net/ipv4/conf/uplink0/forwarding", "0").unwrap();
        // This takes it from every interface, however it was given.
        fs::write("/proc/sys/net/ipv6/conf/all/forwarding", "0").unwrap();
        fs::write("/proc/sys/net/ipv4/ip_local_reserved_ports", "\n").unwrap();
    });
    text[key] = serde_json::from_str(value).unwrap();
    fs::write(&state, text.to_string()).unwrap();
}

fn survives(key: &str, value: &str) {
    let mut world = World::dual_stack(&["a", "b", "c", "d"]);
    let config = world.dual_stack_config(&["a", "b"], &["8080:80", "33000:90"], "");
    world.up(&config);
    world.words("network create --subnet 10.9.0.0/24 n");
    for name in ["c", "d"] {
        let netns = world.container(name).name().to_owned();
        world.run(&[
            "endpoint",
            "add",
            "--network",
            "n",
            "--netns",
            &netns,
            "--name",
            name,
            "-p",
            if name == "c" { "9090:80" } else { "9091:80" },
        ]);
    }
    let shown = |world: &World| {
        let mut all = json(world, &["network", "inspect", "bridge", "n"]);
        for n in all.as_array_mut().unwrap() {
            n["Containers"] = Value::Null;
        }
        all
    };
    let (before, c) = (shown(&world), endpoint(&world, "c"));
    boot(&world, key, value);
    // The container engine has not started these yet.
    drop(world.take_container("b"));
    drop(world.take_container("d"));

    assert!(!world.netpath(&["status"]).status.success());
    assert_eq!(shown(&world), before);
    let printed = world.up(&config);
    for text in [
        "make network bridge again",
        "make network n again",
        "add endpoint a",
        "add endpoint c",
    ] {
        assert!(printed.contains(text), "{text}: {printed}");
    }
    assert_eq!(shown(&world), before);
    assert_eq!(world.up(&config).trim(), "nothing to change");
    for name in ["b", "d"] {
        assert_eq!(status(&world, name), ("gone".into(), "[]".into()));
    }
    let after = endpoint(&world, "c");
    for key in ["address", "mac", "ports"] {
        assert_eq!(after[key], c[key], "{key}");
    }
    for (name, port) in [("a", 8080), ("c", 9090)] {
        let _server = tcp_server(world.container(name), name, 80);
        assert!(tcp(&world.outside, at(HOST, port)).is_from(name, OUTSIDE));
    }
    assert!(pings6(&world.host, A6, SOON));

    for name in ["b", "d"] {
        world.add_container(name);
    }
    world.up(&config);
    assert_eq!(status(&world, "d").0, "up");
    assert!(pings(world.container("b"), OUTSIDE, SOON));
    assert_eq!(world.up(&config).trim(), "nothing to change");
    world.run(&["down", "--all"]);
    assert!(!world.file("state").exists() && !world.pins().exists());
    // Nothing that the former boot had is given back to this one.
    for knob in ["ip_forward", "conf/uplink0/forwarding"] {
        let path = format!("/proc/sys/net/ipv4/{knob}");
        let forward = within(&world.host, || fs::read_to_string(path));
        assert_eq!(forward.unwrap().trim(), "0", "{knob}");
    }
}

#[test]
fn a_boot_is_survived() {
    survives("boot_id", "\"00000000-0000-4000-8000-000000000000\"");
}

#[test]
fn another_namespace_of_the_name_is_as_a_boot() {
    survives("netns_cookie", "1");
}

#[test]
fn networks_without_a_bridge_are_remembered_and_the_file_s_endpoints_made_anew() {
    let mut world = World::new(&["a", "b"]);
    let netns = world.container("a").name().to_owned();
    let config = "[[network]]\nname = \"lan\"\ndriver = \"macvlan\"\nparent = \"uplink0\"\n\
                  subnet = \"10.7.0.0/24\"\n"
        .to_owned()
        + &format!("[[network.endpoint]]\nname = \"a\"\nnetns = \"{netns}\"\n");
    world.up(&config);
    let create = "network create -d none n";
    world.words(create);
    let netns = world.container("b").name().to_owned();
    world.words(&format!(
        "endpoint add --network n --netns {netns} --name b"
    ));
    let ids = |world: &World| {
        let all = json(world, &["network", "inspect", "lan", "n"]);
        [0, 1].map(|i| all[i]["Id"].clone())
    };
    let before = ids(&world);
    boot(&world, "boot_id", "\"x\"");
    for name in ["a", "b"] {
        drop(world.take_container(name));
        world.add_container(name);
    }
    assert_eq!(ids(&world), before);
    let printed = world.up(&config);
    assert!(printed.contains("add endpoint a"), "{printed}");
    assert_eq!(ids(&world), before);
    let shown = stdout(world.container("a"), "ip", &["-o", "addr", "show", "eth0"]);
    assert!(shown.contains("10.7.0.2/24"), "{shown}");
    // Nothing is in its way.
    world.words(&format!(
        "endpoint add --network n --netns {netns} --name b"
    ));
    assert_eq!(world.up(&config).trim(), "nothing to change");
    world.run(&["down", "--all"]);
    assert!(!world.file("state").exists());
}

#[test]
fn a_container_of_a_network_without_a_bridge_that_is_not_there_yet_is_no_obstacle() {
    let mut world = World::new(&["a"]);
    let netns = world.container("a").name().to_owned();
    let config = format!(
        "[[network]]\nname = \"lan\"\ndriver = \"macvlan\"\nparent = \"uplink0\"\n\
         subnet = \"10.7.0.0/24\"\n[[network.endpoint]]\nname = \"a\"\nnetns = \"{netns}\"\n"
    );
    drop(world.take_container("a"));
    let file = world.file("boot.toml");
    fs::write(&file, format!("[limits]\nconntrack = 65536\n{config}")).unwrap();
    let file = file.display().to_string();
    let refused = world.netpath(&["up", "-c", &file]);
    assert!(!refused.status.success());
    world.run(&["up", "--absent-ok", "-c", &file]);
    assert_eq!(
        json(&world, &["network", "inspect", "lan"])[0]["Driver"],
        "macvlan"
    );
    world.add_container("a");
    assert!(world.up(&config).contains("add endpoint a"));
    let shown = stdout(world.container("a"), "ip", &["-o", "addr", "show", "eth0"]);
    assert!(shown.contains("10.7.0.2/24"), "{shown}");
}

#[test]
fn a_bridge_that_somebody_has_made_since_is_adopted() {
    let world = World::new(&["a"]);
    let create = "network create --subnet 10.9.0.0/24 -o com.docker.network.bridge.name=br9 n";
    world.words(create);
    boot(&world, "boot_id", "\"x\"");
    stdout(&world.host, "ip", &["link", "add", "br9", "type", "bridge"]);
    world.up("");
    world.run(&["down", "--all"]);
    // It is not netpath's to delete.
    stdout(&world.host, "ip", &["link", "show", "br9"]);
}
