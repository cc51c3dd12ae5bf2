//! Attaching the programs of the interfaces: tcx links, or clsact filters where the kernel lacks
//! tcx.
//!
//! Owns what lies in an instance's `links` directory. The socket programs are attached by `cgroup`
//! and those of drivers by `xdp`, but replaced and detached here with all others.

use std::{collections::BTreeSet, env, io, os::fd::AsFd as _};

use aya::programs::{ProgramError, SchedClassifier, tc::TcError};
use nix::net::if_::if_nametoindex;

use super::{
    Datapath, Error, Hook,
    attachment::{Attachment, replace_filter},
    clsact, kernel,
    link_name::{LinkName, ifname, is_egress, program_of},
    pins::{Pins, unlink},
    sys,
};

/// Set to 1 to attach by clsact where tcx would be used, for tests.
const FORCE_CLSACT: &str = "NETPATH_FORCE_CLSACT";

impl Datapath {
    /// Attaches the hook's program to an interface and pins the link, so that it stays when this
    /// process ends. Does nothing if it is attached.
    ///
    /// # Errors
    /// If the interface is gone or is another one by now, or the kernel refuses.
    pub fn attach(&self, hook: Hook, ifname: &str, ifindex: u32) -> Result<(), Error> {
        let found = if_nametoindex(ifname)
            .map_err(|e| Error::system(format!("looking for interface {ifname}"), e))?;
        if found != ifindex {
            return Err(Error::IfaceChanged {
                ifname: ifname.into(),
                found,
                wanted: ifindex,
            });
        }
        let mut made_qdisc = false;
        for name in LinkName::of(hook, ifindex) {
            if self.is_live(&name)? {
                return Ok(());
            }
            // A pin outlives its interface, and the index may have been given to another one. One that
            // remembers a qdisc may be a killed command's, which made it and came no further.
            let path = self.pins().link(&name.to_string());
            made_qdisc |= name.made_qdisc() && path.exists();
            unlink(&path)?;
        }
        let program = program_of(hook);
        let mut classifier = SchedClassifier::from_pin(self.pins().program(program))
            .map_err(|e| attach_error("attaching", program, ifname, program_io(e)))?;
        let new = Attachment {
            pins: self.pins(),
            hook,
            ifname,
            ifindex,
            made_qdisc,
        };
        if !env::var(FORCE_CLSACT).is_ok_and(|v| v == "1") && kernel::at_least(6, 6) {
            match new.tcx(&mut classifier) {
                // A 6.6 kernel may still have been built without tcx.
                Err(Error::Attach { source, .. })
                    if source.raw_os_error() == Some(libc::EINVAL) => {}
                other => return other,
            }
        }
        new.clsact(&mut classifier)
    }

    /// Detaches the hook's program from an interface; fine if it is not attached.
    ///
    /// # Errors
    /// If the kernel refuses.
    pub fn detach(&self, hook: Hook, ifindex: u32) -> Result<(), Error> {
        LinkName::of(hook, ifindex)
            .iter()
            .try_for_each(|name| self.detach_link(name))
    }

    /// Detaches from interfaces that are not among `known` whatever is attached there.
    ///
    /// # Errors
    /// If the kernel refuses.
    pub fn detach_strays(&self, known: &BTreeSet<u32>) -> Result<(), Error> {
        let links = self.links()?;
        let stray = |name: &&LinkName| name.interface().is_some_and(|(_, i)| !known.contains(&i));
        links
            .iter()
            .filter(stray)
            .try_for_each(|name| self.detach_link(name))
    }

    /// The interfaces that programs are attached to; those that are gone are left out.
    ///
    /// # Errors
    /// If the pins cannot be read.
    pub fn attachments(&self) -> Result<Vec<(Hook, u32)>, Error> {
        let mut live = Vec::new();
        for name in self.links()? {
            if let Some((hook, ifindex)) = name.interface()
                && self.is_live(&name)?
            {
                live.push((hook, ifindex));
            }
        }
        Ok(live)
    }

