//! One input of the fuzzer: tables with any content, and any frames at any hook.
//!
//! Owns the form of an input and the checks of a run: what the host checks with every frame, that no
//! private source leaves, that nothing enters but what a flow, a published port or a first fragment
//! lets in, and that table, numbers and drops agree. A table that the datapath could not have made is
//! fair: another processor may be in the middle of a change, or memory be wrong.

use std::{collections::HashSet, vec::Vec};

use arbitrary::{Result, Unstructured};

use super::{
    build::Addr,
    frame::{Frame, Offload},
    host::{Host, Outcome},
    oracle::describe,
    plain::{Body, Line, Looks, is_private, look},
    tables::MemTables,
    topology::{
        BRIDGE1_IF, BRIDGE1_MAC, BRIDGE2_MAC, C1, C2, C3, GW1, H, NET1, NET2, ROUTER_MAC, RULE_DNS,
        RULE_WEB, S, S2, UPLINK, UPLINK_IF, UPLINK_MAC,
    },
};
use crate::{
    conntrack::{Budget, CtEntry, FLAG_RECORD, created_at, is_embryonic},
    counters::Counter,
    datapath::{Tables as _, collect, generation},
    event::Hook,
    records::{
        CONFIG_MSS_CLAMP, CONFIG_PRESERVE_PORTS, NETWORK_DIRECT, NETWORK_ICC, NETWORK_INTERNAL,
        NETWORK_MASQUERADE, NETWORK_XDP,
    },
    tuple::{self, Tuple},
    verdict::Verdict,
};

/// Frames and other events of an input.
const EVENTS: usize = 12;
/// Flows that are there before.
const FLOWS: u8 = 6;
/// Bytes of a frame.
const LONGEST: usize = 1700;

/// Runs an input. One that is too short to say something is fine.
///
/// # Panics
/// Where something does not hold.
pub fn run(data: &[u8]) {
    // Only the end of the data is an error.
    let _ = play(&mut Unstructured::new(data));
}

/// The run of one input.
struct Run {
    host: Host,
    /// First fragments that have gone into a container: addresses, identification, protocol.
    heads: HashSet<(Addr, Addr, u16, u8)>,
    refused: u64,
    /// Entries were put there that the datapath has not made in this form.
    is_odd: bool,
}

fn play(u: &mut Unstructured<'_>) -> Result<()> {
    let mut run = Run {
        host: Host::seeded(u64::from(u.arbitrary::<u8>()?)),
        heads: HashSet::new(),
        refused: 0,
        is_odd: false,
    };
    configure(&mut run.host, u)?;
    for _ in 0..u.int_in_range(0..=FLOWS)? {
        run.is_odd |= put_flow(&run.host.tables, u)?;
    }
    for _ in 0..EVENTS {
        run.event(u)?;
        run.check();
        if u.is_empty() {
            break;
        }
    }
    Ok(())
}

fn configure(host: &mut Host, u: &mut Unstructured<'_>) -> Result<()> {
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
    Ok(())
}

