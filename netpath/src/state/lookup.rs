//! Finding a network by what a user calls it.

use super::{Network, Origin, State};

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
    pub fn find_network(&self, word: &str) -> Result<&Network, LookupError> {
        let whole = self.networks.iter().find(|n| n.id == word);
        if let Some(n) = whole.or_else(|| self.network(word)) {
            return Ok(n);
        }
        let begins = |n: &&Network| !word.is_empty() && n.id.starts_with(word);
        let names = |all: &[&Network]| {
            let names: Vec<_> = all.iter().map(|n| n.name.as_str()).collect();
            names.join(", ")
        };
        let found: Vec<_> = self.networks.iter().filter(begins).collect();
        match found.as_slice() {
            [one] => Ok(one),
            [] => Err(LookupError::None {
                word: word.to_owned(),
                known: match self.networks.as_slice() {
                    [] => "there is no network".into(),
                    all => format!(
                        "the networks are: {}",
                        names(&all.iter().collect::<Vec<_>>())
                    ),
                },
            }),
            several => Err(LookupError::Several {
                word: word.to_owned(),
                names: names(several),
            }),
        }
    }
}

impl Network {
    /// Whether nobody would miss it: a command made it, nothing is in it, and it is not the default one.
    #[must_use]
    pub fn is_unused(&self) -> bool {
        self.origin == Origin::Command && self.endpoints.is_empty() && self.name != DEFAULT
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
            let found = state.find_network(word).map(|n| n.name.as_str());
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
