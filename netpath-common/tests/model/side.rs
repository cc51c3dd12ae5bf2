//! A family of addresses as the model sees it.
//!
//! Owns the names of places in either family, the model's own view of kinds of addresses and of ICMP, and
//! where the world keeps what is of one family. The engine's view of a family is not asked.

use std::fmt::Debug;

use netpath_common::{
    addr::{V4, V6},
    packet::Family,
    testing::{
        plain::{Line, Looks, look},
        plain6::look6,
        *,
    },
};

use crate::{packets::Packets, world::Half};

/// Somebody, or a place, that has an address in each family.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Name {
    Container(usize),
    /// The first network's gateway.
    Gateway,
    /// The last address of the first network.
    Last,
    Server,
    Server2,
    Host,
    /// What the uplink may have instead.
    Host2,
    /// On the uplink's network.
    Near,
    Loopback,
    Multicast,
    /// What nobody has: the broadcast address, an embedded IPv4 address.
    Nobody,
    /// Valid on one link: a container's, by its MAC address.
    Link(usize),
    /// All zero.
    Nothing,
}

/// What kind of address one is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Place {
    Loopback,
    /// Of no destination: this network, embedded IPv4 addresses.
    Nowhere,
    /// Never forwarded: multicast, broadcast and reserved ones.
    Many,
    OneLink,
    /// Of a container network, by its slot.
    Network(u16),
    Elsewhere,
}

/// What the model keeps of each family.
#[derive(Default)]
pub(crate) struct Halves {
    four: Half<V4>,
    six: Half<V6>,
}

/// A family.
pub(crate) trait Side: Family + Packets + Debug {
    /// The addresses that the uplink may have.
    const HOSTS: [Self; 2];
    const ROUTER: Self;
    /// Allow lists that a published port may have: prefixes of whole bytes, and how many of these.
    const LISTS: [&[(Self, usize)]; 4];
    /// The MSS of a packet of 1500 bytes.
    const MOST_MSS: u16;
    /// From which port a DHCP server answers, and to which.
    const DHCP: (u16, u16);

    fn look(frame: &[u8]) -> Looks<Self>;
    /// The packets that answer.
    fn back(line: Line<Self>) -> Line<Self>;
    fn half(halves: &Halves) -> &Half<Self>;
    fn half_mut(halves: &mut Halves) -> &mut Half<Self>;
    fn tables(host: &Host) -> &MemTables<Self>;
    fn tables_mut(host: &mut Host) -> &mut MemTables<Self>;

    /// An address by its name, of a container's link its MAC address decides.
    fn named(name: Name, containers: &[Container; 3]) -> Self;
    fn of(c: &Container) -> Self;
    fn bytes(&self) -> &[u8];
    fn place(self) -> Place;
    /// Whether nobody can have sent a packet with this source.
    fn is_no_source(self) -> bool;
    /// The broadcast address of a container network.
    fn is_subnet_broadcast(self) -> bool;
    fn gateway_of(network: u16) -> Self;
    /// Whether an ICMP type asks, or answers, and has an identifier.
    fn asks(icmp_type: u8) -> bool;
    fn answers(icmp_type: u8) -> bool;
    /// Whether an ICMP error, which begins at `icmp`, has an MTU that no link has.
    fn has_tiny_mtu(icmp: &[u8]) -> bool;

    fn is_private(self) -> bool {
        matches!(self.place(), Place::Network(_))
    }

    fn is_gateway(self) -> bool {
        [NET1, NET2].map(Self::gateway_of).contains(&self)
    }
}

impl Side for V4 {
    const HOSTS: [Self; 2] = [H, [192, 0, 2, 2]];
    const ROUTER: Self = R;
    const LISTS: [&[(Self, usize)]; 4] = [
        &[(S, 4)],
        &[([172, 17, 0, 0], 2)],
        &[(S2, 4), (C1.addr, 4), (C3.addr, 2)],
        &[([198, 51, 0, 0], 2)],
    ];
    const MOST_MSS: u16 = 1460;
    const DHCP: (u16, u16) = (67, 68);

    fn look(frame: &[u8]) -> Looks<Self> {
        look(frame)
    }

    fn back(line: Line<Self>) -> Line<Self> {
        line.back()
    }

    fn half(halves: &Halves) -> &Half<Self> {
        &halves.four
    }

    fn half_mut(halves: &mut Halves) -> &mut Half<Self> {
        &mut halves.four
    }

    fn tables(host: &Host) -> &MemTables<Self> {
        &host.tables
    }

    fn tables_mut(host: &mut Host) -> &mut MemTables<Self> {
        &mut host.tables
    }

    fn named(name: Name, containers: &[Container; 3]) -> Self {
        match name {
            Name::Container(n) => containers[n].addr,
            Name::Gateway => GW1,
            Name::Last => [172, 17, 255, 255],
            Name::Server => S,
            Name::Server2 => S2,
            Name::Host => Self::HOSTS[0],
            Name::Host2 => Self::HOSTS[1],
            Name::Near => [192, 0, 2, 200],
            Name::Loopback => [127, 0, 0, 1],
            Name::Multicast => [224, 0, 0, 1],
            Name::Nobody => [255; 4],
            Name::Link(n) => [169, 254, 0, 10 + n as u8],
            Name::Nothing => [0; 4],
        }
    }

