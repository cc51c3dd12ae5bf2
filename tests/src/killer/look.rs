//! Looking at a thread that has stopped: its system call, its memory, its sockets.
//!
//! Owns the layouts that this needs, and judges nothing of what it reads.

use std::{
    ffi::{c_int, c_long},
    fs::{self, File},
    io,
    mem::offset_of,
    os::{
        fd::{FromRawFd as _, OwnedFd},
        unix::fs::FileExt as _,
    },
};

use nix::unistd::Pid;
use socket2::Socket;

/// `struct ptrace_syscall_info` (`linux/ptrace.h`), as far as an entry goes. On the way back there is
/// the result in place of the number.
#[repr(C)]
#[derive(Default)]
pub(super) struct SyscallInfo {
    op: u8,
    reserved: u8,
    flags: u16,
    arch: u32,
    instruction: u64,
    stack: u64,
    number: u64,
    arguments: [u64; 6],
    more: [u64; 4],
}

/// Where a thread has stopped.
pub(super) enum Stop {
    Entry(c_long, [u64; 6]),
    Exit(i64),
}

/// `PTRACE_GET_SYSCALL_INFO`, `PTRACE_SYSCALL_INFO_ENTRY` and `PTRACE_SYSCALL_INFO_EXIT`.
const GET_SYSCALL_INFO: libc::c_uint = 0x420e;
const ENTRY: u8 = 1;
const EXIT: u8 = 2;

/// At which end of a system call a thread has stopped.
pub(super) fn stop(tid: Pid) -> Option<Stop> {
    let mut info = SyscallInfo::default();
    // SAFETY: the kernel writes no more than the size given.
    let got = unsafe {
        libc::ptrace(
            GET_SYSCALL_INFO as _,
            tid.as_raw(),
            size_of::<SyscallInfo>(),
            std::ptr::from_mut(&mut info),
        )
    };
    // Less where the thread has been killed meanwhile.
    if usize::try_from(got).ok()? < offset_of!(SyscallInfo, arguments) {
        return None;
    }
    match info.op {
        ENTRY => Some(Stop::Entry(
            c_long::try_from(info.number).ok()?,
            info.arguments,
        )),
        EXIT => Some(Stop::Exit(info.number.cast_signed())),
        _ => None,
    }
}

/// Family and protocol of a socket.
pub(super) fn socket(tid: Pid, descriptor: u64) -> io::Result<(c_int, c_int)> {
    let status = fs::read_to_string(format!("/proc/{tid}/status"))?;
    let process = status
        .lines()
        .find_map(|line| line.strip_prefix("Tgid:")?.trim().parse::<c_int>().ok())
        .ok_or(io::ErrorKind::NotFound)?;
    let process = made(libc::SYS_pidfd_open, [c_long::from(process), 0, 0])?;
    let descriptor = c_long::try_from(descriptor).map_err(io::Error::other)?;
    let number = c_long::from(std::os::fd::AsRawFd::as_raw_fd(&process));
    let socket = Socket::from(made(libc::SYS_pidfd_getfd, [number, descriptor, 0])?);
    let protocol = socket.protocol()?.map_or(0, c_int::from);
    Ok((socket.domain()?.into(), protocol))
}

/// A descriptor that a system call makes.
fn made(number: c_long, [a, b, c]: [c_long; 3]) -> io::Result<OwnedFd> {
    // SAFETY: those two take numbers alone.
    let made = unsafe { libc::syscall(number, a, b, c) };
    let made = c_int::try_from(made).map_err(io::Error::other)?;
    if made < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the kernel has just given this descriptor to us alone.
    Ok(unsafe { OwnedFd::from_raw_fd(made) })
}

/// The kinds of all netlink messages that are sent at once.
pub(super) fn messages(tid: Pid, address: u64, length: u64) -> io::Result<Vec<u16>> {
    let mut bytes = vec![0; usize::try_from(length).map_err(io::Error::other)?];
    File::open(format!("/proc/{tid}/mem"))?.read_exact_at(&mut bytes, address)?;
    let mut kinds = Vec::new();
    let mut rest = &bytes[..];
    while let Some(header) = rest.first_chunk::<16>() {
        let length = u32::from_ne_bytes([header[0], header[1], header[2], header[3]]) as usize;
        kinds.push(u16::from_ne_bytes([header[4], header[5]]));
        if length < header.len() {
            return Err(io::ErrorKind::InvalidData.into());
        }
        rest = rest.get(length.next_multiple_of(4)..).unwrap_or_default();
    }
    if kinds.is_empty() {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    Ok(kinds)
}

/// A string in a thread's memory.
pub(super) fn text(tid: Pid, address: u64) -> String {
    let mut bytes = [0; 256];
    let read = File::open(format!("/proc/{tid}/mem"))
        .and_then(|memory| memory.read_at(&mut bytes, address))
        .unwrap_or(0);
    let end = bytes.iter().position(|b| *b == 0).unwrap_or(read);
    String::from_utf8_lossy(&bytes[..end.min(read)]).into_owned()
}
