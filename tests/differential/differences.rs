//! The differences from the kernel that are wanted.
//!
//! Owns the table; `docs/differences.md` says the same to readers, and a test compares the names.
//! A difference that no entry knows fails the run, and so does an entry that nothing exercises.

use netpath_common::testing::Addr;

use crate::{
    compare::{BOUNDARIES, Both, Difference, ORDER, PRESERVED},
    packet::{ACK, Packet, RST, SYN, TCP, UDP, checksums},
    site::{CONTAINERS, HOST, Place, container, place_of},
};

/// A difference and what led to it.
pub(crate) struct Seen<'s> {
    pub(crate) sent: &'s Both,
    pub(crate) difference: &'s Difference,
    /// What has come out before.
    pub(crate) earlier: &'s [Both],
}

/// A kind of difference.
pub(crate) struct Wanted {
    pub(crate) name: &'static str,
    /// Whether it is this one.
    pub(crate) is: fn(&Seen<'_>) -> bool,
    /// The engines know different flows afterwards, so the sequence ends.
    pub(crate) diverges: bool,
}

impl<'s> Seen<'s> {
    fn sent(&self) -> Packet<'s> {
        Packet::new(&self.sent.bytes[0])
    }

    fn place(&self) -> Place {
        self.difference.place
    }

    /// Whether it came out by the kernel alone, and then the packet.
    fn kernel_alone(&self) -> Option<Packet<'s>> {
        match (&self.difference.kernel, &self.difference.netpath) {
            (Some(k), None) => Some(Packet::new(k)),
            _ => None,
        }
    }

    fn netpath_alone(&self) -> Option<Packet<'s>> {
        match (&self.difference.kernel, &self.difference.netpath) {
            (None, Some(n)) => Some(Packet::new(n)),
            _ => None,
        }
    }

    /// Where it came out by both, the packets.
    fn both(&self) -> Option<[Packet<'s>; 2]> {
        match (&self.difference.kernel, &self.difference.netpath) {
            (Some(k), Some(n)) => Some([Packet::new(k), Packet::new(n)]),
            _ => None,
        }
    }

    /// Whether nothing differs but these fields.
    fn only(&self, fields: &[&str]) -> bool {
        let mut all = self.difference.fields.iter();
        all.all(|field| fields.contains(&field.as_str()))
    }

    fn has(&self, field: &str) -> bool {
        self.difference.fields.iter().any(|f| f == field)
    }

    /// Whether the packet goes the way back of something that has come out where it is sent.
    fn answers(&self) -> bool {
        let p = self.sent();
        self.earlier.iter().any(|out| {
            let q = Packet::new(&out.bytes[0]);
            out.place == self.sent.place
                && (q.dst(), q.dport(), q.src(), q.sport())
                    == (p.src(), p.sport(), p.dst(), p.dport())
        })
    }
}

/// A container's address or a gateway's.
fn is_private(addr: Addr) -> bool {
    addr[0] == 172
}

fn is_gateway(addr: Addr) -> bool {
    CONTAINERS.iter().any(|c| c.gateway == addr)
}

fn is_published(p: Packet<'_>, port: Option<u16>) -> bool {
    matches!((p.proto(), port), (TCP, Some(8080)) | (UDP, Some(5353)))
}

/// TCP that is no first segment of a connection.
fn is_mid_stream(p: Packet<'_>) -> bool {
    p.tcp_flags()
        .is_some_and(|flags| flags & (SYN | ACK | RST) != SYN)
}

pub(crate) const TABLE: [Wanted; 13] = [
    Wanted {
        name: "private-source",
        is: |s| {
            s.place() == Place::Outside
                && s.sent.place != Place::Outside
                && s.kernel_alone()
                    .is_some_and(|k| is_private(k.src()) && k.src() == s.sent().src())
        },
        diverges: false,
    },
    Wanted {
        name: "wrong-checksum",
        is: |s| {
            checksums(&s.sent.bytes[0]).is_err()
                && s.both()
                    .is_some_and(|[k, n]| is_private(k.src()) && n.src() == HOST)
        },
        diverges: true,
    },
    Wanted {
        name: "invalid-to-host",
        is: |s| {
            let p = s.sent();
            let known = is_published(p, p.dport()) || s.answers();
            p.dst() == HOST
                && is_mid_stream(p)
                && known
                && s.place() == s.sent.place
                && s.kernel_alone().is_some_and(|k| {
                    k.src() == HOST && k.tcp_flags().is_some_and(|flags| flags & RST != 0)
                })
        },
        diverges: false,
    },
    Wanted {
        name: "gateway-from-outside",
        is: |s| {
            s.sent.place == Place::Outside
                && is_gateway(s.sent().dst())
                && s.kernel_alone().is_some()
        },
        diverges: true,
    },
    Wanted {
        name: "no-answer-across-networks",
        is: |s| {
            let there = place_of(s.sent().dst()).and_then(container);
            let here = container(s.sent.place);
            there.is_some_and(|there| here.is_none_or(|here| here.bridge != there.bridge))
                && s.kernel_alone().is_some_and(|k| k.icmp() == Some((11, 0)))
        },
        diverges: false,
    },
    Wanted {
        name: "hairpin-ttl",
        is: |s| {
            let same = |place| matches!(place, Place::C1 | Place::C2);
            same(s.place())
                && same(s.sent.place)
                && s.only(&["ttl"])
                && s.both().is_some_and(|[k, n]| k.ttl() == n.ttl() + 1)
        },
        diverges: false,
    },
    Wanted {
        name: "client-address-between-networks",
        is: |s| {
            s.place() == Place::C1
                && s.sent.place == Place::C3
                && is_published(s.sent(), s.sent().dport())
                && s.only(&["src", "sport", "check"])
                && s.both()
                    .is_some_and(|[k, n]| is_gateway(k.src()) && n.src() == s.sent().src())
        },
        diverges: false,
    },
    Wanted {
        name: "published-port-as-source",
        is: |s| {
            s.place() == Place::Outside
                && is_published(s.sent(), s.sent().sport())
                && s.has(PRESERVED)
                && s.only(&[PRESERVED, "sport", "check"])
                && s.both()
                    .is_some_and(|[k, n]| k.sport() == s.sent().sport() && n.src() == HOST)
        },
        diverges: true,
    },
    Wanted {
        name: "pickup-needs-own-port",
        is: |s| {
            let own = s.sent().sport();
            s.place() == Place::Outside
                && is_mid_stream(s.sent())
                && s.kernel_alone()
                    .is_some_and(|k| k.src() == HOST && (k.sport() != own || is_published(k, own)))
        },
        diverges: true,
    },
    Wanted {
        name: "fragment-boundaries",
        is: |s| s.only(&[BOUNDARIES]) && s.has(BOUNDARIES),
        diverges: false,
    },
    Wanted {
        name: "fragment-order",
        is: |s| s.only(&[ORDER]) && s.has(ORDER),
        diverges: false,
    },
    Wanted {
        name: "incomplete-datagram",
        is: |s| {
            s.sent().fragment() != 0
                && s.netpath_alone()
                    .is_some_and(|n| n.fragment() & 0x2000 != 0)
        },
        diverges: true,
    },
    Wanted {
        name: "other-protocols",
        is: |s| {
            s.place() == Place::Outside
                && s.sent().proto() == 47
                && s.kernel_alone().is_some_and(|k| k.src() == HOST)
        },
        diverges: true,
    },
];
