//! Making a flow: reserving its outside tuple and writing both entries.
//!
//! Owns the order that makes creation atomic. The record, keyed by the tuple that answers carry,
//! is inserted first and only if it is free: that insert *is* the reservation, and two live flows
//! never share an outside tuple. The index follows; whoever loses a race adopts the winner's flow.

use super::{
    attempt::{Try, try_port},
    binding::bind_and_make,
    flow::{BIND, BOUND, NewFlow, Search},
    full::{again, index_again, record_again},
    port::{Ports, TRIES},
};
use crate::{
    addr::Addr,
    conntrack::{
        CtRef, FLAG_BOUND, FLAG_RECORD, FLAG_STEADY, STATE_CLAIMED, STATE_PICKUP, STATE_SALT_MASK,
        budget, created_at, forget, forget_over, is_over, make_room_inbound,
    },
    counters::Counter,
    datapath::{InsertError, Tables, generation, mark_translated, mark_used},
    drop_reason::DropReason,
    tuple,
};

/// Makes the flow and answers its original direction's entry. `binds`: it may have [`BIND`]; else the code
/// for that is left out.
///
/// # Errors
/// [`DropReason::NoPort`], [`DropReason::ConntrackFull`], [`DropReason::FlowRace`],
/// [`DropReason::TcpNotSyn`] where a flow picked up in the middle would need another port.
#[inline(always)]
pub fn create<T: Tables>(
    t: &T,
    flow: &mut NewFlow<T::A>,
    binds: bool,
) -> Result<CtRef<T::A>, DropReason> {
    begin(t, flow);
    let code = if binds && flow.bound == BIND {
        bind_and_make(t, flow)
    } else {
        t.make(flow)
    };
    if let Some(reason) = DropReason::from_code(code) {
        return Err(reason);
    }
    let e = t.ct(&flow.original).ok_or(DropReason::FlowRace)?;
    if flow.to == 0 {
        // Before anything leaves from the port: its answers may come under a flood.
        mark_used(t, flow.reply.proto, e.sport());
        mark_translated(t, flow.reply.proto, e.sport());
    }
    Ok(e)
}

/// [`DropReason::NoPort`] as a number.
pub(super) const NO_PORT: u32 = DropReason::NoPort.code();

#[inline(always)]
fn begin<T: Tables>(t: &T, flow: &mut NewFlow<T::A>) {
    flow.now = t.now();
    flow.salt = t.random() & STATE_SALT_MASK;
}

/// Makes a flow that no packet is translated by and that has no binding; whether it is there now.
#[inline(always)]
pub fn hold<T: Tables>(t: &T, flow: &mut NewFlow<T::A>) -> bool {
    begin(t, flow);
    t.make(flow) == 0
}

impl DropReason {
    /// 0 is success; a reason is its number plus one.
    #[inline(always)]
    pub(super) const fn code(self) -> u32 {
        self as u32 + 1
    }

    #[inline(always)]
    const fn from_code(code: u32) -> Option<Self> {
        const FULL: u32 = DropReason::ConntrackFull.code();
        const NOT_SYN: u32 = DropReason::TcpNotSyn.code();
        const QUOTA: u32 = DropReason::EndpointQuota.code();
        const BUDGET: u32 = DropReason::InboundBudget.code();
        match code {
            0 => None,
            NO_PORT => Some(Self::NoPort),
            FULL => Some(Self::ConntrackFull),
            NOT_SYN => Some(Self::TcpNotSyn),
            QUOTA => Some(Self::EndpointQuota),
            BUDGET => Some(Self::InboundBudget),
            _ => Some(Self::FlowRace),
        }
    }
}

