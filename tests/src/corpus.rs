//! The captures in `tests/corpus`.
//!
//! Owns what they hold and how they are written: for each case one file for each hook, with times
//! that interleave. What is expected of them is in the manifest and beside them.

use std::{io, time::Duration};

use netpath_common::{
    conntrack::tcp::{ACK, FIN, PSH, RST, SYN},
    event::Hook,
    testing::*,
};
use pcap_file::{
    DataLink, Endianness, PcapResult, TsResolution,
    pcap::{PcapHeader, PcapPacket, PcapWriter},
};

/// Between two packets of a capture.
const STEP: Duration = Duration::from_micros(100);

/// When captures begin: 2025-01-01, in seconds since 1970.
const START: u64 = 1_735_689_600;

/// A case: its name, and frames in the order of their times.
pub struct Case {
    /// The files' names begin with it.
    pub name: &'static str,
    /// Where each frame is seen.
    pub frames: Vec<(Hook, Frame)>,
}

impl Case {
    /// The name of the file for a hook, and its bytes as pcap.
    ///
    /// # Panics
    /// Never: the file is in memory.
    #[must_use]
    pub fn files(&self) -> Vec<(String, Vec<u8>)> {
        let mut hooks: Vec<Hook> = Vec::new();
        for (hook, _) in &self.frames {
            if !hooks.contains(hook) {
                hooks.push(*hook);
            }
        }
        let file = |hook: Hook| {
            let name = format!("{}.{}.pcap", self.name, hook.as_str());
            (name, self.pcap(hook).unwrap())
        };
        hooks.into_iter().map(file).collect()
    }

    fn pcap(&self, hook: Hook) -> PcapResult<Vec<u8>> {
        let header = PcapHeader {
            datalink: DataLink::ETHERNET,
            ts_resolution: TsResolution::MicroSecond,
            // The same bytes on every machine.
            endianness: Endianness::Little,
            ..PcapHeader::default()
        };
        let mut writer = PcapWriter::with_header(io::Cursor::new(Vec::new()), header)?;
        for (i, (at, frame)) in self.frames.iter().enumerate() {
            if *at == hook {
                let time = Duration::from_secs(START) + STEP * i as u32;
                let bytes = &frame.bytes;
                writer.write_packet(&PcapPacket::new(time, bytes.len() as u32, bytes))?;
            }
        }
        Ok(writer.into_writer().into_inner())
    }
}

const fn bridge_mac(c: &Container) -> Mac {
    if c.network == NET1 {
        BRIDGE1_MAC
    } else {
        BRIDGE2_MAC
    }
}

/// A container sends a packet to its gateway's MAC address.
fn sent(c: &Container, p: &Datagram) -> (Hook, Frame) {
    (Hook::Veth, p.frame(c.mac, bridge_mac(c), c.ifindex))
}

/// A packet comes in by the uplink.
fn arrived(p: &Datagram) -> (Hook, Frame) {
    let frame = p.frame(ROUTER_MAC, UPLINK_MAC, UPLINK_IF);
    (Hook::UplinkIngress, frame)
}

/// The stack sends a packet out of the uplink.
fn from_stack(p: &Datagram) -> (Hook, Frame) {
    let frame = p.frame(UPLINK_MAC, ROUTER_MAC, UPLINK_IF);
    (Hook::UplinkEgress, frame)
}

/// The frame with a byte changed; no checksum follows.
fn with_byte((hook, mut frame): (Hook, Frame), at: usize, byte: u8) -> (Hook, Frame) {
    frame.bytes[at] = byte;
    (hook, frame)
}

/// Every case.
#[must_use]
pub fn cases() -> Vec<Case> {
    let case = |name, frames| Case { name, frames };
    vec![
        case("tcp-out", tcp_out()),
        case("tcp-in", tcp_in()),
        case("udp", udp_both_ways()),
        case("icmp-echo", icmp_echo()),
        case("icmp-error", icmp_error()),
        case("fragments", fragments()),
        case("hairpin", hairpin()),
        case("malformed", malformed()),
        case("not-published", not_published()),
        case("martians", martians()),
        case("spoofed", spoofed()),
        case("from-stack", stack()),
        case("bridge", bridge()),
    ]
}

fn tcp_out() -> Vec<(Hook, Frame)> {
    let out = |flags, data: &[u8]| sent(&C1, &tcp_data(C1.addr, 40000, S, 80, flags, data));
    let back = |flags, data: &[u8]| arrived(&tcp_data(S, 80, H, 40000, flags, data));
    vec![
        out(SYN, b""),
        back(SYN | ACK, b""),
        out(ACK, b""),
        out(ACK | PSH, b"GET / HTTP/1.0\r\n\r\n"),
        back(ACK | PSH, b"HTTP/1.0 204 No Content\r\n\r\n"),
        back(FIN | ACK, b""),
        out(FIN | ACK, b""),
        back(ACK, b""),
        // An answer that no connection asked for.
        arrived(&tcp(S, 80, H, 40001, SYN | ACK)),
        // A segment that begins in the middle is picked up.
        sent(&C1, &tcp_data(C1.addr, 40002, S, 80, ACK, b"middle")),
        sent(&C1, &tcp(C1.addr, 40003, S, 80, RST)),
    ]
}

