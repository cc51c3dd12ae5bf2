//! Floods of SYNs, ten times what the conntrack table holds: what was established goes on, others
//! still open connections, and the table recovers.

use std::{
    collections::BTreeSet,
    env,
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::{Duration, Instant},
};

use netpath::{bpf::Datapath, lab::probe};
use netpath_common::{
    counters::Counter,
    testing::{Frame, describe, verify},
};
use netpath_tests::{
    agent::Agent,
    flood::{Direction, Flood, Sent},
    netns::within,
    probe::{at, tcp_server},
    station::mac,
    stream::Stream,
    topology::{A, B, HOST, OUTSIDE, UPLINK, World},
    ways::set,
};

/// Flows that the table holds: the fewest that may be configured, what a `World` has.
const TABLE: u64 = 65_536;
/// SYNs a second, at most.
const RATE: f64 = 100_000.0;
/// For one step of anybody on a machine that is flooded.
const PATIENCE: Duration = Duration::from_secs(15);
/// A flood ends early on a machine that does not make ten tables of SYNs in this time.
const ENOUGH: Duration = Duration::from_secs(8);
/// Between two connections of a neighbour.
const PACE: Duration = Duration::from_millis(25);

fn long() -> bool {
    env::var_os("NETPATH_LONG").is_some()
}

/// Containers `a`, which publishes, and `b`; what nobody answers or needs is forgotten soon,
/// if anybody collects it.
fn world(limits: &str) -> World {
    let world = World::new(&["a", "b"]);
    let config = limits.to_owned()
        + "[timeouts]\n"
        + &["syn_sent", "syn_recv", "time_wait", "last_ack", "close"]
            .map(|state| format!("tcp_{state} = \"2s\"\n"))
            .concat()
        + &world.network("bridge", "netpath0", "172.17.0.0/16", "")
        + &world.endpoint("a", A, &["8080:80"])
        + &world.endpoint("b", B, &[]);
    world.up(&config);
    // A cookie for every SYN: no queue of the listener's decides who is answered, and no answer is
    // sent again when its flow is gone.
    set(world.container("a"), "tcp_syncookies", "2");
    world
}

/// What the datapath has counted of new flows: those it made and those it refused.
#[derive(Clone, Copy, Default, Debug)]
struct Counted {
    made: u64,
    removed: u64,
    reclaimed: u64,
    dropped: u64,
}

impl Counted {
    /// New flows that were asked for.
    fn flows(self) -> u64 {
        self.made + self.dropped
    }
}

fn counted(world: &World) -> Counted {
    within(&world.host, || {
        let datapath = Datapath::open(world.instance()).unwrap().unwrap();
        let counters = datapath.counters().unwrap();
        let of = |wanted| counters.iter().find(|(c, _)| *c == wanted).unwrap().1;
        Counted {
            made: of(Counter::FlowNew),
            removed: of(Counter::FlowRemoved),
            reclaimed: of(Counter::FlowReclaimed),
            dropped: datapath.drops().unwrap().iter().map(|(_, n)| n).sum(),
        }
    })
}

/// Established transfers, masqueraded and by the published port, and new connections of `b` outlive
/// the flood. The result is what the datapath has counted by its end.
fn outlives(world: &World, mut flood: Flood) -> Counted {
    let (a, b) = (world.container("a"), world.container("b"));
    let out = Stream::open(b, at(OUTSIDE, 7001), &world.outside, 7001);
    let inward = Stream::open(&world.outside, at(HOST, 8080), a, 80);
    let _server = tcp_server(&world.outside, "outside", 7000);
    let before = (out.received(), inward.received());

    let stop = AtomicBool::new(false);
    let started = Instant::now();
    let least = Duration::from_secs(if long() { 60 } else { 0 });
    let mut connections = 0;
    let mut slowest = Duration::ZERO;
    let sent = thread::scope(|scope| {
        let flood = scope.spawn(|| flood.run(RATE, &stop));
        // Also where a step fails: the scope waits for its threads.
        let stop = Stop(&stop);
        loop {
            let asked = Instant::now();
            let answer = within(b, || probe::tcp(at(OUTSIDE, 7000), None, PATIENCE))
                .unwrap_or_else(|error| panic!("connection {connections}: {error}"));
            assert!(answer.is_from("outside", HOST), "{}", answer.text);
            slowest = slowest.max(asked.elapsed());
            connections += 1;
            let flows = counted(world).flows();
            let ten_times =
                flows >= 10 * TABLE || started.elapsed() >= ENOUGH && flows >= 2 * TABLE;
            if ten_times && started.elapsed() >= least {
                break;
            }
            assert!(
                started.elapsed() < least + 8 * PATIENCE,
                "the machine does not make a flood: {flows} SYNs arrived"
            );
            thread::sleep(PACE);
        }
        drop(stop);
        flood.join().unwrap()
    });
    let after = (out.received(), inward.received());
    assert!(
        after.0 > before.0 && after.1 > before.1,
        "{before:?} {after:?}"
    );
    let bytes = (out.finish(), inward.finish());
    let counted = counted(world);
    report(sent, counted, connections, slowest, bytes);
    counted
}

