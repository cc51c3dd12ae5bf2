//! BPF_PROG_TEST_RUN on the real object.
//!
//! Owns loading (privately, without pins) and the maps. Owns no case; the namespace is that
//! of the standard host, the system call [`crate::test_run`]'s.

use std::{collections::BTreeMap, env, io, os::fd::AsFd as _, path::PathBuf};

use aya::{
    Ebpf, EbpfLoader,
    maps::{Array, PerCpuArray, ProgramArray},
    programs::{Program, ProgramError, SchedClassifier},
    util::nr_cpus,
};
use netpath_common::{
    DropReason, V6,
    counters::Counter,
    event::Hook,
    maps,
    records::{EndpointStats, RuleStats},
    testing::{Frame, MemTables},
    tuple::Tuple,
};

use crate::{
    at_once::proposal,
    standard_host::{own_namespace, run_ip},
    test_run::{self, CHECKSUM_COMPLETE, Input, Output},
};

/// Leave the frame to the next program or the stack.
pub const NEXT: i32 = -1;
/// Drop it.
pub const SHOT: i32 = 2;
/// Send it elsewhere.
pub const REDIRECT: i32 = 7;

/// What one run of a program did.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Ran {
    /// What the program returned.
    pub action: i32,
    /// The frame afterwards.
    pub bytes: Vec<u8>,
}

/// The loaded programs and their maps.
pub struct Runner {
    pub(crate) ebpf: Ebpf,
    /// What user space would write; [`Runner::sync`] writes it.
    pub tables: MemTables,
    /// The same of IPv6, as far as it has maps of its own.
    pub tables6: MemTables<V6>,
}

/// The eBPF object under test.
///
/// # Panics
/// Where it was not built.
#[must_use]
pub fn object() -> PathBuf {
    let path = env::var_os("NETPATH_EBPF_OBJECT_PATH").map_or_else(
        || {
            PathBuf::from(env!("CARGO_MANIFEST_DIR"))
                .join("../target/ebpf/bpfel-unknown-none/bpf/netpath-ebpf")
        },
        PathBuf::from,
    );
    assert!(
        path.is_file(),
        "{} is missing: build it with `cargo xtask build`, or name it in NETPATH_EBPF_OBJECT_PATH",
        path.display()
    );
    path
}

impl Default for Runner {
    fn default() -> Self {
        Self::new()
    }
}

impl Runner {
    /// Loads the object and fills the maps with the standard host.
    ///
    /// # Panics
    /// Without root, without the object, or where the kernel refuses it.
    #[must_use]
    pub fn new() -> Self {
        Self::with_entries(1024)
    }

    /// As [`Runner::new`], with room for as many conntrack entries, two a flow.
    ///
    /// # Panics
    /// As [`Runner::new`].
    #[must_use]
    pub fn with_entries(entries: u32) -> Self {
        let object = object();
        own_namespace();
        let mut ebpf = EbpfLoader::new()
            .map_max_entries(maps::CT4, entries)
            .map_max_entries(maps::RULE_STATS, maps::rule_stats_index(processors(), 0))
            .load_file(&object)
            .unwrap_or_else(|e| panic!("{}: {e}", object.display()));
        for name in [
            "np_veth",
            "np_bridge",
            "np_uplink_in",
            "np_uplink_out",
            "np_collect",
            "np_uplink_xdp",
            "np_uplink_xdp_nat",
        ] {
            let program = ebpf.program_mut(name).unwrap();
            load(program).unwrap_or_else(|e| panic!("{name}: {e}"));
        }
        let mut runner = Self {
            ebpf,
            tables: MemTables::standard(1),
            tables6: MemTables::standard6(1),
        };
        runner.sync();
        runner
    }

    /// As [`Runner::new`] with the programs for IPv6, whose verification takes a second.
    ///
    /// # Panics
    /// As [`Runner::new`].
    #[must_use]
    pub fn dual() -> Self {
        let mut runner = Self::new();
        for name in ["np_veth6", "np_uplink_in6", "np_uplink_out6", "np_collect6"] {
            runner.load(name);
        }
        connect_ipv6(&mut runner.ebpf);
        runner
    }

