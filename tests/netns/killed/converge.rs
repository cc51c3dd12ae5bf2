//! One command, killed after its steps: what is done before and after, and what has to be the same.
//!
//! Owns which steps a run takes. The commands are the parent's, what is compared is `site`'s.

use std::{
    env,
    hash::{DefaultHasher, Hash as _, Hasher as _},
    time::{Instant, SystemTime},
};

use netpath_tests::killer;

use super::site::Site;

/// Chooses the steps of a run that does not take all. Without it the day does, so that what fails fails
/// again, and all have had their turn in time.
const SEED: &str = "NETPATH_SEED";

/// A command, where it begins, and what may be said to one that has nothing left to do.
pub(super) struct Killed {
    pub(super) before: &'static str,
    pub(super) command: &'static str,
    pub(super) done: &'static str,
    pub(super) after: &'static str,
}

fn seed() -> u64 {
    if let Some(seed) = env::var_os(SEED) {
        let number = seed.to_str().and_then(|seed| seed.parse().ok());
        return number.unwrap_or_else(|| panic!("{SEED}={}: no number", seed.display()));
    }
    SystemTime::UNIX_EPOCH.elapsed().unwrap().as_secs() / (24 * 60 * 60)
}

/// The steps of `command` that this run kills it after: with `--long` all, else `few`, evenly apart. Other
/// commands have others, and so have other days.
pub(super) fn chosen(command: &str, steps: usize, few: usize) -> Vec<usize> {
    if env::var_os("NETPATH_LONG").is_some() {
        return (0..steps).collect();
    }
    let mut hash = DefaultHasher::new();
    command.hash(&mut hash);
    let stride = steps.div_ceil(few);
    let turn = hash.finish().wrapping_add(seed()) % stride as u64;
    let turn = usize::try_from(turn).unwrap();
    println!(
        "`{command}`: step {turn} of each {stride}; {SEED}={} has the same",
        seed()
    );
    (turn..steps).step_by(stride).collect()
}

/// Kills the command after its steps, says it again, and demands what it has done where nobody killed it.
#[track_caller]
pub(super) fn converges(site: &Site, of: &Killed) {
    let Killed {
        before,
        command,
        done,
        after,
    } = of;
    site.run(before);
    let whole = killer::run(&mut site.command(command), None);
    assert!(
        whole.status.unwrap().success(),
        "{command}: {}",
        whole.errors
    );
    let wanted = site.fingerprint();
    site.run(after);
    let (steps, began) = (whole.steps.len(), Instant::now());
    assert!(steps > 3, "{:?}", whole.steps);
    let mut tried = 0;
    for at in chosen(command, steps, 2) {
        site.run(before);
        let killed = killer::run(&mut site.command(command), Some(at));
        let step = killed.steps.last().unwrap();
        if killed.status.is_none() {
            tried += 1;
            let again = site.command(command).output().unwrap();
            let errors = String::from_utf8_lossy(&again.stderr);
            let settled = again.status.success() || (!done.is_empty() && errors.contains(done));
            assert!(
                settled,
                "`{command}` killed after {at} ({step}), again: {errors}"
            );
        }
        let found = site.fingerprint();
        same(
            &found,
            &wanted,
            &format!("`{command}` killed after {at} ({step})"),
        );
        site.run(after);
        if killed.status.is_some() {
            // Some settings stay once they are changed, so that it has fewer steps than the first time.
            assert!(at >= killed.steps.len(), "{at} of {:?}", killed.steps);
            break;
        }
    }
    println!(
        "`{command}`: {steps} steps, killed after {tried}, in {:.1?}",
        began.elapsed()
    );
}

/// Compares what is there with what has to be.
#[track_caller]
pub(super) fn same(found: &[String], wanted: &[String], step: &str) {
    let lost: Vec<_> = wanted.iter().filter(|l| !found.contains(l)).collect();
    let more: Vec<_> = found.iter().filter(|l| !wanted.contains(l)).collect();
    assert!(
        lost.is_empty() && more.is_empty(),
        "{step}: missing {lost:#?}, and there is {more:#?}"
    );
}
