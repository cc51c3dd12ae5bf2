//! Proof that netfilter has no part in it: the namespace's rules and connections, asked of the
//! kernel itself.
//!
//! Owns two raw netlink dumps and one file under /proc, for the calling thread's namespace. Knows
//! only how many objects there are.

use std::{
    fs, io,
    io::{Read, Write},
};

use socket2::{Domain, Protocol, Socket, Type};

use super::Error;

const NETLINK_NETFILTER: i32 = 12;
const NFNL_SUBSYS_CTNETLINK: u16 = 1;
const NFNL_SUBSYS_NFTABLES: u16 = 10;
const IPCTNL_MSG_CT_GET: u16 = 1;
const NFT_MSG_GETTABLE: u16 = 1;
const NLM_F_REQUEST: u16 = 0x1;
const NLM_F_DUMP: u16 = 0x300;
const NLMSG_ERROR: u16 = 2;
const NLMSG_DONE: u16 = 3;
const HEADER: usize = 16;

/// What netfilter holds in a namespace.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Netfilter {
    /// nftables tables.
    pub nft_tables: usize,
    /// Connections in the kernel's conntrack.
    pub connections: usize,
    /// Legacy iptables tables.
    pub iptables_tables: Vec<String>,
}

impl Netfilter {
    /// Whether there is nothing at all.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

/// Asks the kernel.
///
/// # Errors
/// When it does not answer, other than by having no such subsystem.
pub fn look() -> Result<Netfilter, Error> {
    let connections = count(NFNL_SUBSYS_CTNETLINK << 8 | IPCTNL_MSG_CT_GET)
        .map_err(Error::io("list the kernel's connections"))?;
    Ok(Netfilter {
        nft_tables: nft_tables()?,
        connections,
        iptables_tables: legacy_tables("ip_tables_names"),
    })
}

/// How many nftables tables there are.
///
/// # Errors
/// As [`look`].
pub(crate) fn nft_tables() -> Result<usize, Error> {
    count(NFNL_SUBSYS_NFTABLES << 8 | NFT_MSG_GETTABLE)
        .map_err(Error::io("list the nftables tables"))
}

/// The tables of legacy iptables: `ip_tables_names`, or `ip6_tables_names`.
pub(crate) fn legacy_tables(file: &str) -> Vec<String> {
    // Absent where the kernel has none.
    let names = fs::read_to_string(format!("/proc/thread-self/net/{file}")).unwrap_or_default();
    names.lines().map(str::to_owned).collect()
}

/// How many objects a dump of this message type lists.
fn count(message: u16) -> io::Result<usize> {
    let opened = Socket::new(
        Domain::from(libc::AF_NETLINK),
        Type::RAW,
        Some(Protocol::from(NETLINK_NETFILTER)),
    );
    let mut socket = match opened {
        Ok(socket) => socket,
        // A kernel without netfilter.
        Err(error) if error.raw_os_error() == Some(libc::EPROTONOSUPPORT) => return Ok(0),
        Err(error) => return Err(error),
    };
    socket.set_read_timeout(Some(super::probe::SOON))?;
    socket.write_all(&dump_request(message))?;
    let mut total = 0;
    let mut buffer = vec![0; 32 * 1024];
    loop {
        let length = socket.read(&mut buffer)?;
        match tally(&buffer[..length])? {
            (seen, true) => return Ok(total + seen),
            (seen, false) => total += seen,
        }
    }
}

fn dump_request(message: u16) -> Vec<u8> {
    // nlmsghdr, then nfgenmsg: any family, version 0, resource 0.
    let mut request = Vec::with_capacity(HEADER + 4);
    request.extend((HEADER as u32 + 4).to_ne_bytes());
    request.extend(message.to_ne_bytes());
    request.extend((NLM_F_REQUEST | NLM_F_DUMP).to_ne_bytes());
    request.extend([0; 12]);
    request
}

/// Objects in one datagram of a dump, and whether the dump ends with it.
fn tally(mut bytes: &[u8]) -> io::Result<(usize, bool)> {
    let mut seen = 0;
    while let Some((head, _)) = bytes.split_at_checked(HEADER) {
        let length = u32::from_ne_bytes([head[0], head[1], head[2], head[3]]) as usize;
        match u16::from_ne_bytes([head[4], head[5]]) {
            NLMSG_DONE => return Ok((seen, true)),
            NLMSG_ERROR => {
                let code = bytes
                    .get(HEADER..HEADER + 4)
                    .map_or(0, |e| -i32::from_ne_bytes([e[0], e[1], e[2], e[3]]));
                // No such subsystem in this kernel: nothing is there.
                return match code {
                    0 | libc::EINVAL | libc::EOPNOTSUPP => Ok((seen, true)),
                    code => Err(io::Error::from_raw_os_error(code)),
                };
            }
            _ => seen += 1,
        }
        bytes = bytes
            .get(length.max(HEADER).next_multiple_of(4)..)
            .unwrap_or_default();
    }
    Ok((seen, false))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(kind: u16, body: &[u8]) -> Vec<u8> {
        let mut bytes = ((HEADER + body.len()) as u32).to_ne_bytes().to_vec();
        bytes.extend(kind.to_ne_bytes());
        bytes.extend([0; 10]);
        bytes.extend(body);
        bytes
    }

    #[test]
    fn objects_are_counted_until_the_dump_is_done() {
        let mut bytes = message(0x0a00, &[1, 2, 3, 4]);
        bytes.extend(message(0x0a00, &[5, 6, 7, 8]));
        assert_eq!(tally(&bytes).expect("valid"), (2, false));
        bytes.extend(message(NLMSG_DONE, &[0; 4]));
        assert_eq!(tally(&bytes).expect("valid"), (2, true));
    }

    #[test]
    fn a_missing_subsystem_is_an_empty_one_and_a_refusal_is_an_error() {
        let missing = message(NLMSG_ERROR, &(-libc::EINVAL).to_ne_bytes());
        assert_eq!(tally(&missing).expect("nothing there"), (0, true));
        let refused = message(NLMSG_ERROR, &(-libc::EPERM).to_ne_bytes());
        assert!(tally(&refused).is_err());
    }
}
