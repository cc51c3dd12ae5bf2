//! A change under way: the lock, the state as it becomes, the datapath and the undo stack.

use std::{
    cell::Cell,
    collections::BTreeSet,
    time::{Duration, Instant},
};

use super::{
    Error, Instance,
    rollback::{Rollback, Undo},
};
use crate::{
    bpf::{Datapath, LoadOptions, Needs, bpf_calls},
    state::{Lock, State},
};

/// Published ports that a change wrote into the datapath's maps, or erased.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct MapWork {
    /// Entries of the map of published ports.
    pub entries: usize,
    /// Calls of bpf(2) that it took, the opening of maps included.
    pub calls: u64,
    /// How long that took, with the generations of their rules and the bitmap of reserved ports.
    pub time: Duration,
}

impl MapWork {
    /// Does `work` on this many entries and notes what it took.
    pub(super) fn of<T, E>(
        &mut self,
        entries: usize,
        work: impl FnOnce() -> Result<T, E>,
    ) -> Result<T, E> {
        let (began, before) = (Instant::now(), bpf_calls());
        let done = work()?;
        let (time, calls) = (began.elapsed(), bpf_calls() - before);
        tracing::debug!(
            "{entries} published ports written or erased in {} us by {calls} calls of bpf(2)",
            time.as_micros()
        );
        self.entries += entries;
        self.calls += calls;
        self.time += time;
        Ok(done)
    }
}

/// A change under way. It ends with [`Work::finish`].
#[derive(Debug)]
pub(super) struct Work<'a> {
    pub(super) instance: &'a Instance,
    pub(super) state: State,
    pub(super) undo: Rollback,
    pub(super) maps: MapWork,
    /// The state is that of a killed command, and has not been settled yet.
    pub(super) interrupted: bool,
    /// Slots of endpoints that were removed, and whose flows are to be.
    pub(super) ended: BTreeSet<u16>,
    before: Option<State>,
    /// The state's file was written by this change.
    saved: Cell<bool>,
    datapath: Option<Datapath>,
    _lock: Lock,
}

impl<'a> Work<'a> {
    /// Takes the lock and reads the state; changes nothing.
    pub(super) fn begin(instance: &'a Instance) -> Result<Self, Error> {
        let lock = instance.store.lock()?;
        let before = instance.state()?;
        let mut state = before.clone().unwrap_or_else(|| instance.fresh_state());
        // Whatever is saved from now on is saved in the middle of a change.
        let interrupted = std::mem::replace(&mut state.changing, true);
        Ok(Self {
            instance,
            state,
            interrupted,
            ended: BTreeSet::new(),
            undo: Rollback::default(),
            maps: MapWork::default(),
            before,
            saved: Cell::new(false),
            datapath: None,
            _lock: lock,
        })
    }

    /// As [`Work::begin_running`], for a change that does not begin with a removal: what a killed command
    /// has left is put right first, and endpoints that have gone are no obstacle.
    pub(super) async fn begin_settled(instance: &'a Instance) -> Result<Self, Error> {
        let mut work = Self::begin_running(instance)?;
        work.settle().await?;
        if !work.retire_dead().await?.is_empty() {
            work.end_flows()?;
            // The change itself may fail, and then nothing else would tell.
            work.save()?;
        }
        Ok(work)
    }

    /// As [`Work::begin`], for a change to an instance that is up.
    pub(super) fn begin_running(instance: &'a Instance) -> Result<Self, Error> {
        let not_up = || Error::NotUp {
            instance: instance.name.clone(),
        };
        // Asked first, so that a command on nothing leaves no lock file behind.
        if !instance.store.exists() || !Datapath::exists(&instance.name) {
            return Err(not_up());
        }
        let mut work = Self::begin(instance)?;
        if work.before.is_none() {
            return Err(not_up());
        }
        work.datapath = Some(Datapath::open(&instance.name)?.ok_or_else(not_up)?);
        Ok(work)
    }

    /// Whether there is only what a command has left that was killed before it had made a network, or after
    /// it had removed the last one.
    pub(super) fn is_remains(&self) -> bool {
        self.state.is_empty() && (self.interrupted || self.is_new())
    }

