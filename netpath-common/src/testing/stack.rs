//! The host's stack, as far as it forwards what the datapath leaves to it.
//!
//! Owns the hop and the Ethernet header. Never answers: what it would have to answer for is returned to
//! the test as it is.

use super::{
    frame::Frame,
    host::{HostOf, Outcome},
    tables::MemTables,
    topology::{BRIDGE1_MAC, BRIDGE2_MAC, NET1, ROUTER_MAC, UPLINK, UPLINK_IF, UPLINK_MAC},
};
use crate::{
    addr::{Addr, V6},
    event::Hook,
    verdict::Verdict,
};

impl<const VISIBLE: bool> HostOf<VISIBLE> {
    /// What becomes of a packet that a hook has left to the stack, or translated for it.
    #[track_caller]
    pub(super) fn forward(&mut self, hook: Hook, input: &Frame, out: Outcome) -> Outcome {
        if hook == Hook::Veth && out.passed() {
            let Some(frame) = outward(&out.frame, &self.tables, &self.tables6) else {
                return out;
            };
            let mut end = self.run_hook(Hook::UplinkEgress, &frame);
            end.frame.again = out.frame.again;
            end.frame.ifindex = input.ifindex;
            if end.result.is_ok() {
                let _ = end.to_stack();
                end.result = Ok(Verdict::ToUplink {
                    ifindex: UPLINK_IF,
                    leased: false,
                });
            }
            return end;
        }
        if hook == Hook::UplinkIngress
            && out.result == Ok(Verdict::TranslatedToStack)
            && let Some((frame, ifindex)) = inward(&out.frame, &self.tables, &self.tables6)
        {
            let result = Ok(Verdict::ToEndpoint { ifindex });
            return Outcome {
                frame,
                result,
                ..out
            };
        }
        out
    }
}

/// Destination address of a frame.
enum To {
    V4([u8; 4]),
    V6(V6),
}

fn to(frame: &Frame) -> Option<To> {
    match frame.bytes.get(12..14)? {
        [8, 0] => Some(To::V4(frame.bytes.get(30..34)?.try_into().ok()?)),
        [0x86, 0xdd] => Some(To::V6(frame.bytes.get(38..54)?.try_into().ok()?)),
        _ => None,
    }
}

/// Length of the longest packet that the frame is on the wire.
fn len(frame: &Frame) -> u32 {
    let headers = if frame.bytes[12] == 8 { 40 } else { 60 };
    match frame.gso_size {
        0 => u32::try_from(frame.bytes.len()).unwrap() - 14,
        segment => headers + segment,
    }
}

/// Whether the host sends a packet with this destination on to the outside.
fn is_outside<A: Addr>(dst: &A, t: &MemTables<A>) -> bool {
    let inside = |(net, len, _): &(A, u8, u16)| super::routes::in_prefix(*dst, *net, *len);
    !t.host_addrs.contains(dst)
        && !dst.is_multicast()
        && !dst.is_link_local()
        && !dst.is_never_a_destination()
        && !t.subnets.iter().any(inside)
        && super::routes::best(&t.routes, *dst, |_| true).ifindex == UPLINK_IF
}

/// The frame one hop further, with these MAC addresses; `None` where the stack would answer instead.
fn hop(frame: &Frame, mtu: u32, dst: [u8; 6], src: [u8; 6]) -> Option<Frame> {
    let mut frame = frame.clone();
    if frame.ttl() <= 1 || len(&frame) > mtu {
        return None;
    }
    if frame.bytes[12] == 8 {
        frame.bytes[22] -= 1;
        // One less in the upper byte of a word is one more in that of the sum (RFC 1141).
        let old = u16::from_be_bytes([frame.bytes[24], frame.bytes[25]]);
        let (sum, carry) = old.overflowing_add(0x100);
        frame.bytes[24..26].copy_from_slice(&(sum + u16::from(carry)).to_be_bytes());
    } else {
        frame.bytes[21] -= 1;
    }
    frame.bytes[..6].copy_from_slice(&dst);
    frame.bytes[6..12].copy_from_slice(&src);
    Some(frame)
}

/// What a container has sent as it leaves by the uplink; `None` where the stack does not forward it.
pub(super) fn outward(frame: &Frame, t: &MemTables, t6: &MemTables<V6>) -> Option<Frame> {
    let (forwards, uplinks) = match to(frame)? {
        To::V4(dst) => (is_outside(&dst, t), &t.uplinks),
        To::V6(dst) => (is_outside(&dst, t6), &t6.uplinks),
    };
    if !forwards {
        return None;
    }
    let mtu = uplinks[usize::from(UPLINK)].mtu;
    let mut frame = hop(frame, mtu, ROUTER_MAC, UPLINK_MAC)?;
    frame.ifindex = UPLINK_IF;
    frame.again.clear();
    Some(frame)
}

/// What came in by the uplink as it reaches a container, and the container's interface.
pub(super) fn inward(frame: &Frame, t: &MemTables, t6: &MemTables<V6>) -> Option<(Frame, u32)> {
    let slot = match to(frame)? {
        To::V4(dst) => *t.endpoint_by_addr.get(&dst)?,
        To::V6(dst) => *t6.endpoint_by_addr.get(&dst)?,
    };
    let endpoint = match to(frame)? {
        To::V4(_) => t.endpoints[usize::from(slot)],
        To::V6(_) => t6.endpoints[usize::from(slot)],
    };
    let bridge = if endpoint.network == NET1 {
        BRIDGE1_MAC
    } else {
        BRIDGE2_MAC
    };
    let frame = hop(frame, endpoint.mtu, endpoint.mac, bridge)?;
    Some((frame, endpoint.ifindex))
}
