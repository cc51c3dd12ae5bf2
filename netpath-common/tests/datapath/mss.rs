//! The MSS of SYNs is lowered where that is wanted, and only there.

use netpath_common::{
    conntrack::tcp::{ACK, SYN},
    records::CONFIG_MSS_CLAMP,
};

use super::family::*;

/// A SYN with these TCP options (a multiple of four bytes).
fn with_options(mut syn: Datagram, options: &[u8]) -> Datagram {
    assert!(options.len().is_multiple_of(4), "options fill words");
    syn.l4[12] = ((20 + options.len()) / 4 * 16) as u8;
    syn.l4.splice(20..20, options.iter().copied());
    // Makes the checksum anew.
    syn.numbered(1000, 0)
}

fn clamping() -> Host {
    let mut h = Host::new();
    h.tables.config.as_mut().unwrap().flags |= CONFIG_MSS_CLAMP;
    h
}

/// The TCP options of a translated frame. The host checks its checksum.
fn options(o: &Outcome) -> Vec<u8> {
    let len = usize::from(o.frame.bytes[L4 + 12] >> 4) * 4;
    o.frame.bytes[L4 + 20..L4 + len].to_vec()
}

/// The option for segments that fit this MTU.
const fn mss_of(mtu: usize) -> [u8; 4] {
    let [a, b] = ((mtu - HEADER - 20) as u16).to_be_bytes();
    [2, 4, a, b]
}

const MSS_9000: [u8; 4] = [2, 4, 0x23, 0x28];
const MSS_1500: [u8; 4] = mss_of(1500);

#[test]
fn a_syn_is_lowered_to_the_mtu_of_its_way() {
    let mut h = clamping();
    let out = h.from(
        &C1,
        &with_options(tcp(C1.ip(), 40000, S, 80, SYN), &MSS_9000),
    );
    let _ = out.to_uplink();
    assert_eq!(options(&out), MSS_1500);
    // The answer's as well: it says what the container may send.
    let out = h.from_outside(&with_options(tcp(S, 80, H, 40000, SYN | ACK), &MSS_9000));
    let _ = out.to_container(&C1);
    assert_eq!(options(&out), MSS_1500);
    // And that of a client of a published port.
    h.tables.endpoints[usize::from(C1.slot)].mtu = 1400;
    let out = h.from_outside(&with_options(tcp(S, 4000, H, 8080, SYN), &MSS_1500));
    let _ = out.to_container(&C1);
    assert_eq!(options(&out), mss_of(1400));
}

#[test]
fn the_option_is_found_behind_others_also_at_an_odd_offset() {
    for before in [
        vec![1, 1, 1, 1],
        vec![4, 2, 1, 1],
        vec![3, 3, 7, 1],
        vec![8, 10, 0, 0, 0, 1, 0, 0, 0, 0, 1, 1],
    ] {
        let mut h = clamping();
        let all = [before.as_slice(), &MSS_9000].concat();
        let out = h.from(&C1, &with_options(tcp(C1.ip(), 40000, S, 80, SYN), &all));
        let _ = out.to_uplink();
        assert_eq!(options(&out), [before.as_slice(), &MSS_1500].concat());
    }
    // One byte before it: every word of it is split.
    let mut h = clamping();
    let odd = [1, 2, 4, 0x23, 0x28, 3, 3, 7];
    let out = h.from(&C1, &with_options(tcp(C1.ip(), 40000, S, 80, SYN), &odd));
    let _ = out.to_uplink();
    assert_eq!(options(&out), [1, 2, 4, MSS_1500[2], MSS_1500[3], 3, 3, 7]);
}

#[test]
fn it_is_never_raised_and_never_added() {
    for same in [
        &[2, 4, 0x02, 0x18][..],
        &[3, 3, 7, 1],
        // Ends before it, and lengths that lie.
        &[0, 2, 4, 0x23, 0x28, 0, 0, 0],
        &[2, 0, 0x23, 0x28],
        &[3, 200, 7, 1],
        &[1, 1, 1, 2],
        &[],
    ] {
        let mut h = clamping();
        let out = h.from(&C1, &with_options(tcp(C1.ip(), 40000, S, 80, SYN), same));
        let _ = out.to_uplink();
        assert_eq!(options(&out), same);
    }
}

#[test]
fn data_and_hosts_without_the_option_are_left_alone() {
    let mut h = Host::new();
    let syn = with_options(tcp(C1.ip(), 40000, S, 80, SYN), &MSS_9000);
    let out = h.from(&C1, &syn);
    let _ = out.to_uplink();
    assert_eq!(options(&out), MSS_9000, "off is the default");
    let mut h = clamping();
    let _ = h.from(&C1, &syn).to_uplink();
    let _ = h
        .from_outside(&tcp(S, 80, H, 40000, SYN | ACK))
        .to_container(&C1);
    let ack = with_options(tcp(C1.ip(), 40000, S, 80, ACK), &MSS_9000);
    let out = h.from(&C1, &ack);
    let _ = out.to_uplink();
    assert_eq!(
        options(&out),
        MSS_9000,
        "only a SYN's option means anything"
    );
}

#[test]
fn what_every_host_takes_is_the_least_that_is_asked_for() {
    let mut h = clamping();
    h.tables.endpoints[usize::from(C1.slot)].mtu = 100;
    let out = h.from_outside(&with_options(tcp(S, 4000, H, 8080, SYN), &MSS_1500));
    let _ = out.to_container(&C1);
    assert_eq!(options(&out), mss_of(LEAST));
}

#[test]
fn an_option_does_not_reach_into_the_payload() {
    let mut h = clamping();
    let mut syn = with_options(tcp(C1.ip(), 40000, S, 80, SYN), &[1, 1, 2, 4]);
    syn.l4.extend([0x23, 0x28, 7, 7]);
    let out = h.from(&C1, &syn);
    let _ = out.to_uplink();
    assert!(out.frame.bytes.ends_with(&[1, 1, 2, 4, 0x23, 0x28, 7, 7]));
}
