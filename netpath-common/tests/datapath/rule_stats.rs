//! What is counted for a publishing rule: every translated packet of its flows, of both directions. And
//! what is counted for containers, apart from that: what they exchange by themselves.

use netpath_common::{
    conntrack::tcp::{ACK, SYN},
    records::{RuleStats, Traffic, place},
};

use super::family::*;

const IS_V6: bool = BITS == 128;

fn counted(h: &Host, rule: u16) -> (u64, u64) {
    let RuleStats { packets, bytes } = h.tables.rule_stats(rule);
    (packets, bytes)
}

/// Length of what comes from the outside as a frame.
fn len(p: &Datagram) -> u64 {
    p.frame([0; 6], [0; 6], 0).bytes.len() as u64
}

#[test]
fn both_directions_of_its_flows_and_of_no_other() {
    let mut h = Host::new();
    let mut bytes = 0;
    let syn = tcp(S, 51000, H, 8080, SYN);
    let _ = h.from_outside(&syn).to_container(&C1);
    bytes += len(&syn);
    assert_eq!(counted(&h, RULE_WEB), (1, bytes));
    let answer = tcp(C1.ip(), 80, S, 51000, SYN | ACK);
    let _ = h.from(&C1, &answer).to_uplink();
    bytes += len(&answer);
    let data = tcp_data(S, 51000, H, 8080, ACK, b"question");
    let _ = h.from_outside(&data).to_container(&C1);
    bytes += len(&data);
    assert_eq!(counted(&h, RULE_WEB), (3, bytes));
    // The container's own flow is no rule's, though it comes right after.
    let _ = h.from(&C1, &tcp(C1.ip(), 40000, S, 443, SYN)).to_uplink();
    let _ = h
        .from_outside(&tcp(S, 443, H, 40000, SYN | ACK))
        .to_container(&C1);
    assert_eq!(counted(&h, RULE_WEB), (3, bytes));
    assert_eq!(counted(&h, RULE_DNS), (0, 0));
    assert_eq!(counted(&h, 0), (0, 0));
}

#[test]
fn containers_that_ask_count_as_well() {
    let mut h = Host::new();
    for c in [&C1, &C2, &C3] {
        let _ = h
            .from(c, &udp(c.ip(), 50000, H, 5353, b"?"))
            .to_container(&C1);
    }
    assert_eq!(counted(&h, RULE_DNS).0, 3);
}

#[test]
fn errors_and_later_fragments_belong_to_their_flow() {
    let mut h = Host::new();
    let parts = udp(S, 51000, H, 5353, &[3; 2000]).parts(9);
    for part in &parts {
        let _ = h.from_outside(part).to_container(&C1);
    }
    let parts = parts.len() as u64;
    assert_eq!(counted(&h, RULE_DNS).0, parts);
    let _ = h.from(&C1, &udp(C1.ip(), 53, S, 51000, b"!")).to_uplink();
    let quoted = udp(H, 5353, S, 51000, b"!");
    let error = error(R, H, ERRORS[0], 1, &quoted, 8);
    let _ = h.from_outside(&error).to_container(&C1);
    assert_eq!(counted(&h, RULE_DNS).0, parts + 2);
}

#[test]
fn what_is_refused_is_not_counted() {
    let mut h = Host::new();
    h.tables.allow(RULE_WEB, &[(C2.ip(), BITS)]);
    assert!(
        h.from_outside(&tcp(S, 51000, H, 8080, SYN))
            .dropped()
            .is_some()
    );
    // An answer that nobody asked for.
    assert!(
        h.from_outside(&tcp(S, 51000, H, 8080, ACK))
            .dropped()
            .is_some()
    );
    assert_eq!(counted(&h, RULE_WEB), (0, 0));
}

/// What a container sent and was given by itself, and by published ports, packets and bytes.
fn of_container(h: &Host, c: &Container) -> [(u64, u64); 4] {
    let stats = h.tables.stats(c.slot);
    let other = [stats.tx, stats.rx].map(|all| all[place(!IS_V6, 0)] + all[place(!IS_V6, 1)]);
    assert_eq!(other, [Traffic::default(); 2], "of the other family");
    let own = stats.tx[place(IS_V6, 0)] + stats.rx[place(IS_V6, 0)];
    assert_eq!(stats.by_itself(IS_V6), own);
    let places = [(stats.tx, 0), (stats.rx, 0), (stats.tx, 1), (stats.rx, 1)];
    places.map(|(all, rule)| {
        let Traffic { packets, bytes } = all[place(IS_V6, rule)];
        (packets, bytes)
    })
}

#[test]
fn what_a_container_exchanges_by_itself_is_counted_apart() {
    let mut h = Host::new();
    let mut want = [(0, 0); 4];
    let mut add = |place: usize, p: &Datagram| {
        want[place].0 += 1;
        want[place].1 += len(p);
        want
    };
    // A flow of its own, with a later fragment and an error.
    for part in udp(C1.ip(), 40000, S, 53, &[3; 2000]).parts(9) {
        let _ = h.from(&C1, &part).to_uplink();
        assert_eq!(of_container(&h, &C1), add(0, &part));
    }
    let answer = udp(S, 53, H, 40000, b"!");
    let _ = h.from_outside(&answer).to_container(&C1);
    assert_eq!(of_container(&h, &C1), add(1, &answer));
    let quoted = udp(H, 40000, S, 53, b"?");
    let refused = error(R, H, ERRORS[0], 1, &quoted, 8);
    let _ = h.from_outside(&refused).to_container(&C1);
    assert_eq!(of_container(&h, &C1), add(1, &refused));
    // One of a published port.
    let syn = tcp(S, 51000, H, 8080, SYN);
    let _ = h.from_outside(&syn).to_container(&C1);
    assert_eq!(of_container(&h, &C1), add(3, &syn));
    let answer = tcp(C1.ip(), 80, S, 51000, SYN | ACK);
    let _ = h.from(&C1, &answer).to_uplink();
    assert_eq!(of_container(&h, &C1), add(2, &answer));
    // One of a neighbour to a published port: nothing of it is anybody's own.
    let asks = udp(C2.ip(), 50000, H, 5353, b"?");
    let _ = h.from(&C2, &asks).to_container(&C1);
    assert_eq!(of_container(&h, &C1), add(3, &asks));
    let nothing = (0, 0);
    let sent = (1, len(&asks));
    assert_eq!(of_container(&h, &C2), [nothing, nothing, sent, nothing]);
}
