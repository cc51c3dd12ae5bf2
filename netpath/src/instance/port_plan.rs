//! What a change of rules is in the datapath's maps. Pure.
//!
//! Owns the way from the state to entries, starts, reserved ports and groups. Which entries a range
//! has is `netpath_common::publish`'s, their writing [`crate::bpf`]'s.

use std::{
    collections::{BTreeSet, HashMap, HashSet},
    net::IpAddr,
};

use netpath_common::{
    Addr, V4, V6,
    publish::{AllStarts, Backends, Binding, Change, change, starts_of},
    records::{Published, PublishedKey, RULE_ALLOW, RULE_IPV4},
};

use crate::{
    bpf::{Allowed, PortChange, Reserved},
    state::{Endpoint, Homes, Network, Rule, State},
};

/// A rule of an endpoint.
#[derive(Clone, Debug)]
pub(super) struct Placed {
    pub(super) rule: Rule,
    homes: Homes,
    endpoint: u16,
}

impl Placed {
    pub(super) fn new(rule: &Rule, n: &Network, e: &Endpoint) -> Self {
        Self {
            rule: rule.clone(),
            homes: e.homes(n),
            endpoint: e.slot,
        }
    }

    /// A routed network takes no port of the host.
    pub(super) const fn takes_host_ports(&self) -> bool {
        !self.homes.routed
    }

    /// Bits of its record.
    pub(super) const fn flags(&self) -> u32 {
        flags(&self.rule)
    }
}

/// Bits of a rule's record.
pub(super) const fn flags(rule: &Rule) -> u32 {
    let allow = if rule.spec.allow.is_empty() {
        0
    } else {
        RULE_ALLOW
    };
    match rule.spec.host_ip {
        Some(IpAddr::V4(ip)) if ip.is_unspecified() => allow | RULE_IPV4,
        _ => allow,
    }
}

/// The rules of a state but for some.
struct Rules<'s> {
    state: &'s State,
    without: HashSet<u16>,
}

impl Rules<'_> {
    /// Each with the addresses and the slot of its endpoint.
    fn iter(&self) -> impl Iterator<Item = (Homes, u16, &Rule)> {
        placed(self.state).filter(|(.., r)| !self.without.contains(&r.slot))
    }
}

/// Every rule with the addresses and the slot of its endpoint.
fn placed(state: &State) -> impl Iterator<Item = (Homes, u16, &Rule)> {
    state.endpoints().flat_map(|(n, e)| {
        let homes = e.homes(n);
        e.rules.iter().map(move |r| (homes, e.slot, r))
    })
}

fn start(rule: &Rule) -> (u8, u16) {
    (rule.proto().number(), rule.host)
}

/// A routed network takes no port of the host.
fn reserve(reserved: &mut Reserved, homes: &Homes, rule: &Rule) {
    if let Some(ports) = rule.host_range().filter(|_| !homes.routed) {
        reserved.add(rule.proto().number(), ports.first()..=ports.last());
    }
}

/// What is to be done in the maps.
#[derive(Debug, Default)]
pub(super) struct PortPlan {
    pub(super) ports: PortChange,
    /// Groups whose backends change.
    pub(super) groups: Vec<(u16, Backends)>,
}

