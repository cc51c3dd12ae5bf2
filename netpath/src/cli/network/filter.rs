//! `--filter KEY=VALUE` of `network ls` and `network prune`, with Docker's meaning.
//!
//! Several values of one key are alternatives, but of labels all have to be there; several keys all
//! have to hold.

use std::time::{Duration, SystemTime};

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
    Until(SystemTime),
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

    /// The same for `prune`, which knows labels and how old a network is.
    pub(super) fn parse_prune(texts: &[String]) -> Result<Self, FilterError> {
        let wrong = |text: &String, why: &str| FilterError {
            text: text.clone(),
            why: why.to_owned(),
        };
        let mut terms = Vec::new();
        for text in texts {
            if let Some(until) = text.strip_prefix("until=") {
                const FORM: &str = "the form is a duration such as 24h, or a time such as \
                                    2026-01-31T00:00:00Z";
                let until = until_when(until, SystemTime::now());
                terms.push(Term::Until(until.ok_or_else(|| wrong(text, FORM))?));
            } else if text.starts_with("label") {
                terms.extend(Self::parse(std::slice::from_ref(text))?.0);
            } else {
                return Err(wrong(text, "the keys are label, label!, until"));
            }
        }
        Ok(Self(terms))
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
            Self::Until(time) => {
                humantime::parse_rfc3339_weak(&n.created).is_ok_and(|made| made < *time)
            }
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

/// The time that a duration goes back to, or that is named, also by its seconds since 1970.
fn until_when(text: &str, now: SystemTime) -> Option<SystemTime> {
    if let Ok(seconds) = text.parse() {
        return SystemTime::UNIX_EPOCH.checked_add(Duration::from_secs(seconds));
    }
    let time = humantime::parse_rfc3339_weak(text).ok();
    time.or_else(|| now.checked_sub(humantime::parse_duration(text).ok()?))
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
        for (text, why) in [
            ("name=x", "the keys are label, label!, until"),
            ("until=soon", "a duration such as 24h"),
        ] {
            let e = Filter::parse_prune(&[text.to_owned()]).unwrap_err();
            assert!(e.to_string().contains(why), "{e}");
        }
    }

    #[test]
    fn prune_goes_by_age_as_well() {
        let mut n = network(None, &[]);
        n.created = "2026-01-02T03:04:05.678901234Z".into();
        let view = NetworkView::from(&n);
        let matches = |text: &str| {
            let filter = Filter::parse_prune(&[text.to_owned(), "label!=keep".to_owned()]);
            filter.unwrap().matches(&view)
        };
        assert!(matches("until=2026-01-02T03:04:06Z"));
        assert!(!matches("until=2026-01-02T03:04:05Z"));
        assert!(matches("until=4000000000"));
        assert!(!matches("until=1"));
        let now = humantime::parse_rfc3339("2026-01-02T03:00:00Z").unwrap();
        let when = until_when("1h30m", now).unwrap();
        assert_eq!(
            humantime::format_rfc3339(when).to_string(),
            "2026-01-02T01:30:00Z"
        );
        let long = Filter::parse_prune(&["until=99999999999999999999999h".to_owned()]);
        assert!(long.is_err());
    }
}
