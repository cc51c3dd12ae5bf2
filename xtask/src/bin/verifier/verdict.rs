//! The verifier's closing lines.
//!
//! Owns their reading. They are, with log level 4 (`BPF_LOG_STATS`):
//!
//! ```text
//! verification time 1234 usec
//! stack depth 96+128
//! processed 394 insns (limit 1000000) max_states_per_insn 4 total_states 20 peak_states 20 …
//! ```

use std::time::Duration;

use crate::chain::Chain;

/// What the kernel says about a program.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub(crate) struct Verdict {
    /// The program's name in the object.
    pub(crate) name: String,
    /// Instructions that the verifier processed, each as often as it came by.
    pub(crate) instructions: u64,
    /// States that it kept.
    pub(crate) states: u64,
    /// Bytes of stack of the program and of each of its functions.
    pub(crate) stack: Vec<u64>,
    /// Its deepest chain of calls.
    pub(crate) chain: Chain,
    /// How long it took.
    pub(crate) time: Duration,
    /// Bytes of the program after verification.
    pub(crate) translated: u32,
    /// Bytes of machine code.
    pub(crate) jited: u32,
}

impl Verdict {
    /// Reads the verifier's log; `None` when the closing lines are not there.
    pub(crate) fn parse(name: &str, log: &str) -> Option<Self> {
        let mut verdict = Self {
            name: name.to_owned(),
            ..Self::default()
        };
        let mut processed = false;
        for line in log.lines() {
            if let Some(usec) = line.strip_prefix("verification time ") {
                verdict.time = Duration::from_micros(number(usec)?);
            } else if let Some(depths) = line.strip_prefix("stack depth ") {
                verdict.stack = depths.split('+').map(number).collect::<Option<_>>()?;
            } else if let Some(rest) = line.strip_prefix("processed ") {
                verdict.instructions = number(rest)?;
                verdict.states = number(rest.split_once("total_states ")?.1)?;
                processed = true;
            }
        }
        processed.then_some(verdict)
    }
}

/// The number at the beginning of a text.
fn number(text: &str) -> Option<u64> {
    text.split(|c: char| !c.is_ascii_digit())
        .next()?
        .parse()
        .ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    const LOG: &str = "verification time 1234 usec\nstack depth 96+128\nprocessed 394 insns \
                       (limit 1000000) max_states_per_insn 4 total_states 20 peak_states 20 \
                       mark_read 3\n";

    #[test]
    fn closing_lines_are_read() {
        let verdict = Verdict::parse("np_veth", LOG).unwrap();
        assert_eq!((verdict.instructions, verdict.states), (394, 20));
        assert_eq!(verdict.stack, [96, 128]);
        assert_eq!(verdict.time, Duration::from_micros(1234));
    }

    #[test]
    fn a_log_without_them_is_no_verdict() {
        assert_eq!(
            Verdict::parse("np_veth", "last insn is not an exit or jmp\n"),
            None
        );
    }
}
