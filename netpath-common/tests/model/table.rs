//! The conntrack tables as they must be at any moment.
//!
//! Owns the checks of their form, and of the numbers that are kept beside them, of both families
//! together, against a recount.

use std::collections::{HashMap, HashSet};

use netpath_common::{
    addr::{V4, V6},
    conntrack::{
        Budget, CtEntry, FLAG_BOUND, FLAG_LIFE_MASK, STATE_ASSURED, STATE_CLAIMED,
        STATE_SEEN_REPLY, life_of,
    },
    counters::Counter,
    datapath::Tables,
    nat::inside_key,
    records::REVISION_SHIFT,
    testing::{Host, MemTables},
    tuple::{self, Tuple},
};

use crate::{life::Life, side::Side};

/// What a recount of the tables found.
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
pub(crate) struct Used {
    /// Flows that each container slot has begun, from 1 on.
    pub(crate) flows: [u32; 4],
    /// Outside tuples that each of them has.
    pub(crate) ports: [u32; 4],
    /// Flows of the outside that are not established, of IPv4 and of IPv6.
    pub(crate) embryonic: [u32; 2],
}

/// Counts the flows of a host by their records.
pub(crate) fn recount(host: &Host) -> Used {
    let mut used = Used::default();
    add(&host.tables, &mut used);
    add(&host.tables6, &mut used);
    used
}

fn add<A: Side>(t: &MemTables<A>, used: &mut Used) {
    t.for_each_entry(|key, e| {
        if !e.is_record() {
            return;
        }
        // A record's packets answer: who began is where they go to.
        let (begun_by, other) = (usize::from(e.to), e.from);
        if begun_by != 0 {
            // A binding has the outside port of all its flows, and is none.
            let is_bound = e.flags & FLAG_BOUND != 0;
            used.flows[begun_by] += u32::from(key.proto != tuple::BINDING);
            used.ports[begun_by] += u32::from(other == 0 && !is_bound);
        } else if other != 0 {
            let established = if key.proto == tuple::TCP {
                STATE_ASSURED
            } else {
                STATE_SEEN_REPLY
            };
            used.embryonic[usize::from(A::IS_V6)] += u32::from(e.state & established == 0);
        }
    });
}

/// Compares the kept numbers with the tables.
pub(crate) fn check_numbers(host: &Host) {
    let (t, used) = (&host.tables, recount(host));
    for slot in 1..4_u16 {
        let at = usize::from(slot);
        let kept = (t.live(Budget::flows(slot)), t.live(Budget::ports(slot)));
        let want = (i64::from(used.flows[at]), i64::from(used.ports[at]));
        assert_eq!(kept, want, "live flows and outside tuples of slot {slot}");
    }
    assert_eq!(
        [Budget::inbound::<V4>(), Budget::inbound::<V6>()].map(|budget| t.live(budget)),
        used.embryonic.map(i64::from),
        "flows of the outside that are not established"
    );
    let flows = t.counter(Counter::FlowNew) - t.counter(Counter::FlowRemoved);
    let bindings = bindings(t) + bindings(&host.tables6);
    let entries = t.entry_count() + host.tables6.entry_count() - bindings;
    assert_eq!(entries as u64, 2 * flows, "made and not removed");
    let waiting =
        t.counter(Counter::FragmentHeld) - t.counter(Counter::FragmentReleased) - t.held_dropped();
    assert_eq!(t.live(Budget::HELD), waiting as i64, "waiting fragments");
}

/// Entries that are of no flow.
fn bindings<A: Side>(t: &MemTables<A>) -> usize {
    let mut n = 0;
    t.for_each_entry(|key, _| n += usize::from(key.proto == tuple::BINDING));
    n
}

/// Entries come in pairs that point at each other, within the capacity.
pub(crate) fn check_form<A: Side>(t: &MemTables<A>, capacity: usize) {
    let entries = t.entries();
    assert!(entries.len() <= capacity);
    let mut outside = HashSet::new();
    for (key, e) in &entries {
        assert_eq!(
            e.state & STATE_CLAIMED,
            0,
            "a claimed entry was left behind"
        );
        let other_key = e.other_key(key);
        let other = t.entry(&other_key);
        let other = other.unwrap_or_else(|| panic!("{key:?} stands alone"));
        assert_eq!(
            other.other_key(&other_key),
            *key,
            "the other half points elsewhere"
        );
        assert_ne!(other.is_record(), e.is_record());
        assert_eq!(other.state & !0xff, e.state & !0xff, "salts differ");
        assert_eq!((e.from, e.to), (other.to, other.from));
        assert_eq!(
            (e.uplink, e.rule, generation(e)),
            (other.uplink, other.rule, generation(&other))
        );
        if e.is_record() {
            assert!(outside.insert(*key));
        }
    }
    assert_eq!(entries.len(), 2 * outside.len());
    check_bindings(&entries);
}

/// A binding counts the flows that use it, and none of an earlier one of its inside.
fn check_bindings<A: Side>(entries: &[(Tuple<A>, CtEntry<A>)]) {
    let mut users: HashMap<(Tuple<A>, u8), i64> = HashMap::new();
    for (key, e) in entries {
        if !e.is_record() || e.flags & FLAG_BOUND == 0 {
            continue;
        }
        // What answers carry, and what they become.
        let inside = if e.to != 0 {
            inside_key(e.dst, e.dport, key.dst, key.proto)
        } else {
            inside_key(key.src, key.sport, e.src, key.proto)
        };
        let life = e.flags & FLAG_LIFE_MASK;
        *users.entry((inside, life)).or_default() += 1;
    }
    for (key, e) in entries {
        if key.proto == tuple::BINDING && !e.is_record() {
            let users = users
                .get(&(*key, life_of(e.generation)))
                .copied()
                .unwrap_or(0);
            assert_eq!(e.packets as i64, users, "flows of {key:?}");
        }
    }
}

/// What an entry depends on, but for the revision of its rule: each half is judged by itself.
const fn generation<A: Side>(e: &CtEntry<A>) -> u32 {
    e.generation % (1 << REVISION_SHIFT)
}

/// Fragments that wait for their first one.
pub(crate) fn waiting(host: &Host) -> i64 {
    host.tables.live(Budget::HELD)
}

/// No container has more than it may have.
pub(crate) fn check_limits(host: &Host, life: &Life) {
    let used = recount(host);
    let within = |used: u32, limit: u32| limit == 0 || used <= limit;
    for slot in 1..4 {
        assert!(
            within(used.flows[slot], life.flows) && within(used.ports[slot], life.ports),
            "slot {slot} has {used:?}"
        );
    }
}