/// Puts a flow into the table; whether it is one that the datapath does not make.
fn put_flow(t: &MemTables, u: &mut Unstructured<'_>) -> Result<bool> {
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

impl Run {
    fn event(&mut self, u: &mut Unstructured<'_>) -> Result<()> {
        let kind: u8 = u.int_in_range(0..=7)?;
        let hook = match kind {
            0 => Hook::UplinkEgress,
            1 | 2 => Hook::UplinkIngress,
            3 => Hook::Xdp,
            4 | 5 => Hook::Veth,
            6 => {
                self.host
                    .tables
                    .advance_ms(u64::from(u.arbitrary::<u32>()?));
                return Ok(());
            }
            _ => {
                let force = u.arbitrary()?;
                for (key, _) in self.host.tables.entries() {
                    collect(&self.host.tables, &key, force);
                }
                return Ok(());
            }
        };
        let frame = frame(hook, u)?;
        let mut waiting = Vec::from([frame]);
        while let Some(frame) = waiting.pop() {
            let again = self.show(hook, &frame);
            waiting.extend(again.into_iter().map(|bytes| Frame {
                bytes,
                ifindex: frame.ifindex,
                ..Frame::default()
            }));
        }
        Ok(())
    }

    /// Shows a frame to a hook and judges what becomes of it; what is sent to come in once more.
    fn show(&mut self, hook: Hook, frame: &Frame) -> Vec<Vec<u8>> {
        let invited = self.is_invited(frame);
        let out = self.host.run(hook, frame);
        match out.result {
            Err(_) => self.refused += 1,
            Ok(verdict) => self.judge(hook, frame, &out, verdict, &invited),
        }
        out.frame.again
    }

    /// Where a packet of the outside may go by what the tables say; none: by an error or fragment.
    fn is_invited(&self, frame: &Frame) -> Vec<Addr> {
        let t = &self.host.tables;
        let mut to = Vec::new();
        if let Looks::Ip(ip) = look(&frame.bytes) {
            match ip.body {
                Body::Talk(line, _) => {
                    to.extend(t.entry(&key(&line)).map(|e| e.dst));
                    let open = t.published.iter().filter(|(k, _)| {
                        (k.proto, k.port) == (line.proto, line.dport)
                            && t.host_addrs.contains(&ip.dst)
                    });
                    to.extend(open.map(|(_, p)| p.addr));
                }
                Body::Error(Some(quoted)) => {
                    to.extend(t.entry(&key(&quoted).inverse()).map(|e| e.dst));
                }
                _ => {}
            }
        }
        to
    }

    fn judge(
        &mut self,
        hook: Hook,
        frame: &Frame,
        out: &Outcome,
        verdict: Verdict,
        invited: &[Addr],
    ) {
        let Looks::Ip(after) = look(&out.frame.bytes) else {
            return;
        };
        let Looks::Ip(before) = look(&frame.bytes) else {
            // A super-packet of BIG TCP says nothing of its length.
            assert!(
                frame.bytes[16..18] == [0, 0],
                "{verdict:?}: {}",
                describe(frame)
            );
            return;
        };
        let what = || std::format!("{verdict:?}: {} became {}", describe(frame), out.text());
        let leaves = matches!(verdict, Verdict::ToUplink { .. }) || hook == Hook::UplinkEgress;
        assert!(!leaves || !is_private(after.src), "{}", what());
        let inwards = match verdict {
            Verdict::ToEndpoint { ifindex } => {
                let c = [C1, C2, C3].into_iter().find(|c| c.ifindex == ifindex);
                let c = c.unwrap_or_else(|| panic!("to nobody: {}", what()));
                assert_eq!(after.dst, c.addr, "{}", what());
                let _ = out.to_container(&c);
                true
            }
            Verdict::TranslatedToStack => hook != Hook::UplinkEgress,
            _ => false,
        };
        if !inwards {
            return;
        }
        let datagram = (before.src, before.dst, before.id, before.proto);
        let asked = match before.body {
            Body::Tail => self.heads.contains(&datagram),
            _ => invited.contains(&after.dst),
        };
        assert!(asked, "uninvited at {hook:?}: {}", what());
        if before.is_head {
            self.heads.insert(datagram);
        }
    }

    /// What must hold between events.
    fn check(&self) {
        let t = &self.host.tables;
        assert_eq!(self.host.drops.values().sum::<u64>(), self.refused);
        let held = t.counter(Counter::FragmentHeld) - t.counter(Counter::FragmentReleased);
        assert_eq!(t.live(Budget::HELD), (held - t.held_dropped()) as i64);
        if self.is_odd {
            return;
        }
        let mut live = [[0; 4]; 2];
        let mut embryonic = 0;
        for (key, e) in t.entries() {
            let other_key = e.other_key(&key);
            let other = t.entry(&other_key);
            let other = other.unwrap_or_else(|| panic!("{key:?} stands alone"));
            assert_eq!(other.other_key(&other_key), key);
            assert_ne!(other.is_record(), e.is_record());
            if !e.is_record() {
                continue;
            }
            if e.to != 0 {
                live[0][usize::from(e.to)] += 1;
                live[1][usize::from(e.to)] += i64::from(e.from == 0);
            } else if e.from != 0 {
                embryonic += i64::from(is_embryonic(key.proto, e.state));
            }
        }
        for slot in 1..4_u16 {
            let kept = [t.live(Budget::flows(slot)), t.live(Budget::ports(slot))];
            let at = usize::from(slot);
            assert_eq!(kept, [live[0][at], live[1][at]], "slot {slot}");
        }
        assert_eq!(t.live(Budget::INBOUND), embryonic);
    }
}

fn key(line: &Line) -> Tuple {
    Tuple {
        src: line.src,
        dst: line.dst,
        sport: line.sport,
        dport: line.dport,
        proto: line.proto,
        icmp_type: line.icmp_type,
        zero: 0,
    }
}

/// A frame: bytes as they come, or behind an Ethernet header and between addresses that fit the hook.
fn frame(hook: Hook, u: &mut Unstructured<'_>) -> Result<Frame> {
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
        let header = super::build::ethernet(from, to, 0x0800);
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
