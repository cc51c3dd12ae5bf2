//! Whether two engines have made the same of a packet.
//!
//! Owns pairing and comparing what came out, and the ports that both chose afresh. Which
//! differences are wanted is `differences`' to say.

use std::{
    collections::{HashMap, HashSet},
    net::IpAddr,
};

use crate::{
    address::Family,
    fragments::{
        BOUNDARIES, HEADER, as_whole, fragmented_otherwise, is_one_in_fragments, reassembled,
    },
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

impl Both {
    fn differs(&self, fields: Vec<String>) -> Difference {
        let [kernel, netpath] = self.bytes.clone().map(Some);
        Difference {
            place: self.place,
            kernel,
            netpath,
            fields,
        }
    }
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
type Flow = (Place, u8, u8, IpAddr, IpAddr, u16, u16);

/// The outside ports and identifiers that both engines chose, since the flow's own was taken.
#[derive(Default)]
pub(crate) struct Ports {
    flows: HashMap<Flow, (u16, u16)>,
    pairs: HashSet<(Family, u8, u16, u16)>,
    /// How many flows could not keep theirs.
    pub(crate) chosen: u64,
}

/// One engine kept the port, the other one did not.
pub(crate) const PRESERVED: &str = "preserved by one alone";
/// A flow goes on under another port than before, by one alone.
pub(crate) const MAPPING: &str = "another port than before by one alone";
/// One engine kept the sender's identification, the other one did not.
pub(crate) const IDENTIFICATION: &str = "identification";

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
        let before = self.flows.insert(flow, (k, n));
        let moved = before.is_some_and(|(old_k, old_n)| (old_k != k) != (old_n != n));
        if k == n {
            return if moved { Err(MAPPING.into()) } else { Ok(()) };
        }
        if k == own || n == own {
            return Err(PRESERVED.into());
        }
        if kind == 0 && class(k) != class(n) {
            return Err("class of the new port".into());
        }
        if self.pairs.insert((was.family(), was.proto(), k, n)) {
            self.chosen += 1;
        }
        if moved {
            return Err(MAPPING.into());
        }
        Ok(())
    }

    fn same(&self, of: Packet<'_>, k: &[u8], n: &[u8]) -> bool {
        let port = |b: &[u8]| u16::from_be_bytes([b[0], b[1]]);
        let pair = (of.family(), of.proto(), port(k), port(n));
        self.pairs.contains(&pair)
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
    let is_answer = is_of_the_host(sent, out);
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
        if FIELDS_OF_PORTS.contains(&name.as_str())
            && ports.same(k.quoted().unwrap_or(k), &of_k, &of_n)
        {
            renamed = true;
            continue;
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
        fields.push(IDENTIFICATION.into());
    }
    let right = checksums(&sent.bytes[0]).is_ok();
    for (name, bytes) in ["kernel", "netpath"].iter().zip(&out.bytes) {
        if right && let Err(what) = checksums(bytes) {
            fields.push(format!("{name}: {what} wrong"));
        }
    }
    fields
}

/// Whether the host has answered the packet itself, or complained of it, instead of passing it on.
pub(crate) fn is_of_the_host(sent: &Both, out: &Both) -> bool {
    let [p, k] = [sent, out].map(|both| Packet::new(&both.bytes[0]));
    let swapped =
        (k.src(), k.sport(), k.dst(), k.dport()) == (p.dst(), p.dport(), p.src(), p.sport());
    let complains = k.quoted().is_some() && p.quoted().is_none();
    out.place == sent.place && (swapped || complains)
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
        let shape = fragmented_otherwise(&k, &n);
        if let Some(what) = shape {
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
            let mut out = Both {
                place,
                bytes: [k, n],
            };
            if is_one_in_fragments(&out.bytes) {
                if shape != Some(BOUNDARIES) {
                    differences.push(out.differs(vec![HEADER.into()]));
                }
                out.bytes = out.bytes.map(as_whole);
            }
            // What has become of the datagram, and how its fragments are told from others, are
            // different questions.
            let (of_fragments, fields): (Vec<_>, Vec<_>) = differing(sent, &out, ports)
                .into_iter()
                .partition(|field| field == IDENTIFICATION);
            for fields in [of_fragments, fields] {
                if !fields.is_empty() {
                    differences.push(out.differs(fields));
                }
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
