//! The clsact qdisc and its filters: how programs are attached where the kernel lacks tcx.
//!
//! Owns the netlink messages that list and delete them; aya adds them. Every filter of netpath has
//! the same priority and handle, so that it can be found without a record.

use std::io;

use rtnetlink::sys::{Socket, SocketAddr, protocols::NETLINK_ROUTE};

/// Priority of every filter of netpath: before those that take the kernel's choice.
pub(super) const PRIORITY: u16 = 50;
/// Handle of every filter of netpath: "np".
pub(super) const HANDLE: u16 = 0x6e70;

const NLM_F_REQUEST: u16 = 1;
const NLM_F_ACK: u16 = 4;
const NLM_F_DUMP: u16 = 0x300;
const NLMSG_ERROR: u16 = 2;
const NLMSG_DONE: u16 = 3;
const RTM_DELQDISC: u16 = 37;
const RTM_NEWTFILTER: u16 = 44;
const RTM_DELTFILTER: u16 = 45;
const RTM_GETTFILTER: u16 = 46;
const TC_H_CLSACT: u32 = 0xffff_fff1;
const TC_H_MIN_INGRESS: u32 = 0xffff_fff2;
const TC_H_MIN_EGRESS: u32 = 0xffff_fff3;
const CLSACT_HANDLE: u32 = 0xffff_0000;
const ETH_P_ALL: u16 = 3;
const TCA_OPTIONS: u16 = 2;
const TCA_BPF_ID: u16 = 11;
const NLA_TYPE_MASK: u16 = 0x3fff;
/// Length of `struct nlmsghdr` and of `struct tcmsg`.
const NLMSG_HDR: usize = 16;
const TCMSG: usize = 20;

/// Ingress or egress of an interface.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) ifindex: u32,
    pub(super) egress: bool,
}

/// A filter on a clsact qdisc.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Filter {
    pub(super) priority: u16,
    pub(super) handle: u32,
    /// Kernel's number of the program, for filters that are programs.
    pub(super) program: Option<u32>,
}

impl Place {
    fn parent(self) -> u32 {
        if self.egress {
            TC_H_MIN_EGRESS
        } else {
            TC_H_MIN_INGRESS
        }
    }
}

/// The filters at a place; none if the interface or the qdisc is gone.
pub(super) fn filters(at: Place) -> io::Result<Vec<Filter>> {
    let message = request(RTM_GETTFILTER, NLM_F_DUMP, at.ifindex, 0, at.parent(), 0);
    let answers = match talk(&message) {
        Err(e) if is_gone(&e) => return Ok(Vec::new()),
        other => other?,
    };
    Ok(answers
        .iter()
        .filter_map(|body| parse_filter(body))
        .collect())
}

/// The program that netpath's filter at a place runs.
pub(super) fn program_at(at: Place) -> io::Result<Option<u32>> {
    let ours = |f: &Filter| f.priority == PRIORITY && f.handle == u32::from(HANDLE);
    Ok(filters(at)?.into_iter().find(ours).and_then(|f| f.program))
}

/// Deletes netpath's filter at a place; fine if it is gone.
pub(super) fn delete_filter(at: Place) -> io::Result<()> {
    let info = u32::from(PRIORITY) << 16 | u32::from(ETH_P_ALL.to_be());
    let handle = u32::from(HANDLE);
    let message = request(
        RTM_DELTFILTER,
        NLM_F_ACK,
        at.ifindex,
        handle,
        at.parent(),
        info,
    );
    gone_is_fine(talk(&message))
}

/// Deletes an interface's clsact qdisc if no filter is left on it.
pub(super) fn delete_empty_qdisc(ifindex: u32) -> io::Result<()> {
    for egress in [false, true] {
        if !filters(Place { ifindex, egress })?.is_empty() {
            return Ok(());
        }
    }
    let message = request(
        RTM_DELQDISC,
        NLM_F_ACK,
        ifindex,
        CLSACT_HANDLE,
        TC_H_CLSACT,
        0,
    );
    gone_is_fine(talk(&message))
}

fn gone_is_fine(result: io::Result<Vec<Vec<u8>>>) -> io::Result<()> {
    match result {
        Err(e) if is_gone(&e) => Ok(()),
        other => other.map(drop),
    }
}

/// The kernel says EINVAL where the qdisc is missing, ENODEV where the interface is.
fn is_gone(e: &io::Error) -> bool {
    matches!(
        e.raw_os_error(),
        Some(libc::ENODEV | libc::ENOENT | libc::EINVAL)
    )
}

