//! IPv6 forwarding as before Linux 6.17, where one switch turns it on for all interfaces: other interfaces
//! stay a host's, and a command that is killed half-way is finished by the next.

use std::fs;

use netpath_common::DropReason;
use netpath_tests::{
    dual_stack::{set6, setting6},
    probe::SOON,
    topology::{UPLINK, succeeded},
};
use serde_json::{Value, json};

use crate::other_interface::{NEVER, Site};

/// An interface that is no uplink.
const LAN: &str = "lan0";

/// The host with one uplink, by its name; `up` as on such a kernel.
fn up(site: &Site) {
    let config = site.config(&format!("uplinks = [\"{UPLINK}\"]"));
    let file = site.world.file("netpath.toml");
    fs::write(&file, format!("[limits]\nconntrack = 65536\n{config}")).unwrap();
    let mut command = site.world.netpath_command();
    command.env("NETPATH_FORCE_ONE_SWITCH", "1");
    command.args(["up", "--yes", "-c"]).arg(file);
    succeeded("netpath up", command.output().unwrap());
}

fn forwarding(site: &Site) -> [String; 4] {
    ["all", "default", UPLINK, LAN].map(|name| setting6(&site.world.host, name, "forwarding"))
}

#[test]
fn other_interfaces_stay_a_hosts() {
    let site = Site::new();
    // What an administrator has set for one interface alone stays.
    set6(&site.world.host, "lo", "forwarding", "1");
    up(&site);
    assert_eq!(forwarding(&site), ["1", "0", "1", "0"]);
    assert_eq!(setting6(&site.world.host, "lo", "forwarding"), "1");
    // Out of the uplink nothing goes that has come in by it, nor by the other interface from there.
    assert!(!site.passes_back(NEVER));
    assert!(site.world.dropped(DropReason::NotARouter) > 0);
    up(&site);
    assert_eq!(forwarding(&site), ["1", "0", "1", "0"]);
    site.world.run(&["down", "--all"]);
    assert_eq!(forwarding(&site), ["0"; 4]);
    assert_eq!(setting6(&site.world.host, "lo", "forwarding"), "1");
}

#[test]
fn who_turns_it_on_again_means_the_whole_host() {
    let site = Site::new();
    up(&site);
    assert!(!site.passes_back(NEVER));
    // It was on: the kernel tells of it by the setting of interfaces to come.
    set6(&site.world.host, "all", "forwarding", "1");
    up(&site);
    assert!(site.passes_back(SOON));
    site.world.run(&["down", "--all"]);
    assert_eq!(forwarding(&site), ["1"; 4]);
}

/// Killed when the kernel had set every interface, before any was set back.
#[test]
fn a_command_that_was_killed_half_way_is_finished() {
    let site = Site::new();
    up(&site);
    let file = site.world.file("state").join(site.world.instance());
    let file = file.join("state.json");
    let mut state: Value = serde_json::from_slice(&fs::read(&file).unwrap()).unwrap();
    state["changing"] = json!(true);
    state["sysctls"].as_array_mut().unwrap().push(json!({
        "key": "net/ipv6/conf/default/forwarding",
        "before": "0",
        "network": null,
    }));
    fs::write(&file, state.to_string()).unwrap();
    set6(&site.world.host, "all", "forwarding", "0");
    set6(&site.world.host, "all", "forwarding", "1");
    assert_eq!(forwarding(&site), ["1"; 4]);
    up(&site);
    assert_eq!(forwarding(&site), ["1", "0", "1", "0"]);
    assert!(!site.passes_back(NEVER));
    site.world.run(&["down", "--all"]);
    assert_eq!(forwarding(&site), ["0"; 4]);
}
