//! A drop event as a line or as JSON: time, who, where, why, which packet.
//!
//! Owns the text. Knows endpoints only through the names that it is given.

use std::{
    fmt::Write as _,
    net::{IpAddr, SocketAddr},
    time::SystemTime,
};

use netpath_common::{
    DropReason,
    event::{DropEvent, Hook},
    tuple::{ICMP, ICMPV6, TCP, UDP},
};
use serde_json::{Value, json};

use crate::bpf::{Error, coarse_now, ifname};

const ETH_P_IP: u16 = 0x0800;
const ETH_P_ARP: u16 = 0x0806;
const ETH_P_IPV6: u16 = 0x86dd;

/// How slots become names.
#[derive(Clone, Copy)]
pub struct Names<'a> {
    /// The name of the endpoint in a slot.
    pub endpoint: &'a dyn Fn(u16) -> Option<String>,
}

/// Turns the datapath's clock into the time of day.
#[derive(Clone, Copy, Debug)]
pub(super) struct Clock {
    wall: SystemTime,
    monotonic_ns: u64,
}

impl Clock {
    pub(super) fn now() -> Result<Self, Error> {
        Ok(Self {
            wall: SystemTime::now(),
            monotonic_ns: coarse_now()?,
        })
    }

    fn text(&self, time_ns: u64) -> String {
        let since = std::time::Duration::from_nanos(time_ns.saturating_sub(self.monotonic_ns));
        humantime::format_rfc3339_millis(self.wall + since).to_string()
    }
}

/// One line, with the reason's explanation on a second one if `verbose`.
pub(super) fn line(event: &DropEvent, clock: &Clock, names: &Names<'_>, verbose: bool) -> String {
    let reason = DropReason::from_index(event.reason);
    let why = reason.map_or_else(|| format!("reason-{}", event.reason), |r| r.as_str().into());
    let mut out = format!(
        "{} {} at {} {} dropped: {why}: {}, {} bytes\n",
        clock.text(event.time_ns),
        who(event, names),
        hook(event),
        interface(event.ifindex),
        packet(event),
        event.len
    );
    if let Some(reason) = reason.filter(|_| verbose) {
        // Writing to a String cannot fail.
        let _ = writeln!(out, "    {}", reason.help().trim());
    }
    out
}

/// One JSON object on one line.
pub(super) fn json(event: &DropEvent, clock: &Clock, names: &Names<'_>) -> String {
    let t = &event.tuple;
    let reason = DropReason::from_index(event.reason);
    let mut value = json!({
        "time": clock.text(event.time_ns),
        "endpoint": endpoint(event, names),
        "mac": mac(event.src_mac),
        "hook": hook(event),
        "interface": interface(event.ifindex),
        "ifindex": event.ifindex,
        "reason": reason.map(DropReason::as_str),
        "help": reason.map(|r| r.help().trim()),
        "ethertype": format!("0x{:04x}", event.ethertype),
        "length": event.len,
    });
    if let Some((src, dst)) = addresses(event) {
        value["src"] = src.to_string().into();
        value["dst"] = dst.to_string().into();
        value["protonum"] = t.proto.into();
        if matches!(t.proto, ICMP | ICMPV6) {
            value["type"] = t.icmp_type.into();
            value["id"] = t.sport.into();
        } else {
            value["sport"] = t.sport.into();
            value["dport"] = t.dport.into();
        }
    }
    format!("{}\n", Value::to_string(&value))
}

fn endpoint(event: &DropEvent, names: &Names<'_>) -> Option<String> {
    (event.endpoint != 0)
        .then(|| (names.endpoint)(event.endpoint))
        .flatten()
}

/// The endpoint that sent it, else the address, else the MAC.
fn who(event: &DropEvent, names: &Names<'_>) -> String {
    endpoint(event, names).unwrap_or_else(|| {
        if event.endpoint != 0 {
            format!("endpoint {}", event.endpoint)
        } else if let Some((src, _)) = addresses(event).filter(|(src, _)| !src.is_unspecified()) {
            src.to_string()
        } else {
            mac(event.src_mac)
        }
    })
}

fn hook(event: &DropEvent) -> String {
    Hook::from_u8(event.hook).map_or_else(
        || format!("hook-{}", event.hook),
        |hook| hook.as_str().into(),
    )
}

fn interface(ifindex: u32) -> String {
    ifname(ifindex).unwrap_or_else(|_| format!("if{ifindex}"))
}

fn packet(event: &DropEvent) -> String {
    let t = &event.tuple;
    let Some((src, dst)) = addresses(event) else {
        return match event.ethertype {
            ETH_P_IP => format!("ipv4 from {}", mac(event.src_mac)),
            ETH_P_ARP => format!("arp from {}", mac(event.src_mac)),
            ETH_P_IPV6 => format!("ipv6 from {}", mac(event.src_mac)),
            other => format!("ethertype 0x{other:04x} from {}", mac(event.src_mac)),
        };
    };
    let ends = || (SocketAddr::new(src, t.sport), SocketAddr::new(dst, t.dport));
    match t.proto {
        ICMP => format!("icmp {src} > {dst} type {} id {}", t.icmp_type, t.sport),
        ICMPV6 => format!("icmpv6 {src} > {dst} type {} id {}", t.icmp_type, t.sport),
        TCP => format!("tcp {} > {}", ends().0, ends().1),
        UDP => format!("udp {} > {}", ends().0, ends().1),
        other => format!("protocol {other} {src} > {dst}"),
    }
}

