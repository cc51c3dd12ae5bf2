//! Expected packets in words, of either family.
//!
//! Owns how names of the standard host become the addresses that [`super::describe`] prints.

use std::{
    net::{IpAddr, SocketAddr},
    string::{String, ToString},
};

/// `text` with addresses for names: `udp C1:5000 > S:53`, `icmp 3/1 R > C1 [udp C1:5000 > S:53]`.
/// `icmp`: what the family calls that.
///
/// # Panics
/// Where a name or a port is none.
pub(super) fn said(text: &str, icmp: &str, addr: impl Fn(&str) -> Option<IpAddr>) -> String {
    let mut out = String::new();
    for piece in text.split_inclusive([' ', '[', ']']) {
        let word = piece.trim_end_matches([' ', '[', ']']);
        let end = &piece[word.len()..];
        let (name, port) = word
            .split_once(':')
            .map_or((word, None), |(n, p)| (n, Some(p)));
        match (addr(name), port) {
            (Some(ip), None) => out += &ip.to_string(),
            (Some(ip), Some(port)) => {
                out += &SocketAddr::new(ip, port.parse().unwrap()).to_string();
            }
            (None, None) if word == "icmp" => out += icmp,
            (None, None) => out += word,
            (None, Some(_)) => panic!("nobody is called {name}"),
        }
        out += end;
    }
    out
}
