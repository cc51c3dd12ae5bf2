//! How each wanted difference is told.
//!
//! Owns one predicate for each entry of `table`, by its name, but for those of `life` and `parts`. Each
//! holds as little as it can: what it lets through is not tested.

use super::Event;
use super::{Seen, is_mid_stream, is_near, is_published, is_reset};
use crate::{
    address::{Family, Who, is_gateway, is_hosts, is_private},
    compare::{MAPPING, PRESERVED},
    packet::{ACK, ESP, GRE, PSH, Packet, SYN, TCP, UDP, UDPLITE, checksums},
    site::{Place, container, place_of},
};

/// Whether no flow of either engine begins with the packet, or none that both would begin.
fn cannot_begin(s: &Seen<'_>) -> bool {
    let p = s.sent();
    match p.proto() {
        // In a flow it may not fit; outside of one only an acknowledgement is picked up.
        TCP => p
            .tcp_flags()
            .is_none_or(|flags| !matches!(flags & !PSH, SYN | ACK) || s.flows_before()),
        UDP => {
            checksums(&s.sent.bytes[0]).is_err() || p.l4().len() < 8 || p.l4()[4..6] < [0, 8][..]
        }
        GRE | ESP | UDPLITE => false,
        _ => p.reply_type().is_none(),
    }
}

/// Whether the kernel alone has passed the packet on.
pub(super) fn passed_by_kernel_alone(s: &Seen<'_>) -> bool {
    // What a container says to itself, in either direction, is no answer of the host's.
    let p = s.sent();
    let itself = |k: Packet<'_>| is_hosts(p.dst()) && (k.src(), k.sport()) != (p.dst(), p.dport());
    let elsewhere = s.place() != s.sent.place || s.is_hairpin();
    s.kernel_alone().is_some_and(|k| elsewhere || itself(k))
}

pub(super) fn private_source(s: &Seen<'_>) -> bool {
    let leaks = |k: Packet<'_>| is_private(k.src()) && k.src() == s.sent().src();
    // A routed network is as good an outside to another one.
    matches!(s.place(), Place::Outside | Place::C3)
        && !matches!(s.sent.place, Place::Outside)
        && s.sent.place != s.place()
        && cannot_begin(s)
        && s.kernel_alone().is_some_and(leaks)
}

pub(super) fn stray_to_routed_network(s: &Seen<'_>) -> bool {
    let p = s.sent();
    let as_it_is = |k: Packet<'_>| (k.src(), k.dst()) == (p.src(), p.dst());
    s.place() == Place::C3
        && s.sent.place != Place::C3
        && Who::of(p.dst()) == Some(Who::Container(2))
        && cannot_begin(s)
        && s.kernel_alone().is_some_and(as_it_is)
}

pub(super) fn wrong_checksum(s: &Seen<'_>) -> bool {
    let p = s.sent();
    // Where nothing is translated, the flow that the kernel does not know shows by its answer.
    let begun = || {
        s.history.iter().any(|event| match event {
            Event::Sent { packet, .. } => {
                let q = Packet::new(&packet.bytes[0]);
                let back = (q.proto(), q.dst(), q.dport(), q.src(), q.sport());
                checksums(&packet.bytes[0]).is_err()
                    && back == (p.proto(), p.src(), p.sport(), p.dst(), p.dport())
            }
            Event::Out(_) | Event::Wait(_) => false,
        })
    };
    checksums(&s.sent.bytes[0]).is_err()
        && (s.flow_of_netpath_alone() || s.kernel_alone().is_some())
        || s.netpath_alone().is_some() && begun()
}

pub(super) fn invalid_to_host(s: &Seen<'_>) -> bool {
    let p = s.sent();
    let known = (is_mid_stream(p) && is_published(p, p.dport())) || s.answers();
    is_hosts(p.dst())
        && known
        && s.place() == s.sent.place
        && s.kernel_alone()
            .is_some_and(|k| k.src() == p.dst() && is_reset(k))
}

pub(super) fn gateway_from_outside(s: &Seen<'_>) -> bool {
    s.sent.place == Place::Outside && is_gateway(s.sent().dst()) && s.kernel_alone().is_some()
}

pub(super) fn dropped_before_its_ttl(s: &Seen<'_>) -> bool {
    let there = place_of(s.sent().dst()).and_then(container);
    let here = container(s.sent.place);
    let across = there.is_some_and(|there| here.is_none_or(|here| here.network != there.network));
    s.sent().ttl() == 1
        && (across || cannot_begin(s) || is_mid_stream(s.sent()))
        && s.place() == s.sent.place
        && s.kernel_alone().is_some_and(Packet::is_ttl_error)
}

pub(super) fn hairpin_ttl_expires(s: &Seen<'_>) -> bool {
    let delivered = is_near(s.place()) && s.kernel_alone().is_some();
    let answered = s.place() == s.sent.place && s.netpath_alone().is_some_and(Packet::is_ttl_error);
    let asks = s.is_hairpin() || s.answers();
    is_near(s.sent.place) && s.sent().ttl() == 1 && asks && (delivered || answered)
}