    /// Whether there was no state.
    pub(super) fn is_new(&self) -> bool {
        self.before.is_none()
    }

    /// The datapath.
    pub(super) fn datapath(&self) -> Result<Datapath, Error> {
        self.datapath.clone().ok_or_else(|| Error::NotUp {
            instance: self.instance.name.clone(),
        })
    }

    /// Loads the datapath, or replaces its programs by this version's if they are not.
    pub(super) fn load(&mut self, options: &LoadOptions) -> Result<(), Error> {
        let name = &self.instance.name;
        self.state.conntrack = options.conntrack_flows;
        if let Some(stamp) = &self.state.loaded {
            self.datapath = Datapath::reuse(name, options, stamp)?;
            if let Some(datapath) = &self.datapath {
                self.state.loaded = Some(datapath.stamp()?);
                return Ok(());
            }
            // Half replaced must not be taken for whole.
            self.state.loaded = None;
            self.save()?;
        }
        let name = &self.instance.name;
        if !Datapath::exists(name) {
            self.undo.push(Undo::Unload);
        }
        let datapath = Datapath::load(name, options)?;
        self.state.loaded = Some(datapath.stamp()?);
        self.datapath = Some(datapath);
        Ok(())
    }

    /// Has the datapath do what networks need that are to come.
    pub(super) fn extend(&mut self, needs: Needs) -> Result<(), Error> {
        let datapath = self.datapath()?;
        let stamp = self.state.loaded.as_deref();
        // Else what another build has loaded, or half of it, would be taken for this one's.
        if datapath.extend(needs, self.state.conntrack, stamp)? {
            self.state.loaded = Some(datapath.stamp()?);
        }
        Ok(())
    }

    /// Removes the datapath with everything attached.
    pub(super) fn unload(&mut self) -> Result<(), Error> {
        self.datapath = None;
        self.state.conntrack = 0;
        self.state.loaded = None;
        Datapath::remove(&self.instance.name).map_err(|errors| Error::Teardown {
            left: errors
                .iter()
                .map(ToString::to_string)
                .collect::<Vec<_>>()
                .join("; "),
        })
    }

    /// Writes the state as it has become so far, so that a killed command can be cleaned up after.
    pub(super) fn save(&self) -> Result<(), Error> {
        self.saved.set(true);
        Ok(self.instance.store.save(&self.state)?)
    }

    /// Notes in the state's file that a change is under way, so that whoever comes after a killed command
    /// knows. Nothing of it may be done before.
    pub(super) fn announce_change(&self) -> Result<(), Error> {
        if self.saved.get() || self.before.as_ref().is_some_and(|s| s.changing) {
            return Ok(());
        }
        self.save()
    }

    /// Writes the state after everything was taken back: interfaces that were made again have other
    /// indexes, and generations only grow, so it is not the one that the change began with.
    pub(super) fn restore_state(&mut self) -> Result<(), Error> {
        if self.before.is_some() || !self.state.is_empty() {
            self.state.changing = self.interrupted;
            return self.save();
        }
        Ok(self.instance.store.remove()?)
    }

    /// Ends the change: writes the state if `result` is good, takes everything back if not.
    pub(super) async fn finish<T>(mut self, result: Result<T, Error>) -> Result<T, Error> {
        let result = match result {
            Ok(value) => self.end_flows().map(|()| value),
            Err(e) => Err(e),
        };
        if result.is_ok() {
            self.state.changing = self.interrupted;
        }
        let saved = match result {
            Ok(value) if !self.saved.get() && self.before.as_ref() == Some(&self.state) => {
                return Ok(value);
            }
            Ok(value) => self.save().map(|()| value),
            Err(e) => Err(e),
        };
        match saved {
            Ok(value) => Ok(value),
            Err(e) => Err(self.roll_back(e).await),
        }
    }

    /// Ends a change that has been found wrong before anything was done.
    pub(super) fn abandon(self) {
        self.instance.store.remove_unused();
    }

    /// Ends a change that removed everything.
    pub(super) fn forget(self) -> Result<(), Error> {
        Ok(self.instance.store.remove()?)
    }
}
