//! Loading, replacing and removing an instance.
//!
//! Owns the order in which maps, programs and pins come and go, and what is undone on failure.
//! Attaches nothing anew.

use std::{
    collections::BTreeMap,
    hash::{DefaultHasher, Hash as _, Hasher as _},
    panic::resume_unwind,
    sync::{Mutex, PoisonError},
    thread,
};

use aya::{
    Ebpf, EbpfLoader,
    programs::{Program, ProgramError},
};
use netpath_common::maps;
use nix::sys::resource::{RLIM_INFINITY, Resource, setrlimit};

use super::{
    Datapath, Error, LoadOptions, OBJECT, attach,
    layout::{self, Layout, PinState},
    pins::{Pins, unlink},
};

impl Datapath {
    /// Loads an instance: creates and pins its maps and programs, and writes its configuration.
    ///
    /// If the instance is loaded already, its maps are kept and its programs replaced, each
    /// attached link in one step. An instance of the same name that belonged to another network
    /// namespace is removed first.
    ///
    /// # Errors
    /// After an error nothing is left of a new instance, and a loaded one goes on as it was.
    pub fn load(instance: &str, o: &LoadOptions) -> Result<Self, Error> {
        let object = OBJECT.ok_or(Error::NoObject)?;
        Self::load_object(instance, o, object)
    }

    /// Takes a loaded instance as it is, if what is pinned is what a [`Datapath::load`] that
    /// returned `stamp` has left: the verifier takes longer than everything else of a change.
    ///
    /// # Errors
    /// The pins cannot be read, or the configuration cannot be written.
    pub fn reuse(instance: &str, o: &LoadOptions, stamp: &str) -> Result<Option<Self>, Error> {
        let Some(datapath) = Self::open(instance).ok().flatten() else {
            return Ok(None);
        };
        if datapath.stamp()? != stamp {
            return Ok(None);
        }
        let config = o.config();
        if datapath.config()? != config {
            datapath.set_config(&config)?;
        }
        Ok(Some(datapath))
    }

    /// Tells what is pinned from what another build of netpath would pin, or a part of it.
    ///
    /// # Errors
    /// The pins cannot be read.
    pub fn stamp(&self) -> Result<String, Error> {
        let mut hash = DefaultHasher::new();
        OBJECT.hash(&mut hash);
        for dir in [self.pins.dir(), &self.pins.programs()] {
            Pins::names(dir)?.hash(&mut hash);
        }
        Ok(format!("{:016x}", hash.finish()))
    }

    pub(super) fn load_object(
        instance: &str,
        o: &LoadOptions,
        object: &[u8],
    ) -> Result<Self, Error> {
        let pins = Pins::of(instance)?;
        let wanted = layout::of_object(object)?;
        let job = Job {
            instance,
            options: o,
            object,
            wanted: &wanted,
        };
        raise_memlock();
        // What a killed `load` left.
        if let Some(e) = pins.pending().remove().pop() {
            return Err(e);
        }
        let datapath = Self {
            instance: instance.to_owned(),
            pins,
        };
        // The configuration is pinned with everything else in one step, so an instance without
        // one is what a killed `remove` left.
        if job.check_one(&datapath.pins, maps::CONFIG)? == PinState::Same {
            match datapath.check_owner(o.netns_cookie) {
                Ok(()) => {
                    job.replace(&datapath)?;
                    return Ok(datapath);
                }
                Err(e @ Error::Stale { .. }) => tracing::info!("replacing what is pinned: {e}"),
                Err(e) => return Err(e),
            }
        }
        Self::remove(instance).map_err(|mut errors| errors.remove(0))?;
        job.create(&datapath.pins)?;
        Ok(datapath)
    }

    /// Detaches and unpins everything of an instance; fine if there is nothing.
    ///
    /// # Errors
    /// All that went wrong; it goes on after each.
    pub fn remove(instance: &str) -> Result<(), Vec<Error>> {
        let pins = Pins::of(instance).map_err(|e| vec![e])?;
        let datapath = Self {
            instance: instance.to_owned(),
            pins,
        };
        let mut errors = attach::detach_all(&datapath);
        errors.extend(datapath.pins.pending().remove());
        errors.extend(datapath.pins.remove());
        if errors.is_empty() {
            Ok(())
        } else {
            Err(errors)
        }
    }
}

