//! Bitmaps in arrays of words.
//!
//! Owns the reading and writing of as few words as a change needs. What a bit means is its map's.

use std::{collections::BTreeMap, ops::RangeInclusive, os::fd::AsFd as _};

use super::{Datapath, Error, batch, sys};

/// Up to this many words of a bitmap are read one by one.
const FEW: usize = 16;

/// The bits of ports, as masks of words; `place` is where the one of a port is.
pub(super) fn of_ports(
    ports: RangeInclusive<u16>,
    place: impl Fn(u16) -> Option<(u32, u64)>,
) -> impl Iterator<Item = (u32, u64)> {
    let (first, last) = (*ports.start(), *ports.end());
    let words = match (place(first), place(last)) {
        (Some((from, _)), Some((to, _))) => Some((from, to)),
        _ => None,
    };
    words.into_iter().flat_map(move |(from, to)| {
        (from..=to).map(move |word| {
            let low = if word == from { first & 63 } else { 0 };
            let high = if word == to { last & 63 } else { 63 };
            (word, (u64::MAX << low) & (u64::MAX >> (63 - high)))
        })
    })
}

/// Sets or clears bits, given as masks of words.
pub(super) fn change(
    dp: &Datapath,
    map: &str,
    words: usize,
    masks: &BTreeMap<u32, u64>,
    on: bool,
) -> Result<(), Error> {
    if masks.is_empty() {
        return Ok(());
    }
    let old = if masks.len() > FEW {
        let all = read(dp, map, words)?;
        let word = |word: &u32| all.get(*word as usize).copied().unwrap_or(0);
        masks.keys().map(word).collect::<Vec<_>>()
    } else {
        let fd = dp.map_fd(map)?;
        masks
            .keys()
            .map(|word| {
                let found = sys::lookup(fd.as_fd(), word);
                Ok(found.map_err(|e| failed(map, e))?.unwrap_or(0))
            })
            .collect::<Result<_, Error>>()?
    };
    let new = masks.iter().zip(old).map(|((word, mask), old)| {
        let new = if on { old | mask } else { old & !mask };
        (*word, old, new)
    });
    write(dp, map, new)
}

/// Makes the bits those of `wanted`, and no others.
pub(super) fn replace(
    dp: &Datapath,
    map: &str,
    words: usize,
    wanted: &BTreeMap<u32, u64>,
) -> Result<(), Error> {
    let old = read(dp, map, words)?;
    let new = (0..).zip(old).map(|(word, old)| {
        let new = wanted.get(&word).copied().unwrap_or(0);
        (word, old, new)
    });
    write(dp, map, new)
}

fn read(dp: &Datapath, map: &str, words: usize) -> Result<Vec<u64>, Error> {
    let (mut keys, mut values) = (vec![0u32; words], vec![0u64; words]);
    let fd = dp.map_fd(map)?;
    sys::lookup_batch(fd.as_fd(), None, &mut keys, &mut values).map_err(|e| failed(map, e))?;
    Ok(values)
}

fn write(
    dp: &Datapath,
    map: &str,
    words: impl Iterator<Item = (u32, u64, u64)>,
) -> Result<(), Error> {
    let (keys, values): (Vec<u32>, Vec<u64>) = words
        .filter(|(_, old, new)| old != new)
        .map(|(word, _, new)| (word, new))
        .unzip();
    batch::write(dp, map, &keys, &values)
}

fn failed(map: &str, e: std::io::Error) -> Error {
    Error::system(format!("reading {map}"), e)
}
