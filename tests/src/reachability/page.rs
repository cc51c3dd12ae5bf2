//! The document of the promises, docs/reachability.md.
//!
//! Owns its words and tables. Every cell of them is [`Question::promise`].

use std::fmt::Write as _;

use super::{Asked, Client, Container, End, Family, Published, Question, Seen, Way};
use crate::local::Kind;

const BEGINNING: &str = "\
# Who reaches a published port

Every cell of this page is asked by a test, with real sockets, by TCP, over a connected UDP socket and \
over an unconnected one: `cargo xtask test --only netns reachability`. The page is made of the promises \
that the test compares with. To change one, change `tests/src/reachability`, and write the page anew \
with `NETPATH_WRITE_REACHABILITY=1 cargo test -p netpath-tests --lib reachability`.

The networks are as they are by default: `mode = \"nat\"` and `icc = true`; others, and Docker beside them, are in \
[reachability-networks.md](reachability-networks.md). With an allow list everybody \
on it is let in, and the host's own processes, who are on none. *Another network* is one of both \
families. A container's loopback is its own: nobody is led out of it.

| | |
|---|---|
| ✓ client | reached; the service sees the client's own address |
| ✓ gateway | reached; the service sees the gateway of the container's network |
| ✓ host | reached; the service sees the host by the address that was asked for |
| refused | the client is told, by a reset or an ICMP error: `ECONNREFUSED`. An unconnected UDP socket \
is only where it asks for errors (`IP_RECVERR`) |
| silent | the client is told nothing; the drop is counted under the reason |
| – | the client has no address of that family |

Whom a client has asked is who answers: the address and port that it named, on every socket, in every \
cell.
";

const WITHOUT_CGROUP: &str = "
## The host without cgroup v2

Its packets are led at the loopback device ([host-access.md](host-access.md)). By the gateway's address \
and the container's own nothing changes, nor for anybody else.
";

const BESIDE_DOCKER: &str = "
## Beside Docker

- **A client's own address** is seen wherever an answer to it can find back. Docker's proxy, which takes \
what the container, its neighbours and the host's loopback ask, shows the gateway's; without the proxy a \
neighbour's is kept. It shows the gateway for another network's as well, which Docker drops without it. What \
Docker does is measured in [reachability-networks.md](reachability-networks.md).
- **The host by its own address** is seen as that with Docker, and as the gateway here: the kernel \
chooses it for a connection to the container. A client that has bound an address is seen by that one.
- **By IPv6 to a container without it** Docker's proxy leads everybody, and the service sees the \
gateway; without the proxy the port is not open by IPv6. netpath has no proxy. It leads the host's own \
processes, who would be seen as the gateway in any case ([host-access.md](host-access.md)), and refuses \
the others, whose address could not be kept: a client that tries all addresses of a name goes on to \
IPv4 at once.
- **`0.0.0.0:8080:80`** is IPv4 alone, as with Docker, and so it is for the host's processes.
- **From outside by a gateway's address** Docker's rules lead into the container. netpath drops it: the \
answers would leave with a private source.
- **Loopback** is the host's alone, as with Docker since 28.0.
";

