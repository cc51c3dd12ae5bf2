//! Announcing the addresses of new containers again.
//!
//! Owns when: the command that makes an endpoint announces it once and ends;
//! the agent does so [`TIMES`] − 1 times more, a second apart, for a frame may be lost behind a
//! bridge that carries none yet.

use std::{collections::HashSet, time::Duration};

use tokio::time::{Instant, sleep_until};

use crate::{
    net::{Announced, Netlink},
    state::{Endpoint, Network, State},
};

/// How often an address is announced: a single frame may be lost where the network behind the bridge is
/// slow to carry it (RFC 5227: `ANNOUNCE_NUM` of 2; RFC 4861: `MAX_NEIGHBOR_ADVERTISEMENT` of 3,
/// `RetransTimer` of 1 s).
const TIMES: u8 = 3;
/// Between two announcements.
const PACE: Duration = Duration::from_secs(1);
/// Without anything to announce.
const LONG: Duration = Duration::from_secs(3600);

/// What is still to be announced.
#[derive(Debug, Default)]
pub(super) struct Announcer {
    known: HashSet<String>,
    waiting: Vec<Waiting>,
}

#[derive(Clone, Debug)]
struct Waiting {
    due: Instant,
    left: u8,
    /// The endpoint's identifier and name.
    id: String,
    name: String,
    bridge: u32,
    what: Announced,
}

impl Announcer {
    /// One to which the endpoints of `state` are nothing new.
    pub(super) fn new(state: &State) -> Self {
        Self {
            known: present(state).map(|(_, e)| e.id.clone()).collect(),
            waiting: Vec::new(),
        }
    }

    /// Takes note of endpoints that are new, and of those that have gone.
    pub(super) fn look(&mut self, state: &State, now: Instant) {
        let new = present(state).filter(|(_, e)| !self.known.contains(&e.id));
        self.waiting.extend(new.map(|(n, e)| Waiting {
            due: now + PACE,
            left: TIMES - 1,
            name: e.name.clone(),
            id: e.id.clone(),
            bridge: n.ifindex,
            what: Announced {
                addr: e.addr,
                addr6: e.addr6,
                mac: e.mac,
            },
        }));
        self.known = present(state).map(|(_, e)| e.id.clone()).collect();
        // The address of one that has gone may be another's.
        self.waiting.retain(|w| self.known.contains(&w.id));
    }

    /// Waits until something is due. May be dropped and called again.
    pub(super) async fn due(&self) {
        let next = self.waiting.iter().map(|w| w.due).min();
        sleep_until(next.unwrap_or_else(|| Instant::now() + LONG)).await;
    }

    /// Announces what is due.
    pub(super) async fn announce(&mut self, netlink: &Netlink, now: Instant) {
        for w in self.take_due(now) {
            if let Err(e) = netlink.announce(w.bridge, &[w.what], true).await {
                tracing::debug!("endpoint {}: {e}", w.name);
            }
        }
    }

    /// What is due, each put back for its next time.
    fn take_due(&mut self, now: Instant) -> Vec<Waiting> {
        let (due, rest) = self.waiting.drain(..).partition(|w| w.due <= now);
        self.waiting = rest;
        let again = |w: &Waiting| {
            let left = w.left.checked_sub(1).filter(|left| *left > 0)?;
            let due = now + PACE;
            Some(Waiting {
                due,
                left,
                ..w.clone()
            })
        };
        self.waiting.extend(due.iter().filter_map(again));
        due
    }
}

/// The endpoints that are on the host and whole.
fn present(state: &State) -> impl Iterator<Item = (&Network, &Endpoint)> {
    let whole = |e: &Endpoint| e.is_present() && !e.unfinished;
    state.endpoints().filter(move |(_, e)| whole(e))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::state::testing::network;

    fn state(id: &str) -> State {
        let mut n = network(None, &["fd00::2"]);
        n.endpoints[0].id = id.into();
        State {
            networks: vec![n],
            ..State::new("b".into(), 1)
        }
    }

    #[test]
    fn a_new_endpoint_is_announced_twice_more_a_second_apart_and_an_old_one_never() {
        let start = Instant::now();
        let mut a = Announcer::new(&state("old"));
        a.look(&state("old"), start);
        assert!(a.take_due(start + 10 * PACE).is_empty());
        a.look(&state("new"), start);
        a.look(&state("new"), start);
        assert!(a.take_due(start).is_empty());
        assert_eq!(a.take_due(start + PACE).len(), 1);
        assert!(a.take_due(start + PACE).is_empty());
        assert_eq!(a.take_due(start + 2 * PACE).len(), 1);
        assert!(a.take_due(start + 10 * PACE).is_empty());
    }

    #[test]
    fn one_that_has_gone_is_announced_no_more() {
        let start = Instant::now();
        let mut a = Announcer::new(&state("old"));
        a.look(&state("new"), start);
        a.look(&state("another"), start);
        assert_eq!(a.take_due(start + PACE).len(), 1);
    }
}
