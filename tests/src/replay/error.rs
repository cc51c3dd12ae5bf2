//! What can be wrong with a capture.

use std::{
    io,
    path::{Path, PathBuf},
};

use pcap_file::PcapError;

/// Why a capture cannot be replayed, or its outcome not be written.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The file system refuses.
    #[error("{} cannot be read or written", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// What it says.
        source: io::Error,
    },
    /// The file is no capture, or a broken one.
    #[error("{}: no pcap or pcapng capture that can be read", path.display())]
    Capture {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        source: PcapError,
    },
    /// The capture holds something other than Ethernet frames.
    #[error(
        "{}: packets with the link type {found}; only Ethernet (1) can be replayed: capture on a \
         veth or an Ethernet device, not on `any`",
        path.display()
    )]
    LinkType {
        /// The file.
        path: PathBuf,
        /// Number of the link type in the registry of tcpdump.org.
        found: u32,
    },
    /// The kernel does not run the programs.
    #[error("packet {number}: the kernel does not run {program} on it")]
    Run {
        /// The packet, counted from 1.
        number: usize,
        /// The program.
        program: &'static str,
        /// What the kernel says.
        source: io::Error,
    },
}

impl Error {
    /// What the library of captures says about a file.
    pub(super) fn capture(path: &Path, source: PcapError) -> Self {
        let path = path.to_owned();
        if let PcapError::IoError(source) = source {
            Self::File { path, source }
        } else {
            Self::Capture { path, source }
        }
    }

    /// What the file system says about a file.
    pub(super) fn file(path: &Path, source: io::Error) -> Self {
        Self::File {
            path: path.to_owned(),
            source,
        }
    }
}
