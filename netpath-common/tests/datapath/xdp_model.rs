//! Early drop, and translation in the driver, against a model of the stack: two hosts live the same
//! life, one of them with it.
//!
//! Owns the model, which reads packets by plain offsets.

use netpath_common::{
    Tuple, Verdict,
    conntrack::tcp::{ACK, FIN, RST, SYN},
    counters::Counter,
    datapath::Tables,
    event::Hook,
    records::NETWORK_XDP,
    testing::*,
    tuple,
};
use proptest::prelude::*;

use super::xdp::{arrived, use_up};

/// What the kernel's stack does with a packet that reaches it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Fate {
    /// Somebody gets it, or its fragments are waited for.
    Wanted,
    /// It is dropped, or answered with RST or ICMP unreachable and dropped.
    Unwanted,
}

/// The host's stack (`ip_rcv`, `ip_route_input_slow`, `tcp_v4_rcv`, `__udp4_lib_rcv`, `icmp_rcv`),
/// told by plain offsets.
fn stack(b: &[u8], t: &MemTables) -> Fate {
    let be = |at: usize| usize::from(b[at]) << 8 | usize::from(b[at + 1]);
    let addr = |at: usize| [b[at], b[at + 1], b[at + 2], b[at + 3]];
    if be(12) != 0x0800 {
        return Fate::Wanted;
    }
    if b.len() < 34 {
        return Fate::Unwanted;
    }
    let header = usize::from(b[14] & 15) * 4;
    let (src, dst) = (addr(26), addr(30));
    let ours = |a: &Addr| t.host_addrs.contains(a);
    let container = |a: &Addr| a[0] == 172 && (a[1] == 17 || a[1] == 18);
    let martian = src[0] == 127
        || (224..240).contains(&src[0])
        || src == [255; 4]
        || ours(&src)
        // Where rp_filter is on; elsewhere the answer goes astray.
        || container(&src);
    if b[14] >> 4 != 4 || header < 20 || be(16) < header || 14 + be(16) > b.len() || martian {
        return Fate::Unwanted;
    }
    if dst[0] == 127 {
        return Fate::Unwanted;
    }
    if !ours(&dst) || be(20) & 0x3fff != 0 {
        return Fate::Wanted;
    }
    let (l4, room) = (14 + header, be(16) - header);
    let least = match b[23] {
        tuple::TCP => 20,
        tuple::UDP | tuple::ICMP => 8,
        _ => return Fate::Wanted,
    };
    if room < least {
        return Fate::Unwanted;
    }
    let wrong = match b[23] {
        tuple::TCP => {
            let offset = usize::from(b[l4 + 12] >> 4) * 4;
            offset < 20 || offset > room
        }
        tuple::UDP => be(l4 + 4) < 8 || be(l4 + 4) > room,
        _ => return Fate::Wanted,
    };
    let key = Tuple {
        src,
        dst,
        sport: be(l4) as u16,
        dport: be(l4 + 2) as u16,
        proto: b[23],
        ..Tuple::default()
    };
    if wrong || !t.host_socket(&key) {
        return Fate::Unwanted;
    }
    Fate::Wanted
}

/// One packet of a random life.
#[derive(Clone, Debug)]
enum Event {
    Sent {
        /// `None` for UDP.
        flags: Option<u8>,
        dst: Addr,
        sport: u16,
        dport: u16,
    },
    Arrived {
        frame: Vec<u8>,
    },
    /// An answer to what was sent last.
    Answered {
        flags: u8,
        ttl: u8,
        len: usize,
    },
    /// A socket of the host asks somebody, and waits for the answer.
    Asked {
        udp: bool,
        dst: Addr,
        sport: u16,
        dport: u16,
    },
    Waited {
        ms: u64,
    },
}

fn port() -> impl Strategy<Value = u16> {
    prop::sample::select(vec![22, 53, 80, 5353, 8080])
}

