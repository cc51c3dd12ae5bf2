//! A container's neighbours learn its MAC address at once.

use std::{io::Read as _, net::Ipv4Addr, time::Duration};

use netpath_tests::{
    agent::Agent,
    dual_stack::{A6, B6},
    netns::{Namespace, stdout, within},
    probe::{SOON, pings, pings6},
    topology::{A, B, World},
    wait,
};
use socket2::{Domain, Protocol, Socket, Type};

const OLD: &str = "02:00:00:00:00:0a";
const NEW: &str = "02:00:00:00:00:0c";

/// What a namespace knows of a neighbour.
fn neighbour(namespace: &Namespace, address: &str) -> String {
    let all = stdout(namespace, "ip", &["neigh", "show"]);
    let line = all.lines().find(|l| l.split(' ').next() == Some(address));
    line.unwrap_or_default().to_owned()
}

fn add(world: &World, name: &str, address: &str, address6: &str, mac: &str) {
    let netns = world.container(name).name();
    world.run(&[
        "endpoint",
        "add",
        "--network",
        "bridge",
        "--netns",
        netns,
        "--name",
        name,
        "--ip",
        address,
        "--ip6",
        address6,
        "--mac",
        mac,
    ]);
}

#[test]
fn a_stale_entry_is_replaced_at_once() {
    let world = World::dual_stack(&["a", "b", "c"]);
    let network = world.dual_stack_config(&[], &[], "");
    world.up(&network);
    let (a, a6) = (A.to_string(), A6.to_string());
    add(&world, "a", &a, &a6, OLD);
    add(
        &world,
        "b",
        &B.to_string(),
        &B6.to_string(),
        "02:00:00:00:00:0b",
    );
    let b = world.container("b");
    for from in [b, &world.host] {
        assert!(pings(from, A, SOON) && pings6(from, A6, SOON));
        for address in [&a, &a6] {
            let line = neighbour(from, address);
            assert!(line.contains(OLD), "{}: {line}", from.name());
        }
    }
    world.run(&["endpoint", "rm", "a"]);
    add(&world, "c", &a, &a6, NEW);
    // Nobody has sent anything, and no entry has had the time to expire.
    for address in [&a, &a6] {
        wait::until_within(Duration::from_millis(500), "the entry is new", || {
            neighbour(b, address).contains(NEW)
        });
        // The host has none, and asks.
        let line = neighbour(&world.host, address);
        assert!(!line.contains(OLD), "{line}");
    }
    for from in [b, &world.host] {
        assert!(pings(from, A, SOON) && pings6(from, A6, SOON));
        for address in [&a, &a6] {
            let line = neighbour(from, address);
            assert!(line.contains(NEW), "{}: {line}", from.name());
        }
    }
    // They are whom they say they are: none was dropped as forged.
    let drops = world.drops();
    assert!(drops.keys().all(|k| !k.starts_with("spoofed")), "{drops:?}");
}

/// Frames to a namespace: ARP requests for the sender's own address, and advertisements.
struct Listener(Socket);

impl Listener {
    fn new(namespace: &Namespace) -> Self {
        within(namespace, || {
            let every = Protocol::from(i32::from(3u16.to_be()));
            let socket = Socket::new(Domain::PACKET, Type::RAW, Some(every)).unwrap();
            socket.set_read_timeout(Some(wait::DEADLINE)).unwrap();
            Self(socket)
        })
    }

    /// Reads until `address` was announced by ARP and `address6` by neighbour discovery, each so often.
    fn hears(&self, address: Ipv4Addr, address6: [u8; 16], times: usize) {
        let (mut arps, mut advertisements) = (0, 0);
        let mut frame = [0; 2048];
        while arps < times || advertisements < times {
            let length = (&self.0).read(&mut frame);
            let length = length.unwrap_or_else(|e| {
                panic!("{arps} by ARP and {advertisements} advertised of {times}: {e}")
            });
            let frame = &frame[..length];
            let arp = frame[12..14] == [8, 6];
            if arp && frame[28..32] == address.octets() && frame[38..42] == address.octets() {
                arps += 1;
            }
            if length >= 78
                && frame[12..14] == [0x86, 0xdd]
                && frame[20] == 58
                && frame[54] == 136
                && frame[62..78] == address6
            {
                advertisements += 1;
            }
        }
    }
}

#[test]
fn with_the_agent_three_times() {
    let world = World::dual_stack(&["a", "b"]);
    world.up(&world.dual_stack_config(&[], &[], ""));
    add(
        &world,
        "b",
        &B.to_string(),
        &B6.to_string(),
        "02:00:00:00:00:0b",
    );
    let agent = Agent::start(&world);
    agent.wait_until_ready();
    let listener = Listener::new(world.container("b"));
    add(&world, "a", &A.to_string(), &A6.to_string(), OLD);
    listener.hears(A, A6.octets(), 3);
    assert!(agent.terminate());
}
