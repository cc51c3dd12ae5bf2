//! What can go wrong between user space and the datapath.
//!
//! Owns the error type of [`crate::bpf`], which [`crate::ct`] and [`crate::monitor`] share. Every
//! message names the object, what was found, and what to do.

use std::{fmt, io, path::PathBuf};

use aya::{EbpfError, maps::MapError, pin::PinError, programs::ProgramError};

/// An error of the datapath's loading, attaching or tables.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The binary holds no eBPF object.
    #[error(
        "this netpath was built without its kernel programs: build it with `cargo xtask build`"
    )]
    NoObject,
    /// The process may not use BPF.
    #[error("netpath may not load kernel programs: it lacks {missing}; run it as root")]
    NotPrivileged {
        /// The capabilities that are missing.
        missing: String,
    },
    /// The kernel is too old.
    #[error("the kernel is {found}; netpath needs 5.15, and 6.1 or later to be supported")]
    OldKernel {
        /// The running kernel's release.
        found: String,
    },
    /// The kernel has no BTF.
    #[error(
        "{path} is missing: the kernel was built without BTF; use a kernel with \
         CONFIG_DEBUG_INFO_BTF=y"
    )]
    NoBtf {
        /// Where it was looked for.
        path: PathBuf,
    },
    /// bpffs is neither there nor could be mounted.
    #[error(
        "no BPF file system at {path} ({source}); mount it with `mount -t bpf bpf {path}`",
        path = path.display()
    )]
    NoBpffs {
        /// The mount point.
        path: PathBuf,
        /// Why it could not be mounted.
        source: io::Error,
    },
    /// The instance's name cannot be a directory.
    #[error("`{name}` cannot name an instance: use 1 to 200 characters without `/`")]
    BadInstance {
        /// The name as given.
        name: String,
    },
    /// Nothing is loaded under this name.
    #[error("instance `{instance}` is not loaded: run `netpath up` first")]
    NotLoaded {
        /// The instance.
        instance: String,
    },
    /// The pins belong to a namespace that had this name before.
    #[error(
        "instance `{instance}` belongs to another network namespace (cookie {found}, this one has \
         {wanted}): `netpath up` replaces it, `netpath down --all` removes it"
    )]
    Stale {
        /// The instance.
        instance: String,
        /// Cookie that `np_config` records.
        found: u64,
        /// Cookie of the current namespace.
        wanted: u64,
    },
    /// A pinned map has another layout than this netpath's.
    #[error(
        "pinned map {map} of instance `{instance}` has {found}, this netpath needs {wanted}: it \
         was made by another version; run `netpath down --all` first"
    )]
    Layout {
        /// The instance.
        instance: String,
        /// The map.
        map: String,
        /// Layout of the pin.
        found: String,
        /// Layout of the object.
        wanted: String,
    },
    /// The object lacks something or holds something unknown.
    #[error("the kernel programs of this netpath are damaged: {what}; rebuild it")]
    BadObject {
        /// What is wrong.
        what: String,
    },
    /// The kernel refused the object or one of its maps.
    #[error("loading the maps of instance `{instance}` failed: {why}", why = Chain(source))]
    Load {
        /// The instance.
        instance: String,
        /// The loader's error.
        source: Box<EbpfError>,
    },
    /// The verifier refused a program; its whole log follows.
    #[error("the kernel refused program {program}: {why}", why = Chain(source))]
    Program {
        /// The program.
        program: String,
        /// The error with the verifier's log.
        source: Box<ProgramError>,
    },
    /// Pinning failed.
    #[error("pinning {path} failed: {why}", path = path.display(), why = Chain(source))]
    Pin {
        /// The pin.
        path: PathBuf,
        /// The error.
        source: PinError,
    },
    /// Attaching or detaching failed.
    #[error("{action} of {program} at {target} failed: {source}")]
    Attach {
        /// `attaching`, `detaching` or `replacing`.
        action: &'static str,
        /// The program.
        program: String,
        /// Interface or cgroup.
        target: String,
        /// The kernel's answer.
        source: io::Error,
    },
    /// The driver cannot run XDP programs.
    #[error(
        "uplink {ifname}: its driver {driver} has no native XDP, and netpath never uses the generic \
         one, which costs more than it saves; set uplink_hook = \"tc\" or \"auto\""
    )]
    NoNativeXdp {
        /// The interface.
        ifname: String,
        /// Its driver.
        driver: String,
    },
    /// The driver's native XDP refuses as the device is set up now.
    #[error(
        "uplink {ifname}: its driver {driver} refuses an XDP program ({source}): often the MTU is too \
         large for it, there are too few queues, or receive offloads (LRO, GRO_HW) are on; change \
         that, or set uplink_hook = \"tc\""
    )]
    XdpRefused {
        /// The interface.
        ifname: String,
        /// Its driver.
        driver: String,
        /// The kernel's answer.
        source: io::Error,
    },
    /// Another XDP program is there.
    #[error(
        "uplink {ifname} has another XDP program already ({program}), which netpath leaves alone: \
         detach it, or set uplink_hook = \"tc\""
    )]
    XdpTaken {
        /// The interface.
        ifname: String,
        /// The program's name and number, as far as known.
        program: String,
    },
    /// The interface is not the one that was meant.
    #[error("interface {ifname} has index {found}, not {wanted}: it was made anew; try again")]
    IfaceChanged {
        /// The interface's name.
        ifname: String,
        /// Its index.
        found: u32,
        /// The index that was asked for.
        wanted: u32,
    },
    /// An operation on a map failed.
    #[error("{action} {map} failed: {why}", why = Chain(source))]
    Map {
        /// `reading`, `writing` or `opening`.
        action: &'static str,
        /// The map.
        map: String,
        /// The error.
        source: Box<MapError>,
    },
    /// A map is full.
    #[error("{map} is full: it holds {capacity} entries; {remedy}")]
    Full {
        /// The map.
        map: String,
        /// Its capacity.
        capacity: u32,
        /// What to do.
        remedy: &'static str,
    },
    /// A slot is out of range.
    #[error("slot {slot} of {map} is out of range: slots are 1 to {last}")]
    BadSlot {
        /// The map.
        map: String,
        /// The slot.
        slot: u32,
        /// The last slot.
        last: u32,
    },
    /// Another monitor reads the events.
    #[error(
        "another `netpath monitor` reads the events of instance `{instance}`: stop that one first"
    )]
    MonitorRuns {
        /// The instance.
        instance: String,
    },
    /// A system call failed.
    #[error("{what}: {source}")]
    System {
        /// What was tried, with its object.
        what: String,
        /// The error.
        source: io::Error,
    },
}

