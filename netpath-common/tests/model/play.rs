//! Steps of more than one packet, and those that take up an earlier one.
//!
//! Owns who sends what in them. What each packet meets is `world`'s.

use netpath_common::{
    Verdict,
    testing::{
        plain::{ACK, Line, SYN},
        *,
    },
    tuple,
};

use crate::{
    observe::ip,
    packets::whole,
    side::{Name, Side},
    step::{Ends, L4, Shape},
    table,
    world::{Sent, World, line},
};

impl World {
    /// A datagram in parts: in the end the receiver has it whole, if its first part was let through
    /// and none came that should not wait.
    pub(crate) fn parts<A: Side>(
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
            // Some behind options, or an extension header.
            options: if len.is_multiple_of(4) { 2 } else { 0 },
            len,
            fragment: None,
        };
        let src = self.scene.named(who.map_or(Name::Server, Name::Container));
        let dst: A = self.scene.named(ends.dst);
        self.id = self.id.wrapping_add(1);
        let mut d = whole(src, dst, (ends.sport, ends.dport), &shape);
        let l4 = A::l4(&mut d).clone();
        let parts = A::parts(
            &d,
            l4.len().div_ceil(5).next_multiple_of(8).max(24),
            self.id,
        );
        let order: Vec<usize> = order.iter().copied().filter(|i| *i < parts.len()).collect();
        let waiting = table::waiting(&self.host);
        let mut done = Vec::new();
        for part in &order {
            let outs = match who {
                Some(who) => {
                    let c = self.scene.containers[who];
                    self.send::<A>(&c, &parts[*part], None)
                }
                None => self.arrive::<A>(&parts[*part], None),
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
            .any(|f| ip::<A>(f).is_some_and(|ip| ip.part.0 == 0));
        let is_whole = (0..parts.len()).all(|i| order.iter().filter(|o| **o == i).count() == 1);
        let in_order = order.is_sorted();
        // From container to container nothing waits; and there is room for so many parts of others.
        let goes_out = !self.scene.is_host(dst) && !dst.is_private();
        let may_wait = waiting < 20 && (who.is_none() || goes_out);
        if !head || !is_whole || parts.len() == 1 || !in_order && !may_wait {
            return;
        }
        let again = A::whole(&frames).unwrap();
        let again = again.unwrap_or_else(|| panic!("a part of {d:?} is missing: {order:?}"));
        assert_eq!(verify(&again), Ok(()), "4: the whole of {d:?}");
        // Behind the ports and the checksum.
        let from = if tcp { 18 } else { 8 };
        assert_eq!(again.bytes[14 + A::HEADER + from..], l4[from..]);
    }

    pub(crate) fn handshake<A: Side>(&mut self, who: Option<usize>, sport: u16) {
        let last = |outs: &[Outcome]| line::<A>(&outs.last()?.frame);
        let tcp = |src, sport, dst, dport, flags| A::tcp(src, sport, dst, dport, flags, b"");
        let of = |l: Line<A>, flags| tcp(l.src, l.sport, l.dst, l.dport, flags);
        let server = self.scene.named(Name::Server);
        match who {
            Some(who) => {
                let c = self.scene.containers[who];
                let outs = self.send::<A>(&c, &tcp(A::of(&c), sport, server, 80, SYN), None);
                if let Ok(Verdict::ToUplink { .. }) = outs[0].result
                    && let Some(out) = last(&outs)
                {
                    self.arrive::<A>(&of(A::back(out), SYN | ACK), None);
                    self.send::<A>(&c, &tcp(A::of(&c), sport, server, 80, ACK), None);
                }
            }
            None => {
                let host = self.scene.host();
                let outs = self.arrive::<A>(&tcp(server, sport, host, 8080, SYN), None);
                if let Ok(Verdict::ToEndpoint { ifindex }) = outs[0].result
                    && let Some(out) = last(&outs)
                {
                    let all = self.scene.containers;
                    let c = all.iter().find(|c| c.ifindex == ifindex).unwrap();
                    self.send::<A>(c, &of(A::back(out), SYN | ACK), None);
                    self.arrive::<A>(&tcp(server, sport, host, 8080, ACK), None);
                }
            }
        }
    }

    pub(crate) fn answer<A: Side>(&mut self, n: usize, flags: u8, seq: u32, ttl: u8) {
        let Some(Sent { line, at }) = A::half(&self.halves).sent.get(n) else {
            return;
        };
        let (l, at) = (A::back(*line), *at);
        let p = match l.proto {
            tuple::TCP => {
                let p = A::tcp(l.src, l.sport, l.dst, l.dport, flags, b"");
                A::numbered(p, seq, 2000)
            }
            tuple::UDP => A::udp(l.src, l.sport, l.dst, l.dport, b"answer", true),
            icmp if icmp == A::ICMP && A::answers(l.icmp_type) => {
                A::query(l.src, l.dst, l.icmp_type, l.sport)
            }
            _ => return,
        };
        self.back::<A>(at, &A::dressed(p, ttl, 0));
    }

    pub(crate) fn complain<A: Side>(
        &mut self,
        n: usize,
        (kind, mtu): (usize, usize),
        quoted: usize,
        dst: Option<Name>,
        by_host: bool,
    ) {
        let Some(Sent { line: s, at }) = A::half(&self.halves).sent.get(n) else {
            return;
        };
        let at = *at;
        let about = match s.proto {
            tuple::TCP => A::tcp(s.src, s.sport, s.dst, s.dport, 0x10, b""),
            tuple::UDP => A::udp(s.src, s.sport, s.dst, s.dport, b"question", true),
            _ => A::query(s.src, s.dst, s.icmp_type, s.sport),
        };
        let dst = dst.map_or(s.src, |name| self.scene.named(name));
        let from = match at {
            _ if by_host => self.scene.host(),
            Some(_) => s.dst,
            None => A::ROUTER,
        };
        let (kind, mtu) = (A::ERRORS[kind], A::MTUS[mtu]);
        let p = A::complaint(from, dst, kind, mtu, &about, quoted);
        if by_host {
            self.egress::<A>(&p);
        } else {
            self.back::<A>(at, &p);
        }
    }

    fn back<A: Side>(&mut self, at: Option<Container>, p: &A::Datagram) {
        match at {
            None => self.arrive::<A>(p, None),
            // The container may have been replaced since; then nobody owns the interface.
            Some(c) => self.send::<A>(&c, p, None),
        };
    }
}
