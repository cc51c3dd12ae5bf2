//! Numbers that are easily off by one: lengths, ends, carries, acknowledgements.

use netpath_common::{
    DropReason, checksum,
    conntrack::{
        Budget,
        tcp::{ACK, FIN, PSH, RST, SYN, TcpState},
    },
    datapath::Tables,
    packet::{Family, Ip},
    tuple,
};

use super::{family::*, masquerade::record_key};

#[test]
fn a_first_fragment_with_half_a_tcp_header_is_tiny() {
    // 24 bytes of a header that says it has 60: the rest could become anything.
    let mut packet = tcp_data(C1.ip(), 40000, S, 80, SYN, &[0; 4]);
    packet.l4[12] = 0xf0;
    let packet = packet.piece(0, packet.l4.len(), true, 9);
    let mut h = Host::new();
    let out = h.from(&C1, &packet);
    assert_eq!(out.dropped(), Some(DropReason::FragmentTiny));
    assert!(h.tables.entries().is_empty());
}

#[test]
fn syn_and_fin_have_a_place_in_the_sequence() {
    for (flags, payload, end) in [
        (ACK, 10, 1010),
        (SYN, 0, 1001),
        (FIN | ACK, 0, 1001),
        (FIN | PSH | ACK, 10, 1011),
    ] {
        let segment = tcp_data(C1.ip(), 40000, S, 80, flags, &vec![7; payload]);
        let frame = segment
            .numbered(1000, 2000)
            .frame(C1.mac, BRIDGE1_MAC, C1.ifindex);
        let mut ip = Ip::default();
        Addr::parse(&frame, &mut ip).unwrap();
        assert_eq!(ip.segment_end(), end, "{flags:#x}");
    }
}

#[test]
fn the_last_fragment_ends_where_its_last_byte_is() {
    let whole = udp(C1.ip(), 5000, S, 53, &[3; 1452]);
    let parts = whole.parts(9);
    assert_eq!(parts[1].l4.len(), 20, "two and a half units");
    let mut h = Host::new();
    let _ = h.from(&C1, &parts[0]).to_uplink();
    let _ = h.from(&C1, &parts[1]).to_uplink();
    let into_the_half = whole.piece(1440 + 16, 8, true, 9);
    let out = h.from(&C1, &into_the_half);
    assert_eq!(out.dropped(), Some(DropReason::FragmentOverlap));
}

#[test]
fn the_parts_of_a_long_datagram_are_all_remembered() {
    let parts = udp(C1.ip(), 5000, S, 53, &[3; 20_000]).cut(1000, 9);
    assert!(parts.len() > 16, "more than there is memory for pieces");
    let mut h = Host::new();
    for part in &parts {
        let _ = h.from(&C1, part).to_uplink();
    }
    for part in &parts[1..] {
        let out = h.from(&C1, part);
        assert_eq!(out.dropped(), Some(DropReason::FragmentOverlap));
    }
}

#[test]
fn a_udp_checksum_that_comes_out_as_zero_is_written_as_all_ones() {
    // C2 has port 5000, so that C1's packets change their port as well; from 6000 they do not.
    for sport in [5000, 6000] {
        let mut h = Host::new();
        let _ = h.from(&C2, &udp(C2.ip(), 5000, S, 53, b"")).to_uplink();
        let out = h.from(&C1, &udp(C1.ip(), sport, S, 53, &[0, 0]));
        let _ = out.to_uplink();
        let check = [out.frame.bytes[L4 + 6], out.frame.bytes[L4 + 7]];
        // What is missing to a sum of all ones is the checksum itself.
        let out = h.from(&C1, &udp(C1.ip(), sport, S, 53, &check));
        let _ = out.to_uplink();
        assert_eq!(
            out.frame.bytes[L4 + 6..L4 + 8],
            [0xff, 0xff],
            "from {sport}"
        );
    }
}

#[test]
fn a_fold_carries_twice() {
    for (sum, folded) in [
        (0, 0),
        (0xffff, 0xffff),
        (0x1_0000, 1),
        (0x1_ffff, 1),
        (0xffff_0001, 1),
        (0xffff_ffff, 0xffff),
    ] {
        assert_eq!(checksum::fold(sum), folded, "{sum:#x}");
    }
}

#[test]
fn an_ack_of_the_server_does_not_complete_a_handshake() {
    let mut h = Host::new();
    let ask = h.from_outside(&tcp(S, 4000, H, 8080, SYN));
    let _ = ask.to_container(&C1);
    for flags in [SYN | ACK, ACK, ACK] {
        let _ = h.from(&C1, &tcp(C1.ip(), 80, S, 4000, flags)).to_uplink();
    }
    assert_eq!(
        h.tables.live(Budget::inbound::<Addr>()),
        1,
        "S may not even exist"
    );
    let _ = h
        .from_outside(&tcp(S, 4000, H, 8080, ACK))
        .to_container(&C1);
    assert_eq!(h.tables.live(Budget::inbound::<Addr>()), 0);
}

#[test]
fn an_old_acknowledgement_moves_nothing_back() {
    let state = |h: &Host| {
        let record = h.tables.entry(&record_key(tuple::TCP, 80, 40000));
        record.unwrap().tcp_state()
    };
    let mut h = Host::new();
    super::connection::open(&mut h);
    for ack in [5000, 3000] {
        let segment = tcp(C1.ip(), 40000, S, 80, ACK).numbered(1000, ack);
        let _ = h.from(&C1, &segment).to_uplink();
    }
    let reset = |seq| tcp(S, 80, H, 40000, RST).numbered(seq, 0);
    let out = h.from_outside(&reset(3000));
    assert_eq!(out.dropped(), Some(DropReason::TcpInvalid));
    assert_eq!(state(&h), TcpState::Established);
    let _ = h.from_outside(&reset(5000)).to_container(&C1);
    assert_eq!(state(&h), TcpState::Close);
}
