//! Who may begin a conversation, and what its first packet becomes.
//!
//! Owns that part of the invariants: 2 nothing enters uninvited, 3 an outside tuple that nobody has. What
//! becomes of later packets is `observe`'s.

use netpath_common::{
    event::Hook,
    testing::{
        Frame,
        plain::{Body, Ip, Line, SYN},
    },
    tuple,
};

use crate::{
    binding::End,
    met::Shape,
    observe::ip,
    scene::{Asked, BALANCED, Target, UPLINK as PARTY_UPLINK},
    side::{Place, Side},
    talk::{Begun, Kind, has_fixed_port},
    world::World,
};

impl World {
    /// 2 and 3: a conversation begins. `first`: the flags of its first packet, if that was seen.
    pub(crate) fn begin<A: Side>(
        &mut self,
        hook: Hook,
        (x, y): (Line<A>, Line<A>),
        first: Option<u8>,
    ) -> Begun<A> {
        let flags = first.unwrap_or(0);
        let begun = self.permission(hook, (x, y), flags);
        if first.is_some() && matches!(begun.kind, Kind::Out(_)) {
            self.check_port(x, y);
        }
        self.bind(&begun, (x, y), first.is_some());
        let half = A::half_mut(&mut self.halves);
        half.talks.begin(&self.scene, (x, y), begun, flags);
        begun
    }

    /// Whether the outside begins what it may, and nothing that it may belong to is there already: a
    /// published port, one that is open at a container's own address, a bound one.
    pub(crate) fn is_due<A: Side>(&self, input: &Frame) -> bool {
        let Some(ip) = ip::<A>(input) else {
            return false;
        };
        let Body::Talk(line, flags) = ip.body else {
            return false;
        };
        let scene = &self.scene;
        let half = A::half(&self.halves);
        let is_odd = ip.ttl < 2
            || ip.len > 576
            || scene.is_martian(ip.src)
            || A::IS_V6 && ip.src.place() == Place::OneLink;
        if is_odd || line.proto == tuple::TCP && flags != SYN || half.talks.may_know(scene, &line) {
            return false;
        }
        if let Some(open) = scene.open(&line) {
            return !open.refused;
        }
        if line.dst != scene.host() {
            return false;
        }
        match scene.asked(line.proto, line.dport, line.src) {
            Asked::Refused => false,
            Asked::Leads(to) => {
                let is_dead = line.dport == BALANCED && !scene.lives(line.proto);
                !is_dead && to.iter().all(|to| scene.is_reachable(to.who))
            }
            Asked::Nothing => {
                let bound = (line.dst, line.dport, line.proto);
                !scene.listening.contains(&line.dport)
                    && half.bindings.owner(scene, &half.talks, bound).is_some()
            }
        }
    }

    /// A packet of a container may have made a binding though nobody has seen it leave.
    pub(crate) fn may_have_bound<A: Side>(&mut self, hook: Hook, input: &Frame) {
        if matches!(hook, Hook::Veth | Hook::UplinkEgress)
            && let Some(ip) = ip::<A>(input)
            && let Body::Talk(line, _) = ip.body
            && let Some(end) = End::of(&self.scene, &line)
        {
            let half = A::half_mut(&mut self.halves);
            half.bindings.may_be_made(&self.scene, &half.talks, end);
        }
    }

    /// 2: who may begin a conversation, and what its first packet becomes. What it depends on.
    pub(crate) fn permission<A: Side>(
        &mut self,
        hook: Hook,
        (x, y): (Line<A>, Line<A>),
        flags: u8,
    ) -> Begun<A> {
        let same_ends = (x.proto, x.icmp_type) == (y.proto, y.icmp_type);
        assert!(same_ends, "{x:?} became {y:?}");
        let scene = &self.scene;
        let inside = scene.at(x.src);
        let to_host = scene.is_host(x.dst) && hook != Hook::UplinkEgress;
        match (hook, inside) {
            (Hook::Veth, Some(_)) | (Hook::UplinkIngress, None)
                if scene.open(&x).is_some_and(|open| inside != Some(open.who)) =>
            {
                self.opened(inside, (x, y))
            }
            (Hook::Veth, Some(_)) | (Hook::UplinkIngress, None) if to_host => {
                match scene.asked(x.proto, x.dport, x.src) {
                    Asked::Refused => panic!("2: {x:?} is not allowed, and became {y:?}"),
                    Asked::Leads(to) => self.published(inside, (x, y), &to),
                    Asked::Nothing => self.bound(inside, (x, y), flags),
                }
            }
            (Hook::Veth | Hook::UplinkEgress, Some(c)) => {
                let source = if scene.is_routed(c) {
                    assert_eq!(y, x, "nothing of a routed network is translated");
                    x.src
                } else {
                    scene.host()
                };
                assert_eq!((y.src, y.dst), (source, x.dst), "{x:?} became {y:?}");
                assert!(scene.goes_out(c));
                assert!(hook == Hook::UplinkEgress || !x.dst.is_private());
                Begun {
                    kind: Kind::Out(c),
                    parties: scene.parties(&[c, PARTY_UPLINK]),
                    end: End::of(scene, &x),
                }
            }
            (Hook::UplinkEgress, None) => {
                let far = A::back(x);
                assert!(
                    self.talks().may_know(scene, &far),
                    "the host's {x:?} is in nobody's way, and became {y:?}"
                );
                assert_eq!((y.src, y.dst), (x.src, x.dst));
                Begun {
                    kind: Kind::Host,
                    parties: scene.parties(&[PARTY_UPLINK]),
                    end: None,
                }
            }
            _ => panic!("2: nobody may begin {x:?}, now {y:?}, at {hook:?}"),
        }
    }

