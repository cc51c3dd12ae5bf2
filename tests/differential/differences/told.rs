//! How each wanted difference is told.
//!
//! Owns one predicate for each entry of `table`, by its name. Each holds as little as it can: what it
//! lets through is not tested.

use super::{Event, Seen, is_mid_stream, is_near, is_published, is_reset};
use crate::{
    address::{Family, Who, is_gateway, is_hosts, is_private},
    compare::{IDENTIFICATION, PRESERVED},
    fragments::{BOUNDARIES, HEADER, ORDER},
    packet::{ACK, ESP, FIN, GRE, MORE, PSH, Packet, RST, SYN, TCP, UDP, UDPLITE, checksums},
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

/// Whether the kernel has made a new flow of a packet in the middle of a connection.
fn picked_up(s: &Seen<'_>) -> bool {
    let other_port = |[k, n]: [Packet<'_>; 2]| k.src() == n.src() && k.sport() != n.sport();
    is_mid_stream(s.sent()) && s.both().is_some_and(other_port)
}

/// Whether the kernel alone has passed the packet on.
fn passed_by_kernel_alone(s: &Seen<'_>) -> bool {
    (s.place() != s.sent.place || s.is_hairpin()) && s.kernel_alone().is_some()
}

pub(super) fn private_source(s: &Seen<'_>) -> bool {
    let leaks = |k: Packet<'_>| is_private(k.src()) && k.src() == s.sent().src();
    s.place() == Place::Outside
        && s.sent.place != Place::Outside
        && cannot_begin(s)
        && s.kernel_alone().is_some_and(leaks)
}

pub(super) fn wrong_checksum(s: &Seen<'_>) -> bool {
    checksums(&s.sent.bytes[0]).is_err()
        && (s.flow_of_netpath_alone() || s.kernel_alone().is_some())
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
    const FIELDS: [&str; 7] = [
        PRESERVED,
        "src",
        "sport",
        "check",
        "quoted dst",
        "quoted dport",
        "quoted check",
    ];
    let [to_k, to_n] = s.sent.bytes.each_ref().map(|b| Packet::new(b).dst());
    let answer = is_gateway(to_k)
        && Who::of(to_n) == Some(Who::Container(2))
        && s.place() == s.sent.place
        && s.kernel_alone().is_some_and(|k| k.src() == to_k);
    let question = s.place() == Place::C1
        && s.sent.place == Place::C3
        && is_hosts(s.sent().dst())
        && s.only(&FIELDS)
        && s.both()
            .is_some_and(|[k, n]| is_gateway(k.src()) && n.src() == s.sent().src());
    question || answer
}

pub(super) fn published_port_as_source(s: &Seen<'_>) -> bool {
    let own = s.sent().sport();
    let changed = |[k, n]: [Packet<'_>; 2]| k.sport() == own && n.sport() != own;
    let out = s.place() == Place::Outside && s.only(&[PRESERVED, "sport", "check"]);
    let itself = s.place() == s.sent.place
        && s.is_hairpin()
        && s.only(&[PRESERVED, "ttl", "sport", "check"]);
    is_published(s.sent(), own) && (out || itself) && s.both().is_some_and(changed)
}

pub(super) fn pickup_needs_own_port(s: &Seen<'_>) -> bool {
    let own = s.sent().sport();
    let changed = |k: Packet<'_>| k.sport() != own || (is_hosts(k.src()) && is_published(k, own));
    is_mid_stream(s.sent()) && passed_by_kernel_alone(s) && s.kernel_alone().is_some_and(changed)
}

pub(super) fn fragment_boundaries(s: &Seen<'_>) -> bool {
    s.has(BOUNDARIES) && s.only(&[BOUNDARIES])
}

pub(super) fn atomic_fragment(s: &Seen<'_>) -> bool {
    // As much of it as an error has room for.
    const QUOTED: [&str; 3] = [
        "quoted length",
        "quoted extension headers",
        "quoted payload",
    ];
    let (own, here) = (s.sent().ip_id(), s.place() == s.sent.place);
    let taken_off = |[k, n]: [Packet<'_>; 2]| k.ip_id().is_none() && n.ip_id() == own;
    let quoted = |both: [Packet<'_>; 2]| match both.map(Packet::quoted) {
        [Some(k), Some(n)] => here && taken_off([k, n]),
        _ => false,
    };
    own.is_some()
        && s.sent().fragment() == 0
        && s.both().is_some_and(|both| {
            s.only(&[HEADER]) && taken_off(both) || s.only(&QUOTED) && quoted(both)
        })
}

pub(super) fn fragment_identification(s: &Seen<'_>) -> bool {
    let own = s.sent().ip_id();
    s.only(&[IDENTIFICATION])
        && s.both()
            .is_some_and(|[k, n]| n.ip_id() == own && k.ip_id() != own && k.ip_id().is_some())
}

pub(super) fn fragment_order(s: &Seen<'_>) -> bool {
    s.has(ORDER) && s.only(&[ORDER])
}

pub(super) fn incomplete_datagram(s: &Seen<'_>) -> bool {
    s.sent().fragment() != 0 && s.netpath_alone().is_some_and(|n| n.fragment() & MORE != 0)
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

pub(super) fn reset_of_unanswered(s: &Seen<'_>) -> bool {
    // Since it began, which may have been again after a silence.
    let one_sided = |flags: &Vec<(bool, u8)>| {
        let reset = flags.iter().position(|(_, flags)| flags & RST != 0);
        reset.is_some_and(|at| {
            let mut before = flags.iter().take(at).map(|(here, _)| here);
            before
                .next()
                .is_some_and(|first| before.all(|here| here == first))
        })
    };
    let p = s.sent();
    // The port is free to the kernel, also for another container.
    let held = s.has(PRESERVED)
        && s.both()
            .is_some_and(|[k, n]| k.sport() == p.sport() && n.sport() != p.sport())
        && s.sent_before(|_, q| {
            is_reset(q) && (q.src(), q.sport()) == (p.dst(), p.dport())
                || is_reset(q) && (q.dst(), q.dport()) == (p.dst(), p.dport())
        });
    // Both sides of what a container says to itself are sent in one place.
    let itself = s.sent.place == Place::C1
        && is_hosts(p.dst())
        && s.sent_before(|place, q| place == Place::C1 && is_reset(q))
        && s.flow_of_netpath_alone();
    let same = s.flow_of_netpath_alone() || picked_up(s) || passed_by_kernel_alone(s);
    held || itself || (s.lives().iter().any(one_sided) && same)
}

pub(super) fn unacknowledged_data(s: &Seen<'_>) -> bool {
    let flags = s.flags();
    let both_ways = [true, false].map(|way| flags.iter().any(|(here, _)| *here == way));
    let open = flags.iter().all(|(_, flags)| flags & FIN == 0);
    // What a container says to itself is heard half in each of two conversations.
    let itself = s.sent.place == Place::C1 && is_hosts(s.sent().dst());
    open && (both_ways == [true; 2] || itself)
        && (300..432_000).contains(&s.silence())
        && (s.flow_of_netpath_alone() || picked_up(s) || passed_by_kernel_alone(s))
}

pub(super) fn expired_ttl_makes_flow(s: &Seen<'_>) -> bool {
    let p = s.sent();
    let to = |p: Packet<'_>| (p.proto(), p.dst(), p.sport(), p.dport(), p.id());
    let died = s.history.iter().any(|event| match event {
        Event::Sent {
            packet,
            passed: false,
        } => {
            let q = Packet::new(&packet.bytes[0]);
            q.ttl() == 1 && to(q) == to(p)
        }
        Event::Sent { .. } | Event::Out(_) | Event::Wait(_) => false,
    });
    let own = |q: Packet<'_>| (q.sport(), q.id()) == (p.sport(), p.id());
    let taken = s.only(&[PRESERVED, "sport", "icmp id", "check"])
        && s.both().is_some_and(|[k, n]| own(k) && !own(n));
    // A pickup to the kernel, to netpath what cannot follow a SYN.
    let follows = is_mid_stream(p) && passed_by_kernel_alone(s);
    died && (s.flow_of_netpath_alone() || taken || follows)
}

pub(super) fn mapping_of_another_flow(s: &Seen<'_>) -> bool {
    let p = s.sent();
    let from = |p: Packet<'_>| (p.proto(), p.src(), p.sport().or_else(|| p.id()));
    let port = |p: Packet<'_>| p.sport().or_else(|| p.id());
    let given = |k: Packet<'_>| {
        s.history.windows(2).any(|two| match two {
            [Event::Sent { packet, .. }, Event::Out(out)] => {
                let (was, out) = (Packet::new(&packet.bytes[0]), Packet::new(&out.bytes[0]));
                from(was) == from(p) && port(out) == port(k)
            }
            _ => false,
        })
    };
    s.place() == Place::Outside
        && s.only(&[PRESERVED, "sport", "icmp id", "check"])
        && s.both()
            .is_some_and(|[k, n]| port(k) != port(p) && port(n) == port(p) && given(k))
}

pub(super) fn redirect_between_neighbours(s: &Seen<'_>) -> bool {
    is_near(s.place())
        && is_near(s.sent.place)
        && s.sent().icmp().is_some_and(|(kind, _)| kind == 5)
        && s.netpath_alone()
            .is_some_and(|n| (n.src(), n.dst()) == (s.sent().src(), s.sent().dst()))
}

pub(super) fn reset_after_odd_numbers(s: &Seen<'_>) -> bool {
    let one = passed_by_kernel_alone(s) || s.flow_of_netpath_alone();
    s.has_odd_numbers() && is_reset(s.sent()) && one
}

pub(super) fn hairpin_fragments_out_of_order(s: &Seen<'_>) -> bool {
    let broken = |[k, n]: [Packet<'_>; 2]| k.fragment() == 0 && n.fragment() != 0;
    let more = |n: Packet<'_>| n.fragment() != 0;
    s.place() != Place::Outside
        && s.sent.place != Place::Outside
        && s.sent.bytes[0].len() > 1100
        && (s.both().is_some_and(broken) || s.netpath_alone().is_some_and(more))
}

pub(super) fn neighbours_untracked(s: &Seen<'_>) -> bool {
    let p = s.sent();
    let to_published = |p: Packet<'_>| is_hosts(p.dst()) || place_of(p.dst()) == Some(Place::C1);
    let directly = s.sent_before(|place, q| {
        place != Place::Outside
            && (q.proto(), q.sport()) == (p.proto(), p.sport())
            && to_published(q)
    });
    directly
        && is_near(s.sent.place)
        && is_near(s.place())
        && to_published(p)
        && s.only(&[PRESERVED, "ttl", "sport", "check"])
        && s.both()
            .is_some_and(|[k, n]| k.sport() != p.sport() && n.sport() == p.sport())
}

pub(super) fn reset_shortens_life(s: &Seen<'_>) -> bool {
    let passed = s.flags();
    (10..432_000).contains(&s.silence())
        && passed.last().is_some_and(|(_, flags)| flags & RST != 0)
        && (s.flow_of_netpath_alone() || picked_up(s) || passed_by_kernel_alone(s))
}

pub(super) fn router_of_an_error(s: &Seen<'_>) -> bool {
    let p = s.sent();
    let by_router = |[k, n]: [Packet<'_>; 2]| n.src() == p.src() && k.src() != p.src();
    p.quoted().is_some_and(|q| q.dst() != p.src())
        && s.place() == Place::C1
        && s.only(&["src"])
        && s.both().is_some_and(by_router)
}

pub(super) fn reset_after_repeated_syn(s: &Seen<'_>) -> bool {
    s.began_twice() && is_reset(s.sent()) && passed_by_kernel_alone(s)
}

pub(super) fn host_flows_untracked(s: &Seen<'_>) -> bool {
    let p = s.sent();
    let port = |p: Packet<'_>| p.sport().or_else(|| p.id());
    let from_there = s.sent_before(|place, q| {
        place == Place::Outside
            && Who::of(q.dst()) == Some(Who::Host)
            && (q.proto(), q.src(), q.sport(), q.dport())
                == (p.proto(), p.dst(), p.dport(), p.sport())
    });
    let out = from_there && s.place() == Place::Outside;
    // What a container says to its gateway is a conversation of the host as well.
    let itself = s.is_hairpin()
        && s.place() == s.sent.place
        && s.sent_before(|place, q| {
            place == s.sent.place && is_gateway(q.dst()) && q.dport() == p.sport()
        });
    (out || itself)
        && s.both()
            .is_some_and(|[k, n]| port(k) != port(p) && port(n) == port(p))
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
