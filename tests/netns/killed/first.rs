//! The first `up`, from nothing, and the last removal, to nothing again.
//!
//! Owns what these are followed by, and how it has to end. Each round loads the datapath once or twice, which
//! the verifier takes a second or two for: where nothing is sent afterwards the programs are hollow.

use std::{net::SocketAddrV4, thread, time::Instant};

use netpath_tests::{
    killer,
    probe::{at, tcp, tcp_server},
    topology::{HOST, OUTSIDE, World},
};

use super::{
    converge::{chosen, same},
    site::Site,
};
use crate::lifecycle::{Snapshot, assert_same};

const UP: &str = "up -c FULL";
const DOWN: &str = "down --all";
/// They remove everything as well.
const DOWN_BY_NAME: &str = "down bridge second";
const REMOVE: &str = "network rm --force --with-endpoints bridge second";
/// The host port that leads to container `a`.
const PUBLISHED: SocketAddrV4 = at(HOST, 8080);

/// A command that is killed, and the next one.
struct Round {
    /// What is done before.
    before: &'static str,
    killed: &'static str,
    next: &'static str,
    /// What the next one may say that has nothing left to do.
    done: &'static [&'static str],
    /// It is up then, and else nothing is left.
    up: bool,
}

const ROUNDS: [Round; 7] = [
    Round {
        before: "",
        killed: UP,
        next: DOWN,
        done: &[],
        up: false,
    },
    Round {
        before: UP,
        killed: DOWN,
        next: DOWN,
        done: &[],
        up: false,
    },
    Round {
        before: UP,
        killed: DOWN_BY_NAME,
        next: DOWN_BY_NAME,
        done: &["does not exist", "is not up"],
        up: false,
    },
    Round {
        before: UP,
        killed: REMOVE,
        next: REMOVE,
        done: &[],
        up: false,
    },
    Round {
        before: UP,
        killed: DOWN,
        next: UP,
        done: &[],
        up: true,
    },
    Round {
        before: "CREATE; ADD",
        killed: DOWN,
        next: super::CREATE,
        done: &["exists already"],
        up: true,
    },
    Round {
        before: "",
        killed: super::CREATE,
        next: super::CREATE,
        done: &["exists already"],
        up: true,
    },
];

#[test]
fn the_first_up_and_the_last_down() {
    thread::scope(|scope| {
        let mut all = vec![scope.spawn(up_works)];
        all.extend(ROUNDS.iter().map(|round| scope.spawn(|| rounds(round))));
        for one in all {
            one.join().unwrap_or_else(|p| std::panic::resume_unwind(p));
        }
    });
}

/// What was begun is finished, and works.
fn up_works() {
    let (site, began) = (Site::bare(), Instant::now());
    let before = Snapshot::of_host(&site.world);
    let whole = killer::run(&mut site.command(UP), None);
    assert!(whole.status.unwrap().success(), "{}", whole.errors);
    let wanted = site.fingerprint();
    site.run(DOWN);
    let steps = whole.steps.len();
    // Until then nothing that is loaded is anybody's, and the next one begins anew.
    let taken = whole
        .steps
        .iter()
        .position(|s| s.starts_with("rename") && s.ends_with("%new"));
    let taken = taken.unwrap();
    let chosen = chosen(UP, steps, 2);
    for at in &chosen {
        let run = if *at < taken {
            killer::run_hollow
        } else {
            killer::run
        };
        let killed = run(&mut site.command(UP), Some(*at));
        let step = format!("killed after {at} ({:?})", killed.steps.last());
        site.run(UP);
        same(&site.fingerprint(), &wanted, &step);
        let _server = tcp_server(site.world.container("a"), "a", 80);
        assert!(tcp(&site.world.outside, PUBLISHED).is_from("a", OUTSIDE));
        site.run(DOWN);
        nothing_is_left(&site, &before, &step);
    }
    println!(
        "`{UP}`: {steps} steps, killed after {}, in {:.1?}",
        chosen.len(),
        began.elapsed()
    );
}

fn rounds(of: &Round) {
    let (site, began) = (Site::bare(), Instant::now());
    let before = Snapshot::of_host(&site.world);
    let hollow = |line: &str| {
        for line in line.split("; ").filter(|line| !line.is_empty()) {
            let done = killer::run_hollow(&mut site.command(line), None);
            assert!(done.status.unwrap().success(), "{line}: {}", done.errors);
        }
    };
    // As if there had been nothing; or as it was, where the killed one had not done anything yet.
    let lines = if of.up {
        vec![of.next, of.before]
    } else {
        Vec::new()
    };
    let lines = lines.into_iter().filter(|line| !line.is_empty());
    let wanted: Vec<_> = lines
        .map(|line| {
            hollow(line);
            let wanted = site.fingerprint();
            site.run(DOWN);
            wanted
        })
        .collect();
    hollow(of.before);
    let steps = killer::run_hollow(&mut site.command(of.killed), None)
        .steps
        .len();
    site.run(DOWN);
    let chosen = chosen(&format!("{}; {}", of.killed, of.next), steps, 1);
    for at in &chosen {
        hollow(of.before);
        let killed = killer::run_hollow(&mut site.command(of.killed), Some(*at));
        let step = format!(
            "`{}` killed after {at} ({:?})",
            of.killed,
            killed.steps.last()
        );
        let next = killer::run_hollow(&mut site.command(of.next), None);
        let settled =
            next.status.unwrap().success() || of.done.iter().any(|done| next.errors.contains(done));
        assert!(settled, "{step}, then `{}`: {}", of.next, next.errors);
        if of.up {
            let found = site.fingerprint();
            if !wanted.contains(&found) {
                same(&found, &wanted[0], &step);
            }
            site.run(DOWN);
        }
        nothing_is_left(&site, &before, &step);
    }
    println!(
        "`{}`, then `{}`: {steps} steps, killed after {}, in {:.1?}",
        of.killed,
        of.next,
        chosen.len(),
        began.elapsed()
    );
}

#[track_caller]
fn nothing_is_left(site: &Site, before: &Snapshot, step: &str) {
    let left = [
        (site.world.file("state").exists(), "state is left"),
        (pending(&site.world), "pins are left"),
        (site.world.pins().exists(), "the instance is left"),
    ];
    for (left, what) in left {
        assert!(!left, "{what}: {step}");
    }
    assert_same(
        &[Snapshot::of_host(&site.world)],
        std::slice::from_ref(before),
    );
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
