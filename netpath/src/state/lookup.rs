//! Finding a network by what a user calls it.

use super::{Network, Origin, State, Unbridged};

/// Docker's own default network.
const DEFAULT: &str = "bridge";

/// Why a word leads to no network.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LookupError {
    /// There is none.
    #[error("network `{word}` does not exist; {known}")]
    None {
        /// The word.
        word: String,
        /// What exists.
        known: String,
    },
    /// There are several.
    #[error(
        "network `{word}` is ambiguous: the identifiers of {names} begin so; write more of one, or a name"
    )]
    Several {
        /// The word.
        word: String,
        /// Whose.
        names: String,
    },
}

impl State {
    /// The network with this identifier, name, or beginning of an identifier, in that order: Docker's.
    ///
    /// # Errors
    /// There is none, or more than one identifier begins so.
    pub fn find_network(&self, word: &str) -> Result<AnyNetwork<'_>, LookupError> {
        let all: Vec<AnyNetwork<'_>> = self.all_networks().collect();
        let whole = all.iter().find(|n| n.id() == word);
        if let Some(n) = whole.or_else(|| all.iter().find(|n| n.name() == word)) {
            return Ok(*n);
        }
        let names = |all: &[AnyNetwork<'_>]| {
            let names: Vec<_> = all.iter().map(AnyNetwork::name).collect();
            names.join(", ")
        };
        let begins = |n: &AnyNetwork<'_>| !word.is_empty() && n.id().starts_with(word);
        let found: Vec<_> = all.iter().copied().filter(begins).collect();
        match found.as_slice() {
            [one] => Ok(*one),
            [] => Err(LookupError::None {
                word: word.to_owned(),
                known: match all.as_slice() {
                    [] => "there is no network".into(),
                    all => format!("the networks are: {}", names(all)),
                },
            }),
            several => Err(LookupError::Several {
                word: word.to_owned(),
                names: names(several),
            }),
        }
    }

    /// The networks of all drivers: those with a bridge first.
    pub fn all_networks(&self) -> impl Iterator<Item = AnyNetwork<'_>> {
        let bridged = self.networks.iter().map(AnyNetwork::Bridged);
        bridged.chain(self.unbridged.iter().map(AnyNetwork::Unbridged))
    }
}

/// A network of any driver.
#[derive(Clone, Copy, Debug)]
pub enum AnyNetwork<'a> {
    /// With a bridge.
    Bridged(&'a Network),
    /// Without one.
    Unbridged(&'a Unbridged),
}

impl<'a> AnyNetwork<'a> {
    /// Its identifier.
    #[must_use]
    pub fn id(&self) -> &'a str {
        match self {
            Self::Bridged(n) => &n.id,
            Self::Unbridged(n) => &n.id,
        }
    }

    /// Its name.
    #[must_use]
    pub fn name(&self) -> &'a str {
        match self {
            Self::Bridged(n) => &n.name,
            Self::Unbridged(n) => &n.name,
        }
    }

    /// Whether nobody would miss it: a command made it, nothing is in it, and it is not the default one.
    #[must_use]
    pub fn is_unused(&self) -> bool {
        match self {
            Self::Bridged(n) => {
                n.origin == Origin::Command && n.endpoints.is_empty() && n.name != DEFAULT
            }
            Self::Unbridged(n) => n.origin == Origin::Command && n.members.is_empty(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{super::testing::network, *};

    #[test]
    fn a_name_goes_before_the_beginning_of_an_identifier() {
        let named = |name: &str, id: &str| Network {
            name: name.into(),
            id: id.into(),
            ..network(None, &[])
        };
        let state = State {
            networks: vec![
                named("web", "abc111"),
                named("abc", "def222"),
                named("db", "abd333"),
            ],
            ..State::default()
        };
        let find = |word: &str| {
            let found = state.find_network(word).map(|n| n.name());
            found.map_err(|e| e.to_string())
        };
        assert_eq!(find("abc111"), Ok("web"));
        assert_eq!(find("abc1"), Ok("web"));
        assert_eq!(find("abc"), Ok("abc"));
        assert_eq!(find("d"), Ok("abc"));
        let e = find("ab").unwrap_err();
        assert!(
            e.contains("`ab` is ambiguous: the identifiers of web, db"),
            "{e}"
        );
        for none in ["", "x", "abc1119"] {
            let e = find(none).unwrap_err();
            assert!(
                e.contains("does not exist; the networks are: web, abc, db"),
                "{e}"
            );
        }
        assert!(State::default().find_network("x").is_err());
    }
}
