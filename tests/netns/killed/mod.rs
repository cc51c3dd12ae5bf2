//! `kill -9` at every step of a command: the same command then ends as if nothing had happened.
//!
//! Owns the commands that are killed and what they are compared by. Where a command loads the datapath,
//! which takes seconds, some steps stand for all; with `--long` all are taken.

mod site;

use std::{env, time::Instant};

use netpath_tests::{
    killer,
    probe::{at, tcp, tcp_server},
    topology::{HOST, OUTSIDE, World},
};

use self::site::{Site, qdiscs};
use crate::lifecycle::{Snapshot, assert_same};

/// A command, where it begins, and what may be said to one that has nothing left to do.
struct Killed {
    before: &'static str,
    command: &'static str,
    done: &'static str,
    after: &'static str,
    /// Of so many steps one is tried.
    stride: usize,
}

fn long() -> bool {
    env::var_os("NETPATH_LONG").is_some()
}

#[track_caller]
fn converges(site: &Site, of: &Killed) {
    let Killed {
        before,
        command,
        done,
        after,
        ..
    } = of;
    site.run(before);
    let whole = killer::run(&mut site.command(command), None);
    assert!(
        whole.status.unwrap().success(),
        "{command}: {}",
        whole.errors
    );
    let wanted = site.fingerprint();
    site.run(after);
    let stride = if long() { 1 } else { of.stride };
    assert!(whole.steps.len() > stride, "{:?}", whole.steps);
    let began = Instant::now();
    let mut tried = 0;
    // Which one of a stride changes with each command.
    let mut at = whole.steps.len() % stride;
    loop {
        site.run(before);
        let killed = killer::run(&mut site.command(command), Some(at));
        if killed.status.is_none() {
            tried += 1;
            let again = site.command(command).output().unwrap();
            let errors = String::from_utf8_lossy(&again.stderr);
            let step = killed.steps.last().unwrap();
            let settled = again.status.success() || (!done.is_empty() && errors.contains(done));
            assert!(
                settled,
                "`{command}` killed at {at} ({step}), again: {errors}"
            );
        }
        let found = site.fingerprint();
        let step = killed.steps.last().cloned().unwrap_or_default();
        let lost: Vec<_> = wanted.iter().filter(|l| !found.contains(l)).collect();
        let more: Vec<_> = found.iter().filter(|l| !wanted.contains(l)).collect();
        assert!(
            lost.is_empty() && more.is_empty(),
            "`{command}` killed at {at} ({step}): missing {lost:#?}, and there is {more:#?}"
        );
        site.run(after);
        if killed.status.is_some() {
            // It may have fewer steps than the first time: some settings stay once they are changed.
            assert!(at >= killed.steps.len(), "{at} of {:?}", killed.steps);
            break;
        }
        at += stride;
    }
    println!(
        "`{command}`: {} steps, {tried} of them killed at, in {:.1?}",
        whole.steps.len(),
        began.elapsed()
    );
}

/// Runs the cases on one instance, which then leaves nothing.
fn all(cases: &[Killed]) {
    play(&Site::new(), cases);
}

fn play(site: &Site, cases: &[Killed]) {
    let before = Snapshot::of_host(&site.world);
    site.run("up -c EMPTY");
    for case in cases {
        converges(site, case);
    }
    site.run("down --all");
    assert_same(&[Snapshot::of_host(&site.world)], &[before]);
    assert_eq!(qdiscs(&site.world), Vec::<String>::new());
    assert!(!site.world.file("state").exists(), "state is left");
}

const CREATE: &str = "network create --ipv6 --subnet 10.9.0.0/24 --subnet fd00:9::/64 \
                      -o com.docker.network.bridge.name=netpath9 n";
const ADD: &str = "endpoint add --network n --netns NETNS --name c -p 8090:80 \
                   -p 33010-33011:53/udp,allow=198.51.100.0/24";

#[test]
fn up() {
    all(&[
        Killed {
            before: "",
            command: "up -y -c FULL",
            done: "",
            after: "up -y -c EMPTY",
            stride: 11,
        },
        Killed {
            before: "up -y -c FULL",
            command: "up -y -c EMPTY",
            done: "",
            after: "",
            stride: 11,
        },
    ]);
}

#[test]
fn up_by_clsact() {
    let mut site = Site::new();
    site.clsact = true;
    play(
        &site,
        &[Killed {
            before: "",
            command: "up -y -c FULL",
            done: "",
            after: "up -y -c EMPTY",
            stride: 13,
        }],
    );
}