/// Source and destination, where the parser came as far.
fn addresses(event: &DropEvent) -> Option<(IpAddr, IpAddr)> {
    let t = &event.tuple;
    if event.ethertype == ETH_P_IPV6 {
        let known = event.src6 != [0; 16] || event.dst6 != [0; 16];
        return known.then(|| (event.src6.into(), event.dst6.into()));
    }
    (t.src != [0; 4] || t.dst != [0; 4]).then(|| (t.src.into(), t.dst.into()))
}

fn mac(m: [u8; 6]) -> String {
    let [a, b, c, d, e, f] = m;
    format!("{a:02x}:{b:02x}:{c:02x}:{d:02x}:{e:02x}:{f:02x}")
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, UNIX_EPOCH};

    use netpath_common::Tuple;

    use super::*;

    const CLOCK: Clock = Clock {
        wall: UNIX_EPOCH,
        monotonic_ns: 1_000,
    };

    fn names(slot: u16) -> Option<String> {
        (slot == 2).then(|| "PINK".to_owned())
    }

    fn spoofed() -> DropEvent {
        DropEvent {
            time_ns: 1_000 + Duration::from_millis(1_500).as_nanos() as u64,
            reason: DropReason::SpoofedAddress as u32,
            ifindex: 4_000_000,
            tuple: Tuple {
                src: [172, 17, 0, 9],
                dst: [198, 51, 100, 2],
                sport: 40_000,
                dport: 80,
                proto: TCP,
                ..Tuple::default()
            },
            len: 74,
            ethertype: ETH_P_IP,
            hook: Hook::Veth as u8,
            src_mac: [2, 0, 0, 0, 0, 1],
            endpoint: 2,
            ..DropEvent::default()
        }
    }

    fn printed(event: &DropEvent, verbose: bool) -> String {
        line(event, &CLOCK, &Names { endpoint: &names }, verbose)
    }

    #[test]
    fn a_line_says_who_where_and_why() {
        let expected = "1970-01-01T00:00:01.500Z PINK at veth if4000000 dropped: \
                        spoofed-address: tcp 172.17.0.9:40000 > 198.51.100.2:80, 74 bytes\n";
        assert_eq!(printed(&spoofed(), false), expected);
        let help = "    A container sent with an address that is not its own.\n";
        assert_eq!(printed(&spoofed(), true), format!("{expected}{help}"));
    }

    #[test]
    fn without_a_name_the_address_or_the_mac_says_who() {
        let unnamed = DropEvent {
            endpoint: 3,
            ..spoofed()
        };
        assert!(printed(&unnamed, false).contains(" endpoint 3 at veth "));
        let outside = DropEvent {
            endpoint: 0,
            hook: 2,
            ..spoofed()
        };
        assert!(printed(&outside, false).contains(" 172.17.0.9 at uplink-in "));
        let arp = DropEvent {
            endpoint: 0,
            tuple: Tuple::default(),
            ethertype: ETH_P_ARP,
            ..spoofed()
        };
        let text = printed(&arp, false);
        assert!(text.contains(" 02:00:00:00:00:01 at veth "), "{text}");
        assert!(
            text.ends_with("arp from 02:00:00:00:00:01, 74 bytes\n"),
            "{text}"
        );
    }

    #[test]
    fn json_is_one_object_a_line() {
        let text = json(&spoofed(), &CLOCK, &Names { endpoint: &names });
        assert_eq!(text.matches('\n').count(), 1);
        let value: Value = serde_json::from_str(&text).unwrap();
        assert_eq!(value["endpoint"], "PINK");
        assert_eq!(value["reason"], "spoofed-address");
        assert_eq!(value["sport"], 40_000);
        assert_eq!(value["ethertype"], "0x0800");
        let arp = DropEvent {
            tuple: Tuple::default(),
            ..spoofed()
        };
        let text = json(&arp, &CLOCK, &Names { endpoint: &names });
        assert!(!text.contains("sport"), "{text}");
    }

    #[test]
    fn a_packet_of_ipv6_has_its_addresses() {
        let six = |a: &str| a.parse::<std::net::Ipv6Addr>().unwrap().octets();
        let event = DropEvent {
            ethertype: ETH_P_IPV6,
            tuple: Tuple {
                sport: 40_000,
                dport: 80,
                proto: TCP,
                ..Tuple::default()
            },
            src6: six("fd00:17::9"),
            dst6: six("2001:db8::2"),
            endpoint: 0,
            ..spoofed()
        };
        assert_eq!(packet(&event), "tcp [fd00:17::9]:40000 > [2001:db8::2]:80");
        assert_eq!(who(&event, &Names { endpoint: &names }), "fd00:17::9");
    }
}
