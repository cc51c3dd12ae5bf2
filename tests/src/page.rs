//! A page of the documentation whose commands a test runs, so that what it shows stays true.
//!
//! Owns reading the page, comparing what it shows with what a run printed, and writing it anew. Runs
//! nothing itself.

use std::{
    collections::{BTreeMap, HashMap},
    env, fs,
    path::PathBuf,
};

use regex_lite::{Captures, Regex};
use serde_json::Value;

/// Set where what a page shows is to be written anew from the run.
const WRITE: &str = "NETPATH_WRITE_PAGES";

/// A page: its commands are the lines `PLACE# COMMAND` of its `console` blocks, each with its output below.
#[derive(Debug)]
pub struct Page {
    path: PathBuf,
    parts: Vec<Part>,
    next: usize,
    shown: Volatile,
    found: Volatile,
}

#[derive(Debug, PartialEq, Eq)]
enum Part {
    /// A line as it stands.
    Line(String),
    Step {
        place: String,
        command: String,
        output: String,
    },
}

impl Page {
    /// Reads a file of `docs/`.
    ///
    /// # Panics
    /// When it is not there.
    #[must_use]
    pub fn read(name: &str) -> Self {
        let path = PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../docs")).join(name);
        let text = fs::read_to_string(&path)
            .unwrap_or_else(|error| panic!("cannot read {}: {error}", path.display()));
        Self {
            path,
            parts: parse(&text),
            next: 0,
            shown: Volatile::new(),
            found: Volatile::new(),
        }
    }

    /// What stands in the fenced blocks of this language, other than `console`.
    #[must_use]
    pub fn blocks(&self, language: &str) -> Vec<String> {
        let fence = format!("```{language}");
        let mut blocks = Vec::new();
        let mut open: Option<String> = None;
        for part in &self.parts {
            let Part::Line(line) = part else { continue };
            match &mut open {
                Some(_) if line == "```" => blocks.extend(open.take()),
                Some(block) => *block += &format!("{line}\n"),
                None if *line == fence => open = Some(String::new()),
                None => {}
            }
        }
        blocks
    }

    /// The next command of the page is this one, and what it shows is what was printed.
    ///
    /// # Panics
    /// When it is another, or shows something else.
    #[track_caller]
    pub fn shows(&mut self, run_at: &str, run: &str, printed: &str) {
        let printed = trimmed(printed);
        let step = self.parts.iter_mut().skip(self.next);
        let mut steps = step.filter_map(|part| match part {
            Part::Line(_) => None,
            Part::Step {
                place,
                command,
                output,
            } => Some((place, command, output)),
        });
        let Some((place, command, output)) = steps.next() else {
            panic!(
                "{} has no more commands, and `{run}` was run",
                self.path.display()
            );
        };
        assert_eq!(
            format!("{place}# {command}"),
            format!("{run_at}# {run}"),
            "the next command of {}, and the one that was run",
            self.path.display()
        );
        if env::var_os(WRITE).is_some() {
            output.clone_from(&printed);
        }
        let (shown, found) = (self.shown.settle(output), self.found.settle(&printed));
        assert!(
            shown == found,
            "`{run}`: {} shows\n{output}\n\nand this run printed\n{printed}\n\nthat is, where what differs from \
             run to run has a name,\n{shown}\n\nand\n{found}\n\n{WRITE}=1 writes the page anew",
            self.path.display()
        );
        let done = |part: &Part| matches!(part, Part::Step { .. });
        let ahead = self.parts.iter().skip(self.next).position(done).unwrap();
        self.next += ahead + 1;
    }

    /// Every command was run.
    ///
    /// # Panics
    /// When there is one more.
    pub fn finish(self) {
        let rest = self.parts.get(self.next..).unwrap_or_default();
        for part in rest {
            if let Part::Step { place, command, .. } = part {
                panic!("{} goes on: {place}# {command}", self.path.display());
            }
        }
        if env::var_os(WRITE).is_some() {
            fs::write(&self.path, text(&self.parts)).unwrap();
        }
    }
}

