//! Whole frames onto one interface of the calling thread's network namespace.

use std::{io, os::fd::AsRawFd as _};

use socket2::{Domain, Socket, Type};

/// Puts frames on an interface, and receives none.
#[derive(Debug)]
pub(crate) struct Frames {
    socket: Socket,
    address: libc::sockaddr_ll,
}

impl Frames {
    /// For the interface with this index.
    pub(crate) fn open(index: u32) -> io::Result<Self> {
        let socket = Socket::new(Domain::PACKET, Type::RAW, None)?;
        // SAFETY: all fields of sockaddr_ll are integers, for which zero is a value.
        let mut address: libc::sockaddr_ll = unsafe { std::mem::zeroed() };
        address.sll_family = libc::AF_PACKET as u16;
        address.sll_ifindex = index as i32;
        address.sll_halen = 6;
        Ok(Self { socket, address })
    }

    /// Sends a frame as it is.
    pub(crate) fn send(&self, frame: &[u8]) -> io::Result<()> {
        // SAFETY: frame and address are valid for the lengths given and live through the call.
        let sent = unsafe {
            libc::sendto(
                self.socket.as_raw_fd(),
                frame.as_ptr().cast(),
                frame.len(),
                0,
                (&raw const self.address).cast(),
                size_of::<libc::sockaddr_ll>() as u32,
            )
        };
        if usize::try_from(sent) == Ok(frame.len()) {
            Ok(())
        } else {
            Err(io::Error::last_os_error())
        }
    }
}
