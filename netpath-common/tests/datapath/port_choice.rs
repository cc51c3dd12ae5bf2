//! How ports are chosen where the own one is taken: how well they can be guessed, and how full a range
//! may be (RFC 6056; RFC 4787, REQ-3).
//!
//! `cargo test -- --nocapture` shows the figures.

use netpath_common::{
    DropReason, conntrack::tcp::SYN, counters::Counter, datapath::collect,
    records::CONFIG_PRESERVE_PORTS, tuple,
};

use super::{family::*, masquerade::record_key};

/// The port that C2 leaves from, if it is given one.
fn sent(h: &mut Host, sport: u16, dport: u16) -> Option<u16> {
    let out = h.from(&C2, &udp(C2.ip(), sport, S, dport, b""));
    if out.dropped() == Some(DropReason::NoPort) {
        return None;
    }
    let _ = out.to_uplink();
    Some(source_port(&out.frame))
}

#[test]
fn a_port_that_had_to_change_cannot_be_guessed() {
    for preserve in [true, false] {
        let mut h = Host::new();
        h.tables.ct_capacity = usize::MAX;
        if !preserve {
            h.tables.config.as_mut().unwrap().flags &= !CONFIG_PRESERVE_PORTS;
        }
        // To another port of the server each time, so that no draw has an influence on the next.
        let draws: Vec<u16> = (1..=10_000)
            .map(|dport| {
                if preserve {
                    let first = h.from(&C1, &udp(C1.ip(), 40_000, S, dport, b""));
                    let want = said(&format!("udp H:40000 > S:{dport}"));
                    assert_eq!(first.to_uplink(), want);
                }
                sent(&mut h, 40_000, dport).unwrap()
            })
            .collect();
        let found = randomness(&draws, 1024, 65_535);
        let found = found.unwrap_or_else(|why| panic!("preserved: {preserve}: {why}"));
        println!("10,000 draws, own ports preserved: {preserve}: {found}");
        assert_eq!(h.tables.counter(Counter::PortChanged), 10_000);
    }
}

/// A range of ports that flows take one after the other.
struct Range {
    h: Host,
    min: u16,
    count: u32,
    /// From one port that is taken to the next: 1 for side by side.
    step: u32,
    taken: u32,
}

impl Range {
    fn new(limits: Option<(u16, u16)>, step: u32) -> Self {
        let mut h = Host::new();
        h.tables.ct_capacity = usize::MAX;
        let (min, max) = limits.unwrap_or((1024, 65_535));
        if limits.is_some() {
            let config = h.tables.config.as_mut().unwrap();
            (config.port_min, config.port_max) = (min, max);
        }
        Self {
            h,
            min,
            count: u32::from(max - min) + 1,
            step,
            taken: 0,
        }
    }

    /// Flows of C1 take as much of it.
    fn fill(&mut self, percent: u32) {
        for n in self.taken..self.count * percent / 100 {
            let sport = self.min + (n * self.step % self.count) as u16;
            self.taken += 1;
            if sport == 5353 {
                // Published, so nobody is given it.
                continue;
            }
            let out = self.h.from(&C1, &udp(C1.ip(), sport, S, 53, b""));
            let want = said(&format!("udp H:{sport} > S:53"));
            assert_eq!(out.to_uplink(), want);
        }
    }

    /// How many of 10,000 flows, one after the other, find no port.
    fn failures(&mut self) -> usize {
        let mut failed = 0;
        for _ in 0..10_000 {
            // The lowest is taken.
            match sent(&mut self.h, self.min, 53) {
                Some(port) => {
                    let key = record_key(tuple::UDP, 53, port);
                    assert!(collect(&self.h.tables, &key, true), "as full as before");
                }
                None => failed += 1,
            }
        }
        failed
    }
}

#[test]
fn a_range_may_be_nearly_full() {
    // 389 has no factor in common with either number of ports, so every port has its turn.
    for (limits, step) in [
        (None, 1),
        (Some((50_000, 50_999)), 1),
        (Some((50_000, 50_999)), 389),
    ] {
        let mut range = Range::new(limits, step);
        // 0.95 to the power of 240 is one in 220,000, and 0.9 one in 10^11.
        for (percent, bound) in [(90, 0), (95, 2)] {
            range.fill(percent);
            let failed = range.failures();
            let count = range.count;
            println!("{count} ports, {percent} % taken, step {step}: {failed} of 10,000 fail");
            assert!(failed <= bound, "{percent} %");
        }
    }
}

#[test]
fn few_ports_are_given_to_the_last() {
    // As many as there are tries: walked whole.
    let mut h = Host::new();
    let config = h.tables.config.as_mut().unwrap();
    (config.port_min, config.port_max) = (50_000, 50_239);
    let mut given: Vec<u16> = (0..240)
        .map(|n| sent(&mut h, 40_000 + n, 53).unwrap())
        .collect();
    given.sort_unstable();
    assert_eq!(given, (50_000..50_240).collect::<Vec<u16>>());
    assert_eq!(sent(&mut h, 41_000, 53), None);
    assert_eq!(h.drops_of(DropReason::NoPort), 1);
    // The walk begins anywhere.
    let mut first = std::collections::HashSet::new();
    for seed in 0..32 {
        let mut h = Host::seeded(seed);
        let config = h.tables.config.as_mut().unwrap();
        (config.port_min, config.port_max) = (50_000, 50_063);
        first.insert(sent(&mut h, 40_000, 53).unwrap());
    }
    assert!(first.len() > 16, "{first:?}");
}

#[test]
fn privileged_ports_are_as_random_as_they_can_be() {
    // 511 and 424 ports: the draws spread over all of them.
    for (sport, min, max) in [(80, 1, 511), (700, 600, 1023)] {
        let mut h = Host::new();
        h.tables.ct_capacity = usize::MAX;
        let mut draws = Vec::new();
        for dport in 1..=10_000 {
            let _ = h.from(&C1, &tcp(C1.ip(), sport, S, dport, SYN)).to_uplink();
            let out = h.from(&C2, &tcp(C2.ip(), sport, S, dport, SYN));
            let _ = out.to_uplink();
            draws.push(source_port(&out.frame));
        }
        let mut times = vec![0; usize::from(max - min) + 1];
        draws.iter().for_each(|p| times[usize::from(p - min)] += 1);
        let mean = draws.len() as f64 / times.len() as f64;
        let sigma = mean.sqrt();
        for (offset, n) in times.iter().enumerate() {
            let port = min + offset as u16;
            let off = (f64::from(*n) - mean).abs();
            assert!(port == sport || off < 6.0 * sigma, "{port}: {n} times");
        }
    }
}
