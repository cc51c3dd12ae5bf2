//! The differences from the kernel that are wanted.
//!
//! Owns the table; `docs/differences.md` says the same to readers, and a test compares the names.
//! A difference that no entry knows fails the run, and so does an entry that nothing exercises.

use netpath_common::testing::Addr;

use crate::{
    compare::{BOUNDARIES, Both, Difference, ORDER, PRESERVED},
    packet::{ACK, FIN, Packet, RST, SYN, TCP, UDP, checksums},
    site::{CONTAINERS, HOST, Place, container, place_of},
};

/// A difference and what led to it.
pub(crate) struct Seen<'s> {
    pub(crate) sent: &'s Both,
    pub(crate) difference: &'s Difference,
    /// What has happened before.
    pub(crate) history: &'s [Event],
}

/// Something that has happened in a sequence.
pub(crate) enum Event {
    /// Seconds.
    Wait(u32),
    /// A packet was sent; both engines passed it on, or not.
    Sent { packet: Both, passed: bool },
    /// A packet has come out by both.
    Out(Both),
}

/// Something that has happened to a conversation, as seen from where one of its packets is sent.
#[derive(Clone, Copy)]
enum Talk<'s> {
    Wait(u32),
    /// It was sent there; both engines passed it on, or not.
    Here(Packet<'s>, bool),
    /// It came out there.
    There(Packet<'s>),
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

    /// What has happened to the conversation of the packet, and the time between.
    fn talk(&self) -> Vec<Talk<'s>> {
        let ends = |p: Packet<'_>| (p.proto(), p.src(), p.sport(), p.dst(), p.dport());
        let back = |p: Packet<'_>| (p.proto(), p.dst(), p.dport(), p.src(), p.sport());
        // A complaint belongs to the conversation of what it quotes, which came the other way.
        let own = self.sent().quoted().map_or(ends(self.sent()), back);
        let of = |event: &'s Event| match event {
            Event::Wait(seconds) => Some(Talk::Wait(*seconds)),
            Event::Sent { packet, passed } => {
                let q = Packet::new(&packet.bytes[0]);
                (packet.place == self.sent.place && ends(q) == own)
                    .then_some(Talk::Here(q, *passed))
            }
            Event::Out(packet) => {
                let q = Packet::new(&packet.bytes[0]);
                (packet.place == self.sent.place && back(q) == own).then_some(Talk::There(q))
            }
        };
        self.history.iter().filter_map(of).collect()
    }

    /// Whether something of the conversation has come out where the packet is sent.
    fn answers(&self) -> bool {
        self.talk().iter().any(|t| matches!(t, Talk::There(_)))
    }

    /// The TCP flags that have passed since the connection began last: whether they were sent here,
    /// and what.
    fn flags(&self) -> Vec<(bool, u8)> {
        let mut flags = Vec::new();
        for talk in self.talk() {
            let (here, p) = match talk {
                Talk::Here(p, true) => (true, p),
                Talk::There(p) => (false, p),
                Talk::Here(_, false) | Talk::Wait(_) => continue,
            };
            let of_p = p.tcp_flags().unwrap_or(0);
            if of_p & (SYN | ACK | RST) == SYN {
                flags.clear();
            }
            flags.push((here, of_p));
        }
        flags
    }

    /// Whether the kernel has treated the packet as one of no flow, and netpath as one of a flow.
    fn flow_of_netpath_alone(&self) -> bool {
        let d = self.difference;
        let untranslated = d.kernel.as_ref().is_none_or(|k| {
            let k = Packet::new(k);
            (k.src(), k.dst()) == (self.sent().src(), self.sent().dst())
        });
        d.place != self.sent.place && d.netpath.is_some() && untranslated
    }

    /// Seconds since the conversation was heard of.
    fn silence(&self) -> u32 {
        let mut seconds = 0;
        for talk in self.talk() {
            seconds = match talk {
                Talk::Wait(more) => seconds + more,
                Talk::Here(_, true) | Talk::There(_) => 0,
                Talk::Here(_, false) => seconds,
            };
        }
        seconds
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

pub(crate) const TABLE: [Wanted; 20] = [
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
            let asked = p.dst() == HOST || is_gateway(p.dst());
            asked
                && is_mid_stream(p)
                && known
                && s.place() == s.sent.place
                && s.kernel_alone().is_some_and(|k| {
                    k.src() == p.dst() && k.tcp_flags().is_some_and(|flags| flags & RST != 0)
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
                && s.only(&["ttl", "quoted ttl"])
                && s.both().is_some_and(|[k, n]| k.ttl() >= n.ttl())
        },
        diverges: false,
    },
    Wanted {
        name: "client-address-between-networks",
        is: |s| {
            const FIELDS: [&str; 6] = [
                "src",
                "sport",
                "check",
                "quoted dst",
                "quoted dport",
                "quoted check",
            ];
            s.place() == Place::C1
                && s.sent.place == Place::C3
                && (s.sent().dst() == HOST || is_gateway(s.sent().dst()))
                && s.only(&FIELDS)
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
    Wanted {
        name: "hairpin-error-quotes-translation",
        is: |s| {
            let of_host = |p: Packet<'_>| p.icmp() == Some((11, 0)) && place_of(p.src()).is_none();
            s.place() == s.sent.place
                && s.sent().ttl() == 1
                && s.both().is_some_and(|[k, n]| of_host(k) && of_host(n))
                && is_published(s.sent(), s.sent().dport())
        },
        diverges: false,
    },
    Wanted {
        name: "untranslated-between-containers",
        is: |s| {
            let flow = s.talk().iter().any(|t| matches!(t, Talk::There(_)));
            flow && s.place() != Place::Outside
                && s.sent.place != Place::Outside
                && is_mid_stream(s.sent())
                && s.kernel_alone()
                    .is_some_and(|k| (k.src(), k.dst()) == (s.sent().src(), s.sent().dst()))
        },
        diverges: false,
    },
    Wanted {
        name: "reset-of-unanswered",
        is: |s| {
            let flags = s.flags();
            let reset = flags.iter().position(|(_, flags)| flags & RST != 0);
            let one_sided = reset.is_some_and(|at| {
                let mut before = flags.iter().take(at).map(|(here, _)| here);
                before
                    .next()
                    .is_some_and(|first| before.all(|here| here == first))
            });
            one_sided && s.flow_of_netpath_alone()
        },
        diverges: true,
    },
    Wanted {
        name: "reset-while-closing",
        is: |s| {
            let closing = s.flags().iter().any(|(_, flags)| flags & (FIN | RST) != 0);
            let reset = s.sent().tcp_flags().is_some_and(|flags| flags & RST != 0);
            closing && reset && s.flow_of_netpath_alone()
        },
        diverges: true,
    },
    Wanted {
        name: "unacknowledged-data",
        is: |s| {
            let flags = s.flags();
            let both_ways = [true, false].map(|way| flags.iter().any(|(here, _)| *here == way));
            let open = flags.iter().all(|(_, flags)| flags & (FIN | RST) == 0);
            open && both_ways == [true; 2]
                && (300..432_000).contains(&s.silence())
                && s.flow_of_netpath_alone()
        },
        diverges: true,
    },
    Wanted {
        name: "expired-ttl-makes-flow",
        is: |s| {
            let died = s
                .talk()
                .iter()
                .any(|t| matches!(t, Talk::Here(p, false) if p.ttl() == 1));
            died && s.flow_of_netpath_alone()
        },
        diverges: true,
    },
    Wanted {
        name: "mapping-of-another-flow",
        is: |s| {
            let p = s.sent();
            let given = |k: Packet<'_>| {
                let mut history = s.history.windows(2);
                history.any(|two| match two {
                    [Event::Sent { packet, .. }, Event::Out(out)] => {
                        let (was, out) =
                            (Packet::new(&packet.bytes[0]), Packet::new(&out.bytes[0]));
                        (was.proto(), was.src(), was.sport()) == (p.proto(), p.src(), p.sport())
                            && out.sport() == k.sport()
                    }
                    _ => false,
                })
            };
            s.place() == Place::Outside
                && s.only(&[PRESERVED, "sport", "check"])
                && s.both().is_some_and(|[k, n]| {
                    k.sport() != p.sport() && n.sport() == p.sport() && given(k)
                })
        },
        diverges: true,
    },
];
