//! The `netpath` program: options, the network namespace, the runtime, the exit status.
//!
//! Owns nothing else: [`netpath::cli`] has the commands.

use std::{io::IsTerminal as _, process::ExitCode};

use anyhow::anyhow;
use clap::Parser as _;
use netpath::{
    bpf,
    cli::{self, Cli, Command},
    instance::name_of,
    lab,
    net::namespace::Namespace,
};
use tracing_subscriber::EnvFilter;

fn main() -> ExitCode {
    // Wrong options end the program here, with status 2.
    let cli = Cli::parse();
    let filter = EnvFilter::try_from_env("NETPATH_LOG").unwrap_or_else(|_| EnvFilter::new("info"));
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal())
        .with_target(false)
        .without_time()
        .init();
    match run(cli) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(e) => {
            // The message alone: netpath's own errors say their causes themselves.
            eprintln!("error: {e}");
            ExitCode::FAILURE
        }
    }
}

/// False: everything was done, and the verdict is bad.
fn run(cli: Cli) -> anyhow::Result<bool> {
    if let Command::Import(command) = &cli.command {
        return Ok(cli::import::run(command, cli.json)?);
    }
    if let Command::Completions(args) = &cli.command {
        cli::manual::completions(args)?;
        return Ok(true);
    }
    if let Command::Man(args) = &cli.command {
        cli::manual::man(args)?;
        return Ok(true);
    }
    let examines = matches!(cli.command, Command::Doctor);
    if !examines {
        bpf::check_kernel()?;
    }
    if let Command::Lab(args) = cli.command {
        return Ok(lab::run(args, cli.json)?);
    }
    if let Some(netns) = &cli.netns {
        // Before any other thread exists: they all begin in this one's namespace.
        Namespace::open(netns)?.enter()?;
    }
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|e| anyhow!("cannot start the runtime: {e}"))?;
    if examines {
        let name = name_of(cli.netns.as_ref())?;
        let examined = cli::doctor::run(&name, &cli.state_dir, cli.json);
        return Ok(runtime.block_on(examined)?);
    }
    runtime.block_on(cli.run())?;
    Ok(true)
}
