//! Every reason to drop is reached by a packet.

use netpath_common::{
    DropReason,
    addr::V4,
    conntrack::{
        Budget, STATE_CLAIMED,
        tcp::{ACK, FIN, SYN},
    },
    datapath::{HELD_BYTES, Tables, Vetted, bridge_ingress, on_link},
    event::Hook,
    packet::{Eth, Ip, parse_eth, parse_ipv6},
    records::{EndpointRecord, IFACE_CLOSED4, NETWORK_ICC, NetworkRecord},
    testing::*,
    tuple,
};

/// Makes a host drop something for `reason`.
fn provoke(reason: DropReason) -> Option<DropReason> {
    let mut h = Host::new();
    let syn = tcp(C1.addr, 40000, S, 80, SYN);
    let frame = |p: &Datagram| p.frame(C1.mac, BRIDGE1_MAC, C1.ifindex);
    let out = match reason {
        DropReason::Truncated => h.run(Hook::Veth, &frame(&syn).truncated(20)),
        DropReason::BadIpHeader => h.run(Hook::Veth, &frame(&syn).truncated(50)),
        DropReason::BadL4Header => h.from(&C1, &tcp(C1.addr, 40000, S, 80, SYN | FIN)),
        DropReason::BadEthertype => {
            let mut f = frame(&syn);
            f.bytes[12..14].copy_from_slice(&[0x88, 0xcc]);
            h.run(Hook::Veth, &f)
        }
        DropReason::SpoofedMac => h.run(Hook::Veth, &syn.frame(C2.mac, BRIDGE1_MAC, C1.ifindex)),
        DropReason::SpoofedAddress => h.from(&C1, &tcp(C2.addr, 40000, S, 80, SYN)),
        DropReason::SpoofedArp => h.run(
            Hook::Veth,
            &arp(C1.mac, 2, C1.mac, GW1, C2.addr, C1.ifindex),
        ),
        DropReason::UnknownPort => return bridge_ingress(Vetted::No).err(),
        DropReason::Martian => h.from(&C1, &udp(C1.addr, 1, [127, 0, 0, 1], 2, b"")),
        DropReason::DirectAccess => h.from_outside(&tcp(S, 1, C1.addr, 80, SYN)),
        DropReason::OtherNetwork => h.from(&C1, &tcp(C1.addr, 1, C3.addr, 80, SYN)),
        DropReason::IccDisabled => {
            h.tables.networks[usize::from(NET1)].flags &= !NETWORK_ICC;
            h.from(&C1, &tcp(C1.addr, 1, C2.addr, 80, SYN))
        }
        DropReason::NotRoutable => {
            h.tables.networks[usize::from(NET1)].flags = 0;
            h.from(&C1, &syn)
        }
        DropReason::UnsupportedProtocol => h.from(&C1, &Datagram::new(C1.addr, S, 51, vec![0; 20])),
        DropReason::LinkScope => h.from(&C1, &udp(C1.addr, 1, [169, 254, 7, 7], 2, b"")),
        DropReason::UnpublishedFlood => {
            let nobodys = udp(S, 1, H, 9, b"").frame(ROUTER_MAC, UPLINK_MAC, UPLINK_IF);
            for _ in 0..netpath_common::datapath::REFUSED_AT_ONCE {
                assert!(h.run(Hook::Xdp, &nobodys).passed());
            }
            h.run(Hook::Xdp, &nobodys)
        }
        DropReason::NotAllowed => {
            h.tables.allow(RULE_WEB, &[(S2, 32)]);
            h.from_outside(&tcp(S, 1, H, 8080, SYN))
        }
        DropReason::IcmpUnmatched => h.from(&C1, &query(C1.addr, S, 0, 1)),
        DropReason::IcmpErrorUnmatched => h.from(&C1, &error(C1.addr, S, 3, 3, &syn, 8)),
        DropReason::IcmpRedirect => h.from(&C1, &error(C1.addr, S, 5, 1, &syn, 8)),
        DropReason::IcmpBadMtu => {
            let _ = h.from(&C1, &syn).to_uplink();
            let about = tcp(H, 40000, S, 80, SYN).bytes();
            h.from_outside(&icmp(R, H, 3, 4, [0, 0, 0, 67], &about))
        }
        DropReason::EndpointQuota => {
            h.tables.config.as_mut().unwrap().endpoint_flows = 1;
            let _ = h.from(&C1, &syn).to_uplink();
            h.from(&C1, &tcp(C1.addr, 40001, S, 80, SYN))
        }
        DropReason::InboundBudget => {
            h.tables.config.as_mut().unwrap().inbound_embryonic = 1;
            h.tables.add_live(Budget::inbound::<V4>(), 1);
            h.from_outside(&tcp(S, 4000, H, 8080, SYN))
        }
        DropReason::TcpInvalid => {
            super::connection::open(&mut h);
            h.from_outside(&tcp(S, 80, H, 40000, SYN))
        }
        DropReason::TcpNotSyn => h.from(&C1, &tcp(C1.addr, 40000, S, 80, FIN | ACK)),
        DropReason::FragmentUnmatched => {
            h.from_stack(&udp(C1.addr, 1, S, 2, &[0; 99]).fragments(48)[1])
        }
        DropReason::FragmentOverlap => {
            let parts = udp(C1.addr, 1, S, 2, &[0; 99]).fragments(48);
            let _ = h.from(&C1, &parts[0]).to_uplink();
            let _ = h.from(&C1, &parts[1]).to_uplink();
            h.from(&C1, &parts[1])
        }
        DropReason::FragmentTiny => h.from(&C1, &syn.fragments(16)[0]),
        DropReason::ConntrackFull => {
            h.tables.ct_capacity = 1;
            h.from(&C1, &syn)
        }
        DropReason::NoPort => {
            (1..=u16::MAX).for_each(|p| h.tables.set_reserved(tuple::TCP, p, true));
            h.from(&C1, &syn)
        }
        DropReason::FlowRace => {
            let _ = h.from(&C1, &udp(C1.addr, 5000, S, 53, b"")).to_uplink();
            let key = super::masquerade::record_key(tuple::UDP, 53, 5000);
            let mut record = h.tables.entry(&key).unwrap();
            record.state |= STATE_CLAIMED;
            h.tables.put_entry(key, record);
            h.tables.advance_ms(1000);
            h.from(&C1, &udp(C1.addr, 5000, S, 53, b""))
        }
        DropReason::NoUplink => {
            h.tables.uplinks[usize::from(UPLINK)].addr = [0; 4];
            h.from(&C1, &syn)
        }
        DropReason::NoRoute => {
            h.from_outside(&udp(S, 4000, H, 5353, b"?"));
            h.tables.routes.clear();
            h.from(&C1, &udp(C1.addr, 53, S, 4000, b"!"))
        }
        DropReason::TooLarge => {
            h.tables.translate_at_loopback();
            let question = udp([127, 0, 0, 1], 4000, [127, 0, 0, 1], 5353, &[0; 2000]);
            h.from_itself(&question)
        }
        DropReason::RewriteFailed => return rewrite_failed(&h),
        DropReason::UntranslatedSource => h.from_stack(&tcp([172, 17, 9, 9], 1, S, 2, SYN)),
        DropReason::NoConfig => {
            h.tables.ifaces.clear();
            h.from(&C1, &syn)
        }
        DropReason::NotARouter => {
            h.tables.ifaces.get_mut(&UPLINK_IF).unwrap().flags = IFACE_CLOSED4;
            let transit = udp(S, 1, [8, 8, 8, 8], 2, b"");
            assert!(h.from_outside(&transit).passed());
            h.from_stack(&transit)
        }
        DropReason::RoutingHeader => return over_ipv6(&tcp6(A6, 1, B6, 2, SYN).routing(0, 0)),
        DropReason::HeaderChain => {
            let options = tcp6(A6, 1, B6, 2, SYN).options(60, 1).options(0, 1);
            return over_ipv6(&options);
        }
        DropReason::SpoofedNeighbour => return over_ipv6(&neighbour(A6, B6, 136, B6, &[])),
        DropReason::RogueRa => return over_ipv6(&router_advertisement(A6, B6, &[])),
        DropReason::RogueDhcp => h.from(&C1, &udp(C1.addr, 67, [255; 4], 68, b"offer")),
    };
    out.dropped()
}

