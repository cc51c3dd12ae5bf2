//! BPF_PROG_TEST_RUN on the real object.
//!
//! Owns loading (privately, without pins), a network namespace of its own with interfaces where the
//! records of [`MemTables::standard`] expect them, and one run of a program. Owns no case.

use std::{collections::BTreeMap, env, io, path::PathBuf, process::Command};

use aya::{
    Ebpf, EbpfLoader,
    maps::{Array, HashMap, LpmTrie, PerCpuArray, lpm_trie::Key},
    programs::{ProgramError, SchedClassifier},
};
use netpath_common::{
    DropReason,
    conntrack::CtEntry,
    counters::Counter,
    event::Hook,
    maps,
    records::RuleRecord,
    testing::{BRIDGE1_IF, BRIDGE2_IF, C1, C2, C3, Frame, MemTables, UPLINK_IF},
    tuple::Tuple,
};

/// Leave the frame to the next program or the stack.
pub const NEXT: i32 = -1;
/// Drop it.
pub const SHOT: i32 = 2;
/// Send it elsewhere.
pub const REDIRECT: i32 = 7;

/// `BPF_F_TEST_SKB_CHECKSUM_COMPLETE`: the run fails where a rewrite leaves `skb->csum` wrong.
const CHECKSUM_COMPLETE: u32 = 4;
const BPF_PROG_TEST_RUN: libc::c_int = 10;

/// What one run of a program did.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Ran {
    /// What the program returned.
    pub action: i32,
    /// The frame afterwards.
    pub bytes: Vec<u8>,
}

/// The part of `union bpf_attr` that BPF_PROG_TEST_RUN reads.
#[repr(C)]
#[derive(Default)]
struct TestRun {
    prog_fd: u32,
    retval: u32,
    data_size_in: u32,
    data_size_out: u32,
    data_in: u64,
    data_out: u64,
    repeat: u32,
    duration: u32,
    ctx_size_in: u32,
    ctx_size_out: u32,
    ctx_in: u64,
    ctx_out: u64,
    flags: u32,
    cpu: u32,
    batch_size: u32,
    pad: u32,
}

/// The loaded programs and their maps.
pub struct Runner {
    ebpf: Ebpf,
    /// What user space would write; [`Runner::sync`] writes it.
    pub tables: MemTables,
}