    /// Every link, pinned under a name that is understood. The filter that answers for a qdisc
    /// comes last: when all are detached in this order, nothing is handed over.
    fn links(&self) -> Result<Vec<LinkName>, Error> {
        let names = Pins::names(&self.pins().links())?;
        let mut links: Vec<_> = names
            .iter()
            .filter_map(|name| LinkName::parse(name))
            .collect();
        links.sort_by_key(|name| {
            matches!(
                name,
                LinkName::Clsact {
                    made_qdisc: true,
                    ..
                }
            )
        });
        Ok(links)
    }

    /// Whether the pin exists and what it stands for is attached.
    pub(super) fn is_live(&self, name: &LinkName) -> Result<bool, Error> {
        let text = name.to_string();
        let path = self.pins().link(&text);
        let failed = |e| Error::system(format!("reading {}", path.display()), e);
        let pin = match sys::open_pin(&path) {
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(false),
            other => other.map_err(failed)?,
        };
        match name {
            LinkName::Tcx(_, ifindex) => {
                let info = sys::link_info(pin.as_fd()).map_err(failed)?;
                Ok(info.kind == sys::LINK_TCX && info.target[0] == *ifindex)
            }
            LinkName::Xdp(_, ifindex) => super::xdp::is_live(pin.as_fd(), *ifindex).map_err(failed),
            LinkName::Cgroup(_) => {
                let info = sys::link_info(pin.as_fd()).map_err(failed)?;
                Ok(info.kind == sys::LINK_CGROUP && info.target != [0, 0])
            }
            LinkName::Clsact { hook, ifindex, .. } => {
                let ours = sys::program_id(pin.as_fd()).map_err(failed)?;
                let at = clsact::Place {
                    ifindex: *ifindex,
                    egress: is_egress(*hook),
                };
                Ok(clsact::program_at(at).map_err(failed)? == Some(ours))
            }
        }
    }

    fn detach_link(&self, name: &LinkName) -> Result<(), Error> {
        let path = self.pins().link(&name.to_string());
        let failed = |e| attach_error("detaching", name.program(), &name.target(), e);
        if self.is_live(name)? {
            match name {
                // Detaching first makes it take effect at once, whoever else holds the link.
                LinkName::Tcx(..) | LinkName::Cgroup(_) | LinkName::Xdp(..) => {
                    let link = sys::open_pin(&path).map_err(failed)?;
                    match sys::link_detach(link.as_fd()) {
                        Err(e) if e.raw_os_error() == Some(libc::ENOLINK) => {}
                        other => other.map_err(failed)?,
                    }
                }
                LinkName::Clsact {
                    hook,
                    ifindex,
                    made_qdisc,
                } => {
                    let at = clsact::Place {
                        ifindex: *ifindex,
                        egress: is_egress(*hook),
                    };
                    clsact::delete_filter(at).map_err(failed)?;
                    if *made_qdisc && !self.hand_qdisc_over(*hook, *ifindex)? {
                        clsact::delete_empty_qdisc(*ifindex).map_err(failed)?;
                    }
                }
            }
        }
        // A killed command has made the qdisc and no filter, or has deleted the filter alone.
        else if let LinkName::Clsact {
            hook,
            ifindex,
            made_qdisc: true,
        } = name
            && !self.hand_qdisc_over(*hook, *ifindex)?
        {
            clsact::delete_empty_qdisc(*ifindex).map_err(failed)?;
        }
        unlink(&path)
    }

