//! Hollow programs: in place of what a process loads, one of two instructions.
//!
//! Owns the part of `union bpf_attr` that says what is loaded.

use std::{fs::File, io, mem::offset_of, os::unix::fs::FileExt as _};

use bytemuck::{Pod, Zeroable};
use nix::unistd::Pid;

const PROG_LOAD: u64 = 5;

/// What PROG_LOAD is given (`linux/bpf.h`), as far as the lines of its source.
#[repr(C)]
#[derive(Clone, Copy, Pod, Zeroable)]
struct Load {
    kind: u32,
    count: u32,
    instructions: u64,
    license: u64,
    log: [u64; 2],
    version_and_flags: u64,
    name: [u8; 16],
    place: [u32; 2],
    btf: u32,
    function_size: u32,
    functions: u64,
    function_count: u32,
    line_size: u32,
    lines: u64,
    line_count: u32,
    pad: u32,
}

/// `r0 = 1`, which programs of every kind may answer, and `exit`.
const ONE: [u8; 16] = [0xb7, 0, 0, 0, 1, 0, 0, 0, 0x95, 0, 0, 0, 0, 0, 0, 0];

/// Where a thread is about to load a program, has it load a hollow one.
pub(super) fn out(tid: Pid, [command, address, ..]: [u64; 6]) -> io::Result<()> {
    if command != PROG_LOAD {
        return Ok(());
    }
    let memory = File::options()
        .read(true)
        .write(true)
        .open(format!("/proc/{tid}/mem"))?;
    let mut load = Load::zeroed();
    memory.read_exact_at(bytemuck::bytes_of_mut(&mut load), address)?;
    // What asks whether the kernel knows something is short and stays as it is.
    if load.count < 64 {
        return Ok(());
    }
    memory.write_all_at(&ONE, load.instructions)?;
    for (at, value) in [
        (offset_of!(Load, count), 2u32),
        (offset_of!(Load, function_count), 0),
        (offset_of!(Load, line_count), 0),
    ] {
        memory.write_all_at(&value.to_ne_bytes(), address + at as u64)?;
    }
    Ok(())
}
