//! How the differences are told that come of what flows the engines know, and by which ports.
//!
//! Owns the predicates of those entries of `table`, as `told` does of the others.

use super::{
    Event, Seen, Talk, is_mid_stream, is_near, is_published, is_reset, told::passed_by_kernel_alone,
};
use crate::{
    address::{Who, is_gateway, is_hosts},
    compare::{MAPPING, PRESERVED},
    packet::{ACK, FIN, Packet, RST, SYN},
    site::{Place, place_of},
};

/// Whether the kernel has made a new flow of a packet in the middle of a connection.
fn picked_up(s: &Seen<'_>) -> bool {
    let other_port = |[k, n]: [Packet<'_>; 2]| k.src() == n.src() && k.sport() != n.sport();
    is_mid_stream(s.sent()) && s.both().is_some_and(other_port)
}

/// Whether the kernel knows a conversation no more that netpath knows, `ends` saying which it ends
/// before: that of the packet itself, or one that has the packet's port to netpath.
fn is_over_to_kernel(s: &Seen<'_>, ends: fn(&Seen<'_>) -> bool) -> bool {
    let own = s.sent().sport();
    let is_free = match s.both() {
        Some([k, n]) => {
            s.only(&[PRESERVED, "sport", "check"]) && k.sport() == own && n.sport() != own
        }
        None => passed_by_kernel_alone(s) && s.kernel_alone().is_some_and(|k| k.sport() == own),
    };
    // It begins anew by the port that it had to netpath, and by another one to the kernel.
    let anew = s.place() == Place::Outside && !is_mid_stream(s.sent()) && s.only(&[MAPPING]);
    let itself = s.flow_of_netpath_alone() || picked_up(s) || passed_by_kernel_alone(s) || anew;
    itself && ends(s)
        || is_free && s.place() == Place::Outside && s.of_others_by_its_port().iter().any(ends)
}

/// Whether a connection is picked up by the packet, in its middle.
fn begins_by_pickup(p: Packet<'_>) -> bool {
    p.tcp_flags()
        .is_some_and(|flags| flags & (SYN | ACK | FIN | RST) == ACK)
}

/// What the kernel sends by the packet's own port, which is another flow's to netpath: that takes
/// another one, or none if it is no beginning.
fn free_to_kernel<'s>(s: &Seen<'s>) -> Option<Packet<'s>> {
    let own = s.sent().sport();
    let k = match s.both() {
        Some([k, n]) => (s.has(PRESERVED) && n.sport() != own).then_some(k),
        None => s
            .kernel_alone()
            .filter(|_| begins_by_pickup(s.sent()) && passed_by_kernel_alone(s)),
    };
    k.filter(|k| k.sport() == own)
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
    // The port is free to the kernel, also for another container; by the name of a published port
    // and by its own a container's port is the same.
    let held = free_to_kernel(s).is_some_and(|k| {
        let ends = |q: Packet<'_>| (q.src(), q.sport(), q.dst(), q.dport());
        let own_name = (k.dst(), k.dport(), p.src(), p.sport());
        s.sent_before(|_, q| {
            let there = (p.dst(), p.dport());
            is_reset(q)
                && ((q.src(), q.sport()) == there
                    || (q.dst(), q.dport()) == there
                    || ends(q) == own_name)
        })
    });
    // Both sides of what a container says to itself are sent in one place.
    let itself = s.sent.place == Place::C1
        && is_hosts(p.dst())
        && s.sent_before(|place, q| place == Place::C1 && is_reset(q))
        && s.flow_of_netpath_alone();
    let same = s.flow_of_netpath_alone() || picked_up(s) || passed_by_kernel_alone(s);
    held || itself || (s.lives().iter().any(one_sided) && same)
}

/// Whether a conversation is one that the kernel ends after five minutes.
fn is_unacknowledged(s: &Seen<'_>) -> bool {
    let open = |flags: &Vec<(bool, u8)>| {
        let both_ways = [true, false].map(|way| flags.iter().any(|(here, _)| *here == way));
        // What a container says to itself is heard half in each of two conversations.
        let itself = s.sent.place == Place::C1 && is_hosts(s.sent().dst());
        (both_ways == [true; 2] || itself) && flags.iter().all(|(_, flags)| flags & FIN == 0)
    };
    s.lives().iter().any(open) && (300..432_000).contains(&s.silence())
}

pub(super) fn unacknowledged_data(s: &Seen<'_>) -> bool {
    is_over_to_kernel(s, is_unacknowledged)
}

