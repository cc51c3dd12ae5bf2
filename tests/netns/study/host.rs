//! The host that docs/study.md has its readers make.

use std::process::Command;

use netpath_tests::{page::Page, skip, topology::World, wait};
use regex_lite::Regex;

use super::reader::renamed;

/// The namespaces of the page.
const NAMES: [&str; 4] = ["host", "outside", "web", "db"];

/// What the page makes, until it is removed as the page says.
struct Made<'t> {
    remove: &'t str,
    prefix: String,
}

impl Made<'_> {
    fn is_there(&self) -> bool {
        let there = |name: &str| {
            std::path::Path::new(&format!("/run/netns/{}{name}", self.prefix)).exists()
        };
        NAMES.into_iter().any(there)
    }
}

impl Drop for Made<'_> {
    fn drop(&mut self) {
        let _ = Command::new("sh")
            .args(["-c", &renamed(self.remove, &self.prefix)])
            .output();
    }
}

/// The host that the page has its readers make is the one that the study is done on.
#[test]
fn the_page_makes_the_host_that_is_studied() {
    if skip::missing("ip") {
        return;
    }
    let world = World::new(&["web", "db"]);
    let blocks = Page::read("study.md").blocks("sh");
    let prefix = format!("{}p-", world.host.name().strip_suffix("host").unwrap());
    let own = world.file("own");
    let sh = |text: &str| {
        let text = renamed(text, &prefix).replace("/tmp/study", own.to_str().unwrap());
        let done = Command::new("sh").args(["-ec", &text]).output().unwrap();
        let errors = String::from_utf8_lossy(&done.stderr).into_owned();
        assert!(done.status.success(), "{text}: {errors}");
    };
    let [make, alias, remove] = &blocks[..] else {
        panic!("{blocks:#?}");
    };
    assert!(alias.starts_with("alias netpath="), "{alias}");
    let made = Made {
        remove: remove.lines().next().unwrap(),
        prefix: prefix.clone(),
    };
    sh(make);
    let look = |prefix: &str| {
        let volatile = Regex::new("@if[0-9]+|fe80::[0-9a-f:]+/64").unwrap();
        let one = |name: &str| {
            let show = |what: &[&str]| {
                let name = format!("{prefix}{name}");
                let words = ["-n", &name].into_iter().chain(what.iter().copied());
                let done = Command::new("ip").args(words).output().unwrap();
                let text = String::from_utf8_lossy(&done.stdout).into_owned();
                volatile.replace_all(&text, "").replace(' ', "")
            };
            [show(&["-br", "address"]), show(&["route"])]
        };
        NAMES.map(one)
    };
    let ours = prefix.strip_suffix("p-").unwrap();
    // Interfaces are up a moment after they were set up.
    wait::until("both hosts are the same", || look(&prefix) == look(ours));
    sh(remove);
    assert!(!own.exists());
    assert!(!made.is_there());
}