impl Error {
    /// A failed system call: what was tried, and the error.
    pub(crate) fn system(what: impl Into<String>, source: impl Into<io::Error>) -> Self {
        Self::System {
            what: what.into(),
            source: source.into(),
        }
    }

    pub(crate) fn map(action: &'static str, map: &str, source: MapError) -> Self {
        Self::Map {
            action,
            map: map.to_owned(),
            source: Box::new(source),
        }
    }
}

/// An error with all that caused it: what the libraries say of a failed call leaves the kernel's answer
/// to the next one.
struct Chain<'a, E>(&'a E);

impl<E: std::error::Error> fmt::Display for Chain<'_, E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut text = self.0.to_string();
        let mut next = self.0.source();
        while let Some(cause) = next {
            let cause_text = cause.to_string();
            if !text.contains(&cause_text) {
                text = format!("{text}: {cause_text}");
            }
            next = cause.source();
        }
        f.write_str(&text)
    }
}

#[cfg(test)]
mod tests {
    use aya::sys::SyscallError;

    use super::*;

    #[test]
    fn the_kernels_answer_is_told_once() {
        let refused = io::Error::from_raw_os_error(libc::EPERM);
        let source = MapError::from(SyscallError {
            call: "BPF_OBJ_GET",
            io_error: refused,
        });
        let text = Error::map("opening", "np_config", source).to_string();
        assert_eq!(
            text,
            "opening np_config failed: `BPF_OBJ_GET` failed: Operation not permitted (os error 1)"
        );
        let source = MapError::IoError(io::Error::from_raw_os_error(libc::EPERM));
        let text = Error::map("opening", "np_config", source).to_string();
        assert_eq!(
            text,
            "opening np_config failed: Operation not permitted (os error 1)"
        );
    }
}
