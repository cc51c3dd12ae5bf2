//! Cases 5 and 6: the same flow, and the same port, on several processors at once.
//!
//! Another processor is what runs just before an insert into the table, so that every order of the
//! inserts is tried, deterministically. With real processors and the real programs:
//! `tests/prog/race.rs`.

use std::{cell::RefCell, rc::Rc};

use netpath_common::{
    DropReason, Verdict,
    conntrack::tcp::SYN,
    counters::Counter,
    datapath::{Work, veth_ingress},
};

use super::{family::*, help::flows};

/// What became of packets that other processors have sent.
type Sent = Rc<RefCell<Vec<(Result<Verdict, DropReason>, Frame)>>>;

/// Another processor sends `packet` of `c` just before the insert that `skip` others precede, and is
/// itself overtaken by `others` in the same way.
fn overtaken(t: &MemTables, others: &[(usize, Container, Datagram)], sent: &Sent) {
    let Some(((skip, c, packet), rest)) = others.split_first() else {
        return;
    };
    let (c, packet, rest, sent) = (*c, packet.clone(), rest.to_vec(), Rc::clone(sent));
    t.before_insert(*skip, move |t| {
        overtaken(t, &rest, &sent);
        let mut frame = packet.frame(c.mac, BRIDGE1_MAC, c.ifindex);
        let mut work = Work::default();
        let result = veth_ingress(&mut frame, t, &mut work);
        sent.borrow_mut()
            .push((result.map(|a| work.verdict(a)), frame));
    });
}

#[test]
fn c05_the_same_flow_at_once() {
    let packet = udp(C1.ip(), 40000, S, 53, b"?");
    // Up to five processors; each is overtaken before its record or before its index.
    for processors in 1..5_u32 {
        for order in 0..1 << processors {
            let mut h = Host::new();
            let sent = Sent::default();
            let others: Vec<_> = (0..processors)
                .map(|i| (usize::from(order >> i & 1 != 0), C1, packet.clone()))
                .collect();
            overtaken(&h.tables, &others, &sent);
            let out = h.from(&C1, &packet);
            assert_eq!(out.to_uplink(), said("udp H:40000 > S:53"));
            for (verdict, frame) in sent.borrow().iter() {
                assert!(verdict.is_ok(), "order {order:b}: {verdict:?}");
                let text = describe(frame);
                assert_eq!(text, said("udp H:40000 > S:53"));
            }
            assert_eq!(sent.borrow().len(), processors as usize, "all came");
            assert_eq!(h.tables.entries().len(), 2, "one record, one index");
            assert_eq!(flows(&h.tables), 1, "and they belong together");
            assert_eq!(h.tables.counter(Counter::FlowNew), 1);
            assert_eq!(
                h.tables.stats(C1.slot).sent().packets,
                u64::from(processors) + 1
            );
        }
    }
}

#[test]
fn c06_the_same_port_at_once() {
    let containers: Vec<_> = (0..10).map(another).collect();
    for before_index in [0, 1] {
        let mut h = Host::new();
        containers.iter().for_each(|c| h.tables.add_container(c));
        let syn = |c: &Container| tcp(c.ip(), 40000, S, 80, SYN);
        let others: Vec<_> = containers
            .iter()
            .skip(1)
            .map(|c| (before_index, *c, syn(c)))
            .collect();
        let sent = Sent::default();
        overtaken(&h.tables, &others, &sent);
        let first = h.from(&containers[0], &syn(&containers[0]));
        let _ = first.to_uplink();
        let mut ports = vec![source_port(&first.frame)];
        for (verdict, frame) in sent.borrow().iter() {
            assert!(verdict.is_ok(), "{verdict:?}");
            assert_eq!(source(frame), H, "the host's source");
            ports.push(source_port(frame));
        }
        assert!(ports.contains(&40000), "one of them has it: {ports:?}");
        ports.sort_unstable();
        ports.dedup();
        assert_eq!(ports.len(), 10, "as many ports as flows");
        assert_eq!(flows(&h.tables), 10);
    }
}
