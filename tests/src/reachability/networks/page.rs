//! The document of the matrix of networks, docs/reachability-networks.md.
//!
//! Owns its words and tables. Every cell of them is [`Question::promise`] and [`Question::docker`].

use std::fmt::Write as _;

use super::{ASKED, Difference, End, Network, Proxy, Published, Question, Seen};
use crate::reachability::Family;

const BEGINNING: &str = "\
# Who reaches which network, beside Docker

For each kind of network, each way to publish a port and each client: whether the service is reached, and \
as whom it sees the client. Where nothing else is said, Docker does the same. Which addresses and sockets \
there are within a translated network is in [reachability.md](reachability.md).

Every cell of this page is asked by a test, with real sockets, by TCP and by UDP: `cargo xtask test --only \
netns reachability_networks`. netpath is asked with `firewall = \"bypass\"` and with `\"visible\"`, behind a \
FORWARD chain that drops what it does not accept ([configuration.md](configuration.md#the-hosts-firewall)); \
both answer alike, so there is one column. The page is made of the promises that the test compares with. To \
change one, change `tests/src/reachability/networks`, and write the page anew with \
`NETPATH_WRITE_REACHABILITY=1 cargo test -p netpath-tests --lib reachability`.

**Docker's answers are measured as well.** The same containers, networks and questions are in a second world \
without netpath, in which the kernel forwards by Docker's rules: those that dockerd 28.5.2 wrote for exactly \
these networks and ports, as `iptables-save` showed them (`tests/netns/reachability_networks/docker-28.5.2`, \
with the commands that make it write them). It is asked once as Docker is by default, where docker-proxy, of \
which the test has a stand-in, takes what the rules leave to the host; and once with \
`--userland-proxy=false`.

| | |
|---|---|
| ✓ client | reached; the service sees the client's own address |
| ✓ gateway | reached; the service sees the gateway of the container's network |
| ✓ host | reached; the service sees the host by the address that was asked for |
| refused | the client is told, by a reset or an ICMP error: `ECONNREFUSED` |
| silent | the client is told nothing; where there is a reason netpath counts the drop under it |
| no route | the client's network has no way out: `ENETUNREACH` |
| Docker: … | what Docker does instead, and by what name of [the differences](#the-differences) |
| with proxy: …, without: … | the same, where its proxy makes one |

A column is who asks for which address: *→ host* is the host's on the uplink with the host's port, or with \
the container's where none is published; *→ container* is the container's own with its own port. Other \
network: a container of a translated network. Outside → container: an outside host with a route by the host to \
the container's subnet.
";

const AFTER: &str = "
## What Docker has no counterpart of

- **An allow list.** Beside it stands what Docker's documentation advises an administrator to do: a rule in \
DOCKER-USER that drops what comes in by the uplink for the port (`--ctorigdstport`) from any other address.
- **A choice of who sees it.** With Docker the host's firewall always sees what is forwarded, as with \
`firewall = \"visible\"`.
- `isolated = true` is Docker's `--internal` with `gateway_mode_ipv4=isolated` and that of IPv6, and `routed` \
its `gateway_mode=routed`: these are compared with each other. In a routed network neither takes a port of \
the host, and an address of the host that a SPEC names, 127.0.0.1 too, says of which family the container's \
port is opened and nothing else: it opens to the outside.
";

/// The whole document.
#[must_use]
pub fn page() -> String {
    let mut page = BEGINNING.to_owned();
    for network in Network::ALL {
        let _ = writeln!(page, "\n## {}", heading(network));
        let [four, six] = Family::ALL.map(|family| rows(network, family));
        if four == six {
            table(&mut page, "By IPv4 and by IPv6", &four);
        } else {
            table(&mut page, "By IPv4", &four);
            table(&mut page, "By IPv6", &six);
        }
    }
    page += "\n## The differences\n\n| Name | What | Why |\n|---|---|---|\n";
    for difference in Difference::ALL {
        let (name, what, why) = (difference.name(), difference.what(), difference.why());
        let _ = writeln!(page, "| `{name}` | {what} | {why}. |");
    }
    page += AFTER;
    page
}

const fn heading(network: Network) -> &'static str {
    match network {
        Network::Nat => "`mode = \"nat\"`, the default",
        Network::IccOff => "`icc = false`",
        Network::Routed => "`mode = \"routed\"`",
        Network::Internal => "`internal = true`",
        Network::Isolated => "`internal = true` and `isolated = true`",
    }
}

const COLUMNS: [&str; ASKED.len()] = [
    "neighbour → host",
    "neighbour → container",
    "other network → host",
    "other network → container",
    "host → host",
    "host → loopback",
    "host → container",
    "outside → host",
    "outside → container",
];

fn table(page: &mut String, title: &str, rows: &str) {
    let _ = write!(page, "\n{title}:\n\n| Published |");
    for column in COLUMNS {
        let _ = write!(page, " {column} |");
    }
    let _ = writeln!(page, "\n|---|{}", "---|".repeat(COLUMNS.len()));
    *page += rows;
}

fn rows(network: Network, family: Family) -> String {
    let mut rows = String::new();
    for published in Published::ALL {
        let cells = ASKED.map(|(client, asked)| {
            cell(&Question {
                network,
                family,
                published,
                client,
                asked,
            })
        });
        let _ = writeln!(rows, "| {} | {} |", name(published), cells.join(" | "));
    }
    rows
}

const fn name(published: Published) -> &'static str {
    match published {
        Published::Anywhere => "`8080:80`",
        Published::Loopback => "`127.0.0.1:8080:80`, `[::1]:8080:80`",
        Published::ForClient => "`8080:80,allow=PREFIX`, with the client",
        Published::ForOthers => "`8080:80,allow=PREFIX`, without the client",
        Published::Not => "not at all",
    }
}

/// What netpath does, and Docker where that is something else.
fn cell(question: &Question) -> String {
    let mut cell = text(question.promise());
    let [on, off] = Proxy::ALL.map(|proxy| {
        let difference = question.difference(proxy)?;
        let end = text(question.docker(proxy));
        Some(format!("{end} (`{}`)", difference.name()))
    });
    match (on, off) {
        (Some(on), Some(off)) if on == off => {
            let _ = write!(cell, "<br>Docker: {on}");
        }
        (on, off) => {
            for (word, docker) in [("with proxy", on), ("without", off)] {
                if let Some(docker) = docker {
                    let _ = write!(cell, "<br>{word}: {docker}");
                }
            }
        }
    }
    cell
}

fn text(end: End) -> String {
    match end {
        End::Reached(Seen::Client) => "✓ client".to_owned(),
        End::Reached(Seen::Gateway) => "✓ gateway".to_owned(),
        End::Reached(Seen::Asked) => "✓ host".to_owned(),
        End::Refused => "refused".to_owned(),
        End::Silent(Some(reason)) => format!("silent (`{}`)", reason.as_str()),
        End::Silent(None) => "silent".to_owned(),
        End::NoRoute => "no route".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::reachability::page::is_stored;

    #[test]
    fn the_page_is_what_is_promised() {
        let stored = include_str!("../../../../docs/reachability-networks.md");
        is_stored("reachability-networks.md", stored, &page());
    }
}
