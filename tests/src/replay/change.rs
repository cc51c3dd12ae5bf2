//! What a program changed in a frame.
//!
//! Owns the names of header fields and where they are, taken from the frame as it was, and the
//! judgement of checksums by the oracle of `netpath_common::testing`. Every changed byte is
//! reported, under the name of its field or by its offset.

use std::ops::Range;

use netpath_common::{
    checksum,
    testing::{Frame, verify},
    tuple,
};
use serde::Serialize;

/// A header field with another value than before.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct Change {
    /// The field; `quoted …` inside an ICMP error.
    pub field: String,
    /// Its value in the capture.
    pub from: String,
    /// Its value after the run.
    pub to: String,
}

/// What a full computation says about the checksums of a frame that was translated.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Checksums {
    /// Nothing was changed, or the packet was dropped.
    Untouched,
    /// All are right.
    Ok,
    /// They were wrong in the capture already: damaged, cut off, or left to the sending device.
    WrongInCapture(String),
    /// The program broke them.
    Bad(String),
}

/// How the bytes of a field read.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Form {
    Mac,
    Address,
    Number,
    Hex,
    /// Judged as a whole by the oracle.
    Checksum,
}

struct Field {
    name: &'static str,
    quoted: bool,
    at: Range<usize>,
    form: Form,
}

const ETHERNET: usize = 14;
const FRAGMENT_OFFSET: u16 = 0x1fff;

/// What differs between a frame and what became of it.
pub(super) fn changes(before: &[u8], after: &[u8]) -> Vec<Change> {
    let mut changes = Vec::new();
    if before.len() != after.len() {
        changes.push(Change {
            field: "length".to_owned(),
            from: before.len().to_string(),
            to: after.len().to_string(),
        });
    }
    let mut known = vec![false; before.len()];
    for field in fields(before) {
        let (Some(old), Some(new)) = (before.get(field.at.clone()), after.get(field.at.clone()))
        else {
            continue;
        };
        known[field.at.clone()].fill(true);
        if old != new && field.form != Form::Checksum {
            let quoted = if field.quoted { "quoted " } else { "" };
            changes.push(Change {
                field: format!("{quoted}{}", field.name),
                from: show(field.form, old),
                to: show(field.form, new),
            });
        }
    }
    for (at, (old, new)) in before.iter().zip(after).enumerate() {
        if old != new && !known[at] {
            changes.push(Change {
                field: format!("byte {at}"),
                from: format!("{old:#04x}"),
                to: format!("{new:#04x}"),
            });
        }
    }
    changes
}

/// Judges the checksums of a frame, given what it was in the capture.
pub(super) fn judge(before: &[u8], after: &[u8]) -> Checksums {
    if before == after {
        return Checksums::Untouched;
    }
    let verdict = |bytes: &[u8]| {
        verify(&Frame {
            bytes: bytes.to_vec(),
            ..Frame::default()
        })
    };
    match (verdict(before), verdict(after)) {
        (_, Ok(())) => Checksums::Ok,
        (Ok(()), Err(wrong)) => Checksums::Bad(wrong),
        (Err(wrong), Err(_)) => Checksums::WrongInCapture(wrong),
    }
}

fn show(form: Form, bytes: &[u8]) -> String {
    let join = |separator: &str, each: &dyn Fn(&u8) -> String| {
        bytes.iter().map(each).collect::<Vec<_>>().join(separator)
    };
    match form {
        Form::Mac => join(":", &|byte| format!("{byte:02x}")),
        Form::Address => join(".", &u8::to_string),
        Form::Number => bytes
            .iter()
            .fold(0_u32, |number, byte| number << 8 | u32::from(*byte))
            .to_string(),
        Form::Hex | Form::Checksum => join("", &|byte| format!("{byte:02x}")),
    }
}

