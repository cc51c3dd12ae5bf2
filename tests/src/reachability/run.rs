//! Many questions at a time, and the sum of what was dropped meanwhile.
//!
//! Owns what both matrices of reachability have in common. The questions are theirs.

use std::{
    collections::BTreeMap,
    fmt, fs,
    sync::{
        Mutex,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use netpath_common::DropReason;

use crate::{
    local::Kind,
    netns::{Namespace, within},
    topology::World,
};

/// How many questions are asked at a time: most wait.
const AT_ONCE: usize = 24;
/// How long an answer may take with so many.
pub const SOON: Duration = Duration::from_secs(5);
/// How long silence lasts, less than until a SYN is sent again.
pub const SILENCE: Duration = Duration::from_millis(400);
/// When it has been.
const RETRANSMITTED: Duration = Duration::from_millis(950);

/// What a run has had to wait for.
#[derive(Debug, Default)]
pub struct Run {
    promised: Mutex<BTreeMap<&'static str, u64>>,
    /// SYNs that may have been sent, and dropped, twice.
    twice: AtomicU64,
}

impl Run {
    /// Asks every question, and demands that none is answered otherwise than promised.
    ///
    /// # Panics
    /// When one is, with all that are.
    pub fn all<Q: fmt::Debug + Sync>(
        &self,
        questions: &[Q],
        ask: impl Fn(usize, &Q) -> Result<(), String> + Sync,
    ) {
        let next = AtomicUsize::new(0);
        let broken = Mutex::new(Vec::new());
        thread::scope(|scope| {
            for _ in 0..AT_ONCE {
                scope.spawn(|| {
                    loop {
                        let place = next.fetch_add(1, Ordering::Relaxed);
                        let Some(question) = questions.get(place) else {
                            break;
                        };
                        if let Err(found) = ask(place, question) {
                            let line = format!("{question:?}: {found}");
                            broken.lock().unwrap().push((place, line));
                        }
                    }
                });
            }
        });
        let mut broken = broken.into_inner().unwrap();
        broken.sort();
        let lines: Vec<String> = broken.into_iter().map(|(_, line)| line).collect();
        assert!(
            lines.is_empty(),
            "{} of {}:\n{}",
            lines.len(),
            questions.len(),
            lines.join("\n")
        );
    }

    /// A question of this kind is to end in a drop of this reason; it was asked at `begun`.
    pub fn dropped(&self, reason: DropReason, kind: Kind, begun: Instant) {
        *self
            .promised
            .lock()
            .unwrap()
            .entry(reason.as_str())
            .or_default() += 1;
        if kind == Kind::Tcp && begun.elapsed() > RETRANSMITTED {
            self.twice.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Demands that whoever was told nothing has been dropped for the reason that was promised, and that
    /// nobody else was, but for `besides`.
    ///
    /// # Panics
    /// When the counters say otherwise.
    pub fn assert_drops(self, world: &World, besides: &[DropReason]) {
        let promised = self.promised.into_inner().unwrap();
        let twice = self.twice.into_inner();
        let mut found = world.drops();
        found.retain(|reason, _| besides.iter().all(|besides| besides.as_str() != *reason));
        assert!(
            found.keys().eq(promised.keys())
                && found
                    .iter()
                    .all(|(reason, n)| (promised[reason]..=promised[reason] + twice).contains(n)),
            "{found:?} instead of {promised:?}, {twice} perhaps twice"
        );
        println!("drops: {found:?}");
    }
}

/// Whoever refuses in this namespace says so each time.
///
/// # Panics
/// When the limits cannot be lifted.
pub fn lift_icmp_limits(namespace: &Namespace) {
    for (setting, value) in [
        ("ipv4/icmp_ratelimit", "0"),
        ("ipv6/icmp/ratelimit", "0"),
        ("ipv4/icmp_msgs_per_sec", "10000"),
        ("ipv4/icmp_msgs_burst", "10000"),
    ] {
        let path = format!("/proc/sys/net/{setting}");
        within(namespace, || {
            // The last two are the whole machine's before Linux 6.13, and generous there.
            if fs::exists(&path).unwrap() {
                fs::write(&path, value).unwrap();
            }
        });
    }
}
