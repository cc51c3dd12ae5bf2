//! Fragment records and waiting fragments in memory.

use core::{
    cell::{OnceCell, RefCell, UnsafeCell},
    ptr::NonNull,
};
use std::{boxed::Box, collections::HashMap, vec::Vec};

use crate::{
    addr::{Addr, V4},
    datapath::{HELD, HELD_BYTES, Held, HeldRef},
    records::{FragKey, FragRecord},
};

/// Something that stays where it is while references to it are about.
pub(super) type Shared<T> = Box<UnsafeCell<T>>;

/// The records, the places and the memory for a first fragment.
pub(super) struct Frags<A = V4> {
    records: RefCell<HashMap<FragKey<A>, Shared<FragRecord<A>>>>,
    /// Made when they are looked at first: most tests need none.
    places: Vec<OnceCell<Shared<Held<A>>>>,
    saved: Box<UnsafeCell<[u8; HELD_BYTES]>>,
}

impl<A: Addr> Default for Frags<A> {
    fn default() -> Self {
        Self {
            records: RefCell::default(),
            places: (0..HELD).map(|_| OnceCell::new()).collect(),
            saved: Box::new(UnsafeCell::new([0; HELD_BYTES])),
        }
    }
}

impl<A: Addr> Frags<A> {
    #[expect(clippy::mut_from_ref, reason = "one thread, one reference at a time")]
    pub(super) fn record(&self, key: &FragKey<A>) -> Option<&mut FragRecord<A>> {
        let p = self.records.borrow().get(key)?.get();
        // SAFETY: the record is boxed, and replaced in place.
        Some(unsafe { &mut *p })
    }

    pub(super) fn insert(&self, key: &FragKey<A>, record: &FragRecord<A>) {
        let mut records = self.records.borrow_mut();
        let place = records.entry(*key).or_default();
        // SAFETY: no reference is alive between packets.
        unsafe { *place.get() = *record };
    }

    pub(super) fn place(&self, index: u32) -> Option<HeldRef<A>> {
        let place = self.places.get(index as usize)?.get_or_init(Box::default);
        let p = NonNull::new(place.get())?;
        // SAFETY: the places live as long as the table.
        Some(unsafe { HeldRef::new(p) })
    }

    #[expect(clippy::mut_from_ref, reason = "one thread, one packet at a time")]
    pub(super) fn saved(&self) -> &mut [u8; HELD_BYTES] {
        // SAFETY: as said.
        unsafe { &mut *self.saved.get() }
    }
}
