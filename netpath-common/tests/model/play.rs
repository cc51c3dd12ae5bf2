//! Steps of more than one packet, and those that take up an earlier one.
//!
//! Owns who sends what in them. What each packet meets is `world`'s.

use netpath_common::{
    Verdict,
    testing::plain::{ACK, Line, SYN, line},
    testing::*,
    tuple,
};

use crate::{
    packets::whole,
    step::{Ends, L4, Shape},
    table,
    world::{Sent, World},
};

impl World {
    /// A datagram in parts: in the end the receiver has it whole, if its first part was let through
    /// and none came that should not wait.
    pub(crate) fn parts(
        &mut self,
        who: Option<usize>,
        ends: Ends,
        tcp: bool,
        len: usize,
        order: &[usize],
    ) {
        let l4 = if tcp {
            L4::Tcp {
                flags: ACK,
                seq: 2000,
                mss: None,
            }
        } else {
            L4::Udp { sum: true }
        };
        let shape = Shape {
            l4,
            ttl: 64,
            options: 0,
            len,
            fragment: None,
        };
        let src = who.map_or(S, |who| self.scene.containers[who].addr);
        self.id = self.id.wrapping_add(1);
        let d = whole(src, ends.dst, ends.sport, ends.dport, &shape).id(self.id);
        let parts = d.fragments(d.l4.len().div_ceil(5).next_multiple_of(8).max(24));
        let order: Vec<usize> = order.iter().copied().filter(|i| *i < parts.len()).collect();
        let waiting = table::waiting(&self.host.tables);
        let mut done = Vec::new();
        for part in &order {
            let outs = match who {
                Some(who) => {
                    let c = self.scene.containers[who];
                    self.send(&c, &parts[*part], None)
                }
                None => self.arrive(&parts[*part], None),
            };
            done.extend(outs.into_iter().filter(|out| {
                matches!(
                    out.result,
                    Ok(Verdict::ToUplink { .. } | Verdict::ToEndpoint { .. })
                )
            }));
        }
        let frames: Vec<Frame> = done.into_iter().map(|out| out.frame).collect();
        let head = frames
            .iter()
            .any(|f| f.bytes[20] & 0x1f == 0 && f.bytes[21] == 0);
        let is_whole = (0..parts.len()).all(|i| order.iter().filter(|o| **o == i).count() == 1);
        let in_order = order.is_sorted();
        // By hairpin nothing waits; and there is room for so many parts of others.
        let may_wait = waiting < 20 && (who.is_none() || !self.scene.is_host(ends.dst));
        if !head || !is_whole || parts.len() == 1 || !in_order && !may_wait {
            return;
        }
        let again = reassemble(&frames).unwrap();
        let again = again.unwrap_or_else(|| panic!("a part of {d:?} is missing: {order:?}"));
        assert_eq!(verify(&again), Ok(()), "4: the whole of {d:?}");
        // Behind the ports and the checksum.
        let from = if tcp { 18 } else { 8 };
        assert_eq!(again.bytes[34 + from..], d.l4[from..]);
    }

    pub(crate) fn handshake(&mut self, who: Option<usize>, sport: u16) {
        let last = |outs: &[Outcome]| line(&outs.last()?.frame.bytes);
        let of = |line: Line, flags| tcp(line.src, line.sport, line.dst, line.dport, flags);
        match who {
            Some(who) => {
                let c = self.scene.containers[who];
                let outs = self.send(&c, &tcp(c.addr, sport, S, 80, SYN), None);
                if let Ok(Verdict::ToUplink { .. }) = outs[0].result
                    && let Some(out) = last(&outs)
                {
                    self.arrive(&of(out.back(), SYN | ACK), None);
                    self.send(&c, &tcp(c.addr, sport, S, 80, ACK), None);
                }
            }
            None => {
                let host = self.scene.host;
                let outs = self.arrive(&tcp(S, sport, host, 8080, SYN), None);
                if let Ok(Verdict::ToEndpoint { ifindex }) = outs[0].result
                    && let Some(out) = last(&outs)
                {
                    let all = self.scene.containers;
                    let c = all.iter().find(|c| c.ifindex == ifindex).unwrap();
                    self.send(c, &of(out.back(), SYN | ACK), None);
                    self.arrive(&tcp(S, sport, host, 8080, ACK), None);
                }
            }
        }
    }

    pub(crate) fn answer(&mut self, n: usize, flags: u8, seq: u32, ttl: u8) {
        let Some(Sent { line, at }) = self.sent.get(n) else {
            return;
        };
        let (l, at) = (line.back(), *at);
        let p = match l.proto {
            tuple::TCP => tcp(l.src, l.sport, l.dst, l.dport, flags).numbered(seq, 2000),
            tuple::UDP => udp(l.src, l.sport, l.dst, l.dport, b"answer"),
            _ if matches!(l.icmp_type, 0 | 14) => query(l.src, l.dst, l.icmp_type, l.sport),
            _ => return,
        };
        self.back(at, &p.ttl(ttl));
    }

    pub(crate) fn complain(
        &mut self,
        n: usize,
        (kind, mtu): (u8, u16),
        quoted: usize,
        dst: Option<Addr>,
        by_host: bool,
    ) {
        let Some(Sent { line: s, at }) = self.sent.get(n) else {
            return;
        };
        let at = *at;
        let about = match s.proto {
            tuple::TCP => tcp(s.src, s.sport, s.dst, s.dport, 0x10),
            tuple::UDP => udp(s.src, s.sport, s.dst, s.dport, b"question"),
            _ => query(s.src, s.dst, s.icmp_type, s.sport),
        };
        let dst = dst.unwrap_or(s.src);
        let from = match at {
            _ if by_host => self.scene.host,
            Some(_) => s.dst,
            None => R,
        };
        let code = if kind == 3 { 4 } else { 1 };
        let mut p = error(from, dst, kind, code, &about, quoted);
        let [a, b] = mtu.to_be_bytes();
        p = icmp(from, dst, kind, code, [0, 0, a, b], &p.l4[8..]);
        if by_host {
            self.egress(&p);
        } else {
            self.back(at, &p);
        }
    }

    fn back(&mut self, at: Option<Container>, p: &Datagram) {
        match at {
            None => self.arrive(p, None),
            // The container may have been replaced since; then nobody owns the interface.
            Some(c) => self.send(&c, p, None),
        };
    }
}
