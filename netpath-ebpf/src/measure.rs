//! Programs that do a part of the datapath's work, to be timed by BPF_PROG_TEST_RUN.
//!
//! Owns the cut between the parts; the work itself is that of netpath-common, by the same functions
//! as at the hooks. Netpath neither loads nor attaches them: their names begin with `np_time_`.
//! Each stands on the one before, so that the difference of two times is the time of a part.

use aya_ebpf::{macros::classifier, programs::TcContext};
use netpath_common::{
    DropReason, V4,
    checksum::{self, Diff},
    conntrack::{self, CtRef},
    datapath::{Tables as _, Work},
    packet::{self, Family as _, Packet as _, Rewrite},
};

use crate::{ctx::TcPacket, finish::NEXT, memory, tables::KernelTables};

/// What a program returns that could not do its part.
const FAILED: i32 = -2;
/// What the look-up returns for a hit.
const HIT: i32 = 1;
/// What the look-up returns for a miss.
const MISS: i32 = 0;

/// Nothing: what is subtracted from every other time.
#[classifier]
pub fn np_time_empty(_ctx: TcContext) -> i32 {
    NEXT
}

/// The working memory.
#[classifier]
pub fn np_time_work(_ctx: TcContext) -> i32 {
    let Some(work) = memory::work::<V4>() else {
        return FAILED;
    };
    work.refresh = true;
    NEXT
}

/// The working memory and the clock.
#[classifier]
pub fn np_time_clock(ctx: TcContext) -> i32 {
    let Some(work) = memory::work::<V4>() else {
        return FAILED;
    };
    work.look_at_clock(&KernelTables::new(&ctx));
    NEXT
}

/// The working memory and the parser.
#[classifier]
pub fn np_time_parse(ctx: TcContext) -> i32 {
    let Some(work) = memory::work::<V4>() else {
        return FAILED;
    };
    match parse(&TcPacket::new(&ctx), work) {
        Ok(()) => NEXT,
        Err(_) => FAILED,
    }
}

/// Parser and conntrack look-up.
#[classifier]
pub fn np_time_lookup(ctx: TcContext) -> i32 {
    let Some(work) = memory::work::<V4>() else {
        return FAILED;
    };
    match lookup(&ctx, work) {
        Ok(Some(_)) => HIT,
        Ok(None) => MISS,
        Err(_) => FAILED,
    }
}

/// Parser, look-up, clock, and whether the packet may use the flow; the answer as a number.
#[classifier]
pub fn np_time_admit(ctx: TcContext) -> i32 {
    let Some(work) = memory::work::<V4>() else {
        return FAILED;
    };
    let Ok(Some(entry)) = lookup(&ctx, work) else {
        return FAILED;
    };
    let tables = KernelTables::new(&ctx);
    work.now = tables.now();
    conntrack::admit(&tables, &work.ip, entry, work.now) as i32
}

/// Parser and one update of the transport checksum.
#[classifier]
pub fn np_time_checksum(ctx: TcContext) -> i32 {
    let mut pkt = TcPacket::new(&ctx);
    let Some(work) = memory::work::<V4>() else {
        return FAILED;
    };
    if parse(&pkt, work).is_err() {
        return FAILED;
    }
    let (src, proto) = (work.ip.tuple.src, work.ip.tuple.proto);
    let at = usize::from(work.ip.l4) + checksum::offset(proto);
    let diff = Diff::new().bytes4(src, other(src)).wsum();
    let udp = proto == netpath_common::tuple::UDP;
    match pkt.update_l4_checksum(at, diff, true, udp) {
        Ok(()) => NEXT,
        Err(_) => FAILED,
    }
}

/// Parser and rewrite of the source address and the TTL: masquerade with the port preserved.
#[classifier]
pub fn np_time_rewrite(ctx: TcContext) -> i32 {
    rewrite(&ctx, 0)
}

/// Parser and rewrite of source address, source port and TTL: the answer of a published port.
#[classifier]
pub fn np_time_ports(ctx: TcContext) -> i32 {
    rewrite(&ctx, 1)
}

#[inline(always)]
fn parse(pkt: &TcPacket<'_>, work: &mut Work) -> Result<(), DropReason> {
    packet::parse_eth(pkt, &mut work.eth)?;
    packet::parse_ipv4(pkt, &mut work.ip)
}

#[inline(always)]
fn lookup(ctx: &TcContext, work: &mut Work) -> Result<Option<CtRef>, DropReason> {
    parse(&TcPacket::new(ctx), work)?;
    Ok(KernelTables::new(ctx).ct(&work.ip.tuple))
}

/// An address from which the same change leads back, so that repetitions alternate.
#[inline(always)]
const fn other(addr: [u8; 4]) -> [u8; 4] {
    [addr[0], addr[1], addr[2] ^ 1, addr[3] ^ 1]
}

#[inline(always)]
fn rewrite(ctx: &TcContext, port_bits: u16) -> i32 {
    let mut pkt = TcPacket::new(ctx);
    let Some(work) = memory::work::<V4>() else {
        return FAILED;
    };
    if parse(&pkt, work).is_err() {
        return FAILED;
    }
    let t = &work.ip.tuple;
    work.to = Rewrite {
        src: other(t.src),
        dst: t.dst,
        sport: t.sport ^ port_bits,
        dport: t.dport,
        hop: true,
    };
    match V4::rewrite(&mut pkt, &work.ip, &work.to) {
        Ok(()) => NEXT,
        Err(_) => FAILED,
    }
}
