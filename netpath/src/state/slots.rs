//! Free slots of the datapath's maps, as the state knows them.

use std::collections::BTreeSet;

use super::State;

impl State {
    /// The lowest free slot of networks.
    #[must_use]
    pub fn free_network_slot(&self) -> Option<u16> {
        free_slot(
            self.networks.iter().map(|n| n.slot),
            netpath_common::maps::MAX_NETWORKS,
        )
    }

    /// The lowest free slot of endpoints.
    #[must_use]
    pub fn free_endpoint_slot(&self) -> Option<u16> {
        free_slot(
            self.endpoints().map(|(_, e)| e.slot),
            netpath_common::maps::MAX_ENDPOINTS,
        )
    }

    /// The lowest free slot of uplinks.
    #[must_use]
    pub fn free_uplink_slot(&self) -> Option<u16> {
        free_slot(
            self.uplinks.iter().map(|u| u.slot),
            // The last one is the loopback device's.
            netpath_common::maps::MAX_UPLINKS - 1,
        )
    }

    /// The lowest free slot of groups of backends beside those in `more`.
    #[must_use]
    pub fn free_group(&self, more: &BTreeSet<u16>) -> Option<u16> {
        let used = self.rules().map(|(_, r)| r.group);
        free_slot(
            used.chain(more.iter().copied()),
            netpath_common::maps::MAX_GROUPS,
        )
    }

    /// The free slots of rules, the lowest first. Later changes of the state do not show.
    pub fn free_rule_slots(&self) -> impl Iterator<Item = u16> + use<> {
        let mut used = vec![false; netpath_common::maps::MAX_RULES];
        for (_, rule) in self.rules() {
            if let Some(used) = used.get_mut(usize::from(rule.slot)) {
                *used = true;
            }
        }
        let slots = (0..=u16::MAX).zip(used).skip(1);
        slots.filter_map(|(slot, used)| (!used).then_some(slot))
    }
}

fn free_slot(used: impl Iterator<Item = u16>, slots: usize) -> Option<u16> {
    let used: BTreeSet<u16> = used.collect();
    let slots = u16::try_from(slots).unwrap_or(u16::MAX);
    (1..slots).find(|s| !used.contains(s))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slots_begin_at_one_and_fill_gaps() {
        assert_eq!(free_slot([].into_iter(), 16), Some(1));
        assert_eq!(free_slot([1, 2, 4].into_iter(), 16), Some(3));
        assert_eq!(free_slot([1, 2, 3].into_iter(), 4), None);
        let all = State::default().free_rule_slots();
        assert_eq!(all.take(3).collect::<Vec<_>>(), [1, 2, 3]);
        assert_eq!(State::default().free_rule_slots().count(), 65_535);
    }
}