#[test]
fn endpoint_and_publish() {
    let site = Site::new();
    let before = Snapshot::of_host(&site.world);
    site.run("up -c EMPTY");
    site.run(CREATE);
    for case in [
        Killed {
            before: "",
            command: ADD,
            done: "exists already",
            after: "endpoint rm c",
            stride: 5,
        },
        Killed {
            before: ADD,
            command: "endpoint rm c",
            done: "does not exist",
            after: "",
            stride: 5,
        },
        Killed {
            before: ADD,
            command: "publish c 9090:80 9091:80,allow=198.51.100.0/24",
            done: "already allocated",
            after: "endpoint rm c",
            stride: 5,
        },
        Killed {
            before: ADD,
            command: "unpublish c 8090:80 33010-33011:53/udp,allow=198.51.100.0/24",
            done: "does not publish",
            after: "endpoint rm c",
            stride: 5,
        },
    ] {
        converges(&site, &case);
    }
    site.run("down --all");
    assert_same(&[Snapshot::of_host(&site.world)], &[before]);
}

const LAN: &str = "network create -d macvlan --subnet 10.7.0.0/24 -o parent=uplink0 lan";
const JOIN: &str = "endpoint add --network lan --netns NETNS --name c";

#[test]
fn without_a_bridge() {
    let site = Site::new();
    let before = Snapshot::of_host(&site.world);
    site.run("up -c EMPTY");
    site.run(CREATE);
    for case in [
        Killed {
            before: "",
            command: LAN,
            done: "exists already",
            after: "network rm lan",
            stride: 1,
        },
        Killed {
            before: LAN,
            command: "network rm lan",
            done: "does not exist",
            after: "",
            stride: 1,
        },
        Killed {
            before: LAN,
            command: JOIN,
            done: "exists already",
            after: "network rm --with-endpoints lan",
            stride: 1,
        },
        Killed {
            before: "LAN; JOIN",
            command: "endpoint rm c",
            done: "does not exist",
            after: "network rm lan",
            stride: 1,
        },
    ] {
        converges(&site, &case);
    }
    site.run("down --all");
    assert_same(&[Snapshot::of_host(&site.world)], &[before]);
}

#[test]
fn network_and_down() {
    all(&[
        Killed {
            before: "up -y -c FULL",
            command: CREATE,
            done: "exists already",
            after: "network rm n",
            stride: 7,
        },
        Killed {
            before: "up -y -c FULL; CREATE",
            command: "network rm n",
            done: "does not exist",
            after: "",
            stride: 7,
        },
        Killed {
            before: "up -y -c FULL",
            command: "down bridge",
            done: "does not exist",
            after: "",
            stride: 8,
        },
    ]);
}

/// From nothing, and straight to nothing again.
#[test]
fn the_first_up_and_the_last_down() {
    let site = Site::new();
    let before = Snapshot::of_host(&site.world);
    let up = killer::run(&mut site.command("up -c FULL"), None);
    assert!(up.status.unwrap().success(), "{}", up.errors);
    let wanted = site.fingerprint();
    let down = killer::run(&mut site.command("down --all"), None);
    assert!(down.status.unwrap().success(), "{}", down.errors);
    assert_same(
        &[Snapshot::of_host(&site.world)],
        std::slice::from_ref(&before),
    );
    let (ups, downs) = (up.steps.len(), down.steps.len());
    let some = |steps: usize, few: usize| {
        let stride = if long() { 1 } else { steps.div_ceil(few) };
        (0..steps).step_by(stride)
    };
    for at in some(ups, 6) {
        let killed = killer::run(&mut site.command("up -c FULL"), Some(at));
        if at % 2 == 0 {
            site.run("up -c FULL");
            let step = killed.steps.last();
            assert_eq!(site.fingerprint(), wanted, "up killed at {at} ({step:?})");
            let _server = tcp_server(site.world.container("a"), "a", 80);
            assert!(tcp(&site.world.outside, at_host()).is_from("a", OUTSIDE));
        }
        site.run("down --all");
        assert_same(
            &[Snapshot::of_host(&site.world)],
            std::slice::from_ref(&before),
        );
        let step = killed.steps.last();
        assert!(
            !site.world.file("state").exists(),
            "state is left: {at} ({step:?})"
        );
        assert!(!pending(&site.world), "pins are left: {at} ({step:?})");
    }
    for at in some(downs, 4) {
        site.run("up -c FULL");
        let killed = killer::run(&mut site.command("down --all"), Some(at));
        site.run("down --all");
        assert_same(
            &[Snapshot::of_host(&site.world)],
            std::slice::from_ref(&before),
        );
        let step = killed.steps.last();
        assert!(
            !site.world.file("state").exists(),
            "state is left: {at} ({step:?})"
        );
    }
    println!("up: {ups} steps, down: {downs} steps");
}

fn at_host() -> std::net::SocketAddrV4 {
    at(HOST, 8080)
}

/// Whether what a killed load has put together is still there.
fn pending(world: &World) -> bool {
    let name = world
        .pins()
        .file_name()
        .unwrap()
        .to_string_lossy()
        .into_owned();
    world.pins().with_file_name(name + "%new").exists()
}
