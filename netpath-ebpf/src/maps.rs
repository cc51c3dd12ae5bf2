//! Every map of the datapath.
//!
//! Owns the definitions; names and capacities come from `netpath_common::maps`. For each: who
//! writes, who reads, when entries die.

use aya_ebpf::{
    btf_maps::{Array, HashMap, LpmTrie, LruHashMap, PerCpuArray, ProgramArray, Queue, RingBuf},
    macros::btf_map,
};
use netpath_common::{
    Tuple, V4, V6,
    conntrack::CtEntry,
    counters::Counter,
    datapath::{self, Bucket, Held, NextHop, PortUse, Work},
    drop_reason::DropReason,
    event::DropEvent,
    maps,
    publish::{Backends, START_PROTOCOLS, Starts},
    records::{
        AllowedKey, Config, EndpointRecord, EndpointStats, FragKey, FragRecord, IfaceRecord,
        NetworkRecord, Published, PublishedKey, RuleRecord, RuleStats, UplinkRecord,
    },
    sock::{SockKey, SockRecord},
};

/// Written by the datapath; read by it and by `netpath ct`. Entries die when the datapath meets
/// them expired or stale, or when the collector claims them.
#[btf_map(name = "np_ct4")]
pub(crate) static CT4: HashMap<Tuple, CtEntry, { maps::CT4_ENTRIES }> = HashMap::new();

/// As `np_ct4`, of IPv6. Not preallocated: a host without IPv6 networks pays nothing.
#[btf_map(name = "np_ct6")]
pub(crate) static CT6: HashMap<Tuple<V6>, CtEntry<V6>, { maps::CT4_ENTRIES }, 1> = HashMap::new();

/// Written by user space, read by the datapath.
#[btf_map(name = "np_endpoints")]
pub(crate) static ENDPOINTS: Array<EndpointRecord, { maps::MAX_ENDPOINTS }> = Array::new();

/// Written by user space, read by the datapath.
#[btf_map(name = "np_networks")]
pub(crate) static NETWORKS: Array<NetworkRecord, { maps::MAX_NETWORKS }> = Array::new();

/// Written by user space (the agent follows addresses), read by the datapath.
#[btf_map(name = "np_uplinks")]
pub(crate) static UPLINKS: Array<UplinkRecord, { maps::MAX_UPLINKS }> = Array::new();

/// Written by user space, read by the datapath outside the fast path.
#[btf_map(name = "np_ifaces")]
pub(crate) static IFACES: HashMap<u32, IfaceRecord, { maps::MAX_IFACES }> = HashMap::new();

/// Written by user space, read by the datapath outside the fast path.
#[btf_map(name = "np_ep_by_addr4")]
pub(crate) static ENDPOINT_BY_ADDR4: HashMap<[u8; 4], u32, { maps::MAX_ENDPOINTS }> =
    HashMap::new();

/// Written by user space, read by the datapath outside the fast path.
#[btf_map(name = "np_ep_by_addr6")]
pub(crate) static ENDPOINT_BY_ADDR6: HashMap<V6, u32, { maps::MAX_ENDPOINTS }> = HashMap::new();

/// Written by user space, read by the datapath outside the fast path.
#[btf_map(name = "np_subnets4")]
pub(crate) static SUBNETS4: LpmTrie<[u8; 4], u32, { maps::MAX_NETWORKS }> = LpmTrie::new();

/// Written by user space, read by the datapath outside the fast path.
#[btf_map(name = "np_subnets6")]
pub(crate) static SUBNETS6: LpmTrie<V6, u32, { maps::MAX_NETWORKS }> = LpmTrie::new();

/// Written by user space (the agent follows addresses), read by the datapath.
#[btf_map(name = "np_host_addrs4")]
pub(crate) static HOST_ADDRS4: HashMap<[u8; 4], u32, { maps::MAX_HOST_ADDRS }> = HashMap::new();

/// Written by user space (the agent follows addresses), read by the datapath.
#[btf_map(name = "np_host_addrs6")]
pub(crate) static HOST_ADDRS6: HashMap<V6, u32, { maps::MAX_HOST_ADDRS }> = HashMap::new();

