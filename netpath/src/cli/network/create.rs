//! `netpath network create`.

use super::{
    super::{Error, output},
    SHORT_ID,
};
use crate::{
    config::NetworkOptions,
    instance::{Instance, NetworkView},
    net::hex_id,
};

/// Options of `network create`: Docker's.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Its name
    #[arg(value_name = "NETWORK")]
    name: String,
    /// Its driver: bridge, macvlan, ipvlan, host, none
    #[arg(short, long)]
    driver: Option<String>,
    /// Subnet, one of each family; left out, one of IPv4 is chosen. 0.0.0.0/24 and ::/64: one of that
    /// size is chosen
    #[arg(long, value_name = "CIDR")]
    subnet: Vec<String>,
    /// The bridge's address, one of each family; left out, the first of the subnet
    #[arg(long, value_name = "ADDRESS")]
    gateway: Vec<String>,
    /// Where endpoints that ask for no address get theirs, one of each family; left out, all of the
    /// subnet
    #[arg(long, value_name = "CIDR")]
    ip_range: Vec<String>,
    /// Address that something else on the bridge has: no endpoint gets it
    #[arg(long, value_name = "NAME=ADDRESS")]
    aux_address: Vec<String>,
    /// IPv4; every network has it
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    ipv4: Option<bool>,
    /// IPv6 as well; its subnet is chosen where --subnet names none
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    ipv6: Option<bool>,
    /// Nothing leaves or enters
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    internal: Option<bool>,
    /// An option of Docker's driver
    #[arg(short, long = "opt", value_name = "KEY=VALUE")]
    options: Vec<String>,
    /// A label, shown by inspect and looked for by ls
    #[arg(long = "label", value_name = "NAME[=VALUE]")]
    labels: Vec<String>,
    /// Without effect: every container can be attached
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    attachable: Option<bool>,
    /// Its scope: local
    #[arg(long)]
    scope: Option<String>,
    /// Address manager: default
    #[arg(long, value_name = "DRIVER")]
    ipam_driver: Option<String>,
    // Docker's, and refused with the reason.
    #[arg(long, hide = true, num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    ingress: Option<bool>,
    #[arg(long, hide = true, num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    config_only: Option<bool>,
    #[arg(long, hide = true)]
    config_from: Option<String>,
    #[arg(long = "ipam-opt", hide = true)]
    ipam_options: Vec<String>,
}

pub(super) async fn run(instance: &Instance, args: &Args, json: bool) -> Result<(), Error> {
    let options = NetworkOptions {
        name: args.name.clone(),
        // As Docker names them where no option does.
        bridge: format!("br-{}", hex_id()?.get(..SHORT_ID).unwrap_or_default()),
        driver: args.driver.clone(),
        subnets: args.subnet.clone(),
        gateways: args.gateway.clone(),
        ip_ranges: args.ip_range.clone(),
        aux_addresses: args.aux_address.clone(),
        ipv4: args.ipv4,
        ipv6: args.ipv6,
        internal: args.internal.unwrap_or(false),
        labels: args.labels.clone(),
        options: args.options.clone(),
        scope: args.scope.clone(),
        ingress: args.ingress.unwrap_or(false),
        config_only: args.config_only.unwrap_or(false),
        config_from: args.config_from.clone(),
        ipam_driver: args.ipam_driver.clone(),
        ipam_options: args.ipam_options.clone(),
    };
    let state = instance.create_network(&options.check()?).await?;
    let n = state.find_network(&args.name)?;
    if json {
        return output::json(&NetworkView::from(n));
    }
    output::lines([n.id()])
}