fn arrival() -> impl Strategy<Value = Event> {
    let src = prop_oneof![
        8 => prop::sample::select(vec![S, S2]),
        1 => prop::sample::select(vec![H, GW1, C2.addr, [127, 0, 0, 1], [224, 0, 0, 1], [255; 4], [240, 0, 0, 1]]),
    ];
    let dst = prop_oneof![
        8 => Just(H),
        2 => prop::sample::select(vec![GW1, C1.addr, S2, [127, 0, 0, 1], [224, 0, 0, 1], [255; 4]]),
    ];
    let flags = prop_oneof![
        3 => Just(SYN),
        2 => Just(ACK),
        2 => sent_flags(),
        1 => any::<u8>(),
    ];
    let damage = prop_oneof![
        3 => Just(None),
        1 => (12..60_usize, any::<u8>()).prop_map(Some),
    ];
    let cut = prop_oneof![6 => Just(None), 1 => (14..80_usize).prop_map(Some)];
    let fragment = prop_oneof![8 => Just(None), 1 => any::<bool>().prop_map(Some)];
    let options = prop_oneof![6 => Just(0_usize), 1 => 0..11_usize];
    (
        (src, dst, port(), port(), 0..4_u8, flags),
        (options, fragment, damage, cut),
    )
        .prop_map(
            |((src, dst, sport, dport, kind, flags), (options, fragment, damage, cut))| {
                let d = match kind {
                    0 | 1 => tcp_data(src, sport, dst, dport, flags, b"payload of a segment"),
                    2 => udp(
                        src,
                        sport,
                        dst,
                        dport,
                        b"payload of a datagram, long enough",
                    ),
                    _ => query(src, dst, flags & 15, sport),
                };
                let d = d.options(options);
                let d = match fragment {
                    None => d,
                    Some(true) => d.fragments(24).remove(0),
                    Some(false) => d.fragments(24).pop().unwrap(),
                };
                let mut frame = arrived(&d).bytes;
                if let Some((at, byte)) = damage
                    && let Some(b) = frame.get_mut(at)
                {
                    *b = byte;
                }
                if let Some(len) = cut {
                    frame.truncate(len);
                }
                Event::Arrived { frame }
            },
        )
}

fn sent_flags() -> impl Strategy<Value = u8> {
    prop::sample::select(vec![SYN, SYN | ACK, ACK, ACK, FIN | ACK, RST])
}

fn event() -> impl Strategy<Value = Event> {
    let out = prop::sample::select(vec![S, S2]);
    prop_oneof![
        1 => (any::<bool>(), out.clone(), port(), port())
            .prop_map(|(udp, dst, sport, dport)| Event::Asked { udp, dst, sport, dport }),
        4 => (prop::option::weighted(0.6, sent_flags()), out, port(), port())
            .prop_map(|(flags, dst, sport, dport)| Event::Sent { flags, dst, sport, dport }),
        12 => arrival(),
        6 => (sent_flags(), prop::sample::select(vec![1, 2, 64]), prop::sample::select(vec![0, 5, 1460, 1480]))
            .prop_map(|(flags, ttl, len)| Event::Answered { flags, ttl, len }),
        1 => prop::sample::select(vec![1, 200, 31_000, 130_000]).prop_map(|ms| Event::Waited { ms }),
    ]
}

fn host(tokens: bool) -> Host {
    let mut h = Host::seeded(7);
    // It matters to the hook that translates alone.
    h.tables.networks[usize::from(NET1)].flags |= NETWORK_XDP;
    h.tables
        .host_listeners
        .extend([(tuple::TCP, 22), (tuple::UDP, 53)]);
    if !tokens {
        use_up(&mut h);
    }
    h
}

/// A socket of the host sends, and its stack knows it from then on.
fn ask(h: &mut Host, is_udp: bool, dst: Addr, sport: u16, dport: u16) {
    let (proto, p) = if is_udp {
        (tuple::UDP, udp(H, sport, dst, dport, b"?"))
    } else {
        (tuple::TCP, tcp(H, sport, dst, dport, SYN))
    };
    let answer = Tuple {
        src: dst,
        dst: H,
        sport: dport,
        dport: sport,
        proto,
        ..Tuple::default()
    };
    h.tables.host_sockets.insert(answer);
    // Under another port where a container's flow has this one.
    let sent = h.from_stack(&p).result;
    assert!(matches!(
        sent,
        Ok(Verdict::Pass | Verdict::TranslatedToStack)
    ));
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 1500,
        failure_persistence: None,
        rng_seed: proptest::test_runner::RngSeed::Fixed(20_261_123),
        ..ProptestConfig::default()
    })]

    /// Two hosts live the same life, one with early drop. Whatever that drops, the tc hook of the
    /// other drops, or its stack drops or refuses; and all else becomes the same on both.
    #[test]
    fn nothing_is_lost(tokens in any::<bool>(), events in prop::collection::vec(event(), 1..60)) {
        live(false, tokens, events)?;
    }

    /// The same with translation in the driver: what that delivers, the tc hook of the other
    /// delivers, to the byte, and flows, counters and the counts of endpoints become the same.
    #[test]
    fn what_is_translated_early_is_what_tc_makes_of_it(
        tokens in any::<bool>(),
        events in prop::collection::vec(event(), 1..60),
    ) {
        live(true, tokens, events)?;
    }
}

