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
        BRIDGE1_IF, BRIDGE1_MAC, BRIDGE2_MAC, C1, C2, C3, GW1, H, NET1, NET2, ROUTER_MAC, RULE_DNS,
        RULE_WEB, S, S2, UPLINK, UPLINK_IF, UPLINK_MAC,
    },
};
use crate::{
    conntrack::{Budget, CtEntry, FLAG_RECORD, created_at, is_embryonic},
    datapath::{Tables as _, generation},
    event::Hook,
    publish::{Backend, Backends},
    records::{
        CONFIG_MSS_CLAMP, CONFIG_PRESERVE_PORTS, NETWORK_DIRECT, NETWORK_ICC, NETWORK_INTERNAL,
        NETWORK_MASQUERADE, NETWORK_XDP, Published, PublishedKey,
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
    if bits >> 10 & 1 != 0 {
        t.unpublish(tuple::TCP, 8080, RULE_WEB);
    }
    if bits >> 11 & 1 != 0 {
        t.publish(tuple::UDP, 5353, &C3, 53, RULE_DNS);
    }
    if bits >> 12 & 1 != 0 {
        let mtu = u.int_in_range(0..=9000)?;
        t.uplinks[usize::from(UPLINK)].mtu = mtu;
        t.endpoints[usize::from(C1.slot)].mtu = mtu;
    }
    if bits >> 13 & 1 != 0 {
        t.allow(RULE_WEB, &[(S, 32), ([172, 17, 0, 0], 24)]);
    }
    if bits >> 14 & 1 != 0 {
        t.publish_range([0; 4], (5000, 5001), tuple::TCP, (&C3, 80), 3);
    }
    if bits >> 15 & 1 != 0 {
        share(t);
    }
    Ok(())
}

/// Publishes UDP 53 for two containers together.
fn share(t: &mut MemTables) {
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
        addr: [0; 4],
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

/// Puts a flow into the table; whether it is one that the datapath does not make.
pub(super) fn put_flow(t: &MemTables, u: &mut Unstructured<'_>) -> Result<bool> {
    let peer = *u.choose(&[S, S2])?;
    let (sport, dport, outside) = (port(u)?, port(u)?, port(u)?);
    let proto = *u.choose(&[tuple::TCP, tuple::UDP, tuple::ICMP])?;
    let c = *u.choose(&[C1, C2, C3])?;
    let line = |src, sport, dst, dport| Tuple {
        src,
        dst,
        sport,
        dport: if proto == tuple::ICMP { sport } else { dport },
        proto,
        icmp_type: if proto == tuple::ICMP {
            tuple::ICMP_ECHO
        } else {
            0
        },
        zero: 0,
    };
    // Masquerade, a published port, a hairpin.
    let (original, translated, from, to, uplink, rule) = match u.int_in_range(0..=2)? {
        0 => {
            let there = line(c.addr, sport, peer, dport);
            (there, line(H, outside, peer, dport), c.slot, 0, UPLINK, 0)
        }
        1 => {
            let there = line(peer, sport, H, 8080);
            let inside = line(peer, sport, c.addr, 80);
            (there, inside, 0, c.slot, UPLINK, RULE_WEB)
        }
        _ => {
            let there = line(C2.addr, sport, H, 8080);
            let inside = line(C2.addr, sport, c.addr, 80);
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
    let entry = |to_be: Tuple, from, to, flags| CtEntry {
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
        t.add_live(Budget::INBOUND, 1);
    }
    // A port of a flow has been marked by whoever made it.
    t.set_translated(proto, outside);
    // A claim that nobody ends, or half a flow.
    Ok(state & 0x80 != 0 || odd & 12 == 12)
}

fn port(u: &mut Unstructured<'_>) -> Result<u16> {
    u.choose(&[53, 80, 5000, 5001, 5353, 8080]).copied()
}

/// A frame: bytes as they come, or behind an Ethernet header and between addresses that fit the hook.
pub(super) fn frame(hook: Hook, u: &mut Unstructured<'_>) -> Result<Frame> {
    let bits: u8 = u.arbitrary()?;
    let c = *u.choose(&[C1, C2, C3])?;
    let names = [C1.addr, C2.addr, C3.addr, GW1, H, S, S2, [127, 0, 0, 1]];
    let (src, dst) = (*u.choose(&names)?, *u.choose(&names)?);
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
        Hook::UplinkIngress | Hook::Xdp | Hook::Bridge => (ROUTER_MAC, UPLINK_MAC, UPLINK_IF),
    };
    if bits & 1 == 0 {
        let header = ethernet(from, to, 0x0800);
        bytes.splice(0..0, header);
        if bits & 2 == 0 && bytes.len() >= 34 {
            bytes[26..30].copy_from_slice(&src);
            bytes[30..34].copy_from_slice(&dst);
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
