//! The command line of `netpath ct`.
//!
//! Owns its options, which are conntrack's, and what they print. Reads the table through
//! [`super::read`].

use std::{
    io::{self, Write as _},
    net::IpAddr,
};

use clap::ValueEnum;
use netpath_common::{V4, V6};

use super::{
    AnyFlow, Filter, NatFilter, count, delete, flush,
    format::{Printer, Style},
    get,
    read::Flows,
};
use crate::bpf::{Datapath, Error, Family, coarse_now};

/// Show and remove tracked connections.
#[derive(Clone, Debug, clap::Args)]
pub struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Clone, Debug, clap::Subcommand)]
enum Command {
    /// Print every flow, as `conntrack -L` does
    #[command(short_flag = 'L', visible_alias = "ls")]
    List(ListArgs),
    /// Print one flow, by its protocol, addresses and ports
    #[command(short_flag = 'G', arg_required_else_help = true)]
    Get(ListArgs),
    /// Print how many flows there are
    #[command(short_flag = 'C')]
    Count(FilterArgs),
    /// Remove the flows that match, and print them
    #[command(short_flag = 'D', arg_required_else_help = true)]
    Delete(ListArgs),
    /// Remove flows: all of them, or those that match
    #[command(short_flag = 'F')]
    Flush(FilterArgs),
}

#[derive(Clone, Debug, clap::Args)]
struct ListArgs {
    #[command(flatten)]
    filter: FilterArgs,
    /// How to print the flows
    #[arg(short, long, value_name = "FORMAT", value_delimiter = ',')]
    output: Vec<Output>,
}

