//! `netpath network ls`: Docker's table, filters and formats.

use serde_json::{Value, json};

use super::{
    super::{
        Error,
        output::{self, table},
        template::{Scope, Template, escapes},
    },
    SHORT_ID,
    filter::Filter,
};
use crate::instance::{Instance, NetworkView};

/// Docker's table.
const TABLE: &str = "table {{.ID}}\t{{.Name}}\t{{.Driver}}\t{{.Scope}}";

/// Options of `network ls`: Docker's.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Print identifiers only
    #[arg(short, long)]
    quiet: bool,
    /// Print identifiers in full
    #[arg(long)]
    no_trunc: bool,
    /// Only those with this: driver, id, label, name, scope, type=custom|builtin, dangling=BOOL
    #[arg(short, long = "filter", value_name = "KEY=VALUE")]
    filters: Vec<String>,
    /// `table`, `table TEMPLATE`, `json`, or a Go template such as '{{.ID}}: {{.Name}}'; fields: ID, Name,
    /// Driver, Scope, IPv4, IPv6, Internal, Labels, CreatedAt, and .Label "name"
    #[arg(long, value_name = "FORMAT")]
    format: Option<String>,
}

pub(super) fn run(instance: &Instance, args: &Args, json: bool) -> Result<(), Error> {
    let state = instance.state()?.unwrap_or_default();
    let filter = Filter::parse(&args.filters)?;
    let views = state.all_networks().map(NetworkView::from);
    let mut views: Vec<_> = views.filter(|view| filter.matches(view)).collect();
    // As Docker's.
    views.sort_by(|a, b| a.name.cmp(&b.name));
    let rows: Vec<_> = views.iter().map(|view| row(view, args.no_trunc)).collect();
    if json {
        return output::json(&rows);
    }
    output::lines(lines(&views, &rows, args)?)
}

/// What a network is in a format: text all of it, as Docker's.
fn row(view: &NetworkView, no_trunc: bool) -> Value {
    let length = if no_trunc { view.id.len() } else { SHORT_ID };
    let labels: Vec<_> = view
        .labels
        .iter()
        .map(|(k, v)| format!("{k}={v}"))
        .collect();
    json!({
        "ID": view.id.get(..length).unwrap_or(&view.id),
        "Name": view.name,
        "Driver": view.driver,
        "Scope": view.scope,
        "IPv4": view.enable_ipv4.to_string(),
        "IPv6": view.enable_ipv6.to_string(),
        "Internal": view.internal.to_string(),
        "Labels": labels.join(","),
        "CreatedAt": created(&view.created),
    })
}

/// What stands over a column.
fn header() -> Value {
    json!({
        "ID": "NETWORK ID", "Name": "NAME", "Driver": "DRIVER", "Scope": "SCOPE", "IPv4": "IPV4",
        "IPv6": "IPV6", "Internal": "INTERNAL", "Labels": "LABELS", "CreatedAt": "CREATED AT",
    })
}

/// A time of RFC 3339 as Go prints it.
fn created(time: &str) -> String {
    let utc = time.trim_end_matches('Z').replacen('T', " ", 1);
    format!("{utc} +0000 UTC")
}

fn lines(views: &[NetworkView], rows: &[Value], args: &Args) -> Result<Vec<String>, Error> {
    let format = args.format.as_deref().unwrap_or("table");
    if args.quiet && (format == "table" || args.format.is_none()) {
        let id = |row: &Value| row["ID"].as_str().unwrap_or_default().to_owned();
        return Ok(rows.iter().map(id).collect());
    }
    if format == "json" {
        return Ok(rows.iter().map(Value::to_string).collect());
    }
    let format = escapes(if format == "table" { TABLE } else { format });
    let columns = format.strip_prefix("table ");
    let template = Template::parse(columns.unwrap_or(&format).trim_start())?;
    let labels = views.iter().map(|view| json!(view.labels));
    let each = rows.iter().zip(labels).map(|(row, labels)| {
        template.render(&Scope {
            root: row,
            labels: &labels,
            maps: &[],
            optional: &[],
        })
    });
    let each: Vec<String> = each.collect::<Result<_, _>>()?;
    if columns.is_none() {
        return Ok(each);
    }
    let header = template.render(&Scope {
        root: &header(),
        labels: &Value::Null,
        maps: &[],
        optional: &[],
    })?;
    let cells = |line: &str| line.split('\t').map(str::to_owned).collect::<Vec<_>>();
    let header: Vec<_> = header.split('\t').collect();
    Ok(table(&header, each.iter().map(|line| cells(line))))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::state::testing::network;

    fn shown(format: Option<&str>, quiet: bool) -> Result<Vec<String>, String> {
        let mut n = network(Some("fd00::/64"), &[]);
        n.id = "0123456789abcdef".into();
        n.created = "2026-01-02T03:04:05.678901234Z".into();
        n.labels = [("team".into(), "net".into()), ("plain".into(), "".into())].into();
        let mut other = network(None, &[]);
        (other.id, other.name) = ("fedcba9876543210".into(), "longer-name".into());
        let views = [NetworkView::from(&n), NetworkView::from(&other)];
        let rows: Vec<_> = views.iter().map(|v| row(v, false)).collect();
        let args = Args {
            quiet,
            no_trunc: false,
            filters: Vec::new(),
            format: format.map(str::to_owned),
        };
        lines(&views, &rows, &args).map_err(|e| e.to_string())
    }

    #[test]
    fn the_table_is_docker_s() {
        let want = [
            "NETWORK ID     NAME          DRIVER    SCOPE",
            "0123456789ab   n             bridge    local",
            "fedcba987654   longer-name   bridge    local",
        ];
        assert_eq!(shown(None, false).unwrap(), want);
        assert_eq!(shown(Some("table"), false).unwrap(), want);
        assert_eq!(shown(None, true).unwrap(), ["0123456789ab", "fedcba987654"]);
    }

    #[test]
    fn formats() {
        assert_eq!(
            shown(Some("{{.ID}}: {{.Name}}\\t{{.IPv6}}"), false).unwrap(),
            ["0123456789ab: n\ttrue", "fedcba987654: longer-name\tfalse"]
        );
        assert_eq!(
            shown(
                Some("table {{.Name}}\\t{{.CreatedAt}}\\t{{.Labels}}"),
                false
            )
            .unwrap()[..2],
            [
                "NAME          CREATED AT                                LABELS",
                "n             2026-01-02 03:04:05.678901234 +0000 UTC   plain=,team=net",
            ]
        );
        assert_eq!(
            shown(Some("{{.Label \"team\"}}"), false).unwrap(),
            ["net", ""]
        );
        let json: Value = serde_json::from_str(&shown(Some("json"), false).unwrap()[0]).unwrap();
        assert_eq!(
            json,
            json!({
                "CreatedAt": "2026-01-02 03:04:05.678901234 +0000 UTC", "Driver": "bridge",
                "ID": "0123456789ab", "IPv4": "true", "IPv6": "true", "Internal": "false",
                "Labels": "plain=,team=net", "Name": "n", "Scope": "local",
            })
        );
        let e = shown(Some("{{.Id}}"), false).unwrap_err();
        assert!(e.contains("there is no `.Id`"), "{e}");
    }
}
