//! Early drop at the uplink, natively on veth: what it takes and what it leaves alone.

use std::{
    io::{BufRead as _, BufReader, ErrorKind},
    net::{Ipv4Addr, SocketAddr, UdpSocket},
    process::{Child, Stdio},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread::{self, JoinHandle},
};

use netpath::lab::{Error, frame, links, probe};
use netpath_common::{
    DropReason,
    conntrack::tcp::SYN,
    testing::{self, Datagram},
};
use netpath_tests::{
    netns::within,
    probe::{SOON, at, pings, tcp, tcp_fails, tcp_server, udp, udp_server, udp_socket},
    topology::{A, HOST, OUTSIDE, UPLINK, World},
    wait,
};

/// Somebody outside.
const STRANGER: [u8; 4] = [198, 51, 100, 77];

pub(crate) fn config(world: &World, more: &str) -> String {
    world.network("bridge", "netpath0", "172.17.0.0/16", more)
        + &world.endpoint("a", A, &["8080:80", "5353:53/udp"])
}

/// A world whose uplink has XDP.
fn world() -> World {
    let world = World::new(&["a"]);
    world.up(&config(&world, "uplink_hook = \"xdp\""));
    world
}

/// A packet from outside, in a frame to the host.
fn frame_of(world: &World, packet: &Datagram) -> Vec<u8> {
    let mac = |namespace, name: &str| -> [u8; 6] {
        let links = within(namespace, || links::links().unwrap());
        let link = links.iter().find(|link| link.name == name).unwrap();
        link.mac.clone().try_into().unwrap()
    };
    let (from, to) = (mac(&world.outside, "eth0"), mac(&world.host, UPLINK));
    packet.frame(from, to, 0).bytes
}

/// Sends to ports that nobody has, as fast as it can, until it is dropped.
pub(crate) struct Flood {
    stop: Arc<AtomicBool>,
    sender: Option<JoinHandle<()>>,
}

impl Flood {
    /// To two ports that nobody has.
    pub(crate) fn start(world: &World) -> Self {
        Self::also_at(world, &[])
    }

    /// To UDP ports of somebody as well, who has asked somebody else.
    fn also_at(world: &World, ports: &[u16]) -> Self {
        let host = HOST.octets();
        let mut packets = vec![
            testing::udp(STRANGER, 7, host, 9, b"flood"),
            testing::tcp(STRANGER, 7, host, 81, SYN),
        ];
        for port in ports {
            packets.push(testing::udp(STRANGER, 7, host, *port, b"flood"));
        }
        let frames: Vec<_> = packets.iter().map(|p| frame_of(world, p)).collect();
        let stop = Arc::new(AtomicBool::new(false));
        let (stopped, outside) = (stop.clone(), world.outside.name().to_owned());
        let sender = thread::spawn(move || {
            let file = std::fs::File::open(format!("/run/netns/{outside}")).unwrap();
            nix::sched::setns(file, nix::sched::CloneFlags::CLONE_NEWNET).unwrap();
            let sender = frame::Sender::open("eth0").unwrap();
            while !stopped.load(Ordering::Relaxed) {
                for frame in &frames {
                    match sender.send(frame) {
                        // The other end's queue is full: that is a flood's fate.
                        Err(Error::Io { source, .. })
                            if source.raw_os_error() == Some(libc::ENOBUFS) => {}
                        sent => sent.unwrap(),
                    }
                }
            }
        });
        let flood = Self {
            stop,
            sender: Some(sender),
        };
        flood.goes_on(world);
        flood
    }

    /// Waits until more of it was dropped.
    #[track_caller]
    pub(crate) fn goes_on(&self, world: &World) {
        let before = world.dropped(DropReason::UnpublishedFlood);
        wait::until("the flood is dropped", || {
            world.dropped(DropReason::UnpublishedFlood) > before + 1000
        });
    }
}

impl Drop for Flood {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(sender) = self.sender.take() {
            let ended = sender.join();
            assert!(ended.is_ok() || thread::panicking(), "the sender failed");
        }
    }
}

