//! `aya::Pod` for the records, so that user space can read and write the maps.

use crate::{
    addr::Addr,
    conntrack::CtEntry,
    event::DropEvent,
    publish::{Backends, Starts},
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

macro_rules! pod_of_either_family {
    ($($t:ident),+ $(,)?) => { $(
        // SAFETY: as above.
        unsafe impl<A: Addr> aya::Pod for $t<A> {}
    )+ };
}

pod!(
    DropEvent,
    EndpointRecord,
    NetworkRecord,
    UplinkRecord,
    IfaceRecord,
    Starts,
    Backends,
    RuleRecord,
    RuleStats,
    Config,
    EndpointStats,
    SockKey,
    SockRecord,
);

pod_of_either_family!(
    Tuple,
    CtEntry,
    PublishedKey,
    Published,
    AllowedKey,
    FragKey,
    FragRecord,
);
