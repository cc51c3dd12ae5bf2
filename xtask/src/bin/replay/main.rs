//! Captures through the eBPF programs, and the time that they take.
//!
//! Owns the command line and the exit status. Loading, running and judging is `netpath-tests`',
//! whose program tests do the same.

mod bench;

use std::{panic, path::PathBuf, process::ExitCode};

use anyhow::{Context as _, Result, bail};
use clap::Parser;
use netpath_common::{
    event::Hook,
    testing::{C1, Container, RULE_DNS},
    tuple::UDP,
};
use netpath_tests::{
    replay::{self, CONTAINERS, Packet, Source},
    runner::Runner,
    timing::{self, Timings},
};
use serde_json::json;

/// The first of the ports that `--ports` publishes.
const FIRST_PORT: u16 = 10_000;

/// Run a capture through the eBPF programs, or time them.
///
/// The programs are loaded privately and run by BPF_PROG_TEST_RUN: nothing is attached and nothing
/// leaves. The host that they serve is the one of the tests: containers c1 (172.17.0.2), c2
/// (172.17.0.3) and c3 (172.18.0.2), the uplink's address 192.0.2.1, published ports 8080/tcp to
/// c1:80 and 5353/udp to c1:53. Flows that packets make serve those that follow. The exit status is
/// 1 where a program broke a checksum.
#[derive(Debug, Parser)]
#[command(name = "cargo xtask replay", bin_name = "cargo xtask replay")]
struct Arguments {
    /// A pcap or pcapng file of Ethernet frames.
    #[arg(
        value_name = "FILE",
        requires = "hook",
        required_unless_present = "bench"
    )]
    capture: Option<PathBuf>,
    /// The hook that the packets are given to: veth, bridge, uplink-in, uplink-out or xdp.
    #[arg(long, value_parser = hook, requires = "capture")]
    hook: Option<Hook>,
    /// Another capture, for another hook: its packets join in the order of their times.
    #[arg(long, value_name = "HOOK=FILE", value_parser = with, requires = "capture")]
    with: Vec<(Hook, PathBuf)>,
    /// Who sent the packets at the veth hook: c1, c2 or c3. Left out: whose MAC or IP address they
    /// carry.
    #[arg(long, value_name = "NAME", value_parser = container)]
    sender: Option<Container>,
    /// `skb->mark` of every packet.
    #[arg(long, default_value_t = 0)]
    mark: u32,
    /// Write the packets as they are afterwards to a pcapng file, with the verdict as comment.
    #[arg(long, value_name = "FILE", requires = "capture")]
    output: Option<PathBuf>,
    /// Time every packet of the capture, if there is one, and the programs and their parts.
    #[arg(long)]
    bench: bool,
    /// Rounds of a measurement.
    #[arg(long, default_value_t = 1000, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    rounds: u32,
    /// Publish so many more ports before the programs are timed.
    #[arg(long, value_name = "N", default_value_t = 0, requires = "bench", value_parser = clap::value_parser!(u16).range(0..=10_000))]
    ports: u16,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

fn hook(name: &str) -> Result<Hook, String> {
    let mut all = (0..=u8::MAX).map_while(Hook::from_u8);
    let names: Vec<_> = all.clone().map(Hook::as_str).collect();
    all.find(|hook| hook.as_str() == name).ok_or_else(|| {
        format!(
            "there is no hook `{name}`; the hooks are {}",
            names.join(", ")
        )
    })
}

fn with(text: &str) -> Result<(Hook, PathBuf), String> {
    let (name, file) = text
        .split_once('=')
        .ok_or("a hook, `=`, and a file is wanted")?;
    Ok((hook(name)?, file.into()))
}

fn container(name: &str) -> Result<Container, String> {
    let known = CONTAINERS.iter().find(|(known, _)| *known == name);
    known
        .map(|(_, container)| *container)
        .ok_or_else(|| format!("there is no container `{name}`; they are c1, c2 and c3"))
}

