//! What translation may change in an IPv6 frame, and the datagram that fragments make up.
//!
//! Owns the same for IPv6 as `judge` for IPv4, from whose comparison it is called.

use std::{
    format,
    string::{String, ToString},
    vec::Vec,
};

use super::{
    build6::Datagram6,
    frame::Frame,
    oracle::describe,
    oracle6::{View6, quoted6, view6},
};
use crate::tuple;

/// Blanks with `blank` (offset, length, and where the packet ends) everything in the frame that
/// translation may write, but for MAC addresses.
pub(super) fn blank6(frame: &[u8], blank: &mut dyn FnMut(usize, usize, usize)) {
    let Some(v) = frame.get(14..).and_then(view6) else {
        return;
    };
    let end = 14 + v.at + v.l4.len();
    // Hop limit and addresses.
    blank(21, 33, end);
    if v.is_tail() {
        return;
    }
    let l4 = 14 + v.at;
    blank_transport(&v, l4, end, blank);
    if let Some(at) = mss_at6(frame) {
        blank(at, 2, end);
    }
    if v.proto == tuple::ICMPV6 && matches!(v.l4.first(), Some(1..=4)) {
        let at = l4 + 8;
        let Some(q) = v.l4.get(8..).and_then(quoted6) else {
            return;
        };
        blank(at + 8, 32, end);
        if !q.is_tail() {
            blank_transport(&q, at + q.at, end, blank);
        }
    }
}

fn blank_transport(
    v: &View6<'_>,
    l4: usize,
    end: usize,
    blank: &mut dyn FnMut(usize, usize, usize),
) {
    match v.proto {
        tuple::TCP => {
            blank(l4, 4, end);
            blank(l4 + 16, 2, end);
        }
        tuple::UDP | tuple::UDPLITE | tuple::DCCP => {
            blank(l4, 4, end);
            blank(l4 + 6, 2, end);
        }
        tuple::ICMPV6 => {
            blank(l4 + 2, 2, end);
            if matches!(v.l4.first(), Some(128 | 129)) {
                blank(l4 + 4, 2, end);
            }
        }
        _ => {}
    }
}

/// Where the value of a SYN's MSS option is.
pub(super) fn mss_at6(frame: &[u8]) -> Option<usize> {
    let v = frame.get(14..).and_then(view6)?;
    if v.proto != tuple::TCP || v.is_tail() || v.l4.get(13)? & 2 == 0 {
        return None;
    }
    let options = v.l4.get(20..usize::from(v.l4[12] >> 4) * 4)?;
    let mut at = 0;
    loop {
        match options.get(at..)? {
            [0, ..] => return None,
            [1, ..] => at += 1,
            [2, 4, _, _, ..] => return Some(14 + v.at + 20 + at + 2),
            [2, ..] => return None,
            [_, len, ..] if *len >= 2 => at += usize::from(*len),
            _ => return None,
        }
    }
}

/// As [`super::reassemble`] of IPv6 frames; the fragment headers are gone.
///
/// # Errors
/// Where the parts do not fit together.
pub fn reassemble6(parts: &[Frame]) -> Result<Option<Frame>, String> {
    let mut pieces = Vec::new();
    for part in parts {
        let v = part
            .bytes
            .get(14..)
            .and_then(view6)
            .ok_or("no IPv6 header")?;
        let (at, more, id, behind) = v.fragment.ok_or("no fragment header")?;
        let data = &part.bytes[14 + behind..14 + v.at + v.l4.len()];
        // What the fragment header says is next.
        let proto = part.bytes[14 + behind - 8];
        pieces.push((usize::from(at), more, (v.src, v.dst, id), data, part, proto));
    }
    pieces.sort_by_key(|(at, ..)| *at);
    let Some((0, _, who, _, first, proto)) = pieces.first().copied() else {
        return Ok(None);
    };
    let (mut l4, mut more) = (Vec::new(), true);
    for (at, again, whose, data, part, _) in pieces {
        if whose != who {
            return Err(format!(
                "{} and {} belong together",
                describe(first),
                describe(part)
            ));
        }
        if at < l4.len() {
            return Err("two parts overlap".to_string());
        }
        if at > l4.len() {
            return Ok(None);
        }
        l4.extend_from_slice(data);
        more = again;
    }
    if more {
        return Ok(None);
    }
    let whole = Datagram6::new(who.0, who.1, proto, l4);
    Ok(Some(whole.frame([0; 6], [0; 6], first.ifindex)))
}