#[test]
fn under_a_flood_all_that_somebody_wants_works() {
    let world = world();
    let a = world.container("a");
    let _servers = [
        tcp_server(a, "a", 80),
        udp_server(a, "a", 53),
        tcp_server(&world.host, "host", 2200),
        udp_server(&world.host, "host", 2200),
        tcp_server(&world.outside, "outside", 7000),
        udp_server(&world.outside, "outside", 7000),
    ];
    // Connections from before the flood.
    let masqueraded = udp_socket(a, 0, Some(at(OUTSIDE, 7000)));
    let own = udp_socket(&world.host, 0, Some(at(OUTSIDE, 7000)));
    let ask = |socket: &UdpSocket| probe::udp_again(socket, SOON).unwrap();
    assert!(ask(&masqueraded).is_from("outside", HOST));
    assert!(ask(&own).is_from("outside", HOST));

    let flood = Flood::start(&world);
    for _ in 0..5 {
        assert!(ask(&masqueraded).is_from("outside", HOST));
        assert!(ask(&own).is_from("outside", HOST), "as a resolver's socket");
        assert!(tcp(&world.outside, at(HOST, 8080)).is_from("a", OUTSIDE));
        assert!(udp(&world.outside, at(HOST, 5353)).is_from("a", OUTSIDE));
        assert!(tcp(&world.outside, at(HOST, 2200)).is_from("host", OUTSIDE));
        assert!(udp(&world.outside, at(HOST, 2200)).is_from("host", OUTSIDE));
        assert!(tcp(&world.host, at(OUTSIDE, 7000)).is_from("outside", HOST));
        assert!(udp(&world.host, at(OUTSIDE, 7000)).is_from("outside", HOST));
        assert!(tcp(a, at(OUTSIDE, 7000)).is_from("outside", HOST));
        assert!(udp(a, at(OUTSIDE, 7000)).is_from("outside", HOST));
        assert!(pings(&world.outside, HOST, SOON));
        assert!(pings(a, OUTSIDE, SOON));
        flood.goes_on(&world);
    }
    drop(flood);
    let drops = world.drops();
    assert_eq!(
        drops.keys().copied().collect::<Vec<_>>(),
        ["unpublished-flood"]
    );
}

#[test]
fn a_drop_is_reported_with_its_hook() {
    let world = world();
    let mut monitor = Monitor::start(&world);
    let flood = Flood::start(&world);
    let event = monitor.next();
    drop(flood);
    assert_eq!(event["hook"], "xdp", "{event}");
    assert_eq!(event["reason"], "unpublished-flood", "{event}");
    assert_eq!(
        event["src"],
        Ipv4Addr::from(STRANGER).to_string(),
        "{event}"
    );
    assert_eq!(event["interface"], UPLINK, "{event}");
}

/// `netpath monitor` at work.
struct Monitor {
    child: Child,
}

impl Monitor {
    fn start(world: &World) -> Self {
        let mut command = world.netpath_command();
        command.args(["monitor", "--drops", "--json"]);
        let child = command.stdout(Stdio::piped()).spawn().unwrap();
        Self { child }
    }

    fn next(&mut self) -> serde_json::Value {
        let mut line = String::new();
        let output = self.child.stdout.as_mut().unwrap();
        BufReader::new(output).read_line(&mut line).unwrap();
        serde_json::from_str(&line).unwrap()
    }
}

impl Drop for Monitor {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn a_moderate_rate_is_refused_by_the_stack_as_ever() {
    let world = world();
    for _ in 0..20 {
        tcp_fails(&world.outside, at(HOST, 81), ErrorKind::ConnectionRefused);
    }
    // The stack's own limit of ICMP errors to one host allows few.
    let socket = udp_socket(&world.outside, 0, Some(at(HOST, 9)));
    socket.send(b"?").unwrap();
    let error = socket.recv(&mut [0; 10]).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::ConnectionRefused);
    assert_eq!(world.drops().len(), 0, "{:?}", world.drops());
}

