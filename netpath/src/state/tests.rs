//! Unit tests of the state.

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