    /// Hands what comes in by tunnels to the program for uplinks.
    ///
    /// # Panics
    /// When the kernel refuses.
    pub fn connect_tunnels(&mut self) {
        let programs = [(maps::TUNNEL_IN, "np_uplink_in")];
        connect(&mut self.ebpf, maps::TUNNEL, &programs);
    }

    /// Runs `ip` in the namespace of the programs.
    ///
    /// # Panics
    /// Where it fails.
    #[track_caller]
    pub fn ip(&self, arguments: &str) {
        run_ip(arguments);
    }

    /// Loads a program that [`Runner::new`] leaves out, unless that has been done.
    ///
    /// # Panics
    /// Where the object lacks it, or the kernel refuses it.
    pub fn load(&mut self, name: &str) {
        let program = self.ebpf.program_mut(name);
        let program = program.unwrap_or_else(|| panic!("the object has no program {name}"));
        if program.fd().is_err() {
            load(program).unwrap_or_else(|e| panic!("{name}: {e}"));
        }
    }

    /// Runs a program as `input` says.
    ///
    /// # Errors
    /// What the kernel says, for example EINVAL for a frame that is shorter than it takes.
    ///
    /// # Panics
    /// Where the program is not loaded.
    pub fn test_run(&self, program: &str, input: &Input<'_>) -> io::Result<Output> {
        let program = self.ebpf.program(program).unwrap();
        if let Program::Xdp(p) = program {
            return test_run::xdp(p.fd().unwrap().as_fd(), input);
        }
        let p: &SchedClassifier = program.try_into().unwrap();
        test_run::tc(p.fd().unwrap().as_fd(), input)
    }

    fn run_once(&self, program: &str, frame: &Frame, flags: u32) -> io::Result<Ran> {
        let out = self.test_run(
            program,
            &Input {
                gso_size: frame.gso_size,
                flags,
                ..Input::new(&frame.bytes, frame.ifindex)
            },
        )?;
        Ok(Ran {
            action: out.action,
            bytes: out.bytes,
        })
    }

    /// Runs the program of a hook on a frame.
    ///
    /// # Panics
    /// When the kernel refuses to run it.
    #[track_caller]
    pub fn run(&mut self, hook: Hook, frame: &Frame) -> Ran {
        let ran = self.run_once(program_of(hook), frame, 0).unwrap();
        crate::judged::check(hook, frame, &ran);
        ran
    }

    /// As [`Runner::run`] with the checksum of the whole frame known to the kernel, which checks
    /// after the run that it still holds.
    ///
    /// # Errors
    /// EBADMSG where it does not.
    pub fn run_checksummed(&mut self, hook: Hook, frame: &Frame) -> io::Result<Ran> {
        let ran = self.run_once(program_of(hook), frame, CHECKSUM_COMPLETE)?;
        crate::judged::check(hook, frame, &ran);
        Ok(ran)
    }

    /// Gives keys to the collector; how many flows it removed.
    ///
    /// # Panics
    /// When the kernel refuses to run it.
    #[track_caller]
    pub fn collect(&mut self, keys: &[Tuple], force: bool) -> i32 {
        let frame = proposal(keys, force);
        self.run_once("np_collect", &frame, 0).unwrap().action
    }

    /// As [`Runner::collect`], of IPv6.
    ///
    /// # Panics
    /// When the kernel refuses to run it.
    #[track_caller]
    pub fn collect6(&mut self, keys: &[Tuple<V6>], force: bool) -> i32 {
        let frame = proposal(keys, force);
        self.run_once("np_collect6", &frame, 0).unwrap().action
    }