/// One call of [`Datapath::load`].
struct Job<'a> {
    instance: &'a str,
    options: &'a LoadOptions,
    object: &'a [u8],
    wanted: &'a [(String, Layout)],
}

impl Job<'_> {
    /// What to do with the pin of each map.
    fn check(&self, pins: &Pins) -> Result<BTreeMap<&str, PinState>, Error> {
        self.wanted
            .iter()
            .map(|(map, layout)| {
                let state = layout::check_pin(self.instance, pins, map, *layout)?;
                Ok((map.as_str(), state))
            })
            .collect()
    }

    fn check_one(&self, pins: &Pins, map: &str) -> Result<PinState, Error> {
        match self.wanted.iter().find(|(name, _)| name == map) {
            Some((_, layout)) => layout::check_pin(self.instance, pins, map, *layout),
            None => Ok(PinState::Missing),
        }
    }

    /// Puts a new instance together aside and gives it its name at the end.
    fn create(&self, pins: &Pins) -> Result<(), Error> {
        let pending = pins.pending();
        let made = pending.create().and_then(|()| {
            let mut ebpf = self.load_maps(&pending, |map| pending.map(map))?;
            for (name, program) in load_programs(&mut ebpf)? {
                pin(program, &pending.program(&name))?;
            }
            let new = Datapath {
                instance: self.instance.to_owned(),
                pins: pending.clone(),
            };
            new.set_next6(|name| pending.program(name))?;
            new.set_config(&self.options.config())?;
            new.reserve_local()?;
            pins.commit(&pending)
        });
        if made.is_err() {
            for e in pending.remove() {
                tracing::error!("{e}");
            }
        }
        made
    }

    /// Replaces the programs of a loaded instance.
    fn replace(&self, datapath: &Datapath) -> Result<(), Error> {
        let pins = &datapath.pins;
        let states = self.check(pins)?;
        let anew = |map: &str| states.get(map) == Some(&PinState::Replace);
        let place = |map: &str| {
            if anew(map) {
                pins.pending_map(map)
            } else {
                pins.map(map)
            }
        };
        let mut programs = Vec::new();
        let replaced = pins.create().and_then(|()| {
            let mut ebpf = self.load_maps(pins, place)?;
            for (name, program) in load_programs(&mut ebpf)? {
                unlink(&pins.pending_program(&name))?;
                pin(program, &pins.pending_program(&name))?;
                programs.push(name);
            }
            datapath.set_next6(|name| pins.pending_program(name))?;
            attach::replace_all(datapath)
        });
        if let Err(e) = replaced {
            undo(pins, &programs, &states);
            return Err(e);
        }
        for name in &programs {
            Pins::rename(&pins.pending_program(name), &pins.program(name))?;
        }
        for map in states.keys().filter(|map| anew(map)) {
            Pins::rename(&pins.pending_map(map), &pins.map(map))?;
        }
        datapath.set_config(&self.options.config())
    }

    fn load_maps(
        &self,
        pins: &Pins,
        place: impl Fn(&str) -> std::path::PathBuf,
    ) -> Result<Ebpf, Error> {
        let mut loader = EbpfLoader::new();
        for table in [maps::CT4, maps::CT6] {
            loader.map_max_entries(table, self.options.conntrack_flows.saturating_mul(2));
        }
        let processors = super::processors()?;
        loader.map_max_entries(maps::RULE_STATS, maps::rule_stats_index(processors, 0));
        let v6only = super::btf::v6only();
        loader.override_global(V6ONLY, &v6only, true);
        for (map, _) in self.wanted {
            unlink(&pins.pending_map(map))?;
            loader.map_pin_path(map, place(map));
        }
        loader.load(self.object).map_err(|source| Error::Load {
            instance: self.instance.to_owned(),
            source: Box::new(source),
        })
    }
}

