//! Many map entries in few system calls.
//!
//! Owns batch reads, writes and removals of hash maps, with their part-way failures. Knows no
//! particular map.

use std::os::fd::{AsFd as _, OwnedFd};

use aya::maps::MapError;
use bytemuck::Pod;

use super::{Datapath, Error, sys};

/// Keys and values of one batch.
pub(crate) type Entries<'a, K, V> = (&'a [K], &'a [V]);

/// A hash map that is read batch by batch.
///
/// The kernel reads whole buckets and lets others run between two that hold entries; a run of empty
/// ones it walks in one go (`__htab_map_lookup_and_delete_batch` in `kernel/bpf/hashtab.c`). A
/// batch is bounded by its entries, so in a sparse table few entries mean many buckets: see
/// [`Batches::walked`].
pub(crate) struct Batches<K, V> {
    map: String,
    fd: OwnedFd,
    token: Option<u32>,
    done: bool,
    walked: Option<u32>,
    keys: Vec<K>,
    values: Vec<V>,
}

impl<K: Pod, V: Pod> Batches<K, V> {
    /// Begins to read `map`, at most `size` entries at a time.
    pub(crate) fn new(dp: &Datapath, map: &str, size: usize) -> Result<Self, Error> {
        Ok(Self {
            map: map.to_owned(),
            fd: dp.map_fd(map)?,
            token: None,
            done: false,
            walked: None,
            keys: vec![K::zeroed(); size],
            values: vec![V::zeroed(); size],
        })
    }

    /// The next batch; `None` at the end. Entries that come and go meanwhile may be missed.
    pub(crate) fn next(&mut self) -> Result<Option<Entries<'_, K, V>>, Error> {
        self.next_of(self.keys.len())
    }

    /// As [`Batches::next`], with at most `most` entries, unless one bucket alone holds more.
    pub(crate) fn next_of(&mut self, most: usize) -> Result<Option<Entries<'_, K, V>>, Error> {
        if self.done {
            return Ok(None);
        }
        let mut most = most.clamp(1, self.keys.len());
        let (read, next) = loop {
            let (keys, values) = (&mut self.keys[..most], &mut self.values[..most]);
            match sys::lookup_batch(self.fd.as_fd(), self.token, keys, values) {
                // The next bucket does not fit.
                Err(e) if e.raw_os_error() == Some(libc::ENOSPC) => {
                    most *= 2;
                    if self.keys.len() < most {
                        self.keys.resize(most, K::zeroed());
                        self.values.resize(most, V::zeroed());
                    }
                }
                other => {
                    break other.map_err(|e| Error::system(format!("reading {}", self.map), e))?;
                }
            }
        };
        // The token is the number of the bucket to go on with.
        let from = self.token.unwrap_or(0);
        self.walked = next.map(|next| next.saturating_sub(from));
        self.token = next;
        self.done = next.is_none();
        Ok(Some((&self.keys[..read], &self.values[..read])))
    }

    /// Buckets that the last batch went through; `None` for the one that reached the end.
    pub(crate) const fn walked(&self) -> Option<u32> {
        self.walked
    }
}

/// Every entry of a hash map.
pub(super) fn read_all<K: Pod, V: Pod>(dp: &Datapath, map: &str) -> Result<Vec<(K, V)>, Error> {
    let mut all = Vec::new();
    let mut batches = Batches::<K, V>::new(dp, map, 4096)?;
    while let Some((keys, values)) = batches.next()? {
        all.extend(keys.iter().copied().zip(values.iter().copied()));
    }
    Ok(all)
}

/// Writes entries; a failure leaves those before it written.
pub(super) fn write<K: Pod, V: Pod>(
    dp: &Datapath,
    map: &str,
    keys: &[K],
    values: &[V],
) -> Result<(), Error> {
    let fd = dp.map_fd(map)?;
    sys::update_batch(fd.as_fd(), keys, values).map_err(|(_, e)| {
        let call = aya::sys::SyscallError {
            call: "BPF_MAP_UPDATE_BATCH",
            io_error: e,
        };
        dp.write_error(map, MapError::SyscallError(call))
    })
}

/// Removes entries, whether or not they are there.
pub(super) fn remove<K: Pod>(dp: &Datapath, map: &str, keys: &[K]) -> Result<(), Error> {
    let fd = dp.map_fd(map)?;
    let mut rest = keys;
    while !rest.is_empty() {
        match sys::delete_batch(fd.as_fd(), rest) {
            Ok(()) => break,
            // The kernel stops at a key that is not there: step over it.
            Err((done, e)) if e.raw_os_error() == Some(libc::ENOENT) => {
                rest = rest.get(done + 1..).unwrap_or_default();
            }
            Err((_, e)) => return Err(Error::system(format!("removing entries of {map}"), e)),
        }
    }
    Ok(())
}