    /// Lets another filter of netpath on the interface answer for the qdisc; `false` if there is
    /// none.
    fn hand_qdisc_over(&self, leaving: Hook, ifindex: u32) -> Result<bool, Error> {
        for name in self.links()? {
            if let LinkName::Clsact {
                hook,
                ifindex: other,
                made_qdisc: false,
            } = name
                && (hook != leaving && other == ifindex)
            {
                let heir = LinkName::Clsact {
                    hook,
                    ifindex,
                    made_qdisc: true,
                };
                let links = self.pins();
                Pins::rename(
                    &links.link(&name.to_string()),
                    &links.link(&heir.to_string()),
                )?;
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Runs the program at `new` (a pin) instead of the attached one, in one step.
    pub(super) fn replace_link(&self, name: &LinkName, new: &std::path::Path) -> Result<(), Error> {
        let path = self.pins().link(&name.to_string());
        let failed = |e| attach_error("replacing", name.program(), &name.target(), e);
        match name {
            LinkName::Tcx(..) | LinkName::Cgroup(_) | LinkName::Xdp(..) => {
                let program = sys::open_pin(new).map_err(failed)?;
                let link = sys::open_pin(&path).map_err(failed)?;
                sys::link_update(link.as_fd(), program.as_fd()).map_err(failed)
            }
            LinkName::Clsact { hook, ifindex, .. } => {
                let mut program =
                    SchedClassifier::from_pin(new).map_err(|e| failed(program_io(e)))?;
                let ifname = ifname(*ifindex).map_err(failed)?;
                replace_filter(&mut program, *hook, &ifname).map_err(failed)?;
                unlink(&path)?;
                program
                    .pin(&path)
                    .map_err(|source| Error::Pin { path, source })
            }
        }
    }
}

/// Moves every attachment to the programs that wait beside the pinned ones. On failure those that
/// were moved go back.
pub(super) fn replace_all(dp: &Datapath) -> Result<(), Error> {
    let mut moved = Vec::new();
    for name in dp.links()? {
        let done = if dp.is_live(&name)? {
            dp.replace_link(&name, &dp.pins().pending_program(name.program()))
        } else {
            unlink(&dp.pins().link(&name.to_string()))?;
            continue;
        };
        match done {
            Ok(()) => moved.push(name),
            // It went away after it was looked at.
            Err(_) if !dp.is_live(&name)? => unlink(&dp.pins().link(&name.to_string()))?,
            Err(e) => {
                for name in &moved {
                    if let Err(e) = dp.replace_link(name, &dp.pins().program(name.program())) {
                        tracing::error!("putting the program back failed: {e}");
                    }
                }
                return Err(e);
            }
        }
    }
    Ok(())
}

/// Detaches everything of an instance and goes on after errors.
pub(super) fn detach_all(dp: &Datapath) -> Vec<Error> {
    match dp.links() {
        Ok(links) => links
            .iter()
            .filter_map(|name| dp.detach_link(name).err())
            .collect(),
        Err(e) => vec![e],
    }
}

pub(super) fn attach_error(
    action: &'static str,
    program: &str,
    target: &str,
    source: io::Error,
) -> Error {
    Error::Attach {
        action,
        program: program.into(),
        target: target.into(),
        source,
    }
}

/// The kernel's answer in aya's error.
pub(super) fn program_error(e: &ProgramError) -> Option<i32> {
    #[expect(
        clippy::wildcard_enum_match_arm,
        reason = "the others carry no answer of the kernel"
    )]
    match e {
        ProgramError::SyscallError(e) => e.io_error.raw_os_error(),
        ProgramError::NetlinkError(e) => e.raw_os_error(),
        ProgramError::TcError(TcError::NetlinkError(e)) => e.raw_os_error(),
        ProgramError::TcError(TcError::IoError(e)) | ProgramError::IOError(e) => e.raw_os_error(),
        _ => None,
    }
}

pub(super) fn program_io(e: ProgramError) -> io::Error {
    program_error(&e).map_or_else(|| io::Error::other(e), io::Error::from_raw_os_error)
}

pub(super) fn tc_io(e: TcError) -> io::Error {
    program_io(ProgramError::TcError(e))
}
