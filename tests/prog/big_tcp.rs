//! Super-packets, and a total length of 0.
//!
//! BPF_PROG_TEST_RUN takes frames of up to a page, so that what is longer than 65,535 bytes is for
//! `netns/big_tcp.rs`; here is what must not be taken for it.

use netpath_common::{
    conntrack::tcp::{ACK, SYN},
    event::Hook,
    testing::*,
};
use netpath_tests::runner::{NEXT, REDIRECT};

use crate::{Case, arrived, check, delivered, from_stack, left, sent};

const OPEN: &[(&str, u64)] = &[("flow-new", 1), ("to-uplink", 1)];
/// What fits a page with the kernel's own needs.
const PAYLOAD: [u8; 3000] = [7; 3000];

/// As a super-packet.
fn segments((hook, frame): (Hook, Frame), gso_size: u32) -> (Hook, Frame) {
    (hook, Frame { gso_size, ..frame })
}

/// With a total length of 0, its header checksum right.
fn without_length((hook, mut frame): (Hook, Frame)) -> (Hook, Frame) {
    let length = u16::from_be_bytes([frame.bytes[16], frame.bytes[17]]);
    let check = u16::from_be_bytes([frame.bytes[24], frame.bytes[25]]);
    // RFC 1624: the sum without the length is larger by it.
    let sum = u32::from(!check) + u32::from(!length);
    let sum = (sum & 0xffff) + (sum >> 16);
    frame.bytes[16..18].copy_from_slice(&[0, 0]);
    frame.bytes[24..26].copy_from_slice(&(!(sum as u16)).to_be_bytes());
    assert_eq!(&frame.bytes[12..15], [8, 0, 0x45]);
    (hook, frame)
}

/// A connection from C1 to S, established.
fn established() -> [Case; 2] {
    [
        Case {
            name: "syn",
            input: sent(&C1, &tcp(C1.addr, 40000, S, 80, SYN)),
            action: REDIRECT,
            output: left(&C1, &tcp(H, 40000, S, 80, SYN).ttl(63)),
            counters: OPEN,
        },
        Case {
            name: "syn-ack",
            input: arrived(&tcp(S, 80, H, 40000, SYN | ACK)),
            action: REDIRECT,
            output: delivered(&C1, &tcp(S, 80, C1.addr, 40000, SYN | ACK).ttl(63)),
            counters: &[("to-endpoint", 1)],
        },
    ]
}

#[test]
fn super_packets_are_measured_by_their_segments() {
    let data = || tcp_data(C1.addr, 40000, S, 80, ACK, &PAYLOAD);
    let translated = tcp_data(H, 40000, S, 80, ACK, &PAYLOAD).ttl(63);
    let [syn, syn_ack] = established();
    check(&[
        syn,
        syn_ack,
        Case {
            name: "segments that fit the uplink",
            input: segments(sent(&C1, &data()), 1460),
            action: REDIRECT,
            output: left(&C1, &translated),
            counters: &[("to-uplink", 1)],
        },
        Case {
            name: "segments one byte too long",
            input: segments(sent(&C1, &data()), 1461),
            action: NEXT,
            output: None,
            counters: &[("passed", 1)],
        },
    ]);
}

#[test]
fn a_length_of_zero_that_nothing_explains_is_a_lie() {
    let lie: &[(&str, u64)] = &[("bad-ip-header", 1)];
    let out = tcp_data(C1.addr, 40000, S, 80, ACK, &PAYLOAD);
    let back = tcp_data(S, 80, H, 40000, ACK, &PAYLOAD);
    let datagram = udp(C1.addr, 5000, S, 53, &PAYLOAD);
    let [syn, syn_ack] = established();
    check(&[
        syn,
        syn_ack,
        Case::drop("no super-packet", without_length(sent(&C1, &out)), lie),
        Case::drop(
            "short super-packet out",
            without_length(segments(sent(&C1, &out), 1460)),
            lie,
        ),
        Case::drop(
            "short super-packet in",
            without_length(segments(arrived(&back), 1460)),
            lie,
        ),
        Case::drop(
            "short super-packet from the stack",
            without_length(segments(from_stack(&out), 1460)),
            lie,
        ),
        Case::drop(
            "segmented datagram",
            without_length(segments(sent(&C1, &datagram), 1400)),
            lie,
        ),
    ]);
}