fn fields(frame: &[u8]) -> Vec<Field> {
    let mut fields = Vec::new();
    if frame.get(12..14) == Some(&[8, 0]) {
        ipv4(frame, ETHERNET, false, &mut fields);
    }
    for (name, at, form) in [
        ("dst mac", 0..6, Form::Mac),
        ("src mac", 6..12, Form::Mac),
        ("ethertype", 12..14, Form::Hex),
    ] {
        fields.push(Field {
            name,
            quoted: false,
            at,
            form,
        });
    }
    fields
}

/// The fields of the IPv4 packet at `ip`.
fn ipv4(frame: &[u8], ip: usize, quoted: bool, fields: &mut Vec<Field>) {
    let Some(header) = frame.get(ip..ip + 20) else {
        return;
    };
    let l4 = ip + usize::from(header[0] & 0x0f) * 4;
    let fragment = u16::from_be_bytes([header[6], header[7]]);
    let proto = header[9];
    let mut add = |name, at, form| {
        fields.push(Field {
            name,
            quoted,
            at,
            form,
        });
    };
    add("src", ip + 12..ip + 16, Form::Address);
    add("dst", ip + 16..ip + 20, Form::Address);
    if fragment & FRAGMENT_OFFSET == 0 && l4 >= ip + 20 {
        let check = l4 + checksum::offset(proto);
        match proto {
            tuple::TCP | tuple::UDP => {
                add("sport", l4..l4 + 2, Form::Number);
                add("dport", l4 + 2..l4 + 4, Form::Number);
                add("checksum", check..check + 2, Form::Checksum);
            }
            tuple::ICMP => {
                add("id", l4 + 4..l4 + 6, Form::Number);
                add("checksum", check..check + 2, Form::Checksum);
            }
            _ => {}
        }
    }
    add("ttl", ip + 8..ip + 9, Form::Number);
    add("tos", ip + 1..ip + 2, Form::Hex);
    add("total length", ip + 2..ip + 4, Form::Number);
    add("ip id", ip + 4..ip + 6, Form::Hex);
    add("fragment", ip + 6..ip + 8, Form::Hex);
    add("proto", ip + 9..ip + 10, Form::Number);
    add("checksum", ip + 10..ip + 12, Form::Checksum);
    let is_error = proto == tuple::ICMP && matches!(frame.get(l4), Some(3 | 4 | 5 | 11 | 12));
    if is_error && !quoted {
        ipv4(frame, l4 + 8, true, fields);
    }
}

#[cfg(test)]
mod tests {
    use netpath_common::testing::{C1, H, ROUTER_MAC, S, UPLINK_MAC, udp};

    use super::*;

    #[test]
    fn every_changed_byte_is_reported() {
        let before = udp(S, 53, H, 5000, b"x")
            .frame(ROUTER_MAC, UPLINK_MAC, 2)
            .bytes;
        for at in 0..before.len() {
            let mut after = before.clone();
            after[at] ^= 1;
            let is_checksum = matches!(at, 24 | 25 | 40 | 41);
            assert_eq!(
                changes(&before, &after).is_empty(),
                is_checksum,
                "byte {at}"
            );
            // MAC addresses are under no checksum.
            let bad = at >= 14;
            let judged = judge(&before, &after);
            assert_eq!(
                matches!(judged, Checksums::Bad(_)),
                bad,
                "byte {at}: {judged:?}"
            );
        }
    }

    #[test]
    fn a_translation_in_words() {
        let frame = |d: netpath_common::testing::Datagram| d.frame(ROUTER_MAC, UPLINK_MAC, 2).bytes;
        let before = frame(udp(S, 53, H, 5000, b"x"));
        let after = frame(udp(S, 53, C1.addr, 5001, b"x").ttl(63));
        let text: Vec<_> = changes(&before, &after)
            .iter()
            .map(|c| format!("{} {} -> {}", c.field, c.from, c.to))
            .collect();
        assert_eq!(
            text,
            [
                "dst 192.0.2.1 -> 172.17.0.2",
                "dport 5000 -> 5001",
                "ttl 64 -> 63"
            ]
        );
        assert_eq!(judge(&before, &after), Checksums::Ok);
    }
}
