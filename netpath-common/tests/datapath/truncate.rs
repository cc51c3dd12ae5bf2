//! Every truncation of every kind of packet at every hook.
//!
//! Nothing panics, and what is translated has right checksums (the host checks that of frames that
//! were right before). A frame cut within what its IP header announces is never translated.

use netpath_common::{
    DropReason, Verdict,
    conntrack::tcp::{ACK, SYN},
    event::Hook,
    testing::*,
};

/// A host with flows of every kind, and packets of them as each hook sees them.
fn corpus(h: &mut Host) -> Vec<(Hook, Frame)> {
    super::connection::open(h);
    let _ = h
        .from(&C1, &udp(C1.addr, 5000, S, 53, b"question"))
        .to_uplink();
    let _ = h.from(&C1, &query(C1.addr, S, 8, 7)).to_uplink();
    let _ = h
        .from_outside(&udp(S, 51000, H, 5353, b"question"))
        .to_container(&C1);
    let large = udp(C1.addr, 5001, S, 53, &[1; 200]);
    let from_c1 = [
        tcp_data(C1.addr, 40000, S, 80, ACK, b"data"),
        tcp(C1.addr, 40001, S, 80, SYN).options(3),
        udp(C1.addr, 5000, S, 53, b"question"),
        query(C1.addr, S, 8, 7),
        error(
            C1.addr,
            S,
            3,
            3,
            &udp(S, 51000, C1.addr, 53, b"question"),
            100,
        ),
        large.fragments(104)[0].clone(),
        large.fragments(104)[1].clone(),
        tcp(C1.addr, 40000, H, 8080, SYN),
        tcp(C1.addr, 40000, C2.addr, 80, SYN),
    ];
    let from_s = [
        tcp_data(S, 80, H, 40000, ACK, b"data").options(2),
        udp(S, 53, H, 5000, b"answer"),
        query(S, H, 0, 7),
        tcp(S, 51001, H, 8080, SYN),
        error(R, H, 3, 4, &tcp_data(H, 40000, S, 80, ACK, b"data"), 100),
        error(R, H, 11, 0, &query(H, S, 8, 7), 100).options(1),
    ];
    let mut all = Vec::new();
    for p in &from_c1 {
        all.push((Hook::Veth, p.frame(C1.mac, BRIDGE1_MAC, C1.ifindex)));
        all.push((
            Hook::UplinkEgress,
            p.frame(UPLINK_MAC, ROUTER_MAC, UPLINK_IF),
        ));
    }
    for p in &from_s {
        all.push((
            Hook::UplinkIngress,
            p.frame(ROUTER_MAC, UPLINK_MAC, UPLINK_IF),
        ));
    }
    all.push((Hook::Veth, arp(C1.mac, 1, C1.mac, C1.addr, GW1, C1.ifindex)));
    all
}

#[test]
fn frames_cut_short() {
    let mut h = Host::new();
    for (hook, frame) in corpus(&mut h) {
        for len in 0..frame.bytes.len() {
            let out = h.run(hook, &frame.truncated(len));
            let ip_header_missing = len < 34 && frame.bytes[12..14] == [8, 0];
            match out.result {
                Err(DropReason::Truncated) => {
                    assert!(len < 42, "{hook:?} {} at {len}", describe(&frame));
                }
                Err(DropReason::BadIpHeader) => assert!(len >= 34),
                other => panic!("{hook:?} {} at {len}: {other:?}", describe(&frame)),
            }
            if ip_header_missing {
                assert_eq!(out.dropped(), Some(DropReason::Truncated));
            }
        }
    }
}

#[test]
fn packets_cut_short_with_a_length_that_agrees() {
    let mut h = Host::new();
    for (hook, frame) in corpus(&mut h) {
        if frame.bytes[12..14] != [8, 0] {
            continue;
        }
        for len in 34..frame.bytes.len() {
            // The sender means it: total length, header checksum, and ICMP's checksum agree.
            let mut short = frame.truncated(len);
            let header = 14 + usize::from(short.bytes[14] & 15) * 4;
            short.bytes[16..18].copy_from_slice(&((len - 14) as u16).to_be_bytes());
            if len < header {
                assert_eq!(h.run(hook, &short).dropped(), Some(DropReason::BadIpHeader));
                continue;
            }
            short.bytes[24..26].copy_from_slice(&[0, 0]);
            let check = netpath_common::checksum::full(&[&short.bytes[14..header]]);
            short.bytes[24..26].copy_from_slice(&check);
            if short.bytes[23] == 1 && len >= header + 4 {
                short.bytes[header + 2..header + 4].copy_from_slice(&[0, 0]);
                let check = netpath_common::checksum::full(&[&short.bytes[header..]]);
                short.bytes[header + 2..header + 4].copy_from_slice(&check);
            }
            let out = h.run(hook, &short);
            let tail = short.bytes[20] & 0x1f != 0 || short.bytes[21] != 0;
            let least = match short.bytes[23] {
                6 => 20,
                _ => 8,
            };
            if len < header + least && !tail {
                let untranslated = matches!(out.result, Ok(Verdict::Pass) | Err(_));
                assert!(untranslated, "{hook:?} {} at {len}", describe(&frame));
            }
        }
    }
}

#[test]
fn frames_with_padding() {
    // Short Ethernet frames are padded to 60 bytes; the padding is no part of the packet.
    let (mut h, mut other) = (Host::new(), Host::new());
    for ((hook, frame), _) in corpus(&mut h).into_iter().zip(corpus(&mut other)) {
        let mut padded = frame.clone();
        padded.bytes.extend([0xaa; 24]);
        let (plain, out) = (h.run(hook, &frame), other.run(hook, &padded));
        assert_eq!(plain.result.is_ok(), out.result.is_ok());
        assert_eq!(out.frame.bytes[frame.bytes.len()..], [0xaa; 24]);
    }
}
