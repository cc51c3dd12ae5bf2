//! The system call BPF_PROG_TEST_RUN for tc and XDP programs.
//!
//! Owns its arguments, since aya passes neither flags nor a context back. Owns no program.

use std::{
    io,
    os::fd::{AsRawFd as _, BorrowedFd},
};

/// `BPF_F_TEST_SKB_CHECKSUM_COMPLETE`: the run fails where a rewrite leaves `skb->csum` wrong.
pub const CHECKSUM_COMPLETE: u32 = 4;

const BPF_PROG_TEST_RUN: libc::c_int = 10;

/// Bytes of `struct __sk_buff`, and where its fields are that a run may set.
const SK_BUFF_LEN: usize = 192;
const MARK: usize = 8;
const INGRESS_IFINDEX: usize = 36;
const IFINDEX: usize = 40;
const GSO_SIZE: usize = 176;

/// Room for what a program may prepend or append.
const ROOM: usize = 256;

/// What a program is run on.
#[derive(Clone, Copy, Debug)]
pub struct Input<'a> {
    /// The frame, from the Ethernet header on.
    pub bytes: &'a [u8],
    /// Where it is seen.
    pub ifindex: u32,
    /// Where the host has received it, 0 for its own.
    pub came_by: u32,
    /// `skb->mark`.
    pub mark: u32,
    /// Payload bytes of each segment of a super-packet, 0 for an ordinary one.
    pub gso_size: u32,
    /// How often the program runs. The frame is not reset in between: a rewriting program sees its
    /// own output.
    pub repeat: u32,
    /// `BPF_F_TEST_*`.
    pub flags: u32,
}

impl<'a> Input<'a> {
    /// One run without flags and mark.
    #[must_use]
    pub const fn new(bytes: &'a [u8], ifindex: u32) -> Self {
        Self {
            bytes,
            ifindex,
            came_by: ifindex,
            mark: 0,
            gso_size: 0,
            repeat: 1,
            flags: 0,
        }
    }
}

/// What the last of the runs did, and how long they took.
#[derive(Clone, Debug)]
pub struct Output {
    /// What the program returned.
    pub action: i32,
    /// The frame afterwards.
    pub bytes: Vec<u8>,
    /// `skb->mark` afterwards.
    pub mark: u32,
    /// Nanoseconds of one run, the mean of all repetitions by the kernel's clock.
    pub duration: u32,
}

/// The part of `union bpf_attr` that BPF_PROG_TEST_RUN reads.
#[repr(C)]
#[derive(Default)]
struct Attribute {
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

/// Runs a tc program.
///
/// # Errors
/// What the kernel says: EINVAL for a frame that is shorter than it takes, EMSGSIZE for one that is
/// longer, EBADMSG where [`CHECKSUM_COMPLETE`] found a wrong checksum.
pub fn tc(program: BorrowedFd<'_>, input: &Input<'_>) -> io::Result<Output> {
    let mut ctx = [0_u8; SK_BUFF_LEN];
    ctx[MARK..MARK + 4].copy_from_slice(&input.mark.to_ne_bytes());
    for (at, index) in [(INGRESS_IFINDEX, input.came_by), (IFINDEX, input.ifindex)] {
        ctx[at..at + 4].copy_from_slice(&index.to_ne_bytes());
    }
    ctx[GSO_SIZE..GSO_SIZE + 4].copy_from_slice(&input.gso_size.to_ne_bytes());
    test_run(program, input, &ctx)
}

/// Runs an XDP program. The frame is lo's whatever the input says: the kernel takes no interface
/// without a receive queue, and a veth has those only while it runs XDP.
///
/// # Errors
/// As [`tc`].
pub fn xdp(program: BorrowedFd<'_>, input: &Input<'_>) -> io::Result<Output> {
    test_run(program, input, &[])
}

fn test_run(program: BorrowedFd<'_>, input: &Input<'_>, ctx: &[u8]) -> io::Result<Output> {
    let mut ctx_out = [0_u8; SK_BUFF_LEN];
    let mut bytes = vec![0_u8; input.bytes.len() + ROOM];
    let mut attribute = Attribute {
        prog_fd: program.as_raw_fd() as u32,
        data_size_in: input.bytes.len() as u32,
        data_size_out: bytes.len() as u32,
        data_in: input.bytes.as_ptr() as u64,
        data_out: bytes.as_mut_ptr() as u64,
        repeat: input.repeat,
        flags: input.flags,
        ..Attribute::default()
    };
    if !ctx.is_empty() {
        attribute.ctx_size_in = ctx.len() as u32;
        attribute.ctx_size_out = ctx_out.len() as u32;
        attribute.ctx_in = ctx.as_ptr() as u64;
        attribute.ctx_out = ctx_out.as_mut_ptr() as u64;
    }
    // SAFETY: the attribute and the buffers that it names outlive the call.
    let code = unsafe {
        libc::syscall(
            libc::SYS_bpf,
            BPF_PROG_TEST_RUN,
            &raw mut attribute,
            size_of::<Attribute>(),
        )
    };
    if code < 0 {
        return Err(io::Error::last_os_error());
    }
    bytes.truncate(attribute.data_size_out as usize);
    let mark = ctx_out[MARK..MARK + 4].try_into().unwrap();
    Ok(Output {
        action: attribute.retval as i32,
        bytes,
        mark: u32::from_ne_bytes(mark),
        duration: attribute.duration,
    })
}