/// A column: who asks for which address.
type Column = (&'static str, Client, Asked);

const BY_THE_HOST: [Column; 6] = [
    ("outside", Client::Outside, Asked::Host),
    ("host, by its address", Client::Host, Asked::Host),
    ("host, by loopback", Client::Host, Asked::Loopback),
    ("the container itself", Client::Itself, Asked::Host),
    ("a neighbour", Client::Neighbour, Asked::Host),
    ("another network", Client::OtherNetwork, Asked::Host),
];

const BY_PACKETS: [Column; 2] = [
    ("by its address", Client::Host, Asked::Host),
    ("by loopback", Client::Host, Asked::Loopback),
];

const fn by(asked: Asked) -> [Column; 5] {
    [
        ("outside", Client::Outside, asked),
        ("host", Client::Host, asked),
        ("the container itself", Client::Itself, asked),
        ("a neighbour", Client::Neighbour, asked),
        ("another network", Client::OtherNetwork, asked),
    ]
}

/// Whose ports, and by which family.
const CASES: [(Container, Family, &str); 4] = [
    (
        Container::Both,
        Family::Ipv4,
        "A container of both families, by IPv4",
    ),
    (
        Container::Both,
        Family::Ipv6,
        "A container of both families, by IPv6",
    ),
    (
        Container::Ipv4,
        Family::Ipv4,
        "A container of IPv4 alone, by IPv4",
    ),
    (
        Container::Ipv4,
        Family::Ipv6,
        "A container of IPv4 alone, by IPv6",
    ),
];

/// The whole document.
#[must_use]
pub fn page() -> String {
    let mut page = BEGINNING.to_owned();
    page += "\n## By the host's address\n";
    tables(&mut page, &BY_THE_HOST, Way::Sockets);
    page += "\n## By the gateway's address\n\n";
    page += "It is an address of the host, and none of the outside.\n";
    tables(&mut page, &by(Asked::Gateway), Way::Sockets);
    page += "\n## By the container's own address and port\n\n";
    page += "What is published makes no difference there.\n";
    tables(&mut page, &by(Asked::Container), Way::Sockets);
    page += WITHOUT_CGROUP;
    tables(&mut page, &BY_PACKETS, Way::Packets);
    page += BESIDE_DOCKER;
    page
}

/// A table for each case that there is, those that are alike as one.
fn tables(page: &mut String, columns: &[Column], way: Way) {
    let mut tables: Vec<(String, Vec<&str>)> = Vec::new();
    for (container, family, title) in CASES {
        let rows = rows(container, family, columns, way);
        match tables.iter_mut().find(|(known, _)| *known == rows) {
            _ if rows.is_empty() => {}
            Some((_, titles)) => titles.push(title),
            None => tables.push((rows, vec![title])),
        }
    }
    for (rows, titles) in tables {
        let _ = write!(page, "\n### {}\n\n| Published |", titles.join("; "));
        for (column, ..) in columns {
            let _ = write!(page, " {column} |");
        }
        let _ = writeln!(page, "\n|---|{}", "---|".repeat(columns.len()));
        *page += &rows;
    }
}

fn rows(container: Container, family: Family, columns: &[Column], way: Way) -> String {
    let mut rows = String::new();
    for published in Published::ALL {
        let cells: Vec<String> = columns
            .iter()
            .filter_map(|(_, client, asked)| {
                let question = |kind| Question {
                    container,
                    family,
                    client: *client,
                    asked: *asked,
                    published,
                    kind,
                    way,
                };
                let ends = Kind::ALL.map(question);
                let asked = ends.iter().all(Question::is_one);
                asked.then(|| cell(ends.map(|question| question.promise())))
            })
            .collect();
        if !cells.is_empty() {
            assert_eq!(cells.len(), columns.len(), "{container:?} {published:?}");
            let name = name(published);
            let _ = writeln!(rows, "| {name} | {} |", cells.join(" | "));
        }
    }
    rows
}

const fn name(published: Published) -> &'static str {
    match published {
        Published::AnyAddress => "`8080:80`",
        Published::AnyIpv4 => "`0.0.0.0:8080:80`",
        Published::AnyIpv6 => "`[::]:8080:80`",
        Published::HostAddress => "`HOSTIP:8080:80`, the host's address",
        Published::Loopback => "`HOSTIP:8080:80`, loopback",
        Published::ForClient => "`8080:80,allow=PREFIX`, with the client",
        Published::ForOthers => "`8080:80,allow=PREFIX`, without the client",
        Published::ForIpv4 => "`8080:80,allow=0.0.0.0/0`",
        Published::Idle => "`8080:80`, and nobody listens",
        Published::Not => "not at all",
    }
}

/// How the three kinds of sockets fare.
fn cell([tcp, udp, unconnected]: [End; 3]) -> String {
    let [first, second, third] = [tcp, udp, unconnected].map(text);
    if tcp == udp && udp == unconnected {
        first
    } else if tcp == udp {
        format!("{first}; unconnected UDP {third}")
    } else if udp == unconnected {
        format!("{first}; UDP {second}")
    } else {
        format!("{first}; UDP {second}; unconnected UDP {third}")
    }
}

fn text(end: End) -> String {
    match end {
        End::Reached(Seen::Client) => "✓ client".to_owned(),
        End::Reached(Seen::Gateway(_)) => "✓ gateway".to_owned(),
        End::Reached(Seen::Asked) => "✓ host".to_owned(),
        End::Refused => "refused".to_owned(),
        End::Dropped(reason) => format!("silent (`{}`)", reason.as_str()),
        End::NoAddress => "–".to_owned(),
    }
}

/// Demands that a document of `docs` is the page; or writes it anew, where that is asked for.
#[cfg(test)]
pub(super) fn is_stored(document: &str, stored: &str, page: &str) {
    /// Set where the documents are to be written anew.
    const WRITE: &str = "NETPATH_WRITE_REACHABILITY";
    if std::env::var_os(WRITE).is_some() {
        let docs = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/");
        std::fs::write(format!("{docs}{document}"), page).unwrap();
        return;
    }
    let differs = stored.lines().zip(page.lines()).find(|(a, b)| a != b);
    assert!(
        stored == page,
        "{document}: set {WRITE}=1 to write it anew: {differs:?}"
    );
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_page_is_what_is_promised() {
        let stored = include_str!("../../../docs/reachability.md");
        is_stored("reachability.md", stored, &page());
    }
}
