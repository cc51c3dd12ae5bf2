//! `netpath network inspect`.

use serde_json::Value;

use super::super::{
    Error, output,
    template::{Scope, Template},
};
use crate::{
    instance::{Instance, NetworkView},
    state::State,
};

/// Fields whose names are whatever somebody has chosen.
const MAPS: &[&str] = &["Options", "Labels", "Containers", "AuxiliaryAddresses"];
/// Fields that are shown where they are set.
const OPTIONAL: &[&str] = &["IPRange", "AuxiliaryAddresses"];

/// Options of `network inspect`: Docker's.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Names, identifiers, or the beginnings of identifiers
    #[arg(value_name = "NETWORK", required = true)]
    networks: Vec<String>,
    /// `json`, or a Go template over the JSON, such as '{{range .IPAM.Config}}{{.Subnet}} {{end}}' or
    /// '{{json .Labels}}'
    #[arg(short, long, value_name = "FORMAT")]
    format: Option<String>,
    /// Without effect: everything is shown
    #[arg(short, long)]
    verbose: bool,
}

pub(super) fn run(instance: &Instance, args: &Args) -> Result<(), Error> {
    let state = instance.state()?.unwrap_or_default();
    let (views, missing) = find(&state, &args.networks);
    // What there is is shown all the same, as Docker does.
    match args.format.as_deref() {
        None => output::json(&views)?,
        Some("json") => output::lines([serde_json::to_string(&views)?])?,
        Some(format) => output::lines(lines(&views, format)?)?,
    }
    missing.map_or(Ok(()), Err)
}

/// The networks that there are, and what is wrong with the other words.
fn find(state: &State, words: &[String]) -> (Vec<NetworkView>, Option<Error>) {
    let (mut views, mut missing) = (Vec::new(), Vec::new());
    for word in words {
        match state.find_network(word) {
            Ok(n) => views.push(NetworkView::from(n)),
            Err(e) => missing.push(e),
        }
    }
    let error = match missing.len() {
        0 => None,
        1 => missing.pop().map(Error::from),
        _ => Some(Error::Several(
            missing
                .iter()
                .map(ToString::to_string)
                .collect::<Vec<_>>()
                .join("; "),
        )),
    };
    (views, error)
}

fn lines(views: &[NetworkView], format: &str) -> Result<Vec<String>, Error> {
    let template = Template::parse(format)?;
    let line = |view: &NetworkView| -> Result<String, Error> {
        let root = serde_json::to_value(view)?;
        let labels = root.get("Labels").unwrap_or(&Value::Null);
        Ok(template.render(&Scope {
            root: &root,
            labels,
            maps: MAPS,
            optional: OPTIONAL,
        })?)
    };
    views.iter().map(line).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::state::testing::network;

    #[test]
    fn formats_over_the_json() {
        let mut n = network(Some("fd00:17::/64"), &["fd00:17::2"]);
        n.ipam.range = "172.17.5.0/24".parse().ok();
        n.labels = [("team".into(), "net".into())].into();
        let views = [NetworkView::from(&n)];
        for (format, want) in [
            ("{{.Name}} {{.EnableIPv6}}", "n true"),
            (
                "{{range .IPAM.Config}}{{.Subnet}},{{.IPRange}};{{end}}",
                "172.17.0.0/16,172.17.5.0/24;fd00:17::/64,;",
            ),
            ("{{json .Labels}}", "{\"team\":\"net\"}"),
            (
                "{{index .Options \"com.docker.network.driver.mtu\"}}",
                "1500",
            ),
            (
                "{{range .Containers}}{{.IPv4Address}}{{end}}",
                "172.17.0.2/16",
            ),
            ("{{.Labels.none}}", ""),
        ] {
            assert_eq!(lines(&views, format).unwrap(), [want], "{format}");
        }
        assert!(lines(&views, "{{.Nmae}}").is_err());
    }
}