/// Removes the pins that a failed replacement has made.
fn undo(pins: &Pins, programs: &[String], states: &BTreeMap<&str, PinState>) {
    let maps = states.iter().filter_map(|(map, state)| match state {
        PinState::Replace => Some(pins.pending_map(map)),
        PinState::Missing => Some(pins.map(map)),
        PinState::Same => None,
    });
    for path in programs
        .iter()
        .map(|name| pins.pending_program(name))
        .chain(maps)
    {
        if let Err(e) = unlink(&path) {
            tracing::error!("{e}");
        }
    }
}

/// Tries again where the verifier gave up for a pending signal: it answers EAGAIN then, and a load
/// takes long enough to meet one (`do_check` in `kernel/bpf/verifier.c`; libbpf tries five times, which a busy machine has exceeded).
fn patiently(mut load: impl FnMut() -> Result<(), ProgramError>) -> Result<(), ProgramError> {
    const TRIES: u32 = 100;
    let mut tried = 1;
    loop {
        match load() {
            Err(ProgramError::LoadError { io_error, .. })
                if tried < TRIES && io_error.raw_os_error() == Some(libc::EAGAIN) =>
            {
                tried += 1;
                // Whatever the kernel wants of this thread it gets on its way back.
                thread::yield_now();
            }
            done => return done,
        }
    }
}

/// The constant that tells the socket programs where `IPV6_V6ONLY` is.
const V6ONLY: &str = "NP_SK_V6ONLY";

/// How the names of programs begin that are in the object only to be timed.
const TIMED_ONLY: &str = "np_time_";

/// Loads every program that is to be attached or run; several at a time, for the verifier is where nearly
/// all of the time goes. Returns them in the order of their names.
fn load_programs(ebpf: &mut Ebpf) -> Result<Vec<(String, &mut Program)>, Error> {
    let mut programs: Vec<_> = ebpf
        .programs_mut()
        .filter(|(name, _)| !name.starts_with(TIMED_ONLY))
        .map(|(name, program)| (name.to_owned(), program))
        .collect();
    programs.sort_by(|a, b| a.0.cmp(&b.0));
    let threads = thread::available_parallelism().map_or(1, usize::from);
    // The largest come last by name (`np_uplink_…`, `np_veth…`). They are begun first, so that in the end no
    // processor waits for another one's.
    let queue = Mutex::new(programs.iter_mut().rev());
    let next = || queue.lock().unwrap_or_else(PoisonError::into_inner).next();
    let work = || {
        while let Some((name, program)) = next() {
            load_program(name, program)?;
        }
        Ok(())
    };
    thread::scope(|scope| {
        let others: Vec<_> = (1..threads).map(|_| scope.spawn(work)).collect();
        let mine = work();
        others
            .into_iter()
            .map(|thread| thread.join().unwrap_or_else(|panic| resume_unwind(panic)))
            .fold(mine, Result::and)
    })?;
    Ok(programs)
}

fn load_program(name: &str, program: &mut Program) -> Result<(), Error> {
    #[expect(
        clippy::wildcard_enum_match_arm,
        reason = "every other type of program is an error"
    )]
    let loaded = match program {
        Program::SchedClassifier(p) => patiently(|| p.load()),
        Program::CgroupSockAddr(p) => patiently(|| p.load()),
        Program::Xdp(p) => patiently(|| p.load()),
        other => {
            let what = format!("program {name} has the type {:?}", other.prog_type());
            return Err(Error::BadObject { what });
        }
    };
    loaded.map_err(|source| Error::Program {
        program: name.to_owned(),
        source: Box::new(source),
    })
}

fn pin(program: &mut Program, path: &std::path::Path) -> Result<(), Error> {
    program.pin(path).map_err(|source| Error::Pin {
        path: path.to_owned(),
        source,
    })
}

/// Kernels before 5.11 charge maps to this limit; later ones ignore it.
fn raise_memlock() {
    if let Err(e) = setrlimit(Resource::RLIMIT_MEMLOCK, RLIM_INFINITY, RLIM_INFINITY) {
        tracing::debug!("raising RLIMIT_MEMLOCK failed: {e}");
    }
}
