//! Frames on and off an interface, and when nothing is under way any more.
//!
//! Owns the `AF_PACKET` sockets. Knows nothing of what is in a frame but the receiver's address.

use std::{
    io,
    os::fd::{AsFd as _, AsRawFd as _},
};

use netpath::lab::links;
use netpath_common::testing::Mac;
use netpath_tests::{
    netns::{Namespace, within},
    wait::until,
};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use socket2::{Domain, SockAddr, SockAddrStorage, Socket, Type};

const ETH_P_ALL: u16 = 3;
/// Local experimental EtherType (IEEE 802): nothing else on the machine sends it.
const MARKER: [u8; 2] = [0x88, 0xb5];
/// Hops of a packet through the queue of its processor: from a veth pair, over a bridge and another
/// veth pair, and back as an answer of the host.
const HOPS: usize = 5;

/// One end of a veth pair, as whoever lives behind it sees it.
pub(crate) struct Tap {
    socket: Socket,
    /// Its own address.
    pub(crate) mac: Mac,
}

impl Tap {
    pub(crate) fn open(namespace: &Namespace, interface: &str) -> Self {
        let (socket, mac) = within(namespace, || {
            let links = links::links().unwrap();
            let link = links.iter().find(|link| link.name == interface).unwrap();
            // Without a protocol until it is bound, or it would hear every interface meanwhile.
            let socket = Socket::new(Domain::PACKET, Type::RAW, None).unwrap();
            let on: libc::c_int = 1;
            // SAFETY: the pointer is valid for the length given.
            let set = unsafe {
                libc::setsockopt(
                    socket.as_raw_fd(),
                    libc::SOL_PACKET,
                    libc::PACKET_IGNORE_OUTGOING,
                    (&raw const on).cast(),
                    size_of_val(&on) as u32,
                )
            };
            assert_eq!(set, 0, "{}", io::Error::last_os_error());
            socket.bind(&every_protocol(link.index)).unwrap();
            socket.set_nonblocking(true).unwrap();
            (socket, link.mac.as_slice().try_into().unwrap())
        });
        Self { socket, mac }
    }

    pub(crate) fn send(&self, frame: &[u8]) {
        let sent = self.socket.send(frame).unwrap();
        assert_eq!(sent, frame.len());
    }

    /// The next frame of IPv4 or IPv6 to this interface, as a network card without promiscuous mode takes it.
    pub(crate) fn receive(&self) -> Option<Vec<u8>> {
        loop {
            let frame = self.next()?;
            let is_ip = matches!(frame.get(12..14), Some([8, 0] | [0x86, 0xdd]));
            if frame.get(..6) == Some(&self.mac) && is_ip {
                return Some(frame);
            }
        }
    }

    fn next(&self) -> Option<Vec<u8>> {
        // Larger than any packet: reassembled ones may exceed the MTU.
        let mut buffer = [0; 8192];
        match nix::sys::socket::recv(
            self.socket.as_raw_fd(),
            &mut buffer,
            nix::sys::socket::MsgFlags::empty(),
        ) {
            Ok(length) => Some(buffer[..length].to_vec()),
            Err(nix::errno::Errno::EAGAIN) => None,
            Err(error) => panic!("cannot receive: {error}"),
        }
    }
}

fn every_protocol(index: u32) -> SockAddr {
    let mut storage = SockAddrStorage::zeroed();
    // SAFETY: the storage is larger and aligned for every address, and all zero is a sockaddr_ll.
    let address = unsafe { storage.view_as::<libc::sockaddr_ll>() };
    address.sll_family = libc::AF_PACKET as u16;
    address.sll_protocol = ETH_P_ALL.to_be();
    address.sll_ifindex = index as i32;
    // SAFETY: the storage holds a sockaddr_ll.
    unsafe { SockAddr::new(storage, size_of::<libc::sockaddr_ll>() as u32) }
}

/// Tells when the packets of this processor have come to their ends.
///
/// Every hop over a veth pair puts a packet at the end of its processor's queue, first in, first
/// out, and the whole test runs on one processor. So when a marker has gone through the queue after
/// a packet, the packet has made one hop more.
pub(crate) struct Marker {
    from: Tap,
    to: Tap,
}

impl Marker {
    pub(crate) fn new(namespace: &Namespace) -> Self {
        within(namespace, || {
            links::add_veth("mark0", "mark1").unwrap();
            links::up("mark0").unwrap();
            links::up("mark1").unwrap();
        });
        let marker = Self {
            from: Tap::open(namespace, "mark0"),
            to: Tap::open(namespace, "mark1"),
        };
        // A new interface loses what it is given before the kernel has noticed that it is up.
        until("markers come through", || {
            marker.from.send(&marker.frame());
            marker.to.next().is_some()
        });
        while marker.to.next().is_some() {}
        marker
    }

    fn frame(&self) -> [u8; 60] {
        let mut frame = [0; 60];
        frame[..6].copy_from_slice(&self.to.mac);
        frame[6..12].copy_from_slice(&self.from.mac);
        frame[12..14].copy_from_slice(&MARKER);
        frame
    }

    /// Waits until nothing is under way.
    pub(crate) fn wait(&self) {
        let frame = self.frame();
        for _ in 0..HOPS {
            self.from.send(&frame);
            while self.to.next().is_none_or(|seen| seen != frame) {
                let fd = PollFd::new(self.to.socket.as_fd(), PollFlags::POLLIN);
                let ready = poll(&mut [fd], PollTimeout::from(5000u16)).unwrap();
                assert_eq!(ready, 1, "a marker was lost");
            }
        }
    }
}
