//! `aya::Pod` for the records, so that user space can read and write the maps.

use crate::{
    addr::{V4, V6},
    conntrack::CtEntry,
    event::DropEvent,
    publish::{Backends, Starts},
    records::*,
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
    PublishedKey<V4>,
    PublishedKey<V6>,
    Published<V4>,
    Published<V6>,
    AllowedKey<V4>,
    AllowedKey<V6>,
    Starts,
    Backends,
    RuleRecord,
    Config,
    EndpointStats,
    FragKey,
    FragRecord,
    SockKey,
    SockRecord,
);
