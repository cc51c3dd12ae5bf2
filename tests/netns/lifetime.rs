//! What a live flow sees of a change, with the agent dead: the very next packet follows it. Flows
//! that it does not concern keep their port and their entry.

use std::{
    io::{ErrorKind, Read, Write},
    net::{Ipv4Addr, SocketAddrV4, UdpSocket},
    time::Duration,
};

use netpath::lab::probe;
use netpath_tests::{
    agent::Agent,
    netns::within,
    probe::{Server, at, tcp_server, udp_server, udp_socket},
    stream::Stream,
    topology::{A, HOST, OUTSIDE, World},
    ways::{HOST2, PUBLISHED, SERVER, SERVER_PORT, Ways, Without, ip},
};

/// For the answer to one packet, which is sent once.
const PATIENCE: Duration = Duration::from_secs(10);

fn kill_agent(world: &World) {
    let agent = Agent::start(world);
    agent.wait_until_ready();
    agent.kill();
}

/// Sends one packet over a live flow; the answer's first word and the address that it saw.
#[track_caller]
fn ask(socket: &UdpSocket) -> (String, SocketAddrV4) {
    let answer = probe::udp_again(socket, PATIENCE).unwrap();
    let name = answer.text.split(' ').next().unwrap().to_owned();
    (name, answer.seen().unwrap())
}

/// Sends one packet over a live flow, and the host says that nobody is there.
#[track_caller]
fn is_refused(socket: &UdpSocket) {
    let error = probe::udp_again(socket, PATIENCE).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::ConnectionRefused);
}

/// A flow of a container, and what the outside sees of it from first to last.
struct Bystander {
    flow: UdpSocket,
    seen: (String, SocketAddrV4),
    created: u64,
    _server: Server,
}

impl Bystander {
    fn new(world: &World, container: &str) -> Self {
        let server = udp_server(&world.outside, "outside", 7070);
        let flow = udp_socket(world.container(container), 0, Some(at(OUTSIDE, 7070)));
        let seen = ask(&flow);
        assert_eq!(*seen.1.ip(), HOST);
        Self {
            flow,
            seen,
            created: made(world),
            _server: server,
        }
    }

    /// Goes on by its old entry: nothing has been made meanwhile but what the test knows of.
    fn goes_on(&self, world: &World, others: u64) {
        assert_eq!(ask(&self.flow), self.seen);
        assert_eq!(made(world), self.created + others);
    }
}

/// How many flows have been made so far.
fn made(world: &World) -> u64 {
    use netpath::bpf::Datapath;
    within(&world.host, || {
        let datapath = Datapath::open(world.instance()).unwrap().unwrap();
        let counters = datapath.counters().unwrap();
        let wanted = netpath_common::counters::Counter::FlowNew;
        counters.iter().find(|(c, _)| *c == wanted).unwrap().1
    })
}

#[test]
fn a_port_that_is_unpublished_and_published_elsewhere() {
    let world = World::with_ports(&["a", "b"], &["5353:53/udp"]);
    kill_agent(&world);
    let _servers = (
        udp_server(world.container("a"), "a", 53),
        udp_server(world.container("b"), "b", 54),
    );
    let client = udp_socket(&world.outside, 0, Some(at(HOST, 5353)));
    let own = client.local_addr().unwrap().port();
    assert_eq!(ask(&client), ("a".to_owned(), at(OUTSIDE, own)));
    let bystander = Bystander::new(&world, "b");

    world.run(&["unpublish", "a", "5353:53/udp"]);
    is_refused(&client);
    bystander.goes_on(&world, 0);
    world.run(&["publish", "b", "5353:54/udp"]);
    assert_eq!(ask(&client), ("b".to_owned(), at(OUTSIDE, own)));
    bystander.goes_on(&world, 1);
    world.run(&["unpublish", "b", "5353:54/udp"]);
    world.run(&["publish", "a", "5353:53/udp"]);
    assert_eq!(ask(&client), ("a".to_owned(), at(OUTSIDE, own)));
    bystander.goes_on(&world, 2);
    assert!(world.drops().is_empty(), "{:?}", world.drops());
}

