//! What must hold for every frame that a hook lets go on, whatever it decided and why.
//!
//! Owns the comparison of a frame before and after a hook: its length, its checksums, and that
//! nothing has changed but what translation may change. Knows no table and no verdict.

use std::{
    format,
    string::{String, ToString},
    vec::Vec,
};

use super::{
    build::Datagram,
    frame::Frame,
    judge6::{blank6, mss_at6},
    oracle::{describe, faults},
};
use crate::tuple;

/// Compares a frame with what a hook made of it.
///
/// Checksums are recomputed in full. One that was wrong before may be wrong afterwards: translation
/// neither repairs nor hides what the sender broke.
///
/// # Errors
/// What is wrong, in one line.
pub fn judge(before: &Frame, after: &Frame) -> Result<(), String> {
    let (a, b) = (&before.bytes, &after.bytes);
    if a.len() != b.len() {
        return Err(format!("{} bytes became {}", a.len(), b.len()));
    }
    let old = faults(before);
    let new: Vec<_> = faults(after)
        .into_iter()
        .filter(|fault| !old.contains(fault))
        .collect();
    if !new.is_empty() {
        return Err(format!(
            "{} became {}: {}",
            describe(before),
            describe(after),
            new.join("; ")
        ));
    }
    let changed = masked(a).iter().zip(masked(b)).position(|(x, y)| *x != y);
    if let Some(at) = changed {
        return Err(format!(
            "{} became {}: byte {at} is no field of translation",
            describe(before),
            describe(after)
        ));
    }
    match (mss(a), mss(b)) {
        (Some(old), Some(new)) if new > old => Err(format!("the MSS grew from {old} to {new}")),
        _ => Ok(()),
    }
}

/// The frame with everything blanked that translation may write.
fn masked(frame: &[u8]) -> Vec<u8> {
    let mut b = frame.to_vec();
    let mut blank = |at: usize, len: usize, end: usize| {
        let end = end.min(b.len());
        b[at.min(end)..(at + len).min(end)].fill(0);
    };
    blank(0, 12, frame.len());
    if frame.get(12..14) == Some(&[0x86, 0xdd]) {
        blank6(frame, &mut blank);
        return b;
    }
    let Some(p) = Place::of(frame, 14, frame.len()) else {
        return b;
    };
    // TTL, checksum and addresses; the protocol between them stays.
    blank(22, 1, p.end);
    blank(24, 10, p.end);
    if p.is_tail {
        return b;
    }
    match p.proto {
        tuple::TCP => {
            blank(p.l4, 4, p.end);
            blank(p.l4 + 16, 2, p.end);
            if let Some(at) = mss_at(frame) {
                blank(at, 2, p.end);
            }
        }
        tuple::UDP | tuple::UDPLITE | tuple::DCCP => {
            blank(p.l4, 4, p.end);
            blank(p.l4 + 6, 2, p.end);
        }
        tuple::ICMP => {
            blank(p.l4 + 2, 2, p.end);
            match frame.get(p.l4) {
                Some(0 | 8 | 13 | 14) => blank(p.l4 + 4, 2, p.end),
                Some(3 | 4 | 11 | 12) => {
                    let at = p.l4 + 8;
                    if let Some(q) = Place::of(frame, at, p.end) {
                        blank(at + 10, 10, p.end);
                        match q.proto {
                            tuple::TCP => {
                                blank(q.l4, 4, p.end);
                                blank(q.l4 + 16, 2, p.end);
                            }
                            tuple::UDP | tuple::UDPLITE | tuple::DCCP => {
                                blank(q.l4, 4, p.end);
                                blank(q.l4 + 6, 2, p.end);
                            }
                            tuple::ICMP => {
                                blank(q.l4 + 2, 4, p.end);
                            }
                            _ => {}
                        }
                    }
                }
                _ => {}
            }
        }
        _ => {}
    }
    b
}

/// Where the parts of an IPv4 packet are in a frame.
struct Place {
    proto: u8,
    l4: usize,
    end: usize,
    is_tail: bool,
}

impl Place {
    fn of(frame: &[u8], at: usize, end: usize) -> Option<Self> {
        let h: &[u8; 20] = frame.get(at..end)?.first_chunk()?;
        let is_frame = at == 14;
        if h[0] >> 4 != 4 || is_frame && frame[12..14] != [8, 0] {
            return None;
        }
        let total = match u16::from_be_bytes([h[2], h[3]]) {
            0 if is_frame => frame.len() - at,
            field => usize::from(field),
        };
        Some(Self {
            proto: h[9],
            l4: at + usize::from(h[0] & 15) * 4,
            // A quoted packet is longer than what is quoted of it.
            end: if is_frame { (at + total).min(end) } else { end },
            is_tail: (h[6] & 0x1f) as u16 * 256 + u16::from(h[7]) != 0,
        })
    }
}

