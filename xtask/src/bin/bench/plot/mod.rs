//! Results as pictures.
//!
//! Owns what the plots have in common: names and colours of the variants, sizes, and writing the
//! files. The SVG names fonts and carries none, so that drawing needs no fonts installed.

mod ports;
mod ratios;

use std::{fs, path::Path};

use anyhow::{Context as _, Result};
use plotters::style::{RGBColor, TextStyle, text_anchor::Pos};

use crate::results::Results;

/// Pixels of ordinary text.
const TEXT: u32 = 14;

/// Pixels of headings.
const HEADING: u32 = 17;

const INK: RGBColor = RGBColor(0x24, 0x29, 0x2f);
const GRID: RGBColor = RGBColor(0xe1, 0xe4, 0xe8);

/// How a variant is drawn.
struct Look {
    variant: &'static str,
    /// How it is called in legends.
    name: &'static str,
    /// From a palette whose colours stay apart for the colour-blind (Okabe and Ito).
    colour: RGBColor,
}

/// In the order of legends and bars.
const LOOKS: [Look; 8] = [
    look("forward", "eBPF forwarding, no NAT", 0x56, 0xb4, 0xe9),
    look("netpath", "netpath", 0x00, 0x72, 0xb2),
    look("none", "kernel routing, no NAT", 0x99, 0x99, 0x99),
    look("nft", "nftables map", 0x00, 0x9e, 0x73),
    look("iptables-nft", "iptables-nft", 0xe6, 0x9f, 0x00),
    look("legacy", "iptables-legacy", 0xd5, 0x5e, 0x00),
    look(
        "legacy-again",
        "iptables-legacy again (A/A)",
        0xf0,
        0xa9,
        0x7e,
    ),
    // Any other: a variant of a special measure.
    look("", "", 0xcc, 0x79, 0xa7),
];

const fn look(variant: &'static str, name: &'static str, r: u8, g: u8, b: u8) -> Look {
    Look {
        variant,
        name,
        colour: RGBColor(r, g, b),
    }
}

/// A variant's place among the others, its name in legends, and its colour.
fn look_of(variant: &str) -> (usize, &str, RGBColor) {
    let found = LOOKS.iter().position(|look| look.variant == variant);
    match found {
        Some(place) => (place, LOOKS[place].name, LOOKS[place].colour),
        None => (LOOKS.len(), variant, LOOKS[LOOKS.len() - 1].colour),
    }
}

fn style(size: u32, anchor: Pos) -> TextStyle<'static> {
    TextStyle::from(("sans-serif", size))
        .color(&INK)
        .pos(anchor)
}

/// Draws every plot that the run has the measures for, and says what was written.
pub(crate) fn save(results: &Results, directory: &Path) -> Result<Vec<String>> {
    fs::create_dir_all(directory)
        .with_context(|| format!("cannot create the directory {}", directory.display()))?;
    let plots = [
        ("connections-by-ports.svg", ports::draw(results)?),
        ("ratios.svg", ratios::draw(results)?),
    ];
    let mut written = Vec::new();
    for (name, svg) in plots {
        let Some(svg) = svg else { continue };
        let path = directory.join(name);
        fs::write(&path, svg).with_context(|| format!("cannot write {}", path.display()))?;
        written.push(path.display().to_string());
    }
    Ok(written)
}
