//! `bench`: netpath measured beside its peers.
//!
//! Owns the way there only. The measuring is a program of its own, since it needs root, an
//! optimised build and libraries that no other command needs.

#[path = "bin/bench/args.rs"]
mod args;

use std::{
    ffi::{OsStr, OsString},
    os::unix::process::CommandExt as _,
    process::ExitCode,
};

use anyhow::{Context as _, Result};
use clap::ValueEnum as _;

pub(crate) use self::args::Options;
use crate::{
    build,
    context::{Context, as_root, prefixed, run, show},
    setup,
};

/// Builds netpath and the measuring program, and becomes the latter.
pub(crate) fn bench(context: &Context, options: &Options) -> Result<ExitCode> {
    let measures = options.from.is_none() && options.compare.is_empty();
    if measures {
        setup::bench_tools()?;
    }
    build::object(context)?;
    // In one call, so that what both depend on is built once.
    run(context.cargo().args([
        "build",
        "--profile=measure",
        "--package=netpath",
        "--package=xtask",
        "--features=xtask/bench",
        "--bin=netpath",
        "--bin=xtask-bench",
    ]))?;
    let prefix = if measures {
        as_root("measuring in network namespaces")?
    } else {
        Vec::new()
    };
    let mut command = prefixed(&prefix, context.target_dir.join("measure/xtask-bench"));
    command.args(words(options));
    if options.netpath.is_none() {
        command.arg("--netpath").arg(context.netpath("measure"));
    }
    // Replacing this process leaves signals and the exit status to the measuring program.
    let error = command.exec();
    Err(error).with_context(|| format!("cannot run `{}`", show(&command)))
}

/// The options as words of a command line.
fn words(options: &Options) -> Vec<OsString> {
    let Options {
        quick,
        json,
        plots,
        from,
        compare,
        only,
        variants,
        rounds,
        slice_ms,
        netpath,
    } = options;
    let mut words = Vec::new();
    let mut add = |name: &str, value: &OsStr| words.extend([name.into(), value.into()]);
    for measure in only {
        if let Some(value) = measure.to_possible_value() {
            add("--only", value.get_name().as_ref());
        }
    }
    for variant in variants {
        add("--variants", variant.as_ref());
    }
    let paths = [
        ("--json", json),
        ("--plots", plots),
        ("--from", from),
        ("--netpath", netpath),
    ];
    for (name, path) in paths {
        if let Some(path) = path {
            add(name, path.as_ref());
        }
    }
    if let Some(rounds) = rounds {
        add("--rounds", rounds.to_string().as_ref());
    }
    if let Some(slice) = slice_ms {
        add("--slice-ms", slice.to_string().as_ref());
    }
    if *quick {
        words.push("--quick".into());
    }
    if let [first, second] = compare.as_slice() {
        words.extend(["--compare".into(), first.into(), second.into()]);
    }
    words
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        options: Options,
    }

    #[test]
    fn options_survive_being_handed_on() {
        let line = [
            "bench",
            "--only",
            "rr_in,crr_out,flows",
            "--json=a b",
            "--variants=netpath,none",
            "--plots=c",
            "--netpath=d",
            "--rounds=7",
            "--slice-ms=50",
            "--quick",
        ];
        let once = words(&Line::try_parse_from(line).unwrap().options);
        let again = std::iter::once(OsString::from("bench")).chain(once.clone());
        assert_eq!(words(&Line::try_parse_from(again).unwrap().options), once);
        // Three measures, two variants and five values with their names, and one flag.
        assert_eq!(once.len(), 21);
    }

    #[test]
    fn nothing_asked_for_is_nothing_handed_on() {
        let line = Line::try_parse_from(["bench"]).unwrap();
        assert_eq!(words(&line.options), Vec::<OsString>::new());
    }
}
