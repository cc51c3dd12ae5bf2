//! How the host itself reaches its published ports: at its sockets, and for what those cannot send, or
//! where they cannot be translated, at its loopback device.
//!
//! Owns the choice. Sockets are better in every way, so the device takes no more than it must.

use std::net::{Ipv4Addr, Ipv6Addr};

use netpath_common::records::{LOOPBACK_IFINDEX, LOOPBACK_UPLINK, UplinkRecord};

use super::{Error, work::Work};
use crate::bpf::{Datapath, Hook, Needs};

/// Name of the loopback device in every network namespace.
const LOOPBACK: &str = "lo";

/// What does not work at the loopback device.
const LESS: &str =
    "published ports can be bound by others, and datagrams must fit the container's MTU";

impl Work<'_> {
    /// Attaches the programs that translate the host's own connections to published ports.
    pub(super) async fn put_host_access(&mut self) -> Result<(), Error> {
        let why = match self.datapath()?.attach_host_sockets() {
            Ok(true) => None,
            Ok(false) => Some(
                "there is no cgroup v2; mount one with `mount -t cgroup2 none /sys/fs/cgroup` and run \
                 `netpath up` again"
                    .to_owned(),
            ),
            Err(e) => Some(e.to_string()),
        };
        if let Some(why) = &why {
            tracing::warn!(
                "the host's sockets cannot be translated ({why}); its connections to published ports \
                 are translated at {LOOPBACK} instead: {LESS}"
            );
        }
        if why.is_some() && self.state.networks.iter().any(|n| n.ipv6.is_some()) {
            self.extend(Needs {
                loopback6: true,
                ..Needs::default()
            })?;
        }
        let lo = self.instance.netlink.link(LOOPBACK).await?;
        // With an address everything is translated there, without one only what comes from IPv6.
        let (addr, addr6) = match why {
            Some(_) => (Ipv4Addr::LOCALHOST, Ipv6Addr::LOCALHOST),
            None => (Ipv4Addr::UNSPECIFIED, Ipv6Addr::UNSPECIFIED),
        };
        self.write_loopback(UplinkRecord {
            ifindex: LOOPBACK_IFINDEX,
            addr: addr.octets(),
            addr6: addr6.octets(),
            mtu: lo.map_or(0, |l| l.mtu),
            ..UplinkRecord::default()
        })?;
        let datapath = self.datapath()?;
        Ok(datapath.attach(Hook::Loopback, LOOPBACK, LOOPBACK_IFINDEX)?)
    }

    fn write_loopback(&mut self, record: UplinkRecord) -> Result<(), Error> {
        let datapath = self.datapath()?;
        let found = datapath.uplink(LOOPBACK_UPLINK)?;
        let generation = found.generation;
        if found
            == (UplinkRecord {
                generation,
                ..record
            })
        {
            return Ok(());
        }
        let generation = self.state.next_generation(generation);
        Ok(datapath.set_uplink(
            LOOPBACK_UPLINK,
            &UplinkRecord {
                generation,
                ..record
            },
        )?)
    }
}

/// What `status` says where the host's sockets are not translated.
pub(super) fn warning(
    datapath: &Datapath,
    attached: &[(String, String)],
) -> Result<Option<String>, Error> {
    if datapath.has_host_sockets()? {
        return Ok(None);
    }
    let at_loopback = attached
        .iter()
        .any(|(hook, _)| hook == Hook::Loopback.as_str());
    Ok(Some(if at_loopback {
        format!(
            "the host's connections to published ports are translated at {LOOPBACK}, since its sockets \
             cannot be (no cgroup v2?): {LESS}; mount a cgroup v2 hierarchy and run `netpath up`"
        )
    } else {
        "the host itself does not reach its published ports, and others can bind them: neither its \
         sockets nor its loopback device are translated; run `netpath up`"
            .to_owned()
    }))
}

/// What is not attached of that, and was.
pub(super) fn drift(
    datapath: &Datapath,
    attached: &[(Hook, u32)],
) -> Result<Option<String>, Error> {
    if !attached.contains(&(Hook::Loopback, LOOPBACK_IFINDEX)) {
        return Ok(Some(format!(
            "the {} program is not attached to {LOOPBACK}",
            Hook::Loopback.as_str()
        )));
    }
    // With an address there everything is translated at the device, and the sockets never were.
    let at_sockets = datapath.uplink(LOOPBACK_UPLINK)?.addr == [0; 4];
    if at_sockets && !datapath.has_host_sockets()? {
        return Ok(Some(
            "not every socket program is attached to the root cgroup".to_owned(),
        ));
    }
    Ok(None)
}