    fn of(c: &Container) -> Self {
        c.addr
    }

    fn bytes(&self) -> &[u8] {
        self
    }

    fn place(self) -> Place {
        match self {
            [127, ..] => Place::Loopback,
            [0, ..] => Place::Nowhere,
            [224..=255, ..] => Place::Many,
            [169, 254, ..] => Place::OneLink,
            [172, 17, ..] => Place::Network(NET1),
            [172, 18, ..] => Place::Network(NET2),
            _ => Place::Elsewhere,
        }
    }

    fn is_no_source(self) -> bool {
        self[0] == 127 || (224..240).contains(&self[0]) || self == [255; 4]
    }

    fn is_subnet_broadcast(self) -> bool {
        self.is_private() && self[2..] == [255, 255]
    }

    fn gateway_of(network: u16) -> Self {
        if network == NET1 { GW1 } else { GW2 }
    }

    fn asks(icmp_type: u8) -> bool {
        matches!(icmp_type, 8 | 13)
    }

    fn answers(icmp_type: u8) -> bool {
        matches!(icmp_type, 0 | 14)
    }

    fn has_tiny_mtu(icmp: &[u8]) -> bool {
        icmp[..2] == [3, 4] && (1..68).contains(&plain::be(icmp, 6))
    }
}

impl Side for V6 {
    const HOSTS: [Self; 2] = [H6, [0x20, 1, 0xd, 0xb8, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 2]];
    const ROUTER: Self = R6;
    const LISTS: [&[(Self, usize)]; 4] = [
        &[(S6, 16)],
        &[(C1.addr6, 8)],
        &[(S2_6, 16), (C1.addr6, 16), (C3.addr6, 8)],
        &[(S6, 6)],
    ];
    const MOST_MSS: u16 = 1440;
    const DHCP: (u16, u16) = (547, 546);

    fn look(frame: &[u8]) -> Looks<Self> {
        look6(frame)
    }

    fn back(line: Line<Self>) -> Line<Self> {
        line.back()
    }

    fn half(halves: &Halves) -> &Half<Self> {
        &halves.six
    }

    fn half_mut(halves: &mut Halves) -> &mut Half<Self> {
        &mut halves.six
    }

    fn tables(host: &Host) -> &MemTables<Self> {
        &host.tables6
    }

    fn tables_mut(host: &mut Host) -> &mut MemTables<Self> {
        &mut host.tables6
    }

    fn named(name: Name, containers: &[Container; 3]) -> Self {
        match name {
            Name::Container(n) => containers[n].addr6,
            Name::Gateway => GW1_6,
            Name::Last => {
                let mut last = GW1_6;
                last[8..].fill(0xff);
                last
            }
            Name::Server => S6,
            Name::Server2 => S2_6,
            Name::Host => Self::HOSTS[0],
            Name::Host2 => Self::HOSTS[1],
            Name::Near => [0x20, 1, 0xd, 0xb8, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xc8],
            Name::Loopback => *b"\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\x01",
            Name::Multicast => *b"\xff\x02\0\0\0\0\0\0\0\0\0\0\0\0\0\x01",
            Name::Nobody => *b"\0\0\0\0\0\0\0\0\0\0\xff\xff\xc0\0\x02\x09",
            Name::Link(n) => {
                // RFC 4291, appendix A.
                let m = containers[n].mac;
                let mut a = *b"\xfe\x80\0\0\0\0\0\0\0\0\0\xff\xfe\0\0\0";
                a[8..11].copy_from_slice(&[m[0] ^ 2, m[1], m[2]]);
                a[13..].copy_from_slice(&m[3..]);
                a
            }
            Name::Nothing => [0; 16],
        }
    }

    fn of(c: &Container) -> Self {
        c.addr6
    }

    fn bytes(&self) -> &[u8] {
        self
    }

    fn place(self) -> Place {
        match self {
            [0xff, ..] => Place::Many,
            [0xfe, 0x80..=0xbf, ..] => Place::OneLink,
            [0xfd, 0, 0, 0x17, 0, 0, 0, 0, ..] => Place::Network(NET1),
            [0xfd, 0, 0, 0x18, 0, 0, 0, 0, ..] => Place::Network(NET2),
            [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1] => Place::Loopback,
            [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0 | 0xff, 0 | 0xff, ..] if self[10] == self[11] => {
                Place::Nowhere
            }
            _ => Place::Elsewhere,
        }
    }

    fn is_no_source(self) -> bool {
        // RFC 4291, 2.5.5: embedded IPv4 addresses, with `::` and `::1` among them.
        let embeds = self[..10] == [0; 10] && matches!(self[10..12], [0, 0] | [0xff, 0xff]);
        self[0] == 0xff || embeds
    }

    fn is_subnet_broadcast(self) -> bool {
        false
    }

    fn gateway_of(network: u16) -> Self {
        if network == NET1 { GW1_6 } else { GW2_6 }
    }

    fn asks(icmp_type: u8) -> bool {
        icmp_type == 128
    }

    fn answers(icmp_type: u8) -> bool {
        icmp_type == 129
    }

    fn has_tiny_mtu(icmp: &[u8]) -> bool {
        icmp[0] == 2 && icmp[4..6] == [0, 0] && plain::be(icmp, 6) < 1280
    }
}
