//! The rules of the peers.
//!
//! Owns handing them to the tools. What they say is `docker`'s and `nft`'s business.

mod docker;
mod nft;

use anyhow::Result;
use netpath::lab::Namespace;

use crate::{
    tool,
    variant::{Published, Variant},
};

/// Installs the rules of a variant in its router, if it has any.
pub(crate) fn install(router: &Namespace, variant: Variant, ports: Published) -> Result<()> {
    if let Some((program, arguments, rules)) = text(variant, ports) {
        tool::run(router, program, arguments, &rules)?;
    }
    Ok(())
}

/// A variant's rules, and the program with the arguments that takes them.
pub(crate) fn text(
    variant: Variant,
    ports: Published,
) -> Option<(&'static str, &'static [&'static str], String)> {
    match variant {
        Variant::Legacy | Variant::LegacyAgain => {
            Some(("iptables-legacy-restore", &[], docker::rules(ports)))
        }
        Variant::IptablesNft => Some(("iptables-nft-restore", &[], docker::rules(ports))),
        Variant::Nft => Some(("nft", &["-f", "-"], nft::rules(ports))),
        Variant::Netpath | Variant::None | Variant::Forward => None,
    }
}
