//! The count of test results.
//!
//! Owns the reading of libtest's summary lines and the judgement of the sum.

use std::fmt;

/// How many tests had which result.
#[derive(Debug, Default, Eq, PartialEq)]
pub(crate) struct Tally {
    /// Those that passed, without those that skipped themselves.
    pub(crate) passed: usize,
    /// Those that failed, and test programs that crashed or did not build.
    pub(crate) failed: usize,
    /// Those that are marked `#[ignore]`, and those that skipped themselves.
    pub(crate) skipped: usize,
    /// Those among them that skipped themselves for something missing.
    missing: usize,
}

impl Tally {
    /// Adds a line of output, if it is the summary of a test program.
    pub(crate) fn line(&mut self, line: &str) {
        let Some(summary) = line.trim().strip_prefix("test result: ") else {
            return;
        };
        let results = summary
            .split_once(". ")
            .map_or(summary, |(_, results)| results);
        for result in results.split(';') {
            let mut words = result.split_whitespace();
            let count = words.next().and_then(|count| count.parse::<usize>().ok());
            match (count, words.next()) {
                (Some(count), Some("passed")) => self.passed += count,
                (Some(count), Some("failed")) => self.failed += count,
                (Some(count), Some("ignored")) => self.skipped += count,
                _ => {}
            }
        }
    }

    /// Moves the tests that skipped themselves from the passed ones, which libtest takes them for.
    pub(crate) fn skip(&mut self, reasons: &[String]) {
        self.missing += reasons.len();
        self.skipped += reasons.len();
        self.passed = self.passed.saturating_sub(reasons.len());
    }

    /// Whether the run is good, and if not, why.
    pub(crate) fn verdict(&self, in_ci: bool) -> Result<(), &'static str> {
        if self.failed > 0 {
            Err("tests failed")
        } else if self.passed == 0 {
            Err("no test ran")
        } else if in_ci && self.missing > 0 {
            Err("tests were skipped, and CI has to have what they need")
        } else {
            Ok(())
        }
    }
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} passed, {} failed, {} skipped",
            self.passed, self.failed, self.skipped
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tally(lines: &[&str]) -> Tally {
        let mut tally = Tally::default();
        lines.iter().for_each(|line| tally.line(line));
        tally
    }

    #[test]
    fn summaries_add_up() {
        let tally = tally(&[
            "running 3 tests",
            "test result: ok. 3 passed; 0 failed; 1 ignored; 0 measured; 0 filtered out; finished in 0.00s",
            "test result: FAILED. 2 passed; 4 failed; 0 ignored; 0 measured; 9 filtered out; finished in 1.00s",
        ]);
        assert_eq!(tally.to_string(), "5 passed, 4 failed, 1 skipped");
        assert_eq!(tally.verdict(false), Err("tests failed"));
    }

    #[test]
    fn a_test_that_skips_itself_has_not_passed() {
        let mut tally = tally(&["test result: ok. 3 passed; 0 failed; 0 ignored"]);
        tally.skip(&["no conntrack".to_owned()]);
        assert_eq!(tally.to_string(), "2 passed, 0 failed, 1 skipped");
        assert_eq!(tally.verdict(false), Ok(()));
        assert!(tally.verdict(true).is_err());
    }

    #[test]
    fn a_run_without_tests_is_a_failure() {
        let tally = tally(&["test result: ok. 0 passed; 0 failed; 0 ignored"]);
        assert_eq!(tally.verdict(false), Err("no test ran"));
    }
}
