//! Every truncation that the kernel lets in: dropped under one reason, never translated.

use netpath_common::{conntrack::tcp::SYN, testing::*};
use netpath_tests::runner::{NEXT, Runner, SHOT};

use crate::{arrived, from_stack, sent};

#[test]
fn every_length() {
    let mut r = Runner::new();
    let inputs = [
        sent(&C1, &tcp(C1.addr, 40000, S, 80, SYN).options(2)),
        sent(
            &C1,
            &error(C1.addr, S, 3, 3, &udp(S, 1, C1.addr, 2, b"data"), 100),
        ),
        from_stack(&udp(C1.addr, 5000, S, 53, b"data")),
        arrived(&tcp(S, 51000, H, 8080, SYN)),
        arrived(&query(S, H, 0, 7)),
    ];
    for (hook, frame) in inputs {
        for len in 14..frame.bytes.len() {
            let before = r.counters();
            let short = frame.truncated(len);
            // BPF_PROG_TEST_RUN refuses the shortest frames by itself.
            let Ok(ran) = r.run_checksummed(hook, &short) else {
                continue;
            };
            assert_eq!(ran.action, SHOT, "{hook:?} {} at {len}", describe(&frame));
            assert_eq!(ran.bytes, short.bytes);
            let changed = crate::change(&before, &r.counters());
            let reasons: Vec<_> = changed.keys().copied().collect();
            assert!(
                matches!(reasons[..], ["truncated" | "bad-ip-header"]),
                "{hook:?} at {len}: {changed:?}"
            );
        }
    }
    assert!(r.flows().is_empty());
    let (hook, frame) = arrived(&tcp(S, 51000, H, 22, SYN));
    assert_eq!(r.run(hook, &frame).action, NEXT);
}