/// Lives a life twice, once with XDP before the tc hook.
fn live(translates: bool, tokens: bool, events: Vec<Event>) -> Result<(), TestCaseError> {
    let (mut early, mut late) = (host(tokens), host(tokens));
    early.xdp_translates = translates;
    let mut sent = (None, S, 22, 80);
    for event in events {
        let arrived = match event {
            Event::Waited { ms } => {
                early.tables.advance_ms(ms);
                late.tables.advance_ms(ms);
                None
            }
            Event::Asked {
                udp,
                dst,
                sport,
                dport,
            } => {
                ask(&mut early, udp, dst, sport, dport);
                ask(&mut late, udp, dst, sport, dport);
                None
            }
            Event::Sent {
                flags,
                dst,
                sport,
                dport,
            } => {
                sent = (flags, dst, sport, dport);
                let p = match flags {
                    None => udp(C1.addr, sport, dst, dport, b"?"),
                    Some(flags) => tcp(C1.addr, sport, dst, dport, flags),
                };
                let (a, b) = (early.from(&C1, &p), late.from(&C1, &p));
                prop_assert_eq!(a.result, b.result);
                None
            }
            Event::Answered { flags, ttl, len } => {
                let (was, src, dport, sport) = sent;
                let payload = vec![flags; len];
                let p = match was {
                    None => udp(src, sport, H, dport, &payload),
                    Some(_) => tcp_data(src, sport, H, dport, flags, &payload),
                };
                Some(arrived(&p.ttl(ttl)).bytes)
            }
            Event::Arrived { frame } => Some(frame),
        };
        if let Some(bytes) = arrived {
            arrive(&mut early, &mut late, bytes)?;
        }
        prop_assert_eq!(early.tables.entries(), late.tables.entries());
        prop_assert_eq!(counters(&early), counters(&late));
        prop_assert_eq!(early.tables.stats(C1.slot), late.tables.stats(C1.slot));
        let of_rule = |h: &Host| h.tables.rule_stats(RULE_WEB);
        prop_assert_eq!(of_rule(&early), of_rule(&late));
    }
    Ok(())
}

/// Every counter but that of what only one of the hosts does.
pub(super) fn counters(h: &Host) -> Vec<u64> {
    let mut all = h.tables.counters();
    all[Counter::TranslatedInXdp as usize] = 0;
    all
}

/// A frame comes in by the uplink of both hosts.
fn arrive(early: &mut Host, late: &mut Host, bytes: Vec<u8>) -> Result<(), TestCaseError> {
    let frame = Frame {
        bytes,
        ifindex: UPLINK_IF,
        ..Frame::default()
    };
    let first = early.run(Hook::Xdp, &frame);
    let tc = late.run(Hook::UplinkIngress, &frame);
    if let Some(reason) = first.dropped() {
        let harmless = tc.dropped().is_some()
            || tc.passed() && stack(&frame.bytes, &late.tables) == Fate::Unwanted;
        let text = first.text();
        prop_assert!(
            harmless,
            "{text} dropped as {reason:?}, at tc {:?}",
            tc.result
        );
    } else if first.passed() {
        let again = early.run(Hook::UplinkIngress, &frame);
        prop_assert_eq!(again.result, tc.result);
        prop_assert_eq!(again.frame, tc.frame);
    } else {
        prop_assert_eq!(first.result, tc.result);
        prop_assert_eq!(first.frame, tc.frame);
    }
    Ok(())
}
