//! An endpoint whose namespace dies: noticed, its ports and address free, and made again when the
//! namespace is back.

use std::{
    fs,
    io::ErrorKind,
    net::{Ipv4Addr, TcpListener},
    process::{Child, Command},
};

use netpath::bpf::Datapath;
use netpath_tests::{
    agent::Agent,
    netns::{Namespace, command, within},
    probe::{SOON, at, pings, tcp, tcp_server},
    topology::{A, B, HOST, OUTSIDE, World},
    wait,
};
use serde_json::Value;

pub(crate) fn json(world: &World, words: &[&str]) -> Value {
    let words: Vec<&str> = std::iter::once("--json")
        .chain(words.iter().copied())
        .collect();
    serde_json::from_str(&world.run(&words)).unwrap()
}

/// An endpoint as `endpoint ls` shows it; null where it is not there.
pub(crate) fn endpoint(world: &World, name: &str) -> Value {
    let all = json(world, &["endpoint", "ls"]);
    let all = all.as_array().unwrap();
    all.iter()
        .find(|e| e["name"] == name)
        .cloned()
        .unwrap_or_default()
}

/// Its state and what has drifted, as `status` shows them.
pub(crate) fn status(world: &World, name: &str) -> (String, String) {
    let all = json(world, &["status"]);
    let all_endpoints = all["endpoints"].as_array().unwrap();
    let e = all_endpoints
        .iter()
        .find(|e| e["name"] == name)
        .cloned()
        .unwrap_or_default();
    (
        e["state"].as_str().unwrap_or("none").to_owned(),
        all["drift"].to_string(),
    )
}

/// Ends the namespace of a container, and waits until the kernel has taken its interfaces.
pub(crate) fn end(world: &mut World, name: &str) {
    let veth = endpoint(world, name)["interface"]
        .as_str()
        .unwrap()
        .to_owned();
    drop(world.take_container(name));
    wait::until("the interface has gone with its namespace", || {
        !command(&world.host, "ip", &["link", "show", &veth])
            .status
            .success()
    });
}

fn binds(world: &World, port: u16) -> bool {
    within(&world.host, || match TcpListener::bind(("0.0.0.0", port)) {
        Ok(_) => true,
        Err(e) => {
            assert_eq!(e.kind(), ErrorKind::AddrInUse);
            false
        }
    })
}

fn live_flows(world: &World, slot: u16) -> u64 {
    within(&world.host, || {
        let datapath = Datapath::open(world.instance()).unwrap().unwrap();
        datapath.live_flows(slot).unwrap()
    })
}

/// Nothing of `a` is left but the memory of it.
fn is_free(world: &World) {
    assert_eq!(endpoint(world, "a")["state"], "gone");
    assert_eq!(status(world, "a"), ("gone".into(), "[]".into()));
    assert!(binds(world, 8080));
    assert_eq!(live_flows(world, 1), 0);
    assert_eq!(world.run(&["ct", "list"]), "");
    let plain = world.run(&["status"]);
    assert!(plain.contains("(gone: there is no `"), "{plain}");
}

#[test]
fn it_is_noticed_without_an_agent_and_comes_back() {
    let mut world = World::dual_stack(&["a", "b", "c"]);
    let config = world.dual_stack_config(&["a", "b"], &["8080:80"], "");
    world.up(&config);
    world.run(&["publish", "a", "8081:80"]);
    assert!(pings(world.container("a"), OUTSIDE, SOON));
    assert!(live_flows(&world, 1) > 0);
    let before = endpoint(&world, "a");
    end(&mut world, "a");
    // Looking changes nothing.
    let (state, drift) = status(&world, "a");
    assert!(
        state == "gone" && drift.contains("its interface"),
        "{drift}"
    );
    assert!(!binds(&world, 8080));

    // Any change does.
    let c = world.container("c").name().to_owned();
    world.words(&format!(
        "endpoint add --network bridge --netns {c} --name c"
    ));
    is_free(&world);
    // The address is nobody's, but is not given away either while there are others.
    assert_eq!(endpoint(&world, "c")["address"], "172.17.0.4");
    let refused = world.netpath(&["publish", "a", "9000:90"]);
    let text = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(
        text.contains("endpoint `a` is gone with its network namespace"),
        "{text}"
    );
    assert_eq!(world.up(&config).trim(), "nothing to change");
    assert_eq!(endpoint(&world, "a")["state"], "gone");

    world.add_container("a");
    let printed = world.up(&config);
    assert!(printed.contains("add endpoint a"), "{printed}");
    let after = endpoint(&world, "a");
    for key in ["address", "address6", "mac", "ports", "state"] {
        assert_eq!(after[key], before[key], "{key}");
    }
    assert_eq!(world.up(&config).trim(), "nothing to change");
    let _server = tcp_server(world.container("a"), "a", 80);
    for port in [8080, 8081] {
        assert!(tcp(&world.outside, at(HOST, port)).is_from("a", OUTSIDE));
    }
    assert!(pings(world.container("b"), A, SOON));
}

#[test]
fn the_agent_notices_it_at_once() {
    let mut world = World::dual_stack(&["a", "b"]);
    let config = world.dual_stack_config(&["a", "b"], &["8080:80"], "");
    world.up(&config);
    assert!(pings(world.container("a"), OUTSIDE, SOON));
    let agent = Agent::start(&world);
    agent.wait_until_ready();
    end(&mut world, "a");
    wait::until("the agent has noticed", || status(&world, "a").1 == "[]");
    is_free(&world);
    let name = world.add_container("a");
    world.words(&format!(
        "endpoint add --network bridge --netns {name} --name a"
    ));
    assert_eq!(endpoint(&world, "a")["address"], A.to_string());
    assert!(agent.terminate());
}

