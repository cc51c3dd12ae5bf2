//! Random names, addresses and identifiers.

use std::{fmt::Write as _, fs::File, io::Read as _};

use ipnet::Ipv6Net;

use super::Error;
use crate::config::Mac;

fn bytes<const N: usize>() -> Result<[u8; N], Error> {
    let mut buffer = [0; N];
    File::open("/dev/urandom")
        .and_then(|mut f| f.read_exact(&mut buffer))
        .map_err(Error::Random)?;
    Ok(buffer)
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut s, b| {
        let _ = write!(s, "{b:02x}");
        s
    })
}

/// A random locally administered MAC address.
///
/// # Errors
/// There is no randomness.
pub fn random_mac() -> Result<Mac, Error> {
    bytes::<6>().map(Mac::local)
}

/// A name for the host side of a veth pair: `veth` and seven hexadecimal digits, as Docker's.
///
/// # Errors
/// There is no randomness.
pub fn random_ifname() -> Result<String, Error> {
    let digits = hex(&bytes::<4>()?);
    Ok(format!("veth{}", &digits[..7]))
}

/// A random unique local IPv6 subnet (RFC 4193, 3.2) with a prefix of this length, 48 at least.
///
/// # Errors
/// There is no randomness.
pub fn random_subnet6(prefix: u8) -> Result<Ipv6Net, Error> {
    let [a, b, c, d, e] = bytes::<5>()?;
    let octets = [0xfd, a, b, c, d, e, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    // A prefix of more than 128 bits has been refused.
    Ok(Ipv6Net::new(octets.into(), prefix).unwrap_or_default())
}

/// 64 hexadecimal digits, as Docker's identifiers.
///
/// # Errors
/// There is no randomness.
pub fn hex_id() -> Result<String, Error> {
    Ok(hex(&bytes::<32>()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn forms() {
        let name = random_ifname().unwrap();
        assert_eq!((name.len(), &name[..4]), (11, "veth"));
        let subnet = random_subnet6(64).unwrap();
        assert!(subnet.addr().is_unique_local() && subnet.prefix_len() == 64);
        assert_eq!(subnet.trunc(), subnet);
        assert_ne!(random_subnet6(64).unwrap(), subnet);
        assert_eq!(hex_id().unwrap().len(), 64);
        assert_ne!(hex_id().unwrap(), hex_id().unwrap());
        assert_eq!(random_mac().unwrap().0[0] & 3, 2);
    }
}