pub(super) fn expired_ttl_makes_flow(s: &Seen<'_>) -> bool {
    let p = s.sent();
    let to = |p: Packet<'_>| (p.proto(), p.dst(), p.sport(), p.dport(), p.id());
    let back = |p: Packet<'_>| (p.proto(), p.src(), p.dport(), p.sport(), p.id());
    let died = |like: &dyn Fn(Packet<'_>) -> bool| {
        s.history.iter().any(|event| match event {
            Event::Sent {
                packet,
                passed: false,
            } => {
                let q = Packet::new(&packet.bytes[0]);
                q.ttl() == 1 && like(q)
            }
            Event::Sent { .. } | Event::Out(_) | Event::Wait(_) => false,
        })
    };
    let own = |q: Packet<'_>| (q.sport(), q.id()) == (p.sport(), p.id());
    let taken = s.only(&[PRESERVED, "sport", "icmp id", "check"])
        && s.both().is_some_and(|[k, n]| own(k) && !own(n));
    // A pickup to the kernel, to netpath what cannot follow a SYN.
    let follows = is_mid_stream(p) && passed_by_kernel_alone(s);
    // To the kernel it is the host that is asked.
    let refused = s.place() == s.sent.place
        && s.kernel_alone()
            .is_some_and(|k| (k.src(), k.dst()) == (p.dst(), p.src()));
    // An error about the packet that never left, whose flow netpath has.
    let told = s
        .netpath_alone()
        .and_then(Packet::quoted)
        .is_some_and(|quoted| died(&|q| to(q) == to(quoted)));
    // By the name of a published port and by its own a container's port is the same.
    let own_name = free_to_kernel(s).is_some_and(|k| {
        let ends = |q: Packet<'_>| (q.src(), q.sport(), q.dst(), q.dport());
        died(&|q| ends(q) == (k.dst(), k.dport(), p.src(), p.sport()))
    });
    told || own_name
        || died(&|q| to(q) == to(p)) && (s.flow_of_netpath_alone() || taken || follows)
        || died(&|q| to(q) == back(p)) && (s.flow_of_netpath_alone() || refused)
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

pub(super) fn reset_after_odd_numbers(s: &Seen<'_>) -> bool {
    let one = passed_by_kernel_alone(s) || s.flow_of_netpath_alone();
    s.has_odd_numbers() && is_reset(s.sent()) && one
}

fn is_cut_short(s: &Seen<'_>) -> bool {
    let passed = s.flags();
    (10..432_000).contains(&s.silence()) && passed.last().is_some_and(|(_, flags)| flags & RST != 0)
}

pub(super) fn reset_shortens_life(s: &Seen<'_>) -> bool {
    is_over_to_kernel(s, is_cut_short)
}

pub(super) fn reset_after_repeated_syn(s: &Seen<'_>) -> bool {
    s.began_twice() && is_reset(s.sent()) && passed_by_kernel_alone(s)
}

pub(super) fn reused_port_keeps_mapping(s: &Seen<'_>) -> bool {
    let own = s.sent().sport();
    let closed = s.talk().iter().any(|talk| match talk {
        Talk::Here(p, true) | Talk::There(p) => {
            p.tcp_flags().is_some_and(|flags| flags & (FIN | RST) != 0)
        }
        Talk::Here(_, false) | Talk::Wait(_) => false,
    });
    let own_is_free = |[k, n]: [Packet<'_>; 2]| k.sport() == own && n.sport() != own;
    closed
        && s.place() == Place::Outside
        && !is_mid_stream(s.sent())
        && (s.only(&[MAPPING])
            || s.only(&[PRESERVED, "sport", "check"]) && s.both().is_some_and(own_is_free))
}

pub(super) fn syn_in_open_connection(s: &Seen<'_>) -> bool {
    let is_half_open = |s: &Seen<'_>| s.began_twice() && (60..432_000).contains(&s.silence());
    // To the kernel the handshake may be a simultaneous one.
    let crossed = s
        .sent()
        .tcp_flags()
        .is_some_and(|f| f & (SYN | ACK) == SYN | ACK);
    is_over_to_kernel(s, is_half_open) || s.began_twice() && crossed && passed_by_kernel_alone(s)
}

pub(super) fn syn_after_reset(s: &Seen<'_>) -> bool {
    // Who has sent the reset, then the SYN of the other side, which nobody has answered.
    let mut reset_by = None;
    let mut asked_by = None;
    for talk in s.talk() {
        let (here, p) = match talk {
            Talk::Here(p, true) => (true, p),
            Talk::There(p) => (false, p),
            Talk::Here(_, false) | Talk::Wait(_) => continue,
        };
        match p.tcp_flags().unwrap_or(0) & (SYN | ACK | RST) {
            SYN if reset_by == Some(!here) => asked_by = Some(here),
            flags if flags & RST != 0 => (reset_by, asked_by) = (Some(here), None),
            flags if flags & SYN != 0 => asked_by = None,
            _ => {}
        }
    }
    let over = s.silence() >= 10 && s.flow_of_netpath_alone();
    asked_by.is_some() && (is_mid_stream(s.sent()) && passed_by_kernel_alone(s) || over)
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
    // A protocol without ports has none to choose.
    let portless = out && port(p).is_none() && s.netpath_alone().is_some();
    portless
        || (out || itself)
            && s.both()
                .is_some_and(|[k, n]| port(k) != port(p) && port(n) == port(p))
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
    begins_by_pickup(s.sent()) && passed_by_kernel_alone(s) && s.kernel_alone().is_some_and(changed)
}
