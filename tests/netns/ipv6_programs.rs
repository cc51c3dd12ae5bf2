//! The programs that frames of IPv6 are handed to: loaded with the first network that has it, and not
//! before. What they do is `ipv6`'s.

use std::{fs, net::SocketAddrV4, path::PathBuf};

use netpath_common::DropReason;
use netpath_tests::{
    dual_stack::{OUTSIDE6, set6},
    netns::Namespace,
    probe::{BRIEFLY, SOON, pings6},
    stream::Stream,
    topology::{A, OUTSIDE, World},
    wait::until,
    ways::ip,
};

/// Those of the object that IPv6 alone needs.
const ONES: [&str; 4] = [
    "np_veth6",
    "np_uplink_in6",
    "np_uplink_out6",
    "np_bridge_out6",
];

/// Which of them are loaded.
fn loaded(world: &World) -> Vec<&'static str> {
    let programs: PathBuf = world.pins().join("progs");
    assert!(programs.join("np_veth").exists(), "{programs:?}");
    ONES.into_iter()
        .filter(|name| programs.join(name).exists())
        .collect()
}

/// Lets a container of a network of IPv4 have IPv6 all the same: its kernel asks its neighbours at once.
fn rebel(container: &Namespace) {
    set6(container, "eth0", "disable_ipv6", "0");
    ip(container, "addr add fd00:66::66/64 dev eth0 nodad");
}

#[test]
fn they_come_with_the_first_network_of_ipv6() {
    let world = World::dual_stack(&["a", "b"]);
    let config =
        world.network("bridge", "netpath0", "172.17.0.0/16", "") + &world.endpoint("a", A, &[]);
    world.up(&config);
    assert_eq!(loaded(&world), [""; 0]);
    let (host, a, b) = (&world.host, world.container("a"), world.container("b"));

    // What a container sends of it is dropped, whatever it makes of itself.
    let before = world.dropped(DropReason::BadEthertype);
    rebel(a);
    assert!(!pings6(a, OUTSIDE6, BRIEFLY));
    until("its frames are counted", || {
        world.dropped(DropReason::BadEthertype) > before
    });
    // The host's own goes on.
    assert!(pings6(host, OUTSIDE6, SOON));

    // The others of the object are replaced under a flow, which does not notice.
    let flow = Stream::open(a, SocketAddrV4::new(OUTSIDE, 7000), &world.outside, 7000);
    let out = world.words("network create six --ipv6 --subnet 172.30.0.0/16 --subnet fd00:30::/64");
    assert_eq!(loaded(&world), ONES, "{out}");
    let netns = b.name().to_owned();
    world.run(&[
        "endpoint",
        "add",
        "--network",
        "six",
        "--netns",
        &netns,
        "--name",
        "b",
    ]);
    assert!(pings6(b, OUTSIDE6, SOON));
    assert!(flow.finish() > 0);

    // They stay when it goes: whoever has had one may have another.
    world.run(&["endpoint", "rm", "b"]);
    world.words("network rm six");
    assert_eq!(loaded(&world), ONES);
    world.up(&config);
    assert_eq!(loaded(&world), ONES);
}

/// The kernel's number of a loaded program.
fn number(world: &World) -> u32 {
    let pin = world.pins().join("progs/np_veth");
    aya::programs::ProgramInfo::from_pin(pin).unwrap().id()
}

#[test]
fn a_command_does_not_take_what_another_build_has_loaded_for_its_own() {
    let world = World::new(&["a"]);
    let config =
        world.network("bridge", "netpath0", "172.17.0.0/16", "") + &world.endpoint("a", A, &[]);
    world.up(&config);
    let file = world
        .file("state")
        .join(world.instance())
        .join("state.json");
    let text = fs::read_to_string(&file).unwrap();
    let mut state: serde_json::Value = serde_json::from_str(&text).unwrap();
    assert!(state["loaded"].is_string(), "{state}");
    state["loaded"] = "0123456789abcdef".into();
    fs::write(&file, state.to_string()).unwrap();

    let old = number(&world);
    world.words("network create plain --subnet 172.30.0.0/16");
    assert_eq!(number(&world), old);
    // It is replaced by this build's.
    world.up(&config);
    let new = number(&world);
    assert_ne!(new, old);
    world.words("network create plain2 --subnet 172.31.0.0/16");
    world.up(&config);
    assert_eq!(number(&world), new);
}
