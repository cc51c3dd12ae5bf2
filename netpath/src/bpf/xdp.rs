//! The XDP program of an uplink.
//!
//! Owns its link: always native, never generic, and never in the place of another program. Whether
//! an uplink has one is decided in [`crate::instance`].

use std::{
    collections::BTreeSet,
    io,
    os::fd::{AsFd as _, BorrowedFd},
};

use aya::programs::{Xdp, loaded_programs};
use aya_obj::programs::XdpAttachType;
use netpath_common::{
    datapath::PortUse,
    maps::{self, port_index},
};

use super::{
    Datapath, Error, Hook,
    attach::{attach_error, program_io},
    batch,
    link_name::LinkName,
    pins::{Pins, unlink},
    sys,
};

/// What the XDP program of an uplink does.
#[derive(Clone, Copy, PartialEq, Eq, Debug, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum XdpProgram {
    /// Drops early what nobody wants.
    EarlyDrop,
    /// That, and translates packets of established flows.
    Translate,
}

impl XdpProgram {
    /// All of them.
    pub(super) const ALL: [Self; 2] = [Self::EarlyDrop, Self::Translate];

    /// Its name in the object.
    pub(super) const fn program(self) -> &'static str {
        match self {
            Self::EarlyDrop => "np_uplink_xdp",
            Self::Translate => "np_uplink_xdp_nat",
        }
    }
}

/// Where an XDP program goes.
#[derive(Clone, Copy, Debug)]
pub struct XdpTarget<'a> {
    /// The interface's name.
    pub ifname: &'a str,
    /// Its index.
    pub ifindex: u32,
    /// Its driver, for messages.
    pub driver: &'a str,
    /// Number of the program that the kernel says is there.
    pub found: Option<u32>,
}

impl Datapath {
    /// What is attached to an interface as XDP by this instance.
    ///
    /// # Errors
    /// If the pins cannot be read.
    pub fn xdp_at(&self, ifindex: u32) -> Result<Option<XdpProgram>, Error> {
        for program in XdpProgram::ALL {
            if self.is_live(&LinkName::Xdp(program, ifindex))? {
                return Ok(Some(program));
            }
        }
        Ok(None)
    }

    /// Attaches a program in the driver of an interface and pins the link; one of this instance
    /// that is there already is replaced in one step.
    ///
    /// # Errors
    /// The driver has no native XDP, another program is there, or the kernel refuses.
    pub fn attach_xdp(&self, program: XdpProgram, to: XdpTarget<'_>) -> Result<(), Error> {
        let new = self
            .pins()
            .link(&LinkName::Xdp(program, to.ifindex).to_string());
        let failed = |e| attach_error("attaching", program.program(), to.ifname, e);
        match self.xdp_at(to.ifindex)? {
            Some(old) if old == program => return Ok(()),
            Some(old) => {
                let old = LinkName::Xdp(old, to.ifindex);
                self.replace_link(&old, &self.pins().program(program.program()))?;
                return Pins::rename(&self.pins().link(&old.to_string()), &new);
            }
            None => {}
        }
        // A pin outlives its interface, and the index may have been given to another one.
        unlink(&new)?;
        if let Some(id) = to.found {
            return Err(taken(to.ifname, Some(id)));
        }
        let loaded = Xdp::from_pin(
            self.pins().program(program.program()),
            XdpAttachType::Interface,
        )
        .map_err(|e| failed(program_io(e)))?;
        let fd = loaded.fd().map_err(|e| failed(program_io(e)))?;
        let link = sys::xdp_link_create(fd.as_fd(), to.ifindex).map_err(|e| refused(to, e))?;
        sys::pin(link.as_fd(), &new)
            .map_err(|e| Error::system(format!("pinning {}", new.display()), e))
    }

    /// Notes that these ports, by protocol and number, have been sent from: what waits for answers
    /// there was there before the hooks that would have seen it send.
    ///
    /// # Errors
    /// If the map cannot be written.
    pub fn mark_used(&self, ports: &BTreeSet<(u8, u16)>) -> Result<(), Error> {
        let indexes = ports
            .iter()
            .filter_map(|(proto, port)| port_index(*proto, *port));
        let keys: Vec<u32> = indexes.collect();
        let used = PortUse {
            nobody: 0,
            used: 1,
            // Not known either.
            translated: 1,
        };
        batch::write(self, maps::PORTS, &keys, &vec![used; keys.len()])
    }

    /// Detaches the XDP program of this instance from an interface; fine if there is none.
    ///
    /// # Errors
    /// If the kernel refuses.
    pub fn detach_xdp(&self, ifindex: u32) -> Result<(), Error> {
        self.detach(Hook::Xdp, ifindex)
    }
}

/// Whether a link is attached to this interface.
pub(super) fn is_live(link: BorrowedFd<'_>, ifindex: u32) -> io::Result<bool> {
    let info = sys::link_info(link)?;
    Ok(info.kind == sys::LINK_XDP && info.target[0] == ifindex)
}

/// What the kernel's refusal means (`dev_xdp_attach` in `net/core/dev.c`).
fn refused(to: XdpTarget<'_>, source: io::Error) -> Error {
    match source.raw_os_error() {
        Some(libc::EOPNOTSUPP) => Error::NoNativeXdp {
            ifname: to.ifname.into(),
            driver: to.driver.into(),
        },
        Some(libc::EBUSY | libc::EEXIST) => taken(to.ifname, None),
        _ => Error::XdpRefused {
            ifname: to.ifname.into(),
            driver: to.driver.into(),
            source,
        },
    }
}

fn taken(ifname: &str, id: Option<u32>) -> Error {
    let known = id.and_then(|id| {
        let program = loaded_programs().flatten().find(|p| p.id() == id)?;
        Some(program.name_as_str()?.to_owned())
    });
    Error::XdpTaken {
        ifname: ifname.into(),
        program: match (id, known) {
            (Some(id), Some(name)) => format!("{name}, id {id}"),
            (Some(id), None) => format!("id {id}"),
            (None, _) => "attached just now".into(),
        },
    }
}
