//! Interfaces on an interface of the host: macvlan and ipvlan, made in the container's namespace, and
//! the parents that netpath makes itself.

use std::os::fd::{AsRawFd as _, BorrowedFd};

use nix::errno::Errno;
use rtnetlink::{
    LinkDummy, LinkIpVlan, LinkMacVlan, LinkVlan,
    packet_route::link::{IpVlanMode, LinkMessage, MacVlanMode},
};

use super::{Error, Netlink, error::is_errno};
use crate::config::{Driver, IpvlanMode, Mac, MacvlanMode};

/// A container's interface to be made.
#[derive(Clone, Debug)]
pub struct LanPort<'a> {
    /// Macvlan or ipvlan, with its mode.
    pub driver: Driver,
    /// Name of the parent.
    pub parent: &'a str,
    /// Interface index of the parent.
    pub parent_index: u32,
    /// Name.
    pub ifname: &'a str,
    /// MAC address; `None` for the parent's.
    pub mac: Option<Mac>,
    /// MTU in bytes.
    pub mtu: u32,
    /// The container's namespace.
    pub netns: BorrowedFd<'a>,
    /// What the user calls it.
    pub netns_name: &'a str,
}

impl LanPort<'_> {
    /// The request: the interface is made in the container's namespace under its final name and MAC
    /// address, so that no other is ever seen. `None` for a driver without a parent.
    fn message(&self) -> Option<LinkMessage> {
        let fd = self.netns.as_raw_fd();
        Some(match self.driver {
            Driver::Macvlan(mode) => {
                let mode = match mode {
                    MacvlanMode::Bridge => MacVlanMode::Bridge,
                    MacvlanMode::Private => MacVlanMode::Private,
                    MacvlanMode::Vepa => MacVlanMode::Vepa,
                    MacvlanMode::Passthru => MacVlanMode::Passthrough,
                };
                let link = LinkMacVlan::new(self.ifname, self.parent_index, mode);
                let link = match self.mac {
                    Some(mac) => link.address(mac.0.to_vec()),
                    None => link,
                };
                link.mtu(self.mtu).setns_by_fd(fd).build()
            }
            Driver::Ipvlan(mode) => {
                let mode = match mode {
                    IpvlanMode::L2 => IpVlanMode::L2,
                    IpvlanMode::L3 => IpVlanMode::L3,
                    IpvlanMode::L3s => IpVlanMode::L3S,
                };
                LinkIpVlan::new(self.ifname, self.parent_index, mode)
                    .mtu(self.mtu)
                    .setns_by_fd(fd)
                    .build()
            }
            Driver::Bridge | Driver::Host | Driver::None => return None,
        })
    }
}

impl Netlink {
    /// Creates a container's interface, down.
    ///
    /// # Errors
    /// [`Error::InterfaceTaken`] when the container has an interface of that name, [`Error::NoKind`]
    /// when the kernel has none of the kind.
    pub async fn create_lan_port(&self, port: &LanPort<'_>) -> Result<(), Error> {
        let Some(message) = port.message() else {
            return Ok(());
        };
        let kind = port.driver.as_str();
        let what = format!(
            "creating {kind} {} on {} in `{}`",
            port.ifname, port.parent, port.netns_name
        );
        match self.handle.link().add(message).execute().await {
            Ok(()) => Ok(()),
            Err(e) if is_errno(&e, Errno::EEXIST) => Err(Error::InterfaceTaken {
                netns: port.netns_name.to_owned(),
                ifname: port.ifname.to_owned(),
            }),
            Err(e) if is_errno(&e, Errno::EBUSY) => Err(Error::ParentBusy {
                what,
                parent: port.parent.to_owned(),
            }),
            Err(e) => Err(refused(kind, what, &e)),
        }
    }

    /// Creates a VLAN of an interface, down.
    ///
    /// # Errors
    /// [`Error::NoKind`] when the kernel has no VLANs.
    pub async fn create_vlan(&self, name: &str, parent: u32, id: u16) -> Result<(), Error> {
        let message = LinkVlan::new(name, parent, id).build();
        let done = self.handle.link().add(message).execute().await;
        done.map_err(|e| refused("vlan", format!("creating VLAN {name}"), &e))
    }

