//! Bandwidth limits of an endpoint, in the words of `tc`.
//!
//! Owns their form. How the kernel keeps them is [`crate::net`]'s.

use std::fmt;

use super::{Error, raw};

/// The least that is a limit, bits a second: below it a packet takes seconds.
const LEAST: u64 = 8_000;
/// The most, bits a second.
const MOST: u64 = 1_000_000_000_000;
/// Units by their words, the largest first.
const UNITS: [(&str, u64); 4] = [
    ("gbit", 1_000_000_000),
    ("mbit", 1_000_000),
    ("kbit", 1_000),
    ("bit", 1),
];

/// Bits a second.
#[derive(Clone, Copy, PartialEq, Eq, Debug, serde::Serialize, serde::Deserialize)]
#[serde(transparent)]
pub struct Rate(pub u64);

/// What an endpoint may send and receive; `None` for any number.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, serde::Serialize, serde::Deserialize)]
pub struct Rates {
    /// From the container.
    pub out: Option<Rate>,
    /// Into it.
    pub into: Option<Rate>,
}

impl Rates {
    /// Whether there is any.
    #[must_use]
    pub const fn is_none(&self) -> bool {
        self.out.is_none() && self.into.is_none()
    }
}

impl fmt::Display for Rate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let whole = UNITS
            .iter()
            .find(|(_, unit)| self.0 >= *unit && self.0.is_multiple_of(*unit));
        match whole {
            Some((word, unit)) => write!(f, "{}{word}", self.0 / unit),
            None => write!(f, "{}bit", self.0),
        }
    }
}

impl fmt::Display for Rates {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = |rate: Option<Rate>| rate.map_or("any".to_owned(), |rate| rate.to_string());
        write!(f, "{} out, {} in", text(self.out), text(self.into))
    }
}

/// A whole number and a unit.
fn rate(text: &str) -> Option<Rate> {
    let (word, unit) = UNITS.iter().find(|(word, _)| text.ends_with(word))?;
    let number: u64 = text.strip_suffix(word)?.parse().ok()?;
    let bits = number.checked_mul(*unit)?;
    (LEAST..=MOST).contains(&bits).then_some(Rate(bits))
}

pub(super) fn rates(endpoint: &raw::Endpoint) -> Result<Rates, Error> {
    let of = |key, text: &Option<String>| {
        let wrong = |text: &String| Error::Invalid {
            object: format!("endpoint `{}`", endpoint.name),
            key,
            value: format!("{text:?}"),
            reason: "a whole number with kbit, mbit or gbit, within 8kbit and 1000gbit, such as \
                     \"10mbit\""
                .into(),
        };
        text.as_ref()
            .map(|text| rate(text).ok_or_else(|| wrong(text)))
            .transpose()
    };
    Ok(Rates {
        out: of("rate_out", &endpoint.rate_out)?,
        into: of("rate_in", &endpoint.rate_in)?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Config;

    #[test]
    fn the_words_are_those_of_tc() {
        for (text, bits) in [
            ("10mbit", 10_000_000),
            ("1gbit", 1_000_000_000),
            ("500kbit", 500_000),
            ("64000bit", 64_000),
            ("8kbit", LEAST),
            ("1000gbit", MOST),
        ] {
            assert_eq!(rate(text), Some(Rate(bits)), "{text}");
        }
        for text in [
            "", "mbit", "10", "10mbps", "1.5mbit", "-1mbit", "7kbit", "1001gbit", "10 mbit",
        ] {
            assert_eq!(rate(text), None, "{text}");
        }
        let shown = [1_500_000, 2_000_000_000, 8_001].map(|bits| Rate(bits).to_string());
        assert_eq!(shown, ["1500kbit", "2gbit", "8001bit"]);
    }

    #[test]
    fn each_direction_has_its_own() {
        let parse = |lines: &str| {
            Config::parse(
                &format!(
                    "[[network]]\nname = \"n\"\n[[network.endpoint]]\nname = \"e\"\nnetns = \"e\"\n{lines}"
                ),
                "t",
            )
        };
        let config = parse("rate_in = \"10mbit\"").unwrap();
        let rates = config.networks[0].endpoints[0].rates;
        assert_eq!(
            rates,
            Rates {
                out: None,
                into: Some(Rate(10_000_000))
            }
        );
        assert_eq!(rates.to_string(), "any out, 10mbit in");
        assert!(parse("").unwrap().networks[0].endpoints[0].rates.is_none());
        let e = parse("rate_out = \"fast\"").unwrap_err().to_string();
        assert!(
            e.contains("endpoint `e`") && e.contains("rate_out") && e.contains("10mbit"),
            "{e}"
        );
    }
}