fn tcp_in() -> Vec<(Hook, Frame)> {
    let to = |flags, data: &[u8]| arrived(&tcp_data(S, 51000, H, 8080, flags, data));
    let from = |flags, data: &[u8]| sent(&C1, &tcp_data(C1.addr, 80, S, 51000, flags, data));
    vec![
        to(SYN, b""),
        from(SYN | ACK, b""),
        to(ACK, b""),
        to(ACK | PSH, b"GET / HTTP/1.0\r\n\r\n"),
        from(ACK | PSH, b"HTTP/1.0 204 No Content\r\n\r\n"),
        from(FIN | ACK, b""),
        to(FIN | ACK, b""),
        from(ACK, b""),
    ]
}

fn udp_both_ways() -> Vec<(Hook, Frame)> {
    vec![
        sent(&C1, &udp(C1.addr, 5000, S, 53, b"question")),
        arrived(&udp(S, 53, H, 5000, b"answer")),
        arrived(&udp_without_checksum(S, 53, H, 5000, b"no checksum")),
        arrived(&udp(S, 53, H, 5000, b"options").options(2)),
        arrived(&udp(S2, 51000, H, 5353, b"question")),
        sent(&C1, &udp(C1.addr, 53, S2, 51000, b"answer")),
        // Another sender's port is not a way in.
        arrived(&udp(S2, 53, H, 5000, b"not asked for")),
        // The last hop: the stack answers.
        sent(&C1, &udp(C1.addr, 5000, S, 53, b"too far").ttl(1)),
    ]
}

fn icmp_echo() -> Vec<(Hook, Frame)> {
    vec![
        sent(&C1, &query(C1.addr, S, 8, 7)),
        arrived(&query(S, H, 0, 7)),
        sent(&C3, &query(C3.addr, S, 8, 9)),
        arrived(&query(S, H, 0, 9)),
        // To the host itself, by the outside and by a container.
        arrived(&query(S, H, 8, 7)),
        sent(&C2, &query(C2.addr, GW1, 8, 7)),
        // An answer that nobody asked for.
        sent(&C2, &query(C2.addr, S, 0, 8)),
    ]
}

fn icmp_error() -> Vec<(Hook, Frame)> {
    let request = udp(C1.addr, 5000, S, 53, b"question");
    let translated = udp(H, 5000, S, 53, b"question");
    let segment = tcp(H, 40000, S, 80, SYN);
    let asked = udp(S, 51000, C1.addr, 53, b"question");
    vec![
        sent(&C1, &request),
        sent(&C1, &tcp(C1.addr, 40000, S, 80, SYN)),
        arrived(&error(S, H, 3, 3, &translated, 100)),
        arrived(&error(R, H, 11, 0, &translated, 8)),
        // Fragmentation needed: path MTU discovery.
        arrived(&error(R, H, 3, 4, &segment, 8)),
        arrived(&udp(S, 51000, H, 5353, b"question")),
        sent(&C1, &error(C1.addr, S, 3, 3, &asked, 100)),
        // About a flow that there is not.
        arrived(&error(R, H, 11, 0, &udp(H, 5001, S, 53, b"?"), 8)),
        sent(&C1, &icmp(C1.addr, S, 5, 1, [0; 4], &request.bytes())),
    ]
}

fn fragments() -> Vec<(Hook, Frame)> {
    let large = |from, sport, to, dport| udp(from, sport, to, dport, &[b'x'; 60]);
    let outbound = large(C1.addr, 5000, S, 53).id(0x1001).fragments(32);
    let inbound = large(S, 53, H, 5000).id(0x1002).fragments(32);
    let lost = large(C1.addr, 5000, S, 53).id(0x1003).fragments(32);
    let tiny = tcp(C1.addr, 40000, S, 80, SYN).id(0x1004).fragments(8);
    let mut frames: Vec<_> = outbound.iter().map(|p| sent(&C1, p)).collect();
    frames.extend(inbound.iter().map(arrived));
    frames.push(sent(&C1, &lost[1]));
    frames.push(sent(&C1, &tiny[0]));
    frames
}