    /// By a container's own address, which is routed: untranslated.
    fn opened<A: Side>(&mut self, inside: Option<usize>, (x, y): (Line<A>, Line<A>)) -> Begun<A> {
        let scene = &self.scene;
        let open = scene.open(&x).unwrap();
        assert!(!open.refused, "2: {x:?} is not allowed, and became {y:?}");
        assert_eq!(x, y, "nothing of a routed network is translated");
        let all = &scene.containers;
        let (kind, from, shape) = match inside {
            Some(c) => {
                assert_ne!(all[c].network, all[open.who].network, "{x:?}");
                assert!(scene.is_reachable(c));
                (Kind::Hairpin(c, open.who), c, Shape::RoutedNeighbour)
            }
            None if open.rule.is_none() => (Kind::In(open.who), PARTY_UPLINK, Shape::RoutedPing),
            None => (Kind::In(open.who), PARTY_UPLINK, Shape::RoutedIn),
        };
        let parties: Vec<usize> = [Some(open.who), Some(from), open.rule]
            .into_iter()
            .flatten()
            .collect();
        let parties = scene.parties(&parties);
        self.met::<A>(shape);
        Begun {
            kind,
            parties,
            end: None,
        }
    }

    /// By a published port: to one of those that it leads to.
    fn published<A: Side>(
        &mut self,
        inside: Option<usize>,
        (x, y): (Line<A>, Line<A>),
        targets: &[Target],
    ) -> Begun<A> {
        let scene = &self.scene;
        let at = scene.at(y.dst);
        let to = targets.iter().find(|to| Some(to.who) == at);
        let to = *to.unwrap_or_else(|| panic!("2: {x:?} became {y:?}, and may {targets:?}"));
        let source = match inside {
            Some(c) if c == to.who || scene.are_kept_apart(c, to.who) => {
                A::gateway_of(scene.containers[c].network)
            }
            _ => x.src,
        };
        assert_eq!((y.src, y.dport), (source, to.port), "{x:?} became {y:?}");
        assert!(scene.is_reachable(to.who));
        let (kind, from) = match inside {
            Some(c) => {
                assert!(scene.is_reachable(c));
                (Kind::Hairpin(c, to.who), c)
            }
            None => {
                assert!(!x.dst.is_gateway());
                (Kind::In(to.who), PARTY_UPLINK)
            }
        };
        let parties = scene.parties(&[to.who, from, to.rule]);
        if x.dport == BALANCED {
            let among = scene.members(x.proto).count();
            let is_dead = scene
                .members(x.proto)
                .any(|who| scene.gone[who] || !scene.is_reachable(who));
            let lives = !scene.gone[to.who];
            A::half_mut(&mut self.halves)
                .choices
                .chosen(x, targets, to.who);
            self.met::<A>(match inside {
                Some(_) => Shape::BalancedHairpin,
                None => [
                    Shape::BalancedFirst,
                    Shape::BalancedSecond,
                    Shape::BalancedThird,
                ][to.who],
            });
            if is_dead && lives {
                self.met::<A>(Shape::BalancedPastTheDead);
            } else if targets.len() < among {
                self.met::<A>(Shape::BalancedPastARefusal);
            }
        }
        Begun {
            kind,
            parties,
            end: None,
        }
    }

