//! The rules of the peers.
//!
//! Owns handing them to the tools. What they say is `docker`'s and `nft`'s business.

mod docker;
mod nft;

use anyhow::Result;
use netpath::lab::Namespace;

use crate::{
    family::Family,
    tool,
    variant::{Published, Variant},
};

/// Installs the rules of a variant in its router, if it has any.
pub(crate) fn install(
    router: &Namespace,
    variant: Variant,
    ports: Published,
    family: Family,
) -> Result<()> {
    if let Some((program, arguments, rules)) = text(variant, ports, family) {
        tool::run(router, program, arguments, &rules)?;
    }
    Ok(())
}

/// A variant's rules, and the program with the arguments that takes them.
pub(crate) fn text(
    variant: Variant,
    ports: Published,
    family: Family,
) -> Option<(&'static str, &'static [&'static str], String)> {
    match variant {
        Variant::Legacy | Variant::LegacyAgain => {
            let program = match family {
                Family::V4 => "iptables-legacy-restore",
                Family::V6 => "ip6tables-legacy-restore",
            };
            Some((program, &[], docker::rules(ports, family)))
        }
        Variant::IptablesNft => {
            let program = match family {
                Family::V4 => "iptables-nft-restore",
                Family::V6 => "ip6tables-nft-restore",
            };
            Some((program, &[], docker::rules(ports, family)))
        }
        Variant::Nft => Some(("nft", &["-f", "-"], nft::rules(ports, family))),
        Variant::Netpath | Variant::None | Variant::Forward => None,
    }
}
