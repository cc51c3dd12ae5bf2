//! The maps of a [`Runner`], as its tables in memory have them.
//!
//! Owns what user space would write.

use aya::maps::{Array, HashMap, LpmTrie, lpm_trie::Key};
use netpath_common::{
    V4, V6, maps,
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
        // Of both families: whatever a start is not an entry of, it only costs a look-up.
        let starts = t.starts.iter().zip(&self.tables6.starts);
        array!(maps::STARTS, starts.map(|(a, b)| a.union(b)));
        array!(maps::BACKENDS, t.backends.iter().copied());
        let mut reserved: Array<_, u64> =
            Array::try_from(ebpf.map_mut(maps::RESERVED).unwrap()).unwrap();
        for (slot, word) in t.reserved_words().iter().enumerate() {
            reserved.set(slot as u32, *word, 0).unwrap();
        }
        hash!(maps::IFACES, u32, t.ifaces.iter().map(|(k, v)| (*k, *v)));
        macro_rules! addresses {
            ($t:expr, $family:ty, $by_addr:expr, $hosts:expr, $published:expr, $allowed:expr,
             $subnets:expr) => {
                let t = $t;
                let slots = t.endpoint_by_addr.iter().map(|(k, v)| (*k, u32::from(*v)));
                hash!($by_addr, $family, slots);
                hash!(
                    $hosts,
                    $family,
                    t.host_addrs.iter().map(|a| (*a, UPLINK_IF))
                );
                let published = t.published.iter().map(|(k, v)| (*k, *v));
                hash!($published, PublishedKey<$family>, published);
                let mut allowed: LpmTrie<_, AllowedKey<$family>, u32> =
                    LpmTrie::try_from(ebpf.map_mut($allowed).unwrap()).unwrap();
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
                let mut subnets: LpmTrie<_, $family, u32> =
                    LpmTrie::try_from(ebpf.map_mut($subnets).unwrap()).unwrap();
                for (subnet, len, slot) in &t.subnets {
                    subnets
                        .insert(&Key::new(u32::from(*len), *subnet), u32::from(*slot), 0)
                        .unwrap();
                }
            };
        }
        addresses!(
            t,
            V4,
            maps::ENDPOINT_BY_ADDR4,
            maps::HOST_ADDRS4,
            maps::PUBLISHED4,
            maps::ALLOWED4,
            maps::SUBNETS4
        );
        addresses!(
            &self.tables6,
            V6,
            maps::ENDPOINT_BY_ADDR6,
            maps::HOST_ADDRS6,
            maps::PUBLISHED6,
            maps::ALLOWED6,
            maps::SUBNETS6
        );
    }
}
