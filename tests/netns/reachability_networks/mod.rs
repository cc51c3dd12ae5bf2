//! Every cell of the matrix of networks, asked with real sockets: of netpath, and of the kernel under the
//! rules that Docker writes.
//!
//! Owns the runs. The promises, Docker's answers and docs/reachability-networks.md are
//! [`netpath_tests::reachability::networks`]'s.

mod docker;
mod proxy;
mod site;

use std::time::Instant;

use netpath_common::DropReason;
use netpath_tests::{
    local::{self, Kind},
    reachability::{
        networks::{Client, End, Proxy, Question},
        run::{Run, SILENCE, SOON},
    },
    skip,
    topology::World,
};

use self::site::Firewall;
use crate::host::needs_cgroup;

/// Asks everything, by TCP and by UDP, and demands the promised ends.
fn every_question(world: &World, promise: impl Fn(&Question) -> End + Sync) -> Run {
    let _services = site::services(world);
    let kinds = |question| [(question, Kind::Tcp), (question, Kind::Udp)];
    let questions: Vec<(Question, Kind)> = Question::all().into_iter().flat_map(kinds).collect();
    let run = Run::default();
    run.all(&questions, |place, (question, kind)| {
        let promised = promise(question);
        let patience = match promised {
            End::Silent(_) => SILENCE,
            End::Reached(_) | End::Refused | End::NoRoute => SOON,
        };
        let client = local::Client {
            hears_errors: true,
            // Two of one port would be one flow to the bridge, which tracks nothing.
            port: if question.client == Client::Host {
                0
            } else {
                20_000 + place as u16
            },
            ..local::Client::new(*kind, patience)
        };
        let begun = Instant::now();
        let found = site::ask(world, question, client);
        if let End::Silent(Some(reason)) = promised {
            run.dropped(reason, *kind, begun);
        }
        match found {
            Ok(found) if found.is_like(promised) => Ok(()),
            found => Err(format!("{promised:?}, but {found:?}")),
        }
    });
    println!("{} questions", questions.len());
    run
}

fn of_netpath(firewall: Firewall) {
    if !needs_cgroup() || firewall == Firewall::Visible && skip::missing("nft") {
        return;
    }
    let world = site::world();
    site::netpath(&world, firewall);
    // What a container of an isolated network sends to all counts as well, whoever it looks for.
    every_question(&world, Question::promise).assert_drops(&world, &[DropReason::NotRoutable]);
}

fn of_docker(proxy: Proxy) {
    if docker::is_missing_something() {
        return;
    }
    let world = site::world();
    docker::docker(&world, proxy);
    let _ports = proxy::take(&world, proxy);
    every_question(&world, |question| question.docker(proxy));
}

#[test]
fn netpath_by_itself() {
    of_netpath(Firewall::Bypass);
}

#[test]
fn netpath_before_the_firewall() {
    of_netpath(Firewall::Visible);
}

#[test]
fn docker_s_rules_and_its_proxy() {
    of_docker(Proxy::On);
}

#[test]
fn docker_s_rules_without_its_proxy() {
    of_docker(Proxy::Off);
}
