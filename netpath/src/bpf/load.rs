//! Loading, replacing and removing an instance.
//!
//! Owns the order in which maps, programs and pins come and go, and what is undone on failure.
//! Attaches nothing anew. The loading of programs itself is `programs`'.

use std::{
    collections::BTreeMap,
    hash::{DefaultHasher, Hash as _, Hasher as _},
};

use aya::{Ebpf, EbpfLoader};
use netpath_common::{maps, records::Config};
use nix::sys::resource::{RLIM_INFINITY, Resource, setrlimit};

use super::{
    Datapath, Error, LoadOptions, Needs, OBJECT, attach,
    layout::{self, Layout, PinState},
    pins::{Pins, unlink},
    programs::{load_programs, pin},
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
    /// returned `stamp` has left: the verifier takes longer than everything else of a change. Programs
    /// that are needed from now on are added; the stamp is another one then.
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
        let there = Needs::of(&datapath.pins);
        if o.needs.are_beyond(there) {
            let object = OBJECT.ok_or(Error::NoObject)?;
            Job::of(instance, config, o.conntrack_flows, object)?.add(&datapath, o.needs)?;
        }
        Ok(Some(datapath))
    }

    /// Lets a loaded instance do what its next networks need; everything else stays as it is set.
    /// `stamp` as for [`Datapath::reuse`]: where it is of another build and programs are missing, that
    /// one's are replaced. Whether programs were loaded: only then the stamp is another one.
    ///
    /// # Errors
    /// The kernel refuses. After an error the instance goes on as it was.
    pub fn extend(
        &self,
        needs: Needs,
        conntrack_flows: u32,
        stamp: Option<&str>,
    ) -> Result<bool, Error> {
        let old = self.config()?;
        let flags = old.flags | needs.flags();
        let config = Config { flags, ..old };
        let loads = needs.are_beyond(Needs::of(&self.pins));
        if loads {
            let object = OBJECT.ok_or(Error::NoObject)?;
            let job = Job::of(&self.instance, config, conntrack_flows, object)?;
            if stamp == Some(&self.stamp()?) {
                job.add(self, needs)?;
            } else {
                job.replace(self, needs)?;
            }
        }
        if config != old {
            self.set_config(&config)?;
        }
        Ok(loads)
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
        let job = Job::of(instance, o.config(), o.conntrack_flows, object)?;
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
                    job.replace(&datapath, o.needs)?;
                    return Ok(datapath);
                }
                Err(e @ Error::Stale { .. }) => tracing::info!("replacing what is pinned: {e}"),
                Err(e) => return Err(e),
            }
        }
        Self::remove(instance).map_err(|mut errors| errors.remove(0))?;
        job.create(&datapath.pins, o.needs)?;
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

/// One loading of programs.
struct Job<'a> {
    instance: &'a str,
    config: Config,
    conntrack_flows: u32,
    object: &'a [u8],
    wanted: Vec<(String, Layout)>,
}

impl<'a> Job<'a> {
    fn of(
        instance: &'a str,
        config: Config,
        conntrack_flows: u32,
        object: &'a [u8],
    ) -> Result<Self, Error> {
        raise_memlock();
        Ok(Self {
            instance,
            config,
            conntrack_flows,
            object,
            wanted: layout::of_object(object)?,
        })
    }

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
    fn create(&self, pins: &Pins, needs: Needs) -> Result<(), Error> {
        let pending = pins.pending();
        let made = pending.create().and_then(|()| {
            let mut ebpf = self.load_maps(&pending, |map| pending.map(map))?;
            for (name, program) in load_programs(&mut ebpf, |name| needs.want(name))? {
                pin(program, &pending.program(&name))?;
            }
            let new = Datapath {
                instance: self.instance.to_owned(),
                pins: pending.clone(),
            };
            new.set_next(|name| needs.want(name), |name| pending.program(name))?;
            new.set_config(&self.config)?;
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

    /// Adds programs that are needed from now on to an instance that this object is loaded for.
    fn add(&self, datapath: &Datapath, needs: Needs) -> Result<(), Error> {
        let pins = &datapath.pins;
        let there = Needs::of(pins);
        let wanted = |name: &str| needs.want_beyond(there, name);
        let mut made = Vec::new();
        let added = self
            .load_maps(pins, |map| pins.map(map))
            .and_then(|mut ebpf| {
                for (name, program) in load_programs(&mut ebpf, wanted)? {
                    unlink(&pins.pending_program(&name))?;
                    pin(program, &pins.pending_program(&name))?;
                    made.push(name);
                }
                datapath.set_next(wanted, |name| pins.pending_program(name))
            });
        if let Err(e) = added {
            undo(pins, &made, &BTreeMap::new());
            return Err(e);
        }
        // Only now: who finds the pins takes the map for set.
        for name in &made {
            Pins::rename(&pins.pending_program(name), &pins.program(name))?;
        }
        Ok(())
    }

    /// Replaces the programs of a loaded instance.
    fn replace(&self, datapath: &Datapath, needs: Needs) -> Result<(), Error> {
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
        // What is loaded is replaced, or an older version's would stay.
        let needs = needs.or(Needs::of(pins));
        let mut programs = Vec::new();
        let replaced = pins.create().and_then(|()| {
            let mut ebpf = self.load_maps(pins, place)?;
            for (name, program) in load_programs(&mut ebpf, |name| needs.want(name))? {
                unlink(&pins.pending_program(&name))?;
                pin(program, &pins.pending_program(&name))?;
                programs.push(name);
            }
            datapath.set_next(|name| needs.want(name), |name| pins.pending_program(name))?;
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
        datapath.set_config(&self.config)
    }

    fn load_maps(
        &self,
        pins: &Pins,
        place: impl Fn(&str) -> std::path::PathBuf,
    ) -> Result<Ebpf, Error> {
        let mut loader = EbpfLoader::new();
        for table in [maps::CT4, maps::CT6] {
            loader.map_max_entries(table, self.conntrack_flows.saturating_mul(2));
        }
        let processors = super::processors()?;
        loader.map_max_entries(maps::RULE_STATS, maps::rule_stats_index(processors, 0));
        let v6only = super::btf::v6only();
        loader.override_global(V6ONLY, &v6only, true);
        for (map, _) in &self.wanted {
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

/// The constant that tells the socket programs where `IPV6_V6ONLY` is.
const V6ONLY: &str = "NP_SK_V6ONLY";

/// Kernels before 5.11 charge maps to this limit; later ones ignore it.
fn raise_memlock() {
    if let Err(e) = setrlimit(Resource::RLIMIT_MEMLOCK, RLIM_INFINITY, RLIM_INFINITY) {
        tracing::debug!("raising RLIMIT_MEMLOCK failed: {e}");
    }
}
