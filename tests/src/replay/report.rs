//! The outcome of a replay on a terminal.
//!
//! Owns the table and the line that counts. Judges nothing.

use std::{collections::BTreeMap, fmt};

use comfy_table::{CellAlignment, Table, presets};

use super::{Checksums, Packet, Verdict};

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Pass => f.write_str("pass"),
            Self::ToStack => f.write_str("to stack"),
            Self::ToUplink => f.write_str("to uplink"),
            Self::ToEndpoint { endpoint } => write!(f, "to {endpoint}"),
            Self::ToNeighbour => f.write_str("to neighbour"),
            Self::Drop { reason } => write!(f, "drop {reason}"),
            Self::NotRun { why } => write!(f, "not run: {why}"),
        }
    }
}

impl fmt::Display for Checksums {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Untouched => Ok(()),
            Self::Ok => f.write_str("checksums ok"),
            Self::WrongInCapture(wrong) => write!(f, "wrong in the capture already: {wrong}"),
            Self::Bad(wrong) => write!(f, "BAD: {wrong}"),
        }
    }
}

impl Packet {
    /// What the run did to the packet, in words.
    #[must_use]
    pub fn outcome(&self) -> String {
        let mut parts: Vec<_> = self
            .changes
            .iter()
            .map(|change| format!("{} {} -> {}", change.field, change.from, change.to))
            .collect();
        let checksums = self.checksums.to_string();
        if !checksums.is_empty() {
            parts.push(checksums);
        }
        parts.extend(self.notes.iter().map(|note| (*note).to_owned()));
        parts.join(", ")
    }

    /// Whether the program broke a checksum.
    #[must_use]
    pub const fn is_bad(&self) -> bool {
        matches!(self.checksums, Checksums::Bad(_))
    }
}

/// The table of packets, and the line that counts them.
#[must_use]
pub fn text(packets: &[Packet]) -> String {
    let timed = packets.iter().any(|packet| packet.ns.is_some());
    let mut table = Table::new();
    let mut header = vec!["#", "TIME", "HOOK", "AT", "PACKET", "VERDICT"];
    if timed {
        header.extend(["NS MIN", "MEDIAN"]);
    }
    header.push("CHANGES");
    table.load_preset(presets::NOTHING).set_header(header);
    for packet in packets {
        let mut row = vec![
            packet.number.to_string(),
            format!("{:.6}", packet.time),
            packet.hook.to_owned(),
            packet.interface.clone(),
            packet.packet.clone(),
            packet.verdict.to_string(),
        ];
        if timed {
            let ns = |of: fn(super::Stats) -> f64| {
                packet
                    .ns
                    .map_or_else(String::new, |ns| format!("{:.0}", of(ns)))
            };
            row.extend([ns(|ns| ns.min), ns(|ns| ns.median)]);
        }
        row.push(packet.outcome());
        table.add_row(row);
    }
    let right: &[usize] = if timed { &[0, 1, 6, 7] } else { &[0, 1] };
    for index in right {
        if let Some(column) = table.column_mut(*index) {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
    let lines: Vec<_> = table
        .lines()
        .map(|line| line.trim_end().to_owned())
        .collect();
    format!("{}\n{}\n", lines.join("\n"), total(packets))
}

/// How many packets met which verdict: `7 packets: 3 to uplink, 4 drop direct-access`.
#[must_use]
pub fn total(packets: &[Packet]) -> String {
    let mut counts = BTreeMap::new();
    for packet in packets {
        *counts.entry(packet.verdict.to_string()).or_insert(0_usize) += 1;
    }
    let counts: Vec<_> = counts
        .iter()
        .map(|(name, n)| format!("{n} {name}"))
        .collect();
    let mut line = format!("{} packets: {}", packets.len(), counts.join(", "));
    let bad = packets.iter().filter(|packet| packet.is_bad()).count();
    if bad != 0 {
        line.push_str(&format!("; BAD CHECKSUMS IN {bad}"));
    }
    line
}
