//! `netpath network connect` and `disconnect`: Docker's words for an endpoint more, or less, of a
//! container that has one already.

use std::net::{Ipv4Addr, Ipv6Addr};

use super::super::{Error, endpoint, output};
use crate::{
    config,
    instance::{self, Instance, NewEndpoint},
    state::State,
};

/// Options of `network connect`: Docker's, and the name of the new endpoint.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Name, identifier, or beginning of an identifier
    #[arg(value_name = "NETWORK")]
    network: String,
    /// An endpoint of the container, in whichever network
    #[arg(value_name = "CONTAINER")]
    container: String,
    /// Name of the new endpoint; left out, CONTAINER-NETWORK
    #[arg(long)]
    name: Option<String>,
    /// Address; left out, the lowest that is free
    #[arg(long, value_name = "ADDRESS")]
    ip: Option<Ipv4Addr>,
    /// IPv6 address; left out, the lowest that is free, where the network has IPv6
    #[arg(long, value_name = "ADDRESS")]
    ip6: Option<Ipv6Addr>,
    /// Of a container in several networks the one with the highest is its way out
    #[arg(long, value_name = "N", default_value_t, allow_negative_numbers = true)]
    gw_priority: i32,
    /// An option of Docker's for endpoints: com.docker.network.endpoint.ifname=NAME
    #[arg(long, value_name = "KEY=VALUE", value_parser = endpoint::ifname_option)]
    driver_opt: Option<String>,
}

/// Options of `network disconnect`: Docker's.
#[derive(Debug, clap::Args)]
pub struct DisconnectArgs {
    /// Name, identifier, or beginning of an identifier
    #[arg(value_name = "NETWORK")]
    network: String,
    /// An endpoint of the container, in whichever network
    #[arg(value_name = "CONTAINER")]
    container: String,
    /// A container that is not in the network is no error
    #[arg(short, long)]
    force: bool,
}

pub(super) async fn connect(instance: &Instance, args: &Args, json: bool) -> Result<(), Error> {
    let state = instance.state()?.unwrap_or_default();
    let network = state.find_network(&args.network)?.name().to_owned();
    let netns = state
        .container(&args.container)
        .ok_or_else(|| unknown(&state, &args.container))?;
    let name = args.name.clone();
    let name = name.unwrap_or_else(|| format!("{}-{network}", args.container));
    let new = NewEndpoint {
        network,
        endpoint: config::Endpoint {
            name: name.clone(),
            netns: netns.clone(),
            addr: args.ip,
            addr6: args.ip6,
            mac: None,
            rates: config::Rates::default(),
            ifname: args.driver_opt.clone(),
            gw_priority: args.gw_priority,
            publish: Vec::new(),
        },
    };
    instance.add_endpoint(&new).await?;
    if json {
        return output::json(&serde_json::json!({ "endpoint": name }));
    }
    output::lines([name])
}

pub(super) async fn disconnect(
    instance: &Instance,
    args: &DisconnectArgs,
    json: bool,
) -> Result<(), Error> {
    let state = instance.state()?.unwrap_or_default();
    let network = state.find_network(&args.network)?.name();
    let container = state.container(&args.container);
    let found = state.endpoint_beside(network, &args.container);
    let removed: Vec<&str> = match (found, container) {
        (Some(name), _) => {
            instance.remove_endpoint(name).await?;
            vec![name]
        }
        (None, _) if args.force => Vec::new(),
        (None, None) => return Err(unknown(&state, &args.container)),
        (None, Some(_)) => {
            return Err(Error::NotConnected {
                container: args.container.clone(),
                network: network.to_owned(),
            });
        }
    };
    if json {
        return output::json(&serde_json::json!({ "removed": removed }));
    }
    output::lines(removed)
}

fn unknown(state: &State, container: &str) -> Error {
    instance::Error::no_endpoint(container, state.endpoint_names()).into()
}
