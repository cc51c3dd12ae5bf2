//! The maps of a [`Runner`], as its tables in memory have them.
//!
//! Owns what user space would write.

use aya::maps::{Array, HashMap, LpmTrie, lpm_trie::Key};
use netpath_common::{
    maps,
    records::{ALLOWED_RULE_BITS, AllowedKey, PublishedKey},
    testing::UPLINK_IF,
};

use crate::runner::Runner;

impl Runner {
    /// Writes what user space writes.
    pub fn sync(&mut self) {
        let (ebpf, t) = (&mut self.ebpf, &self.tables);
        macro_rules! array {
            ($name:expr, $values:expr) => {
                let mut map = Array::try_from(ebpf.map_mut($name).unwrap()).unwrap();
                for (slot, value) in $values.into_iter().enumerate() {
                    map.set(slot as u32, value, 0).unwrap();
                }
            };
        }
        macro_rules! hash {
            ($name:expr, $key:ty, $values:expr) => {
                let values: std::collections::HashMap<$key, _> = $values.into_iter().collect();
                let mut map = HashMap::try_from(ebpf.map_mut($name).unwrap()).unwrap();
                let old: Vec<$key> = map.keys().map(Result::unwrap).collect();
                for key in old.iter().filter(|k| !values.contains_key(*k)) {
                    map.remove(key).unwrap();
                }
                for (key, value) in values {
                    map.insert(key, value, 0).unwrap();
                }
            };
        }
        array!(maps::ENDPOINTS, t.endpoints.iter().copied());
        array!(maps::NETWORKS, t.networks.iter().copied());
        array!(maps::UPLINKS, t.uplinks.iter().copied());
        array!(maps::RULES, t.rules.iter().copied());
        array!(maps::CONFIG, t.config);
        array!(maps::STARTS, t.starts.iter().copied());
        array!(maps::BACKENDS, t.backends.iter().copied());
        let mut allowed: LpmTrie<_, AllowedKey, u32> =
            LpmTrie::try_from(ebpf.map_mut(maps::ALLOWED4).unwrap()).unwrap();
        let old: Vec<_> = allowed.keys().map(Result::unwrap).collect();
        for key in &old {
            allowed.remove(key).unwrap();
        }
        for (rule, net, len) in &t.allowed {
            let rule = u32::from(*rule);
            let key = AllowedKey { rule, addr: *net };
            let bits = ALLOWED_RULE_BITS + u32::from(*len);
            allowed.insert(&Key::new(bits, key), 1, 0).unwrap();
        }
        let mut reserved: Array<_, u64> =
            Array::try_from(ebpf.map_mut(maps::RESERVED).unwrap()).unwrap();
        for (slot, word) in t.reserved_words().iter().enumerate() {
            reserved.set(slot as u32, *word, 0).unwrap();
        }
        hash!(maps::IFACES, u32, t.ifaces.iter().map(|(k, v)| (*k, *v)));
        hash!(
            maps::ENDPOINT_BY_ADDR4,
            [u8; 4],
            t.endpoint_by_addr.iter().map(|(k, v)| (*k, u32::from(*v)))
        );
        hash!(
            maps::HOST_ADDRS4,
            [u8; 4],
            t.host_addrs.iter().map(|a| (*a, UPLINK_IF))
        );
        hash!(
            maps::PUBLISHED4,
            PublishedKey,
            t.published.iter().map(|(k, v)| (*k, *v))
        );
        let mut subnets: LpmTrie<_, [u8; 4], u32> =
            LpmTrie::try_from(ebpf.map_mut(maps::SUBNETS4).unwrap()).unwrap();
        for (subnet, len, slot) in &t.subnets {
            subnets
                .insert(&Key::new(u32::from(*len), *subnet), u32::from(*slot), 0)
                .unwrap();
        }
    }
}
