//! A host that routes multicast, as far as a test needs one.
//!
//! Owns the kernel's multicast forwarding cache of one group, which is empty again when it is dropped.

use std::{
    io,
    net::Ipv4Addr,
    os::fd::{AsRawFd as _, FromRawFd as _, OwnedFd},
};

const MRT_INIT: libc::c_int = 200;
const MRT_ADD_VIF: libc::c_int = 202;
const MRT_ADD_MFC: libc::c_int = 204;
const VIFF_USE_IFINDEX: u8 = 8;
const MAX_VIFS: usize = 32;

/// `struct vifctl` of `linux/mroute.h`.
#[repr(C)]
struct Interface {
    number: u16,
    flags: u8,
    threshold: u8,
    rate_limit: u32,
    ifindex: i32,
    remote: u32,
}

/// `struct mfcctl` of `linux/mroute.h`.
#[repr(C)]
struct Entry {
    origin: [u8; 4],
    group: [u8; 4],
    parent: u16,
    ttls: [u8; MAX_VIFS],
    packets: u32,
    bytes: u32,
    wrong: u32,
    expire: i32,
}

/// The routing socket: it ends when this does.
#[derive(Debug)]
pub struct Router {
    _socket: OwnedFd,
}

impl Router {
    /// Routes what `source` sends to `group` from one interface of this namespace to another.
    ///
    /// # Errors
    /// What the kernel says: it has no multicast routing, or somebody else does it.
    pub fn new(from: &str, to: &str, source: Ipv4Addr, group: Ipv4Addr) -> io::Result<Self> {
        // SAFETY: the call has no preconditions; the descriptor is nobody else's.
        let socket = unsafe {
            let fd = libc::socket(
                libc::AF_INET,
                libc::SOCK_RAW | libc::SOCK_CLOEXEC,
                libc::IPPROTO_IGMP,
            );
            if fd < 0 {
                return Err(io::Error::last_os_error());
            }
            OwnedFd::from_raw_fd(fd)
        };
        set(&socket, MRT_INIT, &1_i32)?;
        for (number, name) in [(0, from), (1, to)] {
            let interface = Interface {
                number,
                flags: VIFF_USE_IFINDEX,
                threshold: 1,
                rate_limit: 0,
                ifindex: nix::net::if_::if_nametoindex(name)? as i32,
                remote: 0,
            };
            set(&socket, MRT_ADD_VIF, &interface)?;
        }
        let mut ttls = [0; MAX_VIFS];
        ttls[1] = 1;
        let entry = Entry {
            origin: source.octets(),
            group: group.octets(),
            parent: 0,
            ttls,
            packets: 0,
            bytes: 0,
            wrong: 0,
            expire: 0,
        };
        set(&socket, MRT_ADD_MFC, &entry)?;
        Ok(Self { _socket: socket })
    }
}

fn set<T>(socket: &OwnedFd, option: libc::c_int, value: &T) -> io::Result<()> {
    // SAFETY: the value is readable for the length given.
    let result = unsafe {
        libc::setsockopt(
            socket.as_raw_fd(),
            libc::IPPROTO_IP,
            option,
            std::ptr::from_ref(value).cast(),
            size_of::<T>() as libc::socklen_t,
        )
    };
    if result == 0 {
        Ok(())
    } else {
        Err(io::Error::last_os_error())
    }
}
