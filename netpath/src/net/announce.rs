//! Telling a container's neighbours whose its addresses are.
//!
//! Owns the frames (gratuitous ARP, RFC 5227 section 3; unsolicited neighbour advertisement, RFC 4861
//! section 7.2.6) and sending them from the container's interface. When is [`crate::instance`]'s and
//! [`crate::agent`]'s matter.

use std::{
    ffi::CString,
    io,
    net::{Ipv4Addr, Ipv6Addr},
    os::fd::AsRawFd as _,
};

use netpath_common::checksum;
use socket2::{Domain, Socket, Type};

use super::{Error, container::IFNAME, namespace::Namespace};
use crate::config::Mac;

/// What is announced.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Announcement {
    /// MAC address of the container's interface.
    pub mac: Mac,
    /// Its address.
    pub addr: Ipv4Addr,
    /// Its IPv6 address.
    pub addr6: Option<Ipv6Addr>,
}

/// How often an address is announced, and how far apart: a single frame may be lost where the network
/// behind the bridge is slow to carry it (RFC 5227: `ANNOUNCE_NUM` of 2; RFC 4861:
/// `MAX_NEIGHBOR_ADVERTISEMENT` of 3, `RetransTimer` of 1 s).
pub const TIMES: u8 = 3;

impl Announcement {
    /// The frames, each to everybody on the link.
    fn frames(&self) -> Vec<Vec<u8>> {
        let arp = arp(self.mac, self.addr);
        let advertisement = self.addr6.map(|addr| advertisement(self.mac, addr));
        std::iter::once(arp).chain(advertisement).collect()
    }
}

/// Announces a container's addresses once, from its own interface: neighbours that had them under another
/// MAC address know better at once.
///
/// # Errors
/// The namespace cannot be entered, or the frames cannot be sent.
pub fn announce(netns: &Namespace, what: &Announcement) -> Result<(), Error> {
    netns.run(async |_| {
        send(&what.frames()).map_err(|source| Error::Request {
            what: format!("announcing {} in `{}`", what.addr, netns.name()),
            source,
        })
    })
}

/// Sends frames out of the container's interface of the calling thread's namespace.
fn send(frames: &[Vec<u8>]) -> io::Result<()> {
    let name = CString::new(IFNAME)?;
    let index = nix::net::if_::if_nametoindex(name.as_c_str())?;
    // Of no protocol: it is never handed a frame.
    let socket = Socket::new(Domain::PACKET, Type::RAW, None)?;
    let to = libc::sockaddr_ll {
        sll_family: libc::AF_PACKET as u16,
        sll_protocol: 0,
        sll_ifindex: index as i32,
        sll_hatype: 0,
        sll_pkttype: 0,
        sll_halen: 6,
        sll_addr: [0; 8],
    };
    for frame in frames {
        // SAFETY: the frame and the address live through the call, with the lengths given.
        let sent = unsafe {
            libc::sendto(
                socket.as_raw_fd(),
                frame.as_ptr().cast(),
                frame.len(),
                0,
                std::ptr::from_ref(&to).cast(),
                size_of::<libc::sockaddr_ll>() as u32,
            )
        };
        if sent < 0 {
            return Err(io::Error::last_os_error());
        }
    }
    Ok(())
}

/// A gratuitous ARP request: sender and target are the same.
fn arp(mac: Mac, addr: Ipv4Addr) -> Vec<u8> {
    let mut frame = vec![0xff; 6];
    frame.extend(mac.0);
    frame.extend(0x0806u16.to_be_bytes());
    // Ethernet, IPv4, lengths 6 and 4, operation 1: request.
    frame.extend([0, 1, 8, 0, 6, 4, 0, 1]);
    frame.extend(mac.0);
    frame.extend(addr.octets());
    frame.extend([0; 6]);
    frame.extend(addr.octets());
    frame
}

/// An unsolicited neighbour advertisement to all nodes that overrides what they know.
fn advertisement(mac: Mac, addr: Ipv6Addr) -> Vec<u8> {
    let to = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 1);
    // Type 136, code 0, no checksum yet; flags: override.
    let mut icmp = vec![136, 0, 0, 0, 0x20, 0, 0, 0];
    icmp.extend(addr.octets());
    // Target link-layer address, of one unit of eight octets.
    icmp.extend([2, 1]);
    icmp.extend(mac.0);
    let length = icmp.len() as u16;
    let mut pseudo = Vec::with_capacity(40 + icmp.len());
    pseudo.extend(addr.octets());
    pseudo.extend(to.octets());
    pseudo.extend(u32::from(length).to_be_bytes());
    pseudo.extend([0, 0, 0, 58]);
    pseudo.extend(&icmp);
    icmp[2..4].copy_from_slice(&checksum::full(&[&pseudo]));

    let mut frame = vec![0x33, 0x33, 0, 0, 0, 1];
    frame.extend(mac.0);
    frame.extend(0x86ddu16.to_be_bytes());
    frame.extend([0x60, 0, 0, 0]);
    frame.extend(length.to_be_bytes());
    // ICMPv6, and a hop limit that proves the sender to be on the link.
    frame.extend([58, 255]);
    frame.extend(addr.octets());
    frame.extend(to.octets());
    frame.extend(icmp);
    frame
}

#[cfg(test)]
mod tests {
    use super::*;

    const MAC: Mac = Mac([2, 0, 0, 0, 0, 9]);

    #[test]
    fn a_gratuitous_request_asks_everybody_for_its_own_address() {
        let frame = arp(MAC, Ipv4Addr::new(172, 17, 0, 2));
        assert_eq!(frame.len(), 42);
        assert_eq!(frame[..6], [0xff; 6]);
        assert_eq!(frame[6..12], MAC.0);
        assert_eq!(frame[20..22], [0, 1]);
        assert_eq!(frame[28..32], frame[38..42]);
    }

    #[test]
    fn an_advertisement_has_a_right_checksum_and_overrides() {
        let addr: Ipv6Addr = "fd00:17::2".parse().unwrap();
        let frame = advertisement(MAC, addr);
        assert_eq!(frame.len(), 14 + 40 + 32);
        assert_eq!((frame[20], frame[21]), (58, 255));
        let mut pseudo = frame[22..54].to_vec();
        pseudo.extend([0, 0, 0, 32, 0, 0, 0, 58]);
        pseudo.extend(&frame[54..]);
        // Over a checksum that is right the sum is zero.
        assert_eq!(checksum::full(&[&pseudo]), [0, 0]);
        assert_eq!(frame[58] & 0x60, 0x20);
        assert_eq!(frame[80..86], MAC.0);
    }

    #[test]
    fn ipv6_is_announced_where_there_is_any() {
        let mut what = Announcement {
            mac: MAC,
            addr: Ipv4Addr::new(172, 17, 0, 2),
            addr6: None,
        };
        assert_eq!(what.frames().len(), 1);
        what.addr6 = Some(Ipv6Addr::LOCALHOST);
        assert_eq!(what.frames().len(), 2);
    }
}