fn main() -> ExitCode {
    // The runner is the program tests' and panics with a message where its surroundings are wrong.
    panic::set_hook(Box::new(|info| {
        let payload = info.payload();
        let message = payload
            .downcast_ref::<String>()
            .map(String::as_str)
            .or_else(|| payload.downcast_ref::<&str>().copied());
        eprintln!("error: {}", message.unwrap_or("a bug without a message"));
    }));
    let arguments = Arguments::parse();
    match panic::catch_unwind(|| run(&arguments)) {
        Ok(Ok(code)) => code,
        Ok(Err(error)) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
        Err(_) => ExitCode::FAILURE,
    }
}

fn run(arguments: &Arguments) -> Result<ExitCode> {
    let Some((path, hook)) = arguments.capture.as_ref().zip(arguments.hook) else {
        return bench(arguments);
    };
    let mut sources = vec![(hook, path)];
    sources.extend(arguments.with.iter().map(|(hook, path)| (*hook, path)));
    let sources: Vec<_> = sources
        .into_iter()
        .map(|(hook, path)| Source {
            path: path.clone(),
            hook,
            sender: arguments.sender,
        })
        .collect();
    let frames = replay::read(&sources)?;
    if frames.is_empty() {
        bail!("{}: the capture holds no packet", path.display());
    }
    let mut runner = Runner::dual();
    let mut packets = replay::replay(&mut runner, &frames, arguments.mark)?;
    if arguments.bench {
        let rounds = arguments.rounds;
        replay::time(&mut runner, &frames, arguments.mark, rounds, &mut packets)?;
    }
    if let Some(output) = &arguments.output {
        replay::pcapng(output, &packets)?;
    }
    let timings = arguments.bench.then(|| time(runner, arguments));
    if arguments.json {
        print_json(&json!({ "packets": packets, "timings": timings }))?;
    } else {
        print!("{}", replay::text(&packets));
        if let Some(timings) = timings {
            println!();
            bench::print(&timings);
        }
    }
    Ok(if packets.iter().any(Packet::is_bad) {
        ExitCode::FAILURE
    } else {
        ExitCode::SUCCESS
    })
}

fn bench(arguments: &Arguments) -> Result<ExitCode> {
    let timings = time(Runner::dual(), arguments);
    if arguments.json {
        print_json(&json!({ "timings": timings }))?;
    } else {
        bench::print(&timings);
    }
    Ok(ExitCode::SUCCESS)
}

/// Times the programs, with as many published ports as asked for.
fn time(mut runner: Runner, arguments: &Arguments) -> Timings {
    for port in (FIRST_PORT..).take(arguments.ports.into()) {
        runner.tables.publish(UDP, port, &C1, 53, RULE_DNS);
    }
    runner.sync();
    timing::time(&mut runner, arguments.rounds)
}

fn print_json(value: &serde_json::Value) -> Result<()> {
    let text = serde_json::to_string_pretty(value).context("cannot print JSON")?;
    println!("{text}");
    Ok(())
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    #[test]
    fn command_line() {
        Arguments::command().debug_assert();
        let parse = |words: &[&str]| {
            Arguments::try_parse_from([&["replay"], words].concat()).map_err(|e| e.to_string())
        };
        let words = ["a.pcap", "--hook", "veth", "--with", "uplink-in=b.pcap"];
        let arguments = parse(&words).unwrap();
        assert_eq!(arguments.hook, Some(Hook::Veth));
        assert_eq!(
            arguments.with,
            [(Hook::UplinkIngress, PathBuf::from("b.pcap"))]
        );
        assert!(parse(&["--bench"]).is_ok());
        assert!(parse(&[]).is_err());
        assert!(parse(&["a.pcap"]).unwrap_err().contains("--hook"));
        let unknown = parse(&["a.pcap", "--hook", "lo"]).unwrap_err();
        assert!(unknown.contains("veth, bridge, uplink-in, uplink-out, xdp"));
    }
}