#[test]
fn a_connection_ends_with_its_port_and_no_other_does() {
    let world = World::with_ports(&["a"], &["8080:80", "8081:81"]);
    kill_agent(&world);
    let a = world.container("a");
    let other = Stream::open(&world.outside, at(HOST, 8081), a, 81);
    let _server = tcp_server(a, "a", 80);
    let connect = || probe::tcp_connect(at(HOST, 8080), None, PATIENCE);
    let mut stream = within(&world.outside, connect).unwrap();
    world.run(&["unpublish", "a", "8080:80"]);
    // The host knows of no such connection.
    stream.write_all(b"still there?\n").unwrap();
    let error = stream.read(&mut [0; 100]).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::ConnectionReset);
    let error = within(&world.outside, connect).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::ConnectionRefused);
    assert!(other.finish() > 0);
}

#[test]
fn an_address_in_other_hands_has_nothing_of_its_old_flows() {
    let mut world = World::with_ports(&["a", "b"], &["5353:53/udp"]);
    let late = world.add_container("late");
    kill_agent(&world);
    let _a = udp_server(world.container("a"), "a", 53);
    let client = udp_socket(&world.outside, 0, Some(at(HOST, 5353)));
    assert_eq!(ask(&client).0, "a");
    let server = udp_socket(&world.outside, 7000, Some(at(HOST, 5000)));
    let out = udp_socket(world.container("a"), 5000, Some(at(OUTSIDE, 7000)));
    out.send(b"question").unwrap();
    server.set_read_timeout(Some(PATIENCE)).unwrap();
    assert_eq!(server.recv(&mut [0; 100]).unwrap(), 8);
    let bystander = Bystander::new(&world, "b");

    world.run(&["endpoint", "rm", "a"]);
    // To nobody now.
    is_refused(&client);
    let address = A.to_string();
    let arguments = format!(
        "endpoint add --network bridge --netns {late} --name late --ip {address} -p 5353:53/udp"
    );
    world.words(&arguments);
    let late = world.container("late");
    let _late = udp_server(late, "late", 53);
    let same_port = udp_socket(late, 5000, None);

    assert_eq!(ask(&client).0, "late");
    // What the outside still has to say to the first one is for nobody.
    is_refused(&server);
    same_port.set_nonblocking(true).unwrap();
    let error = same_port.recv(&mut [0; 100]).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::WouldBlock);
    bystander.goes_on(&world, 1);
    // The new one's own flow has the port to itself.
    same_port.send_to(b"mine", at(OUTSIDE, 7000)).unwrap();
    let mut buffer = [0; 100];
    assert_eq!(server.recv(&mut buffer).unwrap(), 4);
    assert_eq!(buffer[..4], *b"mine");
    assert!(world.drops().is_empty(), "{:?}", world.drops());
}

/// The uplink's address changes and `netpath up` is told. (Without that word the datapath follows
/// within a second: see `uplinks`.)
#[test]
fn an_uplink_with_another_address() {
    const OTHER: Ipv4Addr = Ipv4Addr::new(198, 51, 100, 11);
    let ways = Ways::new(Without::Killed);
    let world = &ways.world;
    let out = udp_socket(world.container("a"), 0, Some(at(SERVER, SERVER_PORT)));
    let own = out.local_addr().unwrap().port();
    assert_eq!(ask(&out), ("server".to_owned(), at(HOST, own)));
    let asks = |to: Ipv4Addr| {
        within(&ways.server, || {
            // The address that both gateways lead to.
            let socket = UdpSocket::bind((SERVER, 0)).unwrap();
            socket.connect(at(to, PUBLISHED)).unwrap();
            socket
        })
    };
    let by_first = asks(HOST);
    assert_eq!(ask(&by_first).0, "a");
    let by_second = asks(HOST2);
    assert_eq!(ask(&by_second).0, "a");
    let before = made(world);

    let host = &world.host;
    ip(host, &format!("addr del {HOST}/24 dev uplink0"));
    ip(host, &format!("addr add {OTHER}/24 dev uplink0"));
    ip(host, &format!("route replace default via {OUTSIDE}"));
    let file = world.file("netpath.toml");
    world.run(&["up", "-c", file.to_str().unwrap(), "--yes"]);

    assert_eq!(ask(&out), ("server".to_owned(), at(OTHER, own)));
    let by_first = asks(OTHER);
    assert_eq!(ask(&by_first).0, "a");
    assert_eq!(made(world), before + 2);
    // The second uplink's flow is the one it was.
    assert_eq!(ask(&by_second).0, "a");
    assert_eq!(made(world), before + 2);
    assert!(world.drops().is_empty(), "{:?}", world.drops());
}
