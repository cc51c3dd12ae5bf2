//! `docs/conformance.md` against the tests that it names.
//!
//! Owns the form of that page: every requirement once, a status that is one of four, and a test for
//! each line that exists and is not ignored, of both families where the line names none. Whether the
//! test proves what the line says it cannot know.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
};

use pulldown_cmark::{Event, HeadingLevel, Options, Parser, Tag, TagEnd};

/// Every requirement of every RFC, with its lettered clauses; of RFC 7857 the sections.
const REQUIREMENTS: [(&str, &str); 5] = [
    (
        "RFC 4787",
        "1 2 3 3a 4 5 5a 5b 5c 6 6a 7 8 8a 9 9a 10 10a 11 12 12a 12b 13 13a 14 14a",
    ),
    ("RFC 5382", "1 2 2a 3 3a 3b 4 4a 5 5a 6 7 8 8a 9 10"),
    (
        "RFC 5508",
        "1 1a 2 2a 3 3a 3b 3c 3d 4 4a 4b 4c 5 5a 5b 5c 6 7 7a 8 9 10a 10b 10c 10d 10e 10f 11",
    ),
    ("RFC 7857", "2 2.1 2.2 3 4 5 6 7 7.1 8 9 10 11 12"),
    (
        "RFC 6888",
        "1 2 3 4 5 6 7 8 9 10 11a 11b 11c 11d 12 13 14 15",
    ),
];

const KEYWORDS: [&str; 6] = [
    "MUST",
    "MUST NOT",
    "SHOULD",
    "SHOULD NOT",
    "RECOMMENDED",
    "MAY",
];

fn workspace() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .unwrap()
        .to_owned()
}

/// A line of a table.
#[derive(Clone, Debug, Default)]
struct Line {
    rfc: String,
    cells: Vec<String>,
    /// What is set as code in the last cell.
    tests: Vec<String>,
}

/// The lines of all tables, without their heads.
#[expect(
    clippy::wildcard_enum_match_arm,
    reason = "most of Markdown is not looked at"
)]
fn lines(page: &str) -> Vec<Line> {
    let mut lines = Vec::new();
    let (mut line, mut rfc) = (Line::default(), String::new());
    let mut in_heading = false;
    for event in Parser::new_ext(page, Options::ENABLE_TABLES) {
        match event {
            Event::Start(Tag::Heading {
                level: HeadingLevel::H2,
                ..
            }) => {
                in_heading = true;
                rfc.clear();
            }
            Event::End(TagEnd::Heading(_)) => in_heading = false,
            Event::Text(text) if in_heading => rfc.push_str(&text),
            Event::Start(Tag::TableRow) => line = Line::default(),
            Event::Start(Tag::TableCell) => {
                line.cells.push(String::new());
                line.tests.clear();
            }
            Event::Text(text) => {
                if let Some(cell) = line.cells.last_mut() {
                    cell.push_str(&text);
                }
            }
            Event::Code(code) => {
                if let Some(cell) = line.cells.last_mut() {
                    cell.push_str(&code);
                    line.tests.push(code.to_string());
                }
            }
            Event::End(TagEnd::TableRow) => {
                line.rfc.clone_from(&rfc);
                lines.push(std::mem::take(&mut line));
            }
            _ => {}
        }
    }
    lines
}

/// Names of the functions of a file that are tests and are not ignored.
fn tests_of(items: &[syn::Item], into: &mut BTreeSet<String>) {
    for item in items {
        if let syn::Item::Fn(f) = item {
            let has = |name| f.attrs.iter().any(|a| a.path().is_ident(name));
            if has("test") && !has("ignore") {
                into.insert(f.sig.ident.to_string());
            }
        } else if let syn::Item::Mod(m) = item
            && let Some((_, items)) = &m.content
        {
            tests_of(items, into);
        }
    }
}

/// Where unit tests of the datapath are. Those in the files that `both.rs` lists run once for each
/// family.
const PACKET_TESTS: [&str; 2] = [
    "netpath-common/tests/datapath/",
    "netpath-common/tests/cases/",
];

/// Files among them whose tests have a host of each family themselves, or are of none.
const OF_NO_FAMILY: [&str; 2] = ["binding", "tcp_table"];

