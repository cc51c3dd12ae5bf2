//! What the bytes of an input mean: circumstances, flows that are there before, frames.
//!
//! Owns the reading. The run and its checks are the parent's.

use arbitrary::{Result, Unstructured};

use super::super::{
    build::ethernet,
    frame::{Frame, Offload},
    host::Host,
    tables::MemTables,
    topology::{
        BRIDGE1_IF, BRIDGE1_MAC, BRIDGE2_MAC, C1, C2, C3, Container, GW1, GW1_6, H, H6, NET1, NET2,
        ROUTER_MAC, RULE_DNS, RULE_WEB, S, S2, S2_6, S6, UPLINK, UPLINK_IF, UPLINK_MAC,
        endpoint_record,
    },
};
use crate::{
    addr::{V4, V6},
    conntrack::{Budget, CtEntry, FLAG_RECORD, created_at, is_embryonic},
    datapath::{Tables as _, generation, link_local},
    event::Hook,
    packet::Family,
    publish::{Backend, Backends},
    records::{
        CONFIG_MSS_CLAMP, CONFIG_PRESERVE_PORTS, LOOPBACK_IFINDEX, NETWORK_DIRECT, NETWORK_ICC,
        NETWORK_INTERNAL, NETWORK_MASQUERADE, NETWORK_XDP, Published, PublishedKey,
    },
    tuple::{self, Tuple},
};

/// Bytes of a frame.
const LONGEST: usize = 1700;

/// Chooses circumstances.
pub(super) fn configure(host: &mut Host, u: &mut Unstructured<'_>) -> Result<()> {
    let bits: u16 = u.arbitrary()?;
    let on = |bit: u16, flag: u32| if bits >> bit & 1 == 0 { 0 } else { flag };
    let t = &mut host.tables;
    let config = t.config.as_mut().unwrap();
    config.flags = on(0, CONFIG_MSS_CLAMP) | on(1, CONFIG_PRESERVE_PORTS);
    let xdp = on(2, NETWORK_XDP);
    t.networks[usize::from(NET1)].flags =
        NETWORK_MASQUERADE | on(3, NETWORK_ICC) | on(4, NETWORK_DIRECT) | xdp;
    t.networks[usize::from(NET2)].flags =
        on(5, NETWORK_MASQUERADE) | on(6, NETWORK_INTERNAL) | NETWORK_ICC | xdp;
    host.xdp_translates = xdp != 0;
    if bits >> 7 & 1 != 0 {
        config.endpoint_flows = u.int_in_range(0..=4)?;
        config.endpoint_ports = u.int_in_range(0..=4)?;
        config.inbound_embryonic = u.int_in_range(0..=4)?;
    }
    if bits >> 8 & 1 != 0 {
        (config.port_min, config.port_max) = (u.arbitrary()?, u.arbitrary()?);
    }
    if bits >> 9 & 1 != 0 {
        t.ct_capacity = u.int_in_range(0..=16)?;
    }
    if bits >> 12 & 1 != 0 {
        let mtu = u.int_in_range(0..=9000)?;
        t.uplinks[usize::from(UPLINK)].mtu = mtu;
        t.endpoints[usize::from(C1.slot)].mtu = mtu;
    }
    // The records are those of both families.
    let (t, t6) = (&host.tables, &mut host.tables6);
    t6.config = t.config;
    t6.endpoints = t.endpoints.clone();
    t6.networks = t.networks.clone();
    t6.uplinks = t.uplinks.clone();
    t6.ct_capacity = t.ct_capacity;
    publish(&mut host.tables, bits);
    publish(&mut host.tables6, bits);
    Ok(())
}

/// Changes what is published.
fn publish<A: Names>(t: &mut MemTables<A>, bits: u16) {
    if bits >> 10 & 1 != 0 {
        t.unpublish(tuple::TCP, 8080, RULE_WEB);
    }
    if bits >> 11 & 1 != 0 {
        t.publish(tuple::UDP, 5353, &C3, 53, RULE_DNS);
    }
    if bits >> 13 & 1 != 0 {
        t.allow(RULE_WEB, &A::LIST);
    }
    if bits >> 14 & 1 != 0 {
        t.publish_range(A::NONE, (5000, 5001), tuple::TCP, (&C3, 80), 3);
    }
    if bits >> 15 & 1 != 0 {
        share(t);
    }
}

