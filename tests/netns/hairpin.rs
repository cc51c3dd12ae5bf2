//! Containers that use a published port of a neighbour, or their own.

use netpath_tests::{
    netns::within,
    probe::{at, tcp, tcp_server, transfer, udp, udp_server},
    topology::{A, B, GATEWAY, HOST, World},
};

fn world() -> World {
    World::with_ports(&["a", "b"], &["8080:80", "5353:53/udp"])
}

#[test]
pub(crate) fn a_neighbour_keeps_its_own_address() {
    let world = world();
    let _tcp = tcp_server(world.container("a"), "a", 80);
    let _udp = udp_server(world.container("a"), "a", 53);
    let b = world.container("b");
    for address in [HOST, GATEWAY] {
        let answer = tcp(b, at(address, 8080));
        assert!(answer.is_from("a", B), "{}", answer.text);
        assert_eq!(answer.peer, at(address, 8080).into());
        let answer = udp(b, at(address, 5353));
        assert!(answer.is_from("a", B), "{}", answer.text);
    }
}

#[test]
pub(crate) fn the_gateway_stands_in_for_the_container_itself() {
    let world = world();
    let a = world.container("a");
    let _tcp = tcp_server(a, "a", 80);
    let _udp = udp_server(a, "a", 53);
    let answer = tcp(a, at(HOST, 8080));
    assert!(answer.is_from("a", GATEWAY), "{}", answer.text);
    let answer = udp(a, at(HOST, 5353));
    assert!(answer.is_from("a", GATEWAY), "{}", answer.text);
}

#[test]
fn it_works_with_bridge_netfilter_off() {
    let world = world();
    let _tcp = tcp_server(world.container("a"), "a", 80);
    let knob = "/proc/sys/net/bridge/bridge-nf-call-iptables";
    within(&world.host, || {
        // Without the module there is nothing to switch off.
        if std::path::Path::new(knob).exists() {
            std::fs::write(knob, "0").unwrap();
        }
    });
    assert!(tcp(world.container("b"), at(HOST, 8080)).is_from("a", B));
}

#[test]
fn containers_talk_directly_without_translation() {
    let world = world();
    let _tcp = tcp_server(world.container("a"), "a", 80);
    assert!(tcp(world.container("b"), at(A, 80)).is_from("a", B));
    assert_eq!(
        world.run(&["ct", "list"]).lines().count(),
        0,
        "switched traffic is tracked"
    );
}

#[test]
pub(crate) fn bulk_data_goes_both_ways_through_the_hairpin() {
    let world = world();
    let (a, b) = (world.container("a"), world.container("b"));
    transfer(b, at(HOST, 8080), a, 80, 2_000_000);
}
