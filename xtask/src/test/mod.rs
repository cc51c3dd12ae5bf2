//! `test`: every layer of tests, and one line that counts them.
//!
//! Owns how they are run. Which there are is `layer`'s, counting `tally`'s.

mod layer;
pub(crate) mod tally;

use std::{
    env, fs,
    io::{BufRead as _, BufReader},
    path::PathBuf,
    process::{Command, ExitCode, Stdio},
};

use anyhow::{Context as _, Result};
use clap::Args;

use self::{layer::Layer, tally::Tally};
use crate::{
    build,
    context::{Context, as_root, in_ci, show, step},
    setup, verifier,
};

/// What to test.
#[derive(Args)]
pub(crate) struct Options {
    /// Only this layer.
    #[arg(long, value_enum)]
    only: Option<Layer>,
    /// Takes hours where the default takes minutes: as many random cases as a release wants.
    #[arg(long)]
    long: bool,
    /// Only tests whose name contains this.
    filter: Option<String>,
}

/// Names the file to which a test that cannot run appends a line with the reason.
const SKIP_LOG: &str = "NETPATH_SKIP_LOG";

/// Set where the tests shall try as many random cases as a release wants.
const LONG: &str = "NETPATH_LONG";

/// Names the netpath program to the tests that run it.
const PROGRAM: &str = "NETPATH_BIN";

/// Runs the layers that were asked for and prints the count.
pub(crate) fn test(context: &Context, options: &Options) -> Result<ExitCode> {
    let layers: Vec<_> = Layer::ALL
        .into_iter()
        .filter(|layer| options.only.is_none_or(|only| only == *layer))
        .collect();
    if layers.contains(&Layer::Netns) || layers.contains(&Layer::Differential) {
        want_tools();
    }
    if layers.contains(&Layer::Netns)
        && let Err(error) = setup::unpack_firewalls(context)
    {
        step(&format!(
            "setup: {error:#}; the tests beside ufw and firewalld will be skipped"
        ));
    }
    let program = build::netpath(context, false)?;
    let mut run = Run::new(context, options, program)?;
    let mut tally = Tally::default();
    for layer in layers {
        step(layer.title());
        run.layer(layer, &mut tally)?;
        if layer == Layer::Prog && options.filter.is_none() {
            bounds(context, &mut tally);
        }
    }
    let skips = run.skips()?;
    tally.skip(&skips);
    for reason in &skips {
        println!("{reason}");
    }
    let verdict = tally.verdict(in_ci());
    if let Err(why) = verdict {
        println!("FAILED: {why}");
    }
    println!("{tally}");
    Ok(if verdict.is_ok() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

/// Installs the programs that the tests run; a test without its program skips itself.
fn want_tools() {
    if let Err(error) = setup::test_tools() {
        step(&format!(
            "setup: {error:#}; the tests that need them will be skipped"
        ));
    }
}

/// The verifier's bounds, as one more test: this kernel takes programs that older ones refuse.
fn bounds(context: &Context, tally: &mut Tally) {
    match verifier::verifier(context) {
        Ok(()) => tally.passed += 1,
        Err(error) => {
            step(&format!("verifier: {error:#}"));
            tally.failed += 1;
        }
    }
}

/// One run of the tests.
struct Run<'a> {
    context: &'a Context,
    filter: Option<&'a str>,
    program: PathBuf,
    skip_log: PathBuf,
    long: bool,
}

impl<'a> Run<'a> {
    fn new(context: &'a Context, options: &'a Options, program: PathBuf) -> Result<Self> {
        let skip_log = context.target_dir.join("skipped-tests");
        fs::write(&skip_log, "").with_context(|| format!("cannot empty {}", skip_log.display()))?;
        Ok(Self {
            context,
            filter: options.filter.as_deref(),
            program,
            skip_log,
            long: options.long,
        })
    }

    /// Runs one layer, shows its output and counts its results.
    fn layer(&mut self, layer: Layer, tally: &mut Tally) -> Result<()> {
        for words in layer.passes(self.filter) {
            self.pass(layer, &words, tally)?;
        }
        Ok(())
    }

    fn pass(&mut self, layer: Layer, words: &[String], tally: &mut Tally) -> Result<()> {
        let mut command = self.command(layer, words)?;
        let name = show(&command);
        let mut child = command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .with_context(|| format!("cannot run `{name}`"))?;
        let failed_before = tally.failed;
        if let Some(stdout) = child.stdout.take() {
            for line in BufReader::new(stdout).split(b'\n') {
                let line = line.with_context(|| format!("cannot read from `{name}`"))?;
                let line = String::from_utf8_lossy(&line);
                println!("{line}");
                tally.line(&line);
            }
        }
        let status = child
            .wait()
            .with_context(|| format!("cannot wait for `{name}`"))?;
        if !status.success() && tally.failed == failed_before {
            // It did not build, or a test brought the whole program down.
            step(&format!("`{name}` failed ({status}) without naming a test"));
            tally.failed += 1;
        }
        Ok(())
    }

    /// The cargo command of one pass; where root is needed, cargo is told to call sudo.
    fn command(&self, layer: Layer, words: &[String]) -> Result<Command> {
        let mut cargo = self.context.cargo();
        cargo
            .args(["test", "--no-fail-fast"])
            .args(layer.packages());
        if layer != Layer::Unit {
            let sudo = as_root(&format!("running the {}", layer.title()))?;
            if !sudo.is_empty() {
                cargo.arg("--config").arg(self.runner(&sudo));
            }
        }
        cargo
            .env(SKIP_LOG, &self.skip_log)
            .env(PROGRAM, &self.program);
        if self.long {
            cargo.env(LONG, "1");
        }
        cargo.arg("--").args(words);
        Ok(cargo)
    }

    /// Cargo's setting that runs test programs through sudo, with the variables that they need:
    /// sudo drops all others.
    fn runner(&self, sudo: &[String]) -> String {
        let mut words = sudo.to_vec();
        words.push("env".to_owned());
        words.push(format!("{SKIP_LOG}={}", self.skip_log.display()));
        words.push(format!("{PROGRAM}={}", self.program.display()));
        if self.long {
            words.push(format!("{LONG}=1"));
        }
        for name in ["CI", "RUST_BACKTRACE", "PATH"] {
            if let Ok(value) = env::var(name) {
                words.push(format!("{name}={value}"));
            }
        }
        format!("target.\"cfg(all())\".runner={words:?}")
    }

    /// The reasons that the tests have given for skipping themselves.
    fn skips(&self) -> Result<Vec<String>> {
        let log = fs::read_to_string(&self.skip_log)
            .with_context(|| format!("cannot read {}", self.skip_log.display()))?;
        Ok(log
            .lines()
            .filter(|line| !line.is_empty())
            .map(str::to_owned)
            .collect())
    }
}