/// Reserves the outside tuple of `flow` and writes both entries: what [`Tables::make`] is.
///
/// The result is 0, or the reason against it as a number: subprograms of the kernel return one word.
#[inline(always)]
pub fn reserve_and_index<T: Tables>(t: &T, flow: &mut NewFlow<T::A>) -> u32 {
    if let Some(config) = t.config()
        && let Some(reason) = budget::refusal(t, config, flow)
    {
        let room = if matches!(reason, DropReason::InboundBudget) {
            // The oldest that the outside has begun gives way to the newest.
            make_room_inbound(t, flow)
        } else {
            forget_over(t, flow.now) && budget::refusal(t, config, flow).is_none()
        };
        if !room {
            return reason.code();
        }
    }
    let made = match reserve(t, flow) {
        Try::Reserved => true,
        Try::Same => {
            // The record stands; write the index that belongs to it, if its maker has not yet.
            let Some(record) = t.ct(&flow.reply) else {
                return DropReason::FlowRace.code();
            };
            flow.salt = record.salt();
            false
        }
        // With the port as the last try left it.
        Try::Full if again(t, flow, record_again::<T>) => {
            count_change(t, flow);
            true
        }
        Try::Full => return DropReason::ConntrackFull.code(),
        Try::Taken if flow.state & STATE_PICKUP != 0 => return DropReason::TcpNotSyn.code(),
        Try::Taken => return DropReason::NoPort.code(),
    };
    if made {
        budget::made(t, flow);
    }
    fill_entry(t, flow, false);
    match insert_index(t, flow) {
        Index::Ours => {}
        // The winner's flow serves this packet as well.
        Index::Winner => {
            give_back(t, flow, made);
            return 0;
        }
        Index::Full => {
            give_back(t, flow, made);
            return DropReason::ConntrackFull.code();
        }
        Index::Dying => {
            give_back(t, flow, made);
            return DropReason::FlowRace.code();
        }
    }
    // Whoever claims the record deletes the index first. One who did so before the index was
    // there leaves it behind without a record; one who claims after this look finds it.
    let stands = t
        .ct(&flow.reply)
        .is_some_and(|r| r.salt() == flow.salt && r.state() & STATE_CLAIMED == 0);
    if !stands {
        if let Some(index) = t.ct(&flow.original)
            && index.salt() == flow.salt
            && index.flags() & FLAG_RECORD == 0
        {
            t.ct_delete(&flow.original);
        }
        return DropReason::FlowRace.code();
    }
    if made && flow.reply.proto != tuple::BINDING {
        t.count(Counter::FlowNew);
        // Until it is answered.
        t.reclaim_push(&flow.reply, flow.from == 0);
        if flow.from != 0 {
            t.count_flow(flow.from);
        }
        if flow.to != 0 && flow.to != flow.from {
            t.count_flow(flow.to);
        }
    }
    0
}

/// What holds the place of the index.
#[repr(u8)]
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Index {
    /// The index of the flow that is being made, whoever wrote it.
    Ours = 0,
    /// A live flow that another processor made of the same packet.
    Winner = 1,
    /// A flow that is being removed this moment, or that leads elsewhere.
    Dying = 2,
    Full = 3,
}

/// Writes the index `flow.entry`.
#[inline(always)]
fn insert_index<T: Tables>(t: &T, flow: &mut NewFlow<T::A>) -> Index {
    match t.ct_insert(&flow.original, &flow.entry) {
        Ok(()) => return Index::Ours,
        Err(InsertError::Full) => {
            return if again(t, flow, index_again::<T>) {
                Index::Ours
            } else {
                Index::Full
            };
        }
        Err(InsertError::Exists) => {}
    }
    let Some(holder) = t.ct(&flow.original) else {
        return Index::Dying;
    };
    let salt = holder.salt();
    // Another processor adopted the record between its insert and this one.
    if salt == flow.salt {
        return Index::Ours;
    }
    if !is_over(t, &flow.original, holder, flow.now) {
        // A flow that leads elsewhere is no winner: following it could leak a private source.
        let same_way = holder.from() == flow.from && holder.to() == flow.to;
        return if same_way {
            Index::Winner
        } else {
            Index::Dying
        };
    }
    // Of an earlier flow with this tuple, under another outside port.
    forget(t, &flow.original, holder, salt);
    match t.ct_insert(&flow.original, &flow.entry) {
        Ok(()) => Index::Ours,
        Err(InsertError::Full) => Index::Full,
        Err(InsertError::Exists) => Index::Dying,
    }
}