struct Stop<'s>(&'s AtomicBool);

impl Drop for Stop<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

fn report(
    sent: Sent,
    counted: Counted,
    connections: u32,
    slowest: Duration,
    (out, inward): (u64, u64),
) {
    println!(
        "{} SYNs in {:.1?}, {:.0} a second: {counted:?}; meanwhile {connections} connections, the \
         slowest in {slowest:.1?}, {} MB out and {} MB in",
        sent.packets,
        sent.elapsed,
        sent.rate(),
        out / 1_000_000,
        inward / 1_000_000,
    );
}

/// With the agent nothing is left once everything has expired, and both containers and the outside connect.
fn recovers(world: &World) {
    let _agent = Agent::start(world);
    let deadline = Instant::now() + 4 * PATIENCE;
    while counted(world).made != counted(world).removed {
        assert!(Instant::now() < deadline, "{:?}", counted(world));
        thread::sleep(PACE);
    }
    assert_eq!(world.run(&["ct", "list"]), "");
    let _servers = (
        tcp_server(&world.outside, "outside", 7000),
        tcp_server(world.container("a"), "a", 80),
    );
    for name in ["a", "b"] {
        let answer = within(world.container(name), || {
            probe::tcp(at(OUTSIDE, 7000), None, PATIENCE).unwrap()
        });
        assert!(answer.is_from("outside", HOST), "{}", answer.text);
    }
    let answer = within(&world.outside, || {
        probe::tcp(at(HOST, 8080), None, PATIENCE).unwrap()
    });
    assert!(answer.is_from("a", OUTSIDE), "{}", answer.text);
}

fn from_outside(world: &World) -> Flood {
    let macs = (mac(&world.outside, "eth0"), mac(&world.host, UPLINK));
    Flood::new(&world.outside, "eth0", macs, Direction::To(HOST, 8080))
}

#[test]
fn spoofed_syns_to_a_published_port() {
    let world = world("");
    let counted = outlives(&world, from_outside(&world));
    // The oldest gives way to the newest, so that nothing is refused.
    assert!(world.drops().is_empty(), "{:?}", world.drops());
    // A quarter of the table is all they have.
    let held = counted.made - counted.removed;
    assert!(held < TABLE / 4 + 5000, "{counted:?}");
    assert!(counted.reclaimed > TABLE, "{counted:?}");
    recovers(&world);
}

/// Without a budget of their own they fill the table.
#[test]
fn spoofed_syns_that_fill_the_table() {
    let world = world("inbound = 0\n");
    let counted = outlives(&world, from_outside(&world));
    // A place that one processor makes free is another's at once: each makes room again.
    assert!(world.drops().is_empty(), "{:?}", world.drops());
    assert!(counted.reclaimed > TABLE / 2, "{counted:?}");
    recovers(&world);
}

#[test]
fn syns_of_a_container() {
    let world = world("");
    let a = world.container("a");
    let macs = (mac(a, "eth0"), mac(&world.host, "netpath0"));
    let counted = outlives(&world, Flood::new(a, "eth0", macs, Direction::From(A)));
    let drops: Vec<_> = world.drops().into_iter().collect();
    assert_eq!(drops, [("endpoint-quota", counted.dropped)]);
    // Half of the table is its own: what it asks for beyond that is refused. What has expired makes
    // room for more.
    let held = counted.made - counted.removed;
    assert!(held < TABLE / 2 + 5000, "{counted:?}");
    assert!(counted.dropped > TABLE, "{counted:?}");
    recovers(&world);
}

#[test]
fn no_two_syns_are_alike_and_all_are_right() {
    let world = World::new(&[]);
    for (direction, first) in [
        (
            Direction::To(HOST, 80),
            "tcp 203.0.113.1:1024 > 198.51.100.1:80",
        ),
        (Direction::From(A), "tcp 172.17.0.2:1024 > 203.0.113.1:1024"),
    ] {
        let flood = Flood::new(&world.host, UPLINK, ([2; 6], [4; 6]), direction);
        let mut seen = BTreeSet::new();
        for number in (0..1000).chain(1_000_000..1_001_000) {
            let frame = Frame {
                bytes: flood.frame(number).to_vec(),
                ..Frame::default()
            };
            assert_eq!(verify(&frame), Ok(()));
            assert!(seen.insert(describe(&frame)), "{number}");
        }
        assert!(seen.contains(first), "{seen:?}");
    }
}
