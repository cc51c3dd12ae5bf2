//! A frame in a few words.
//!
//! Owns the words. Decoding is etherparse's, which also reads what is cut off.

use etherparse::{Icmpv4Slice, LaxNetSlice, LaxSlicedPacket, TcpSlice, TransportSlice};

/// A frame in words: protocol, addresses, ports, and what else tells packets of a flow apart.
#[must_use]
pub fn summary(bytes: &[u8]) -> String {
    let Ok(packet) = LaxSlicedPacket::from_ethernet(bytes) else {
        return format!("{} bytes, too short for Ethernet", bytes.len());
    };
    let (header, fragmented) = match &packet.net {
        Some(LaxNetSlice::Ipv4(ip)) => (ip.header(), ip.is_payload_fragmented()),
        Some(LaxNetSlice::Arp(arp)) => return arp_text(arp),
        Some(LaxNetSlice::Ipv6(ip)) => {
            let header = ip.header();
            return format!(
                "ip6 {} > {}",
                header.source_addr(),
                header.destination_addr()
            );
        }
        None => return unknown(bytes),
    };
    let (src, dst) = (header.source_addr(), header.destination_addr());
    let mut text = match &packet.transport {
        Some(TransportSlice::Tcp(tcp)) => format!(
            "tcp {src}:{} > {dst}:{} {} len {}",
            tcp.source_port(),
            tcp.destination_port(),
            flags(tcp),
            tcp.payload().len()
        ),
        Some(TransportSlice::Udp(udp)) => format!(
            "udp {src}:{} > {dst}:{} len {}",
            udp.source_port(),
            udp.destination_port(),
            udp.payload().len()
        ),
        Some(TransportSlice::Icmpv4(icmp)) => icmp_text(icmp, &src.to_string(), &dst.to_string()),
        Some(TransportSlice::Icmpv6(_) | TransportSlice::Igmp(_)) | None => {
            let proto = header.protocol();
            let name = proto.keyword_str().unwrap_or("ip").to_ascii_lowercase();
            format!("{name} {src} > {dst} proto {}", proto.0)
        }
    };
    if fragmented {
        let more = if header.more_fragments() { "+" } else { "" };
        let offset = u32::from(header.fragments_offset().value()) * 8;
        let id = header.identification();
        text.push_str(&format!(" frag {id:#06x}@{offset}{more}"));
    }
    if packet.stop_err.is_some() {
        text.push_str(" (malformed)");
    }
    text
}

fn unknown(bytes: &[u8]) -> String {
    match bytes.get(12..14) {
        Some([8, 0]) => format!("ip, {} bytes (malformed)", bytes.len()),
        Some([a, b]) => format!("ethertype 0x{a:02x}{b:02x}, {} bytes", bytes.len()),
        _ => format!("{} bytes", bytes.len()),
    }
}

fn flags(tcp: &TcpSlice<'_>) -> String {
    let names = [
        (tcp.syn(), "SYN"),
        (tcp.fin(), "FIN"),
        (tcp.rst(), "RST"),
        (tcp.psh(), "PSH"),
        (tcp.ack(), "ACK"),
        (tcp.urg(), "URG"),
    ];
    let set: Vec<_> = names
        .iter()
        .filter(|(on, _)| *on)
        .map(|(_, n)| *n)
        .collect();
    if set.is_empty() {
        "no flags".to_owned()
    } else {
        set.join("+")
    }
}

fn icmp_text(icmp: &Icmpv4Slice<'_>, src: &str, dst: &str) -> String {
    let [a, b, ..] = icmp.bytes5to8();
    let id = u16::from_be_bytes([a, b]);
    match icmp.type_u8() {
        0 => format!("icmp {src} > {dst} echo reply id {id}"),
        8 => format!("icmp {src} > {dst} echo id {id}"),
        kind @ (3 | 4 | 5 | 11 | 12) => {
            // The quoted packet, behind an Ethernet header so that the same code reads it.
            let mut quoted = vec![0; 12];
            quoted.extend([8, 0]);
            quoted.extend(icmp.payload());
            let quoted = summary(&quoted);
            format!("icmp {src} > {dst} {kind}/{} [{quoted}]", icmp.code_u8())
        }
        kind => format!("icmp {src} > {dst} type {kind} id {id}"),
    }
}

fn arp_text(arp: &etherparse::ArpPacketSlice<'_>) -> String {
    let address = |bytes: &[u8]| {
        let parts: Vec<_> = bytes.iter().map(u8::to_string).collect();
        parts.join(".")
    };
    let sender = address(arp.sender_protocol_addr());
    if arp.operation() == etherparse::ArpOperation::REQUEST {
        let target = address(arp.target_protocol_addr());
        format!("arp who-has {target} tell {sender}")
    } else {
        format!("arp {sender} is-at")
    }
}

#[cfg(test)]
mod tests {
    use netpath_common::testing::{C1, H, ROUTER_MAC, S, UPLINK_MAC, arp, error, query, tcp, udp};

    use super::*;

    #[test]
    fn words() {
        let text = |d: &netpath_common::testing::Datagram| {
            summary(&d.frame(ROUTER_MAC, UPLINK_MAC, 2).bytes)
        };
        assert_eq!(
            text(&tcp(S, 80, H, 40000, 0x12)),
            "tcp 198.51.100.9:80 > 192.0.2.1:40000 SYN+ACK len 0"
        );
        assert_eq!(
            text(&query(S, H, 8, 7)),
            "icmp 198.51.100.9 > 192.0.2.1 echo id 7"
        );
        let about = udp(C1.addr, 53, S, 51000, b"abc");
        assert!(
            text(&error(S, H, 3, 3, &about, 8))
                .starts_with("icmp 198.51.100.9 > 192.0.2.1 3/3 [udp 172.17.0.2:53 > ")
        );
        assert_eq!(
            summary(&arp(C1.mac, 1, C1.mac, C1.addr, [172, 17, 0, 1], 11).bytes),
            "arp who-has 172.17.0.1 tell 172.17.0.2"
        );
        let large = udp(S, 1, H, 2, &[0; 40]);
        assert!(text(&large.fragments(24)[1]).ends_with("proto 17 frag 0x1234@24"));
    }

    #[test]
    fn nothing_panics() {
        let about = udp(C1.addr, 53, S, 51000, b"abc");
        let whole = error(S, H, 3, 3, &about, 8).frame(ROUTER_MAC, UPLINK_MAC, 2);
        for len in 0..whole.bytes.len() {
            assert!(!summary(&whole.bytes[..len]).is_empty());
        }
    }
}