#[test]
fn what_cannot_be_is_dropped_and_counted() {
    let world = world();
    let host = HOST.octets();
    let cases = [
        (
            DropReason::Martian,
            testing::udp([127, 0, 0, 1], 1, host, 2200, b"x"),
        ),
        (DropReason::Martian, testing::udp(host, 1, host, 2200, b"x")),
        (
            DropReason::Martian,
            testing::udp(A.octets(), 1, host, 2200, b"x"),
        ),
        (
            DropReason::Martian,
            testing::udp([224, 0, 0, 1], 1, host, 2200, b"x"),
        ),
        (
            DropReason::Martian,
            testing::udp(STRANGER, 1, [127, 0, 0, 1], 2200, b"x"),
        ),
        (
            DropReason::DirectAccess,
            testing::tcp(STRANGER, 1, A.octets(), 80, SYN),
        ),
        (
            DropReason::Truncated,
            Datagram::new(STRANGER, host, 6, vec![0; 19]),
        ),
        (
            DropReason::BadL4Header,
            Datagram::new(STRANGER, host, 17, vec![0; 8]),
        ),
    ];
    let mut monitor = Monitor::start(&world);
    // The monitor leaves out what came before it: this says that it is there.
    let martian = frame_of(&world, &cases[0].1);
    let ready = AtomicBool::new(false);
    thread::scope(|scope| {
        scope.spawn(|| {
            within(&world.outside, || {
                while !ready.load(Ordering::Relaxed) {
                    frame::send("eth0", &martian).unwrap();
                    thread::sleep(std::time::Duration::from_millis(5));
                }
            });
        });
        let first = monitor.next();
        ready.store(true, Ordering::Relaxed);
        assert_eq!(
            (&first["hook"], &first["reason"]),
            (&"xdp".into(), &"martian".into())
        );
    });
    for (reason, packet) in cases {
        let before = world.dropped(reason);
        let frame = frame_of(&world, &packet);
        within(&world.outside, || frame::send("eth0", &frame).unwrap());
        wait::until(reason.as_str(), || world.dropped(reason) == before + 1);
    }
}

#[test]
fn the_socket_of_an_unanswered_question_gets_its_late_answer() {
    let world = world();
    let server = udp_socket(&world.outside, 7000, None);
    let client = udp_socket(&world.host, 0, None);
    client.send_to(b"?", at(OUTSIDE, 7000)).unwrap();
    let mut buffer = [0; 10];
    let (_, from) = server.recv_from(&mut buffer).unwrap();
    let flood = Flood::start(&world);
    server.send_to(b"!", from).unwrap();
    let (length, from) = client.recv_from(&mut buffer).unwrap();
    assert_eq!((length, from), (1, SocketAddr::from(at(OUTSIDE, 7000))));
    drop(flood);
}

#[test]
fn a_flood_at_the_very_port_of_a_waiting_socket_takes_no_answer_from_it() {
    let world = World::new(&["a"]);
    let _server = udp_server(&world.outside, "outside", 7000);
    let ask = |socket: &UdpSocket| probe::udp_again(socket, SOON).unwrap();
    // It has sent before anything of netpath's could see it.
    let early = udp_socket(&world.host, 0, Some(at(OUTSIDE, 7000)));
    assert!(ask(&early).is_from("outside", HOST));
    world.up(&config(&world, "uplink_hook = \"xdp\""));
    let late = udp_socket(&world.host, 0, Some(at(OUTSIDE, 7000)));
    assert!(ask(&late).is_from("outside", HOST));
    let masqueraded = udp_socket(world.container("a"), 0, Some(at(OUTSIDE, 7000)));
    assert!(ask(&masqueraded).is_from("outside", HOST));

    let sockets = [early, late, masqueraded];
    let ports = sockets.each_ref().map(|s| s.local_addr().unwrap().port());
    let flood = Flood::also_at(&world, &ports);
    for _ in 0..50 {
        for socket in &sockets {
            assert!(ask(socket).is_from("outside", HOST));
        }
    }
    flood.goes_on(&world);
}
