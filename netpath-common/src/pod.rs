//! `aya::Pod` for the records, so that user space can read and write the maps.

use crate::{
    addr::V6,
    conntrack::CtEntry,
    event::DropEvent,
    records::*,
    sock::{SockKey, SockRecord},
    tuple::Tuple,
};

macro_rules! pod {
    ($($t:ty),+ $(,)?) => { $(
        // SAFETY: the type is `repr(C)` and `bytemuck::Pod`: no padding, every bit pattern valid.
        unsafe impl aya::Pod for $t {}
    )+ };
}

pod!(
    Tuple,
    CtEntry,
    DropEvent,
    EndpointRecord,
    NetworkRecord,
    UplinkRecord,
    IfaceRecord,
    PublishedKey,
    Published,
    PublishedKey<V6>,
    Published<V6>,
    RuleRecord,
    Config,
    EndpointStats,
    FragKey,
    FragRecord,
    SockKey,
    SockRecord,
);
