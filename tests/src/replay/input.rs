//! Captures as they are read.
//!
//! Owns pcap and pcapng, and where a frame was seen. Runs nothing.

use std::{
    fs::File,
    io::{BufReader, Read as _, Seek as _},
    path::{Path, PathBuf},
    time::Duration,
};

use netpath_common::{
    event::Hook,
    records::LOOPBACK_IFINDEX,
    testing::{BRIDGE1_IF, BRIDGE2_IF, BRIDGE2_MAC, C1, C2, C3, Container, UPLINK_IF},
};
use pcap_file::{
    DataLink, PcapError,
    pcap::PcapReader,
    pcapng::{
        Block, PcapNgReader,
        blocks::interface_description::{InterfaceDescriptionBlock, InterfaceDescriptionOption},
    },
};

use super::error::Error;

/// The containers of the standard host, by the names of their interfaces.
pub const CONTAINERS: [(&str, Container); 3] = [("c1", C1), ("c2", C2), ("c3", C3)];

/// A capture, and the hook that its frames are given to.
#[derive(Clone, Debug)]
pub struct Source {
    /// A pcap or pcapng file.
    pub path: PathBuf,
    /// The hook.
    pub hook: Hook,
    /// At the veth hook: the container that sent every frame. Left out: by the source MAC address,
    /// else by the source address, else the first.
    pub sender: Option<Container>,
}

/// A frame of a capture.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Captured {
    /// Since the epoch of the capture.
    pub time: Duration,
    /// What was captured of the frame.
    pub bytes: Vec<u8>,
    /// Length of the whole frame in bytes.
    pub len: u32,
    /// Where it is seen.
    pub hook: Hook,
    /// Index of the interface where it is seen.
    pub ifindex: u32,
}

/// Reads captures, the frames in the order of their times.
///
/// # Errors
/// A file that is not there, or that is no capture of Ethernet frames.
pub fn read(sources: &[Source]) -> Result<Vec<Captured>, Error> {
    let mut all = Vec::new();
    for source in sources {
        for (time, len, bytes) in frames(&source.path)? {
            let ifindex = ifindex(source, &bytes);
            all.push(Captured {
                time,
                bytes,
                len,
                hook: source.hook,
                ifindex,
            });
        }
    }
    // Stable: frames of one time stay in the order of the command line.
    all.sort_by_key(|frame| frame.time);
    Ok(all)
}

/// Where a frame is seen.
fn ifindex(source: &Source, bytes: &[u8]) -> u32 {
    match source.hook {
        Hook::Veth => source.sender.unwrap_or_else(|| sender(bytes)).ifindex,
        Hook::Bridge if bytes.get(..6) == Some(&BRIDGE2_MAC) => BRIDGE2_IF,
        Hook::Bridge | Hook::BridgeEgress => BRIDGE1_IF,
        Hook::UplinkIngress | Hook::UplinkEgress | Hook::Xdp => UPLINK_IF,
        Hook::Loopback => LOOPBACK_IFINDEX,
    }
}

/// The container that sent a frame.
fn sender(bytes: &[u8]) -> Container {
    let by = |matches: &dyn Fn(&Container) -> bool| {
        CONTAINERS.iter().map(|(_, c)| *c).find(|c| matches(c))
    };
    by(&|c| bytes.get(6..12) == Some(&c.mac))
        .or_else(|| by(&|c| bytes.get(26..30) == Some(&c.addr)))
        .unwrap_or(C1)
}

type Frames = Vec<(Duration, u32, Vec<u8>)>;

fn frames(path: &Path) -> Result<Frames, Error> {
    let file = |source| Error::file(path, source);
    let mut reader = BufReader::new(File::open(path).map_err(file)?);
    let mut magic = [0; 4];
    let known = reader.read_exact(&mut magic).is_ok();
    reader.rewind().map_err(file)?;
    // The block type of a section header, the same in either byte order.
    if known && magic == [0x0a, 0x0d, 0x0d, 0x0a] {
        pcapng(reader, path)
    } else {
        pcap(reader, path)
    }
}

fn ethernet(link: DataLink, path: &Path) -> Result<(), Error> {
    if link == DataLink::ETHERNET {
        return Ok(());
    }
    Err(Error::LinkType {
        path: path.to_owned(),
        found: link.into(),
    })
}

fn pcap(reader: BufReader<File>, path: &Path) -> Result<Frames, Error> {
    let error = |source| Error::capture(path, source);
    let mut reader = PcapReader::new(reader).map_err(error)?;
    ethernet(reader.header().datalink, path)?;
    let mut frames = Frames::new();
    while let Some(packet) = reader.next_packet() {
        let packet = packet.map_err(error)?;
        frames.push((packet.timestamp, packet.orig_len, packet.data.into_owned()));
    }
    Ok(frames)
}

fn pcapng(reader: BufReader<File>, path: &Path) -> Result<Frames, Error> {
    let error = |source| Error::capture(path, source);
    let mut reader = PcapNgReader::new(reader).map_err(error)?;
    let mut frames = Frames::new();
    let mut interfaces: Vec<InterfaceDescriptionBlock<'static>> = Vec::new();
    while let Some(block) = reader.next_block() {
        #[expect(
            clippy::wildcard_enum_match_arm,
            reason = "every other block holds no packet"
        )]
        match block.map_err(error)? {
            Block::SectionHeader(_) => interfaces.clear(),
            Block::InterfaceDescription(interface) => {
                ethernet(interface.linktype, path)?;
                interfaces.push(interface.into_owned());
            }
            Block::EnhancedPacket(packet) => {
                let interface = interfaces.get(packet.interface_id as usize);
                let interface =
                    interface.ok_or(error(PcapError::InvalidInterfaceId(packet.interface_id)))?;
                // The library reads nanoseconds whatever the interface says.
                let time = in_units(packet.timestamp.as_nanos() as u64, resolution(interface));
                frames.push((time, packet.original_len, packet.data.into_owned()));
            }
            Block::SimplePacket(packet) => {
                let time = frames.last().map_or(Duration::ZERO, |(time, ..)| *time);
                frames.push((time, packet.original_len, packet.data.into_owned()));
            }
            _ => {}
        }
    }
    Ok(frames)
}

/// The interface's `if_tsresol`; microseconds unless it says otherwise.
fn resolution(interface: &InterfaceDescriptionBlock<'_>) -> u8 {
    let said = interface.options.iter().find_map(|option| {
        if let InterfaceDescriptionOption::IfTsResol(resolution) = option {
            Some(*resolution)
        } else {
            None
        }
    });
    said.unwrap_or(6)
}

/// A time in the units of `if_tsresol`: a negative power of ten, or of two where the high bit is
/// set.
fn in_units(time: u64, resolution: u8) -> Duration {
    let power = u32::from(resolution & 0x7f);
    let base: u128 = if resolution & 0x80 == 0 { 10 } else { 2 };
    let units = base.checked_pow(power).unwrap_or(u128::MAX);
    let nanos = u128::from(time) * 1_000_000_000 / units;
    Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn units_of_time() {
        let second = Duration::from_secs(1);
        assert_eq!(in_units(1_000_000, 6), second);
        assert_eq!(in_units(1_000_000_000, 9), second);
        assert_eq!(in_units(1 << 20, 0x80 | 20), second);
    }
}
