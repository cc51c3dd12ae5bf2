//! A reader of docs/study.md with a shell at each place.
//!
//! Owns typing commands, in the page's order, and programs that go on in the background.

use std::{
    fs,
    os::unix::fs::PermissionsExt as _,
    process::{Child, Command, Output},
};

use netpath_tests::{
    binary,
    netns::{Namespace, within},
    page::Page,
    topology::World,
    wait,
};
use regex_lite::Regex;

/// A reader with a shell in each namespace.
pub(super) struct Reader {
    /// What was begun with `&`, before the namespaces that it is in.
    running: Vec<Running>,
    page: Page,
    pub(super) world: World,
}

/// A program that goes on until the end.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Reader {
    /// With the page's `netpath.toml`, and with its `netpath`.
    pub(super) fn new() -> Self {
        let (world, page) = (World::new(&["web", "db"]), Page::read("study.md"));
        let reader = Self {
            running: Vec::new(),
            page,
            world,
        };
        let [config] = &reader.page.blocks("toml")[..] else {
            panic!("the page has one netpath.toml");
        };
        fs::write(reader.world.file("netpath.toml"), config).unwrap();
        let host = reader.world.host.name();
        let program = binary::netpath();
        let script = format!(
            "#!/bin/sh\nexec {} --netns {host} --state-dir {} \"$@\"\n",
            program.display(),
            reader.world.file("state").display()
        );
        fs::create_dir(reader.world.file("bin")).unwrap();
        let alias = reader.world.file("bin/netpath");
        fs::write(&alias, script).unwrap();
        fs::set_permissions(&alias, fs::Permissions::from_mode(0o755)).unwrap();
        reader
    }

    pub(super) fn place(&self, name: &str) -> &Namespace {
        match name {
            "host" => &self.world.host,
            "outside" => &self.world.outside,
            name => self.world.container(name),
        }
    }

    /// The page has no further commands.
    pub(super) fn finish(self) {
        self.page.finish();
    }

    /// The prefix of the names of this test's namespaces.
    fn prefix(&self) -> &str {
        self.world.host.name().strip_suffix("host").unwrap()
    }

    /// The shell of a place with a command in it.
    fn shell(&self, line: &str) -> Command {
        let mut shell = Command::new("sh");
        let line = renamed(line, self.prefix());
        let path = std::env::var("PATH").unwrap_or_default();
        let own = self.world.file("bin");
        shell
            .args(["-c", &line])
            .env("PATH", format!("{}:{path}:/usr/sbin:/sbin", own.display()))
            .env("LC_ALL", "C")
            .current_dir(self.world.file(""));
        shell
    }

    pub(super) fn output(&self, place: &str, line: &str) -> Output {
        within(self.place(place), || self.shell(line).output()).unwrap()
    }

    /// What a terminal shows, with the names of the page.
    pub(super) fn text(&self, output: &Output) -> String {
        // In this order: into a pipe, what is said last may be written first.
        let all = [&output.stdout[..], &output.stderr].concat();
        let text = String::from_utf8_lossy(&all);
        if !text.contains("NETNS") {
            return text.replace(self.prefix(), "");
        }
        // A column as wide as it is with the page's names.
        let cell = Regex::new(&format!("(NETNS|{}[a-z]+) *", self.prefix())).unwrap();
        let short = cell.replace_all(&text, |found: &regex_lite::Captures<'_>| {
            format!("{:<10}", found[1].replace(self.prefix(), ""))
        });
        short.into_owned()
    }

    /// Types a command, which ends with this status. What it printed is the result.
    #[track_caller]
    pub(super) fn ends(&mut self, code: i32, place: &str, line: &str) -> String {
        let output = self.output(place, line);
        let text = self.text(&output);
        assert_eq!(output.status.code(), Some(code), "{place}# {line}: {text}");
        self.page.shows(place, line, &text);
        text
    }

    /// The same of one that succeeds.
    #[track_caller]
    pub(super) fn types(&mut self, place: &str, line: &str) -> String {
        self.ends(0, place, line)
    }

    /// Types a command once what it prints is good.
    #[track_caller]
    pub(super) fn types_when(
        &mut self,
        place: &str,
        line: &str,
        good: impl Fn(&str) -> bool,
    ) -> String {
        let mut last = String::new();
        wait::until(line, || {
            last = self.text(&self.output(place, line));
            good(&last)
        });
        self.page.shows(place, line, &last);
        last
    }

    /// Begins what goes on in the background, as a shell does with `&`.
    #[track_caller]
    pub(super) fn begins(&mut self, place: &str, line: &str) {
        let program = line.strip_suffix(" &").unwrap();
        let child = within(self.place(place), || {
            let mut shell = self.shell(&format!("exec {program}"));
            shell.spawn()
        });
        self.running.push(Running(child.unwrap()));
        self.page.shows(place, line, "");
    }
}

/// A line of the page with the names of the namespaces that this test has.
pub(super) fn renamed(line: &str, prefix: &str) -> String {
    let named = Regex::new(r"(netns (?:add |del )?|ip -n )(\$?[a-z]+)").unwrap();
    let renamed = named.replace_all(line, |found: &regex_lite::Captures<'_>| {
        format!("{}{prefix}{}", &found[1], &found[2])
    });
    renamed.into_owned()
}