impl PortPlan {
    /// The change from `state` where the rules `gone` go, which it has, and `come` come, which it has
    /// not.
    pub(super) fn of(state: &State, gone: &[Placed], come: &[Placed]) -> Self {
        let stay = Rules {
            state,
            without: gone.iter().map(|p| p.rule.slot).collect(),
        };
        let mut reserved = Reserved::default();
        for (homes, _, rule) in stay.iter() {
            reserve(&mut reserved, &homes, rule);
        }
        for p in come {
            reserve(&mut reserved, &p.homes, &p.rule);
        }
        let before = starts_of(state.rules().map(|(_, r)| start(r)));
        let staying = stay.iter().map(|(.., r)| start(r));
        let after = starts_of(staying.chain(come.iter().map(|p| start(&p.rule))));
        let of4 = |p: &Placed| p.rule.binding4(&p.homes, p.endpoint);
        let of6 = |p: &Placed| p.rule.binding6(&p.homes, p.endpoint);
        let stay4: Vec<_> = stay
            .iter()
            .filter_map(|(homes, slot, r)| r.binding4(&homes, slot))
            .collect();
        let stay6: Vec<_> = stay
            .iter()
            .filter_map(|(homes, slot, r)| r.binding6(&homes, slot))
            .collect();
        let starts = (&before, &after);
        let ports = PortChange {
            v4: family(gone, come, stay4, of4, starts),
            v6: family(gone, come, stay6, of6, starts),
            starts: after,
            reserved,
        };
        let touched = gone.iter().chain(come).map(|p| p.rule.group);
        let touched: BTreeSet<u16> = touched.filter(|group| *group != 0).collect();
        let members = |group: u16| {
            let stay = stay.iter().map(|(_, slot, r)| (slot, r));
            let all = stay.chain(come.iter().map(|p| (p.endpoint, &p.rule)));
            backends(all.filter(|(_, r)| r.group == group))
        };
        let groups = touched.into_iter().map(|group| (group, members(group)));
        Self {
            ports,
            groups: groups.collect(),
        }
    }
}

fn family<A: Addr>(
    gone: &[Placed],
    come: &[Placed],
    stay: Vec<Binding<A>>,
    of: impl Fn(&Placed) -> Option<Binding<A>>,
    starts: (&AllStarts, &AllStarts),
) -> Change<A> {
    let come: Vec<_> = come.iter().filter_map(&of).collect();
    // A shared range goes with its last endpoint.
    let shared = stay.iter().chain(&come).filter(|b| b.to.group != 0);
    let shared: HashSet<PublishedKey<A>> = shared.map(|b| b.key).collect();
    let gone = gone.iter().filter_map(&of);
    let gone: Vec<_> = gone.filter(|b| !shared.contains(&b.key)).collect();
    change(&gone, &come, stay, starts)
}

/// The backends of a group, from its rules and the slots of their endpoints.
fn backends<'r>(members: impl Iterator<Item = (u16, &'r Rule)>) -> Backends {
    let mut backends = Backends::default();
    for (endpoint, rule) in members {
        if let Some(place) = backends.list.get_mut(usize::from(rule.member)) {
            *place = rule.backend(endpoint);
        }
    }
    backends.fill();
    backends
}

/// Everything that a state has in the maps.
#[derive(Debug, Default)]
pub(super) struct Everything {
    pub(super) v4: HashMap<PublishedKey<V4>, Published<V4>>,
    pub(super) v6: HashMap<PublishedKey<V6>, Published<V6>>,
    pub(super) starts: AllStarts,
    pub(super) reserved: Reserved,
    pub(super) groups: Vec<(u16, Backends)>,
    pub(super) allowed: Allowed,
}

impl Everything {
    pub(super) fn of(state: &State) -> Self {
        let mut all = Self {
            starts: starts_of(state.rules().map(|(_, r)| start(r))),
            ..Self::default()
        };
        let mut groups = BTreeSet::new();
        for (homes, slot, rule) in placed(state) {
            let four = rule.binding4(&homes, slot);
            all.v4
                .extend(four.iter().flat_map(|b| b.entries(&all.starts)));
            let six = rule.binding6(&homes, slot);
            all.v6
                .extend(six.iter().flat_map(|b| b.entries(&all.starts)));
            reserve(&mut all.reserved, &homes, rule);
            if rule.group != 0 {
                groups.insert(rule.group);
            }
            if !rule.spec.allow.is_empty() {
                let nets = rule.spec.allow.iter().copied().collect();
                all.allowed.insert(rule.slot, nets);
            }
        }
        let members = |group: u16| {
            let rules = state.rules().map(|(e, r)| (e.slot, r));
            backends(rules.filter(|(_, r)| r.group == group))
        };
        all.groups = groups.into_iter().map(|g| (g, members(g))).collect();
        all
    }
}