/// Publishes UDP 53 for two containers together.
fn share<A: Names>(t: &mut MemTables<A>) {
    let mut backends = Backends::default();
    for (place, c) in backends.list.iter_mut().zip([C1, C2]) {
        *place = Backend {
            endpoint: c.slot,
            rule: 4 + c.slot,
            port: 53,
            zero: 0,
        };
    }
    backends.fill();
    t.backends[1] = backends;
    let key = PublishedKey {
        addr: A::NONE,
        port: 53,
        proto: tuple::UDP,
        zero: 0,
    };
    let shared = Published {
        last: 53,
        group: 1,
        ..Published::default()
    };
    t.set_published(key, shared);
}

/// The names of the standard host in a family.
pub(super) trait Names: Family {
    const OUTSIDE: Self;
    const SERVERS: [Self; 2];
    const ECHO: u8;
    /// What an allow list holds: a server, and a part of the first network.
    const LIST: [(Self, u8); 2];
}

impl Names for V4 {
    const OUTSIDE: Self = H;
    const SERVERS: [Self; 2] = [S, S2];
    const ECHO: u8 = tuple::ICMP_ECHO;
    const LIST: [(Self, u8); 2] = [(S, 32), ([172, 17, 0, 0], 24)];
}

impl Names for V6 {
    const OUTSIDE: Self = H6;
    const SERVERS: [Self; 2] = [S6, S2_6];
    const ECHO: u8 = tuple::ICMPV6_ECHO;
    const LIST: [(Self, u8); 2] = [(S6, 128), (GW1_6, 126)];
}

/// Puts a flow into the table; whether it is one that the datapath does not make.
pub(super) fn put_flow<A: Names>(t: &MemTables<A>, u: &mut Unstructured<'_>) -> Result<bool> {
    let peer = *u.choose(&A::SERVERS)?;
    let (sport, dport, outside) = (port(u)?, port(u)?, port(u)?);
    let proto = *u.choose(&[tuple::TCP, tuple::UDP, A::ICMP])?;
    let c = *u.choose(&[C1, C2, C3])?;
    let inner = |c: &Container| A::of_endpoint(&endpoint_record(c));
    let line = |src, sport, dst, dport| Tuple {
        src,
        dst,
        sport,
        dport: if proto == A::ICMP { sport } else { dport },
        proto,
        icmp_type: if proto == A::ICMP { A::ECHO } else { 0 },
        zero: 0,
    };
    // Masquerade, a published port, a hairpin.
    let (original, translated, from, to, uplink, rule) = match u.int_in_range(0..=2)? {
        0 => {
            let there = line(inner(&c), sport, peer, dport);
            let here = line(A::OUTSIDE, outside, peer, dport);
            (there, here, c.slot, 0, UPLINK, 0)
        }
        1 => {
            let there = line(peer, sport, A::OUTSIDE, 8080);
            let inside = line(peer, sport, inner(&c), 80);
            (there, inside, 0, c.slot, UPLINK, RULE_WEB)
        }
        _ => {
            let there = line(inner(&C2), sport, A::OUTSIDE, 8080);
            let inside = line(inner(&C2), sport, inner(&c), 80);
            (there, inside, C2.slot, c.slot, 0, RULE_WEB)
        }
    };
    let reply = translated.inverse();
    if t.entry(&reply).is_some() || t.entry(&original).is_some() || reply == original {
        return Ok(false);
    }
    let (state, odd): (u8, u8) = (u.arbitrary()?, u.arbitrary()?);
    let stale = u32::from(odd & 3 == 3);
    let age: u32 = u.arbitrary()?;
    let at = t.now().saturating_sub(u64::from(age) * 100_000);
    let entry = |to_be: Tuple<A>, from, to, flags| CtEntry {
        src: to_be.src,
        dst: to_be.dst,
        sport: to_be.sport,
        dport: to_be.dport,
        from,
        to,
        rule,
        uplink: uplink as u8,
        flags,
        state: u32::from(state) | 0x5a00,
        generation: generation(t, from, to, uplink, rule).wrapping_add(stale),
        created: created_at(at),
        stamp: at,
        ..CtEntry::default()
    };
    t.put_entry(reply, entry(original.inverse(), to, from, FLAG_RECORD));
    if odd & 12 != 12 {
        t.put_entry(original, entry(translated, from, to, odd >> 6 & 2));
    }
    if from != 0 {
        t.add_live(Budget::flows(from), 1);
        if to == 0 {
            t.add_live(Budget::ports(from), 1);
        }
    } else if is_embryonic(proto, u32::from(state)) {
        t.add_live(Budget::inbound::<A>(), 1);
    }
    // A port of a flow has been marked by whoever made it.
    t.set_translated(proto, outside);
    // A claim that nobody ends, or half a flow.
    Ok(state & 0x80 != 0 || odd & 12 == 12)
}

