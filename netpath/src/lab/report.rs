//! How the lab tells its story: one numbered check after the other, or one JSON document.
//!
//! Owns the findings and their presentation; what is checked is in the `steps_*` modules.

use std::io::{self, IsTerminal, Write};

use serde::Serialize;

use super::Error;

/// What a step found.
#[derive(Clone, Debug, Default)]
pub(super) struct Finding {
    /// Whether it is as expected.
    pub(super) ok: bool,
    /// What was expected.
    pub(super) expected: String,
    /// What was found.
    pub(super) found: String,
    /// Output worth reading.
    pub(super) shown: Vec<String>,
}

impl Finding {
    /// A finding without further output.
    pub(super) fn new(ok: bool, expected: impl Into<String>, found: impl Into<String>) -> Self {
        Self {
            ok,
            expected: expected.into(),
            found: found.into(),
            shown: Vec::new(),
        }
    }

    /// The same with output beneath.
    pub(super) fn showing(mut self, lines: impl IntoIterator<Item = String>) -> Self {
        self.shown.extend(lines);
        self
    }

    /// Both findings as one: it holds when both hold.
    pub(super) fn and(mut self, other: Self) -> Self {
        self.ok &= other.ok;
        self.expected = join(self.expected, &other.expected);
        self.found = join(self.found, &other.found);
        self.showing(other.shown)
    }
}

fn join(first: String, second: &str) -> String {
    if first.is_empty() {
        second.to_owned()
    } else {
        format!("{first}; {second}")
    }
}

/// One step in the JSON document.
#[derive(Debug, Serialize)]
struct Step {
    name: &'static str,
    ok: bool,
    detail: Detail,
}

#[derive(Debug, Serialize)]
struct Detail {
    expected: String,
    found: String,
    output: Vec<String>,
}

#[derive(Debug, Serialize)]
struct Document<'a> {
    steps: &'a [Step],
    ok: bool,
}

/// Collects the findings, and prints each at once unless JSON is wanted.
#[derive(Debug)]
pub(super) struct Report {
    steps: Vec<Step>,
    json: bool,
    colour: bool,
}

impl Report {
    /// A report on standard output; colours only on a terminal.
    pub(super) fn new(json: bool) -> Self {
        Self {
            steps: Vec::new(),
            json,
            colour: !json && io::stdout().is_terminal(),
        }
    }

    /// Prints lines that belong to no check.
    pub(super) fn say(&self, text: &str) {
        if !self.json {
            put(text);
        }
    }

    /// Prints a command line and what it printed.
    pub(super) fn say_all(&self, lines: &[String]) {
        for line in lines {
            self.say(&format!("  {line}"));
        }
    }

    /// Takes a step's finding, or the error that kept it from finding anything.
    pub(super) fn add(&mut self, name: &'static str, result: Result<Finding, Error>) {
        let finding = result.unwrap_or_else(|error| {
            Finding::new(false, "the check can be made", error.to_string())
        });
        if !self.json {
            put(&self.text(self.steps.len() + 1, name, &finding));
        }
        let detail = Detail {
            expected: finding.expected,
            found: finding.found,
            output: finding.shown,
        };
        self.steps.push(Step {
            name,
            ok: finding.ok,
            detail,
        });
    }

    /// Whether every step so far was as expected.
    pub(super) fn ok(&self) -> bool {
        self.steps.iter().all(|step| step.ok)
    }

    /// Prints the verdict, or the JSON document.
    pub(super) fn finish(&self) -> bool {
        let ok = self.ok();
        if self.json {
            let document = Document {
                steps: &self.steps,
                ok,
            };
            put(&serde_json::to_string_pretty(&document).unwrap_or_else(|e| e.to_string()));
            return ok;
        }
        let failed: Vec<String> = (1..)
            .zip(&self.steps)
            .filter(|(_, step)| !step.ok)
            .map(|(number, _)| number.to_string())
            .collect();
        let total = self.steps.len();
        if ok {
            put(&format!("\n{} all {total} checks hold", self.mark(true)));
        } else {
            put(&format!(
                "\n{} {} of {total} checks do not hold: {}",
                self.mark(false),
                failed.len(),
                failed.join(", ")
            ));
        }
        ok
    }

    fn text(&self, number: usize, name: &str, finding: &Finding) -> String {
        let mut text = format!(
            "\n{number:>2} {} {}",
            self.mark(finding.ok),
            self.paint("1", name)
        );
        let label = |word: &str| self.paint("2", word);
        text.push_str(&format!(
            "\n     {} {}",
            label("expected"),
            finding.expected
        ));
        text.push_str(&format!("\n     {} {}", label("found   "), finding.found));
        for line in &finding.shown {
            text.push_str(&format!("\n     {} {line}", label("│")));
        }
        text
    }

    fn mark(&self, ok: bool) -> String {
        if ok {
            self.paint("32", "✓")
        } else {
            self.paint("31", "✗")
        }
    }

    fn paint(&self, code: &str, text: &str) -> String {
        if self.colour {
            format!("\x1b[{code}m{text}\x1b[0m")
        } else {
            text.to_owned()
        }
    }
}

/// Prints a line. A closed pipe is the reader's choice, not the lab's failure.
fn put(text: &str) {
    let mut out = io::stdout().lock();
    let _ = writeln!(out, "{text}").and_then(|()| out.flush());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_verdict_is_that_of_the_worst_step() {
        let mut report = Report::new(true);
        assert!(report.ok());
        report.add("good", Ok(Finding::new(true, "a", "a")));
        assert!(report.ok());
        report.add("broken", Err(Error::Interrupted));
        assert!(!report.ok());
        assert_eq!(report.steps[1].detail.expected, "the check can be made");
    }

    #[test]
    fn findings_join_by_their_worst() {
        let both = Finding::new(true, "a", "b").and(Finding::new(false, "c", "d"));
        assert!(!both.ok);
        assert_eq!(
            (both.expected.as_str(), both.found.as_str()),
            ("a; c", "b; d")
        );
    }

    #[test]
    fn a_check_is_numbered_and_its_output_stands_beneath() {
        let report = Report {
            steps: Vec::new(),
            json: false,
            colour: false,
        };
        let finding = Finding::new(true, "x", "y").showing(["z".to_owned()]);
        assert_eq!(
            report.text(3, "name", &finding),
            "\n 3 ✓ name\n     expected x\n     found    y\n     │ z"
        );
    }
}
