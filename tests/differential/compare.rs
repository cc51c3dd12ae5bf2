//! Whether two engines have made the same of a packet.
//!
//! Owns pairing and comparing what came out, and the ports that both chose afresh. Which
//! differences are wanted is `differences`' to say.

use std::collections::{HashMap, HashSet};

use netpath_common::testing::{Addr, Datagram};

use crate::{
    packet::{Packet, checksums},
    site::Place,
};

/// A packet by each engine, and where.
#[derive(Clone, Debug)]
pub(crate) struct Both {
    pub(crate) place: Place,
    /// Of the kernel, of netpath.
    pub(crate) bytes: [Vec<u8>; 2],
}

/// Something that one engine did otherwise than the other.
#[derive(Clone, Debug)]
pub(crate) struct Difference {
    pub(crate) place: Place,
    pub(crate) kernel: Option<Vec<u8>>,
    pub(crate) netpath: Option<Vec<u8>>,
    /// What differs where both sent something.
    pub(crate) fields: Vec<String>,
}

/// What came out at a place.
pub(crate) type Output = (Place, Vec<u8>);

/// A conversation by its original direction: sender, protocol with ICMP type, addresses, ports.
type Flow = (Place, u8, u8, Addr, Addr, u16, u16);

/// The outside ports and identifiers that both engines chose, since the flow's own was taken.
#[derive(Default)]
pub(crate) struct Ports {
    flows: HashMap<Flow, (u16, u16)>,
    pairs: HashSet<(u8, u16, u16)>,
    /// How many flows could not keep theirs.
    pub(crate) chosen: u64,
}

/// One engine kept the port, the other one did not.
pub(crate) const PRESERVED: &str = "preserved by one alone";

const FIELDS_OF_PORTS: [&str; 6] = [
    "sport",
    "dport",
    "icmp id",
    "quoted sport",
    "quoted dport",
    "quoted icmp id",
];

impl Ports {
    /// Learns by which port a packet has gone on.
    ///
    /// An engine may keep a port where the other one keeps it, and change it where the other one
    /// changes it, to one of the same class; the pair of new ones then stands for that flow.
    fn left(&mut self, sent: &Both, out: &Both) -> Result<(), String> {
        let [was, _] = sent.bytes.each_ref().map(|b| Packet::new(b));
        let [k, n] = out.bytes.each_ref().map(|b| Packet::new(b));
        let port = |p: Packet<'_>| p.sport().or_else(|| p.id());
        let (Some(own), Some(k), Some(n)) = (port(was), port(k), port(n)) else {
            return Ok(());
        };
        let kind = was.icmp().map_or(0, |(kind, _)| kind);
        let flow = (
            sent.place,
            was.proto(),
            kind,
            was.src(),
            was.dst(),
            own,
            was.dport().unwrap_or(0),
        );
        if let Some((old_k, old_n)) = self.flows.insert(flow, (k, n))
            && (old_k != k) != (old_n != n)
        {
            return Err(format!("mapping {old_k} and {old_n}, now {k} and {n}"));
        }
        if k == n {
            return Ok(());
        }
        if k == own || n == own {
            return Err(PRESERVED.into());
        }
        if kind == 0 && class(k) != class(n) {
            return Err("class of the new port".into());
        }
        if self.pairs.insert((was.proto(), k, n)) {
            self.chosen += 1;
        }
        Ok(())
    }

    fn same(&self, proto: u8, k: &[u8], n: &[u8]) -> bool {
        let port = |b: &[u8]| u16::from_be_bytes([b[0], b[1]]);
        self.pairs.contains(&(proto, port(k), port(n)))
    }
}

const fn class(port: u16) -> u8 {
    match port {
        0..=511 => 0,
        512..=1023 => 1,
        _ => 2,
    }
}

/// What of two packets differs.
fn differing(sent: &Both, out: &Both, ports: &mut Ports) -> Vec<String> {
    let [k, n] = out.bytes.each_ref().map(|b| Packet::new(b));
    let mut fields = Vec::new();
    // The host's answers carry the ports of the question the other way round.
    let is_answer = out.place == sent.place && k.dport() == Packet::new(&sent.bytes[0]).sport();
    if !is_answer && let Err(what) = ports.left(sent, out) {
        fields.push(what);
    }
    let (of_k, of_n) = (k.fields(), n.fields());
    let names = |of: &[(String, Vec<u8>)]| of.iter().map(|(n, _)| n.clone()).collect::<Vec<_>>();
    if names(&of_k) != names(&of_n) {
        return vec!["kind of packet".into()];
    }
    let mut renamed = false;
    for ((name, of_k), (_, of_n)) in of_k.into_iter().zip(of_n) {
        if of_k == of_n {
            continue;
        }
        if FIELDS_OF_PORTS.contains(&name.as_str()) {
            let proto = k.quoted().unwrap_or(k).proto();
            if ports.same(proto, &of_k, &of_n) {
                renamed = true;
                continue;
            }
        }
        fields.push(name);
    }
    if renamed {
        // They cover the ports; that each is right is the oracle's to say.
        fields.retain(|name| name != "check" && name != "quoted check");
    }
    // A forwarded packet keeps its identification; the host numbers its own as it likes.
    let ids = [k.ip_id(), n.ip_id()];
    let own = sent.bytes.each_ref().map(|b| Packet::new(b).ip_id());
    if !is_answer && ids[0] != ids[1] && (ids[0] == own[0] || ids[1] == own[1]) {
        fields.push("identification".into());
    }
    let right = checksums(&sent.bytes[0]).is_ok();
    for (name, bytes) in ["kernel", "netpath"].iter().zip(&out.bytes) {
        if right && let Err(what) = checksums(bytes) {
            fields.push(format!("{name}: {what} wrong"));
        }
    }
    fields
}

