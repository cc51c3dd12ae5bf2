//! Routed networks, bindings and balanced ports of an input, and how they change while flows live.
//!
//! Owns what user space would have made of them. What must hold then is the parent's.

use arbitrary::{Result, Unstructured};

use super::{
    super::{
        host::Host,
        tables::MemTables,
        topology::{C1, C2, C3, NET1, NET2, RULE_DNS, RULE_WEB, UPLINK, endpoint_record},
    },
    input::{Names, port},
};
use crate::{
    addr::Addr,
    conntrack::{Budget, CtEntry, FLAG_RECORD, created_at},
    datapath::{Tables as _, generation},
    nat::{inside_key, outside_key},
    packet::Family,
    publish::{Backend, Backends},
    records::{
        CONFIG_BINDINGS, NETWORK_BINDINGS, NETWORK_MASQUERADE, NETWORK_ROUTED, Published,
        PublishedKey,
    },
    tuple::{self, Tuple},
};

/// Whether the first byte of an input says that it has such things. Of the others nothing changes.
pub(super) const fn is_opened(seed: u8) -> bool {
    seed >> 4 == 0b1010
}

/// The rule of a backend.
const fn rule_of(slot: u16) -> u16 {
    10 + slot
}

/// Chooses how networks are open, and what else is there.
pub(super) fn configure(host: &mut Host, u: &mut Unstructured<'_>) -> Result<()> {
    let (modes, more): (u8, u8) = (u.arbitrary()?, u.arbitrary()?);
    open_as(host, modes);
    publish(&mut host.tables, more);
    publish(&mut host.tables6, more);
    balance(host, more >> 2);
    for _ in 0..more >> 5 & 3 {
        bind(&host.tables, u)?;
        bind(&host.tables6, u)?;
    }
    Ok(())
}

/// One change while flows live.
pub(super) fn change(host: &mut Host, u: &mut Unstructured<'_>) -> Result<()> {
    let (what, how): (u8, u8) = (u.arbitrary()?, u.arbitrary()?);
    match what % 4 {
        0 => {
            open_as(host, how);
            // User space ends what there was: it makes the containers anew.
            for endpoints in [&mut host.tables.endpoints, &mut host.tables6.endpoints] {
                for e in endpoints.iter_mut() {
                    e.generation += 1;
                }
            }
        }
        1 => balance(host, how),
        2 => {
            let c = [C1, C2, C3][usize::from(how % 3)];
            for gone in [&mut host.tables.gone, &mut host.tables6.gone] {
                if !gone.remove(&c.ifindex) {
                    gone.insert(c.ifindex);
                }
            }
        }
        _ => {
            for uplinks in [&mut host.tables.uplinks, &mut host.tables6.uplinks] {
                uplinks[usize::from(UPLINK)].generation += 1;
            }
        }
    }
    Ok(())
}

/// Two bits a network: translated, with bindings, routed.
fn open_as(host: &mut Host, modes: u8) {
    let mut binds = 0;
    for (network, mode) in [(NET1, modes & 3), (NET2, modes >> 2 & 3)] {
        let flags = match mode {
            1 => NETWORK_MASQUERADE | NETWORK_BINDINGS,
            2 => NETWORK_ROUTED,
            _ => NETWORK_MASQUERADE,
        };
        binds |= flags & NETWORK_BINDINGS;
        for networks in [&mut host.tables.networks, &mut host.tables6.networks] {
            let record = &mut networks[usize::from(network)].flags;
            *record &= !(NETWORK_MASQUERADE | NETWORK_BINDINGS | NETWORK_ROUTED);
            *record |= flags;
        }
    }
    for config in [&mut host.tables.config, &mut host.tables6.config] {
        let flags = &mut config.as_mut().unwrap().flags;
        *flags &= !CONFIG_BINDINGS;
        *flags |= if binds == 0 { 0 } else { CONFIG_BINDINGS };
    }
}

/// Opens ports at containers' own addresses.
fn publish<A: Names>(t: &mut MemTables<A>, bits: u8) {
    for (bit, c, proto, port, rule) in [
        (1, C1, tuple::TCP, 80, RULE_WEB),
        (2, C3, tuple::UDP, 53, RULE_DNS),
    ] {
        if bits & bit != 0 {
            let addr = A::of_endpoint(&endpoint_record(&c));
            t.publish_range(addr, (port, port), proto, (&c, port), rule);
            t.set_reserved(proto, port, false);
        }
    }
}

/// Who of the three shares TCP and UDP 5001, by bits.
fn balance(host: &mut Host, who: u8) {
    balance_of(&mut host.tables, who);
    balance_of(&mut host.tables6, who);
}

fn balance_of<A: Addr>(t: &mut MemTables<A>, who: u8) {
    let mut backends = Backends::default();
    for (i, c) in [C1, C2, C3].into_iter().enumerate() {
        let rule = rule_of(c.slot);
        let is_there = who >> i & 1 != 0;
        let was = t.backends[2].list[i].endpoint != 0;
        if is_there != was {
            t.rules[usize::from(rule)].generation += 1;
        }
        if is_there {
            backends.list[i] = Backend {
                endpoint: c.slot,
                rule,
                port: 80,
                zero: 0,
            };
        }
    }
    backends.fill();
    t.backends[2] = backends;
    for proto in [tuple::TCP, tuple::UDP] {
        let key = PublishedKey {
            addr: A::NONE,
            port: 5001,
            proto,
            zero: 0,
        };
        let shared = Published {
            last: 5001,
            group: 2,
            ..Published::default()
        };
        t.set_published(key, shared);
    }
}

/// Puts a binding into the table, of which no flow is there yet.
fn bind<A: Names>(t: &MemTables<A>, u: &mut Unstructured<'_>) -> Result<()> {
    let c = *u.choose(&[C1, C2, C3])?;
    let (inside, outside) = (port(u)?, port(u)?);
    let proto = *u.choose(&[tuple::TCP, tuple::UDP])?;
    let addr = A::of_endpoint(&endpoint_record(&c));
    let index = inside_key(addr, inside, A::OUTSIDE, proto);
    let record = outside_key(A::OUTSIDE, outside, proto);
    if t.entry(&index).is_some() || t.entry(&record).is_some() {
        return Ok(());
    }
    let entry = |to_be: Tuple<A>, from, to, flags| CtEntry {
        src: to_be.src,
        dst: to_be.dst,
        sport: to_be.sport,
        dport: to_be.dport,
        from,
        to,
        uplink: UPLINK as u8,
        flags,
        state: 0x5b00,
        generation: generation(t, c.slot, 0, UPLINK, 0),
        created: created_at(t.now()),
        stamp: t.now(),
        ..CtEntry::default()
    };
    t.put_entry(record, entry(index.inverse(), 0, c.slot, FLAG_RECORD));
    t.put_entry(index, entry(record.inverse(), c.slot, 0, 0));
    t.add_live(Budget::ports(c.slot), 1);
    t.set_translated(proto, outside);
    Ok(())
}

/// Whether nothing of the network that an address is in is translated.
pub(super) fn is_routed<A: Family>(t: &MemTables<A>, addr: &A) -> bool {
    let network = t
        .subnet(addr)
        .and_then(|slot| t.networks.get(usize::from(slot)));
    network.is_some_and(|n| n.flags & NETWORK_ROUTED != 0)
}