    /// How many packets each endpoint slot was given, in the order of the slots.
    ///
    /// # Panics
    /// When the kernel refuses to read the map.
    #[must_use]
    pub fn received(&self) -> Vec<u64> {
        let map: PerCpuArray<_, EndpointStats> =
            PerCpuArray::try_from(self.ebpf.map(maps::ENDPOINT_STATS).unwrap()).unwrap();
        (0..self.tables.endpoints.len() as u32)
            .map(|slot| {
                map.get(&slot, 0)
                    .unwrap()
                    .iter()
                    .map(|s| s.given().packets)
                    .sum()
            })
            .collect()
    }

    /// The counters of a publishing rule.
    ///
    /// # Panics
    /// When the kernel refuses to read the map.
    #[must_use]
    pub fn rule_stats(&self, slot: u16) -> RuleStats {
        let map: Array<_, RuleStats> =
            Array::try_from(self.ebpf.map(maps::RULE_STATS).unwrap()).unwrap();
        let of_cpu = |cpu| map.get(&maps::rule_stats_index(cpu, slot), 0).unwrap();
        (0..processors())
            .map(of_cpu)
            .fold(RuleStats::default(), |sum, s| RuleStats {
                packets: sum.packets + s.packets,
                bytes: sum.bytes + s.bytes,
            })
    }

    /// Every counter and drop counter that is not zero, by its text.
    #[must_use]
    pub fn counters(&self) -> BTreeMap<&'static str, u64> {
        let read = |name: &str, count: usize| -> Vec<u64> {
            let map = self.ebpf.map(name).unwrap();
            let map = PerCpuArray::<_, u64>::try_from(map).unwrap();
            let sum = |i| map.get(&i, 0).unwrap().iter().sum();
            (0..count as u32).map(sum).collect()
        };
        let counters = read(maps::COUNTERS, Counter::COUNT);
        let drops = read(maps::DROPS, DropReason::COUNT);
        let counters = Counter::ALL.iter().map(|c| c.as_str()).zip(counters);
        let drops = DropReason::ALL.iter().map(|r| r.as_str()).zip(drops);
        counters.chain(drops).filter(|(_, n)| *n != 0).collect()
    }
}

fn processors() -> u32 {
    nr_cpus().unwrap() as u32
}

/// Hands frames of IPv6 to the programs for them.
fn connect_ipv6(ebpf: &mut Ebpf) {
    let programs = [
        (maps::NEXT6_VETH, "np_veth6"),
        (maps::NEXT6_UPLINK_IN, "np_uplink_in6"),
        (maps::NEXT6_UPLINK_OUT, "np_uplink_out6"),
    ];
    connect(ebpf, maps::NEXT6, &programs);
}

/// Puts programs in their places in a map.
fn connect(ebpf: &mut Ebpf, map: &str, programs: &[(u32, &str)]) {
    let fds: Vec<_> = programs
        .iter()
        .map(|(index, name)| {
            let p: &SchedClassifier = ebpf.program(name).unwrap().try_into().unwrap();
            (*index, p.fd().unwrap().try_clone().unwrap())
        })
        .collect();
    let mut next = ProgramArray::try_from(ebpf.map_mut(map).unwrap()).unwrap();
    for (index, fd) in fds {
        next.set(index, &fd, 0).unwrap();
    }
}

/// The program of a hook.
#[must_use]
pub const fn program_of(hook: Hook) -> &'static str {
    match hook {
        Hook::Veth => "np_veth",
        Hook::Bridge => "np_bridge",
        Hook::UplinkIngress => "np_uplink_in",
        Hook::UplinkEgress => "np_uplink_out",
        Hook::Xdp => "np_uplink_xdp",
        Hook::Loopback => "np_lo_in",
    }
}

/// Loads a program. The verifier answers EAGAIN where a signal is pending: then once more.
fn load(program: &mut Program) -> Result<(), ProgramError> {
    let mut once = || {
        if let Program::Xdp(p) = program {
            return p.load();
        }
        let p: &mut SchedClassifier = program.try_into()?;
        p.load()
    };
    for _ in 0..100 {
        match once() {
            Err(ProgramError::LoadError { io_error, .. })
                if io_error.raw_os_error() == Some(libc::EAGAIN) =>
            {
                std::thread::yield_now();
            }
            done => return done,
        }
    }
    once()
}