fn object() -> PathBuf {
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

fn run_ip(arguments: &str) {
    let out = Command::new("ip").args(arguments.split(' ')).output();
    let out = out.unwrap_or_else(|e| panic!("cannot run ip: {e}"));
    let errors = String::from_utf8_lossy(&out.stderr);
    assert!(out.status.success(), "ip {arguments}: {errors}");
}

/// Puts the calling thread into a network namespace of its own, which ends with the thread.
fn own_namespace() {
    assert!(nix::unistd::geteuid().is_root(), "program tests need root");
    nix::sched::unshare(nix::sched::CloneFlags::CLONE_NEWNET).unwrap();
    for (ifindex, name) in [
        (UPLINK_IF, "uplink"),
        (BRIDGE1_IF, "bridge1"),
        (BRIDGE2_IF, "bridge2"),
        (C1.ifindex, "c1"),
        (C2.ifindex, "c2"),
        (C3.ifindex, "c3"),
    ] {
        let peer = 100 + ifindex;
        run_ip(&format!(
            "link add {name} index {ifindex} type veth peer name {name}-peer index {peer}"
        ));
        run_ip(&format!("link set {name}-peer up"));
        run_ip(&format!("link set {name} up"));
    }
    run_ip("link set uplink address 02:00:00:00:00:01");
    run_ip("link set lo up");
    run_ip("addr add 192.0.2.1/24 dev uplink");
    run_ip("addr add 172.17.0.1/16 dev bridge1");
    run_ip("addr add 172.18.0.1/16 dev bridge2");
    run_ip("route add default via 192.0.2.254");
    std::fs::write("/proc/sys/net/ipv4/ip_forward", "1").unwrap();
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
        let object = object();
        own_namespace();
        let mut ebpf = EbpfLoader::new()
            .map_max_entries(maps::CT4, 1024)
            .load_file(&object)
            .unwrap_or_else(|e| panic!("{}: {e}", object.display()));
        for name in [
            "np_veth",
            "np_bridge",
            "np_uplink_in",
            "np_uplink_out",
            "np_collect",
        ] {
            let program: &mut SchedClassifier = ebpf.program_mut(name).unwrap().try_into().unwrap();
            load(program).unwrap_or_else(|e| panic!("{name}: {e}"));
        }
        let mut runner = Self {
            ebpf,
            tables: MemTables::standard(1),
        };
        runner.sync();
        runner
    }

    /// Writes what user space writes.
    pub fn sync(&mut self) {
        let (ebpf, t) = (&mut self.ebpf, &self.tables);
        macro_rules! array {
            ($name:expr, $values:expr) => {
                let mut map = Array::try_from(ebpf.map_mut($name).unwrap()).unwrap();
                for (slot, value) in $values.into_iter().enumerate() {
                    map.set(slot as u32, value, 0).unwrap();
                }
            };
        }
        macro_rules! hash {
            ($name:expr, $key:ty, $values:expr) => {
                let values: Vec<_> = $values.into_iter().collect();
                let mut map = HashMap::try_from(ebpf.map_mut($name).unwrap()).unwrap();
                let old: Vec<$key> = map.keys().map(Result::unwrap).collect();
                for key in old.iter().filter(|k| !values.iter().any(|(v, _)| v == *k)) {
                    map.remove(key).unwrap();
                }
                for (key, value) in values {
                    map.insert(key, value, 0).unwrap();
                }
            };
        }
        array!(maps::ENDPOINTS, t.endpoints.iter().copied());
        array!(maps::NETWORKS, t.networks.iter().copied());
        array!(maps::UPLINKS, t.uplinks.iter().copied());
        array!(
            maps::RULES,
            t.rules.iter().map(|generation| RuleRecord {
                generation: *generation,
                zero: 0
            })
        );
        array!(maps::CONFIG, t.config);
        let mut reserved: Array<_, u64> =
            Array::try_from(ebpf.map_mut(maps::RESERVED).unwrap()).unwrap();
        for (slot, word) in t.reserved_words().iter().enumerate() {
            reserved.set(slot as u32, *word, 0).unwrap();
        }
        hash!(maps::IFACES, u32, t.ifaces.iter().map(|(k, v)| (*k, *v)));
        hash!(
            maps::ENDPOINT_BY_ADDR4,
            [u8; 4],
            t.endpoint_by_addr.iter().map(|(k, v)| (*k, u32::from(*v)))
        );
        hash!(
            maps::HOST_ADDRS4,
            [u8; 4],
            t.host_addrs.iter().map(|a| (*a, UPLINK_IF))
        );
        hash!(
            maps::PUBLISHED4,
            netpath_common::records::PublishedKey,
            t.published.iter().map(|(k, v)| (*k, *v))
        );
        let mut subnets: LpmTrie<_, [u8; 4], u32> =
            LpmTrie::try_from(ebpf.map_mut(maps::SUBNETS4).unwrap()).unwrap();
        for (subnet, len, slot) in &t.subnets {
            subnets
                .insert(&Key::new(u32::from(*len), *subnet), u32::from(*slot), 0)
                .unwrap();
        }
    }

    /// Runs `ip` in the namespace of the programs.
    ///
    /// # Panics
    /// Where it fails.
    #[track_caller]
    pub fn ip(&self, arguments: &str) {
        run_ip(arguments);
    }

    fn test_run(&self, program: &str, frame: &Frame, flags: u32) -> io::Result<Ran> {
        let bytes = &frame.bytes;
        let program: &SchedClassifier = self.ebpf.program(program).unwrap().try_into().unwrap();
        let fd = program.fd().unwrap();
        // struct __sk_buff: ingress_ifindex at 36, ifindex at 40, gso_size at 176.
        let mut ctx = [0_u8; 192];
        ctx[36..40].copy_from_slice(&frame.ifindex.to_ne_bytes());
        ctx[40..44].copy_from_slice(&frame.ifindex.to_ne_bytes());
        ctx[176..180].copy_from_slice(&frame.gso_size.to_ne_bytes());
        let mut out = vec![0_u8; bytes.len() + 256];
        let mut attr = TestRun {
            prog_fd: std::os::fd::AsRawFd::as_raw_fd(&std::os::fd::AsFd::as_fd(fd)) as u32,
            data_size_in: bytes.len() as u32,
            data_size_out: out.len() as u32,
            data_in: bytes.as_ptr() as u64,
            data_out: out.as_mut_ptr() as u64,
            repeat: 1,
            ctx_size_in: ctx.len() as u32,
            ctx_in: ctx.as_ptr() as u64,
            flags,
            ..TestRun::default()
        };
        // SAFETY: the attribute and the buffers that it names outlive the call.
        let code = unsafe {
            libc::syscall(
                libc::SYS_bpf,
                BPF_PROG_TEST_RUN,
                &raw mut attr,
                size_of::<TestRun>(),
            )
        };
        if code < 0 {
            return Err(io::Error::last_os_error());
        }
        out.truncate(attr.data_size_out as usize);
        Ok(Ran {
            action: attr.retval as i32,
            bytes: out,
        })
    }

    /// Runs the program of a hook on a frame.
    ///
    /// # Panics
    /// When the kernel refuses to run it.
    #[track_caller]
    pub fn run(&mut self, hook: Hook, frame: &Frame) -> Ran {
        self.test_run(program_of(hook), frame, 0).unwrap()
    }

    /// As [`Runner::run`] with the checksum of the whole frame known to the kernel, which checks
    /// after the run that it still holds.
    ///
    /// # Errors
    /// EBADMSG where it does not.
    pub fn run_checksummed(&mut self, hook: Hook, frame: &Frame) -> io::Result<Ran> {
        self.test_run(program_of(hook), frame, CHECKSUM_COMPLETE)
    }

    /// Gives keys to the collector; how many flows it removed.
    ///
    /// # Panics
    /// When the kernel refuses to run it.
    #[track_caller]
    pub fn collect(&mut self, keys: &[Tuple], force: bool) -> i32 {
        let mut bytes = vec![0_u8; 14];
        bytes.extend([u8::from(force), keys.len() as u8]);
        for key in keys {
            bytes.extend(bytemuck::bytes_of(key));
        }
        let frame = Frame {
            bytes,
            ifindex: UPLINK_IF,
            ..Frame::default()
        };
        self.test_run("np_collect", &frame, 0).unwrap().action
    }

    /// Every conntrack entry.
    #[must_use]
    pub fn flows(&self) -> Vec<(Tuple, CtEntry)> {
        let map: HashMap<_, Tuple, CtEntry> =
            HashMap::try_from(self.ebpf.map(maps::CT4).unwrap()).unwrap();
        map.iter().map(Result::unwrap).collect()
    }

    /// Every counter and drop counter that is not zero, by its text.
    #[must_use]
    pub fn counters(&self) -> BTreeMap<&'static str, u64> {
        let read = |name: &str, count: usize| -> Vec<u64> {
            let map: PerCpuArray<_, u64> =
                PerCpuArray::try_from(self.ebpf.map(name).unwrap()).unwrap();
            (0..count as u32)
                .map(|i| map.get(&i, 0).unwrap().iter().sum())
                .collect()
        };
        let counters = read(maps::COUNTERS, Counter::COUNT);
        let drops = read(maps::DROPS, DropReason::COUNT);
        let counters = Counter::ALL.iter().map(|c| c.as_str()).zip(counters);
        let drops = DropReason::ALL.iter().map(|r| r.as_str()).zip(drops);
        counters.chain(drops).filter(|(_, n)| *n != 0).collect()
    }
}

const fn program_of(hook: Hook) -> &'static str {
    match hook {
        Hook::Veth => "np_veth",
        Hook::Bridge => "np_bridge",
        Hook::UplinkIngress => "np_uplink_in",
        Hook::UplinkEgress => "np_uplink_out",
    }
}

/// Loads a program. The verifier answers EAGAIN where a signal is pending: then once more.
fn load(program: &mut SchedClassifier) -> Result<(), ProgramError> {
    for _ in 0..4 {
        match program.load() {
            Err(ProgramError::LoadError { io_error, .. })
                if io_error.raw_os_error() == Some(libc::EAGAIN) => {}
            done => return done,
        }
    }
    program.load()
}
