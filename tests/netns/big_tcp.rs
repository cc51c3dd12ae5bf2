//! `gso_max_size`: segments that are larger than an IPv4 header can say, on the devices of a network.

use netpath::{
    config::GSO_LEGACY_MAX_SIZE,
    net::{self, SegmentSizes, namespace},
};
use netpath_common::DropReason;
use netpath_tests::{
    netns::Namespace,
    probe::{at, checksum_errors, transfer},
    skip,
    sniff::{Largest, Sniffer},
    topology::{A, B, HOST, OUTSIDE, UPLINK, World},
    ways::ip,
};

const SIZE: u32 = 196_608;
const LENGTH: usize = 10_000_000;
/// The longest packet that an IPv4 header can say, bytes.
const LARGEST: usize = 65_535;

/// Runs netlink requests in a namespace.
fn netlink<T: Send>(
    of: &Namespace,
    task: impl AsyncFnOnce(&net::Netlink) -> Result<T, net::Error> + Send,
) -> T {
    let netns = namespace::Namespace::open(&of.name().parse().unwrap()).unwrap();
    netns.run(task).unwrap()
}

/// The sizes of an interface; `None` where the kernel has no BIG TCP for IPv4.
fn sizes(of: &Namespace, ifname: &str) -> Option<SegmentSizes> {
    netlink(of, async |netlink| netlink.link(ifname).await)
        .unwrap_or_else(|| panic!("no {ifname} in {}", of.name()))
        .segments
}

fn set_sizes(of: &Namespace, ifname: &str, to: SegmentSizes) {
    netlink(of, async |netlink| {
        let link = netlink.link(ifname).await?.unwrap();
        netlink.set_segments(link.index, to).await
    });
}

/// Whether this kernel has it; if not, that is on record.
fn supported(world: &World) -> bool {
    let has = sizes(&world.host, "lo").is_some();
    if !has {
        skip::record("the kernel has no BIG TCP for IPv4 (6.3)");
    }
    has
}

fn config(world: &World, more: &str) -> String {
    world.network("bridge", "netpath0", "172.17.0.0/16", more)
        + &world.endpoint("a", A, &["8080:80"])
        + &world.endpoint("b", B, &[])
}

fn large(world: &World) -> String {
    config(world, &format!("gso_max_size = {SIZE}"))
}

/// A world with larger segments; `None` where the kernel has none.
fn world() -> Option<World> {
    let world = World::new(&["a", "b"]);
    if !supported(&world) {
        return None;
    }
    world.up(&large(&world));
    Some(world)
}

/// Transfers both ways; what `watched` saw, and that nothing was dropped or damaged.
fn watch(
    world: &World,
    watched: &Namespace,
    client: &Namespace,
    to: std::net::SocketAddrV4,
    server: (&Namespace, u16),
) -> Largest {
    let sniffer = Sniffer::start(watched);
    transfer(client, to, server.0, server.1, LENGTH);
    for namespace in [&world.host, &world.outside, client, server.0] {
        let errors = checksum_errors(namespace);
        assert_eq!(errors, 0, "checksum errors in {}", namespace.name());
    }
    assert_eq!(world.dropped(DropReason::BadIpHeader), 0);
    sniffer.stop()
}

fn larger_both_ways(seen: Largest) {
    assert!(
        seen.sent > LARGEST && seen.received > LARGEST,
        "no super-packet was larger than {LARGEST}: {seen:?}"
    );
    assert!(seen.sent <= SIZE as usize && seen.received <= SIZE as usize);
}

#[test]
fn from_container_to_container() {
    let Some(world) = world() else { return };
    let (a, b) = (world.container("a"), world.container("b"));
    larger_both_ways(watch(&world, a, a, at(B, 7000), (b, 7000)));
}

#[test]
fn from_the_host_to_a_container_and_its_published_port() {
    let Some(world) = world() else { return };
    let a = world.container("a");
    larger_both_ways(watch(&world, a, &world.host, at(A, 80), (a, 80)));
    larger_both_ways(watch(&world, a, &world.host, at(HOST, 8080), (a, 80)));
}

