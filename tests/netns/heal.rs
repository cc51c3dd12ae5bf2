//! No agent runs, and the way to the outside changes: a neighbour's MAC address, a route, the MTU.
//!
//! What the kernel's own forwarding would do at once or after its own timers, the datapath does at
//! most [`LIMIT`] later.

use std::{
    net::Ipv4Addr,
    os::fd::AsRawFd,
    thread,
    time::{Duration, Instant},
};

use netpath_tests::{
    netns::within,
    probe::at,
    recover::{Client, Connection, LIMIT, flows, recovers, without_agent},
    topology::{A, HOST, OUTSIDE},
    wait,
    ways::{ECHO_PORT, GATEWAY2, PUBLISHED, SERVER, SERVER_PORT, Ways, Without, ip},
};

/// The container asks the server.
fn out(ways: &Ways) -> Client<'_> {
    let a = ways.world.container("a");
    Client::all(a, A, at(SERVER, SERVER_PORT), "server")
}

/// The server asks the container by its published port.
fn inward(ways: &Ways) -> Client<'_> {
    Client::udp(&ways.server, SERVER, at(HOST, PUBLISHED), "a")
}

/// Traffic both ways survives `change`, which follows `routes`.
fn survives(without: Without, routes: &[&str], change: impl Fn(&Ways)) {
    let ways = Ways::with_routes(without, routes);
    let a = ways.world.container("a");
    let (out, inward) = ([out(&ways)], [inward(&ways)]);
    let mut connection = Connection::open(a, at(SERVER, ECHO_PORT));
    flows(&out, HOST);
    flows(&inward, SERVER);
    connection.echoes(1);
    change(&ways);
    let since = Instant::now();
    recovers(since, LIMIT, &out, HOST);
    recovers(since, LIMIT + RECOVERED, &inward, SERVER);
    connection.echoes(1000);
}

/// What checking the first direction takes, once it flows, before the second is looked at.
const RECOVERED: Duration = Duration::from_millis(500);

#[test]
fn an_announced_mac_address() {
    without_agent(|without| survives(without, &[], |ways| ways.change_mac(true)));
}

/// Nobody tells the host: its neighbour entry has to go stale, its probes to fail, and the next
/// packet to ask again. Plain forwarding shows how long that takes.
#[test]
fn a_silent_mac_address() {
    let measure = |ways: &Ways, limit, sees| {
        ways.hasten_neighbours();
        let a = ways.world.container("a");
        let client = [Client::udp(a, A, at(SERVER, SERVER_PORT), "server")];
        flows(&client, sees);
        ways.change_mac(false);
        recovers(Instant::now(), limit, &client, sees)
    };
    let (kernel, netpath) = (Ways::forwarding(), Ways::new(Without::Killed));
    let patience = Duration::from_secs(12);
    let (kernel, netpath) = thread::scope(|scope| {
        let kernel = scope.spawn(|| measure(&kernel, patience, A));
        let netpath = measure(&netpath, patience, HOST);
        (kernel.join().unwrap(), netpath)
    });
    assert!(
        kernel > Duration::from_millis(500),
        "the neighbour was not silent: {kernel:?}"
    );
    assert!(
        netpath <= kernel + LIMIT,
        "{netpath:?}, the kernel's forwarding {kernel:?}"
    );
}

#[test]
fn another_default_gateway() {
    let change = |ways: &Ways| {
        ways.first_gateway_fails();
        let route = format!("route replace default via {GATEWAY2}");
        ip(&ways.world.host, &route);
    };
    without_agent(|without| survives(without, &[], change));
}

#[test]
fn a_more_specific_route() {
    let change = |ways: &Ways| {
        ways.first_gateway_fails();
        let route = format!("route add {SERVER}/32 via {GATEWAY2}");
        ip(&ways.world.host, &route);
    };
    without_agent(|without| survives(without, &[], change));
}

#[test]
fn a_more_specific_route_that_goes() {
    let specific = format!("add 203.0.113.0/24 via {OUTSIDE}");
    let default = format!("replace default via {GATEWAY2}");
    let change = |ways: &Ways| {
        ways.first_gateway_fails();
        ip(&ways.world.host, "route del 203.0.113.0/24");
    };
    without_agent(|without| survives(without, &[&specific, &default], change));
}

/// What a container learns of the path's MTU; 0 while it has no answer.
fn path_mtu(socket: &std::net::UdpSocket) -> libc::c_int {
    let mut value: libc::c_int = 0;
    let mut length = size_of::<libc::c_int>() as libc::socklen_t;
    // SAFETY: value and length are valid for the integer that IP_MTU writes.
    let result = unsafe {
        libc::getsockopt(
            socket.as_raw_fd(),
            libc::IPPROTO_IP,
            libc::IP_MTU,
            (&raw mut value).cast(),
            &raw mut length,
        )
    };
    assert_eq!(result, 0);
    value
}

fn set_discovery(socket: &std::net::UdpSocket, value: libc::c_int) {
    // SAFETY: value is a valid integer of the length given.
    let result = unsafe {
        libc::setsockopt(
            socket.as_raw_fd(),
            libc::IPPROTO_IP,
            libc::IP_MTU_DISCOVER,
            (&raw const value).cast(),
            size_of::<libc::c_int>() as libc::socklen_t,
        )
    };
    assert_eq!(result, 0);
}

#[test]
fn a_smaller_mtu_of_the_uplink() {
    const LARGE: [u8; 1400] = [b'x'; 1400];
    const SMALLER: libc::c_int = 1300;
    let ways = Ways::new(Without::Killed);
    let a = ways.world.container("a");
    let socket = |discovery| {
        within(a, || {
            let socket = std::net::UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0)).unwrap();
            set_discovery(&socket, discovery);
            let pace = Duration::from_millis(40);
            socket.set_read_timeout(Some(pace)).unwrap();
            socket.connect(at(SERVER, SERVER_PORT)).unwrap();
            socket
        })
    };
    let (whole, pieces) = (socket(libc::IP_PMTUDISC_DO), socket(libc::IP_PMTUDISC_DONT));
    let answered = |socket: &std::net::UdpSocket| {
        let sent = socket.send(&LARGE);
        sent.is_ok() && socket.recv(&mut [0; 2048]).is_ok()
    };
    wait::until("both flows pass the wide uplink", || {
        answered(&whole) && answered(&pieces)
    });
    assert_eq!(path_mtu(&whole), 1500);
    let mut connection = Connection::open(a, at(SERVER, ECHO_PORT));
    connection.echoes(100_000);

    ip(&ways.world.host, "link set uplink0 mtu 1300");
    ip(&ways.world.outside, "link set eth0 mtu 1300");
    let since = Instant::now();
    // What may be fragmented still arrives.
    while !answered(&pieces) {
        assert!(
            since.elapsed() <= LIMIT,
            "1,400 bytes that may be fragmented are lost"
        );
    }
    // Of what may not, the sender learns. The send fails with EMSGSIZE from then on.
    while path_mtu(&whole) != SMALLER {
        assert!(
            since.elapsed() <= LIMIT,
            "the container believes in {}",
            path_mtu(&whole)
        );
        let _ = answered(&whole);
    }
    let error = whole.send(&LARGE).unwrap_err();
    assert_eq!(error.raw_os_error(), Some(libc::EMSGSIZE));
    connection.echoes(100_000);
}
