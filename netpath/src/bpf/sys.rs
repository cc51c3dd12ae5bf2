//! The bpf(2) commands that aya lacks: batches, link information, update and detachment.
//!
//! Owns the attribute layouts of `linux/bpf.h` that they need and every raw call of bpf(2).

use std::{
    ffi::CString,
    io,
    os::{
        fd::{AsRawFd as _, BorrowedFd, FromRawFd as _, OwnedFd},
        unix::ffi::OsStrExt as _,
    },
    path::Path,
    sync::atomic::{AtomicU64, Ordering},
};

use bytemuck::{Pod, Zeroable};

const MAP_LOOKUP_ELEM: libc::c_int = 1;
const OBJ_GET: libc::c_int = 7;
const OBJ_GET_INFO_BY_FD: libc::c_int = 15;
const MAP_LOOKUP_BATCH: libc::c_int = 24;
const MAP_UPDATE_BATCH: libc::c_int = 26;
const MAP_DELETE_BATCH: libc::c_int = 27;
const LINK_UPDATE: libc::c_int = 29;
const LINK_DETACH: libc::c_int = 34;

/// `BPF_LINK_TYPE_CGROUP` and `BPF_LINK_TYPE_TCX`.
pub(super) const LINK_CGROUP: u32 = 3;
pub(super) const LINK_TCX: u32 = 11;

static CALLS: AtomicU64 = AtomicU64::new(0);

/// How many calls of bpf(2) this file has made in this process.
pub(crate) fn calls() -> u64 {
    CALLS.load(Ordering::Relaxed)
}

#[repr(C)]
#[derive(Clone, Copy, Default, Pod, Zeroable)]
struct ObjAttr {
    pathname: u64,
    fd: u32,
    flags: u32,
}

#[repr(C)]
#[derive(Clone, Copy, Default, Pod, Zeroable)]
struct ElemAttr {
    map_fd: u32,
    pad: u32,
    key: u64,
    value: u64,
    flags: u64,
}

#[repr(C)]
#[derive(Clone, Copy, Default, Pod, Zeroable)]
struct InfoAttr {
    fd: u32,
    len: u32,
    info: u64,
}

#[repr(C)]
#[derive(Clone, Copy, Default, Pod, Zeroable)]
struct BatchAttr {
    in_batch: u64,
    out_batch: u64,
    keys: u64,
    values: u64,
    count: u32,
    map_fd: u32,
    elem_flags: u64,
    flags: u64,
}

#[repr(C)]
#[derive(Clone, Copy, Default, Pod, Zeroable)]
struct LinkUpdateAttr {
    link_fd: u32,
    new_prog_fd: u32,
    flags: u32,
    old_prog_fd: u32,
}

#[repr(C)]
#[derive(Clone, Copy, Default, Pod, Zeroable)]
struct LinkDetachAttr {
    link_fd: u32,
}

/// The head of `struct bpf_link_info` with the members of tcx and cgroup links.
#[repr(C)]
#[derive(Clone, Copy, Default, Pod, Zeroable, Debug)]
pub(super) struct LinkInfo {
    pub(super) kind: u32,
    pub(super) id: u32,
    pub(super) prog_id: u32,
    pad: u32,
    /// tcx: interface index, then attach type. cgroup: 64-bit cgroup id. Zero: its target is gone.
    pub(super) target: [u32; 2],
    rest: [u64; 6],
}

