//! Results in files.
//!
//! Owns the file format, which docs/bench.md describes, and its version.

use std::{fs, path::Path};

use anyhow::{Context as _, Result, bail};
use serde::{Deserialize, Serialize};

use crate::results::Results;

/// The version of the format. It changes whenever the meaning of a field does.
const SCHEMA: u32 = 1;

#[derive(Serialize)]
struct Written<'a> {
    schema: u32,
    #[serde(flatten)]
    results: &'a Results,
}

/// Read before all else, so that a file of another version is named as one.
#[derive(Deserialize)]
struct Version {
    schema: u32,
}

/// Writes a run with all its rounds.
pub(crate) fn save(results: &Results, path: &Path) -> Result<()> {
    fs::write(path, text(results)?).with_context(|| format!("cannot write {}", path.display()))
}

/// Reads a run that [`save`] wrote.
pub(crate) fn load(path: &Path) -> Result<Results> {
    let text =
        fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
    parse(&text).with_context(|| {
        format!(
            "{} does not hold results of `cargo xtask bench --json`",
            path.display()
        )
    })
}

fn text(results: &Results) -> Result<String> {
    let schema = SCHEMA;
    let mut text = serde_json::to_string_pretty(&Written { schema, results })?;
    text.push('\n');
    Ok(text)
}

fn parse(text: &str) -> Result<Results> {
    let Version { schema } = serde_json::from_str(text)?;
    if schema != SCHEMA {
        bail!("its schema is {schema}, this program reads {SCHEMA}: measure again");
    }
    let results: Results = serde_json::from_str(text)?;
    for (index, series) in results.series.iter().enumerate() {
        let earlier = results.find(&series.measure, series.ports, &series.variant);
        let twice = earlier.is_some_and(|earlier| !std::ptr::eq(earlier, series));
        if twice {
            bail!(
                "series {index} ({}, {} ports, {}) is there twice",
                series.measure,
                series.ports,
                series.variant
            );
        }
    }
    Ok(results)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::samples::run;

    #[test]
    fn a_run_comes_back_as_it_was() {
        let mut results = run("crr_in", 10_000, 1.01, 7.3);
        results.series[0].rounds[3].cpu_ns = Some(1_234.567_89);
        // A number without a short decimal form.
        results.series[1].rounds[4].rate = 1.0 / 3.0;
        assert_eq!(parse(&text(&results).unwrap()).unwrap(), results);
    }

    #[test]
    fn a_file_comes_back_as_it_was() {
        let results = run("udp_in", 1, 1.0, 2.0);
        let path = std::env::temp_dir().join(format!("netpath-json-{}", std::process::id()));
        save(&results, &path).unwrap();
        let back = load(&path);
        fs::remove_file(&path).unwrap();
        assert_eq!(back.unwrap(), results);
    }

    /// The fields that docs/bench.md names: others read them.
    #[test]
    fn the_fields_are_those_of_the_documentation() {
        let results = run("udp_in", 1, 1.0, 2.0);
        let value: serde_json::Value = serde_json::from_str(&text(&results).unwrap()).unwrap();
        assert_eq!(value["schema"], 1);
        assert_eq!(value["machine"][0][0], "kernel");
        let series = &value["series"][2];
        assert_eq!(series["measure"], "udp_in");
        assert_eq!(series["ports"], 1);
        assert_eq!(series["variant"], "netpath");
        assert_eq!(series["unit"], "1/s");
        assert_eq!(series["higher_is_better"], true);
        assert_eq!(series["rounds"][0]["rate"], 2_000.0);
        assert!(series["rounds"][0]["cpu_ns"].is_null());
    }

    #[test]
    fn another_version_is_named() {
        let other = text(&Results::default())
            .unwrap()
            .replace("\"schema\": 1", "\"schema\": 99");
        let error = parse(&other).unwrap_err().to_string();
        assert!(error.contains("99"), "{error}");
    }

    #[test]
    fn a_series_that_is_there_twice_is_refused() {
        let mut results = run("udp_in", 1, 1.0, 2.0);
        results.series.push(results.series[0].clone());
        let error = parse(&text(&results).unwrap()).unwrap_err().to_string();
        assert!(error.contains("twice"), "{error}");
    }
}
