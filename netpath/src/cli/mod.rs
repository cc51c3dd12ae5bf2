//! The command line: one file for each command.
//!
//! Owns options, and how results are printed. Decides nothing: [`crate::instance`] does.

mod agent;
mod ct;
pub mod doctor;
mod down;
mod endpoint;
mod error;
pub mod import;
pub mod manual;
mod monitor;
mod network;
mod output;
mod port;
mod publish;
mod rules;
mod status;
mod template;
mod up;

use std::path::PathBuf;

use clap::{Parser, Subcommand};

pub use error::Error;

use crate::{
    config::NetnsRef,
    instance::{Instance, name_of},
};

/// Container NAT in eBPF.
#[derive(Debug, Parser)]
#[command(name = "netpath", version, arg_required_else_help = true)]
pub struct Cli {
    /// Act on this network namespace as the host: a name under /run/netns, a path, or a process
    /// id. Comes before
    /// the command
    // Not global: `endpoint add --netns` names the container's namespace.
    #[arg(long, value_name = "NAME|PATH|PID")]
    pub netns: Option<NetnsRef>,
    /// Where instances keep their state
    #[arg(
        long,
        global = true,
        value_name = "DIR",
        default_value = "/var/lib/netpath"
    )]
    pub state_dir: PathBuf,
    /// Print JSON
    #[arg(long, global = true)]
    pub json: bool,
    /// What to do
    #[command(subcommand)]
    pub command: Command,
}

/// The commands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Make networks and endpoints be as a configuration says
    Up(up::Args),
    /// Remove networks, or everything
    Down(down::Args),
    /// Show the instance: networks, endpoints, programs, counters, drops
    Status,
    /// Examine the host: what netpath needs, and what stands in its way
    Doctor,
    /// Add, show and remove networks
    #[command(subcommand)]
    Network(network::Command),
    /// Add, show and remove endpoints
    #[command(subcommand)]
    Endpoint(endpoint::Command),
    /// Publish ports of an endpoint
    Publish(publish::Args),
    /// Withdraw published ports of an endpoint
    Unpublish(publish::Args),
    /// Show published ports
    Port(port::Args),
    /// Show the rules in force: masquerade and published ports, with packets and bytes
    Rules(rules::Args),
    /// Turn rules of others into a configuration
    #[command(subcommand)]
    Import(import::Command),
    /// Show and remove tracked connections
    Ct(crate::ct::Args),
    /// Show dropped packets as it happens
    Monitor(crate::monitor::Args),
    /// Run in the foreground: collect expired flows, follow changes of links and addresses
    Agent,
    /// Print the completions of a shell
    Completions(manual::CompletionsArgs),
    /// Write the manual pages, one for each command
    #[command(hide = true)]
    Man(manual::ManArgs),
    /// Tell the whole story in network namespaces of its own, and check every step
    Lab(crate::lab::Args),
}

impl Cli {
    /// Runs the command in the network namespace that the thread is in.
    ///
    /// # Errors
    /// What went wrong, in one message.
    pub async fn run(&self) -> Result<(), Error> {
        let instance = Instance::open(&name_of(self.netns.as_ref())?, &self.state_dir)?;
        let json = self.json;
        match &self.command {
            Command::Up(args) => up::run(&instance, args, json).await,
            Command::Down(args) => down::run(&instance, args, json).await,
            Command::Status => status::run(&instance, json).await,
            Command::Network(command) => network::run(&instance, command, json).await,
            Command::Endpoint(command) => endpoint::run(&instance, command, json).await,
            Command::Publish(args) => publish::publish(&instance, args, json).await,
            Command::Unpublish(args) => publish::unpublish(&instance, args, json).await,
            Command::Port(args) => port::run(&instance, args, json),
            Command::Rules(args) => rules::run(&instance, args, json).await,
            Command::Ct(args) => ct::run(&instance, args, json),
            Command::Monitor(args) => monitor::run(&instance, args, json).await,
            Command::Agent => agent::run(&instance).await,
            // The program runs these itself: they need no instance, or no kernel that netpath runs on.
            Command::Lab(_)
            | Command::Doctor
            | Command::Import(_)
            | Command::Completions(_)
            | Command::Man(_) => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use clap::{CommandFactory as _, error::ErrorKind};

    use super::*;

    fn parse(line: &str) -> Result<Cli, clap::Error> {
        Cli::try_parse_from(line.split_whitespace())
    }

    #[test]
    fn the_definition_is_sound() {
        Cli::command().debug_assert();
    }

    #[test]
    fn down_wants_a_network_or_all_and_not_both() {
        let kind = |line| parse(line).unwrap_err().kind();
        assert_eq!(kind("netpath down"), ErrorKind::MissingRequiredArgument);
        assert_eq!(kind("netpath down --all net"), ErrorKind::ArgumentConflict);
        assert!(parse("netpath down --all").is_ok() && parse("netpath down a b").is_ok());
    }

    #[test]
    fn a_bad_spec_is_a_usage_error_that_tells_why() {
        let error = parse("netpath publish PINK 0:80").unwrap_err();
        assert_eq!(error.exit_code(), 2);
        assert!(
            error
                .to_string()
                .contains("ports are numbers from 1 to 65535"),
            "{error}"
        );
    }

    #[test]
    fn the_host_s_namespace_and_the_container_s_are_two_options() {
        let cli =
            parse("netpath --netns host endpoint add --network n --netns pink --name P --json");
        let cli = cli.unwrap();
        assert!(cli.json);
        assert_eq!(cli.netns.unwrap().name(), Some("host"));
        let Command::Endpoint(endpoint::Command::Add(add)) = cli.command else {
            panic!("add")
        };
        assert_eq!(add.netns.name(), Some("pink"));
    }

    #[test]
    fn dockers_flags_of_network_create_are_read_as_docker_reads_them() {
        for flags in [
            "-d bridge --internal --ipv6 --attachable",
            "--internal=true --ipv6=false --ipv4=true --attachable=false --ingress=false",
            "--subnet 10.0.0.0/8 --subnet fd00::/64 --gateway 10.0.0.1 --ip-range 10.1.0.0/16",
            "--aux-address a=10.0.0.2 --aux-address b=10.0.0.3 --label x --label y=z",
            "-o com.docker.network.driver.mtu=1400 --opt a=b --scope local --ipam-driver default",
        ] {
            let line = format!("netpath network create {flags} name");
            assert!(parse(&line).is_ok(), "{line}");
        }
        let kind = |line| parse(line).unwrap_err().kind();
        assert_eq!(
            kind("netpath network create --ipv6=perhaps name"),
            ErrorKind::InvalidValue
        );
        assert_eq!(
            kind("netpath network rm"),
            ErrorKind::MissingRequiredArgument
        );
        assert!(parse("netpath port web 80/udp").is_ok());
        assert!(parse("netpath port web 8080:80").is_err());
    }
}
