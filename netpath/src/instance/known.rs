//! What to say where a name is not known: which ones are.

use super::Error;

impl Error {
    /// A network of this name is not among those that are.
    pub fn no_network<'a>(name: &str, all: impl Iterator<Item = &'a str>) -> Self {
        Self::NoNetwork {
            name: name.to_owned(),
            known: known("network", all),
        }
    }

    /// An endpoint of this name is not among those that are.
    pub fn no_endpoint<'a>(name: &str, all: impl Iterator<Item = &'a str>) -> Self {
        Self::NoEndpoint {
            name: name.to_owned(),
            known: known("endpoint", all),
        }
    }
}

/// "the networks are: a, b", or that there is none.
pub(super) fn known<'a>(what: &str, names: impl Iterator<Item = &'a str>) -> String {
    let names: Vec<_> = names.collect();
    if names.is_empty() {
        format!("there is no {what}")
    } else {
        format!("the {what}s are: {}", names.join(", "))
    }
}