/// Gives the reservation back, if it was made here. Nobody else can hold it: the salt is its own.
#[inline(always)]
fn give_back<T: Tables>(t: &T, flow: &mut NewFlow<T::A>, made: bool) {
    if !made {
        return;
    }
    if let Some(record) = t.ct(&flow.reply)
        && record.claim(flow.salt)
    {
        let was = budget::removed(t, flow.reply.proto, record);
        t.ct_delete(&flow.reply);
        flow.asked = flow.reply;
        budget::unbind(t, &mut flow.asked, &was);
    }
}

#[inline(always)]
fn reserve<T: Tables>(t: &T, flow: &mut NewFlow<T::A>) -> Try {
    let preserved = flow.reply.dport;
    let ports = if flow.ports.count == 0 {
        Ports::class_of(flow.reply.proto, preserved)
    } else {
        flow.ports
    };
    if !flow.any_port && (flow.ports.count == 0 || ports.holds(preserved)) {
        match try_port(t, flow) {
            Try::Taken => {}
            done @ (Try::Reserved | Try::Same | Try::Full) => return done,
        }
    }
    if flow.state & STATE_PICKUP != 0 || flow.fixed {
        return Try::Taken;
    }
    flow.search = Search {
        ports,
        offset: t.random(),
        result: Try::Taken as u32,
    };
    let mut turn = Turn { t, flow };
    t.repeat(TRIES, &mut turn, search_step::<T>);
    let result = Try::from_u32(turn.flow.search.result);
    if matches!(result, Try::Reserved) {
        count_change(t, turn.flow);
    }
    result
}

/// Counts a reserved port that is not the flow's own.
#[inline(always)]
fn count_change<T: Tables>(t: &T, flow: &NewFlow<T::A>) {
    if flow.reply.dport != flow.original.sport {
        t.count(Counter::PortChanged);
    }
}

/// What a turn of a search is given.
pub(super) struct Turn<'s, T: Tables> {
    pub(super) t: &'s T,
    pub(super) flow: &'s mut NewFlow<T::A>,
}

/// Tries one port; 1 ends the search.
extern "C" fn search_step<T: Tables>(i: u32, turn: *mut Turn<'_, T>) -> i64 {
    // SAFETY: `repeat` hands on the pointer that `reserve` gave it, and nobody else uses it.
    let Turn { t, flow } = unsafe { &mut *turn };
    let ports = flow.search.ports;
    let offset = if ports.are_few() {
        if i >= ports.count {
            return 1;
        }
        // Small enough not to wrap.
        flow.search.offset % TRIES + i
    } else {
        t.random()
    };
    let port = ports.at(offset);
    flow.reply.dport = port;
    if flow.reply.proto == T::A::ICMP {
        flow.reply.sport = port;
    }
    let result = try_port(*t, flow);
    flow.search.result = result as u32;
    i64::from(!matches!(result, Try::Taken))
}

/// Fills in the entry of one direction.
#[inline(always)]
pub(super) fn fill_entry<T: Tables>(t: &T, flow: &mut NewFlow<T::A>, record: bool) {
    let other = if record {
        flow.original.inverse()
    } else {
        flow.reply.inverse()
    };
    let (from, to) = if record {
        (flow.to, flow.from)
    } else {
        (flow.from, flow.to)
    };
    let e = &mut flow.entry;
    e.src = other.src;
    e.dst = other.dst;
    e.sport = other.sport;
    e.dport = other.dport;
    // Only of connections does a packet of the original direction move the state on.
    e.flags = if record {
        if flow.bound == BOUND {
            FLAG_RECORD | FLAG_BOUND | flow.life
        } else {
            FLAG_RECORD
        }
    } else if !tuple::has_connections(flow.original.proto) {
        FLAG_STEADY
    } else {
        0
    };
    e.from = from;
    e.to = to;
    e.uplink = flow.uplink as u8;
    e.rule = flow.rule;
    e.state = flow.salt | if record { flow.state } else { 0 };
    e.generation = generation(t, flow.from, flow.to, flow.uplink, flow.rule);
    e.stamp = flow.now;
    e.packets = 0;
    e.bytes = 0;
    e.created = created_at(flow.now);
    e.max_ack = 0;
    e.end = 0;
}
