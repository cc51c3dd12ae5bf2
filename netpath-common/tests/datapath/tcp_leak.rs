//! No segment of a container leaves untranslated: every combination of flags, in every state.
//!
//! The kernel forwards what its conntrack calls invalid with the source that it has (late FIN and RST,
//! stray SYN-ACK, no flags at all). Here that is the one thing that must not happen.

use netpath_common::{
    DropReason, Verdict,
    conntrack::{
        STATE_ASSURED, STATE_CLAIMED, STATE_SEEN_REPLY, STATE_TCP_MASK,
        tcp::{FIN, RST, TcpState},
    },
    datapath::Tables,
    tuple,
};

use super::{connection::open, family::*, masquerade::record_key};

/// What a flow has come to, apart from its state.
#[derive(Clone, Copy, Debug)]
enum Fate {
    Alive,
    None,
    Expired,
    Outdated,
    Claimed,
    WithoutIndex,
    WithoutRecord,
}

const FATES: [Fate; 7] = [
    Fate::Alive,
    Fate::None,
    Fate::Expired,
    Fate::Outdated,
    Fate::Claimed,
    Fate::WithoutIndex,
    Fate::WithoutRecord,
];

/// C1:40000 to S:80 in `state`, and what became of it.
fn host(state: TcpState, bits: u32, fate: Fate) -> Host {
    let mut h = Host::new();
    open(&mut h);
    let key = record_key(tuple::TCP, 80, 40000);
    let e = h.tables.entry(&key).unwrap();
    let index = e.other_key(&key);
    let all = STATE_TCP_MASK | STATE_ASSURED | STATE_SEEN_REPLY;
    let claimed = if matches!(fate, Fate::Claimed) {
        STATE_CLAIMED
    } else {
        0
    };
    h.tables.put_entry(
        key,
        CtEntry {
            state: e.state & !all | state as u32 | bits | claimed,
            ..e
        },
    );
    match fate {
        Fate::Alive => {}
        Fate::None => {
            h.tables.ct_delete(&key);
            h.tables.ct_delete(&index);
        }
        Fate::Expired => h.tables.advance_ms(432_000_000),
        Fate::Outdated => h.tables.endpoints[usize::from(C1.slot)].generation += 1,
        // The look at the record is due after a second.
        Fate::Claimed => h.tables.advance_ms(1000),
        Fate::WithoutIndex => h.tables.ct_delete(&index),
        Fate::WithoutRecord => h.tables.ct_delete(&key),
    }
    h
}

/// Makes the conntrack table what it was.
fn restore(h: &Host, flow: &[(Tuple, CtEntry)]) {
    for (key, _) in h.tables.entries() {
        h.tables.ct_delete(&key);
    }
    for (key, e) in flow {
        h.tables.put_entry(*key, *e);
    }
}

/// What leaves has the host's source, and what is left to the stack is caught on its way out.
fn check(h: &mut Host, p: &Datagram, what: &str) {
    for by_stack in [false, true] {
        let out = if by_stack {
            h.from_stack(p)
        } else {
            h.from(&C1, p)
        };
        match out.result {
            Ok(Verdict::ToUplink { .. } | Verdict::TranslatedToStack) => {
                assert_eq!(source(&out.frame), H, "{what}");
            }
            // Up the stack, which sends it by the hook of the next turn or answers it.
            Ok(Verdict::Pass) => assert!(!by_stack, "leaks: {what}"),
            Ok(other) => panic!("{other:?}: {what}"),
            Err(_) => {}
        }
    }
}

#[test]
fn every_combination_of_flags_in_every_state() {
    for state in 0..=9 {
        let state = TcpState::from_bits(state);
        for bits in [0, STATE_SEEN_REPLY, STATE_SEEN_REPLY | STATE_ASSURED] {
            for fate in FATES {
                let mut h = host(state, bits, fate);
                let flow = h.tables.entries();
                for flags in 0..64_u8 {
                    // With numbers below, at and above what the server has acknowledged.
                    for seq in [1999, 2000, 2001] {
                        restore(&h, &flow);
                        let p = tcp(C1.ip(), 40000, S, 80, flags).numbered(seq, 1000);
                        let what = format!("{state:?} {bits:#x} {fate:?} {flags:#x} {seq}");
                        check(&mut h, &p, &what);
                    }
                }
            }
        }
    }
}

#[test]
fn with_a_ttl_that_the_stack_answers_too() {
    for state in 0..=9 {
        for fate in FATES {
            let mut h = host(TcpState::from_bits(state), STATE_SEEN_REPLY, fate);
            let flow = h.tables.entries();
            for flags in 0..64_u8 {
                restore(&h, &flow);
                let p = tcp(C1.ip(), 40000, S, 80, flags).ttl(1);
                check(&mut h, &p, &format!("{state} {fate:?} {flags:#x}"));
            }
        }
    }
}

#[test]
fn answers_of_a_published_port_too() {
    // The container is the server here: what it sends after its client's flow has gone.
    for flags in 0..64_u8 {
        let mut h = Host::new();
        let p = tcp(C1.ip(), 80, S, 51000, flags);
        check(&mut h, &p, &format!("no client: {flags:#x}"));
        for unpublished in [false, true] {
            let mut h = Host::new();
            let _ = h.from_outside(&tcp(S, 51000, H, 8080, 2)).to_container(&C1);
            if unpublished {
                h.tables.unpublish(tuple::TCP, 8080, RULE_WEB);
            }
            check(&mut h, &p, &format!("{unpublished}: {flags:#x}"));
        }
    }
}

#[test]
fn a_fin_or_reset_of_no_connection_is_dropped() {
    for flags in 0..64_u8 {
        if flags & (FIN | RST) == 0 {
            continue;
        }
        let mut h = host(TcpState::Established, 0, Fate::None);
        for p in [
            tcp(C1.ip(), 40000, S, 80, flags),
            tcp(C1.ip(), 40000, S, 80, flags).ttl(1),
        ] {
            for out in [h.from(&C1, &p), h.from_stack(&p)] {
                assert!(
                    matches!(
                        out.dropped(),
                        Some(DropReason::TcpNotSyn | DropReason::BadL4Header)
                    ),
                    "{flags:#x}: {:?}",
                    out.result
                );
            }
        }
        assert!(h.tables.entries().is_empty());
    }
}