pub(super) fn port(u: &mut Unstructured<'_>) -> Result<u16> {
    u.choose(&[53, 80, 5000, 5001, 5353, 8080]).copied()
}

/// A frame: bytes as they come, or behind an Ethernet header and between addresses that fit the hook.
pub(super) fn frame(hook: Hook, u: &mut Unstructured<'_>) -> Result<Frame> {
    let bits: u8 = u.arbitrary()?;
    let c = *u.choose(&[C1, C2, C3])?;
    let names = [C1.addr, C2.addr, C3.addr, GW1, H, S, S2, [127, 0, 0, 1]];
    let link = link_local(c.mac);
    let names6 = [C1.addr6, C2.addr6, C3.addr6, GW1_6, H6, S6, S2_6, link];
    let (src, dst) = (u.choose_index(8)?, u.choose_index(8)?);
    let gso_size = if bits & 4 == 0 {
        0
    } else {
        u32::from(u.arbitrary::<u16>()?)
    };
    let len = usize::from(u.arbitrary::<u16>()?).min(LONGEST).min(u.len());
    let mut bytes = u.bytes(len)?.to_vec();
    let (from, to, ifindex) = match hook {
        Hook::Veth if c.network == NET1 => (c.mac, BRIDGE1_MAC, c.ifindex),
        Hook::Veth => (c.mac, BRIDGE2_MAC, c.ifindex),
        Hook::UplinkEgress => (UPLINK_MAC, ROUTER_MAC, UPLINK_IF),
        // Whatever the host forwards there, it has by an interface that is not netpath's.
        Hook::BridgeEgress => (BRIDGE1_MAC, c.mac, BRIDGE1_IF),
        Hook::Loopback => ([0; 6], [0; 6], LOOPBACK_IFINDEX),
        Hook::UplinkIngress | Hook::Xdp | Hook::Bridge => (ROUTER_MAC, UPLINK_MAC, UPLINK_IF),
    };
    if bits & 1 == 0 {
        let is_v6 = bits & 32 != 0;
        let header = ethernet(from, to, if is_v6 { 0x86dd } else { 0x0800 });
        bytes.splice(0..0, header);
        if bits & 2 != 0 {
            // Whatever addresses there are.
        } else if is_v6 && bytes.len() >= 54 {
            bytes[22..38].copy_from_slice(&names6[src]);
            bytes[38..54].copy_from_slice(&names6[dst]);
        } else if !is_v6 && bytes.len() >= 34 {
            bytes[26..30].copy_from_slice(&names[src]);
            bytes[30..34].copy_from_slice(&names[dst]);
        }
    }
    Ok(Frame {
        bytes,
        ifindex: if bits & 8 == 0 { ifindex } else { BRIDGE1_IF },
        gso_size,
        offload: if bits & 16 == 0 {
            Offload::None
        } else {
            Offload::Partial
        },
        ..Frame::default()
    })
}
