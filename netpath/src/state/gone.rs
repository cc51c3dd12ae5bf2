//! What outlives a container's namespace, and a boot of the machine.
//!
//! Owns which parts of a state are kept when their counterparts on the host are gone. Pure.

use serde::{Deserialize, Serialize};

use super::{Endpoint, Network, Origin, Rule, State};
use crate::config::PortSpec;

/// A port that an endpoint published before its namespace went.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct KeptPort {
    /// As it was asked for.
    pub spec: PortSpec,
    /// Who asked for it.
    pub origin: Origin,
}

impl From<&Rule> for KeptPort {
    fn from(rule: &Rule) -> Self {
        Self {
            spec: rule.spec.clone(),
            origin: rule.origin,
        }
    }
}

impl Endpoint {
    /// Whether something of it is on the host.
    #[must_use]
    pub const fn is_present(&self) -> bool {
        self.gone.is_none()
    }

    /// Whether a namespace that is gone may come back under what the user called it. A process id, and a
    /// path to a process, are another process's when they do.
    #[must_use]
    pub fn may_return(&self) -> bool {
        self.netns.is_lasting() || self.origin == Origin::Config
    }

    /// Marks it as gone: its address and its ports are others' to take.
    pub fn leave(&mut self) {
        let ports = self.rules.iter().map(KeptPort::from).collect();
        self.rules.clear();
        self.gone.get_or_insert(ports);
        self.ifindex = 0;
        self.gro = false;
    }

    /// The ports that it publishes, or published before it went.
    pub fn specs(&self) -> impl Iterator<Item = (&PortSpec, Origin)> {
        let kept = self.gone.iter().flatten().map(|k| (&k.spec, k.origin));
        self.rules.iter().map(|r| (&r.spec, r.origin)).chain(kept)
    }
}

impl State {
    /// The same networks and endpoints on a host that has nothing of them: after a boot, or in another
    /// namespace of the same name. Nothing that was changed on the former one is given back there.
    #[must_use]
    pub fn reborn(self, boot_id: String, netns_cookie: u64) -> Self {
        let network = |mut n: Network| {
            n.endpoints.retain(|e| !e.unfinished && e.may_return());
            n.endpoints.iter_mut().for_each(Endpoint::leave);
            n.ifindex = 0;
            n.found = None;
            n
        };
        let finished = self.networks.into_iter().filter(|n| !n.unfinished);
        // Their endpoints have nothing to wait with: the configuration's are made anew.
        let unbridged = self.unbridged.into_iter().filter(|n| !n.unfinished);
        Self {
            generation: self.generation,
            networks: finished.map(network).collect(),
            unbridged: unbridged.map(|n| n.alone()).collect(),
            ..Self::new(boot_id, netns_cookie)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::state::testing::network;

    fn state() -> State {
        let mut n = network(Some("fd00:17::/64"), &["fd00:17::2", "fd00:17::3"]);
        let rule = serde_json::json!({
            "slot": 1, "spec": "8080:80", "origin": "command", "addr": "0.0.0.0", "host": 8080,
        });
        n.ifindex = 7;
        n.endpoints[0].ifindex = 8;
        n.endpoints[0].rules = vec![serde_json::from_value(rule).unwrap()];
        n.endpoints[1].name = "p".into();
        n.endpoints[1].netns = "pid:12".parse().unwrap();
        State {
            generation: 40,
            conntrack: 65_536,
            loaded: Some("x".into()),
            networks: vec![n],
            reserved_ports: "8080".into(),
            ..State::new("old".into(), 1)
        }
    }

    #[test]
    fn networks_and_endpoints_outlive_a_boot_and_nothing_that_was_on_the_host_does() {
        let s = state().reborn("new".into(), 2);
        assert_eq!((s.boot_id.as_str(), s.netns_cookie), ("new", 2));
        assert_eq!((s.generation, s.conntrack, s.loaded), (40, 0, None));
        assert!(s.reserved_ports.is_empty() && s.uplinks.is_empty() && s.sysctls.is_empty());
        let n = &s.networks[0];
        assert_eq!(n.ifindex, 0);
        // A process id is no name of a namespace.
        assert_eq!(n.endpoints.len(), 1);
        let e = &n.endpoints[0];
        assert!(!e.is_present() && e.ifindex == 0 && e.rules.is_empty());
        let specs: Vec<_> = e.specs().map(|(s, o)| (s.to_string(), o)).collect();
        assert_eq!(specs, [("8080:80".to_owned(), Origin::Command)]);
    }

    #[test]
    fn the_configuration_s_endpoints_wait_whatever_their_namespace_is_called() {
        let mut s = state();
        s.networks[0].endpoints[1].origin = Origin::Config;
        assert_eq!(s.reborn("new".into(), 2).networks[0].endpoints.len(), 2);
    }

    #[test]
    fn what_was_half_made_is_forgotten() {
        let mut s = state();
        s.networks[0].endpoints[0].unfinished = true;
        let reborn = s.clone().reborn("new".into(), 2);
        assert!(reborn.networks[0].endpoints.is_empty());
        s.networks[0].unfinished = true;
        assert!(s.reborn("new".into(), 2).networks.is_empty());
    }

    #[test]
    fn leaving_twice_keeps_the_ports() {
        let mut s = state();
        let e = &mut s.networks[0].endpoints[0];
        e.leave();
        e.leave();
        assert_eq!(e.specs().count(), 1);
    }
}
