//! Inbound translation at the uplink by XDP, natively on veth: real connections, what refuses it, and
//! what it leaves behind.

use std::{
    fs::File,
    os::fd::AsFd as _,
    thread::{self, JoinHandle},
};

use netpath::{
    lab::{links, probe},
    net::{has_gro, namespace},
};
use netpath_tests::{
    netns::{Namespace, stdout, within},
    probe::{
        SOON, at, checksum_errors, pings, tcp, tcp_server, transfer, udp, udp_server, udp_socket,
    },
    skip,
    topology::{A, HOST, OUTSIDE, UPLINK, World},
    ways::ip,
};

use crate::xdp::{Flood, config};

const OPTION: &str = "uplink_hook = \"xdp\"\nxdp_translate = true";
const LENGTH: usize = 4_000_000;

fn set_tx(of: &Namespace, ifname: &str, state: &str) {
    stdout(of, "ethtool", &["-K", ifname, "tx", state]);
}

/// A world whose outside computes its checksums; `None` where that cannot be set.
fn world() -> Option<World> {
    if skip::missing("ethtool") {
        return None;
    }
    let world = World::new(&["a"]);
    set_tx(&world.outside, "eth0", "off");
    Some(world)
}

fn status(world: &World) -> serde_json::Value {
    serde_json::from_str(&world.run(&["status", "--json"])).unwrap()
}

fn hook(world: &World) -> String {
    status(world)["uplinks"][0]["hook"]
        .as_str()
        .unwrap()
        .to_owned()
}

fn warnings(world: &World) -> String {
    status(world)["warnings"].to_string()
}

/// Packets that XDP has translated.
fn translated(world: &World) -> u64 {
    let status = status(world);
    let counters = status["counters"].as_array().unwrap();
    let found = counters.iter().find(|c| c[0] == "translated-in-xdp");
    found.map_or(0, |c| c[1].as_u64().unwrap())
}

fn gro(of: &Namespace) -> bool {
    within(of, || has_gro("eth0").unwrap())
}

fn nothing_is_damaged(world: &World) {
    for namespace in [&world.host, &world.outside, world.container("a")] {
        let errors = checksum_errors(namespace);
        assert_eq!(errors, 0, "checksum errors in {}", namespace.name());
    }
    assert_eq!(world.drops().len(), 0, "{:?}", world.drops());
}

/// Does `work`, of which XDP must translate at least this many packets.
#[track_caller]
fn translates(world: &World, at_least: u64, work: impl FnOnce()) {
    let before = translated(world);
    work();
    let by = translated(world) - before;
    assert!(by >= at_least, "{by} packets were translated by XDP");
    nothing_is_damaged(world);
}

#[test]
fn connections_in_and_out_are_translated() {
    let Some(world) = world() else { return };
    world.up(&config(&world, OPTION));
    assert_eq!(hook(&world), "tc, xdp with translation");
    assert_eq!(warnings(&world), "[]");
    let (a, outside) = (world.container("a"), &world.outside);
    let _servers = [
        tcp_server(a, "a", 80),
        udp_server(a, "a", 53),
        tcp_server(outside, "outside", 7000),
        udp_server(outside, "outside", 7000),
    ];
    // The request of each, and the end of its connection.
    translates(&world, 20, || {
        for _ in 0..10 {
            assert!(tcp(outside, at(HOST, 8080)).is_from("a", OUTSIDE));
        }
    });
    // Each begins a flow of its own, so only what follows is XDP's.
    translates(&world, 10, || {
        assert!(udp(outside, at(HOST, 5353)).is_from("a", OUTSIDE));
        let socket = udp_socket(outside, 0, Some(at(HOST, 5353)));
        for _ in 0..11 {
            let answer = probe::udp_again(&socket, SOON).unwrap();
            assert!(answer.is_from("a", OUTSIDE));
        }
    });
    translates(&world, 20, || {
        for _ in 0..10 {
            assert!(tcp(a, at(OUTSIDE, 7000)).is_from("outside", HOST));
            assert!(udp(a, at(OUTSIDE, 7000)).is_from("outside", HOST));
        }
    });
    translates(&world, 1, || assert!(pings(a, OUTSIDE, SOON)));
    assert!(pings(outside, HOST, SOON));
}

