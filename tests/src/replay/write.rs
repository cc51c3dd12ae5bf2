//! The outcome of a replay as pcapng.
//!
//! Owns the file: an interface for each place where packets were seen, each packet as it was after
//! the run, and the verdict in its comment, which Wireshark shows and filters by.

use std::{borrow::Cow, fs::File, io::BufWriter, path::Path};

use pcap_file::{
    DataLink,
    pcapng::{
        PcapNgWriter,
        blocks::{
            enhanced_packet::{EnhancedPacketBlock, EnhancedPacketOption},
            interface_description::{InterfaceDescriptionBlock, InterfaceDescriptionOption},
        },
    },
};

use super::{Error, Packet};

/// Nanoseconds, in the option's negative powers of ten.
const NANOSECONDS: u8 = 9;

/// Writes the packets.
///
/// # Errors
/// Where the file cannot be written.
pub fn pcapng(path: &Path, packets: &[Packet]) -> Result<(), Error> {
    let file = |source| Error::file(path, source);
    let error = |source| Error::capture(path, source);
    let out = BufWriter::new(File::create(path).map_err(file)?);
    let mut out = PcapNgWriter::new(out).map_err(error)?;
    let mut places: Vec<String> = Vec::new();
    for packet in packets {
        let place = format!("{} {}", packet.hook, packet.interface);
        let id = places.iter().position(|known| *known == place);
        let id = match id {
            Some(id) => id,
            None => {
                let interface = InterfaceDescriptionBlock {
                    linktype: DataLink::ETHERNET,
                    snaplen: 0,
                    options: vec![
                        InterfaceDescriptionOption::IfName(Cow::Borrowed(&place)),
                        InterfaceDescriptionOption::IfTsResol(NANOSECONDS),
                    ],
                };
                out.write_pcapng_block(interface).map_err(error)?;
                places.push(place);
                places.len() - 1
            }
        };
        let mut comment = packet.verdict.to_string();
        let outcome = packet.outcome();
        if !outcome.is_empty() {
            comment.push_str(": ");
            comment.push_str(&outcome);
        }
        let block = EnhancedPacketBlock {
            interface_id: id as u32,
            timestamp: packet.input.time,
            original_len: packet.input.len.max(packet.output.len() as u32),
            data: Cow::Borrowed(&packet.output),
            options: vec![EnhancedPacketOption::Comment(Cow::Owned(comment))],
        };
        out.write_pcapng_block(block).map_err(error)?;
    }
    // Dropping the buffer would keep a full disk quiet.
    std::io::Write::flush(out.get_mut()).map_err(file)
}
