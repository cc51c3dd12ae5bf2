//! Who may begin a conversation, and what its first packet becomes.
//!
//! Owns that part of the invariants: 2 nothing enters uninvited, 3 an outside tuple that nobody has. What
//! becomes of later packets is `observe`'s.

use netpath_common::{
    event::Hook,
    testing::plain::{Body, Ip, Line, SYN},
    tuple,
};

use crate::{
    scene::UPLINK as PARTY_UPLINK,
    side::Side,
    talk::{Kind, has_fixed_port},
    world::World,
};

impl World {
    /// 2: who may begin a conversation, and what its first packet becomes. What it depends on.
    pub(crate) fn permission<A: Side>(
        &self,
        hook: Hook,
        x: Line<A>,
        y: Line<A>,
    ) -> (Kind, Vec<usize>) {
        let scene = &self.scene;
        let same_ends = (x.proto, x.icmp_type) == (y.proto, y.icmp_type);
        assert!(same_ends, "{x:?} became {y:?}");
        let asked = scene
            .published(x.proto, x.dport)
            .filter(|_| scene.is_host(x.dst));
        let inside = scene.at(x.src);
        let allowed = scene.lets_in(x.proto, x.src);
        match (hook, inside, asked) {
            (Hook::Veth, Some(c), Some((to, port, rule))) => {
                assert!(allowed, "2: {x:?} is not allowed, and became {y:?}");
                let own = &scene.containers[c];
                let source = if to == c {
                    A::gateway_of(own.network)
                } else {
                    A::of(own)
                };
                let want = (source, A::of(&scene.containers[to]), port);
                assert_eq!((y.src, y.dst, y.dport), want, "{x:?} became {y:?}");
                assert!(scene.is_reachable(to) && scene.is_reachable(c));
                (Kind::Hairpin(c, to), vec![c, to, rule])
            }
            (Hook::UplinkIngress, None, Some((to, port, rule))) => {
                assert!(allowed, "2: {x:?} is not allowed, and became {y:?}");
                let want = (x.src, A::of(&scene.containers[to]), port);
                assert_eq!((y.src, y.dst, y.dport), want, "{x:?} became {y:?}");
                assert!(scene.is_reachable(to) && !x.dst.is_gateway());
                (Kind::In(to), vec![to, PARTY_UPLINK, rule])
            }
            (Hook::Veth | Hook::UplinkEgress, Some(c), None)
            | (Hook::UplinkEgress, Some(c), Some(_)) => {
                assert_eq!((y.src, y.dst), (scene.host(), x.dst), "{x:?} became {y:?}");
                assert!(scene.goes_out(c));
                assert!(hook == Hook::UplinkEgress || !x.dst.is_private());
                (Kind::Out(c), vec![c, PARTY_UPLINK])
            }
            (Hook::UplinkEgress, None, _) => {
                let far = A::back(x);
                assert!(
                    self.talks().may_know(scene, &far),
                    "the host's {x:?} is in nobody's way, and became {y:?}"
                );
                assert_eq!((y.src, y.dst), (x.src, x.dst));
                (Kind::Host, vec![PARTY_UPLINK])
            }
            _ => panic!("2: nobody may begin {x:?}, now {y:?}, at {hook:?}"),
        }
    }

    /// The outside port of a container's conversation is its own where that can be, else one of the
    /// range or class, and never one that is published or listened at.
    pub(crate) fn check_port<A: Side>(&self, x: Line<A>, y: Line<A>) {
        let scene = &self.scene;
        if has_fixed_port::<A>(x.proto) {
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
        let free = keeps
            && scene.may_be_outside(&x, x.sport)
            && !scene.is_taken(x.proto, x.sport)
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