pub(super) fn hairpin_ttl(s: &Seen<'_>) -> bool {
    let lower = |[k, n]: [Packet<'_>; 2]| {
        let quoted = |p: Packet<'_>| p.quoted().map_or(0, Packet::ttl);
        (0..=1).contains(&(i16::from(k.ttl()) - i16::from(n.ttl())))
            && i16::from(quoted(k)).abs_diff(i16::from(quoted(n))) <= 1
    };
    is_near(s.place())
        && is_near(s.sent.place)
        && s.only(&["ttl", "quoted ttl"])
        && s.both().is_some_and(lower)
}

pub(super) fn client_address_between_networks(s: &Seen<'_>) -> bool {
    // To the gateway's address other flows may have the port, to the client's none has.
    const FIELDS: [&str; 8] = [
        PRESERVED,
        MAPPING,
        "src",
        "sport",
        "check",
        "quoted dst",
        "quoted dport",
        "quoted check",
    ];
    let [to_k, to_n] = s.sent.bytes.each_ref().map(|b| Packet::new(b).dst());
    let answer = is_gateway(to_k)
        && matches!(Who::of(to_n), Some(Who::Container(_)))
        && s.place() == s.sent.place
        && s.kernel_alone().is_some_and(|k| k.src() == to_k);
    let question = s.place() == Place::C1
        && s.sent.place == Place::C3
        && is_hosts(s.sent().dst())
        && s.only(&FIELDS)
        && s.both().is_some_and(|[k, n]| {
            let p = s.sent();
            let moved_by_kernel = n.sport() == p.sport() || !s.has(MAPPING);
            is_gateway(k.src()) && n.src() == p.src() && moved_by_kernel
        });
    let question = question
        || s.place() == Place::C3
            && is_near(s.sent.place)
            && Who::of(s.sent().dst()) == Some(Who::Container(2))
            && s.only(&FIELDS)
            && s.both()
                .is_some_and(|[k, n]| is_gateway(k.src()) && n.src() == s.sent().src());
    // To the kernel the gateway's port is the masqueraded client's, whoever asks from where that asked.
    let p = s.sent();
    let lent = s.sent.place == Place::C1
        && is_gateway(to_k)
        && s.history.iter().any(|event| match event {
            Event::Out(out) => {
                let [k, n] = out.bytes.each_ref().map(|b| Packet::new(b));
                (k.proto(), k.src(), k.sport(), k.dport())
                    == (p.proto(), p.dst(), p.dport(), p.sport())
                    && n.src() != k.src()
            }
            Event::Sent { .. } | Event::Wait(_) => false,
        })
        && match s.place() {
            // The kernel's host may refuse what does not fit the client's connection.
            Place::C1 => s.flow_of_netpath_alone(),
            Place::C3 => s.kernel_alone().is_some(),
            Place::C2 | Place::Outside => false,
        };
    question || answer || lent
}

pub(super) fn udplite_checksum(s: &Seen<'_>) -> bool {
    let untranslated = |k: Packet<'_>| k.src() == s.sent().src() && k.dst() == s.sent().dst();
    s.sent().proto() == UDPLITE
        && (s.both().is_some_and(|[k, _]| untranslated(k))
            || s.kernel_alone().is_some_and(untranslated)
            || s.flow_of_netpath_alone())
}

pub(super) fn second_of_a_protocol(s: &Seen<'_>) -> bool {
    s.place() == s.sent.place
        && matches!(s.sent().proto(), GRE | ESP)
        && s.netpath_alone().is_some_and(Packet::is_refusal)
}

pub(super) fn hairpin_error_quotes_translation(s: &Seen<'_>) -> bool {
    let of_host = |p: Packet<'_>| p.is_ttl_error() && place_of(p.src()).is_none();
    s.place() == s.sent.place
        && s.sent().ttl() == 1
        && s.is_hairpin()
        && s.both().is_some_and(|[k, n]| of_host(k) && of_host(n))
}

pub(super) fn untranslated_between_containers(s: &Seen<'_>) -> bool {
    s.answers()
        && is_near(s.place())
        && is_near(s.sent.place)
        && s.sent().proto() == TCP
        && s.kernel_alone()
            .is_some_and(|k| (k.src(), k.dst()) == (s.sent().src(), s.sent().dst()))
}

pub(super) fn redirect_between_neighbours(s: &Seen<'_>) -> bool {
    is_near(s.place())
        && is_near(s.sent.place)
        && s.sent().icmp().is_some_and(|(kind, _)| kind == 5)
        && s.netpath_alone()
            .is_some_and(|n| (n.src(), n.dst()) == (s.sent().src(), s.sent().dst()))
}

pub(super) fn router_of_an_error(s: &Seen<'_>) -> bool {
    let p = s.sent();
    let by_router = |[k, n]: [Packet<'_>; 2]| n.src() == p.src() && k.src() != p.src();
    p.quoted().is_some_and(|q| q.dst() != p.src())
        && s.place() == Place::C1
        && s.only(&["src"])
        && s.both().is_some_and(by_router)
}

pub(super) fn impossible_mtu(s: &Seen<'_>) -> bool {
    let p = s.sent();
    let least = match p.family() {
        Family::V4 => 68,
        Family::V6 => 1280,
    };
    p.quoted().is_some() && p.mtu().is_some_and(|mtu| mtu < least) && s.kernel_alone().is_some()
}

pub(super) fn no_checksum(s: &Seen<'_>) -> bool {
    let p = s.sent();
    p.proto() == UDP && p.l4().get(6..8) == Some(&[0, 0]) && s.kernel_alone().is_some()
}
