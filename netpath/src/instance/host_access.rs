//! How the host itself reaches its published ports: at its sockets, or at its loopback device.
//!
//! Owns the choice. Sockets are better in every way, so the device is taken only where they cannot be
//! translated.

use netpath_common::records::{LOOPBACK_IFINDEX, LOOPBACK_UPLINK, UplinkRecord};

use super::{Error, work::Work};
use crate::bpf::{Datapath, Hook};

/// Name of the loopback device in every network namespace.
const LOOPBACK: &str = "lo";

/// What does not work at the loopback device.
const LESS: &str = "published ports can be bound by others, and containers without IPv6 are not reached \
                    by the host's IPv6 addresses";

impl Work<'_> {
    /// Attaches the programs that translate the host's own connections to published ports.
    pub(super) async fn put_host_access(&mut self) -> Result<(), Error> {
        let why = match self.datapath()?.attach_host_sockets() {
            Ok(true) => return self.leave_loopback(),
            Ok(false) => "there is no cgroup v2; mount one with `mount -t cgroup2 none \
                          /sys/fs/cgroup` and run `netpath up` again"
                .to_owned(),
            Err(e) => e.to_string(),
        };
        tracing::warn!(
            "the host's sockets cannot be translated ({why}); its connections to published ports are \
             translated at {LOOPBACK} instead: {LESS}"
        );
        let lo = self.instance.netlink.link(LOOPBACK).await?;
        self.write_loopback(UplinkRecord {
            ifindex: LOOPBACK_IFINDEX,
            mtu: lo.map_or(0, |l| l.mtu),
            ..UplinkRecord::default()
        })?;
        Ok(self
            .datapath()?
            .attach(Hook::Loopback, LOOPBACK, LOOPBACK_IFINDEX)?)
    }

    /// Takes the program from the loopback device; flows that it has made are over.
    fn leave_loopback(&mut self) -> Result<(), Error> {
        self.write_loopback(UplinkRecord::default())?;
        Ok(self.datapath()?.detach(Hook::Loopback, LOOPBACK_IFINDEX)?)
    }

    fn write_loopback(&mut self, record: UplinkRecord) -> Result<(), Error> {
        let datapath = self.datapath()?;
        let found = datapath.uplink(LOOPBACK_UPLINK)?;
        if (found.ifindex, found.mtu) == (record.ifindex, record.mtu) {
            return Ok(());
        }
        let generation = self.state.next_generation(found.generation);
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
