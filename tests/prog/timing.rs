//! The measurement of `cargo xtask replay --bench` measures what it says.
//!
//! Owns no bound on times: the machine decides those.

use netpath_tests::{
    runner::Runner,
    timing::{self, REPEAT},
};

/// Each run proves that every repetition was a hit and a rewrite, or a flow, or a miss; it panics
/// where one was not.
#[test]
fn every_case_does_its_work() {
    let timings = timing::time(&mut Runner::dual(), 3);
    for name in [
        "established out tcp, masquerade",
        "established in tcp, published port",
        "established out tcp, IPv6 masquerade",
        "established in tcp, IPv6 published port",
        "parse, lookup miss udp",
        "new flow in udp, published port",
    ] {
        let case = timings.case(name);
        let case = case.unwrap_or_else(|| panic!("`{name}` was not measured"));
        assert!(case.gross.min > 0.0, "{name}: {case:?}");
        assert_eq!(case.repeat == 1, name.starts_with("new flow"), "{name}");
    }
    assert!(
        timings
            .cases
            .iter()
            .all(|case| case.repeat == 1 || case.repeat == REPEAT)
    );
}
