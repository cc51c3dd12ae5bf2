//! New connections per second over the number of published ports.
//!
//! Owns this plot alone. Both axes tell the truth at a glance: the number of ports is logarithmic,
//! since it spans four orders of magnitude; the rate begins at zero.

use std::collections::BTreeMap;

use anyhow::Result;
use plotters::{
    chart::{ChartBuilder, SeriesLabelPosition},
    drawing::IntoDrawingArea as _,
    element::{Circle, ErrorBar, PathElement},
    prelude::{IntoLogRange as _, SVGBackend},
    series::LineSeries,
    style::{
        Color as _, WHITE,
        text_anchor::{HPos, Pos, VPos},
    },
};

use super::{GRID, HEADING, INK, TEXT, look_of, style};
use crate::{
    judge::AGAIN,
    results::Results,
    stats::{self, Estimate},
};

const MEASURE: &str = "crr_in";
const SIZE: (u32, u32) = (860, 480);
const TOP_LEFT: Pos = Pos {
    h_pos: HPos::Left,
    v_pos: VPos::Top,
};

/// The points of each variant by the number of ports, in the order of the legend.
type Lines<'a> = BTreeMap<(usize, &'a str), BTreeMap<u32, Estimate>>;

/// The plot; `None` where the run has not more than one number of ports.
pub(super) fn draw(results: &Results) -> Result<Option<String>> {
    let mut lines = Lines::new();
    let measured = results.series.iter();
    for series in measured.filter(|series| series.measure == MEASURE) {
        if series.variant.ends_with(AGAIN) {
            continue;
        }
        if let Some(rate) = stats::rate(series)? {
            let key = (look_of(&series.variant).0, series.variant.as_str());
            lines.entry(key).or_default().insert(series.ports, rate);
        }
    }
    let points = || lines.values().flatten();
    let most = points().map(|(ports, _)| *ports).max().unwrap_or(1);
    let highest = points().map(|(_, rate)| rate.high).fold(0.0, f64::max);
    if most <= 1 {
        return Ok(None);
    }

    let mut svg = String::new();
    {
        let root = SVGBackend::with_string(&mut svg, SIZE).into_drawing_area();
        root.fill(&WHITE)?;
        // Room beyond the first and last points, so that none lies on the frame.
        let ports = (0.8..f64::from(most) * 1.25).log_scale();
        let mut chart = ChartBuilder::on(&root)
            .caption(
                "New connections per second from outside, by published ports",
                style(HEADING, TOP_LEFT),
            )
            .margin(14)
            .x_label_area_size(46)
            .y_label_area_size(76)
            .build_cartesian_2d(ports, 0.0..highest * 1.08)?;
        chart
            .configure_mesh()
            .x_desc("published ports in place (logarithmic)")
            .y_desc("new TCP connections per second, median with 95 % interval")
            .x_label_formatter(&|ports| format!("{ports}"))
            .y_label_formatter(&|rate| format!("{rate:.0}"))
            .label_style(style(TEXT, TOP_LEFT))
            .axis_desc_style(style(TEXT, TOP_LEFT))
            .light_line_style(WHITE)
            .bold_line_style(GRID)
            .axis_style(INK)
            .draw()?;
        for ((_, variant), points) in &lines {
            let (_, name, colour) = look_of(variant);
            let stroke = colour.stroke_width(if *variant == "netpath" { 4 } else { 2 });
            let at = |(ports, rate): (&u32, &Estimate)| (f64::from(*ports), rate.median);
            chart
                .draw_series(LineSeries::new(points.iter().map(at), stroke))?
                .label(name)
                .legend(move |(x, y)| PathElement::new([(x, y), (x + 22, y)], stroke));
            chart.draw_series(points.iter().map(|(ports, rate)| {
                let x = f64::from(*ports);
                ErrorBar::new_vertical(x, rate.low, rate.median, rate.high, colour.filled(), 8)
            }))?;
            chart.draw_series(
                points
                    .iter()
                    .map(|point| Circle::new(at(point), 3, colour.filled())),
            )?;
        }
        chart
            .configure_series_labels()
            .position(SeriesLabelPosition::LowerLeft)
            .label_font(style(TEXT, TOP_LEFT))
            .background_style(WHITE.mix(0.85))
            .border_style(GRID)
            .margin(12)
            .draw()?;
        root.present()?;
    }
    Ok(Some(svg))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::samples::run;

    #[test]
    fn a_line_per_variant_over_the_ports() {
        let mut results = run(MEASURE, 1, 1.0, 1.5);
        results.series.extend(run(MEASURE, 10_000, 1.0, 1.4).series);
        let svg = draw(&results).unwrap().unwrap();
        assert!(
            svg.starts_with("<svg") && svg.ends_with("</svg>\n"),
            "{svg}"
        );
        // One line each for iptables-legacy and netpath, one more each in the legend.
        for colour in ["#D55E00", "#0072B2"] {
            let lines = svg
                .lines()
                .filter(|line| line.contains("<polyline") && line.contains(colour))
                .count();
            assert!(lines >= 2, "{colour}: {svg}");
        }
        assert!(svg.contains("netpath") && svg.contains("iptables-legacy"));
        assert!(!svg.contains("again"), "{svg}");
    }

    #[test]
    fn one_number_of_ports_is_no_line() {
        assert_eq!(draw(&run(MEASURE, 1, 1.0, 1.5)).unwrap(), None);
    }
}
