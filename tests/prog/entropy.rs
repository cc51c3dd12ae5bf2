//! The ports that the real object chooses, by the kernel's random numbers.
//!
//! Owns the measurement; what is random enough is `netpath_common::testing`'s to say, as for the host's
//! tests. `-- --nocapture` shows the figures.

use netpath_common::{event::Hook, records::CONFIG_PRESERVE_PORTS, testing::*};
use netpath_tests::runner::{REDIRECT, Runner};

use crate::race::left_from;

const DRAWS: u16 = 10_000;

#[test]
fn ports_of_the_kernels_random_numbers() {
    for preserve in [true, false] {
        let mut r = Runner::with_entries(1 << 17);
        if !preserve {
            r.tables.config.as_mut().unwrap().flags &= !CONFIG_PRESERVE_PORTS;
            r.sync_config();
        }
        let send = |r: &mut Runner, c: &Container, dport: u16| {
            let packet = udp(c.addr, 40_000, S, dport, b"");
            let ran = r.run(Hook::Veth, &crate::sent(c, &packet).1);
            assert_eq!(ran.action, REDIRECT, "to port {dport}");
            left_from(&ran)
        };
        // To another port of the server each time, so that no draw has an influence on the next.
        let draws: Vec<u16> = (1..=DRAWS)
            .map(|dport| {
                if preserve {
                    assert_eq!(send(&mut r, &C1, dport), 40_000);
                }
                send(&mut r, &C2, dport)
            })
            .collect();
        let found = randomness(&draws, 1024, 65_535);
        let found = found.unwrap_or_else(|why| panic!("preserved: {preserve}: {why}"));
        println!("{DRAWS} draws, own ports preserved: {preserve}: {found}");
        // Its own port may be drawn, where it is free.
        let changed = draws.iter().filter(|port| **port != 40_000).count();
        assert_eq!(r.counters()["port-changed"], changed as u64);
    }
}