/// What is missing of `want` in a map, and what is in it that is not wanted.
pub(super) fn difference<A: Addr>(
    want: &HashMap<PublishedKey<A>, Published<A>>,
    found: &[(PublishedKey<A>, Published<A>)],
) -> Change<A> {
    let there: HashMap<_, _> = found.iter().copied().collect();
    let missing = want.iter().filter(|(key, to)| there.get(*key) != Some(*to));
    let stray = there.keys().filter(|key| !want.contains_key(*key));
    Change {
        write: missing.map(|(key, to)| (*key, *to)).collect(),
        remove: stray.copied().collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{config::Mode, state::testing};

    fn rule(value: &serde_json::Value) -> Rule {
        let mut all = serde_json::json!({ "origin": "command", "addr": "0.0.0.0" });
        let (all, value) = (all.as_object_mut().unwrap(), value.as_object().unwrap());
        all.extend(value.clone());
        serde_json::from_value(serde_json::Value::Object(all.clone())).unwrap()
    }

    /// Two endpoints that share port 8080; the first has port 5353 as well.
    fn state() -> State {
        let mut n = testing::network(Some("fd00:17::/64"), &["fd00:17::2", "fd00:17::3"]);
        let shared = |slot: u16, member: u8| {
            rule(&serde_json::json!({
                "slot": slot, "spec": "8080:80,balance", "host": 8080, "group": 1, "member": member,
            }))
        };
        let own = serde_json::json!({ "slot": 3, "spec": "5353:53/udp", "host": 5353 });
        n.endpoints[0].rules = vec![shared(1, 0), rule(&own)];
        n.endpoints[1].rules = vec![shared(2, 1)];
        n.endpoints[1].slot = 2;
        State {
            networks: vec![n],
            ..State::default()
        }
    }

    fn gone(state: &State, at: usize) -> Vec<Placed> {
        let n = &state.networks[0];
        let e = &n.endpoints[at];
        e.rules.iter().map(|r| Placed::new(r, n, e)).collect()
    }

    #[test]
    fn a_shared_port_goes_with_its_last_endpoint() {
        let state = state();
        let removed = |gone: &[Placed]| {
            let plan = PortPlan::of(&state, gone, &[]);
            let mut ports: Vec<_> = plan.ports.v4.remove.iter().map(|k| k.port).collect();
            ports.sort_unstable();
            (ports, plan.groups.len())
        };
        assert_eq!(removed(&gone(&state, 0)), (vec![5353], 1));
        assert_eq!(removed(&gone(&state, 1)), (vec![], 1));
        let both: Vec<_> = [0, 1].into_iter().flat_map(|at| gone(&state, at)).collect();
        assert_eq!(removed(&both), (vec![5353, 8080], 1));
    }

    #[test]
    fn what_differs_is_written_and_what_is_nobody_s_removed() {
        let want = Everything::of(&state()).v4;
        let exact: Vec<_> = want.iter().map(|(key, to)| (*key, *to)).collect();
        let same = difference(&want, &exact);
        assert!(want.len() == 2 && same.write.is_empty() && same.remove.is_empty());
        let mut found = exact.clone();
        found[0].1.port = 1;
        let stray = PublishedKey {
            port: 9999,
            ..found[1].0
        };
        found[1].0 = stray;
        let change = difference(&want, &found);
        assert_eq!(change.write.len(), 2);
        assert_eq!(change.remove, [stray]);
    }

    #[test]
    fn a_routed_network_reserves_no_port_of_the_host() {
        let mut state = state();
        assert_ne!(Everything::of(&state).reserved, Reserved::default());
        state.networks[0].mode = Mode::Routed;
        assert_eq!(Everything::of(&state).reserved, Reserved::default());
        assert!(gone(&state, 0).iter().all(|p| !p.takes_host_ports()));
    }
}
