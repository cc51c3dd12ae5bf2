//! ufw and firewalld on the host: their rules stay as they are, and mean what docs/configuration.md says.

use std::net::SocketAddr;

use netpath::lab::server::Server;
use netpath_tests::{
    guarded::Guarded,
    probe::{at, tcp, tcp_server},
    skip,
    topology::{A, HOST, OUTSIDE, World},
};

/// A host with a container that publishes a port.
struct Site {
    world: World,
    #[expect(dead_code, reason = "they serve until they are dropped")]
    servers: [Server; 2],
}

fn config(world: &World, firewall: &str) -> String {
    let more = format!("firewall = \"{firewall}\"");
    world.network("bridge", "netpath0", "172.17.0.0/16", &more)
        + &world.endpoint("a", A, &["8080:80"])
}

impl Site {
    fn new() -> Self {
        let world = World::new(&["a"]);
        let servers = [
            tcp_server(world.container("a"), "a", 80),
            tcp_server(&world.outside, "outside", 7000),
        ];
        Self { world, servers }
    }

    fn up(&self, firewall: &str) {
        self.world.up(&config(&self.world, firewall));
    }

    /// Whether the published port is reached from outside, and the outside from the container.
    fn passes(&self) -> (bool, bool) {
        let reaches = |from, to: SocketAddr| {
            netpath_tests::netns::within(from, || {
                std::net::TcpStream::connect_timeout(&to, std::time::Duration::from_millis(800))
            })
            .is_ok()
        };
        let world = &self.world;
        (
            reaches(&world.outside, at(HOST, 8080).into()),
            reaches(world.container("a"), at(OUTSIDE, 7000).into()),
        )
    }

    /// Both pass, and the client keeps its address.
    #[track_caller]
    fn all_pass(&self) {
        let world = &self.world;
        assert!(tcp(&world.outside, at(HOST, 8080)).is_from("a", OUTSIDE));
        assert!(tcp(world.container("a"), at(OUTSIDE, 7000)).is_from("outside", HOST));
    }

    fn status(&self) -> String {
        self.world.run(&["status"])
    }
}

#[test]
fn ufw() {
    let site = Site::new();
    let Some(host) = Guarded::new(&site.world) else {
        return;
    };
    host.run("ufw --force enable");
    let rules = || host.run("iptables-save; ip6tables-save");
    let own = |text: &str| {
        // Counters and times change by themselves.
        let lines = text.lines().filter(|l| !l.starts_with('#'));
        lines
            .map(|l| l.split(" [").next().unwrap_or(l).to_owned())
            .collect::<Vec<_>>()
    };
    let before = own(&rules());
    assert!(before.iter().any(|l| l == ":FORWARD DROP"), "{before:?}");

    // Its rules are about what the stack forwards, which bypasses them.
    site.up("bypass");
    site.all_pass();
    assert!(site.status().contains("FORWARD"), "{}", site.status());
    assert_eq!(own(&rules()), before);

    site.up("visible");
    assert_eq!(site.passes(), (false, false));
    assert!(!site.status().contains("FORWARD"), "{}", site.status());
    host.run("ufw route allow in on netpath0");
    assert_eq!(site.passes(), (false, true));
    host.run("ufw route allow proto tcp to 172.17.0.0/16 port 80");
    site.all_pass();
    host.run("ufw reload");
    site.all_pass();
    host.run("ufw route delete allow proto tcp to 172.17.0.0/16 port 80");
    assert_eq!(site.passes(), (false, true));

    let before = own(&rules());
    site.up("bypass");
    site.all_pass();
    assert_eq!(own(&rules()), before);
    host.run("ufw --force disable");
    site.all_pass();
}

#[test]
fn firewalld() {
    if skip::missing("nft") {
        return;
    }
    let site = Site::new();
    let Some(host) = Guarded::new(&site.world) else {
        return;
    };
    host.start_firewalld();
    let rules = || host.run("nft list ruleset");
    let before = rules();
    assert!(before.contains("table inet firewalld"), "{before}");

    site.up("bypass");
    site.all_pass();
    assert!(site.status().contains("firewalld"), "{}", site.status());
    assert_eq!(rules(), before);

    site.up("visible");
    assert_eq!(site.passes(), (false, false));
    assert!(!site.status().contains("firewalld"), "{}", site.status());
    // What Docker sets up for its own bridges.
    for words in [
        "--new-zone=netpath",
        "--zone=netpath --set-target=ACCEPT",
        "--zone=netpath --add-interface=netpath0",
        "--new-policy=netpath-forwarding",
        "--policy=netpath-forwarding --add-ingress-zone=ANY",
        "--policy=netpath-forwarding --add-egress-zone=netpath",
        "--policy=netpath-forwarding --set-target=ACCEPT",
    ] {
        host.run(&format!("firewall-cmd --permanent {words}"));
    }
    host.run("firewall-cmd --reload");
    site.all_pass();
    // A policy that lets in less.
    host.run("firewall-cmd --permanent --policy=netpath-forwarding --set-target=CONTINUE");
    host.run("firewall-cmd --reload");
    assert_eq!(site.passes(), (false, true));
    host.run(
        "firewall-cmd --permanent --policy=netpath-forwarding --add-port=80/tcp && \
         firewall-cmd --reload",
    );
    site.all_pass();

    let before = rules();
    site.up("bypass");
    site.all_pass();
    assert_eq!(rules(), before);
}