/// Whether a test of this file is of one family alone, as far as one can tell.
fn is_of_one_family(path: &str, root: &Path) -> bool {
    let Some((dir, name)) = PACKET_TESTS.iter().find_map(|dir| {
        let name = path.strip_prefix(dir)?.strip_suffix(".rs")?;
        Some((root.join(dir), name))
    }) else {
        return false;
    };
    let read = |file| fs::read_to_string(dir.join(file)).unwrap();
    for family in ["v4.rs", "v6.rs"] {
        assert!(read(family).contains("#[path = \"both.rs\"]"), "{family}");
    }
    let list = syn::parse_file(&read("both.rs")).unwrap().items;
    let is_listed = list
        .iter()
        .any(|item| matches!(item, syn::Item::Mod(m) if m.ident == name));
    !is_listed && !OF_NO_FAMILY.contains(&name)
}

/// What is wrong with the page, one sentence for each fault.
fn faults(page: &str, root: &Path) -> Vec<String> {
    let mut faults = Vec::new();
    let mut files: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    let mut seen: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for line in lines(page) {
        let [number, keyword, asked, status, _] = line.cells.as_slice() else {
            faults.push(format!("{}: a line without five cells", line.rfc));
            continue;
        };
        let name = format!("{} {number}", line.rfc);
        seen.entry(line.rfc.clone())
            .or_default()
            .push(number.clone());
        if asked.is_empty() || keyword.split(", ").any(|k| !KEYWORDS.contains(&k)) {
            faults.push(format!("{name}: nothing asked for, or by no keyword"));
        }
        let (kind, why) = status.split_once(": ").unwrap_or((status, ""));
        match kind {
            "complies" => {}
            "complies in a profile" | "differs" | "not applicable" if !why.is_empty() => {}
            _ => faults.push(format!("{name}: no such status, or no reason: {status}")),
        }
        if line.tests.is_empty() {
            faults.push(format!("{name}: names no test"));
        }
        for test in &line.tests {
            let Some((path, function)) = test.split_once("::") else {
                faults.push(format!("{name}: {test} is no path::function"));
                continue;
            };
            let known = files.entry(path.to_owned()).or_insert_with(|| {
                let mut names = BTreeSet::new();
                if let Ok(text) = fs::read_to_string(root.join(path))
                    && let Ok(file) = syn::parse_file(&text)
                {
                    tests_of(&file.items, &mut names);
                }
                names
            });
            let says = |family| asked.contains(family) || status.contains(family);
            if !known.contains(function) {
                faults.push(format!("{name}: no test {test}"));
            } else if is_of_one_family(path, root) && !says("IPv4") && !says("IPv6") {
                faults.push(format!("{name}: {test} is of one family"));
            }
        }
    }
    for (rfc, wanted) in REQUIREMENTS {
        let found = seen.remove(rfc).unwrap_or_default().join(" ");
        if found != wanted {
            faults.push(format!("{rfc}: has {found}, and should have {wanted}"));
        }
    }
    faults.extend(seen.keys().map(|rfc| format!("{rfc}: lines of no RFC")));
    faults
}

#[test]
fn every_requirement_has_a_status_and_a_test_that_exists() {
    let root = workspace();
    let page = fs::read_to_string(root.join("docs/conformance.md")).unwrap();
    let faults = faults(&page, &root);
    assert!(faults.is_empty(), "\n{}", faults.join("\n"));
}

#[test]
fn a_page_with_faults_is_found_out() {
    let root = workspace();
    let page = fs::read_to_string(root.join("docs/conformance.md")).unwrap();
    let good = "`netpath-common/tests/cases/ports.rs::c03_privileged`";
    let line = format!(
        "| 3a | RECOMMENDED | Ports below 1024 stay below, others above | complies | {good} |"
    );
    assert!(page.contains(&line));
    for (broken, said) in [
        (line.replace("c03_privileged", "c03_priviledged"), "no test"),
        (line.replace("ports.rs", "port.rs"), "no test"),
        (line.replace(good, ""), "names no test"),
        (line.replace(good, "`c03_privileged`"), "no path::function"),
        (
            line.replace(
                good,
                "`netpath-common/tests/cases/ipv4.rs::c20_no_checksum_stays_none`",
            ),
            "is of one family",
        ),
        (line.replace("complies", "perhaps"), "no such status"),
        (line.replace("complies", "differs"), "no such status"),
        (line.replace("RECOMMENDED", "OUGHT"), "by no keyword"),
        (line.replace("| 3a |", "| 3b |"), "should have"),
        (String::new(), "should have"),
    ] {
        let faults = faults(&page.replace(&line, &broken), &root);
        assert_eq!(faults.len(), 1, "{broken}: {faults:?}");
        assert!(faults[0].contains(said), "{broken}: {faults:?}");
    }
}