#[test]
fn every_byte_arrives_both_ways() {
    let Some(world) = world() else { return };
    world.up(&config(&world, OPTION));
    let (a, outside) = (world.container("a"), &world.outside);
    let segments = (LENGTH / 1500) as u64;
    translates(&world, segments, || {
        transfer(outside, at(HOST, 8080), a, 80, LENGTH);
    });
    translates(&world, segments, || {
        transfer(a, at(OUTSIDE, 7000), outside, 7000, LENGTH);
    });
    // The container is credited with all of them.
    let status = status(&world);
    let rx = status["endpoints"][0]["rx_packets"].as_u64().unwrap();
    assert!(rx >= translated(&world), "{status}");
}

#[test]
fn datagrams_of_every_length_arrive() {
    let Some(world) = world() else { return };
    world.up(&config(&world, OPTION));
    let server = udp_socket(world.container("a"), 53, None);
    let client = udp_socket(&world.outside, 0, Some(at(HOST, 5353)));
    let mut buffer = [0; 2000];
    let lengths = [0, 1, 2, 3, 100, 1471, 1472, 7, 1000];
    // The first makes the flow.
    translates(&world, lengths.len() as u64 - 1, || {
        for length in lengths {
            let sent: Vec<u8> = (0..length).map(|i| (i * 7) as u8).collect();
            client.send(&sent).unwrap();
            let (got, peer) = server.recv_from(&mut buffer).unwrap();
            assert_eq!(buffer[..got], sent[..], "{length} bytes in");
            assert_eq!(peer.ip(), OUTSIDE, "the client's address is kept");
            server.send_to(&sent, peer).unwrap();
            let got = client.recv(&mut buffer).unwrap();
            assert_eq!(buffer[..got], sent[..], "{length} bytes out");
        }
    });
}

#[test]
fn under_a_flood_connections_are_translated_and_the_flood_dropped() {
    let Some(world) = world() else { return };
    world.up(&config(&world, OPTION));
    let a = world.container("a");
    let _server = tcp_server(a, "a", 80);
    let flood = Flood::start(&world);
    let before = translated(&world);
    for _ in 0..5 {
        assert!(tcp(&world.outside, at(HOST, 8080)).is_from("a", OUTSIDE));
        flood.goes_on(&world);
    }
    assert!(translated(&world) >= before + 10);
}

#[test]
fn an_uplink_whose_other_end_leaves_checksums_out_is_refused() {
    let Some(world) = world() else { return };
    set_tx(&world.outside, "eth0", "on");
    let refused = |more: &str| {
        let output = world.try_up(&config(&world, more));
        let errors = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(1), "{errors}");
        assert!(!errors.contains("undoing"), "{errors}");
        errors
    };
    let errors = refused(OPTION);
    let outside = world.outside.name();
    assert!(
        errors.contains(&format!("uplink {UPLINK}: "))
            && errors.contains(&format!("eth0 in `{outside}`, has tx-checksumming on"))
            && errors.contains("`ethtool -K eth0 tx off`"),
        "{errors}"
    );
    assert!(!world.pins().exists(), "a failed `up` leaves nothing");
    assert!(within(world.container("a"), || links::links().unwrap()).len() == 1);

    // Early drop alone minds nothing, and a change that is refused leaves it as it was.
    world.up(&config(&world, "uplink_hook = \"xdp\""));
    refused(OPTION);
    assert_eq!(hook(&world), "tc, xdp");
    assert!(!gro(world.container("a")), "taken back");
    set_tx(&world.outside, "eth0", "off");
    world.up(&config(&world, OPTION));
    assert_eq!(hook(&world), "tc, xdp with translation");
}

#[test]
fn an_other_end_in_the_same_namespace_is_looked_at_too() {
    let Some(world) = world() else { return };
    ip(&world.host, "link add lan0 type veth peer name lan1");
    ip(&world.host, "addr add 203.0.113.1/24 dev lan0");
    ip(&world.host, "link set lan0 up");
    let with = config(&world, &format!("uplinks = [\"lan0\"]\n{OPTION}"));
    let output = world.try_up(&with);
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(
        errors.contains("this veth, lan1, has tx-checksumming on"),
        "{errors}"
    );
    set_tx(&world.host, "lan1", "off");
    world.up(&with);
    assert_eq!(hook(&world), "tc, xdp with translation");
}

/// A network namespace that nothing but the caller's descriptor stands for.
fn nameless() -> File {
    let maker: JoinHandle<File> = thread::spawn(|| {
        nix::sched::unshare(nix::sched::CloneFlags::CLONE_NEWNET).unwrap();
        File::open("/proc/thread-self/ns/net").unwrap()
    });
    maker.join().unwrap()
}

