//! Fragments put together, and how two engines have made them.
//!
//! Owns the shape of a datagram in parts. What is in it is compared by `compare`.

use std::net::IpAddr;

use netpath_common::testing::Datagram;

use crate::{
    address::Family,
    packet::{MORE, Packet},
};

/// The same fragments in another order.
pub(crate) const ORDER: &str = "order of fragments";
/// Fragments of another size, or none.
pub(crate) const BOUNDARIES: &str = "boundaries of fragments";

/// A fragment header on one alone, without any fragment.
pub(crate) const HEADER: &str = "fragment header";

/// Bytes that fragments carry, and whether they were in order.
type Shape = Vec<(u16, usize)>;

/// How the fragments of both differ, if each has a whole datagram of them.
pub(crate) fn fragmented_otherwise(k: &[Vec<u8>], n: &[Vec<u8>]) -> Option<&'static str> {
    let shape = |all: &[Vec<u8>]| -> Shape {
        let parts = all.iter().map(|b| Packet::new(b));
        parts.map(|p| (p.fragment(), p.l4().len())).collect()
    };
    let (mut of_k, mut of_n) = (shape(k), shape(n));
    let any = of_k.iter().chain(&of_n).any(|(fragment, _)| *fragment != 0);
    let whole = |all: &[Vec<u8>]| {
        let all = reassembled(all.to_vec());
        !all.is_empty() && all.iter().all(|b| Packet::new(b).fragment() == 0)
    };
    if !any || of_k == of_n || !whole(k) || !whole(n) {
        return None;
    }
    of_k.sort_unstable();
    of_n.sort_unstable();
    Some(if of_k == of_n { ORDER } else { BOUNDARIES })
}

/// Puts fragments together, in the place of the first one of theirs. What is incomplete stays as it
/// is. Of IPv6 the fragment header stays, with the identification.
pub(crate) fn reassembled(all: Vec<Vec<u8>>) -> Vec<Vec<u8>> {
    let mut parts: Vec<_> = all
        .iter()
        .map(|b| Packet::new(b))
        .filter(|p| p.fragment() != 0)
        .collect();
    parts.sort_by_key(|p| p.fragment() & !MORE);
    let (Some(first), Some(last)) = (parts.first(), parts.last()) else {
        return all;
    };
    let mut payload = Vec::new();
    for part in &parts {
        if usize::from(part.fragment() & !MORE) * 8 != payload.len() {
            return all;
        }
        payload.extend_from_slice(part.parts().1);
    }
    // None of them differs from the first one in these.
    let key = |p: &Packet<'_>| (p.src(), p.dst(), p.proto(), p.ttl(), p.ip_id());
    if last.fragment() & MORE != 0 || parts.iter().any(|p| key(p) != key(first)) {
        return all;
    }
    let whole = whole(*first, payload);
    let others = all.iter().filter(|b| Packet::new(b).fragment() == 0);
    std::iter::once(whole).chain(others.cloned()).collect()
}

fn whole(first: Packet<'_>, payload: Vec<u8>) -> Vec<u8> {
    let headers = first.parts().0;
    match (first.src(), first.dst()) {
        (IpAddr::V4(src), IpAddr::V4(dst)) => {
            let id = u16::from_be_bytes([headers[4], headers[5]]);
            let mut whole = Datagram::new(src.octets(), dst.octets(), first.proto(), payload)
                .ttl(first.ttl())
                .id(id);
            if headers[6] & 0x40 != 0 {
                whole = whole.dont_fragment();
            }
            whole.bytes()
        }
        _ => {
            let mut bytes = [headers, &payload].concat();
            let length = (bytes.len() - 40) as u16;
            bytes[4..6].copy_from_slice(&length.to_be_bytes());
            // Offset 0, and none follow.
            let at = headers.len() - 8;
            bytes[at + 2..at + 4].fill(0);
            bytes
        }
    }
}

/// Whether one of two whole packets has come in fragments, or in one, and the other has not: the
/// difference is in the headers.
pub(crate) fn is_one_in_fragments(bytes: &[Vec<u8>; 2]) -> bool {
    let [k, n] = bytes.each_ref().map(|b| Packet::new(b));
    let whole = k.fragment() == 0 && n.fragment() == 0;
    whole && k.ip_id().is_some() != n.ip_id().is_some()
}

/// A packet that was put together, as if it had never been in parts.
pub(crate) fn as_whole(bytes: Vec<u8>) -> Vec<u8> {
    let p = Packet::new(&bytes);
    let (headers, rest) = p.parts();
    if p.family() == Family::V4 || p.ip_id().is_none() {
        return bytes;
    }
    let (before, header) = headers.split_at(headers.len() - 8);
    let mut whole = [before, rest].concat();
    let length = (whole.len() - 40) as u16;
    whole[4..6].copy_from_slice(&length.to_be_bytes());
    // The tests fragment nothing that has other extension headers.
    whole[6] = header[0];
    whole
}
