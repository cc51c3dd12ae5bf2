//! A host with netpath, its containers and the world outside, in namespaces of their own.
//!
//! Owns building it, running netpath in it, and removing all of it, also after a panic. A test that has
//! ended well fails all the same where a stack in it has counted a checksum error.

use std::{
    cell::Cell,
    collections::BTreeMap,
    env, fs,
    net::Ipv4Addr,
    os::fd::AsFd,
    path::PathBuf,
    process::{Command, Output, Stdio},
};

use netpath::{bpf::Datapath, lab::links};
use netpath_common::DropReason;

use crate::{
    binary,
    netns::{Namespace, stdout, unique_prefix, within},
    probe::checksum_errors,
};

/// The host on the uplink.
pub const HOST: Ipv4Addr = Ipv4Addr::new(198, 51, 100, 1);
/// The host on the other side of the uplink.
pub const OUTSIDE: Ipv4Addr = Ipv4Addr::new(198, 51, 100, 2);
/// The gateway of the first network.
pub const GATEWAY: Ipv4Addr = Ipv4Addr::new(172, 17, 0, 1);
/// The first container's address.
pub const A: Ipv4Addr = Ipv4Addr::new(172, 17, 0, 2);
/// The second container's address.
pub const B: Ipv4Addr = Ipv4Addr::new(172, 17, 0, 3);
/// The host's interface that leads out.
pub const UPLINK: &str = "uplink0";

thread_local! {
    static OFFLOADS: Cell<bool> = const { Cell::new(true) };
    static FIREWALL: Cell<Option<&'static str>> = const { Cell::new(None) };
}

/// Runs a test on a host whose firewall drops what it does not accept, with the rules that the
/// documentation recommends, and whose networks have this `firewall`.
pub fn behind_firewall(firewall: &'static str, test: impl FnOnce()) {
    FIREWALL.set(Some(firewall));
    // As below.
    test();
    FIREWALL.set(None);
}

/// The rules that docs/configuration.md recommends for a network on `netpath0`.
///
/// # Panics
/// When it has none.
#[must_use]
pub fn recommended_rules() -> &'static str {
    const DOCUMENT: &str = include_str!("../../docs/configuration.md");
    let (_, rules) = DOCUMENT.split_once("```nft\n").unwrap();
    rules.split_once("```").unwrap().0
}

/// Runs a test whose devices leave nothing to each other: every checksum is computed by the sender's
/// stack, kept right by the datapath alone and verified by the receiver's, segment by segment.
pub fn without_offloads(test: impl FnOnce()) {
    OFFLOADS.set(false);
    // The thread is the test's own, and ends with it, also where it panics.
    test();
    OFFLOADS.set(true);
}

/// The namespaces of one test.
#[derive(Debug)]
pub struct World {
    /// The namespace that netpath manages.
    pub host: Namespace,
    /// The world outside.
    pub outside: Namespace,
    containers: BTreeMap<String, Namespace>,
    prefix: String,
    directory: PathBuf,
    bad_checksums: bool,
}

impl World {
    /// The host with its uplink, the outside, and a namespace for each container.
    ///
    /// # Panics
    /// When the caller is not root.
    #[must_use]
    pub fn new(containers: &[&str]) -> Self {
        let prefix = unique_prefix();
        let create = |role: &str| {
            Namespace::create(&format!("{prefix}-{role}"))
                .unwrap_or_else(|error| panic!("namespace tests need root: {error}"))
        };
        let (host, outside) = (create("host"), create("outside"));
        within(&host, || {
            links::add_veth(UPLINK, "eth0").unwrap();
            links::move_to("eth0", outside.file().as_fd()).unwrap();
            links::add_address(UPLINK, HOST, 24).unwrap();
            links::up(UPLINK).unwrap();
        });
        within(&outside, || {
            links::add_address("eth0", OUTSIDE, 24).unwrap();
            links::up("eth0").unwrap();
        });
        within(&host, || {
            links::add_route(Ipv4Addr::UNSPECIFIED, 0, OUTSIDE).unwrap()
        });
        let containers = containers
            .iter()
            .map(|name| ((*name).to_owned(), create(name)))
            .collect();
        let directory = env::temp_dir().join(&prefix);
        fs::create_dir(&directory).unwrap();
        Self {
            host,
            outside,
            containers,
            prefix,
            directory,
            bad_checksums: false,
        }
    }

