//! Host ports: who has which, and which are free. Pure.

use std::{collections::BTreeSet, net::IpAddr, rc::Rc};

use netpath_common::{
    maps::{MAX_GROUPS, MAX_RULES},
    publish::MAX_BACKENDS,
};

use super::{Error, facts::Facts};
use crate::{
    config::{Claim, Claims, HostBinding, Mode, PortRange, PortSpec, Taker},
    state::{Homes, Rule, State, addrs_of},
};

/// Who has a port.
#[derive(Clone, Debug)]
enum Holder {
    /// A socket of the host.
    Socket,
    /// An endpoint, by one of its rules.
    Rule {
        endpoint: Rc<str>,
        container: PortRange,
        group: u16,
        member: u8,
    },
}

/// The choices for one SPEC.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Chosen {
    /// First port of the host.
    pub(super) host: u16,
    /// Group of endpoints that share the ports, 0 for none.
    pub(super) group: u16,
    /// Index in it.
    pub(super) member: u8,
}

/// The container has no address of the family of `addr`.
pub(super) fn no_home(endpoint: &str, spec: &PortSpec, addr: IpAddr) -> Error {
    Error::NoHome {
        endpoint: endpoint.to_owned(),
        spec: spec.clone(),
        family: if addr.is_ipv4() { "IPv4" } else { "IPv6" },
    }
}

/// Host ports in use, and the slots that are free for rules and groups.
pub(super) struct Ports<'a> {
    facts: &'a Facts,
    taken: Claims<Holder>,
    slots: Box<dyn Iterator<Item = u16>>,
    state: &'a State,
    groups: BTreeSet<u16>,
}

impl<'a> Ports<'a> {
    /// The ports that the rules of `state` and the host's own sockets have.
    pub(super) fn new(state: &'a State, facts: &'a Facts) -> Self {
        let mut ports = Self {
            facts,
            taken: Claims::default(),
            slots: Box::new(state.free_rule_slots()),
            state,
            groups: BTreeSet::new(),
        };
        // A routed network takes no port of the host.
        for (n, e) in state.endpoints().filter(|(n, _)| n.mode == Mode::Nat) {
            let endpoint: Rc<str> = e.name.as_str().into();
            for rule in &e.rules {
                ports.take_rule(&endpoint, &e.homes(n), rule);
            }
        }
        for l in &facts.listeners {
            if let Some(range) = PortRange::new(l.port, l.port) {
                ports.taken.add(Claim {
                    proto: l.proto,
                    ports: range,
                    addr: l.addr,
                    by: Taker::Socket { only6: l.only6 },
                    holder: Holder::Socket,
                });
            }
        }
        ports
    }

    fn take_rule(&mut self, endpoint: &Rc<str>, homes: &Homes, rule: &Rule) {
        let Some(ports) = rule.host_range() else {
            return;
        };
        let holder = Holder::Rule {
            endpoint: Rc::clone(endpoint),
            container: rule.spec.container,
            group: rule.group,
            member: rule.member,
        };
        let by = Taker::Rule {
            balance: rule.spec.balance,
        };
        for addr in rule.addrs(homes) {
            self.taken.add(Claim {
                proto: rule.proto(),
                ports,
                addr,
                by,
                holder: holder.clone(),
            });
        }
    }

    /// A free slot for one more rule.
    pub(super) fn slot(&mut self) -> Result<u16, Error> {
        self.slots.next().ok_or(Error::NoSlot {
            what: "published port",
            most: MAX_RULES - 1,
        })
    }

    /// Takes the ports of `spec` at `at` for an endpoint. `held` says that ports which are named are
    /// somebody else's, whose sockets do not stand against it.
    pub(super) fn allocate(
        &mut self,
        endpoint: &str,
        homes: &Homes,
        spec: &PortSpec,
        at: HostBinding,
        held: bool,
    ) -> Result<Chosen, Error> {
        let addr = at.addr;
        if !homes.has_family_of(addr) {
            return Err(no_home(endpoint, spec, addr));
        }
        let addrs: Vec<IpAddr> = addrs_of(spec, at, homes).collect();
        let width = spec.width();
        let ask = Asking {
            endpoint,
            spec,
            addrs: &addrs,
        };
        let ports = match spec.host {
            Some(range) if range.width() == width => self.fixed(&ask, range, held)?,
            Some(range) => self.choose(&ask, range, &[])?,
            None => self.choose(&ask, self.facts.local_range, &self.facts.reserved)?,
        };
        let (group, member) = if spec.balance {
            self.join(&ask, ports)?
        } else {
            (0, 0)
        };
        for addr in &addrs {
            let claim = ask.claim(*addr, ports);
            self.taken.add(Claim {
                proto: claim.proto,
                ports,
                addr: *addr,
                by: claim.by,
                holder: Holder::Rule {
                    endpoint: endpoint.into(),
                    container: spec.container,
                    group,
                    member,
                },
            });
        }
        Ok(Chosen {
            host: ports.first(),
            group,
            member,
        })
    }

