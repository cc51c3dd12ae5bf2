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

use aya::{
    Ebpf,
    programs::{Xdp, XdpMode},
};
use netpath::lab::{frame, links, probe};
use netpath_common::{
    DropReason,
    conntrack::tcp::SYN,
    testing::{self, Datagram},
};
use netpath_tests::{
    netns::{stdout, within},
    probe::{SOON, at, pings, tcp, tcp_fails, tcp_server, udp, udp_server, udp_socket},
    runner, skip,
    topology::{A, HOST, OUTSIDE, UPLINK, World},
    wait,
};

/// Somebody outside.
const STRANGER: [u8; 4] = [198, 51, 100, 77];

fn config(world: &World, more: &str) -> String {
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
struct Flood {
    stop: Arc<AtomicBool>,
    sender: Option<JoinHandle<()>>,
}

impl Flood {
    fn start(world: &World) -> Self {
        let host = HOST.octets();
        let frames = [
            testing::udp(STRANGER, 7, host, 9, b"flood"),
            testing::tcp(STRANGER, 7, host, 81, SYN),
        ]
        .map(|packet| frame_of(world, &packet));
        let stop = Arc::new(AtomicBool::new(false));
        let (stopped, outside) = (stop.clone(), world.outside.name().to_owned());
        let sender = thread::spawn(move || {
            let file = std::fs::File::open(format!("/run/netns/{outside}")).unwrap();
            nix::sched::setns(file, nix::sched::CloneFlags::CLONE_NEWNET).unwrap();
            let sender = frame::Sender::open("eth0").unwrap();
            while !stopped.load(Ordering::Relaxed) {
                for frame in &frames {
                    sender.send(frame).unwrap();
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
    fn goes_on(&self, world: &World) {
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

/// The number of the native XDP program at the uplink.
fn program(world: &World) -> Option<u32> {
    let link = stdout(&world.host, "ip", &["-d", "link", "show", UPLINK]);
    assert!(!link.contains("xdpgeneric"), "{link}");
    let (_, id) = link.split_once("prog/xdp id ")?;
    id.split_whitespace().next()?.parse().ok()
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

    // The programs are replaced under a flood: at no moment is there none.
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