    /// One network with the containers `a` and, where there is one, `b`; ports of `a` published.
    #[must_use]
    pub fn with_ports(containers: &[&str], publish: &[&str]) -> Self {
        let world = Self::new(containers);
        let mut config = world.network("bridge", "netpath0", "172.17.0.0/16", "");
        for (name, address) in containers.iter().zip([A, B]) {
            let publish = if *name == "a" { publish } else { &[] };
            config += &world.endpoint(name, address, publish);
        }
        world.up(&config);
        world
    }

    /// The namespace of a container.
    #[must_use]
    #[track_caller]
    pub fn container(&self, name: &str) -> &Namespace {
        self.containers
            .get(name)
            .unwrap_or_else(|| panic!("no container {name} in this test"))
    }

    /// Makes a namespace for one more container, and says its name.
    ///
    /// # Panics
    /// When there is one of that name.
    pub fn add_container(&mut self, name: &str) -> String {
        let namespace = Namespace::create(&format!("{}-{name}", self.prefix)).unwrap();
        let full = namespace.name().to_owned();
        assert!(self.containers.insert(name.to_owned(), namespace).is_none());
        full
    }

    /// Hands out the namespace of a container, to be used for something else.
    ///
    /// # Panics
    /// When there is none of that name.
    #[track_caller]
    pub fn take_container(&mut self, name: &str) -> Namespace {
        self.containers.remove(name).unwrap()
    }

    /// The instance: the name of the host's namespace.
    #[must_use]
    pub fn instance(&self) -> &str {
        self.host.name()
    }

    /// A file of this test.
    #[must_use]
    pub fn file(&self, name: &str) -> PathBuf {
        self.directory.join(name)
    }

    /// A `[[network]]` of a configuration; `more` is further lines of it.
    #[must_use]
    pub fn network(&self, name: &str, bridge: &str, subnet: &str, more: &str) -> String {
        let firewall = FIREWALL.get().filter(|_| !more.contains("firewall"));
        let firewall = firewall.map_or_else(String::new, |word| format!("firewall = \"{word}\"\n"));
        format!(
            "\n[[network]]\nname = \"{name}\"\nbridge = \"{bridge}\"\nsubnet = \"{subnet}\"\n{firewall}{more}\n"
        )
    }

    /// A `[[network.endpoint]]` of a configuration, for the container of that name.
    #[must_use]
    pub fn endpoint(&self, name: &str, address: Ipv4Addr, publish: &[&str]) -> String {
        format!(
            "\n[[network.endpoint]]\nname = \"{name}\"\nnetns = \"{}-{name}\"\nip = \"{address}\"\n\
             publish = {publish:?}\n",
            self.prefix
        )
    }

    /// Runs netpath on this host with a small conntrack table.
    pub fn try_up(&self, config: &str) -> Output {
        let file = self.file("netpath.toml");
        fs::write(&file, format!("[limits]\nconntrack = 65536\n{config}")).unwrap();
        let output = self.netpath(&["up", "-c", file.to_str().unwrap(), "--yes"]);
        if output.status.success() && !OFFLOADS.get() {
            self.offloads_off();
        }
        let rules = self.file("rules.nft");
        if FIREWALL.get().is_some() && output.status.success() && !rules.exists() {
            fs::write(&rules, recommended_rules()).unwrap();
            stdout(&self.host, "nft", &["-f", rules.to_str().unwrap()]);
        }
        output
    }

    /// Turns checksum and segmentation offloads off on every device.
    ///
    /// # Panics
    /// When a device keeps them.
    pub fn offloads_off(&self) {
        for namespace in self.namespaces() {
            let links = within(namespace, || links::links().unwrap());
            for link in links.iter().filter(|link| link.name != "lo") {
                let off = "tx off rx off tso off gso off gro off".split(' ');
                let arguments: Vec<_> = ["-K", &link.name].into_iter().chain(off).collect();
                stdout(namespace, "ethtool", &arguments);
                let features = stdout(namespace, "ethtool", &["-k", &link.name]);
                for feature in ["tx-checksumming", "generic-segmentation-offload"] {
                    let line = format!("{feature}: off");
                    assert!(features.contains(&line), "{}: {features}", link.name);
                }
            }
        }
    }

    /// Host, outside and containers.
    fn namespaces(&self) -> impl Iterator<Item = &Namespace> {
        [&self.host, &self.outside]
            .into_iter()
            .chain(self.containers.values())
    }

