//! Frames out of nothing, and an XDP program that drops at once.
//!
//! Owns the calls of bpf(2) and the two programs, a dozen instructions each. Frames are live
//! (BPF_F_TEST_XDP_LIVE_FRAMES): the kernel makes them and redirects them into a device without a
//! socket, so that they reach its other end as a network card's do, in its NAPI.

use std::{
    io,
    os::fd::{AsFd, AsRawFd as _, BorrowedFd, FromRawFd as _, OwnedFd},
};

use anyhow::{Context as _, Result};

const PROG_LOAD: libc::c_int = 5;
const TEST_RUN: libc::c_int = 10;
const LINK_CREATE: libc::c_int = 28;
const PROG_TYPE_XDP: u32 = 6;
const ATTACH_XDP: u32 = 37;
const DRIVER_MODE: u32 = 1 << 2;
const LIVE_FRAMES: u32 = 2;

/// Frames that the kernel makes before it lets the receiver work: a NAPI budget.
const BATCH: u32 = 64;

/// `struct bpf_insn`.
#[repr(C)]
#[derive(Clone, Copy)]
struct Insn {
    code: u8,
    registers: u8,
    offset: i16,
    immediate: i32,
}

const fn insn(code: u8, dst: u8, src: u8, offset: i16, immediate: i32) -> Insn {
    Insn {
        code,
        registers: src << 4 | dst,
        offset,
        immediate,
    }
}

const LOAD_WORD: u8 = 0x61;
const STORE_HALF: u8 = 0x6b;
const MOVE: u8 = 0xbf;
const MOVE_IMMEDIATE: u8 = 0xb7;
const ADD_IMMEDIATE: u8 = 0x07;
const JUMP_IF_GREATER: u8 = 0x2d;
const CALL: u8 = 0x85;
const EXIT: u8 = 0x95;
const GET_PRANDOM_U32: i32 = 7;
const REDIRECT: i32 = 23;
const XDP_DROP: i32 = 1;

/// Bytes up to the end of the UDP header, and where its source port is.
const HEADERS: i32 = 42;
const SOURCE_PORT: i16 = 34;

#[repr(C)]
#[derive(Default)]
struct ProgLoad {
    prog_type: u32,
    insn_cnt: u32,
    insns: u64,
    license: u64,
    log_level: u32,
    log_size: u32,
    log_buf: u64,
    kern_version: u32,
    prog_flags: u32,
    prog_name: [u8; 16],
    prog_ifindex: u32,
    expected_attach_type: u32,
}

#[repr(C)]
#[derive(Default)]
struct TestRun {
    prog_fd: u32,
    retval: u32,
    data_size_in: u32,
    data_size_out: u32,
    data_in: u64,
    data_out: u64,
    repeat: u32,
    duration: u32,
    ctx_size_in: u32,
    ctx_size_out: u32,
    ctx_in: u64,
    ctx_out: u64,
    flags: u32,
    cpu: u32,
    batch_size: u32,
    pad: u32,
}

#[repr(C)]
#[derive(Default)]
struct LinkCreate {
    prog_fd: u32,
    target_ifindex: u32,
    attach_type: u32,
    flags: u32,
}

/// Makes frames and sends them out of one interface.
#[derive(Debug)]
pub(super) struct Injector {
    program: OwnedFd,
}

impl Injector {
    /// For the interface `ifindex` of the namespace in which it will run.
    ///
    /// Each frame gets a source port of its own, so that a table that is asked for its tuple is
    /// asked in a new place, as in a flood from everywhere.
    pub(super) fn new(ifindex: u32) -> Result<Self> {
        let program = load(&[
            insn(LOAD_WORD, 6, 1, 0, 0),
            insn(LOAD_WORD, 7, 1, 4, 0),
            insn(MOVE, 2, 6, 0, 0),
            insn(ADD_IMMEDIATE, 2, 0, 0, HEADERS),
            insn(JUMP_IF_GREATER, 2, 7, 6, 0),
            insn(CALL, 0, 0, 0, GET_PRANDOM_U32),
            insn(STORE_HALF, 6, 0, SOURCE_PORT, 0),
            insn(MOVE_IMMEDIATE, 1, 0, 0, ifindex as i32),
            insn(MOVE_IMMEDIATE, 2, 0, 0, 0),
            insn(CALL, 0, 0, 0, REDIRECT),
            insn(EXIT, 0, 0, 0, 0),
            insn(MOVE_IMMEDIATE, 0, 0, 0, XDP_DROP),
            insn(EXIT, 0, 0, 0, 0),
        ])
        .context("cannot load the program that sends frames")?;
        Ok(Self { program })
    }

    /// Sends `frame` so many times.
    pub(super) fn send(&self, frame: &[u8], times: u32) -> Result<()> {
        let mut attr = TestRun {
            prog_fd: number(self.program.as_fd()),
            data_size_in: u32::try_from(frame.len())?,
            data_in: frame.as_ptr() as u64,
            repeat: times,
            flags: LIVE_FRAMES,
            batch_size: BATCH,
            ..TestRun::default()
        };
        bpf(TEST_RUN, &mut attr).context("cannot send live XDP frames (needs Linux 5.18)")?;
        Ok(())
    }
}

/// Attaches a program that drops whatever comes; it goes when the result is dropped.
pub(super) fn drop_at_once(ifindex: u32) -> Result<OwnedFd> {
    let program = load(&[
        insn(MOVE_IMMEDIATE, 0, 0, 0, XDP_DROP),
        insn(EXIT, 0, 0, 0, 0),
    ])
    .context("cannot load an XDP program")?;
    let mut attr = LinkCreate {
        prog_fd: number(program.as_fd()),
        target_ifindex: ifindex,
        attach_type: ATTACH_XDP,
        flags: DRIVER_MODE,
    };
    let link = bpf(LINK_CREATE, &mut attr).context("cannot attach an XDP program")?;
    // SAFETY: the kernel has just given this descriptor to us alone.
    Ok(unsafe { OwnedFd::from_raw_fd(link) })
}

fn load(instructions: &[Insn]) -> io::Result<OwnedFd> {
    let mut attr = ProgLoad {
        prog_type: PROG_TYPE_XDP,
        insn_cnt: instructions.len() as u32,
        insns: instructions.as_ptr() as u64,
        license: c"Dual MIT/GPL".as_ptr() as u64,
        ..ProgLoad::default()
    };
    let fd = bpf(PROG_LOAD, &mut attr)?;
    // SAFETY: the kernel has just given this descriptor to us alone.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

fn number(fd: BorrowedFd<'_>) -> u32 {
    fd.as_raw_fd() as u32
}

fn bpf<A>(command: libc::c_int, attr: &mut A) -> io::Result<i32> {
    // SAFETY: `attr` is the head of the kernel's `union bpf_attr` for this command, with its true
    // size; the addresses in it point to memory that lives through the call.
    let rc = unsafe { libc::syscall(libc::SYS_bpf, command, &raw mut *attr, size_of::<A>()) };
    if rc < 0 {
        Err(io::Error::last_os_error())
    } else {
        Ok(rc as i32)
    }
}
