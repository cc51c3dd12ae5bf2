//! Bars: how many times better each variant is than the baseline of its measure.
//!
//! Owns this plot alone. The axis is logarithmic, so that twice as good and half as good are
//! equally far from 1, and every bar begins at 1.

use anyhow::Result;
use plotters::{
    chart::ChartBuilder,
    drawing::IntoDrawingArea as _,
    element::{PathElement, Rectangle, Text},
    prelude::{IntoLogRange as _, SVGBackend},
    style::{
        Color as _, RGBColor, WHITE,
        text_anchor::{HPos, Pos, VPos},
    },
};

use super::{GRID, HEADING, INK, TEXT, look_of, style};
use crate::{
    judge::Noise,
    report::{interval, ports_text},
    results::Results,
    stats::{self, Estimate},
};

const WIDTH: u32 = 980;
/// Pixels for the names on the left.
const NAMES: u32 = 330;
/// Pixels of a bar with its distance to the next.
const ROW: u32 = 22;
/// Pixels above and below all rows: heading, axis and its words.
const FRAME: u32 = 110;

const LEFT: Pos = Pos {
    h_pos: HPos::Left,
    v_pos: VPos::Center,
};
const RIGHT: Pos = Pos {
    h_pos: HPos::Right,
    v_pos: VPos::Center,
};

/// A line of the plot.
#[derive(Debug, PartialEq)]
enum Row {
    /// A measure.
    Heading(String),
    /// A variant of the measure above.
    Bar {
        name: String,
        colour: RGBColor,
        ratio: Estimate,
    },
}

/// The plot; `None` where the run compares nothing.
pub(super) fn draw(results: &Results) -> Result<Option<String>> {
    let rows = rows(results)?;
    let bars = || {
        rows.iter().filter_map(|row| match row {
            Row::Bar { ratio, .. } => Some(ratio),
            Row::Heading(_) => None,
        })
    };
    if bars().next().is_none() {
        return Ok(None);
    }
    let least = bars().map(|ratio| ratio.low).fold(0.8, f64::min);
    let most = bars().map(|ratio| ratio.high).fold(1.25, f64::max);
    let count = u32::try_from(rows.len())?;

    let mut svg = String::new();
    {
        let size = (WIDTH, FRAME + ROW * count);
        let root = SVGBackend::with_string(&mut svg, size).into_drawing_area();
        root.fill(&WHITE)?;
        let mut chart = ChartBuilder::on(&root)
            .caption(
                "Times better than the baseline of each measure",
                style(HEADING, LEFT),
            )
            .margin(14)
            .x_label_area_size(46)
            .y_label_area_size(NAMES)
            // Room at the right for the numbers behind the longest bar.
            .build_cartesian_2d(
                (least / 1.1..most * 1.1 * (most / least).powf(0.35)).log_scale(),
                f64::from(count)..0.0,
            )?;
        chart
            .configure_mesh()
            .disable_y_mesh()
            .y_labels(0)
            .x_desc("ratio within a round, median and 95 % interval (logarithmic; 1: as good)")
            .x_label_formatter(&|ratio| format!("{}", (ratio * 100.0).round() / 100.0))
            .label_style(style(TEXT, LEFT))
            .axis_desc_style(style(TEXT, LEFT))
            .light_line_style(WHITE)
            .bold_line_style(GRID)
            .axis_style(GRID)
            .draw()?;
        for (y, row) in (0_u32..).map(f64::from).zip(&rows) {
            let (name_x, middle) = chart.backend_coord(&(least / 1.1, y + 0.5));
            match row {
                Row::Heading(measure) => {
                    let place = (name_x - i32::try_from(NAMES)?, middle);
                    root.draw(&Text::new(measure.clone(), place, style(TEXT + 1, LEFT)))?;
                }
                Row::Bar {
                    name,
                    colour,
                    ratio,
                } => {
                    let bar = [(1.0, y + 0.15), (ratio.median, y + 0.85)];
                    let whisker = [(ratio.low, y + 0.5), (ratio.high, y + 0.5)];
                    let after = (ratio.high.max(1.0), y + 0.5);
                    chart.draw_series([Rectangle::new(bar, colour.filled())])?;
                    chart.draw_series([PathElement::new(whisker, INK.stroke_width(2))])?;
                    let (x, _) = chart.backend_coord(&after);
                    root.draw(&Text::new(
                        name.clone(),
                        (name_x - 8, middle),
                        style(TEXT, RIGHT),
                    ))?;
                    root.draw(&Text::new(
                        interval(ratio),
                        (x + 8, middle),
                        style(TEXT, LEFT),
                    ))?;
                }
            }
        }
        let one = [(1.0, 0.0), (1.0, f64::from(count))];
        chart.draw_series([PathElement::new(one, INK.stroke_width(1))])?;
        root.present()?;
    }
    Ok(Some(svg))
}

fn rows(results: &Results) -> Result<Vec<Row>> {
    let mut groups: Vec<(&str, u32)> = Vec::new();
    for series in &results.series {
        let group = (series.measure.as_str(), series.ports);
        if !groups.contains(&group) {
            groups.push(group);
        }
    }
    let mut rows = Vec::new();
    for (measure, ports) in groups {
        let Some(baseline) = results.baseline(measure, ports) else {
            continue;
        };
        let mut bars = Vec::new();
        for series in &results.series {
            let other = series.measure != measure || series.ports != ports;
            if other || series.variant == baseline.variant {
                continue;
            }
            if let Some(ratio) = stats::ratio(series, baseline)? {
                let (place, name, colour) = look_of(&series.variant);
                let name = name.to_owned();
                bars.push((
                    place,
                    Row::Bar {
                        name,
                        colour,
                        ratio,
                    },
                ));
            }
        }
        if bars.is_empty() {
            continue;
        }
        bars.sort_by_key(|(place, _)| *place);
        let noise = match results.noise(measure, ports)? {
            Noise::Noisy(_) => ": NOISY, does not count",
            Noise::Quiet(_) | Noise::Unknown => "",
        };
        let (_, against, _) = look_of(&baseline.variant);
        rows.push(Row::Heading(format!(
            "{measure}, {}, against {against}{noise}",
            ports_text(ports)
        )));
        rows.extend(bars.into_iter().map(|(_, bar)| bar));
    }
    Ok(rows)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::samples::run;

    #[test]
    fn a_bar_per_variant_below_its_measure() {
        let mut results = run("udp_in", 1, 1.0, 1.8);
        results
            .series
            .extend(run("crr_in", 10_000, 1.2, 7.5).series);
        let names: Vec<_> = rows(&results)
            .unwrap()
            .into_iter()
            .map(|row| match row {
                Row::Heading(name) | Row::Bar { name, .. } => name,
            })
            .collect();
        assert_eq!(
            names,
            [
                "udp_in, 1 port, against iptables-legacy",
                "netpath",
                "iptables-legacy again (A/A)",
                "crr_in, 10,000 ports, against iptables-legacy: NOISY, does not count",
                "netpath",
                "iptables-legacy again (A/A)",
            ]
        );
    }

    #[test]
    fn the_plot_carries_the_numbers() {
        let svg = draw(&run("udp_in", 1, 1.0, 1.8)).unwrap().unwrap();
        assert!(svg.contains("1.80 [1.80–1.80]"), "{svg}");
        assert!(svg.contains("#0072B2"), "{svg}");
    }

    #[test]
    fn nothing_to_compare_is_no_plot() {
        let mut results = run("udp_in", 1, 1.0, 1.8);
        results.series.truncate(1);
        assert_eq!(draw(&results).unwrap(), None);
    }
}