fn parse(text: &str) -> Vec<Part> {
    let prompt = Regex::new("^([a-z]+)# (.+)$").unwrap();
    let mut parts: Vec<Part> = Vec::new();
    let mut console = false;
    for line in text.lines() {
        if line.starts_with("```") {
            console = !console && line == "```console";
        } else if console {
            if let Some(found) = prompt.captures(line) {
                parts.push(Part::Step {
                    place: found[1].to_owned(),
                    command: found[2].to_owned(),
                    output: String::new(),
                });
                continue;
            }
            if let Some(Part::Step { output, .. }) = parts.last_mut() {
                let separator = if output.is_empty() { "" } else { "\n" };
                *output += &format!("{separator}{line}");
                continue;
            }
        }
        parts.push(Part::Line(line.to_owned()));
    }
    parts
}

fn text(parts: &[Part]) -> String {
    let mut text = String::new();
    for part in parts {
        match part {
            Part::Line(line) => text += &format!("{line}\n"),
            Part::Step {
                place,
                command,
                output,
            } => {
                text += &format!("{place}# {command}\n");
                if !output.is_empty() {
                    text += &format!("{output}\n");
                }
            }
        }
    }
    text
}

/// Without blanks at the ends of lines, and of all.
fn trimmed(text: &str) -> String {
    let lines: Vec<_> = text.lines().map(str::trim_end).collect();
    lines.join("\n").trim_end().to_owned()
}