    /// What is in the way of a range.
    fn in_the_way(
        &self,
        ask: &Asking<'_>,
        ports: PortRange,
    ) -> impl Iterator<Item = &Claim<Holder>> {
        let claims = ask.addrs.iter().map(move |addr| ask.claim(*addr, ports));
        claims.flat_map(|claim| self.taken.in_the_way_of(claim))
    }

    fn fixed(&self, ask: &Asking<'_>, range: PortRange, held: bool) -> Result<PortRange, Error> {
        let met = |c: &&Claim<Holder>| !(held && matches!(c.by, Taker::Socket { .. }));
        match self.in_the_way(ask, range).find(met) {
            None => Ok(range),
            Some(claim) => Err(ask.refusal(range, claim)),
        }
    }

    /// The group of a range that is shared, and a free index in it.
    fn join(&mut self, ask: &Asking<'_>, range: PortRange) -> Result<(u16, u8), Error> {
        let (mut shared, mut used) = (0, BTreeSet::new());
        for claim in self.taken.meeting(ask.spec.proto, range) {
            let Holder::Rule {
                ref endpoint,
                container,
                group,
                member,
            } = claim.holder
            else {
                continue;
            };
            if group == 0 || claim.ports != range || !ask.addrs.contains(&claim.addr) {
                continue;
            }
            if &**endpoint == ask.endpoint && container == ask.spec.container {
                return Err(ask.refusal(range, claim));
            }
            if shared != 0 && shared != group {
                // Of both families by two groups: no flow could tell which.
                return Err(ask.refusal(range, claim));
            }
            shared = group;
            used.insert(member);
        }
        if shared == 0 {
            shared = self.state.free_group(&self.groups).ok_or(Error::NoSlot {
                what: "shared port",
                most: MAX_GROUPS - 1,
            })?;
            self.groups.insert(shared);
        }
        let free = (0..MAX_BACKENDS as u8).find(|member| !used.contains(member));
        let member = free.ok_or(Error::NoSlot {
            what: "endpoint of one shared port",
            most: MAX_BACKENDS,
        })?;
        Ok((shared, member))
    }

    /// The first run of free ports within `range`.
    fn choose(
        &self,
        ask: &Asking<'_>,
        range: PortRange,
        reserved: &[PortRange],
    ) -> Result<PortRange, Error> {
        let width = ask.spec.width();
        let mut run = 0;
        for port in range.first()..=range.last() {
            let kept = reserved.iter().any(|r| r.holds(port));
            let free = PortRange::new(port, port)
                .is_some_and(|one| !kept && self.in_the_way(ask, one).next().is_none());
            run = if free { run + 1 } else { 0 };
            // The run ends at `port` and holds `width` ports: it cannot begin below 0.
            if run == width
                && let Some(found) = PortRange::new((u32::from(port) + 1 - width) as u16, port)
            {
                return Ok(found);
            }
        }
        Err(Error::NoPort {
            endpoint: ask.endpoint.to_owned(),
            spec: ask.spec.clone(),
            width,
            range,
        })
    }
}

/// Who asks for what.
struct Asking<'s> {
    endpoint: &'s str,
    spec: &'s PortSpec,
    addrs: &'s [IpAddr],
}

impl Asking<'_> {
    fn claim(&self, addr: IpAddr, ports: PortRange) -> Claim<()> {
        Claim {
            proto: self.spec.proto,
            ports,
            addr,
            by: Taker::Rule {
                balance: self.spec.balance,
            },
            holder: (),
        }
    }

    /// In Docker's words.
    fn refusal(&self, range: PortRange, claim: &Claim<Holder>) -> Error {
        let family = |a: &&IpAddr| a.is_ipv4() == claim.addr.is_ipv4();
        let (endpoint, proto) = (self.endpoint.to_owned(), self.spec.proto);
        let addr = self.addrs.iter().find(family).or(self.addrs.first());
        let addr = addr.copied().unwrap_or(claim.addr);
        let port = range.first().max(claim.ports.first());
        match &claim.holder {
            Holder::Socket => Error::PortBound {
                endpoint,
                addr,
                port,
                proto,
                socket: claim.addr,
            },
            Holder::Rule {
                endpoint: other, ..
            } => Error::PortTaken {
                endpoint,
                addr,
                port,
                proto,
                holder: other.as_ref().to_owned(),
            },
        }
    }
}

#[cfg(test)]
#[path = "ports_tests.rs"]
mod tests;