/// Written by user space, read by the datapath for the first packet of a flow.
#[btf_map(name = "np_published4")]
pub(crate) static PUBLISHED4: HashMap<PublishedKey, Published, { maps::MAX_PUBLISHED }, 1> =
    HashMap::new();

/// Written by user space, read by the datapath for the first packet of a flow.
#[btf_map(name = "np_published6")]
pub(crate) static PUBLISHED6: HashMap<PublishedKey<V6>, Published<V6>, { maps::MAX_PUBLISHED }, 1> =
    HashMap::new();

/// Written by user space, read by the datapath for the first packet of a flow.
#[btf_map(name = "np_starts")]
pub(crate) static STARTS: Array<Starts, START_PROTOCOLS> = Array::new();

/// Written by user space, read by the datapath for the first packet of a flow.
#[btf_map(name = "np_backends")]
pub(crate) static BACKENDS: Array<Backends, { maps::MAX_GROUPS }> = Array::new();

/// Written by user space, read by the datapath for the first packet of a flow, and once for each
/// direction of a flow whose list has been changed.
#[btf_map(name = "np_allowed4")]
pub(crate) static ALLOWED4: LpmTrie<AllowedKey, u32, { maps::MAX_ALLOWED }> = LpmTrie::new();

/// As `np_allowed4`.
#[btf_map(name = "np_allowed6")]
pub(crate) static ALLOWED6: LpmTrie<AllowedKey<V6>, u32, { maps::MAX_ALLOWED }> = LpmTrie::new();

/// Written by user space, read by the datapath.
#[btf_map(name = "np_rules")]
pub(crate) static RULES: Array<RuleRecord, { maps::MAX_RULES }> = Array::new();

/// Written by user space, read by the datapath when it chooses a port.
#[btf_map(name = "np_reserved")]
pub(crate) static RESERVED: Array<u64, { maps::RESERVED_WORDS }> = Array::new();

/// Written and read by the datapath; old entries are evicted, or ignored after their lifetime.
#[btf_map(name = "np_frags4")]
pub(crate) static FRAGS4: LruHashMap<FragKey, FragRecord, { maps::MAX_FRAGS }> = LruHashMap::new();

/// As `np_frags4`.
#[btf_map(name = "np_frags6")]
pub(crate) static FRAGS6: LruHashMap<FragKey<V6>, FragRecord<V6>, { maps::MAX_FRAGS }> =
    LruHashMap::new();

/// Written and read by the datapath: fragments that came before their first one.
#[btf_map(name = "np_held")]
pub(crate) static HELD: Array<Held, { datapath::HELD }> = Array::new();

/// As `np_held`.
#[btf_map(name = "np_held6")]
pub(crate) static HELD6: Array<Held<V6>, { datapath::HELD }> = Array::new();

/// Written and read by one program run.
#[btf_map(name = "np_saved")]
pub(crate) static SAVED: PerCpuArray<[u8; datapath::HELD_BYTES], 1> = PerCpuArray::new();

/// Written and read by the datapath: record keys of unanswered and closing flows.
#[btf_map(name = "np_reclaim")]
pub(crate) static RECLAIM: Queue<Tuple, { maps::MAX_RECLAIM }> = Queue::new();

/// As `np_reclaim`.
#[btf_map(name = "np_reclaim6")]
pub(crate) static RECLAIM6: Queue<Tuple<V6>, { maps::MAX_RECLAIM }> = Queue::new();

/// Written and read by the datapath: record keys of flows from the outside that are not established.
#[btf_map(name = "np_reclaim_in")]
pub(crate) static RECLAIM_IN: Queue<Tuple, { maps::MAX_RECLAIM_IN }> = Queue::new();

/// As `np_reclaim_in`.
#[btf_map(name = "np_reclaim_in6")]
pub(crate) static RECLAIM_IN6: Queue<Tuple<V6>, { maps::MAX_RECLAIM_IN }> = Queue::new();

/// Written and read by the datapath: numbers of live flows by `Budget`.
#[btf_map(name = "np_live")]
pub(crate) static LIVE: Array<u64, { maps::LIVE_ENTRIES }> = Array::new();

/// Written and read by the datapath: how many refused flows of each endpoint may be answered.
#[btf_map(name = "np_told")]
pub(crate) static TOLD: Array<Bucket, { maps::MAX_ENDPOINTS }> = Array::new();

