//! The kernel's conntrack table of a namespace: emptied, and made older.
//!
//! Owns three ctnetlink messages, of all families. An entry is named by its family and its original
//! tuple, which is handed back as the kernel has written it.

use std::{
    io::{Read as _, Write as _},
    time::Duration,
};

use netpath_tests::netns::{Namespace, within};
use socket2::{Domain, Protocol, Socket, Type};

const NETLINK_NETFILTER: i32 = 12;
const NEW: u16 = 1 << 8;
const GET: u16 = 1 << 8 | 1;
const DELETE: u16 = 1 << 8 | 2;
const REQUEST: u16 = 0x1;
const ACK: u16 = 0x4;
const DUMP: u16 = 0x300;
const ERROR: u16 = 2;
const DONE: u16 = 3;
const CTA_TUPLE_ORIG: u16 = 1;
const CTA_TIMEOUT: u16 = 7;
/// The attribute holds attributes.
const NESTED: u16 = 0x8000;
/// nlmsghdr; nfgenmsg follows.
const HEADER: usize = 16;

/// A socket to the conntrack of a namespace.
pub(crate) struct Conntrack(Socket);

struct Entry {
    family: u8,
    /// The attribute, with its header.
    tuple: Vec<u8>,
    seconds: u32,
}

impl Conntrack {
    pub(crate) fn open(namespace: &Namespace) -> Self {
        let protocol = Protocol::from(NETLINK_NETFILTER);
        let socket = within(namespace, || {
            Socket::new(Domain::from(libc::AF_NETLINK), Type::RAW, Some(protocol)).unwrap()
        });
        socket
            .set_read_timeout(Some(Duration::from_secs(5)))
            .unwrap();
        Self(socket)
    }

    /// Removes every entry.
    pub(crate) fn flush(&mut self) {
        self.change(DELETE, libc::AF_UNSPEC as u8, &[]);
    }

    /// Makes every entry older by `seconds`, and says how many are over by that.
    ///
    /// The kernel tells and takes whole seconds. What it tells is rounded down, and no more than a
    /// fraction of a second has passed since a timer was set, so one second more is what was left.
    pub(crate) fn age(&mut self, seconds: u32) -> usize {
        let mut over = 0;
        for entry in self.entries() {
            let left = (entry.seconds + 1).saturating_sub(seconds);
            if left == 0 {
                over += 1;
                self.change(DELETE, entry.family, &entry.tuple);
            } else {
                let mut attributes = entry.tuple;
                attributes.extend(8u16.to_ne_bytes());
                attributes.extend(CTA_TIMEOUT.to_ne_bytes());
                attributes.extend(left.to_be_bytes());
                self.change(NEW, entry.family, &attributes);
            }
        }
        over
    }

    fn entries(&mut self) -> Vec<Entry> {
        self.send(GET, REQUEST | DUMP, libc::AF_UNSPEC as u8, &[]);
        let mut entries = Vec::new();
        let mut buffer = vec![0; 64 * 1024];
        loop {
            let length = self.0.read(&mut buffer).unwrap();
            for (kind, body) in messages(&buffer[..length]) {
                match kind {
                    DONE => return entries,
                    ERROR => panic!("the kernel refuses to list its connections: {body:?}"),
                    _ => entries.extend(entry(body[0], &body[4..])),
                }
            }
        }
    }

    fn change(&mut self, kind: u16, family: u8, attributes: &[u8]) {
        self.send(kind, REQUEST | ACK, family, attributes);
        let mut buffer = vec![0; 4096];
        let length = self.0.read(&mut buffer).unwrap();
        let (kind, body) = messages(&buffer[..length]).next().unwrap();
        assert_eq!(kind, ERROR, "an acknowledgement");
        let code = -i32::from_ne_bytes(body[..4].try_into().unwrap());
        // Gone by itself meanwhile.
        assert!(
            code == 0 || code == libc::ENOENT,
            "conntrack does not change: {}",
            std::io::Error::from_raw_os_error(code)
        );
    }

    fn send(&mut self, kind: u16, flags: u16, family: u8, attributes: &[u8]) {
        let mut request = Vec::new();
        request.extend((HEADER as u32 + 4 + attributes.len() as u32).to_ne_bytes());
        request.extend(kind.to_ne_bytes());
        request.extend(flags.to_ne_bytes());
        request.extend([0; 8]);
        request.extend([family, 0, 0, 0]);
        request.extend(attributes);
        self.0.write_all(&request).unwrap();
    }
}

/// Type and body of each message.
fn messages(bytes: &[u8]) -> impl Iterator<Item = (u16, &[u8])> {
    chunks(bytes, |head| {
        u32::from_ne_bytes(head[..4].try_into().unwrap()) as usize
    })
    .map(|message| {
        (
            u16::from_ne_bytes([message[4], message[5]]),
            &message[HEADER..],
        )
    })
}

/// Pieces that each say their length, padded to four bytes.
fn chunks(mut bytes: &[u8], length: impl Fn(&[u8]) -> usize) -> impl Iterator<Item = &[u8]> {
    std::iter::from_fn(move || {
        if bytes.len() < 4 {
            return None;
        }
        let whole = length(bytes);
        let piece = &bytes[..whole];
        bytes = bytes.get(whole.next_multiple_of(4)..).unwrap_or_default();
        Some(piece)
    })
}

fn entry(family: u8, attributes: &[u8]) -> Option<Entry> {
    let (mut tuple, mut seconds) = (None, None);
    for attribute in chunks(attributes, |head| {
        usize::from(u16::from_ne_bytes([head[0], head[1]]))
    }) {
        match u16::from_ne_bytes([attribute[2], attribute[3]]) & !NESTED {
            CTA_TUPLE_ORIG => {
                let mut padded = attribute.to_vec();
                padded.resize(attribute.len().next_multiple_of(4), 0);
                tuple = Some(padded);
            }
            CTA_TIMEOUT => {
                seconds = Some(u32::from_be_bytes(attribute[4..8].try_into().unwrap()));
            }
            _ => {}
        }
    }
    Some(Entry {
        family,
        tuple: tuple?,
        // An entry that is over and not collected yet is not told a time.
        seconds: seconds?,
    })
}
