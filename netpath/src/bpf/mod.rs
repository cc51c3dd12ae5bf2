//! The datapath in the kernel: loading, pinning, attaching, and its tables.
//!
//! Owns everything under `/sys/fs/bpf/netpath/INSTANCE` and the only way to the maps. Does not
//! decide what belongs into them (see [`crate::instance`]) and takes no lock: callers that change
//! an instance hold its lock.

mod attach;
mod attachment;
mod backends;
mod batch;
mod beside;
mod bits;
mod btf;
mod cgroup;
mod clsact;
mod conntrack;
mod counters;
mod error;
mod family;
mod hook;
pub(crate) mod kernel;
mod layout;
mod link_name;
mod load;
mod look;
mod needs;
mod next6;
mod pins;
mod programs;
mod published;
mod rules;
mod sys;
mod tables;
mod taken;
mod xdp;

use netpath_common::records::{CONFIG_MSS_CLAMP, CONFIG_PRESERVE_PORTS, Config, Timeouts};

use crate::config::{Nat, Quotas};

pub use self::{
    backends::Allowed,
    error::Error,
    family::Family,
    hook::Hook,
    kernel::{check_kernel, netns_cookie},
    published::{Entry, PortChange, Reserved},
    xdp::{XdpProgram, XdpTarget},
};
pub(crate) use self::{
    batch::Batches,
    beside::{Beside, own_programs, programs_beside},
    cgroup::cgroup2_root,
    conntrack::Generations,
    kernel::coarse_now,
    link_name::ifname,
    needs::Needs,
    sys::calls as bpf_calls,
    tables::conntrack_entry,
};
use self::{counters::processors, pins::Pins};

/// The embedded eBPF object; `None` when it was not built.
#[cfg(netpath_ebpf)]
pub const OBJECT: Option<&[u8]> = Some(aya::include_bytes_aligned!(env!("NETPATH_EBPF_OBJECT")));
/// The embedded eBPF object; `None` when it was not built.
#[cfg(not(netpath_ebpf))]
pub const OBJECT: Option<&[u8]> = None;

/// What an instance is loaded with.
#[derive(Clone, Copy, Debug)]
pub struct LoadOptions {
    /// Flows that the conntrack table holds.
    pub conntrack_flows: u32,
    /// Cookie of the network namespace that the instance manages.
    pub netns_cookie: u64,
    /// Lifetimes of flows.
    pub timeouts: Timeouts,
    /// How masquerade translates.
    pub nat: Nat,
    /// How much of the table one container, or strangers, may use.
    pub quotas: Quotas,
    /// What its networks need.
    pub needs: Needs,
}

impl LoadOptions {
    fn config(&self) -> Config {
        let (port_min, port_max) = self.nat.ports.unwrap_or_default();
        let flag = |on, flag| if on { flag } else { 0 };
        let (endpoint_flows, endpoint_ports, inbound_embryonic) =
            self.quotas.of(self.conntrack_flows);
        Config {
            timeouts: self.timeouts,
            port_min,
            port_max,
            flags: flag(self.nat.preserve_ports, CONFIG_PRESERVE_PORTS)
                | flag(self.nat.mss_clamp, CONFIG_MSS_CLAMP)
                | self.needs.flags(),
            endpoint_flows,
            endpoint_ports,
            inbound_embryonic,
            ..Config::new(self.netns_cookie)
        }
    }
}

/// A handle on a pinned instance. It holds no descriptor, so that it is cheap and never stale.
#[derive(Clone, Debug)]
pub struct Datapath {
    instance: String,
    pins: Pins,
}

impl Datapath {
    /// Whether anything is pinned under this name.
    #[must_use]
    pub fn exists(instance: &str) -> bool {
        Pins::of(instance).is_ok_and(|pins| pins.exists())
    }

    /// Whether anything is pinned under this name, also of a `load` that was killed.
    #[must_use]
    pub fn left(instance: &str) -> bool {
        Pins::of(instance).is_ok_and(|pins| pins.exists() || pins.pending().exists())
    }

    /// Opens a loaded instance; `None` when nothing is pinned, or only what a killed removal has left.
    ///
    /// # Errors
    /// [`Error::Stale`] if it belongs to another namespace than the current one,
    /// [`Error::Layout`] if another version of netpath made it.
    pub fn open(instance: &str) -> Result<Option<Self>, Error> {
        let pins = Pins::of(instance)?;
        if !pins.are_whole() {
            return Ok(None);
        }
        let datapath = Self {
            instance: instance.to_owned(),
            pins,
        };
        layout::check_records(&datapath)?;
        datapath.check_owner(netns_cookie()?)?;
        Ok(Some(datapath))
    }

    /// The instance's name.
    #[must_use]
    pub fn instance(&self) -> &str {
        &self.instance
    }

    pub(crate) fn pins(&self) -> &Pins {
        &self.pins
    }

    fn check_owner(&self, cookie: u64) -> Result<(), Error> {
        let found = self.config()?.netns_cookie;
        if found == cookie {
            return Ok(());
        }
        Err(Error::Stale {
            instance: self.instance.clone(),
            found,
            wanted: cookie,
        })
    }
}
