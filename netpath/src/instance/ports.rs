//! Host ports: who has which, and which are free. Pure.

use std::{collections::HashMap, net::Ipv4Addr, rc::Rc};

use netpath_common::maps::MAX_RULES;

use super::{Error, facts::Facts};
use crate::{
    config::{Mode, PortRange, PortSpec, Protocol, addresses_meet},
    net::listeners::Listener,
    state::State,
};

/// A host address that a port is taken at, and who has it, in words.
type Holder = (Ipv4Addr, Rc<str>);

/// Host ports in use, and the slots that are free for rules.
pub(super) struct Ports<'a> {
    facts: &'a Facts,
    taken: HashMap<(Protocol, u16), Vec<Holder>>,
    sockets: HashMap<(Protocol, u16), Vec<Listener>>,
    slots: Box<dyn Iterator<Item = u16>>,
}

impl<'a> Ports<'a> {
    /// The ports that the rules of `state` and the host's own sockets have.
    pub(super) fn new(state: &State, facts: &'a Facts) -> Self {
        let mut ports = Self {
            facts,
            taken: HashMap::new(),
            sockets: HashMap::new(),
            slots: Box::new(state.free_rule_slots()),
        };
        // A routed network takes no port of the host.
        for (_, e) in state.endpoints().filter(|(n, _)| n.mode == Mode::Nat) {
            let holder = publishes(&e.name);
            for rule in &e.rules {
                for (host, _) in rule.pairs() {
                    ports.take(rule.proto(), host, rule.addr, &holder);
                }
            }
        }
        for l in &facts.listeners {
            let sockets = ports.sockets.entry((l.proto, l.port)).or_default();
            sockets.push(*l);
        }
        ports
    }

    /// A free slot for one more rule.
    pub(super) fn slot(&mut self) -> Result<u16, Error> {
        self.slots.next().ok_or(Error::NoSlot {
            what: "published port",
            most: MAX_RULES - 1,
        })
    }

    fn take(&mut self, proto: Protocol, port: u16, addr: Ipv4Addr, holder: &Rc<str>) {
        self.taken
            .entry((proto, port))
            .or_default()
            .push((addr, Rc::clone(holder)));
    }

    /// Who has a port at an address; a wildcard meets every address.
    fn holder(&self, proto: Protocol, port: u16, addr: Ipv4Addr) -> Option<&str> {
        let holders = self.taken.get(&(proto, port))?;
        let meets = |a: &Ipv4Addr| addresses_meet(*a, addr);
        holders
            .iter()
            .find(|(a, _)| meets(a))
            .map(|(_, holder)| &**holder)
    }

    /// A socket of the host that stands against publishing a port.
    fn socket(&self, proto: Protocol, port: u16, addr: Ipv4Addr) -> Option<&Listener> {
        let sockets = self.sockets.get(&(proto, port))?;
        sockets.iter().find(|l| l.meets(addr.into()))
    }

    /// Takes the ports of `spec` at `addr` for an endpoint; returns the first host port. `held` says
    /// that ports which are named are somebody else's, whose sockets do not stand against it.
    pub(super) fn allocate(
        &mut self,
        endpoint: &str,
        spec: &PortSpec,
        addr: Ipv4Addr,
        held: bool,
    ) -> Result<u16, Error> {
        let width = spec.width();
        let first = match spec.host {
            Some(range) if range.width() == width => {
                self.fixed(endpoint, spec, addr, range, held)?
            }
            Some(range) => self.choose(endpoint, spec, addr, range, &[])?,
            None => {
                let (range, reserved) = (self.facts.local_range, &self.facts.reserved);
                self.choose(endpoint, spec, addr, range, reserved)?
            }
        };
        let holder = publishes(endpoint);
        for port in (first..=u16::MAX).take(width as usize) {
            self.take(spec.proto, port, addr, &holder);
        }
        Ok(first)
    }

    fn fixed(
        &self,
        endpoint: &str,
        spec: &PortSpec,
        addr: Ipv4Addr,
        range: PortRange,
        held: bool,
    ) -> Result<u16, Error> {
        for port in range.first()..=range.last() {
            if !held && let Some(socket) = self.socket(spec.proto, port, addr) {
                return Err(Error::PortBound {
                    endpoint: endpoint.to_owned(),
                    addr,
                    port,
                    proto: spec.proto,
                    socket: socket.addr,
                });
            }
            if let Some(holder) = self.holder(spec.proto, port, addr) {
                return Err(Error::PortTaken {
                    endpoint: endpoint.to_owned(),
                    addr,
                    port,
                    proto: spec.proto,
                    holder: holder.to_owned(),
                });
            }
        }
        Ok(range.first())
    }

