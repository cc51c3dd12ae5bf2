//! Telling the neighbours on a bridge who has an address now.
//!
//! An address is given to another container as soon as it is free, with another MAC address. Whoever
//! has sent to the one before remembers that one's, and Linux would go on sending there for as long as
//! the entry is good, and then ask that one first (RFC 4861, 7.3.3): most of a minute.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use etherparse::{
    ArpHardwareId, ArpOperation, ArpPacket, EtherType, Icmpv6Type, PacketBuilder,
    icmpv6::NeighborAdvertisementHeader,
};
use nix::errno::Errno;
use rtnetlink::packet_route::{
    AddressFamily,
    neighbour::{NeighbourAddress, NeighbourAttribute, NeighbourMessage},
};

use super::{Error, Netlink, error::is_errno, frames::Frames};
use crate::config::Mac;

/// A container's addresses.
#[derive(Clone, Copy, Debug)]
pub struct Announced {
    /// IPv4.
    pub addr: Ipv4Addr,
    /// IPv6.
    pub addr6: Option<Ipv6Addr>,
    /// MAC.
    pub mac: Mac,
}

const BROADCAST: [u8; 6] = [0xff; 6];
/// All nodes of the link (RFC 4291, 2.7.1), and their MAC address (RFC 2464, 7).
const ALL_NODES: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 1);
const ALL_NODES_MAC: [u8; 6] = [0x33, 0x33, 0, 0, 0, 1];
/// Every message of neighbour discovery has it (RFC 4861, 7.1.2).
const HOP_LIMIT: u8 = 255;

impl Netlink {
    /// Tells everybody on the bridge with this index: its ports by a gratuitous ARP request and an
    /// unsolicited neighbour advertisement, and the host itself, which does not hear its own frames, by
    /// making it forget. From the bridge and not from the containers, whose ports may still be waiting
    /// to be noticed by the bridge. Without `ports` the host alone: every port hears of every address,
    /// which is not for those that cannot know any.
    ///
    /// # Errors
    /// A frame could not be sent, or an entry not be removed.
    pub async fn announce(&self, bridge: u32, all: &[Announced], ports: bool) -> Result<(), Error> {
        let failed = |source| Error::Request {
            what: format!("announcing addresses on interface {bridge}"),
            source,
        };
        let frames = ports.then(|| Frames::open(bridge)).transpose();
        let frames = frames.map_err(failed)?;
        let send = |frame: Vec<u8>| frames.as_ref().map_or(Ok(()), |f| f.send(&frame));
        for one in all {
            send(arp(one)).map_err(failed)?;
            self.forget_neighbour(bridge, one.addr.into()).await?;
            if let Some(addr6) = one.addr6 {
                send(advertisement(addr6, one.mac)).map_err(failed)?;
                self.forget_neighbour(bridge, addr6.into()).await?;
            }
        }
        Ok(())
    }

    /// Removes the host's neighbour entry of an address; fine if it has none.
    async fn forget_neighbour(&self, index: u32, addr: IpAddr) -> Result<(), Error> {
        let mut message = NeighbourMessage::default();
        message.header.ifindex = index;
        let (family, destination) = match addr {
            IpAddr::V4(addr) => (AddressFamily::Inet, NeighbourAddress::Inet(addr)),
            IpAddr::V6(addr) => (AddressFamily::Inet6, NeighbourAddress::Inet6(addr)),
        };
        message.header.family = family;
        message
            .attributes
            .push(NeighbourAttribute::Destination(destination));
        match self.handle.neighbours().del(message).execute().await {
            Err(e) if !is_errno(&e, Errno::ENOENT) => {
                let what = format!("removing the neighbour entry of {addr}");
                Err(Error::request(what, &e))
            }
            _ => Ok(()),
        }
    }
}

/// A gratuitous ARP request (RFC 5227, 3): whoever has an entry for the address takes the MAC address
/// of it, and nobody else makes one.
fn arp(one: &Announced) -> Vec<u8> {
    let (mac, addr) = (one.mac.0, one.addr.octets());
    let message = ArpPacket::new(
        ArpHardwareId::ETHERNET,
        EtherType::IPV4,
        ArpOperation::REQUEST,
        &mac,
        &addr,
        &[0; 6],
        &addr,
    );
    let mut frame = Vec::new();
    if let Ok(message) = message {
        let packet = PacketBuilder::ethernet2(mac, BROADCAST).arp(message);
        // A vector takes what is written into it.
        let _ = packet.write(&mut frame);
    }
    frame
}

/// An unsolicited neighbour advertisement (RFC 4861, 7.2.6) that overrides what is known.
fn advertisement(addr: Ipv6Addr, mac: Mac) -> Vec<u8> {
    let flags = NeighborAdvertisementHeader {
        router: false,
        solicited: false,
        r#override: true,
    };
    // The target, and the option that has its MAC address: type 2, one unit of eight bytes.
    let mut body = addr.octets().to_vec();
    body.extend([2, 1]);
    body.extend(mac.0);
    let mut frame = Vec::new();
    let packet = PacketBuilder::ethernet2(mac.0, ALL_NODES_MAC)
        .ipv6(addr.octets(), ALL_NODES.octets(), HOP_LIMIT)
        .icmpv6(Icmpv6Type::NeighborAdvertisement(flags));
    let _ = packet.write(&mut frame, &body);
    frame
}

#[cfg(test)]
mod tests {
    use etherparse::{Icmpv6Slice, Ipv6HeaderSlice};

    use super::*;

    const ONE: Announced = Announced {
        addr: Ipv4Addr::new(172, 17, 0, 2),
        addr6: Some(Ipv6Addr::new(0xfd00, 0, 0, 0, 0, 0, 0, 2)),
        mac: Mac([2, 0, 0, 0, 0, 9]),
    };

    #[test]
    fn an_arp_request_asks_for_its_own_sender() {
        let mut want = vec![0xff; 6];
        want.extend([2, 0, 0, 0, 0, 9, 8, 6]);
        want.extend([0, 1, 8, 0, 6, 4, 0, 1]);
        want.extend([2, 0, 0, 0, 0, 9, 172, 17, 0, 2]);
        want.extend([0, 0, 0, 0, 0, 0, 172, 17, 0, 2]);
        assert_eq!(arp(&ONE), want);
    }

    #[test]
    fn an_advertisement_is_whole_and_overrides() {
        let frame = advertisement(ONE.addr6.unwrap(), ONE.mac);
        assert_eq!(
            frame[..14],
            [0x33, 0x33, 0, 0, 0, 1, 2, 0, 0, 0, 0, 9, 0x86, 0xdd]
        );
        let ip = Ipv6HeaderSlice::from_slice(&frame[14..]).unwrap();
        assert_eq!((ip.hop_limit(), ip.payload_length()), (255, 32));
        let icmp = Icmpv6Slice::from_slice(&frame[54..]).unwrap();
        assert!(icmp.is_checksum_valid(ip.source(), ip.destination()));
        assert_eq!(frame[54..56], [136, 0]);
        assert_eq!(frame[58..62], [0x20, 0, 0, 0]);
        assert_eq!(frame[62..78], ONE.addr6.unwrap().octets());
        assert_eq!(frame[78..], [2, 1, 2, 0, 0, 0, 0, 9]);
    }
}
