//! Frames put on an interface and taken from it, as they are.
//!
//! Owns one packet socket, and what the kernel says beside a frame: which way it went and whether
//! its checksum is still to be completed. Does not judge packets; [`crate::station`] does.

use std::{
    io,
    mem::MaybeUninit,
    os::fd::AsRawFd,
    time::{Duration, Instant},
};

use netpath::lab::links;
use netpath_common::testing::{Frame, Offload};
use socket2::{Domain, SockAddr, SockAddrStorage, Socket, Type};

use crate::netns::{Namespace, within};

/// Larger than any frame of an interface whose senders leave segmentation to it.
const LARGEST: usize = 70_000;
/// `PACKET_AUXDATA`'s word for a checksum that a device is to complete.
const CSUM_NOT_READY: u32 = 1 << 3;

/// A packet socket on one interface. It sees what comes in there, not what goes out.
#[derive(Debug)]
pub struct Wire {
    socket: Socket,
    ifindex: u32,
}

impl Wire {
    /// Opens it; what comes in from now on is seen.
    ///
    /// # Panics
    /// When the interface is not there or the caller is not root.
    #[must_use]
    #[track_caller]
    pub fn open(namespace: &Namespace, interface: &str) -> Self {
        within(namespace, || {
            let ifindex = links::index(interface).unwrap();
            // Without a protocol nothing is received before the socket is bound to its interface.
            let socket = Socket::new(Domain::PACKET, Type::RAW, None).unwrap();
            for name in [libc::PACKET_IGNORE_OUTGOING, libc::PACKET_AUXDATA] {
                set(&socket, libc::SOL_PACKET, name, 1).unwrap();
            }
            // Room for what comes while the test does something else. SO_RCVBUF stops at a sysctl.
            set(
                &socket,
                libc::SOL_SOCKET,
                libc::SO_RCVBUFFORCE,
                16 * 1024 * 1024,
            )
            .unwrap();
            let everything = (libc::ETH_P_ALL as u16).to_be();
            socket.bind(&address(ifindex, everything)).unwrap();
            Self { socket, ifindex }
        })
    }

    /// Puts a frame on the interface.
    ///
    /// # Panics
    /// When the kernel does not take it.
    #[track_caller]
    pub fn send(&self, frame: &[u8]) {
        assert_eq!(self.socket.send(frame).unwrap(), frame.len());
    }

    /// The next frame that came in, if one does before `deadline`.
    ///
    /// # Panics
    /// When the socket fails.
    #[must_use]
    pub fn next(&self, deadline: Instant) -> Option<Frame> {
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            // No time at all would mean no end of waiting.
            let patience = left.max(Duration::from_millis(1));
            self.socket.set_read_timeout(Some(patience)).unwrap();
            match self.receive() {
                Ok(frame) => return Some(frame),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    if left.is_zero() {
                        return None;
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => panic!("cannot read frames: {error}"),
            }
        }
    }

    fn receive(&self) -> io::Result<Frame> {
        let mut bytes = vec![0; LARGEST];
        let mut control = [MaybeUninit::<u64>::uninit(); 16];
        let mut part = libc::iovec {
            iov_base: bytes.as_mut_ptr().cast(),
            iov_len: bytes.len(),
        };
        // SAFETY: all fields of msghdr are integers and pointers, for which zero is a value.
        let mut message: libc::msghdr = unsafe { std::mem::zeroed() };
        message.msg_iov = &raw mut part;
        message.msg_iovlen = 1;
        message.msg_control = control.as_mut_ptr().cast();
        // Its type differs between C libraries.
        message.msg_controllen = size_of_val(&control) as _;
        // SAFETY: message and all that it points to live through the call and are as long as it says.
        let length = unsafe { libc::recvmsg(self.socket.as_raw_fd(), &raw mut message, 0) };
        let length = usize::try_from(length).map_err(|_| io::Error::last_os_error())?;
        bytes.truncate(length);
        let status = status(&message).expect("the kernel tells about a frame");
        let offload = if status & CSUM_NOT_READY == 0 {
            Offload::None
        } else {
            Offload::Partial
        };
        Ok(Frame {
            bytes,
            ifindex: self.ifindex,
            offload,
            ..Frame::default()
        })
    }
}

/// What `PACKET_AUXDATA` says about the frame.
fn status(message: &libc::msghdr) -> Option<u32> {
    // SAFETY: message is what recvmsg(2) has filled in, and its control buffer is still there.
    let mut header = unsafe { libc::CMSG_FIRSTHDR(message) };
    while !header.is_null() {
        // SAFETY: the macros answer a whole header within the control buffer, or null.
        let (level, kind, data) = unsafe {
            (
                (*header).cmsg_level,
                (*header).cmsg_type,
                libc::CMSG_DATA(header),
            )
        };
        if level == libc::SOL_PACKET && kind == libc::PACKET_AUXDATA {
            // SAFETY: the kernel puts a tpacket_auxdata there, which begins with its status.
            return Some(unsafe { data.cast::<u32>().read_unaligned() });
        }
        // SAFETY: as for the first.
        header = unsafe { libc::CMSG_NXTHDR(message, header) };
    }
    None
}

/// A packet socket on one interface that only sends.
///
/// # Panics
/// When the interface is not there or the caller is not root.
#[must_use]
#[track_caller]
pub(crate) fn sender(namespace: &Namespace, interface: &str) -> Socket {
    within(namespace, || {
        let socket = Socket::new(Domain::PACKET, Type::RAW, None).unwrap();
        let ifindex = links::index(interface).unwrap();
        socket.bind(&address(ifindex, 0)).unwrap();
        socket
    })
}

fn address(ifindex: u32, protocol: u16) -> SockAddr {
    // SAFETY: all fields of sockaddr_ll are integers, for which zero is a value.
    let mut link: libc::sockaddr_ll = unsafe { std::mem::zeroed() };
    link.sll_family = libc::AF_PACKET as u16;
    link.sll_protocol = protocol;
    link.sll_ifindex = ifindex as i32;
    let mut storage = SockAddrStorage::zeroed();
    // SAFETY: the storage is larger than every socket address, and aligned for it.
    unsafe { (&raw mut storage).cast::<libc::sockaddr_ll>().write(link) };
    // SAFETY: the storage holds a whole sockaddr_ll.
    unsafe { SockAddr::new(storage, size_of::<libc::sockaddr_ll>() as u32) }
}

fn set(socket: &Socket, level: i32, name: i32, value: i32) -> io::Result<()> {
    // SAFETY: value is a valid integer of the length given.
    let result = unsafe {
        libc::setsockopt(
            socket.as_raw_fd(),
            level,
            name,
            (&raw const value).cast(),
            size_of::<i32>() as u32,
        )
    };
    if result == 0 {
        Ok(())
    } else {
        Err(io::Error::last_os_error())
    }
}
