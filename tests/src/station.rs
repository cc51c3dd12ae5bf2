//! A place that packets are sent from and seen at, with nothing of the kernel's in between.
//!
//! Owns what is expected of the packets that arrive: byte for byte what a test says, every checksum
//! right in all the others, and nothing private outside. Frames are [`crate::wire`]'s.

use std::{
    cell::RefCell,
    net::Ipv4Addr,
    time::{Duration, Instant},
};

use netpath::lab::links;
use netpath_common::testing::{Addr, Datagram, Frame, Mac, describe, ethernet, verify};

use crate::{
    netns::{Namespace, within},
    topology::{UPLINK, World},
    ways::ip,
    wire::Wire,
};

/// How long a packet may take on a busy machine.
const PATIENCE: Duration = Duration::from_secs(10);
/// A server outside that is nobody's address: no stack answers beside the test.
pub const STRANGER: Addr = [203, 0, 113, 9];
/// A router outside, just as mute.
pub const ROUTER: Addr = [203, 0, 113, 77];

/// An interface with its MAC address and its next hop's.
#[derive(Debug)]
pub struct Station {
    wire: Wire,
    own: Mac,
    hop: Mac,
    outside: bool,
    /// Came in and was not expected yet.
    unexpected: RefCell<Vec<Frame>>,
}

impl Station {
    /// The outside's interface; the host is its next hop.
    ///
    /// # Panics
    /// When it is not there.
    #[must_use]
    pub fn outside(world: &World) -> Self {
        Self::at(&world.outside, mac(&world.host, UPLINK), true)
    }

    /// The interface of a container on `bridge`, which becomes mute: its stack answers nothing any
    /// more, since it has no address left. The host keeps finding it.
    ///
    /// # Panics
    /// When it is not there.
    #[must_use]
    pub fn container(world: &World, name: &str, address: Ipv4Addr, bridge: &str) -> Self {
        let container = world.container(name);
        let station = Self::at(container, mac(&world.host, bridge), false);
        ip(container, "addr flush dev eth0");
        let own = links::mac_text(&station.own);
        ip(
            &world.host,
            &format!("neigh replace {address} lladdr {own} dev {bridge} nud permanent"),
        );
        station
    }

    fn at(namespace: &Namespace, hop: Mac, outside: bool) -> Self {
        Self {
            wire: Wire::open(namespace, "eth0"),
            own: mac(namespace, "eth0"),
            hop,
            outside,
            unexpected: RefCell::default(),
        }
    }

    /// Its MAC address.
    #[must_use]
    pub fn mac(&self) -> Mac {
        self.own
    }

    /// Sends a packet to the next hop.
    #[track_caller]
    pub fn send(&self, packet: &Datagram) {
        self.send_bytes(&packet.bytes());
    }

    /// Sends what may be no right packet to the next hop, from the IP header on.
    #[track_caller]
    pub fn send_bytes(&self, packet: &[u8]) {
        let mut frame = ethernet(self.own, self.hop, 0x0800);
        frame.extend(packet);
        self.wire.send(&frame);
    }

    /// Sends a whole frame.
    #[track_caller]
    pub fn send_frame(&self, frame: &[u8]) {
        self.wire.send(frame);
    }

    /// Waits for exactly this packet.
    ///
    /// # Panics
    /// When it does not come, and when a packet comes with a wrong checksum or, outside, with a
    /// private source.
    #[track_caller]
    pub fn gets(&self, packet: &Datagram) {
        self.gets_bytes(&packet.bytes());
    }

    /// The same for bytes from the IP header on, which may be no right packet.
    ///
    /// # Panics
    /// As [`Station::gets`].
    #[track_caller]
    pub fn gets_bytes(&self, packet: &[u8]) {
        let wanted = Frame {
            bytes: [&ethernet([0; 6], [0; 6], 0x0800), packet].concat(),
            ..Frame::default()
        };
        self.find(&describe(&wanted), |frame| frame.bytes[14..] == *packet);
    }

    /// Waits for a packet of the protocol, addresses and destination port of what `translated`
    /// makes; it must be exactly that, for the source port (or identifier) that it has. The port is
    /// the result.
    ///
    /// # Panics
    /// As [`Station::gets`].
    #[track_caller]
    pub fn gets_from_some_port(&self, translated: impl Fn(u16) -> Datagram) -> u16 {
        let like = translated(0);
        let port_at = |frame: &Frame| {
            let at = 34 + if like.proto == 1 { 4 } else { 0 };
            u16::from_be_bytes([frame.bytes[at], frame.bytes[at + 1]])
        };
        let frame = self.find(&format!("{like:?} from some port"), |frame| {
            frame.bytes.len() == 14 + like.bytes().len()
                && frame.bytes[14..] == translated(port_at(frame)).bytes()
        });
        port_at(&frame)
    }

    /// Waits for a packet that `is` it.
    ///
    /// # Panics
    /// As [`Station::gets`].
    #[track_caller]
    pub fn find(&self, what: &str, is: impl Fn(&Frame) -> bool) -> Frame {
        let mut unexpected = self.unexpected.borrow_mut();
        if let Some(at) = unexpected.iter().position(&is) {
            return unexpected.remove(at);
        }
        let deadline = Instant::now() + PATIENCE;
        while let Some(frame) = self.wire.next(deadline) {
            if !self.concerns(&frame) {
                continue;
            }
            if is(&frame) {
                return frame;
            }
            is_whole(&frame);
            unexpected.push(frame);
        }
        let seen: Vec<_> = unexpected.iter().map(describe).collect();
        panic!("waited {PATIENCE:?} in vain for {what}; seen: {seen:?}");
    }

    /// Every other IPv4 packet that came in so far, in words. What was sent earlier and has been
    /// seen elsewhere, or counted as dropped, would have come.
    ///
    /// # Panics
    /// As [`Station::gets`].
    #[must_use]
    #[track_caller]
    pub fn others(&self) -> Vec<String> {
        let now = Instant::now();
        while let Some(frame) = self.wire.next(now) {
            if self.concerns(&frame) {
                is_whole(&frame);
                self.unexpected.borrow_mut().push(frame);
            }
        }
        self.unexpected.take().iter().map(describe).collect()
    }

    /// Whether a frame is IPv4 and no report of group membership, which bridges make by themselves.
    #[track_caller]
    fn concerns(&self, frame: &Frame) -> bool {
        const IGMP: u8 = 2;
        if frame.bytes.get(12..14) != Some(&[8, 0]) {
            return false;
        }
        let private =
            self.outside && (frame.bytes[26..28] == [172, 17] || frame.bytes[26..28] == [172, 18]);
        assert!(!private, "a private source outside: {}", describe(frame));
        frame.bytes[23] != IGMP
    }
}

#[track_caller]
fn is_whole(frame: &Frame) {
    if let Err(wrong) = verify(frame) {
        panic!("{}: {wrong}", describe(frame));
    }
}

/// The MAC address of an interface.
///
/// # Panics
/// When it is not there.
#[must_use]
#[track_caller]
pub fn mac(namespace: &Namespace, interface: &str) -> Mac {
    let links = within(namespace, || links::links().unwrap());
    let link = links.iter().find(|link| link.name == interface);
    let link = link.unwrap_or_else(|| panic!("no {interface} in {}", namespace.name()));
    link.mac.as_slice().try_into().unwrap()
}
