//! What a network device tells of itself by ethtool's ioctl, and what it is told: its driver, and
//! two of its features.
//!
//! Owns the calls. rtnetlink does not tell these, and sysfs shows the devices of the namespace in which
//! it was mounted.

use std::{ffi::CStr, io, net::UdpSocket, os::fd::AsRawFd as _};

use super::Error;

/// `ETHTOOL_GDRVINFO` (`linux/ethtool.h`).
const GET_DRIVER: u32 = 3;

/// `ETHTOOL_GTXCSUM`.
const GET_TX_CHECKSUM: u32 = 0x16;
/// `ETHTOOL_GGRO`.
const GET_GRO: u32 = 0x2b;
/// `ETHTOOL_SGRO`.
const SET_GRO: u32 = 0x2c;

/// `struct ethtool_value`.
#[repr(C)]
struct Value {
    command: u32,
    data: u32,
}

/// `struct ethtool_drvinfo`.
#[repr(C)]
struct DriverInfo {
    command: u32,
    driver: [u8; 32],
    /// Versions, bus and numbers.
    rest: [u8; 160],
}

const _: () = assert!(size_of::<DriverInfo>() == 196);

/// Name of an interface's driver in the current network namespace.
///
/// # Errors
/// There is no such interface, or its driver does not say.
pub fn driver(ifname: &str) -> Result<String, Error> {
    let mut info = DriverInfo {
        command: GET_DRIVER,
        driver: [0; 32],
        rest: [0; 160],
    };
    ethtool(ifname, &mut info).map_err(|source| Error::Request {
        what: format!("asking for the driver of interface {ifname}"),
        source,
    })?;
    let name = CStr::from_bytes_until_nul(&info.driver).unwrap_or_default();
    Ok(name.to_string_lossy().into_owned())
}

/// Whether a device takes packets whose checksums it is to complete (`ethtool -k`: tx-checksumming).
///
/// # Errors
/// There is no such interface.
pub fn has_tx_checksum(ifname: &str) -> Result<bool, Error> {
    let what = || format!("asking for tx-checksumming of interface {ifname}");
    Ok(value(ifname, GET_TX_CHECKSUM, 0, what)? != 0)
}

/// Whether a device puts received segments together (`ethtool -k`: generic-receive-offload).
///
/// # Errors
/// There is no such interface.
pub fn has_gro(ifname: &str) -> Result<bool, Error> {
    let what = || format!("asking for GRO of interface {ifname}");
    Ok(value(ifname, GET_GRO, 0, what)? != 0)
}

/// Has a device put received segments together, or not.
///
/// # Errors
/// The kernel refused.
pub fn set_gro(ifname: &str, on: bool) -> Result<(), Error> {
    let what = || {
        let state = if on { "on" } else { "off" };
        format!("setting GRO of interface {ifname} {state}")
    };
    value(ifname, SET_GRO, on.into(), what).map(drop)
}

/// Gives a command that has one number, and returns the number that it leaves there.
fn value(
    ifname: &str,
    command: u32,
    data: u32,
    what: impl FnOnce() -> String,
) -> Result<u32, Error> {
    let mut value = Value { command, data };
    match ethtool(ifname, &mut value) {
        Ok(()) => Ok(value.data),
        Err(source) => Err(Error::Request {
            what: what(),
            source,
        }),
    }
}

/// Gives an ethtool command, whose number `command` begins with.
fn ethtool<T>(ifname: &str, command: &mut T) -> io::Result<()> {
    let name = ifname.as_bytes();
    // SAFETY: all zero is a valid value of this C struct.
    let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
    if name.len() >= request.ifr_name.len() {
        return Err(io::Error::from_raw_os_error(libc::ENODEV));
    }
    for (to, from) in request.ifr_name.iter_mut().zip(name) {
        *to = *from as libc::c_char;
    }
    request.ifr_ifru.ifru_data = std::ptr::from_mut(command).cast();
    // Any socket will do; the interface is looked for in its namespace.
    let socket = UdpSocket::bind((std::net::Ipv4Addr::UNSPECIFIED, 0))?;
    // The C libraries do not agree on its type.
    let number = libc::SIOCETHTOOL as libc::Ioctl;
    // SAFETY: the descriptor is open, the request is initialised, and its pointer leads to memory
    // of the command's size, which the kernel may write.
    let rc = unsafe { libc::ioctl(socket.as_raw_fd(), number, &raw mut request) };
    if rc < 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_there_is_named() {
        let e = driver("nosuchdevice0").unwrap_err().to_string();
        assert!(
            e.contains("nosuchdevice0") && e.contains("No such device"),
            "{e}"
        );
        assert!(driver("a-name-that-is-far-too-long").is_err());
        for error in [
            has_gro("nosuchdevice0").map(drop),
            has_tx_checksum("nosuchdevice0").map(drop),
            set_gro("nosuchdevice0", true),
        ] {
            let e = error.unwrap_err().to_string();
            assert!(
                e.contains("nosuchdevice0") && e.contains("No such device"),
                "{e}"
            );
        }
    }
}
