//! The instance on which commands are killed, and what two runs of one are compared by.

use std::{fs, process::Command};

use netpath::bpf::Datapath;
use netpath_tests::{
    netns::{stdout, within},
    topology::{World, succeeded},
};
use serde_json::Value;

const PORTS: &[&str] = &[
    "8080:80",
    "127.0.0.1:5353:53/udp",
    "33000-33009:33000-33009/udp,allow=198.51.100.0/24,allow=2001:db8::/32",
    "9000:90,balance",
];

/// Of the first of them nothing is left, the second one is at another address, the third has another list.
const CHANGED_PORTS: &[&str] = &[
    "8081:80",
    "127.0.0.2:5353:53/udp",
    "33000-33009:33000-33009/udp,allow=198.51.100.0/25",
    "9000:90,balance",
];

pub(super) struct Site {
    pub(super) world: World,
    empty: String,
    full: String,
    changed: String,
    /// Programs are attached as on kernels without tcx.
    pub(super) clsact: bool,
}

impl Site {
    /// A host on which nothing of netpath is yet.
    pub(super) fn bare() -> Self {
        let world = World::dual_stack(&["a", "b", "c"]);
        let full = world.dual_stack_config(&["a", "b"], PORTS, "")
            + &world.network("second", "netpath1", "172.18.0.0/16", "icc = false");
        let changed = world.dual_stack_config(
            &["a", "c"],
            CHANGED_PORTS,
            "icc = false\nuplink_hook = \"xdp\"",
        ) + &world.network("third", "netpath3", "172.19.0.0/16", "");
        let changed = config(&world, "changed", &changed);
        let empty = config(&world, "empty", "");
        let full = config(&world, "full", &full);
        let clsact = false;
        Self {
            world,
            empty,
            full,
            changed,
            clsact,
        }
    }

    pub(super) fn command(&self, line: &str) -> Command {
        let mut command = self.world.netpath_command();
        let line = self.expand(line);
        command.args(line.split(' '));
        if self.clsact {
            command.env("NETPATH_FORCE_CLSACT", "1");
        }
        command
    }

    fn expand(&self, line: &str) -> String {
        line.replace("CREATE", super::CREATE)
            .replace("SECOND", super::SECOND)
            .replace("LAN", super::LAN)
            .replace("JOIN", super::JOIN)
            .replace("ADD", super::ADD)
            .replace("CHANGED", &self.changed)
            .replace("EMPTY", &self.empty)
            .replace("FULL", &self.full)
            .replace("OTHER", self.world.container("b").name())
            .replace("NETNS", self.world.container("c").name())
    }

    #[track_caller]
    pub(super) fn run(&self, line: &str) {
        for line in line.split("; ").filter(|line| !line.is_empty()) {
            succeeded(line, self.command(line).output().unwrap());
        }
    }