/// What differs from run to run. What tells things apart gets a name by the order in which it appears, so
/// that the same thing has to be the same all over the page; what only happens to be so is left out.
#[derive(Debug)]
struct Volatile {
    erased: Vec<(Regex, &'static str)>,
    named: Vec<(&'static str, Regex)>,
    known: HashMap<(&'static str, String), usize>,
    count: BTreeMap<&'static str, usize>,
}

impl Volatile {
    fn new() -> Self {
        let regex = |pattern: &str| Regex::new(pattern).unwrap();
        let erased = [
            (r"\d{4}-\d\d-\d\dT[\d:.]+Z", "<time>"),
            (r"[\d./]+ ?ms\b", "<ms>"),
            // Of an interface, at the beginning of a line or of its other end.
            (r"(?m)^\d+: ", "<index>: "),
            (r"@if\d+", "@<index>"),
            // What is left of a flow's life.
            (r"(?m)^((?:tcp|icmp) +\d+) \d+ ", "$1 <seconds> "),
            (r" use=\d+", " use=<n>"),
            (
                r"\b(?:REACHABLE|STALE|DELAY|PROBE)\b",
                "<neighbour's state>",
            ),
            (r"\bconntrack v[\d.]+", "conntrack <version>"),
            // The words are of the version.
            (r"(?m)^(curl: .* after <ms>:).*$", "$1 <why>"),
            // How many segments a connection takes.
            (
                r"(?m)^((?:masquerade|publish) .*) \d+ +\d+$",
                "$1 <packets> <bytes>",
            ),
        ];
        let named = [
            ("mac", r"\b[0-9a-f]{2}(?::[0-9a-f]{2}){5}\b"),
            // In full, or its beginning.
            ("id", r"\b[0-9a-f]{12}(?:[0-9a-f]{52})?\b"),
            ("veth", r"\bveth[0-9a-f]{7}\b"),
            ("echo", r"\bid=\d+"),
            // One that the kernel has chosen.
            (
                "port",
                r"\b(?:3276[89]|327[7-9]\d|32[89]\d\d|3[3-9]\d{3}|[45]\d{4}|60\d{3})\b",
            ),
        ];
        Self {
            erased: erased.map(|(from, to)| (regex(from), to)).into(),
            named: named.map(|(kind, from)| (kind, regex(from))).into(),
            known: HashMap::new(),
            count: BTreeMap::new(),
        }
    }

    fn settle(&mut self, text: &str) -> String {
        let mut text = by_name(text);
        for (from, to) in &self.erased {
            text = from.replace_all(&text, *to).into_owned();
        }
        let (known, count) = (&mut self.known, &mut self.count);
        for (kind, from) in &self.named {
            let mut name = |found: &Captures<'_>| {
                let key = found[0].get(..12).unwrap_or(&found[0]).to_owned();
                let key = if *kind == "id" { key } else { found[0].into() };
                let number = known.entry((*kind, key)).or_insert_with(|| {
                    let number = count.entry(*kind).or_default();
                    *number += 1;
                    *number
                });
                let whole = if found[0].len() == 64 { " in full" } else { "" };
                format!("<{kind} {number}{whole}>")
            };
            text = from.replace_all(&text, &mut name).into_owned();
        }
        text
    }
}

/// The containers of a network stand in the order of their identifiers, which are random: by name instead.
fn by_name(text: &str) -> String {
    let Ok(Value::Array(mut all)) = serde_json::from_str(text) else {
        return text.to_owned();
    };
    for network in &mut all {
        if let Some(Value::Object(containers)) = network.get_mut("Containers") {
            let mut list: Vec<_> = containers.iter().map(|(k, v)| (k, v.clone())).collect();
            list.sort_by_key(|(_, container)| container["Name"].to_string());
            let list = list.into_iter().map(|(id, c)| serde_json::json!([id, c]));
            network["Containers"] = list.collect();
        }
    }
    serde_json::to_string_pretty(&all).unwrap()
}

#[cfg(test)]
mod tests {
    use super::*;

    const PAGE: &str = "# A page\n\n```toml\na = 1\n```\n```console\nhost# one\ntwo\n\nthree\nweb# four\n```\nend\n";

    #[test]
    fn a_page_is_written_as_it_was_read() {
        let parts = parse(PAGE);
        assert_eq!(text(&parts), PAGE);
        let output = "two\n\nthree".to_owned();
        assert!(parts.contains(&Part::Step {
            place: "host".to_owned(),
            command: "one".to_owned(),
            output,
        }));
        assert_eq!(page(PAGE).blocks("toml"), ["a = 1\n"]);
    }

    fn page(text: &str) -> Page {
        Page {
            path: PathBuf::from("page"),
            parts: parse(text),
            next: 0,
            shown: Volatile::new(),
            found: Volatile::new(),
        }
    }

    #[test]
    fn a_command_after_the_other_with_what_it_shows() {
        let mut page = page(PAGE);
        page.shows("host", "one", "two\n\nthree \n");
        page.shows("web", "four", "");
        page.finish();
    }

    #[test]
    #[should_panic(expected = "goes on: web# four")]
    fn none_is_left_out() {
        let mut page = page(PAGE);
        page.shows("host", "one", "two\n\nthree");
        page.finish();
    }

    #[test]
    #[should_panic(expected = "this run printed")]
    fn other_output_is_told() {
        page(PAGE).shows("host", "one", "two\n\n3");
    }

    #[test]
    fn what_differs_may_differ_and_what_is_the_same_has_to_be() {
        let same = |a: [&str; 2], b: [&str; 2]| {
            let (mut one, mut other) = (Volatile::new(), Volatile::new());
            a.map(|text| one.settle(text)) == b.map(|text| other.settle(text))
        };
        let lines = [
            "3: veth0123456@if2: 64 bytes from 198.51.100.2: time=0.081 ms",
            "icmp     1 29 src=172.17.0.2 id=25407 packets=2",
        ];
        let other = [
            "9: veth6543210@if7: 64 bytes from 198.51.100.2: time=1.2 ms",
            "icmp     1 30 src=172.17.0.2 id=7 packets=2",
        ];
        assert!(same(lines, other));
        assert!(!same(
            lines,
            [other[0], "icmp     1 30 src=172.17.0.3 id=7 packets=2"]
        ));
        let mac = |last| format!("fe:07:60:0b:60:{last}");
        let (a, b) = (mac("9f"), mac("9e"));
        assert!(same([&a, &a], [&b, &b]) && !same([&a, &a], [&b, &a]));
        let id = "062a6317cc51b9b8c5de85f2ea10c8f7f98b39cc394ccf8fd7692a6c7d285e31";
        let six = "6".repeat(64);
        assert!(same([&id[..12], id], [&six[..12], &six]));
        assert!(!same([&id[..12], id], [&id[..12], &six]));
    }
}