#[test]
fn an_other_end_that_cannot_be_seen_is_refused() {
    let world = World::new(&["a"]);
    let hidden = nameless();
    within(&world.host, || {
        links::add_veth("lan0", "lan1").unwrap();
        links::move_to("lan1", hidden.as_fd()).unwrap();
        links::add_address("lan0", std::net::Ipv4Addr::new(203, 0, 113, 1), 24).unwrap();
        links::up("lan0").unwrap();
    });
    let with = config(&world, &format!("uplinks = [\"lan0\"]\n{OPTION}"));
    let output = world.try_up(&with);
    let errors = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{errors}");
    assert!(
        errors.contains("uplink lan0: ")
            && errors.contains("cannot be looked at")
            && errors.contains("leave xdp_translate out"),
        "{errors}"
    );
    assert!(!world.pins().exists(), "a failed `up` leaves nothing");
}

#[test]
fn checksums_that_are_left_out_later_are_left_to_tc() {
    let Some(world) = world() else { return };
    world.up(&config(&world, OPTION));
    set_tx(&world.outside, "eth0", "on");
    let (a, outside) = (world.container("a"), &world.outside);
    let before = translated(&world);
    transfer(outside, at(HOST, 8080), a, 80, LENGTH);
    transfer(a, at(OUTSIDE, 7000), outside, 7000, LENGTH);
    let server = udp_server(outside, "outside", 7001);
    assert!(udp(a, at(OUTSIDE, 7001)).is_from("outside", HOST));
    drop(server);
    nothing_is_damaged(&world);
    assert_eq!(translated(&world), before, "no checksum is whole");
    assert!(
        warnings(&world).contains("has tx-checksumming on by now"),
        "{}",
        warnings(&world)
    );
}

#[test]
fn containers_take_frames_while_it_is_asked_for() {
    let Some(mut world) = world() else { return };
    world.up(&config(&world, ""));
    assert!(!gro(world.container("a")), "a veth's default");
    world.up(&config(&world, OPTION));
    assert!(gro(world.container("a")));

    // One that comes later.
    let late = world.add_container("late");
    let add = ["endpoint", "add", "--network", "bridge", "--name", "late"];
    world.run(&[&add[..], &["--netns", &late]].concat());
    let late = world.container("late");
    assert!(gro(late));
    let _server = tcp_server(&world.outside, "outside", 7000);
    translates(&world, 2, || {
        assert!(tcp(late, at(OUTSIDE, 7000)).is_from("outside", HOST));
    });

    // One that has turned it off.
    stdout(late, "ethtool", &["-K", "eth0", "gro", "off"]);
    assert!(
        warnings(&world).contains("endpoint late: GRO of eth0"),
        "{}",
        warnings(&world)
    );
    world.up(&config(&world, OPTION));
    assert!(gro(late));
    assert_eq!(warnings(&world), "[]");

    world.up(&config(&world, "uplink_hook = \"xdp\""));
    assert_eq!(hook(&world), "tc, xdp");
    assert!(!gro(world.container("a")) && !gro(late), "as before");
    assert!(tcp(late, at(OUTSIDE, 7000)).is_from("outside", HOST));

    world.up(&config(&world, OPTION));
    world.run(&["down", "--all"]);
    let link = stdout(&world.host, "ip", &["-d", "link", "show", UPLINK]);
    assert!(!link.contains("prog/xdp"), "{link}");
    assert!(!world.pins().exists());
    let left = within(late, || links::links().unwrap());
    assert_eq!(left.len(), 1, "only the loopback: {left:?}");
}

/// A container whose namespace has lost its name is found by its interface.
#[test]
fn a_container_without_a_name_takes_frames_too() {
    let Some(world) = world() else { return };
    world.up(&config(&world, ""));
    let a = world.container("a");
    let keeper = namespace::Namespace::open(&a.name().parse().unwrap()).unwrap();
    // A process keeps it, as a container's does.
    let mut process = within(a, || {
        std::process::Command::new("sleep")
            .arg("60")
            .spawn()
            .unwrap()
    });
    let path = format!("/run/netns/{}", a.name());
    nix::mount::umount2(path.as_str(), nix::mount::MntFlags::MNT_DETACH).unwrap();
    let done = world.try_up(&config(&world, OPTION));
    let on = keeper.run(async |_| has_gro("eth0")).unwrap();
    process.kill().unwrap();
    process.wait().unwrap();
    let errors = String::from_utf8_lossy(&done.stderr);
    assert!(done.status.success() && on, "{errors}");
    assert_eq!(A.octets()[3], 2);
}