#[test]
fn an_address_of_one_that_is_gone_is_given_out_last() {
    let mut world = World::new(&["a", "b", "c", "d"]);
    world.words("network create --subnet 10.9.0.0/29 n");
    let add = |world: &World, name: &str| {
        let netns = world.container(name).name().to_owned();
        world.words(&format!(
            "endpoint add --network n --netns {netns} --name {name}"
        ));
        endpoint(world, name)["address"]
            .as_str()
            .unwrap()
            .to_owned()
    };
    assert_eq!(add(&world, "a"), "10.9.0.2");
    end(&mut world, "a");
    assert_eq!(add(&world, "b"), "10.9.0.3");
    assert_eq!(add(&world, "c"), "10.9.0.4");
    for name in ["e", "f"] {
        world.add_container(name);
        add(&world, name);
    }
    // 10.9.0.1 is the gateway, 3 to 6 are taken.
    assert_eq!(add(&world, "d"), "10.9.0.2");
    // Its former owner comes back and has none.
    world.add_container("a");
    let file = world.file("empty.toml");
    fs::write(&file, "").unwrap();
    let up = world.netpath(&["up", "-c", file.to_str().unwrap()]);
    let text = String::from_utf8_lossy(&up.stderr).into_owned();
    assert!(
        up.status.success() && text.contains("endpoint `a` waits on"),
        "{text}"
    );
    world.run(&["endpoint", "rm", "b"]);
    let printed = world.run(&["up", "-c", file.to_str().unwrap()]);
    assert!(printed.contains("add endpoint a (10.9.0.3 in"), "{printed}");
    assert!(pings(
        world.container("d"),
        Ipv4Addr::new(10, 9, 0, 3),
        SOON
    ));
}

/// A process with a network namespace of its own.
struct Process(Child);

impl Process {
    fn start() -> Self {
        let child = Command::new("unshare")
            .args(["--net", "sleep", "1000"])
            .spawn()
            .unwrap();
        let process = Self(child);
        let own = fs::read_link("/proc/self/ns/net").unwrap();
        wait::until("it has a namespace of its own", || {
            fs::read_link(format!("/proc/{}/ns/net", process.0.id())).is_ok_and(|n| n != own)
        });
        process
    }

    fn id(&self) -> String {
        self.0.id().to_string()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn a_process_names_its_namespace() {
    let world = World::new(&[]);
    world.words("network create --subnet 172.17.0.0/16 n");
    let (one, two) = (Process::start(), Process::start());
    for (name, netns) in [("a", one.id()), ("b", format!("pid:{}", two.id()))] {
        world.words(&format!(
            "endpoint add --network n --netns {netns} --name {name}"
        ));
    }
    assert_eq!(endpoint(&world, "a")["netns"], format!("pid:{}", one.id()));
    assert!(pings(&world.host, A, SOON) && pings(&world.host, B, SOON));
    let veth = endpoint(&world, "a")["interface"]
        .as_str()
        .unwrap()
        .to_owned();
    drop(one);
    wait::until("the interface has gone with its namespace", || {
        !command(&world.host, "ip", &["link", "show", &veth])
            .status
            .success()
    });
    // The number will be another process's: there is nothing to wait for.
    world.run(&["publish", "b", "8080:80"]);
    assert_eq!(endpoint(&world, "a"), Value::Null);
    let gone = u32::MAX / 2;
    let refused = world.netpath(&[
        "endpoint",
        "add",
        "--network",
        "n",
        "--netns",
        &gone.to_string(),
        "--name",
        "x",
    ]);
    let text = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(
        text.contains(&format!("there is no process {gone}")),
        "{text}"
    );
}

#[test]
fn a_number_that_is_a_name_as_well_is_not_guessed_at() {
    let world = World::new(&[]);
    world.words("network create --subnet 172.17.0.0/16 n");
    // No process has such a number.
    let number = (5_000_000_000 + u64::from(std::process::id())).to_string();
    let netns = Namespace::create(&number).unwrap();
    let add = |netns: &str| {
        world.try_words(&format!(
            "endpoint add --network n --netns {netns} --name a"
        ))
    };
    let refused = add(&number);
    let text = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert_eq!(refused.status.code(), Some(2), "{text}");
    assert!(
        text.contains(&format!("write /run/netns/{number}")),
        "{text}"
    );
    assert!(add(&format!("/run/netns/{number}")).status.success());
    assert!(pings(&netns, Ipv4Addr::new(172, 17, 0, 1), SOON));
}

#[test]
fn one_that_was_never_there_is_an_error_unless_it_may_be_waited_for() {
    let mut world = World::new(&["a"]);
    let config = world.network("bridge", "netpath0", "172.17.0.0/16", "")
        + &world.endpoint("a", A, &["8080:80"])
        + &world.endpoint("late", B, &["9090:80"]);
    let refused = world.try_up(&config);
    let text = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(
        !refused.status.success() && text.contains("does not exist"),
        "{text}"
    );
    let file = world.file("netpath.toml");
    let up = ["up", "-c", file.to_str().unwrap(), "--absent-ok"];
    let printed = world.run(&up);
    assert!(
        printed.contains("endpoint late of network bridge waits"),
        "{printed}"
    );
    assert_eq!(world.run(&up).trim(), "nothing to change");
    assert!(pings(world.container("a"), OUTSIDE, SOON));
    world.add_container("late");
    assert!(world.run(&up).contains("add endpoint late"));
    let _server = tcp_server(world.container("late"), "late", 80);
    assert!(tcp(&world.outside, at(HOST, 9090)).is_from("late", OUTSIDE));
}