/// Where the value of a SYN's MSS option is.
fn mss_at(frame: &[u8]) -> Option<usize> {
    let p = Place::of(frame, 14, frame.len())?;
    let header = frame.get(p.l4..p.end)?;
    if p.proto != tuple::TCP || p.is_tail || header.get(13)? & 2 == 0 {
        return None;
    }
    let options = header.get(20..usize::from(header[12] >> 4) * 4)?;
    let mut at = 0;
    loop {
        match options.get(at..)? {
            [0, ..] => return None,
            [1, ..] => at += 1,
            [2, 4, _, _, ..] => return Some(p.l4 + 20 + at + 2),
            [2, ..] => return None,
            [_, len, ..] if *len >= 2 => at += usize::from(*len),
            _ => return None,
        }
    }
}

/// The MSS that a SYN announces.
#[must_use]
pub fn mss(frame: &[u8]) -> Option<u16> {
    let at = mss_at(frame).or_else(|| mss_at6(frame))?;
    Some(u16::from_be_bytes([*frame.get(at)?, *frame.get(at + 1)?]))
}

/// The datagram that fragments make up, in a frame like the first one's: what a receiver's stack
/// checks the transport checksum of. `None` while a part is missing.
///
/// # Errors
/// Where the parts do not fit together.
pub fn reassemble(parts: &[Frame]) -> Result<Option<Frame>, String> {
    let mut pieces = Vec::new();
    for part in parts {
        let place = Place::of(&part.bytes, 14, part.bytes.len()).ok_or("no IPv4 header")?;
        let field = u16::from_be_bytes([part.bytes[20], part.bytes[21]]);
        pieces.push((
            usize::from(field & 0x1fff) * 8,
            field & 0x2000 != 0,
            &part.bytes[place.l4..place.end],
            part,
        ));
    }
    pieces.sort_by_key(|(at, ..)| *at);
    let Some((0, _, _, first)) = pieces.first() else {
        return Ok(None);
    };
    let header = &first.bytes[26..34];
    let mut l4 = Vec::new();
    let mut more = true;
    for (at, again, bytes, part) in &pieces {
        if part.bytes[26..34] != *header || part.bytes[23] != first.bytes[23] {
            return Err(format!(
                "{} and {} belong together",
                describe(first),
                describe(part)
            ));
        }
        if *at < l4.len() {
            return Err("two parts overlap".to_string());
        }
        if *at > l4.len() {
            return Ok(None);
        }
        l4.extend_from_slice(bytes);
        more = *again;
    }
    if more {
        return Ok(None);
    }
    let b = &first.bytes;
    let whole = Datagram::new(
        [b[26], b[27], b[28], b[29]],
        [b[30], b[31], b[32], b[33]],
        b[23],
        l4,
    );
    Ok(Some(whole.frame([0; 6], [0; 6], first.ifindex)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{C1, H, S, UPLINK_IF, error, tcp, tcp_data, udp};

    fn frame(d: &Datagram) -> Frame {
        d.frame([1; 6], [2; 6], UPLINK_IF)
    }

    #[test]
    fn translation_is_no_fault_and_everything_else_is() {
        let before = frame(&tcp_data(C1.addr, 40000, S, 80, 0x18, b"data"));
        let after = frame(&tcp_data(H, 50000, S, 80, 0x18, b"data").ttl(63));
        assert_eq!(judge(&before, &after), Ok(()));
        for at in (14..after.bytes.len()).filter(|at| *at != 22 && !(24..38).contains(at)) {
            let mut other = after.clone();
            other.bytes[at] ^= 0x10;
            assert!(judge(&before, &other).is_err(), "byte {at}");
        }
        let mut longer = after;
        longer.bytes.push(0);
        assert!(judge(&before, &longer).is_err());
    }

    #[test]
    fn a_fault_of_the_sender_excuses_no_other() {
        let mut before = frame(&tcp(C1.addr, 40000, S, 80, 2));
        before.bytes[50] ^= 1;
        let mut after = frame(&tcp(H, 40000, S, 80, 2));
        after.bytes[50] ^= 1;
        assert_eq!(judge(&before, &after), Ok(()));
        after.bytes[24] ^= 1;
        let told = judge(&before, &after).unwrap_err();
        assert!(
            told.contains("IP header") && !told.contains("TCP"),
            "{told}"
        );
    }

    #[test]
    fn what_an_error_quotes_may_change_where_it_is_translated_only() {
        let outside = frame(&error(S, H, 3, 1, &udp(H, 5000, S, 53, b"question"), 16));
        let inside = |ttl: u8| {
            let about = udp(C1.addr, 5000, S, 53, b"question").ttl(ttl);
            frame(&error(S, C1.addr, 3, 1, &about, 16).ttl(63))
        };
        assert_eq!(judge(&outside, &inside(64)), Ok(()));
        assert!(judge(&outside, &inside(63)).is_err(), "the quoted TTL");
    }

    #[test]
    fn parts_make_a_datagram_in_any_order() {
        let whole = udp(C1.addr, 5000, S, 53, &[7; 100]);
        let mut parts: Vec<_> = whole.fragments(32).iter().map(frame).collect();
        parts.reverse();
        let again = reassemble(&parts).unwrap().unwrap();
        assert_eq!(again.bytes[34..], whole.l4);
        assert!(reassemble(&parts[1..]).unwrap().is_none());
        assert!(reassemble(&parts[..2]).unwrap().is_none());
        parts.push(parts[0].clone());
        assert!(reassemble(&parts).is_err());
    }
}
