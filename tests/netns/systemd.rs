//! netpath as a service: its units under a real systemd, over a boot.
//!
//! What is in the units, and what they leave the program, is `packaging`'s.

use std::{fs, path::Path, time::Duration};

use netpath_tests::{booted::Booted, topology::World, wait};

/// A network of the file and an endpoint whose namespace comes later.
const CONFIG: &str = r#"
[[network]]
name = "bridge"
bridge = "netpath0"
subnet = "172.17.0.0/16"

[[network.endpoint]]
name = "a"
netns = "c1"
"#;

/// An agent that ended is started again after five seconds.
const LONG: Duration = Duration::from_secs(30);

fn boot(world: &World, dir: &Path) -> Option<Booted> {
    for name in ["etc", "lib"] {
        fs::create_dir_all(dir.join(name)).unwrap();
    }
    fs::write(dir.join("etc/netpath.toml"), CONFIG).unwrap();
    Booted::boot(&world.host, dir)
}

/// The agent's process, as systemd has it.
fn agent(booted: &Booted) -> u32 {
    let text = booted.run("systemctl show -P MainPID netpath-agent.service");
    text.trim().parse().unwrap()
}

#[test]
fn networks_come_with_a_boot_and_the_agent_lives() {
    let first = World::new(&[]);
    let dir = tempfile::tempdir().unwrap();
    let Some(booted) = boot(&first, dir.path()) else {
        return;
    };
    // A container that starts later is waited for, and made by a reload.
    let status = booted.run("netpath status");
    assert!(status.contains("gone: there is no `c1`"), "{status}");
    booted.run("ip netns add c1 && ip -n c1 link set lo up");
    booted.run("systemctl reload netpath.service");
    booted.run("ip netns exec c1 ping -c 1 -W 5 172.17.0.1");
    booted.run("netpath network create extra --subnet 172.30.0.0/24 --ipv6");
    assert_eq!(booted.run("systemctl --failed --quiet --no-legend"), "");

    // What it holds the agent to leaves it all that it does: it is killed, comes back, and sees a
    // container end.
    wait::until("the agent runs", || {
        booted.is_active("netpath-agent.service")
    });
    let old = agent(&booted);
    booted.run(&format!("kill -KILL {old}"));
    wait::until_within(LONG, "the agent is back", || {
        let new = agent(&booted);
        new != 0 && new != old && booted.is_active("netpath-agent.service")
    });
    booted.run("ip netns del c1");
    wait::until_within(LONG, "the agent has seen the container end", || {
        booted
            .run("netpath status")
            .contains("gone: there is no `c1`")
    });
    let logged = booted.journal("netpath-agent.service") + &booted.journal("netpath.service");
    for bad in [
        "Operation not permitted",
        "Permission denied",
        "Read-only file system",
        "ERROR",
    ] {
        assert!(!logged.contains(bad), "{logged}");
    }

    // A boot: nothing is left but the files.
    drop(booted);
    drop(first);
    let second = World::new(&[]);
    let booted = boot(&second, dir.path()).unwrap();
    let networks = booted.run("netpath network ls");
    assert!(
        networks.contains("bridge") && networks.contains("extra"),
        "{networks}"
    );
    let links = booted.run("ip -br link show type bridge");
    assert_eq!(links.lines().count(), 2, "{links}");
    booted.run("ip netns add c1 && systemctl reload netpath.service");
    booted.run("ip netns exec c1 ping -c 1 -W 5 172.17.0.1");
    // Stopping the services leaves the network as it is.
    booted.run("systemctl stop netpath-agent.service netpath.service");
    booted.run("ip netns exec c1 ping -c 1 -W 5 172.17.0.1");
}