fn request(kind: u16, flags: u16, ifindex: u32, handle: u32, parent: u32, info: u32) -> Vec<u8> {
    let mut message = Vec::with_capacity(NLMSG_HDR + TCMSG);
    message.extend(((NLMSG_HDR + TCMSG) as u32).to_ne_bytes());
    message.extend(kind.to_ne_bytes());
    message.extend((flags | NLM_F_REQUEST).to_ne_bytes());
    // Sequence number, port, address family with padding.
    message.extend([1u32, 0, 0].iter().flat_map(|n| n.to_ne_bytes()));
    message.extend(
        [ifindex, handle, parent, info]
            .iter()
            .flat_map(|n| n.to_ne_bytes()),
    );
    message
}

/// Sends a request and collects the bodies of the answers.
fn talk(message: &[u8]) -> io::Result<Vec<Vec<u8>>> {
    let mut socket = Socket::new(NETLINK_ROUTE)?;
    socket.bind_auto()?;
    socket.connect(&SocketAddr::new(0, 0))?;
    socket.send(message, 0)?;
    let mut answers = Vec::new();
    loop {
        let (datagram, _) = socket.recv_from_full()?;
        let mut rest = datagram.as_slice();
        while let Some((kind, body, next)) = split_message(rest) {
            match kind {
                NLMSG_DONE => return Ok(answers),
                NLMSG_ERROR => {
                    let code = i32::from_ne_bytes(bytes(body, 0).unwrap_or_default());
                    return if code == 0 {
                        Ok(answers)
                    } else {
                        Err(io::Error::from_raw_os_error(-code))
                    };
                }
                RTM_NEWTFILTER => answers.push(body.to_vec()),
                _ => {}
            }
            rest = next;
        }
    }
}

fn split_message(data: &[u8]) -> Option<(u16, &[u8], &[u8])> {
    let len = u32::from_ne_bytes(bytes(data, 0)?) as usize;
    let kind = u16::from_ne_bytes(bytes(data, 4)?);
    let body = data.get(NLMSG_HDR..len)?;
    Some((
        kind,
        body,
        data.get(len.next_multiple_of(4)..).unwrap_or_default(),
    ))
}

fn parse_filter(body: &[u8]) -> Option<Filter> {
    let handle = u32::from_ne_bytes(bytes(body, 8)?);
    let info = u32::from_ne_bytes(bytes(body, 16)?);
    let options = attribute(body.get(TCMSG..)?, TCA_OPTIONS).unwrap_or_default();
    let program = attribute(options, TCA_BPF_ID)
        .and_then(|id| bytes(id, 0))
        .map(u32::from_ne_bytes);
    // The kernel also lists each priority by itself, with handle 0.
    (handle != 0).then_some(Filter {
        priority: (info >> 16) as u16,
        handle,
        program,
    })
}

fn attribute(mut data: &[u8], wanted: u16) -> Option<&[u8]> {
    loop {
        let len = usize::from(u16::from_ne_bytes(bytes(data, 0)?));
        let kind = u16::from_ne_bytes(bytes(data, 2)?) & NLA_TYPE_MASK;
        let value = data.get(4..len)?;
        if kind == wanted {
            return Some(value);
        }
        data = data.get(len.next_multiple_of(4)..)?;
    }
}

fn bytes<const N: usize>(data: &[u8], at: usize) -> Option<[u8; N]> {
    data.get(at..at + N)?.try_into().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn attr(kind: u16, value: &[u8]) -> Vec<u8> {
        let mut out = ((4 + value.len()) as u16).to_ne_bytes().to_vec();
        out.extend(kind.to_ne_bytes());
        out.extend(value);
        out.resize(out.len().next_multiple_of(4), 0);
        out
    }

    #[test]
    fn filters_are_read_from_the_kernels_answer() {
        let mut body = vec![0; 8];
        body.extend(u32::from(HANDLE).to_ne_bytes());
        body.extend(TC_H_MIN_INGRESS.to_ne_bytes());
        body.extend((50u32 << 16 | 0x300).to_ne_bytes());
        body.extend(attr(1, b"bpf\0"));
        let options = [
            attr(7, b"np_veth\0"),
            attr(TCA_BPF_ID, &42u32.to_ne_bytes()),
        ]
        .concat();
        body.extend(attr(TCA_OPTIONS | 0x8000, &options));
        let expected = Filter {
            priority: PRIORITY,
            handle: u32::from(HANDLE),
            program: Some(42),
        };
        assert_eq!(parse_filter(&body), Some(expected));
        for len in 0..TCMSG {
            assert_eq!(parse_filter(&body[..len]), None);
        }
        for len in TCMSG..body.len() {
            let _does_not_panic = parse_filter(&body[..len]);
        }
    }

    #[test]
    fn a_request_says_its_length() {
        let message = request(RTM_GETTFILTER, NLM_F_DUMP, 3, 0, TC_H_MIN_EGRESS, 0);
        assert_eq!(message.len(), 36);
        assert_eq!(message[..4], 36u32.to_ne_bytes());
        assert!(split_message(&message).is_some());
        assert!(split_message(&message[..30]).is_none());
    }
}
