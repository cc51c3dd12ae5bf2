//! `--filter KEY=VALUE` of `network ls` and `network prune`, with Docker's meaning.
//!
//! Several values of one key are alternatives, but of labels all have to be there; several keys all
//! have to hold.

use regex_lite::Regex;

use crate::instance::NetworkView;

/// Docker's own networks, which everybody has.
const BUILT_IN: [&str; 3] = ["bridge", "host", "none"];

/// What is wrong with a filter.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("--filter {text:?}: {why}")]
pub struct FilterError {
    text: String,
    why: String,
}

/// One condition.
#[derive(Clone, Debug)]
enum Term {
    Driver(String),
    Scope(String),
    BuiltIn(bool),
    Dangling(bool),
    Id(Regex),
    Name(Regex),
    Label {
        name: String,
        value: Option<String>,
        without: bool,
    },
}

/// The conditions of a command.
#[derive(Clone, Debug, Default)]
pub(super) struct Filter(Vec<Term>);

impl Filter {
    pub(super) fn parse(texts: &[String]) -> Result<Self, FilterError> {
        let terms = texts.iter().map(|text| {
            term(text).map_err(|why| FilterError {
                text: text.clone(),
                why,
            })
        });
        Ok(Self(terms.collect::<Result<_, _>>()?))
    }

    /// The same for `prune`, which knows labels alone.
    pub(super) fn parse_labels(texts: &[String]) -> Result<Self, FilterError> {
        let other = |text: &&String| !text.starts_with("label");
        if let Some(text) = texts.iter().find(other) {
            return Err(FilterError {
                text: text.clone(),
                why: "the keys are label, label!".into(),
            });
        }
        Self::parse(texts)
    }

    pub(super) fn matches(&self, n: &NetworkView) -> bool {
        let Self(terms) = self;
        terms.iter().all(|term| {
            // A label stands for itself; of another key one has to hold.
            let alone = matches!(term, Term::Label { .. });
            let key = std::mem::discriminant(term);
            let mut same = terms.iter().filter(|t| std::mem::discriminant(*t) == key);
            if alone {
                term.holds(n)
            } else {
                same.any(|t| t.holds(n))
            }
        })
    }
}

impl Term {
    fn holds(&self, n: &NetworkView) -> bool {
        let built_in = BUILT_IN.contains(&n.name.as_str());
        match self {
            Self::Driver(driver) => n.driver == driver,
            Self::Scope(scope) => n.scope == scope,
            Self::BuiltIn(want) => built_in == *want,
            Self::Dangling(want) => (!built_in && n.containers.is_empty()) == *want,
            Self::Id(id) => id.is_match(&n.id),
            Self::Name(name) => name.is_match(&n.name),
            Self::Label {
                name,
                value,
                without,
            } => {
                let found = n.labels.get(name);
                let has = found.is_some_and(|v| value.as_ref().is_none_or(|want| want == v));
                has != *without
            }
        }
    }
}

fn term(text: &str) -> Result<Term, String> {
    let (key, value) = text.split_once('=').ok_or("the form is KEY=VALUE")?;
    let pattern =
        || Regex::new(value).map_err(|e| format!("{value:?} is not a regular expression: {e}"));
    let label = |without| {
        let (name, value) = match value.split_once('=') {
            Some((name, value)) => (name, Some(value.to_owned())),
            None => (value, None),
        };
        Term::Label {
            name: name.to_owned(),
            value,
            without,
        }
    };
    match (key.trim(), value) {
        ("driver", driver) => Ok(Term::Driver(driver.to_owned())),
        ("scope", scope) => Ok(Term::Scope(scope.to_owned())),
        ("id", _) => Ok(Term::Id(pattern()?)),
        ("name", _) => Ok(Term::Name(pattern()?)),
        ("label", _) => Ok(label(false)),
        // What `label!=…` begins with.
        ("label!", _) => Ok(label(true)),
        ("type", "custom" | "builtin") => Ok(Term::BuiltIn(value == "builtin")),
        ("type", _) => Err("the types are custom, builtin".into()),
        ("dangling", "1" | "true") => Ok(Term::Dangling(true)),
        ("dangling", "0" | "false") => Ok(Term::Dangling(false)),
        ("dangling", _) => Err("it is true or false".into()),
        _ => Err("the keys are dangling, driver, id, label, label!, name, scope, type".into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::state::testing::network;

    #[test]
    fn dockers_filters() {
        let mut n = network(Some("fd00::/64"), &["fd00::2"]);
        (n.id, n.name) = ("0123456789abcdef".into(), "web-front".into());
        n.labels = [("team".into(), "net".into()), ("plain".into(), "".into())].into();
        let mut empty = network(None, &[]);
        (empty.id, empty.name) = ("ffff".into(), "bridge".into());
        let views = [NetworkView::from(&n), NetworkView::from(&empty)];
        let matched = |texts: &[&str]| {
            let texts: Vec<_> = texts.iter().map(|t| (*t).to_owned()).collect();
            let filter = Filter::parse(&texts).unwrap();
            let found = views.iter().filter(|v| filter.matches(v));
            found.map(|v| v.name.as_str()).collect::<Vec<_>>()
        };
        let (both, web, bridge) = (
            &["web-front", "bridge"][..],
            &["web-front"][..],
            &["bridge"][..],
        );
        for (texts, want) in [
            (&[][..], both),
            (&["driver=bridge"], both),
            (&["driver=bri"], &[]),
            (&["driver=overlay", "driver=bridge"], both),
            (&["scope=local"], both),
            (&["scope=swarm"], &[]),
            (&["name=front"], web),
            (&["name=^front"], &[]),
            (&["name=^bridge$", "name=web"], both),
            (&["id=0123"], web),
            (&["id=^f+$"], bridge),
            (&["label=team"], web),
            (&["label=team=net"], web),
            (&["label=team=x"], &[]),
            (&["label=team", "label=none"], &[]),
            (&["label=plain="], web),
            (&["label!=team"], bridge),
            (&["type=custom"], web),
            (&["type=builtin"], bridge),
            (&["dangling=true"], &[]),
            (&["dangling=false"], both),
            (&["type=custom", "name=bridge"], &[]),
        ] {
            assert_eq!(matched(texts), want, "{texts:?}");
        }
    }

    #[test]
    fn refusals_say_what_there_is() {
        for (text, why) in [
            ("name", "the form is KEY=VALUE"),
            ("colour=red", "the keys are dangling, driver"),
            ("type=x", "custom, builtin"),
            ("dangling=maybe", "true or false"),
            ("name=(", "not a regular expression"),
        ] {
            let e = Filter::parse(&[text.to_owned()]).unwrap_err().to_string();
            assert!(e.contains(text) && e.contains(why), "{e}");
        }
        let e = Filter::parse_labels(&["name=x".to_owned()]).unwrap_err();
        assert!(e.to_string().contains("the keys are label, label!"), "{e}");
    }
}