    /// REQ-8 and REQ-9: by a bound port, to its owner and nobody else.
    fn bound<A: Side>(
        &mut self,
        inside: Option<usize>,
        (x, y): (Line<A>, Line<A>),
        flags: u8,
    ) -> Begun<A> {
        let scene = &self.scene;
        let half = A::half(&self.halves);
        let owner = {
            let mut owners = half.bindings.owners(scene, x.dst, x.dport, x.proto);
            let owner = owners.find(|end| (end.addr, end.port) == (y.dst, y.dport));
            owner.copied()
        };
        let owner = owner.unwrap_or_else(|| panic!("2: nobody asked for {x:?}, now {y:?}"));
        let sure = (x.dst, x.dport, x.proto);
        let sure = half.bindings.owner(scene, &half.talks, sure);
        assert!(
            sure.is_none_or(|sure| sure == owner),
            "2: {sure:?} has the port of {x:?}, now {y:?}"
        );
        assert!(
            x.proto == tuple::UDP || flags == SYN,
            "2: {x:?} begins with {flags:#x}, now {y:?}"
        );
        assert!(
            !scene.listening.contains(&x.dport),
            "2: {x:?} is for a socket of the host, now {y:?}"
        );
        let to = scene.at(owner.addr).unwrap();
        let (kind, parties, end, shape) = match inside {
            None => {
                assert_eq!(y.src, x.src, "{x:?} became {y:?}");
                let parties = vec![to, PARTY_UPLINK];
                (Kind::In(to), parties, Some(owner), Shape::BoundIn)
            }
            Some(c) => {
                assert!(scene.is_reachable(c));
                let (source, end, shape) = if c == to && owner.port == x.sport {
                    let gateway = A::gateway_of(scene.containers[c].network);
                    (gateway, None, Shape::BoundItself)
                } else if let Some(end) = End::of(scene, &x) {
                    (scene.host(), Some(end), Shape::BoundNeighbour)
                } else {
                    (x.src, None, Shape::BoundByOthers)
                };
                assert_eq!(y.src, source, "{x:?} became {y:?}");
                (Kind::Hairpin(c, to), vec![c, to, PARTY_UPLINK], end, shape)
            }
        };
        let parties = scene.parties(&parties);
        self.met::<A>(shape);
        Begun { kind, parties, end }
    }

    /// Notes whose binding a conversation uses, by which port, and that nobody else has that.
    pub(crate) fn bind<A: Side>(
        &mut self,
        begun: &Begun<A>,
        (x, y): (Line<A>, Line<A>),
        new: bool,
    ) {
        let half = A::half_mut(&mut self.halves);
        let far = A::back(y);
        let Some(end) = begun.end else {
            let takes = matches!(begun.kind, Kind::Out(_) | Kind::Host) && y.sport != 0;
            let owner = half
                .bindings
                .owner(&self.scene, &half.talks, (y.src, y.sport, y.proto));
            // The host's own port is its own, whoever has it; and a binding may be made of one by which
            // another network's conversation has begun before.
            let is_own = begun.kind == Kind::Host && x.sport == y.sport;
            assert!(
                !takes || !new || is_own || owner.is_none(),
                "3: {x:?} became {y:?}, and the port is {owner:?}'s"
            );
            return;
        };
        let port = if matches!(begun.kind, Kind::In(_)) {
            x.dport
        } else {
            y.sport
        };
        let again = half
            .bindings
            .used(&self.scene, &half.talks, end, (far, port));
        self.met::<A>(if again {
            Shape::BoundAgain
        } else {
            Shape::BoundFirst
        });
        if again && port != end.port {
            self.met::<A>(Shape::BoundElsewhere);
        }
    }

    /// The outside port of a container's conversation is its own where that can be, else one of the
    /// range or class, and never one that is published or listened at.
    pub(crate) fn check_port<A: Side>(&self, x: Line<A>, y: Line<A>) {
        let scene = &self.scene;
        if has_fixed_port::<A>(x.proto) || scene.stays(x.src) {
            assert_eq!((x.sport, x.dport), (y.sport, y.dport), "{x:?} became {y:?}");
            return;
        }
        if x.proto != A::ICMP {
            assert_eq!(x.dport, y.dport);
            let may_be_taken = !matches!(y.proto, tuple::TCP | tuple::UDP);
            assert!(
                may_be_taken || !scene.is_taken(y.proto, y.sport),
                "{y:?} has a taken port"
            );
        }
        assert!(scene.may_be_outside(&x, y.sport), "{x:?} became {y:?}");
        let keeps = scene.life.preserve || x.proto == A::ICMP;
        let bindings = &A::half(&self.halves).bindings;
        let end = End::of(scene, &x);
        // What a binding has was free when that was made.
        let is_made = end.is_some_and(|end| bindings.possible(scene, &end).is_some());
        let mut owners = bindings.owners(scene, y.src, x.sport, x.proto);
        let free = keeps
            && !is_made
            && scene.may_be_outside(&x, x.sport)
            && !scene.is_taken(x.proto, x.sport)
            && owners.next().is_none()
            && self.talks().is_free(scene, &scene.outside(&x, x.sport));
        assert!(
            !free || x.sport == y.sport,
            "{x:?} became {y:?} for nothing"
        );
    }

    /// Where the host begins on a tuple that a container's conversation has, the host gives way.
    pub(crate) fn check_shadow<A: Side>(&self, ip: &Ip<A>) {
        let Body::Talk(line, flags) = ip.body else {
            return;
        };
        let begins = match line.proto {
            tuple::TCP => flags == SYN,
            icmp if icmp == A::ICMP => A::asks(line.icmp_type),
            _ => true,
        };
        assert!(
            !begins || !self.talks().surely_inside(&self.scene, &A::back(line)),
            "3: the host and a container share {line:?}"
        );
    }
}