fn hairpin() -> Vec<(Hook, Frame)> {
    vec![
        sent(&C2, &tcp(C2.addr, 50000, H, 8080, SYN)),
        sent(&C1, &tcp(C1.addr, 80, C2.addr, 50000, SYN | ACK)),
        sent(&C2, &tcp(C2.addr, 50000, H, 8080, ACK)),
        // Itself, so the gateway stands in.
        sent(&C1, &tcp(C1.addr, 50001, H, 8080, SYN)),
        sent(&C1, &tcp(C1.addr, 80, GW1, 50001, SYN | ACK)),
        // From another network.
        sent(&C3, &udp(C3.addr, 50000, H, 5353, b"question")),
        sent(&C1, &udp(C1.addr, 53, C3.addr, 50000, b"answer")),
        // Not by the host's address: by a neighbour's MAC, by the gateway's, and between
        // networks.
        (
            Hook::Veth,
            tcp(C2.addr, 50003, C1.addr, 80, SYN).frame(C2.mac, C1.mac, C2.ifindex),
        ),
        sent(&C2, &tcp(C2.addr, 50002, C1.addr, 80, SYN)),
        sent(&C3, &tcp(C3.addr, 50002, C1.addr, 80, SYN)),
    ]
}

fn malformed() -> Vec<(Hook, Frame)> {
    let segment = || sent(&C1, &tcp(C1.addr, 40000, S, 80, SYN));
    let datagram = || sent(&C1, &udp(C1.addr, 5000, S, 53, b"data"));
    let cut = |(hook, frame): (Hook, Frame), len| (hook, frame.truncated(len));
    vec![
        with_byte(segment(), 14, 0x65), // version 6
        with_byte(segment(), 14, 0x44), // header of 16 bytes
        with_byte(segment(), 16, 0x40), // longer than the frame
        with_byte(segment(), 46, 0x40), // TCP header of 16 bytes
        with_byte(segment(), 47, 0x00), // no flags
        with_byte(segment(), 47, 0x03), // SYN and FIN
        with_byte(datagram(), 39, 7),   // UDP length below its header
        cut(segment(), 40),
        cut(segment(), 10),
        sent(&C1, &Datagram::new(C1.addr, S, 47, vec![0; 24])),
        sent(&C1, &Datagram::new(C1.addr, S, 6, vec![0; 12])),
        // A damaged checksum stays damaged: the receiver must see it.
        with_byte(segment(), 50, 0xee),
    ]
}

fn not_published() -> Vec<(Hook, Frame)> {
    vec![
        arrived(&tcp(S, 51000, H, 8081, SYN)),
        arrived(&udp(S, 51000, H, 8080, b"other protocol")),
        arrived(&tcp(S, 51000, H, 22, SYN)),
        arrived(&tcp(S, 51000, C1.addr, 80, SYN)),
        arrived(&tcp(S, 51000, GW1, 8080, SYN)),
        sent(&C2, &tcp(C2.addr, 51000, H, 8081, SYN)),
    ]
}

fn martians() -> Vec<(Hook, Frame)> {
    vec![
        arrived(&tcp([127, 0, 0, 1], 51000, H, 8080, SYN)),
        arrived(&tcp(S, 51000, [127, 0, 0, 1], 8080, SYN)),
        arrived(&tcp(C2.addr, 51000, H, 8080, SYN)),
        sent(&C1, &udp(C1.addr, 5000, [127, 0, 0, 1], 53, b"x")),
        sent(&C1, &udp(C1.addr, 5000, [224, 0, 0, 251], 5353, b"mdns")),
    ]
}

fn spoofed() -> Vec<(Hook, Frame)> {
    let honest = udp(C1.addr, 5000, S, 53, b"x");
    let arp_of = |mac, addr| (Hook::Veth, arp(C1.mac, 1, mac, addr, GW1, C1.ifindex));
    let other = |ethertype: u8| with_byte(sent(&C1, &honest), 13, ethertype);
    vec![
        sent(&C1, &udp(C2.addr, 5000, S, 53, b"a neighbour's")),
        sent(&C1, &udp(H, 5000, S, 53, b"the host's")),
        (Hook::Veth, honest.frame(C2.mac, BRIDGE1_MAC, C1.ifindex)),
        arp_of(C1.mac, C1.addr),
        arp_of(C1.mac, C2.addr),
        arp_of(C2.mac, C1.addr),
        other(0x01),
        sent(&C1, &honest),
    ]
}

fn stack() -> Vec<(Hook, Frame)> {
    vec![
        from_stack(&udp(C1.addr, 5000, S, 53, b"translated late").ttl(63)),
        arrived(&udp(S, 53, H, 5000, b"answer")),
        from_stack(&tcp(H, 50000, S, 80, SYN)),
        from_stack(&tcp([172, 17, 0, 99], 50000, S, 80, SYN)),
        from_stack(&Datagram::new(C1.addr, S, 47, vec![0; 24])),
    ]
}

fn bridge() -> Vec<(Hook, Frame)> {
    let frame = udp([172, 17, 0, 77], 5000, GW1, 53, b"x");
    let unknown = [2, 0x42, 0, 0, 0, 0x77];
    vec![(Hook::Bridge, frame.frame(unknown, BRIDGE1_MAC, BRIDGE1_IF))]
}
