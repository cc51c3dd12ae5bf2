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
    let (program, arguments, rules): (_, &[&str], _) = match variant {
        Variant::Legacy | Variant::LegacyAgain => {
            ("iptables-legacy-restore", &[], docker::rules(ports))
        }
        Variant::IptablesNft => ("iptables-nft-restore", &[], docker::rules(ports)),
        Variant::Nft => ("nft", &["-f", "-"], nft::rules(ports)),
        Variant::Netpath | Variant::None | Variant::Forward => return Ok(()),
    };
    tool::run(router, program, arguments, &rules)?;
    Ok(())
}