#[test]
fn by_an_uplink_that_takes_them() {
    let Some(world) = world() else { return };
    let a = world.container("a");
    set_sizes(&world.host, UPLINK, SegmentSizes::all(SIZE));
    set_sizes(&world.outside, "eth0", SegmentSizes::all(SIZE));
    let outside = &world.outside;
    // Masqueraded, seen where it begins and where it has come to.
    let seen = watch(&world, a, a, at(OUTSIDE, 7000), (outside, 7000));
    larger_both_ways(seen);
    let seen = watch(&world, outside, a, at(OUTSIDE, 7000), (outside, 7000));
    larger_both_ways(seen);
    // By the published port.
    let seen = watch(&world, a, outside, at(HOST, 8080), (a, 80));
    larger_both_ways(seen);
    let seen = watch(&world, outside, outside, at(HOST, 8080), (a, 80));
    larger_both_ways(seen);
}

/// The container's packets are cut into segments at the uplink; nothing is lost.
#[test]
fn by_an_uplink_that_does_not_take_them() {
    let Some(world) = world() else { return };
    let (a, outside) = (world.container("a"), &world.outside);
    let seen = watch(&world, a, a, at(OUTSIDE, 7000), (outside, 7000));
    assert!(seen.sent > LARGEST, "{seen:?}");
    let seen = watch(&world, outside, a, at(OUTSIDE, 7000), (outside, 7000));
    assert!(seen.received <= LARGEST, "{seen:?}");
    let seen = watch(&world, outside, outside, at(HOST, 8080), (a, 80));
    assert!(seen.received <= LARGEST, "{seen:?}");
}

/// The host's side of the veth of `a`, and the sizes of all devices of the network.
fn everywhere(world: &World) -> [Option<SegmentSizes>; 3] {
    let port = netlink(&world.host, async |netlink| {
        let bridge = netlink.link("netpath0").await?.unwrap();
        let links = netlink.links().await?;
        let port = links
            .into_iter()
            .find(|l| l.controller == Some(bridge.index));
        Ok::<_, net::Error>(port.unwrap())
    });
    [
        sizes(&world.host, "netpath0"),
        port.segments,
        sizes(world.container("a"), "eth0"),
    ]
}

#[test]
fn up_converges_and_inspect_shows_it() {
    let world = World::new(&["a", "b"]);
    if !supported(&world) {
        return;
    }
    let inspected = || {
        let text = world.run(&["network", "inspect", "bridge"]);
        let json: serde_json::Value = serde_json::from_str(&text).unwrap();
        let size = &json[0]["Options"]["netpath.gso_max_size"];
        size.as_str().map(str::to_owned)
    };
    let plain = Some(SegmentSizes::all(GSO_LEGACY_MAX_SIZE));
    let larger = Some(SegmentSizes::all(SIZE));

    world.up(&config(&world, ""));
    assert_eq!(everywhere(&world), [plain; 3], "off by default");
    assert_eq!(inspected(), None);
    world.up(&large(&world));
    assert_eq!(everywhere(&world), [larger; 3]);
    assert_eq!(inspected(), Some(SIZE.to_string()));
    // What somebody else has set is set right.
    set_sizes(&world.host, "netpath0", SegmentSizes::all(100_000));
    world.up(&large(&world));
    assert_eq!(everywhere(&world), [larger; 3]);
    world.up(&config(&world, ""));
    assert_eq!(everywhere(&world), [plain; 3], "off again");
    assert_eq!(inspected(), None);
}

#[test]
fn a_bridge_that_was_there_is_left_as_it_was() {
    let world = World::new(&["a", "b"]);
    if !supported(&world) {
        return;
    }
    ip(&world.host, "link add netpath0 type bridge");
    let before = SegmentSizes {
        gso: 60_000,
        gro: 70_000,
        gso_ipv4: 50_000,
        gro_ipv4: 90_000,
    };
    set_sizes(&world.host, "netpath0", before);
    world.up(&config(&world, ""));
    assert_eq!(sizes(&world.host, "netpath0"), Some(before));
    world.up(&large(&world));
    let larger = Some(SegmentSizes::all(SIZE));
    assert_eq!(sizes(&world.host, "netpath0"), larger);
    world.run(&["down", "bridge"]);
    assert_eq!(sizes(&world.host, "netpath0"), Some(before));
}

#[test]
fn an_uplink_that_takes_less_is_named() {
    let world = World::new(&["a", "b"]);
    if !supported(&world) {
        return;
    }
    let output = world.try_up(&large(&world));
    assert!(output.status.success());
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(
        said.contains("network `bridge`: uplink uplink0 takes super-packets of up to 65536 bytes")
            && said.contains(&format!("ip link set uplink0 gso_ipv4_max_size {SIZE}")),
        "{said}"
    );
    // Once is enough.
    let again = world.try_up(&large(&world));
    let said = String::from_utf8(again.stderr).unwrap();
    assert!(!said.contains("super-packets"), "{said}");
}
