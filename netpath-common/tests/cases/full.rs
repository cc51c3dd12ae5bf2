//! Case 28: the table is full, half of it with established connections.

use netpath_common::{
    DropReason, Verdict,
    conntrack::tcp::{ACK, SYN},
    counters::Counter,
};

use super::{family::*, help::flows};

/// Flows that the table takes.
const FLOWS: u16 = 200;

#[test]
fn c28_full() {
    let mut h = Host::new();
    h.tables.ct_capacity = usize::from(FLOWS) * 2;
    let assured = |n: u16| 20_000 + n;
    let embryonic = |n: u16| 30_000 + n;
    for n in 0..FLOWS / 2 {
        let port = assured(n);
        let _ = h.from(&C1, &tcp(C1.ip(), port, S, 80, SYN)).to_uplink();
        let _ = h
            .from_outside(&tcp(S, 80, H, port, SYN | ACK))
            .to_container(&C1);
        let _ = h.from(&C1, &tcp(C1.ip(), port, S, 80, ACK)).to_uplink();
        let _ = h
            .from(&C2, &tcp(C2.ip(), embryonic(n), S, 80, SYN))
            .to_uplink();
    }
    assert_eq!(h.tables.entries().len(), h.tables.ct_capacity, "full");
    // The assured ones pass at any moment, both ways.
    let no_loss = |h: &mut Host| {
        for n in 0..FLOWS / 2 {
            let port = assured(n);
            let _ = h.from(&C1, &tcp(C1.ip(), port, S, 80, ACK)).to_uplink();
            let _ = h.from_outside(&tcp(S, 80, H, port, ACK)).to_container(&C1);
        }
    };
    no_loss(&mut h);
    // Each new connection takes the place of an embryonic one, the oldest first, and is answered.
    for n in 0..FLOWS / 2 {
        let port = 40_000 + n;
        let _ = h.from(&C2, &tcp(C2.ip(), port, S, 80, SYN)).to_uplink();
        let _ = h
            .from_outside(&tcp(S, 80, H, port, SYN | ACK))
            .to_container(&C2);
        assert!(
            h.from_outside(&tcp(S, 80, H, embryonic(n), SYN | ACK))
                .passed(),
            "the {n}th is the one that went"
        );
        assert_eq!(flows(&h.tables), usize::from(FLOWS));
    }
    assert_eq!(
        h.tables.counter(Counter::FlowReclaimed),
        u64::from(FLOWS / 2)
    );
    no_loss(&mut h);
    // Nothing is left to give: new ones are refused and counted, also those from outside.
    for n in 0..10 {
        let out = h.from(&C2, &tcp(C2.ip(), 50_000 + n, S, 80, SYN));
        assert_eq!(out.dropped(), Some(DropReason::ConntrackFull));
        let out = h.from_outside(&tcp(S, 51_000 + n, H, 8080, SYN));
        assert_eq!(out.dropped(), Some(DropReason::ConntrackFull));
    }
    assert_eq!(h.drops_of(DropReason::ConntrackFull), 20);
    assert_eq!(h.drops.len(), 1, "{:?}", h.drops);
    no_loss(&mut h);
    // What is no flow of netpath's is not concerned.
    assert_eq!(
        h.from_outside(&tcp(S, 51_000, H, 22, SYN)).result,
        Ok(Verdict::Pass)
    );
}