/// Written by user space, read by the datapath.
#[btf_map(name = "np_config")]
pub(crate) static CONFIG: Array<Config, 1> = Array::new();

/// Written by the datapath, read by user space.
#[btf_map(name = "np_drops")]
pub(crate) static DROPS: PerCpuArray<u64, { DropReason::COUNT }> = PerCpuArray::new();

/// Written by the datapath, read by user space.
#[btf_map(name = "np_counters")]
pub(crate) static COUNTERS: PerCpuArray<u64, { Counter::COUNT }> = PerCpuArray::new();

/// Written by the datapath, read by user space; user space zeroes a slot when it gives it away.
#[btf_map(name = "np_ep_stats")]
pub(crate) static ENDPOINT_STATS: PerCpuArray<EndpointStats, { maps::MAX_ENDPOINTS }> =
    PerCpuArray::new();

/// Written by the datapath, read by user space, which zeroes a rule's when it gives its slot away. A
/// stretch for each processor, as many as user space says when it makes the map.
#[btf_map(name = "np_rule_stats")]
pub(crate) static RULE_STATS: Array<RuleStats, { maps::MAX_RULES }> = Array::new();

/// Written by the datapath, read by `netpath monitor`. Full means the event is lost and counted.
#[btf_map(name = "np_events")]
pub(crate) static EVENTS: RingBuf<DropEvent, { maps::EVENT_BYTES }> = RingBuf::new();

/// Written and read by the socket programs; old entries are evicted.
#[btf_map(name = "np_socks")]
pub(crate) static SOCKS: LruHashMap<SockKey, SockRecord, { maps::MAX_SOCKS }> = LruHashMap::new();

/// Written and read by the program of the loopback device; as many as the host has addresses.
#[btf_map(name = "np_stand_ins")]
pub(crate) static STAND_INS: HashMap<V4, V6, { maps::MAX_HOST_ADDRS }, 1> = HashMap::new();

/// Written by user space, read by the socket programs.
#[btf_map(name = "np_taken")]
pub(crate) static TAKEN: Array<u64, { maps::TAKEN_WORDS }> = Array::new();

/// Written and read by the datapath; an entry holds for a second.
#[btf_map(name = "np_next_hops")]
pub(crate) static NEXT_HOPS: PerCpuArray<NextHop, { datapath::NEXT_HOPS as usize }> =
    PerCpuArray::new();

/// As `np_next_hops`.
#[btf_map(name = "np_next_hops6")]
pub(crate) static NEXT_HOPS6: PerCpuArray<NextHop<V6>, { datapath::NEXT_HOPS as usize }> =
    PerCpuArray::new();

/// Written and read by the XDP program: the tokens of this CPU.
#[btf_map(name = "np_refused")]
pub(crate) static REFUSED: PerCpuArray<Bucket, 1> = PerCpuArray::new();

/// Written by the datapath, and by user space when the XDP program is attached; read by it.
#[btf_map(name = "np_ports")]
pub(crate) static PORTS: Array<PortUse, { maps::PORT_ENTRIES }> = Array::new();

/// Written and read by one program run.
#[btf_map(name = "np_scratch")]
pub(crate) static SCRATCH: PerCpuArray<Work, 1> = PerCpuArray::new();

/// Written and read by one program run.
#[btf_map(name = "np_scratch6")]
pub(crate) static SCRATCH6: PerCpuArray<Work<V6>, 1> = PerCpuArray::new();

/// Written and read by one program run: a question about routes, which is too large for the stack.
#[btf_map(name = "np_fib")]
pub(crate) static FIB: PerCpuArray<[u64; 8], 1> = PerCpuArray::new();

/// Written by user space: the programs that frames of IPv6 are handed to, by hook
/// (`netpath_common::maps::NEXT6_*`).
#[btf_map(name = "np_next6")]
pub(crate) static NEXT6: ProgramArray<{ maps::NEXT6_HOOKS }> = ProgramArray::new();

/// Written by user space: the programs that those of tunnels hand packets to
/// (`netpath_common::maps::TUNNEL_*`).
#[btf_map(name = "np_tunnel")]
pub(crate) static TUNNEL: ProgramArray<{ maps::TUNNEL_PLACES }> = ProgramArray::new();