    /// Creates an interface that leads nowhere, down.
    ///
    /// # Errors
    /// [`Error::NoKind`] when the kernel has none.
    pub async fn create_dummy(&self, name: &str) -> Result<(), Error> {
        let message = LinkDummy::new(name).build();
        let done = self.handle.link().add(message).execute().await;
        done.map_err(|e| refused("dummy", format!("creating dummy {name}"), &e))
    }
}

/// Why an interface of a kind could not be made.
fn refused(kind: &'static str, what: String, e: &rtnetlink::Error) -> Error {
    // What rtnetlink says where no module of that name can be loaded.
    if is_errno(e, Errno::EOPNOTSUPP) {
        let module = if kind == "vlan" { "8021q" } else { kind };
        return Error::NoKind { what, kind, module };
    }
    Error::request(what, e)
}

#[cfg(test)]
mod tests {
    use std::{fs::File, os::fd::AsFd as _};

    use rtnetlink::packet_route::link::{
        InfoData, InfoIpVlan, InfoKind, InfoMacVlan, LinkAttribute, LinkInfo,
    };

    use super::*;

    fn attributes(driver: Driver) -> Vec<LinkAttribute> {
        let file = File::open("/dev/null").unwrap();
        let port = LanPort {
            driver,
            parent: "eth0",
            parent_index: 7,
            ifname: "eth1",
            mac: Some(Mac([2, 0, 0, 0, 0, 9])),
            mtu: 1400,
            netns: file.as_fd(),
            netns_name: "x",
        };
        let message = port.message().unwrap();
        assert!(message.header.flags.is_empty(), "down");
        let fd = LinkAttribute::NetNsFd(file.as_raw_fd());
        assert!(message.attributes.contains(&fd));
        message.attributes
    }

    #[test]
    fn one_request_has_everything() {
        let all = attributes(Driver::Macvlan(MacvlanMode::Private));
        for want in [
            LinkAttribute::IfName("eth1".into()),
            LinkAttribute::Link(7),
            LinkAttribute::Address(vec![2, 0, 0, 0, 0, 9]),
            LinkAttribute::Mtu(1400),
            LinkAttribute::LinkInfo(vec![
                LinkInfo::Kind(InfoKind::MacVlan),
                LinkInfo::Data(InfoData::MacVlan(vec![InfoMacVlan::Mode(
                    MacVlanMode::Private,
                )])),
            ]),
        ] {
            assert!(all.contains(&want), "no {want:?} in {all:?}");
        }
    }

    #[test]
    fn an_ipvlan_has_its_parent_s_mac_address() {
        for (mode, word) in [
            (IpvlanMode::L2, IpVlanMode::L2),
            (IpvlanMode::L3, IpVlanMode::L3),
            (IpvlanMode::L3s, IpVlanMode::L3S),
        ] {
            let all = attributes(Driver::Ipvlan(mode));
            let info = LinkAttribute::LinkInfo(vec![
                LinkInfo::Kind(InfoKind::IpVlan),
                LinkInfo::Data(InfoData::IpVlan(vec![InfoIpVlan::Mode(word)])),
            ]);
            assert!(all.contains(&info), "no {info:?} in {all:?}");
            let own = |a: &LinkAttribute| matches!(a, LinkAttribute::Address(_));
            assert!(!all.iter().any(own), "{all:?}");
        }
    }

    #[test]
    fn a_kernel_without_the_kind_is_told_apart() {
        let error = |errno: Errno| {
            let mut message = rtnetlink::packet_core::ErrorMessage::default();
            message.code = std::num::NonZeroI32::new(-(errno as i32));
            let e = rtnetlink::Error::NetlinkError(message);
            refused("vlan", "creating VLAN eth0.10".into(), &e).to_string()
        };
        let e = error(Errno::EOPNOTSUPP);
        assert!(
            e.contains("creating VLAN eth0.10") && e.contains("modprobe 8021q"),
            "{e}"
        );
        let e = error(Errno::EPERM);
        assert!(!e.contains("modprobe"), "{e}");
    }
}