    /// Everything that two runs of the same command must agree on, a line each.
    pub(super) fn fingerprint(&self) -> Vec<String> {
        let world = &self.world;
        let json = |words: &[&str]| -> Value { serde_json::from_str(&world.run(words)).unwrap() };
        let mut names: Vec<(String, String)> = Vec::new();
        let mut lines = Vec::new();
        for e in json(&["--json", "endpoint", "ls"]).as_array().unwrap() {
            let name = e["name"].as_str().unwrap();
            names.push((e["interface"].as_str().unwrap().into(), format!("<{name}>")));
            for key in ["name", "network", "address", "address6", "state", "ports"] {
                lines.push(format!("endpoint {name} {key} {}", e[key]));
            }
        }
        let status = json(&["--json", "status"]);
        for key in ["drift", "warnings", "uplinks"] {
            lines.push(format!("{key} {}", status[key]));
        }
        // One that was made anew comes last.
        for network in status["networks"].as_array().unwrap() {
            lines.push(format!("network {network}"));
        }
        for program in status["attachments"].as_array().unwrap() {
            lines.push(format!("program {program}"));
        }
        let ip = |words: &str| {
            let words: Vec<&str> = words.split(' ').collect();
            let all: Value = serde_json::from_str(&stdout(&world.host, "ip", &words)).unwrap();
            all.as_array().unwrap().clone()
        };
        for link in ip("-j -d addr") {
            let port = &link["linkinfo"]["info_slave_data"]["isolated"];
            let name = link["ifname"].as_str().unwrap();
            let mtu = &link["mtu"];
            let flags = link["flags"].to_string();
            let up = flags.contains("\"UP\"");
            lines.push(format!(
                "link {name} {mtu} up {up} {} isolated {port}",
                link["master"]
            ));
            for a in link["addr_info"].as_array().unwrap() {
                // The others are made of the device's address.
                if a["scope"] == "global" {
                    lines.push(format!("address {name} {}/{}", a["local"], a["prefixlen"]));
                }
            }
        }
        lines.extend(qdiscs(world));
        for name in ["a", "b", "c"] {
            let namespace = world.container(name);
            for words in [
                ["-o", "-4", "addr"],
                ["-o", "-6", "route"],
                ["-o", "-4", "route"],
            ] {
                let text = stdout(namespace, "ip", &words);
                // Routes of link-local addresses come and settle by themselves.
                let text = text
                    .lines()
                    .filter(|l| !l.starts_with("fe80::/64 "))
                    .map(|l| l.split("scope").next().unwrap().to_owned());
                lines.extend(text.map(|l| format!("in {name}: {}", without_index(&l))));
            }
        }
        within(&world.host, || {
            for key in [
                "ipv4/ip_forward",
                "ipv4/conf/netpath0/forwarding",
                "ipv4/conf/uplink0/forwarding",
                "ipv4/ip_local_reserved_ports",
                "ipv6/conf/all/forwarding",
                "ipv6/conf/netpath0/forwarding",
                "ipv6/conf/uplink0/forwarding",
                "ipv6/conf/uplink0/force_forwarding",
                "ipv6/conf/netpath0/accept_ra",
            ] {
                let value = fs::read_to_string(format!("/proc/sys/net/{key}")).unwrap_or_default();
                lines.push(format!("{key} {}", value.trim()));
            }
            let datapath = Datapath::open(world.instance()).unwrap().unwrap();
            let mut entries = Vec::new();
            let v4 = datapath.published().unwrap().into_iter();
            entries
                .extend(v4.map(|(key, to)| format!("published {key:?} {:?} {}", to.addr, to.port)));
            let v6 = datapath.published6().unwrap().into_iter();
            entries
                .extend(v6.map(|(key, to)| format!("published {key:?} {:?} {}", to.addr, to.port)));
            let addrs = datapath.endpoint_addrs().unwrap().into_keys();
            entries.extend(addrs.map(|a| format!("endpoint has {a}")));
            entries.sort();
            lines.extend(entries);
            lines.push(format!("{} interfaces", datapath.ifaces().unwrap().len()));
            let allowed = datapath.allowed().unwrap();
            let listed = allowed.values().filter(|nets| !nets.is_empty());
            lines.push(format!("allowed {:?}", listed.collect::<Vec<_>>()));
        });
        let pins = fs::read_dir(world.pins().join("links")).unwrap().count();
        lines.push(format!("{pins} links"));
        for dir in [world.pins(), world.pins().join("progs")] {
            let mut names: Vec<_> = fs::read_dir(dir)
                .unwrap()
                .map(|e| e.unwrap().file_name())
                .collect();
            names.sort();
            lines.push(format!("pins {names:?}"));
        }
        let state: Value = serde_json::from_slice(
            &fs::read(
                world
                    .file("state")
                    .join(world.instance())
                    .join("state.json"),
            )
            .unwrap(),
        )
        .unwrap();
        // What is to be given back one day.
        for key in ["changing", "conntrack", "sysctls", "reserved_ports"] {
            let mut value = state[key].clone();
            // Their order is that of the networks and the host, which may have been first.
            if let Some(all) = value.as_array_mut() {
                all.sort_by_key(ToString::to_string);
            }
            lines.push(format!("state {key} {value}"));
        }
        let rename = |line: String| {
            names
                .iter()
                .fold(line, |line, (from, to)| line.replace(from, to))
        };
        let mut lines: Vec<_> = lines.into_iter().map(rename).collect();
        lines.sort();
        lines
    }
}

/// The clsact qdiscs of the host, without those that go with their interfaces.
pub(super) fn qdiscs(world: &World) -> Vec<String> {
    let all = stdout(&world.host, "tc", &["qdisc", "show"]);
    let ours = all
        .lines()
        .filter(|l| l.contains("clsact") && !l.contains("veth"));
    ours.map(str::to_owned).collect()
}

fn without_index(line: &str) -> String {
    let rest = line
        .split_once(": ")
        .filter(|(n, _)| n.bytes().all(|b| b.is_ascii_digit()));
    rest.map_or(line, |(_, rest)| rest).trim().to_owned()
}

fn config(world: &World, name: &str, text: &str) -> String {
    let file = world.file(&format!("{name}.toml"));
    fs::write(&file, format!("[limits]\nconntrack = 65536\n{text}")).unwrap();
    file.display().to_string()
}
