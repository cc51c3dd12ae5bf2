//! `--bench`: the tables of times.
//!
//! Owns their form and which differences make up the breakdown. Measuring is
//! `netpath_tests::timing`'s.

use comfy_table::{CellAlignment, Table, presets};
use netpath_tests::timing::{Stats, Timings};

/// What an established packet may take, net of an empty program, in nanoseconds.
const TARGETS: [(&str, f64); 2] = [("IPv4", 160.0), (SIX, 200.0)];

/// How the names of the cases begin that the targets are about.
const ESTABLISHED: &str = "established ";
/// What the names of IPv6's cases hold.
const SIX: &str = "IPv6";

/// Prints all times.
pub(crate) fn print(timings: &Timings) {
    println!(
        "{} rounds; ns of one run, net of an empty program ({} ns; once in a run {} ns)\n",
        timings.rounds,
        number(timings.empty.median),
        number(timings.empty_once.median),
    );
    let mut all = table(&["CASE", "RUNS", "MIN", "MEDIAN", "QUARTILES"]);
    for case in &timings.cases {
        let Stats {
            min,
            median,
            low,
            high,
        } = case.net;
        all.add_row([
            case.name.to_owned(),
            case.repeat.to_string(),
            number(min),
            number(median),
            format!("{}-{}", number(low), number(high)),
        ]);
    }
    println!("{}\n", align(all));
    for (title, proto, whole, rewrite) in BREAKDOWNS {
        breakdown(timings, title, proto, whole, rewrite);
    }
    for (family, most) in TARGETS {
        target(timings, family, most);
    }
}

/// Where the time of an established packet goes: a title, the whole, and the rewrite that it needs.
const BREAKDOWNS: [(&str, &str, &str, &str); 4] = [
    (
        "tcp out, masquerade",
        "tcp",
        "established out tcp, masquerade",
        "parse, rewrite address, ttl tcp",
    ),
    (
        "udp out, masquerade",
        "udp",
        "established out udp, masquerade",
        "parse, rewrite address, ttl udp",
    ),
    (
        "tcp out, published port",
        "tcp",
        "established out tcp, published port",
        "parse, rewrite address, port, ttl tcp",
    ),
    (
        "tcp in, published port",
        "tcp",
        "established in tcp, published port",
        "parse, rewrite address, port, ttl tcp",
    ),
];

/// Prints where the time of one case goes, by the minima; the last part is what remains.
fn breakdown(timings: &Timings, title: &str, proto: &str, whole: &str, rewrite: &str) {
    let least = |name: &str| timings.case(name).map(|case| case.net.min);
    let of_proto = |name: &str| least(&format!("{name} {proto}"));
    let (Some(memory), Some(clock), Some(parse), Some(hit), Some(miss)) = (
        least("working memory"),
        least("clock"),
        of_proto("parse"),
        of_proto("parse, lookup hit"),
        of_proto("parse, lookup miss"),
    ) else {
        return;
    };
    let (Some(admit), Some(checksum), Some(rewrite), Some(whole)) = (
        of_proto("parse, lookup, clock, admit"),
        of_proto("parse, checksum"),
        least(rewrite),
        least(whole),
    ) else {
        return;
    };
    let parts = [
        ("working memory", memory),
        ("parse", parse - memory),
        ("lookup, hit", hit - parse),
        ("clock", clock - memory),
        ("admit", admit - hit - (clock - memory)),
        ("checksum of the addresses", checksum - parse),
        ("rewrite and other checksums", rewrite - checksum),
    ];
    let rest = whole - parts.iter().map(|(_, ns)| ns).sum::<f64>();
    let mut rows = table(&[title, "NS", "PART"]);
    for (what, ns) in parts
        .into_iter()
        .chain([("plan, counters, redirect", rest), ("whole", whole)])
    {
        let part = format!("{:.0} %", ns / whole * 100.0);
        rows.add_row([what.to_owned(), number(ns), part]);
    }
    let miss = format!("{:.0}", miss - parse);
    rows.add_row(["(lookup, miss)".to_owned(), miss, String::new()]);
    println!("{}\n", align(rows));
}

/// Says how the slowest established packet of a family stands to its target.
fn target(timings: &Timings, family: &str, most: f64) {
    let established = timings.cases.iter().filter(|case| {
        case.name.starts_with(ESTABLISHED) && case.name.contains(SIX) == (family == SIX)
    });
    let slowest = established.max_by(|a, b| a.net.median.total_cmp(&b.net.median));
    if let Some(slowest) = slowest {
        let verdict = if slowest.net.median <= most {
            "met"
        } else {
            "MISSED"
        };
        println!(
            "target: an established packet of {family} in at most {} ns: {verdict} ({}: median {}, minimum {})",
            number(most),
            slowest.name,
            number(slowest.net.median),
            number(slowest.net.min),
        );
    }
}

fn table(header: &[&str]) -> Table {
    let mut table = Table::new();
    table.load_preset(presets::NOTHING).set_header(header);
    table
}

fn align(mut table: Table) -> Table {
    for column in table.column_iter_mut().skip(1) {
        column.set_cell_alignment(CellAlignment::Right);
    }
    table
}

fn number(ns: f64) -> String {
    format!("{ns:.0}")
}