impl ListArgs {
    fn style(&self, json: bool) -> Style {
        if json || self.output.contains(&Output::Json) {
            Style::Json
        } else if self.output.contains(&Output::Extended) {
            Style::Extended
        } else {
            Style::Plain
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Output {
    /// With the network protocol, and with the counters of both directions
    Extended,
    /// A JSON array
    Json,
}

#[derive(Clone, Debug, Default, clap::Args)]
struct FilterArgs {
    /// Family of addresses: ipv4 or ipv6; both when left out
    #[arg(short, long, value_name = "FAMILY", value_parser = parse_family)]
    family: Option<u8>,
    /// Protocol: tcp, udp, icmp, icmpv6 or a number
    #[arg(short, long, value_name = "PROTO", value_parser = parse_proto)]
    proto: Option<u8>,
    /// Source address of the original direction
    #[arg(short, long, value_name = "ADDRESS", visible_alias = "orig-src")]
    src: Option<IpAddr>,
    /// Destination address of the original direction
    #[arg(short, long, value_name = "ADDRESS", visible_alias = "orig-dst")]
    dst: Option<IpAddr>,
    /// Source port of the original direction
    #[arg(long, value_name = "PORT", visible_alias = "orig-port-src")]
    sport: Option<u16>,
    /// Destination port of the original direction
    #[arg(long, value_name = "PORT", visible_alias = "orig-port-dst")]
    dport: Option<u16>,
    /// Flows with a translated source, or one translated to ADDRESS
    #[arg(short = 'n', long, value_name = "ADDRESS", num_args = 0..=1, default_missing_value = "any", value_parser = parse_nat)]
    src_nat: Option<NatFilter>,
    /// Flows with a translated destination, or one translated to ADDRESS
    #[arg(short = 'g', long, value_name = "ADDRESS", num_args = 0..=1, default_missing_value = "any", value_parser = parse_nat)]
    dst_nat: Option<NatFilter>,
}

impl FilterArgs {
    fn filter(&self) -> Filter {
        let Self {
            family,
            proto,
            src,
            dst,
            sport,
            dport,
            src_nat,
            dst_nat,
        } = *self;
        Filter {
            family,
            proto,
            src,
            dst,
            sport,
            dport,
            src_nat,
            dst_nat,
        }
    }
}

/// Runs the command and prints what it finds.
///
/// # Errors
/// If the table cannot be read or standard output cannot be written.
pub fn run(args: &Args, dp: &Datapath, json: bool) -> Result<(), Error> {
    match &args.command {
        Command::List(list) => {
            let shown = show(dp, list.filter.filter(), list.style(json))?;
            eprintln!("netpath ct: {shown} flow entries have been shown.");
            Ok(())
        }
        Command::Get(list) => {
            let filter = list.filter.filter();
            let Some(flow) = get(dp, &filter)? else {
                let none = "there is none; `netpath ct list` shows those that there are";
                let e = io::Error::new(io::ErrorKind::NotFound, none);
                return Err(Error::system("looking for the flow", e));
            };
            let mut printer = Printer::new(list.style(json), dp.config()?.timeouts);
            print(&part(&mut printer, flow, coarse_now()?))?;
            print(printer.end())
        }
        Command::Delete(list) => {
            let mut printer = Printer::new(list.style(json), dp.config()?.timeouts);
            let mut see = |flow, now| print(&part(&mut printer, flow, now));
            let removed = delete(dp, &list.filter.filter(), &mut see)?;
            print(printer.end())?;
            eprintln!("netpath ct: {removed} flow entries have been deleted.");
            Ok(())
        }
        Command::Count(args) => {
            let count = count(dp, &args.filter())?;
            print(&if json {
                format!("{{\"count\":{count}}}\n")
            } else {
                format!("{count}\n")
            })
        }
        Command::Flush(args) => {
            let removed = flush(dp, &args.filter())?;
            if json {
                print(&format!("{{\"removed\":{removed}}}\n"))?;
            } else {
                eprintln!("netpath ct: {removed} flow entries have been deleted.");
            }
            Ok(())
        }
    }
}

/// The text of one flow more.
fn part(printer: &mut Printer, flow: AnyFlow, now: u64) -> String {
    match flow {
        AnyFlow::V4(flow) => printer.part(&[flow], now),
        AnyFlow::V6(flow) => printer.part(&[flow], now),
    }
}

/// Prints the flows that match as they are read; how many.
fn show(dp: &Datapath, filter: Filter, style: Style) -> Result<usize, Error> {
    let timeouts = dp.config()?.timeouts;
    let mut printer = Printer::new(style, timeouts);
    show_family::<V4>(dp, filter, &mut printer)?;
    show_family::<V6>(dp, filter, &mut printer)?;
    print(printer.end())?;
    Ok(printer.printed())
}

fn show_family<A: Family>(
    dp: &Datapath,
    filter: Filter,
    printer: &mut Printer,
) -> Result<(), Error> {
    if !filter.asks_for::<A>() {
        return Ok(());
    }
    let mut flows = Flows::<A>::new(dp, filter)?;
    while let Some((flows, now)) = flows.next()? {
        print(&printer.part(&flows, now))?;
    }
    Ok(())
}

fn print(text: &str) -> Result<(), Error> {
    match io::stdout().lock().write_all(text.as_bytes()) {
        // Whoever reads has seen enough (`| head`).
        Err(e) if e.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        other => other.map_err(|e| Error::system("writing standard output", e)),
    }
}

fn parse_proto(text: &str) -> Result<u8, String> {
    use netpath_common::tuple::{DCCP, GRE, ICMP, ICMPV6, SCTP, TCP, UDP, UDPLITE};

    match text.to_ascii_lowercase().as_str() {
        "tcp" => Ok(TCP),
        "udp" => Ok(UDP),
        "icmp" => Ok(ICMP),
        "icmpv6" | "ipv6-icmp" => Ok(ICMPV6),
        "sctp" => Ok(SCTP),
        "dccp" => Ok(DCCP),
        "udplite" => Ok(UDPLITE),
        "gre" => Ok(GRE),
        number => number.parse().map_err(|_| {
            "use tcp, udp, icmp, icmpv6, sctp, dccp, udplite, gre or a protocol number".into()
        }),
    }
}

fn parse_family(text: &str) -> Result<u8, String> {
    match text.to_ascii_lowercase().as_str() {
        V4::NAME => Ok(V4::NUMBER),
        V6::NAME => Ok(V6::NUMBER),
        _ => Err("use ipv4 or ipv6".into()),
    }
}

fn parse_nat(text: &str) -> Result<NatFilter, String> {
    if text == "any" {
        return Ok(NatFilter::Any);
    }
    text.parse()
        .map(NatFilter::To)
        .map_err(|_| "use an address, or no value".into())
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Cli {
        #[command(subcommand)]
        top: Top,
    }

    #[derive(clap::Subcommand)]
    enum Top {
        Ct(Args),
    }

    fn parse(words: &str) -> Command {
        let Top::Ct(args) = Cli::try_parse_from(words.split(' ')).unwrap().top;
        args.command
    }

    #[test]
    fn conntracks_options_are_understood() {
        for words in ["netpath ct list -p tcp", "netpath ct -L -p tcp"] {
            let Command::List(list) = parse(words) else {
                panic!("{words}")
            };
            assert_eq!(list.filter.filter().proto, Some(6));
        }
        let Command::Count(args) = parse("netpath ct -C --src-nat -d 198.51.100.2") else {
            panic!()
        };
        let filter = args.filter();
        assert_eq!(filter.src_nat, Some(NatFilter::Any));
        assert_eq!(filter.dst, "198.51.100.2".parse().ok());
        let Command::Flush(args) = parse("netpath ct flush -g 172.17.0.2 --dport 80") else {
            panic!()
        };
        assert_eq!(
            args.filter().dst_nat,
            Some(NatFilter::To("172.17.0.2".parse().unwrap()))
        );
        assert_eq!(args.filter().dport, Some(80));
        let Command::List(list) = parse("netpath ct list -o extended,json") else {
            panic!()
        };
        assert_eq!(list.output, [Output::Extended, Output::Json]);
        let Command::List(list) = parse("netpath ct list -f ipv6 -p icmpv6 -s fd00:17::2") else {
            panic!()
        };
        let filter = list.filter.filter();
        assert_eq!((filter.family, filter.proto), (Some(10), Some(58)));
        assert_eq!(filter.src, "fd00:17::2".parse().ok());
        let Command::Get(_) = parse("netpath ct -G -p tcp -s 10.0.0.1 -d 10.0.0.2") else {
            panic!()
        };
        let Command::Delete(_) = parse("netpath ct -D -f ipv6") else {
            panic!()
        };
        // Everything is removed by another word.
        assert!(Cli::try_parse_from(["netpath", "ct", "delete"]).is_err());
        assert!(Cli::try_parse_from(["netpath", "ct", "list", "-p", "carp?"]).is_err());
        assert!(Cli::try_parse_from(["netpath", "ct", "list", "-f", "ipv5"]).is_err());
    }
}
