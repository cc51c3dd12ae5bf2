//! Cases 1, 2, 3, 4, 7, 8, 19: which outside port or identifier a flow gets.

use netpath_common::{
    DropReason,
    conntrack::tcp::{ACK, SYN},
    tuple,
};

use super::{
    family::*,
    help::{flows, outside_id, outside_port},
};

#[test]
fn c01_preserve() {
    let mut h = Host::new();
    let out = h.from(&C1, &tcp(C1.ip(), 40000, S, 80, SYN));
    assert_eq!(out.to_uplink(), said("tcp H:40000 > S:80"));
    let back = h.from_outside(&tcp(S, 80, H, 40000, SYN | ACK));
    assert_eq!(back.to_container(&C1), said("tcp S:80 > C1:40000"));
}

#[test]
fn c02_collision() {
    let mut h = Host::new();
    assert_eq!(
        outside_port(&h.from(&C1, &tcp(C1.ip(), 40000, S, 80, SYN))),
        40000
    );
    let second = outside_port(&h.from(&C2, &tcp(C2.ip(), 40000, S, 80, SYN)));
    assert!(second != 40000 && second >= 1024, "{second}");
    // Each answer finds the one that asked.
    let back = h.from_outside(&tcp(S, 80, H, second, SYN | ACK));
    assert_eq!(back.to_container(&C2), said("tcp S:80 > C2:40000"));
    let back = h.from_outside(&tcp(S, 80, H, 40000, SYN | ACK));
    assert_eq!(back.to_container(&C1), said("tcp S:80 > C1:40000"));
    // To another server the port is free.
    let out = h.from(&C2, &tcp(C2.ip(), 40000, S2, 80, SYN));
    assert_eq!(out.to_uplink(), said("tcp H:40000 > S2:80"));
}

#[test]
fn c03_privileged() {
    for seed in 1..=50 {
        let mut h = Host::seeded(seed);
        for (sport, class) in [(80, 1..=511), (700, 600..=1023)] {
            let first = outside_port(&h.from(&C1, &udp(C1.ip(), sport, S, 53, b"")));
            assert_eq!(first, sport, "free, it is kept");
            let second = outside_port(&h.from(&C2, &udp(C2.ip(), sport, S, 53, b"")));
            assert!(second != sport && class.contains(&second), "{second}");
        }
    }
}

#[test]
fn c04_exhaustion() {
    let mut h = Host::new();
    let config = h.tables.config.as_mut().unwrap();
    (config.port_min, config.port_max) = (50_000, 50_063);
    let mut given: Vec<u16> = (0..64)
        .map(|n| outside_port(&h.from(&C1, &tcp(C1.ip(), 40_000 + n, S, 80, SYN))))
        .collect();
    given.sort_unstable();
    assert_eq!(given, (50_000..50_064).collect::<Vec<u16>>(), "every port");
    assert_eq!(flows(&h.tables), 64);
    let last = tcp(C1.ip(), 40_064, S, 80, SYN);
    assert_eq!(h.from(&C1, &last).dropped(), Some(DropReason::NoPort));
    assert_eq!(h.drops_of(DropReason::NoPort), 1);
    assert_eq!(flows(&h.tables), 64, "nothing is left of the attempt");
    // What the stack would still send does not leave with a source of 172.17/16 either.
    assert_eq!(h.from_stack(&last).dropped(), Some(DropReason::NoPort));
    assert_eq!(h.drops_of(DropReason::NoPort), 2);
    assert_eq!(h.drops.len(), 1, "{:?}", h.drops);
}

// With a real socket: `tests/netns/host.rs`, the host and a container with one port to one server.
#[test]
fn c07_host_against_container() {
    let mut h = Host::new();
    let answer = Tuple {
        src: S,
        dst: H,
        sport: 80,
        dport: 40000,
        proto: tuple::TCP,
        ..Tuple::default()
    };
    h.tables.host_sockets.insert(answer);
    let port = outside_port(&h.from(&C1, &tcp(C1.ip(), 40000, S, 80, SYN)));
    assert!(port != 40000 && port >= 1024, "{port}");
    assert!(
        h.from_outside(&tcp(S, 80, H, 40000, SYN | ACK)).passed(),
        "the answer to the host's socket, untouched"
    );
    let back = h.from_outside(&tcp(S, 80, H, port, SYN | ACK));
    assert_eq!(back.to_container(&C1), said("tcp S:80 > C1:40000"));
}

#[test]
fn c08_published_port() {
    // Before and after somebody has come in by the port.
    for client_first in [false, true] {
        let mut h = Host::new();
        let request = tcp(S, 51000, H, 8080, SYN);
        if client_first {
            let _ = h.from_outside(&request).to_container(&C1);
        }
        for (c, dport) in [(C1, 80), (C2, 80), (C1, 51000), (C2, 51000)] {
            let port = outside_port(&h.from(&c, &tcp(c.ip(), 8080, S, dport, SYN)));
            assert_ne!(port, 8080, "of {:?} to {dport}", c.ip());
        }
        // Also what a container has begun to the very port of the client changes nothing for it.
        let back = h.from_outside(&request);
        assert_eq!(back.to_container(&C1), said("tcp S:51000 > C1:80"));
        let answer = h.from(&C1, &tcp(C1.ip(), 80, S, 51000, SYN | ACK));
        assert_eq!(answer.to_uplink(), said("tcp H:8080 > S:51000"));
    }
}

#[test]
fn c19_echo_identifiers() {
    for (ask, answer) in QUERIES {
        let mut h = Host::new();
        assert_eq!(outside_id(&h.from(&C1, &query(C1.ip(), S, ask, 7))), 7);
        let other = outside_id(&h.from(&C2, &query(C2.ip(), S, ask, 7)));
        assert_ne!(other, 7);
        // The answer of C2 first, then that of C1.
        let back = h.from_outside(&query(S, H, answer, other));
        assert_eq!(
            back.to_container(&C2),
            said(&format!("icmp {answer} S > C2 id 7"))
        );
        let back = h.from_outside(&query(S, H, answer, 7));
        assert_eq!(
            back.to_container(&C1),
            said(&format!("icmp {answer} S > C1 id 7"))
        );
        // Of one identifier, an echo and another query are two flows.
        for (twin, _) in QUERIES.into_iter().filter(|(kind, _)| *kind != ask) {
            assert_eq!(outside_id(&h.from(&C2, &query(C2.ip(), S, twin, 7))), 7);
        }
        assert_eq!(flows(&h.tables), 1 + QUERIES.len());
    }
}
