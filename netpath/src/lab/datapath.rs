//! The lab's view of the datapath: drop counters, and taking the programs away.
//!
//! Owns nothing of it; the instance is netpath's, here it is read and detached.

use super::{Error, Namespace, topology::HOST_NAMESPACE};
use crate::bpf::Datapath;
use netpath_common::DropReason;

/// The lab's instance.
fn open() -> Result<Datapath, Error> {
    Datapath::open(HOST_NAMESPACE)?.ok_or_else(|| Error::Output {
        command: "netpath up".to_owned(),
        what: format!("no datapath is loaded for the instance {HOST_NAMESPACE}"),
    })
}

/// How many packets were dropped for `reason` so far.
pub(super) fn dropped(host: &Namespace, reason: DropReason) -> Result<u64, Error> {
    let drops = host.run(|| Ok::<_, Error>(open()?.drops()?))??;
    Ok(drops
        .into_iter()
        .find(|(found, _)| *found == reason)
        .map_or(0, |(_, count)| count))
}

/// Detaches every program from its interface and says how many there were. The maps stay.
pub(super) fn detach_all(host: &Namespace) -> Result<usize, Error> {
    host.run(|| {
        let datapath = open()?;
        let attached = datapath.attachments()?;
        for (hook, ifindex) in &attached {
            datapath.detach(*hook, *ifindex)?;
        }
        Ok(attached.len())
    })?
}

/// Removes pins that a killed lab left; nothing there is fine.
pub(super) fn remove() -> Result<(), Error> {
    match Datapath::remove(HOST_NAMESPACE) {
        Ok(()) => Ok(()),
        Err(mut errors) if !errors.is_empty() => Err(errors.swap_remove(0).into()),
        Err(_) => Ok(()),
    }
}

/// Whether pins of the lab's instance exist.
pub(super) fn exists() -> bool {
    Datapath::exists(HOST_NAMESPACE)
}
