//! 8: every drop is for its reason, and everything that goes on is under its counters.
//!
//! Owns the bookkeeping of one frame at one hook. Which reason a frame can have is `reason`'s.

use netpath_common::{
    DropReason, Verdict,
    counters::Counter,
    event::Hook,
    testing::{plain::Body, *},
};

use crate::{link::OnLink, observe::ip, reason::Case, side::Side, table, world::World};

impl World {
    /// 8: the reason is one that the frame can have, and the one that it must have.
    pub(crate) fn judge_drop<A: Side>(&self, hook: Hook, input: &Frame, out: &Outcome) {
        let sender = self.sender(input).filter(|_| hook == Hook::Veth);
        let half = A::half(&self.halves);
        let mut case = Case::<A> {
            scene: &self.scene,
            talks: &half.talks,
            heads: &half.heads,
            bindings: &half.bindings,
            hook,
            bytes: &input.bytes,
            looks: A::look(&input.bytes),
            who: sender.map(|(who, _)| who),
            honest_mac: sender.is_some_and(|(_, honest)| honest),
            entries: A::tables(&self.host).entry_count(),
            used: (0, 0),
            embryonic: 0,
        };
        let must = match case.of_its_link() {
            OnLink::Passes => {
                assert!(
                    out.passed(),
                    "{:?}, though its link may have it: {} at {hook:?}, {:?}",
                    out.result,
                    describe(input),
                    case.looks
                );
                return;
            }
            OnLink::Dropped(reason) => Some(reason),
            OnLink::Neither => case.must(),
        };
        if let Some(must) = must {
            let limited = out.result.is_err_and(|r| r == DropReason::EndpointQuota);
            assert!(
                out.result == Err(must) || limited,
                "{must:?} is the reason, not {:?}: {} at {hook:?}, {:?}",
                out.result,
                describe(input),
                case.looks
            );
        }
        if let Err(reason) = out.result {
            let used = table::recount(&self.host);
            let who = case.who.or_else(|| self.scene.at(ip::<A>(input)?.src));
            if let Some(who) = who {
                let slot = usize::from(self.scene.containers[who].slot);
                case.used = (used.flows[slot], used.ports[slot]);
            }
            case.embryonic = used.embryonic[usize::from(A::IS_V6)];
            assert!(
                case.can(reason),
                "{reason:?} cannot be the reason: {} at {hook:?}, {:?}",
                describe(input),
                case.looks
            );
        }
    }

    /// 8: everything that goes on is under exactly the counters that it should be.
    pub(crate) fn check_counters<A: Side>(
        &self,
        hook: Hook,
        input: &Frame,
        out: &Outcome,
        grown: &[u64],
        translated: bool,
    ) {
        let tail = ip::<A>(input).is_some_and(|ip| ip.body == Body::Tail);
        let error = ip::<A>(input).is_some_and(|ip| matches!(ip.body, Body::Error(_)));
        let early = hook == Hook::Xdp && translated;
        let is = |verdict: bool| u64::from(verdict);
        let result = out.result;
        for (counter, want) in [
            (Counter::Passed, 0),
            (
                Counter::ToUplink,
                is(matches!(result, Ok(Verdict::ToUplink { .. }))),
            ),
            (
                Counter::ToEndpoint,
                is(matches!(result, Ok(Verdict::ToEndpoint { .. }))),
            ),
            (
                Counter::ToNeighbour,
                is(matches!(result, Ok(Verdict::ToNeighbour { .. }))),
            ),
            (
                Counter::TranslatedToStack,
                is(result == Ok(Verdict::TranslatedToStack)),
            ),
            (Counter::TranslatedInXdp, is(early)),
            (Counter::IcmpErrorTranslated, is(error && translated)),
            (Counter::FragmentTranslated, is(tail && translated)),
            (Counter::FragmentReleased, out.frame.again.len() as u64),
            (Counter::HostConnect, 0),
            (Counter::BindRefused, 0),
            (Counter::EventLost, 0),
        ] {
            // What XDP has translated may be refused behind it.
            assert_eq!(
                grown[counter as usize],
                want,
                "{} by {:?}: {}",
                counter.as_str(),
                result,
                describe(input)
            );
        }
        let held = grown[Counter::FragmentHeld as usize];
        let copied = hook == Hook::UplinkIngress && tail && result == Ok(Verdict::Pass);
        assert!(
            held == is(result == Ok(Verdict::Held)) || copied && held == 1,
            "{held} held: {}",
            describe(input)
        );
        assert!(grown[Counter::FlowNew as usize] <= is(translated || result == Ok(Verdict::Pass)));
        assert!(grown[Counter::FlowReclaimed as usize] <= grown[Counter::FlowRemoved as usize]);
    }
}
