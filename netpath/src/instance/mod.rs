//! An instance: netpath at work on one network namespace.
//!
//! Owns the order of things: what is checked before anything changes, what is made before what, and
//! how a change that fails half-way is undone. Commands, the agent and the lab call it. Single
//! operations on the host are [`crate::net`]'s, on the datapath [`crate::bpf`]'s.

mod address_error;
mod create;
mod down;
mod drift;
mod edit;
mod endpoint;
mod error;
mod facts;
mod forwarding;
mod gateway;
mod gone;
mod host_access;
mod in_force;
mod inside;
mod inspect;
mod ipv6;
mod known;
mod local_ports;
mod needs;
mod network;
mod parent_error;
mod place_error;
mod plan;
mod plan_endpoint;
mod plan_network;
mod plan_return;
mod port_plan;
mod ports;
mod report;
mod rollback;
mod rules;
mod segments;
mod settings;
mod shaping;
mod sync;
mod unbridged;
mod up;
mod uplinks;
mod work;
mod xdp;
mod xdp_nat;

use std::{fs, path::Path};

use netpath_common::maps;

pub use address_error::AddressError;
pub use down::RemoveOptions;
pub use drift::Drift;
pub use edit::NewEndpoint;
pub use error::Error;
pub(crate) use forwarding::not_forwarding;
pub use inspect::{ContainerView, EndpointView, NetworkView};
pub use parent_error::ParentError;
pub use place_error::PlaceError;
pub use plan::{Plan, Step};
pub use report::{DropCount, EndpointStatus, NetworkStatus, Report, UplinkStatus};
pub(crate) use up::memory;
pub use up::{Done, UpOptions};
pub use work::MapWork;

use crate::{
    bpf::{self, Datapath},
    config::NetnsRef,
    net::{Netlink, namespace::Namespace},
    state::{State, Store},
};

/// Name of the instance of the namespace that netpath was started in.
pub const DEFAULT_NAME: &str = "default";

/// How the name of an instance begins whose namespace has none: its inode follows.
const UNNAMED: &str = "netns-";

/// An instance, loaded or not, of the network namespace that the calling thread is in.
#[derive(Debug)]
pub struct Instance {
    name: String,
    store: Store,
    netlink: Netlink,
    cookie: u64,
    boot_id: String,
}

impl Instance {
    /// Opens the instance `name` of the current network namespace. Nothing is changed. Must be
    /// called within a tokio runtime.
    ///
    /// # Errors
    /// No netlink, or a kernel without namespace cookies.
    pub fn open(name: &str, state_dir: &Path) -> Result<Self, Error> {
        let boot_id =
            fs::read_to_string("/proc/sys/kernel/random/boot_id").map_err(Error::BootId)?;
        Ok(Self {
            name: name.to_owned(),
            store: Store::new(state_dir, name),
            netlink: Netlink::connect()?,
            cookie: bpf::netns_cookie()?,
            boot_id: boot_id.trim().to_owned(),
        })
    }

    /// The instance's name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// What is remembered; `None` when nothing is. Of an earlier boot, or of another namespace of the same
    /// name, that is what outlives it: nothing of it is on this host.
    ///
    /// # Errors
    /// The file is damaged.
    pub fn state(&self) -> Result<Option<State>, Error> {
        let Some(mut state) = self.store.load()? else {
            return Ok(None);
        };
        if state.boot_id == self.boot_id && state.netns_cookie == self.cookie {
            // A command was killed that had just loaded the datapath.
            if state.conntrack == 0
                && let Ok(Some(datapath)) = Datapath::open(&self.name)
            {
                state.conntrack = datapath.capacity(maps::CT4)? / 2;
            }
            return Ok(Some(state));
        }
        // Without a name of its own an instance is a namespace, and ends with it.
        let named = !self.name.starts_with(UNNAMED);
        Ok(named.then(|| state.reborn(self.boot_id.clone(), self.cookie)))
    }

    /// The datapath and the state of an instance that is up.
    ///
    /// # Errors
    /// [`Error::NotUp`] when it is not.
    pub fn running(&self) -> Result<(Datapath, State), Error> {
        let state = self.state()?.ok_or_else(|| Error::NotUp {
            instance: self.name.clone(),
        })?;
        let datapath = Datapath::open(&self.name)?.ok_or_else(|| Error::NotUp {
            instance: self.name.clone(),
        })?;
        Ok((datapath, state))
    }

    fn fresh_state(&self) -> State {
        State::new(self.boot_id.clone(), self.cookie)
    }
}

/// The name of the instance that manages the namespace `netns`.
///
/// # Errors
/// The namespace does not exist.
pub fn name_of(netns: Option<&NetnsRef>) -> Result<String, Error> {
    match netns {
        None => Ok(DEFAULT_NAME.to_owned()),
        Some(netns) => match netns.name() {
            Some(name) => Ok(name.to_owned()),
            None => Ok(format!("{UNNAMED}{}", Namespace::open(netns)?.ino())),
        },
    }
}
