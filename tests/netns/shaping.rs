//! Bandwidth limits of an endpoint: real traffic keeps to them.

use std::{net::SocketAddrV4, time::Instant};

use netpath_tests::{
    netns::{Namespace, stdout},
    probe::at,
    stream::Stream,
    topology::{A, B, HOST, OUTSIDE, World},
    wait,
};

const PORT: u16 = 9090;
/// Bytes a second of 10 mbit.
const LIMIT: f64 = 1_250_000.0;

fn config(world: &World, network: &str, rates: &str) -> String {
    let publish = format!("{PORT}:{PORT}");
    world.network("bridge", "netpath0", "172.17.0.0/16", network)
        + &world.endpoint("a", A, &[&publish])
        + &format!("{rates}\n")
        + &world.endpoint("b", B, &[])
}

/// Bytes a second of one connection, once its first burst has gone.
fn measure(client: &Namespace, to: SocketAddrV4, server: &Namespace, port: u16) -> f64 {
    let stream = Stream::open(client, to, server, port);
    wait::until("it has begun", || stream.received() > 300_000);
    let (since, before) = (Instant::now(), stream.received());
    wait::until("it goes on", || {
        stream.received() - before > 2_000_000 && since.elapsed().as_secs_f64() > 0.3
    });
    let rate = (stream.received() - before) as f64 / since.elapsed().as_secs_f64();
    stream.finish();
    rate
}

fn into(world: &World) -> f64 {
    measure(&world.outside, at(HOST, PORT), world.container("a"), PORT)
}

fn out_of(world: &World) -> f64 {
    measure(
        world.container("a"),
        at(OUTSIDE, PORT),
        &world.outside,
        PORT,
    )
}

#[track_caller]
fn is_limited(rate: f64) {
    let part = rate / LIMIT;
    assert!((0.5..1.3).contains(&part), "{part} of the limit");
}

#[track_caller]
fn is_free(rate: f64) {
    assert!(rate > 3.0 * LIMIT, "{rate} bytes a second without a limit");
}

#[test]
fn what_is_sent_into_a_container_keeps_its_rate() {
    for network in ["", "firewall = \"visible\""] {
        let world = World::new(&["a", "b"]);
        world.up(&config(&world, network, "rate_in = \"10mbit\""));
        is_limited(into(&world));
        is_free(out_of(&world));
        // By the neighbour: to its own address, and to the published port.
        let (a, b) = (world.container("a"), world.container("b"));
        is_limited(measure(b, at(A, PORT), a, PORT));
        is_limited(measure(b, at(HOST, PORT), a, PORT));
        assert!(
            world
                .run(&["endpoint", "inspect", "a"])
                .contains(r#""RateIn": "10mbit""#)
        );
    }
}

#[test]
fn what_a_container_sends_keeps_its_rate() {
    let world = World::new(&["a", "b"]);
    world.up(&config(&world, "", "rate_out = \"10mbit\""));
    is_limited(out_of(&world));
    is_free(into(&world));
    assert!(
        world
            .run(&["endpoint", "inspect", "a"])
            .contains(r#""RateOut": "10mbit""#)
    );
}

#[test]
fn limits_are_changed_in_place() {
    let world = World::new(&["a", "b"]);
    world.up(&config(&world, "", ""));
    is_free(into(&world));
    let id = |world: &World| {
        let shown = world.run(&["--json", "endpoint", "inspect", "a"]);
        shown
            .lines()
            .find(|line| line.contains("EndpointID"))
            .map(str::to_owned)
    };
    let before = id(&world);
    world.up(&config(
        &world,
        "",
        "rate_in = \"10mbit\"\nrate_out = \"10mbit\"",
    ));
    is_limited(into(&world));
    is_limited(out_of(&world));
    world.up(&config(&world, "", ""));
    is_free(into(&world));
    is_free(out_of(&world));
    assert_eq!(id(&world), before, "the same endpoint");
    let qdiscs = stdout(world.container("a"), "tc", &["qdisc", "show"]);
    assert!(!qdiscs.contains("tbf"), "{qdiscs}");
    let qdiscs = stdout(&world.host, "tc", &["qdisc", "show"]);
    assert!(!qdiscs.contains("tbf"), "{qdiscs}");
}
