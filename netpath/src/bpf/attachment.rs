//! Making one attachment: a tcx link, or a clsact filter where the kernel lacks tcx.
//!
//! Owns the calls, and the pin that each leaves. What is attached where is `attach`'s.

use std::io;

use aya::programs::{
    LinkOrder, ProgramError, SchedClassifier, TcAttachType,
    links::FdLink,
    tc::{NlOptions, SchedClassifierLink, TcAttachOptions, TcError, TcHandle, qdisc_add_clsact},
};

use super::{
    Error, Hook,
    attach::{attach_error, program_error, program_io, tc_io},
    clsact,
    link_name::{LinkName, is_egress, program_of},
    pins::{Pins, unlink},
};

/// An attachment that is being made.
pub(super) struct Attachment<'a> {
    pub(super) pins: &'a Pins,
    pub(super) hook: Hook,
    pub(super) ifname: &'a str,
    pub(super) ifindex: u32,
    /// If there is a clsact qdisc, it is netpath's.
    pub(super) made_qdisc: bool,
}

impl Attachment<'_> {
    fn failed(&self, source: io::Error) -> Error {
        attach_error("attaching", program_of(self.hook), self.ifname, source)
    }

    pub(super) fn tcx(&self, classifier: &mut SchedClassifier) -> Result<(), Error> {
        let order = TcAttachOptions::TcxOrder(LinkOrder::first());
        let link: FdLink = classifier
            .attach_with_options(self.ifname, attach_type(self.hook), order)
            .and_then(|id| classifier.take_link(id))
            .map_err(|e| self.failed(program_io(e)))?
            .try_into()
            .map_err(|e| self.failed(io::Error::other(e)))?;
        let name = LinkName::Tcx(self.hook, self.ifindex).to_string();
        let path = self.pins.link(&name);
        link.pin(&path)
            .map_err(|source| Error::Pin { path, source })?;
        Ok(())
    }

    pub(super) fn clsact(&self, classifier: &mut SchedClassifier) -> Result<(), Error> {
        // A filter cannot be pinned. A pin of its program stands for it, and remembers whether the qdisc is
        // ours to delete: first that it is, so that one that is made is never forgotten.
        let named = |made_qdisc| LinkName::Clsact {
            hook: self.hook,
            ifindex: self.ifindex,
            made_qdisc,
        };
        let mut path = self.pins.link(&named(true).to_string());
        classifier.pin(&path).map_err(|source| Error::Pin {
            path: path.clone(),
            source,
        })?;
        let made_qdisc = match qdisc_add_clsact(self.ifname) {
            Ok(()) => true,
            Err(TcError::NetlinkError(e)) if e.raw_os_error() == Some(libc::EEXIST) => {
                self.made_qdisc
            }
            Err(e) => {
                unlink(&path)?;
                return Err(self.failed(tc_io(e)));
            }
        };
        if !made_qdisc {
            let other = self.pins.link(&named(false).to_string());
            Pins::rename(&path, &other)?;
            path = other;
        }
        let added = add_filter(classifier, self.hook, self.ifname);
        if added.is_err() {
            unlink(&path)?;
            if made_qdisc && let Err(e) = clsact::delete_empty_qdisc(self.ifindex) {
                tracing::error!("deleting the clsact qdisc of {} failed: {e}", self.ifname);
            }
        }
        added.map_err(|e| self.failed(e))
    }
}

fn add_filter(program: &mut SchedClassifier, hook: Hook, ifname: &str) -> io::Result<()> {
    let options = NlOptions {
        priority: clsact::PRIORITY,
        handle: handle(),
        classid: None,
    };
    let options = TcAttachOptions::Netlink(options);
    match program.attach_with_options(ifname, attach_type(hook), options) {
        Ok(id) => keep(program.take_link(id)),
        // Left by a netpath whose pins are gone.
        Err(e) if program_error(&e) == Some(libc::EEXIST) => replace_filter(program, hook, ifname),
        Err(e) => Err(program_io(e)),
    }
}

pub(super) fn replace_filter(
    program: &mut SchedClassifier,
    hook: Hook,
    ifname: &str,
) -> io::Result<()> {
    let at = attach_type(hook);
    let link = SchedClassifierLink::attached(ifname, at, clsact::PRIORITY, handle(), None)?;
    let id = program.attach_to_link(link).map_err(program_io)?;
    keep(program.take_link(id))
}

/// Forgets the link: dropping it would delete the filter, which has to stay when this process ends.
fn keep(link: Result<SchedClassifierLink, ProgramError>) -> io::Result<()> {
    std::mem::forget(link.map_err(program_io)?);
    Ok(())
}

fn handle() -> TcHandle {
    TcHandle::new(0, clsact::HANDLE)
}

fn attach_type(hook: Hook) -> TcAttachType {
    if is_egress(hook) {
        TcAttachType::Egress
    } else {
        TcAttachType::Ingress
    }
}