const A6: Addr6 = *b"\xfd\x00\x00\x17\0\0\0\0\0\0\0\0\0\0\0\x02";
const B6: Addr6 = *b"\xfd\x00\x00\x17\0\0\0\0\0\0\0\0\0\0\0\x03";

/// Judges what [`C1`] says on its link, whose address of IPv6 is [`A6`].
fn over_ipv6(d: &Datagram6) -> Option<DropReason> {
    let frame = d.frame(C1.mac, BRIDGE1_MAC, C1.ifindex);
    let endpoint = EndpointRecord {
        addr6: A6,
        mac: C1.mac,
        ..EndpointRecord::default()
    };
    let (mut eth, mut ip) = (Eth::default(), Ip::default());
    parse_eth(&frame, &mut eth).unwrap();
    parse_ipv6(&frame, &mut ip).unwrap();
    on_link(&frame, &ip, &eth, &endpoint, &NetworkRecord::default()).err()
}

/// A packet that cannot be made writable: a clone that the kernel has no memory for.
fn rewrite_failed(h: &Host) -> Option<DropReason> {
    struct ReadOnly(Frame);
    impl netpath_common::packet::Packet for ReadOnly {
        fn len(&self) -> usize {
            self.0.len()
        }
        fn gso_size(&self) -> u32 {
            0
        }
        fn ifindex(&self) -> u32 {
            self.0.ifindex
        }
        fn read<const N: usize>(&self, off: usize) -> Option<[u8; N]> {
            self.0.read(off)
        }
        fn write<const N: usize>(&mut self, _: usize, _: &[u8; N]) -> Result<(), DropReason> {
            Err(DropReason::RewriteFailed)
        }
        fn copy_to(&self, _: &mut [u8; HELD_BYTES]) -> bool {
            false
        }
        fn replace_by(&mut self, _: &[u8; HELD_BYTES], _: usize) -> bool {
            false
        }
        fn send_copy_back(&mut self) -> bool {
            false
        }
        fn update_l4_checksum(
            &mut self,
            _: usize,
            _: u32,
            _: bool,
            _: bool,
        ) -> Result<(), DropReason> {
            Err(DropReason::RewriteFailed)
        }
    }
    let mut work = netpath_common::datapath::Work::default();
    for packet in [tcp(C1.addr, 40000, S, 80, SYN), query(C1.addr, S, 8, 1)] {
        let mut frame = ReadOnly(packet.frame(C1.mac, BRIDGE1_MAC, C1.ifindex));
        let result = netpath_common::datapath::veth_ingress(&mut frame, &h.tables, &mut work);
        assert_eq!(result.err(), Some(DropReason::RewriteFailed));
    }
    Some(DropReason::RewriteFailed)
}

#[test]
fn each_is_provoked() {
    for reason in DropReason::ALL {
        assert_eq!(provoke(*reason), Some(*reason), "{}", reason.as_str());
    }
}
