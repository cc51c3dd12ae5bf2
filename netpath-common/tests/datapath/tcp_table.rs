//! The TCP table against the kernel's, written out from `net/netfilter/nf_conntrack_proto_tcp.c`
//! (`tcp_conntracks`): rows are kinds of segments, columns states.

use netpath_common::{
    Direction,
    conntrack::tcp::{ACK, FIN, PSH, RST, SYN, TcpState, Transition, next},
};

const IV: i8 = -1;
const IG: i8 = -2;

//                        NO  SS  SR  ES  FW  CW  LA  TW  CL  S2
const ORIGINAL: [[i8; 10]; 6] = [
    /* SYN */ [1, 1, IG, IG, IG, IG, IG, 1, 1, 9],
    /* SYN-ACK */ [IV, IV, 2, IV, IV, IV, IV, IV, IV, 2],
    /* FIN */ [IV, IV, 4, 4, 6, 6, 6, 7, 8, IV],
    /* ACK */ [3, IV, 3, 3, 5, 5, 7, 7, 8, IV],
    /* RST */ [IV, 8, 8, 8, 8, 8, 8, 8, 8, 8],
    /* none */ [IV, IV, IV, IV, IV, IV, IV, IV, IV, IV],
];
const REPLY: [[i8; 10]; 6] = [
    /* SYN */ [IV, 9, IV, IV, IV, IV, IV, 1, IV, 9],
    /* SYN-ACK */ [IV, 2, IG, IG, IG, IG, IG, IG, IG, 2],
    /* FIN */ [IV, IV, 4, 4, 6, 6, 6, 7, 8, IV],
    /* ACK */ [IV, IG, 2, 3, 5, 5, 7, 7, 8, IG],
    /* RST */ [IV, 8, 8, 8, 8, 8, 8, 8, 8, 8],
    /* none */ [IV, IV, IV, IV, IV, IV, IV, IV, IV, IV],
];

/// The row of a segment (`get_conntrack_index`): RST before SYN before FIN before ACK.
fn row(flags: u8) -> usize {
    let has = |f| flags & f != 0;
    match (has(RST), has(SYN), has(FIN), has(ACK)) {
        (true, ..) => 4,
        (_, true, _, true) => 1,
        (_, true, ..) => 0,
        (_, _, true, _) => 2,
        (.., true) => 3,
        _ => 5,
    }
}

#[test]
fn every_cell_with_every_combination_of_flags() {
    for (direction, table) in [(Direction::Original, ORIGINAL), (Direction::Reply, REPLY)] {
        for flags in 0..=0xff_u8 {
            for state in 0..10_u32 {
                let want = match table[row(flags)][state as usize] {
                    IV => Transition::Invalid,
                    IG => Transition::Ignore,
                    to => Transition::To(TcpState::from_bits(to as u32)),
                };
                let got = next(TcpState::from_bits(state), direction, flags);
                assert_eq!(got, want, "{direction:?} {flags:#04x} in state {state}");
            }
        }
    }
    assert_eq!(row(PSH | ACK), 3);
}
