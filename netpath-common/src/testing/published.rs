//! Published ports of [`MemTables`]: what user space writes, and the look-up's view of it.
//!
//! Owns entries, starts, backends, allow lists and rules in memory. Splits no ranges: a test says
//! which entries there are.

use super::{
    routes,
    tables::MemTables,
    topology::{Container, endpoint_record},
};
use crate::{
    addr::Addr,
    publish::{Backends, PublishedPorts, Starts, starts_index},
    records::{
        EndpointRecord, NetworkRecord, Published, PublishedKey, REVISION_SHIFT, RULE_ALLOW,
        RuleRecord, SourceKey,
    },
};

impl<A: Addr> PublishedPorts for MemTables<A> {
    type A = A;

    fn endpoint(&self, slot: u16) -> Option<&EndpointRecord> {
        self.endpoints.get(usize::from(slot))
    }

    fn network(&self, slot: u16) -> Option<&NetworkRecord> {
        self.networks.get(usize::from(slot))
    }

    fn rule(&self, slot: u16) -> Option<&RuleRecord> {
        self.rules.get(usize::from(slot))
    }

    fn starts(&self, proto: u8) -> Option<&Starts> {
        self.starts.get(starts_index(proto)? as usize)
    }

    fn published(&self, key: &PublishedKey<A>) -> Option<&Published<A>> {
        self.published.get(key)
    }

    fn backends(&self, group: u32) -> Option<&Backends> {
        self.backends.get(group as usize)
    }

    fn is_listed(&self, source: &SourceKey<A>) -> bool {
        let key = source.key;
        let holds = |(rule, net, len): &(u32, A, u8)| {
            *rule == key.rule && routes::in_prefix(key.addr, *net, *len)
        };
        self.allowed.iter().any(holds)
    }

    fn is_there(&self, ifindex: u32) -> bool {
        !self.gone.contains(&ifindex)
    }

    fn repeat<S>(&self, n: u32, state: &mut S, body: extern "C" fn(u32, *mut S) -> i64) {
        for i in 0..n {
            if body(i, state) != 0 {
                break;
            }
        }
    }
}

impl<A: Addr> MemTables<A> {
    /// Publishes a port on any address of the host, or moves it; the rule's generation grows.
    pub fn publish(&mut self, proto: u8, port: u16, to: &Container, to_port: u16, rule: u16) {
        self.publish_range(A::NONE, (port, port), proto, (to, to_port), rule);
    }

    /// Publishes a range of ports, or moves it; the rule's generation grows.
    pub fn publish_range(
        &mut self,
        addr: A,
        (first, last): (u16, u16),
        proto: u8,
        (to, port): (&Container, u16),
        rule: u16,
    ) {
        self.rules[usize::from(rule)].generation += 1;
        let key = PublishedKey {
            addr,
            port: first,
            proto,
            zero: 0,
        };
        let target = Published {
            addr: A::of_endpoint(&endpoint_record(to)),
            port,
            endpoint: to.slot,
            rule,
            last,
            ..Published::default()
        };
        self.set_published(key, target);
    }

    /// Writes an entry, its start and the reservation of its ports.
    pub fn set_published(&mut self, key: PublishedKey<A>, to: Published<A>) {
        self.published.insert(key, to);
        if let Some(starts) = starts_index(key.proto) {
            self.starts[starts as usize].insert(key.port);
        }
        for port in key.port..=to.last {
            self.set_reserved(key.proto, port, true);
        }
    }

    /// Takes a published port back; the rule's generation grows.
    pub fn unpublish(&mut self, proto: u8, port: u16, rule: u16) {
        self.rules[usize::from(rule)].generation += 1;
        self.published.remove(&PublishedKey {
            addr: A::NONE,
            port,
            proto,
            zero: 0,
        });
        if let Some(starts) = starts_index(proto) {
            let left = self.published.keys().filter(|k| k.proto == proto);
            self.starts[starts as usize] = left.map(|k| k.port).collect();
        }
        self.set_reserved(proto, port, false);
    }

    /// Gives a rule another allow list, none for everybody, as user space does: the rule's revision
    /// grows.
    pub fn allow(&mut self, rule: u16, sources: &[(A, u8)]) {
        self.allowed.retain(|(r, _, _)| *r != rule.into());
        let list = sources.iter().map(|(net, len)| (rule.into(), *net, *len));
        self.allowed.extend(list);
        let record = &mut self.rules[usize::from(rule)];
        record.flags = if sources.is_empty() { 0 } else { RULE_ALLOW };
        record.generation = record.generation.wrapping_add(1 << REVISION_SHIFT);
    }
}
