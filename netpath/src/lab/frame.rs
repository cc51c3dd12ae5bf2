//! Forged frames: what a container should not be able to send.
//!
//! Owns building them and putting them on an interface of the calling thread's namespace.

use std::net::Ipv4Addr;

use super::{Error, links, ping::checksum};
use crate::net::frames::Frames;

/// Header fields of a forged UDP datagram.
#[derive(Clone, Copy, Debug)]
pub struct Udp {
    /// Source MAC.
    pub from_mac: [u8; 6],
    /// Destination MAC.
    pub to_mac: [u8; 6],
    /// Source address and port.
    pub from: (Ipv4Addr, u16),
    /// Destination address and port.
    pub to: (Ipv4Addr, u16),
}

impl Udp {
    /// The whole frame. The UDP checksum is left out, as RFC 768 allows.
    #[must_use]
    pub fn frame(&self, payload: &[u8]) -> Vec<u8> {
        let udp_length = (8 + payload.len()) as u16;
        let mut ip = vec![0x45, 0];
        ip.extend((20 + udp_length).to_be_bytes());
        ip.extend([0, 1, 0, 0, 64, 17, 0, 0]);
        ip.extend(self.from.0.octets());
        ip.extend(self.to.0.octets());
        let sum = checksum(&ip);
        ip[10..12].copy_from_slice(&sum.to_be_bytes());

        let mut frame = Vec::with_capacity(42 + payload.len());
        frame.extend(self.to_mac);
        frame.extend(self.from_mac);
        frame.extend(0x0800u16.to_be_bytes());
        frame.extend(ip);
        frame.extend(self.from.1.to_be_bytes());
        frame.extend(self.to.1.to_be_bytes());
        frame.extend(udp_length.to_be_bytes());
        frame.extend([0, 0]);
        frame.extend(payload);
        frame
    }
}

/// An ARP reply to everyone: "`address` is at `mac`", in a frame from `frame_mac`.
#[must_use]
pub fn arp_claim(frame_mac: [u8; 6], mac: [u8; 6], address: Ipv4Addr) -> Vec<u8> {
    let mut frame = vec![0xff; 6];
    frame.extend(frame_mac);
    frame.extend(0x0806u16.to_be_bytes());
    // Ethernet, IPv4, lengths 6 and 4, operation 2: reply.
    frame.extend([0, 1, 8, 0, 6, 4, 0, 2]);
    frame.extend(mac);
    frame.extend(address.octets());
    frame.extend([0xff; 6]);
    frame.extend(address.octets());
    frame
}

/// Puts frames on one interface.
#[derive(Debug)]
pub struct Sender {
    frames: Frames,
    name: String,
}

impl Sender {
    /// For interface `name` of the calling thread's namespace.
    ///
    /// # Errors
    /// When there is no such interface, or the caller may not.
    pub fn open(name: &str) -> Result<Self, Error> {
        let index = links::index(name)?;
        let frames = Frames::open(index).map_err(Error::io(format!("send a frame on {name}")))?;
        Ok(Self {
            frames,
            name: name.to_owned(),
        })
    }

    /// Sends a frame as it is.
    ///
    /// # Errors
    /// When the kernel does not take it.
    pub fn send(&self, frame: &[u8]) -> Result<(), Error> {
        let what = format!("send a frame on {}", self.name);
        self.frames.send(frame).map_err(Error::io(what))
    }
}

/// Sends a frame as it is on interface `name`.
///
/// # Errors
/// As [`Sender::open`] and [`Sender::send`].
pub fn send(name: &str, frame: &[u8]) -> Result<(), Error> {
    Sender::open(name)?.send(frame)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_datagram_has_its_lengths_and_a_right_header_checksum() {
        let udp = Udp {
            from_mac: [2; 6],
            to_mac: [4; 6],
            from: (Ipv4Addr::new(172, 17, 0, 2), 7),
            to: (Ipv4Addr::new(198, 51, 100, 2), 9),
        };
        let frame = udp.frame(b"abc");
        assert_eq!(frame.len(), 14 + 20 + 8 + 3);
        assert_eq!(checksum(&frame[14..34]), 0);
        assert_eq!(frame[16..18], [0, 31]);
        assert_eq!(frame[38..40], [0, 11]);
    }

    #[test]
    fn an_arp_claim_is_42_bytes() {
        assert_eq!(arp_claim([2; 6], [2; 6], Ipv4Addr::LOCALHOST).len(), 42);
    }
}
