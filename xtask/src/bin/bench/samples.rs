//! Made-up results for tests.

use crate::results::{Results, Series, Slice};

/// A series of `crr_in` at one port.
pub(crate) fn series(variant: &str, rates: &[f64]) -> Series {
    Series {
        measure: "crr_in".to_owned(),
        ports: 1,
        variant: variant.to_owned(),
        unit: "1/s".to_owned(),
        higher_is_better: true,
        rounds: rates
            .iter()
            .map(|rate| Slice {
                rate: *rate,
                cpu_ns: None,
            })
            .collect(),
    }
}

/// Forty rounds of a drifting machine: `legacy`, its copy and `netpath`, the last two at these
/// factors of the first, all of one measure.
pub(crate) fn run(measure: &str, ports: u32, again: f64, netpath: f64) -> Results {
    let speed: Vec<f64> = (0..40)
        .map(|round| 1_000.0 + 3.0 * f64::from(round))
        .collect();
    let variant = |name, factor: f64| Series {
        measure: measure.to_owned(),
        ports,
        ..series(
            name,
            &speed.iter().map(|rate| rate * factor).collect::<Vec<_>>(),
        )
    };
    Results {
        machine: vec![("kernel".to_owned(), "6.18".to_owned())],
        series: vec![
            variant("legacy", 1.0),
            variant("legacy-again", again),
            variant("netpath", netpath),
        ],
    }
}
