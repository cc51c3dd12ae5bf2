//! A life that fails, made short.
//!
//! Owns the search for steps that the failure does not need. What fails is `world`'s to say.

use std::{
    any::Any,
    cell::Cell,
    panic::{AssertUnwindSafe, catch_unwind, set_hook, take_hook},
    sync::Once,
};

use crate::{Seen, life::Life, play, step::Step};

thread_local! {
    /// Panics of this thread are caught and told by the test itself.
    static IS_QUIET: Cell<bool> = const { Cell::new(false) };
}

/// Keeps the thousand failures of a search out of the test's output.
fn be_quiet(quiet: bool) {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let tell = take_hook();
        set_hook(Box::new(move |info| {
            if !IS_QUIET.get() {
                tell(info);
            }
        }));
    });
    IS_QUIET.set(quiet);
}

/// Plays a life; what a check said, if one failed.
pub(crate) fn outcome(life: Life, steps: &[Step]) -> Result<Seen, String> {
    be_quiet(true);
    let result = catch_unwind(AssertUnwindSafe(|| play(life, steps)));
    be_quiet(false);
    result.map_err(|panic| text(&*panic))
}

fn text(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<String>().cloned();
    let literal = panic.downcast_ref::<&str>().map(|s| (*s).to_owned());
    text.or(literal).unwrap_or_default()
}

/// The steps without those that a failure does not need: runs of them are left out as long as it
/// still fails, shorter and shorter ones.
pub(crate) fn shortest(life: Life, mut steps: Vec<Step>) -> Vec<Step> {
    let mut run = steps.len().div_ceil(2);
    while run > 0 {
        let mut at = 0;
        while at < steps.len() {
            let mut fewer = steps.clone();
            fewer.drain(at..(at + run).min(fewer.len()));
            if outcome(life, &fewer).is_err() {
                steps = fewer;
            } else {
                at += run;
            }
        }
        run /= 2;
    }
    steps
}