/// Opens a pinned object of any kind.
pub(super) fn open_pin(path: &Path) -> io::Result<OwnedFd> {
    let path = CString::new(path.as_os_str().as_bytes())?;
    let mut attr = ObjAttr {
        pathname: path.as_ptr() as u64,
        ..ObjAttr::default()
    };
    let fd = bpf(OBJ_GET, &mut attr)?;
    // SAFETY: the kernel has just given this descriptor to us alone.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

pub(super) fn link_info(link: BorrowedFd<'_>) -> io::Result<LinkInfo> {
    let mut info = LinkInfo::zeroed();
    let mut attr = InfoAttr {
        fd: number(link),
        len: size_of::<LinkInfo>() as u32,
        info: &raw mut info as u64,
    };
    bpf(OBJ_GET_INFO_BY_FD, &mut attr)?;
    Ok(info)
}

/// The kernel's number of a program.
pub(super) fn program_id(program: BorrowedFd<'_>) -> io::Result<u32> {
    // `struct bpf_prog_info` begins with the type and the number; the kernel fills what fits.
    let mut head = [0u32; 2];
    let mut attr = InfoAttr {
        fd: number(program),
        len: 8,
        info: &raw mut head as u64,
    };
    bpf(OBJ_GET_INFO_BY_FD, &mut attr)?;
    Ok(head[1])
}

/// Replaces the program of a link in one step.
pub(super) fn link_update(link: BorrowedFd<'_>, program: BorrowedFd<'_>) -> io::Result<()> {
    let mut attr = LinkUpdateAttr {
        link_fd: number(link),
        new_prog_fd: number(program),
        ..LinkUpdateAttr::default()
    };
    bpf(LINK_UPDATE, &mut attr).map(drop)
}

pub(super) fn link_detach(link: BorrowedFd<'_>) -> io::Result<()> {
    bpf(
        LINK_DETACH,
        &mut LinkDetachAttr {
            link_fd: number(link),
        },
    )
    .map(drop)
}

/// Reads one entry; `None` when the key is not there. `V` has the map's value size.
pub(super) fn lookup<K: Pod, V: Pod>(map: BorrowedFd<'_>, key: &K) -> io::Result<Option<V>> {
    let mut value = V::zeroed();
    let mut attr = ElemAttr {
        map_fd: number(map),
        key: &raw const *key as u64,
        value: &raw mut value as u64,
        ..ElemAttr::default()
    };
    match bpf(MAP_LOOKUP_ELEM, &mut attr) {
        Ok(_) => Ok(Some(value)),
        Err(e) if e.raw_os_error() == Some(libc::ENOENT) => Ok(None),
        Err(e) => Err(e),
    }
}

/// Reads up to `keys.len()` entries of a hash map. `from` is `None` at the start. Returns how many
/// were read and the token to go on with, `None` at the end.
pub(super) fn lookup_batch<K: Pod, V: Pod>(
    map: BorrowedFd<'_>,
    from: Option<u32>,
    keys: &mut [K],
    values: &mut [V],
) -> io::Result<(usize, Option<u32>)> {
    let token = from.unwrap_or(0);
    let mut next = 0u32;
    let mut attr = BatchAttr {
        in_batch: if from.is_some() {
            &raw const token as u64
        } else {
            0
        },
        out_batch: &raw mut next as u64,
        keys: keys.as_mut_ptr() as u64,
        values: values.as_mut_ptr() as u64,
        count: keys.len().min(values.len()) as u32,
        map_fd: number(map),
        ..BatchAttr::default()
    };
    match bpf(MAP_LOOKUP_BATCH, &mut attr) {
        Ok(_) => Ok((attr.count as usize, Some(next))),
        Err(e) if e.raw_os_error() == Some(libc::ENOENT) => Ok((attr.count as usize, None)),
        Err(e) => Err(e),
    }
}

/// Writes entries; on failure the error comes with how many were written before it.
pub(super) fn update_batch<K: Pod, V: Pod>(
    map: BorrowedFd<'_>,
    keys: &[K],
    values: &[V],
) -> Result<(), (usize, io::Error)> {
    let mut attr = BatchAttr {
        keys: keys.as_ptr() as u64,
        values: values.as_ptr() as u64,
        count: keys.len().min(values.len()) as u32,
        map_fd: number(map),
        ..BatchAttr::default()
    };
    // An empty batch is an error to some kernels.
    if attr.count == 0 {
        return Ok(());
    }
    bpf(MAP_UPDATE_BATCH, &mut attr)
        .map(drop)
        .map_err(|e| (attr.count as usize, e))
}

/// Removes entries; on failure the error comes with how many were removed before it.
pub(super) fn delete_batch<K: Pod>(
    map: BorrowedFd<'_>,
    keys: &[K],
) -> Result<(), (usize, io::Error)> {
    let mut attr = BatchAttr {
        keys: keys.as_ptr() as u64,
        count: keys.len() as u32,
        map_fd: number(map),
        ..BatchAttr::default()
    };
    if attr.count == 0 {
        return Ok(());
    }
    bpf(MAP_DELETE_BATCH, &mut attr)
        .map(drop)
        .map_err(|e| (attr.count as usize, e))
}

fn number(fd: BorrowedFd<'_>) -> u32 {
    fd.as_raw_fd() as u32
}

fn bpf<A: Pod>(command: libc::c_int, attr: &mut A) -> io::Result<i32> {
    CALLS.fetch_add(1, Ordering::Relaxed);
    // SAFETY: `attr` is the head of the kernel's `union bpf_attr` for this command, with its true
    // size; the addresses in it point to live memory of the length that it states.
    let rc = unsafe {
        libc::syscall(
            libc::SYS_bpf,
            command,
            &raw mut *attr,
            size_of::<A>() as libc::c_uint,
        )
    };
    if rc < 0 {
        Err(io::Error::last_os_error())
    } else {
        Ok(rc as i32)
    }
}