    /// The test sends wrong checksums on purpose: stacks may count them.
    pub fn expect_bad_checksums(&mut self) {
        self.bad_checksums = true;
    }

    /// The same, and it must succeed.
    #[track_caller]
    pub fn up(&self, config: &str) -> String {
        succeeded("netpath up", self.try_up(config))
    }

    /// Runs netpath on this host.
    pub fn netpath(&self, arguments: &[&str]) -> Output {
        self.netpath_command().args(arguments).output().unwrap()
    }

    /// Runs netpath on this host; it must succeed. What it printed is the result.
    #[track_caller]
    pub fn run(&self, arguments: &[&str]) -> String {
        succeeded(
            &format!("netpath {}", arguments.join(" ")),
            self.netpath(arguments),
        )
    }

    /// The same, of words with a space between.
    #[track_caller]
    pub fn words(&self, words: &str) -> String {
        succeeded(words, self.try_words(words))
    }

    /// Runs netpath on this host by words with a space between.
    #[must_use]
    pub fn try_words(&self, words: &str) -> Output {
        self.netpath(&words.split(' ').collect::<Vec<_>>())
    }

    /// It must fail, and its message have these parts.
    ///
    /// # Panics
    /// When it did not, or has not.
    #[track_caller]
    pub fn refused(&self, words: &str, parts: &[&str]) {
        let output = self.try_words(words);
        let errors = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{words}: {errors}");
        for part in parts {
            assert!(errors.contains(part), "{words}: no `{part}` in: {errors}");
        }
    }

    /// The command to add arguments to.
    #[must_use]
    pub fn netpath_command(&self) -> Command {
        let mut command = Command::new(binary::netpath());
        command.args(["--netns", self.instance(), "--state-dir"]);
        command.arg(self.file("state")).stdin(Stdio::null());
        command
    }

    /// How many packets were dropped for `reason` so far.
    #[must_use]
    pub fn dropped(&self, reason: DropReason) -> u64 {
        let drops = within(&self.host, || {
            Datapath::open(self.instance())
                .unwrap()
                .expect("nothing is loaded")
                .drops()
                .unwrap()
        });
        drops
            .into_iter()
            .find(|(found, _)| *found == reason)
            .map_or(0, |(_, count)| count)
    }

    /// Every drop so far, for a test that must see none or says what it saw.
    #[must_use]
    pub fn drops(&self) -> BTreeMap<&'static str, u64> {
        let drops = within(&self.host, || {
            Datapath::open(self.instance())
                .unwrap()
                .expect("nothing is loaded")
                .drops()
                .unwrap()
        });
        drops
            .into_iter()
            .filter(|(_, n)| *n > 0)
            .map(|(r, n)| (r.as_str(), n))
            .collect()
    }

    /// Where the pins of this instance are.
    #[must_use]
    pub fn pins(&self) -> PathBuf {
        PathBuf::from("/sys/fs/bpf/netpath").join(self.instance())
    }
}

impl Drop for World {
    fn drop(&mut self) {
        if std::thread::panicking() && self.pins().exists() {
            // What the failed test leaves is the best hint at what went wrong. It may be half a datapath.
            if within(&self.host, || {
                matches!(Datapath::open(self.instance()), Ok(Some(_)))
            }) {
                eprintln!("drops: {:?}", self.drops());
            }
            eprintln!(
                "{}",
                String::from_utf8_lossy(&self.netpath(&["ct", "list"]).stdout)
            );
        }
        let _ = Datapath::remove(self.instance());
        let _ = fs::remove_dir_all(&self.directory);
        if !std::thread::panicking() && !self.bad_checksums {
            self.namespaces().for_each(assert_no_checksum_errors);
        }
    }
}

/// Demands that the stack of a namespace has found every checksum right.
///
/// # Panics
/// When it has not.
pub fn assert_no_checksum_errors(namespace: &Namespace) {
    let errors = checksum_errors(namespace);
    assert_eq!(errors, 0, "checksum errors in {}", namespace.name());
}

/// The standard output of a command that must have succeeded.
///
/// # Panics
/// When it did not.
#[track_caller]
pub fn succeeded(what: &str, output: Output) -> String {
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(
        output.status.success(),
        "`{what}` ended with {}: {errors}",
        output.status
    );
    String::from_utf8(output.stdout).unwrap()
}
