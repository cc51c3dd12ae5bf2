//! One flow by its tuple, looked up rather than searched for.
//!
//! Owns which tuple is meant: the one that the first packet carried, or that answers arrive with.

use std::{
    net::IpAddr,
    os::fd::{AsFd as _, OwnedFd},
};

use netpath_common::{Tuple, V4, V6, conntrack::CtEntry};

use super::{Filter, Flow};
use crate::bpf::{Datapath, Error, Family, coarse_now, conntrack_entry};

/// A flow of either family.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AnyFlow {
    /// Of IPv4.
    V4(Flow<V4>),
    /// Of IPv6.
    V6(Flow<V6>),
}

/// What a look-up needs to know of a flow.
const NEEDED: &str = "name the protocol, both addresses of one family and both ports: \
                      -p tcp -s ADDRESS -d ADDRESS --sport PORT --dport PORT";

/// The flow with the protocol, addresses and ports of `filter`, unless it is over; `None` when there is
/// none.
///
/// # Errors
/// `filter` names less than a tuple has, or the table cannot be read.
pub fn get(dp: &Datapath, filter: &Filter) -> Result<Option<AnyFlow>, Error> {
    let wrong = || {
        let e = std::io::Error::new(std::io::ErrorKind::InvalidInput, NEEDED);
        Error::system("looking for a flow", e)
    };
    let (Some(proto), Some(src), Some(dst)) = (filter.proto, filter.src, filter.dst) else {
        return Err(wrong());
    };
    let (Some(sport), Some(dport)) = (filter.sport, filter.dport) else {
        return Err(wrong());
    };
    match (src, dst) {
        (IpAddr::V4(src), IpAddr::V4(dst)) => {
            let tuple = tuple(src.octets(), dst.octets(), sport, dport, proto);
            Ok(find(dp, &tuple)?.map(AnyFlow::V4))
        }
        (IpAddr::V6(src), IpAddr::V6(dst)) => {
            let tuple = tuple(src.octets(), dst.octets(), sport, dport, proto);
            Ok(find(dp, &tuple)?.map(AnyFlow::V6))
        }
        _ => Err(wrong()),
    }
}

fn tuple<A: Family>(src: A, dst: A, sport: u16, dport: u16, proto: u8) -> Tuple<A> {
    Tuple {
        src,
        dst,
        sport,
        dport,
        proto,
        icmp_type: 0,
        zero: 0,
    }
}

fn find<A: Family>(dp: &Datapath, key: &Tuple<A>) -> Result<Option<Flow<A>>, Error> {
    let table = dp.map_fd(A::CT)?;
    let Some(entry) = look(&table, key)? else {
        return Ok(None);
    };
    let other = entry.other_key(key);
    let found = look(&table, &other)?;
    // The other entry has to lead back, or it is another flow's.
    let found = found.filter(|e| e.is_record() != entry.is_record() && e.other_key(&other) == *key);
    let flow = if entry.is_record() {
        Flow {
            tuple: other,
            reply: *key,
            record: entry,
            index: found,
        }
    } else {
        let Some(record) = found else {
            return Ok(None);
        };
        Flow {
            tuple: *key,
            reply: other,
            record,
            index: Some(entry),
        }
    };
    let alive = flow.remaining_ns(&dp.config()?.timeouts, coarse_now()?) > 0;
    Ok(alive.then_some(flow))
}

fn look<A: Family>(table: &OwnedFd, key: &Tuple<A>) -> Result<Option<CtEntry<A>>, Error> {
    conntrack_entry(table.as_fd(), key)
}
