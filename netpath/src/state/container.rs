//! Containers: the endpoints of one network namespace.

use super::{Endpoint, State};
use crate::config::NetnsRef;

impl State {
    /// The network namespace of an endpoint of any network.
    #[must_use]
    pub fn container(&self, endpoint: &str) -> Option<&NetnsRef> {
        let bridged = self.endpoint(endpoint).map(|(_, e)| &e.netns);
        bridged.or_else(|| self.member(endpoint).map(|(_, m)| &m.netns))
    }

    /// The endpoint that the container of another endpoint has in a network.
    #[must_use]
    pub fn endpoint_beside(&self, network: &str, endpoint: &str) -> Option<&str> {
        let bridged = self.endpoints().map(|(n, e)| (&n.name, &e.name, place(e)));
        let others = self
            .members()
            .map(|(n, m)| (&n.name, &m.name, Place::Inode(m.netns_ino)));
        let all: Vec<_> = bridged.chain(others).collect();
        let (_, _, of) = all.iter().find(|(_, name, _)| *name == endpoint)?;
        let mut there = all.iter().filter(|(n, _, _)| *n == network);
        let found = there.find(|(_, _, place)| place == of)?;
        Some(found.1.as_str())
    }
}

/// What tells one container from another.
#[derive(PartialEq, Eq)]
enum Place<'a> {
    /// It is there: its namespace.
    Inode(u64),
    /// Its endpoints wait for a namespace of this name. The inode may be another's by now.
    Name(&'a NetnsRef),
}

const fn place(e: &Endpoint) -> Place<'_> {
    if e.is_present() {
        Place::Inode(e.netns_ino)
    } else {
        Place::Name(&e.netns)
    }
}

#[cfg(test)]
mod tests {
    use super::{super::testing::network, *};

    #[test]
    fn one_that_waits_is_told_by_the_name_of_its_namespace() {
        let (mut one, mut two) = (
            network(None, &["::1", "::1"]),
            network(None, &["::1", "::1"]),
        );
        (one.name, two.name) = ("one".into(), "two".into());
        for (n, names) in [(&mut one, ["a", "b"]), (&mut two, ["b-two", "a-two"])] {
            for (e, name) in n.endpoints.iter_mut().zip(names) {
                e.name = name.into();
                e.netns = name[..1].parse().unwrap();
                // What endpoints have that were never there.
                e.netns_ino = 0;
                e.leave();
            }
        }
        let mut s = State {
            networks: vec![one, two],
            ..State::default()
        };
        assert_eq!(s.endpoint_beside("two", "a"), Some("a-two"));
        assert_eq!(s.endpoint_beside("two", "b"), Some("b-two"));
        // The inode of one that waits is given to another container.
        s.networks[0].endpoints[0].gone = None;
        assert_eq!(s.endpoint_beside("two", "a"), None);
        s.networks[1].endpoints[1].gone = None;
        assert_eq!(s.endpoint_beside("two", "a"), Some("a-two"));
    }
}