/// Compares what came of one packet. What both let out is in the first list, in the kernel's order.
pub(crate) fn compare(
    sent: &Both,
    kernel: Vec<Output>,
    netpath: Vec<Output>,
    ports: &mut Ports,
) -> (Vec<Both>, Vec<Difference>) {
    let (mut pairs, mut differences) = (Vec::new(), Vec::new());
    for place in crate::site::PLACES {
        let of = |all: &[Output]| {
            let here = all.iter().filter(|(at, _)| *at == place);
            here.map(|(_, bytes)| bytes.clone()).collect::<Vec<_>>()
        };
        let (mut k, mut n) = (of(&kernel), of(&netpath));
        if let Some(what) = fragmented_otherwise(&k, &n) {
            differences.push(Difference {
                place,
                kernel: k.first().cloned(),
                netpath: n.first().cloned(),
                fields: vec![what.into()],
            });
        }
        (k, n) = (reassembled(k), reassembled(n));
        let both = k.len().min(n.len());
        let (more_k, more_n) = (k.split_off(both), n.split_off(both));
        for (k, n) in k.into_iter().zip(n) {
            let out = Both {
                place,
                bytes: [k, n],
            };
            let fields = differing(sent, &out, ports);
            if !fields.is_empty() {
                let [k, n] = out.bytes.clone();
                differences.push(Difference {
                    place,
                    kernel: Some(k),
                    netpath: Some(n),
                    fields,
                });
            }
            pairs.push(out);
        }
        let alone = more_k
            .into_iter()
            .map(|b| (Some(b), None))
            .chain(more_n.into_iter().map(|b| (None, Some(b))));
        for (kernel, netpath) in alone {
            differences.push(Difference {
                place,
                kernel,
                netpath,
                fields: Vec::new(),
            });
        }
    }
    (pairs, differences)
}

/// Bytes that fragments carry, and whether they were in order.
type Shape = Vec<(u16, usize)>;

/// How the fragments of both differ, if each has a whole datagram of them.
fn fragmented_otherwise(k: &[Vec<u8>], n: &[Vec<u8>]) -> Option<&'static str> {
    let shape = |all: &[Vec<u8>]| -> Shape {
        let parts = all.iter().map(|b| Packet::new(b));
        parts.map(|p| (p.fragment(), p.l4().len())).collect()
    };
    let (mut of_k, mut of_n) = (shape(k), shape(n));
    let any = of_k.iter().chain(&of_n).any(|(fragment, _)| *fragment != 0);
    let whole = |all: &[Vec<u8>]| {
        let all = reassembled(all.to_vec());
        !all.is_empty() && all.iter().all(|b| Packet::new(b).fragment() == 0)
    };
    if !any || of_k == of_n || !whole(k) || !whole(n) {
        return None;
    }
    of_k.sort_unstable();
    of_n.sort_unstable();
    Some(if of_k == of_n { ORDER } else { BOUNDARIES })
}

/// The same fragments in another order.
pub(crate) const ORDER: &str = "order of fragments";
/// Fragments of another size, or none.
pub(crate) const BOUNDARIES: &str = "boundaries of fragments";

/// Puts fragments together, in the place of the first one of theirs. What is incomplete stays as it
/// is.
pub(crate) fn reassembled(all: Vec<Vec<u8>>) -> Vec<Vec<u8>> {
    let mut parts: Vec<_> = all
        .iter()
        .filter(|b| Packet::new(b).fragment() != 0)
        .collect();
    parts.sort_by_key(|b| Packet::new(b).fragment() & 0x1fff);
    let (Some(first), Some(last)) = (parts.first(), parts.last()) else {
        return all;
    };
    let mut payload = Vec::new();
    for part in &parts {
        let part = Packet::new(part);
        if usize::from(part.fragment() & 0x1fff) * 8 != payload.len() {
            return all;
        }
        payload.extend_from_slice(part.l4());
    }
    if Packet::new(last).fragment() & 0x2000 != 0 {
        return all;
    }
    let head = Packet::new(first);
    let mut whole = Datagram::new(head.src(), head.dst(), head.proto(), payload)
        .ttl(head.ttl())
        .id(head.ip_id());
    if first[6] & 0x40 != 0 {
        whole = whole.dont_fragment();
    }
    // None of them has differed from the first one in these.
    let alike = parts.iter().map(|b| Packet::new(b)).all(|p| {
        (p.src(), p.dst(), p.proto(), p.ttl(), p.ip_id())
            == (
                head.src(),
                head.dst(),
                head.proto(),
                head.ttl(),
                head.ip_id(),
            )
    });
    if !alike {
        return all;
    }
    let others = all.iter().filter(|b| Packet::new(b).fragment() == 0);
    std::iter::once(whole.bytes())
        .chain(others.cloned())
        .collect()
}
