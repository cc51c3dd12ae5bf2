//! Two WireGuard devices that know each other.
//!
//! Owns what `wg set` does, by the kernel's generic netlink (`include/uapi/linux/wireguard.h`): the tool need
//! not be there.

use std::{
    io::Read,
    net::{Ipv4Addr, SocketAddrV4},
};

use netpath::lab::links;
use socket2::{Domain, Protocol, Socket, Type};

use super::TUNNEL;
use crate::{
    netns::{Namespace, within},
    topology::{HOST, OUTSIDE},
};

/// Private and public key of each side; nobody else's.
const NEAR: [&str; 2] = [
    "20ae6094126e23c2742fb71df15e909a37b387fd489323e5ba1e8fad17b1487f",
    "10295e974aff6e4ab666744db4d6575a4d6139ef7e95e60360fca059f7055d3b",
];
/// As [`NEAR`].
const FAR: [&str; 2] = [
    "b0881ccbcf6e7b010153fdc684aec5f85c54d0c3defb737ff63bca6bf62b816f",
    "e69d9619f46ac91911ee28d7106bb6d3435e665da3711eb7e2f4d6ddb260946b",
];
/// Where both listen.
const PORT: u16 = 51820;

const NETLINK_GENERIC: i32 = 16;
/// The family that tells of the others, and its question for one by name.
const CONTROLLER: u16 = 16;
const GET_FAMILY: u8 = 3;
const FAMILY_ID: u16 = 1;
const FAMILY_NAME: u16 = 2;
const SET_DEVICE: u8 = 1;
const NESTED: u16 = 0x8000;

/// Gives both devices their keys and each other as the peer that leads everywhere.
pub(super) fn connect(near: &Namespace, far: &Namespace) {
    configure(near, NEAR, FAR, OUTSIDE);
    configure(far, FAR, NEAR, HOST);
}

fn configure(namespace: &Namespace, own: [&str; 2], peer: [&str; 2], at: Ipv4Addr) {
    within(namespace, || {
        let socket = Socket::new(
            Domain::from(libc::AF_NETLINK),
            Type::RAW,
            Some(Protocol::from(NETLINK_GENERIC)),
        )
        .unwrap();
        let name = attribute(FAMILY_NAME, b"wireguard\0");
        let answer = ask(&socket, CONTROLLER, GET_FAMILY, &name);
        let family = find(&answer[20..], FAMILY_ID);
        let family = u16::from_ne_bytes(family.try_into().unwrap());
        let device = [
            attribute(1, &links::index(TUNNEL).unwrap().to_ne_bytes()),
            attribute(3, &key(own[0])),
            attribute(6, &PORT.to_ne_bytes()),
            attribute(8 | NESTED, &attribute(NESTED, &peer_of(peer[1], at))),
        ];
        ask(&socket, family, SET_DEVICE, &device.concat());
    });
}

/// A peer with its endpoint, to whom every address leads.
fn peer_of(public: &str, at: Ipv4Addr) -> Vec<u8> {
    let everywhere = |family: i32, address: &[u8]| {
        let parts = [
            attribute(1, &(family as u16).to_ne_bytes()),
            attribute(2, address),
            attribute(3, &[0]),
        ];
        attribute(NESTED, &parts.concat())
    };
    let all = [
        everywhere(libc::AF_INET, &[0; 4]),
        everywhere(libc::AF_INET6, &[0; 16]),
    ];
    [
        attribute(1, &key(public)),
        attribute(4, &sockaddr(SocketAddrV4::new(at, PORT))),
        attribute(9 | NESTED, &all.concat()),
    ]
    .concat()
}

/// `struct sockaddr_in`.
fn sockaddr(at: SocketAddrV4) -> [u8; 16] {
    let mut bytes = [0; 16];
    bytes[..2].copy_from_slice(&(libc::AF_INET as u16).to_ne_bytes());
    bytes[2..4].copy_from_slice(&at.port().to_be_bytes());
    bytes[4..8].copy_from_slice(&at.ip().octets());
    bytes
}

fn key(hex: &str) -> Vec<u8> {
    let digits = hex.as_bytes().chunks_exact(2);
    let byte = |pair| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap();
    digits.map(byte).collect()
}

/// An attribute, padded.
fn attribute(kind: u16, value: &[u8]) -> Vec<u8> {
    let mut bytes = (4 + value.len() as u16).to_ne_bytes().to_vec();
    bytes.extend(kind.to_ne_bytes());
    bytes.extend(value);
    bytes.resize(bytes.len().next_multiple_of(4), 0);
    bytes
}

/// The value of the first attribute of a kind.
#[track_caller]
fn find(mut attributes: &[u8], wanted: u16) -> &[u8] {
    loop {
        let word = |at: usize| u16::from_ne_bytes([attributes[at], attributes[at + 1]]);
        let (length, kind) = (usize::from(word(0)), word(2));
        if kind == wanted {
            return &attributes[4..length];
        }
        attributes = &attributes[length.next_multiple_of(4)..];
    }
}

/// Sends a request and returns the first message of the answer, which must not be a refusal.
#[track_caller]
fn ask(mut socket: &Socket, family: u16, command: u8, attributes: &[u8]) -> Vec<u8> {
    const REQUEST_AND_ACK: u16 = 1 | 4;
    const ERROR: u16 = 2;
    let mut request = (20 + attributes.len() as u32).to_ne_bytes().to_vec();
    request.extend(family.to_ne_bytes());
    request.extend(REQUEST_AND_ACK.to_ne_bytes());
    request.extend([1, 0, 0, 0, 0, 0, 0, 0]);
    request.extend([command, 1, 0, 0]);
    request.extend(attributes);
    socket.send(&request).unwrap();
    let mut answer = vec![0; 65536];
    let length = socket.read(&mut answer).unwrap();
    answer.truncate(length);
    if u16::from_ne_bytes([answer[4], answer[5]]) == ERROR {
        assert_eq!(answer[16..20], [0; 4], "the kernel refuses");
    }
    answer
}