    /// The first run of free ports within `range`.
    fn choose(
        &self,
        endpoint: &str,
        spec: &PortSpec,
        addr: Ipv4Addr,
        range: PortRange,
        reserved: &[PortRange],
    ) -> Result<u16, Error> {
        let width = spec.width();
        let mut run = 0;
        for port in range.first()..=range.last() {
            let kept = reserved
                .iter()
                .any(|r| (r.first()..=r.last()).contains(&port));
            let taken = self.holder(spec.proto, port, addr).is_some()
                || self.socket(spec.proto, port, addr).is_some();
            run = if kept || taken { 0 } else { run + 1 };
            if run == width {
                // The run ends at `port` and holds `width` ports: it cannot begin below 0.
                return Ok((u32::from(port) + 1 - width) as u16);
            }
        }
        Err(Error::NoPort {
            endpoint: endpoint.to_owned(),
            spec: *spec,
            width,
            range,
        })
    }
}

fn publishes(endpoint: &str) -> Rc<str> {
    format!("endpoint `{endpoint}` publishes it").into()
}

#[cfg(test)]
mod tests {
    use super::*;

    const ANY: Ipv4Addr = Ipv4Addr::UNSPECIFIED;
    const LOCAL: Ipv4Addr = Ipv4Addr::LOCALHOST;

    fn facts() -> Facts {
        Facts {
            links: Vec::new(),
            on_link: Vec::new(),
            on_link6: Vec::new(),
            forwarding6: crate::instance::forwarding::Forwarding6::default(),
            default_uplinks: Vec::new(),
            listeners: vec![Listener {
                proto: Protocol::Tcp,
                addr: LOCAL.into(),
                port: 22,
                only6: false,
            }],
            local_range: PortRange::new(40_000, 40_009).unwrap(),
            reserved: vec![PortRange::new(40_000, 40_001).unwrap()],
            own_netns: 0,
        }
    }

    fn allocate(ports: &mut Ports<'_>, spec: &str, addr: Ipv4Addr) -> Result<u16, String> {
        ports
            .allocate("e", &spec.parse().unwrap(), addr, false)
            .map_err(|e| e.to_string())
    }

    #[test]
    fn a_port_is_given_once_in_docker_s_words() {
        let facts = facts();
        let mut ports = Ports::new(&State::default(), &facts);
        assert_eq!(allocate(&mut ports, "8080:80", ANY), Ok(8080));
        let e = allocate(&mut ports, "8080:80", LOCAL).unwrap_err();
        assert!(
            e.starts_with("Bind for 127.0.0.1:8080 failed: port is already allocated"),
            "{e}"
        );
        assert_eq!(allocate(&mut ports, "8080:80/udp", LOCAL), Ok(8080));
        let e = allocate(&mut ports, "20-30:20-30", ANY).unwrap_err();
        assert!(
            e.starts_with("failed to bind host port 0.0.0.0:22/tcp: address already in use")
                && e.contains("127.0.0.1"),
            "{e}"
        );
        assert_eq!(
            allocate(&mut ports, "22:22", Ipv4Addr::new(192, 0, 2, 1)),
            Ok(22)
        );
    }

    #[test]
    fn a_port_that_somebody_holds_for_netpath_is_given() {
        let facts = facts();
        let mut ports = Ports::new(&State::default(), &facts);
        let spec = "22:22".parse().unwrap();
        assert_eq!(ports.allocate("e", &spec, ANY, true).unwrap(), 22);
        // But once.
        let e = ports.allocate("f", &spec, ANY, true).unwrap_err();
        assert!(e.to_string().contains("already allocated"), "{e}");
    }

    #[test]
    fn open_ports_are_chosen_around_taken_and_reserved_ones() {
        let facts = facts();
        let mut ports = Ports::new(&State::default(), &facts);
        assert_eq!(allocate(&mut ports, "80", ANY), Ok(40_002));
        assert_eq!(allocate(&mut ports, "80-82", ANY), Ok(40_003));
        assert_eq!(allocate(&mut ports, "40002-40009:80", ANY), Ok(40_006));
        assert!(
            allocate(&mut ports, "80-83", ANY)
                .unwrap_err()
                .contains("no 4 free ports")
        );
    }
}
