//! The program of a tunnel's ingress, as far as the kernel runs it on frames: it takes every packet here for
//! one that has kept the header of the frame that it came out of, as VTI devices hand them over. What
//! comes without one, and what leaves, is in `netns/tunnel.rs`.

use netpath_common::{conntrack::tcp::SYN, event::Hook, testing::*};
use netpath_tests::{
    runner::{REDIRECT, Runner, SHOT},
    test_run::Input,
};

use crate::{arrived, delivered, left, sent};

/// Masqueraded, published, refused: what the program of other uplinks says, says the tunnel's.
#[test]
fn what_has_a_header_keeps_it() {
    let mut r = Runner::dual();
    r.load("np_tunnel_in");
    r.connect_tunnels();
    let out = sent(&C1, &udp(C1.addr, 5000, S, 53, b"?"));
    let ran = r.run(out.0, &out.1);
    let gone = left(&C1, &udp(H, 5000, S, 53, b"?").ttl(63)).unwrap();
    assert_eq!((ran.action, ran.bytes), (REDIRECT, gone.bytes));
    for (packet, inside) in [
        (
            udp(S, 53, H, 5000, b"!"),
            udp(S, 53, C1.addr, 5000, b"!").ttl(63),
        ),
        (
            tcp(S, 51_000, H, 8080, SYN),
            tcp(S, 51_000, C1.addr, 80, SYN).ttl(63),
        ),
    ] {
        let (hook, frame) = arrived(&packet);
        assert_eq!(hook, Hook::UplinkIngress);
        let ran = r
            .test_run("np_tunnel_in", &Input::new(&frame.bytes, frame.ifindex))
            .unwrap();
        assert_eq!(ran.action, REDIRECT, "{:?}", r.counters());
        assert_eq!(ran.bytes, delivered(&C1, &inside).unwrap().bytes);
    }
    let (_, frame) = arrived(&udp(S, 53, C1.addr, 5000, b"?"));
    let ran = r
        .test_run("np_tunnel_in", &Input::new(&frame.bytes, frame.ifindex))
        .unwrap();
    assert_eq!(ran.action, SHOT);
    assert_eq!(r.counters()["direct-access"], 1);
}
