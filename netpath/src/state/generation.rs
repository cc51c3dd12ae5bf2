//! Generations: what tells an endpoint or a published port from the one that had its slot before.
//!
//! Owns which one is next. What a generation does to flows is the datapath's matter.

use netpath_common::records::{GENERATIONS, REVISION_SHIFT};

use super::State;

impl State {
    /// A generation that no record has had, `record` being the one in the datapath, of a rule with its
    /// revision. They begin anew at [`GENERATIONS`], far from any that is in use.
    pub fn next_generation(&mut self, record: u32) -> u32 {
        let last = (self.generation % GENERATIONS).max(record % GENERATIONS);
        self.generation = ((last + 1) % GENERATIONS).max(1);
        self.generation
    }

    /// What the generation of a rule becomes when its allow list changes: flows live on whose client is
    /// let in. A rule whose revisions are used up gets a new generation, and its flows end.
    pub fn next_revision(&mut self, record: u32) -> u32 {
        record
            .checked_add(1 << REVISION_SHIFT)
            .unwrap_or_else(|| self.next_generation(record))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn generations_only_grow_even_past_the_datapath_s() {
        let mut s = State::new("b".into(), 1);
        assert_eq!(s.next_generation(0), 1);
        assert_eq!(s.next_generation(0), 2);
        assert_eq!(s.next_generation(40), 41);
        assert_eq!(s.next_generation(3), 42);
        // The revision of a rule is no part of it, and the numbers begin anew.
        assert_eq!(s.next_generation(7 << REVISION_SHIFT | 50), 51);
        assert_eq!(s.next_generation(GENERATIONS - 1), 1);
        assert_eq!(s.next_generation(GENERATIONS - 2), GENERATIONS - 1);
        assert_eq!(s.next_generation(0), 1);
        s.generation = u32::MAX;
        assert!((1..GENERATIONS).contains(&s.next_generation(0)));
    }

    #[test]
    fn a_revision_leaves_the_generation_until_they_are_used_up() {
        let mut s = State::new("b".into(), 1);
        let mut record = s.next_generation(0);
        for revision in 1..256 {
            record = s.next_revision(record);
            assert_eq!(record, revision << REVISION_SHIFT | 1);
        }
        assert_eq!(s.next_revision(record), 2);
    }
}
