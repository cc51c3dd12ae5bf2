//! The host's own flows beside those of containers, in both orders (case 7, CVE-2021-3773).

use netpath_common::{
    DropReason,
    conntrack::tcp::{ACK, RST, SYN},
    counters::Counter,
    tuple,
};

use super::family::*;

/// The outside source port, or identifier, of a frame that the host sends.
fn port(o: &Outcome, at: usize) -> u16 {
    u16::from_be_bytes([o.frame.bytes[at], o.frame.bytes[at + 1]])
}

#[test]
fn the_hosts_connection_gives_way_to_a_containers_that_was_there_first() {
    let mut h = Host::new();
    let _ = h.from(&C1, &tcp(C1.ip(), 40000, S, 80, SYN)).to_uplink();
    let out = h.from_stack(&tcp(H, 40000, S, 80, SYN));
    let _ = out.to_stack();
    let given = port(&out, L4);
    assert_ne!(given, 40000);
    assert!(given >= 1024);
    // Each gets its own answers.
    let to_host = h.from_outside(&tcp(S, 80, H, given, SYN | ACK));
    assert_eq!(to_host.to_stack(), said("tcp S:80 > H:40000"));
    let to_container = h.from_outside(&tcp(S, 80, H, 40000, SYN | ACK));
    assert_eq!(to_container.to_container(&C1), said("tcp S:80 > C1:40000"));
    // It goes on like this.
    let out = h.from_stack(&tcp(H, 40000, S, 80, ACK));
    assert_eq!(out.to_stack(), said(&format!("tcp H:{given} > S:80")));
    let out = h.from(&C1, &tcp(C1.ip(), 40000, S, 80, ACK));
    assert_eq!(out.to_uplink(), said("tcp H:40000 > S:80"));
    // An error about the host's flow is the host's.
    let about = tcp(H, given, S, 80, ACK).ttl(60);
    assert_eq!(
        h.from_outside(&too_big(R, H, &about)).to_stack(),
        said(&format!(
            "icmp {}/{} R > H [tcp H:40000 > S:80]",
            TOO_BIG[0], TOO_BIG[1]
        ))
    );
}

#[test]
fn datagrams_and_pings_of_the_host_as_well() {
    let mut h = Host::new();
    let _ = h.from(&C1, &udp(C1.ip(), 5000, S, 53, b"?")).to_uplink();
    let out = h.from_stack(&udp(H, 5000, S, 53, b"?"));
    let _ = out.to_stack();
    let given = port(&out, L4);
    assert_ne!(given, 5000);
    assert_eq!(
        h.from_outside(&udp(S, 53, H, given, b"!")).to_stack(),
        said("udp S:53 > H:5000")
    );
    let _ = h.from(&C1, &query(C1.ip(), S, ECHO, 7)).to_uplink();
    let out = h.from_stack(&query(H, S, ECHO, 7));
    let _ = out.to_stack();
    let given = port(&out, L4 + 4);
    assert_ne!(given, 7);
    assert_eq!(
        h.from_outside(&query(S, H, ECHO_REPLY, given)).to_stack(),
        said(&format!("icmp {ECHO_REPLY} S > H id 7"))
    );
    assert_eq!(
        h.from_outside(&query(S, H, ECHO_REPLY, 7))
            .to_container(&C1),
        said(&format!("icmp {ECHO_REPLY} S > C1 id 7"))
    );
}

#[test]
fn without_a_collision_the_hosts_packets_are_left_alone_and_cost_no_flow() {
    let mut h = Host::new();
    let _ = h.from(&C1, &tcp(C1.ip(), 40000, S, 80, SYN)).to_uplink();
    let entries = h.tables.entries().len();
    for packet in [
        tcp(H, 40000, S2, 80, SYN),
        tcp(H, 40001, S, 80, SYN),
        udp(H, 40000, S, 80, b""),
        query(H, S, ECHO, 7),
        // Not a beginning: the stack refuses what the container's flow no longer admits.
        tcp(H, 40000, S, 80, RST),
        tcp(H, 40000, S, 80, ACK),
    ] {
        assert!(h.from_stack(&packet).passed());
    }
    assert_eq!(h.tables.entries().len(), entries);
    assert_eq!(h.tables.counter(Counter::PortChanged), 0);
}

#[test]
fn the_host_has_its_port_again_when_the_containers_flow_has_expired() {
    let mut h = Host::new();
    let _ = h.from(&C1, &udp(C1.ip(), 5000, S, 53, b"?")).to_uplink();
    h.tables.advance_ms(30_000);
    assert!(h.from_stack(&udp(H, 5000, S, 53, b"?")).passed());
}

#[test]
fn a_container_never_takes_the_tuple_of_a_host_socket() {
    let mut h = Host::new();
    h.tables.host_sockets.insert(Tuple {
        src: S,
        dst: H,
        sport: 80,
        dport: 40000,
        proto: tuple::TCP,
        ..Tuple::default()
    });
    let out = h.from(&C1, &tcp(C1.ip(), 40000, S, 80, SYN));
    let _ = out.to_uplink();
    assert_ne!(port(&out, L4), 40000);
    assert!(h.from_outside(&tcp(S, 80, H, 40000, SYN | ACK)).passed());
}

#[test]
fn a_container_cannot_catch_what_comes_to_a_listener_of_the_host() {
    // C1:1405 to A:41404 first, then A:41404 to the host's port 1405.
    let mut h = Host::new();
    h.tables.host_listeners.insert((tuple::UDP, 1405));
    let out = h.from(&C1, &udp(C1.ip(), 1405, S, 41404, b""));
    let _ = out.to_uplink();
    assert_ne!(port(&out, L4), 1405);
    assert!(h.from_outside(&udp(S, 41404, H, 1405, b"query")).passed());
}

#[test]
fn no_free_port_for_the_host_is_a_counted_drop() {
    let mut h = Host::new();
    let _ = h.from(&C1, &tcp(C1.ip(), 40000, S, 80, SYN)).to_uplink();
    (1..=u16::MAX).for_each(|p| h.tables.set_reserved(tuple::TCP, p, true));
    let out = h.from_stack(&tcp(H, 40000, S, 80, SYN));
    assert_eq!(out.dropped(), Some(DropReason::NoPort));
}
