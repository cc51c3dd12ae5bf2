//! What a packet says, field by field, in a second opinion that takes nothing from netpath's parser.
//!
//! Owns reading. Packets come from the test itself and from engines that keep lengths right; what is
//! shorter than its header says has fewer fields.

use netpath_common::testing::Addr;

pub(crate) const ICMP: u8 = 1;
pub(crate) const TCP: u8 = 6;
pub(crate) const UDP: u8 = 17;
pub(crate) const GRE: u8 = 47;
pub(crate) const ESP: u8 = 50;
pub(crate) const UDPLITE: u8 = 136;

pub(crate) const FIN: u8 = 1;
pub(crate) const SYN: u8 = 2;
pub(crate) const RST: u8 = 4;
pub(crate) const PSH: u8 = 8;
pub(crate) const ACK: u8 = 16;

/// An IPv4 packet, or what an ICMP error quotes of one.
#[derive(Clone, Copy)]
pub(crate) struct Packet<'b>(&'b [u8]);

impl<'b> Packet<'b> {
    pub(crate) const fn new(bytes: &'b [u8]) -> Self {
        Self(bytes)
    }

    const fn header_len(self) -> usize {
        (self.0[0] & 0xf) as usize * 4
    }

    pub(crate) fn src(self) -> Addr {
        self.0[12..16].try_into().unwrap()
    }

    pub(crate) fn dst(self) -> Addr {
        self.0[16..20].try_into().unwrap()
    }

    pub(crate) const fn ttl(self) -> u8 {
        self.0[8]
    }

    pub(crate) const fn proto(self) -> u8 {
        self.0[9]
    }

    /// Flags and offset, without the don't-fragment bit.
    pub(crate) const fn fragment(self) -> u16 {
        u16::from_be_bytes([self.0[6], self.0[7]]) & 0x3fff
    }

    /// A fragment that is not the first.
    pub(crate) const fn is_tail(self) -> bool {
        self.fragment() & 0x1fff != 0
    }

    /// What follows the IP header.
    pub(crate) fn l4(self) -> &'b [u8] {
        self.0.get(self.header_len()..).unwrap_or_default()
    }

    fn be16(self, at: usize) -> Option<u16> {
        let b = self.l4().get(at..at + 2)?;
        Some(u16::from_be_bytes([b[0], b[1]]))
    }

    fn be32(self, at: usize) -> Option<u32> {
        let b = self.l4().get(at..at + 4)?;
        Some(u32::from_be_bytes(b.try_into().unwrap()))
    }

    fn has_ports(self) -> bool {
        matches!(self.proto(), TCP | UDP | 132 | UDPLITE) && !self.is_tail()
    }

    pub(crate) fn sport(self) -> Option<u16> {
        self.has_ports().then(|| self.be16(0))?
    }

    pub(crate) fn dport(self) -> Option<u16> {
        self.has_ports().then(|| self.be16(2))?
    }

    /// Type and code of an ICMP message.
    pub(crate) fn icmp(self) -> Option<(u8, u8)> {
        let l4 = self.l4();
        (self.proto() == ICMP && !self.is_tail() && l4.len() >= 8).then(|| (l4[0], l4[1]))
    }

    /// The identifier of an ICMP query or answer.
    pub(crate) fn id(self) -> Option<u16> {
        match self.icmp()?.0 {
            0 | 8 | 13 | 14 => self.be16(4),
            _ => None,
        }
    }

    /// What an ICMP error quotes.
    pub(crate) fn quoted(self) -> Option<Self> {
        let error = matches!(self.icmp()?.0, 3 | 4 | 5 | 11 | 12);
        let bytes = self.l4().get(8..)?;
        (error && bytes.len() >= 28).then_some(Self(bytes))
    }

    pub(crate) fn tcp_flags(self) -> Option<u8> {
        (self.proto() == TCP && !self.is_tail())
            .then(|| self.l4().get(13).copied())
            .flatten()
    }

    /// Sequence number, acknowledgement number, and the number behind the segment.
    pub(crate) fn numbers(self) -> Option<(u32, u32, u32)> {
        let flags = self.tcp_flags()?;
        let (seq, ack) = (self.be32(4)?, self.be32(8)?);
        let data = self
            .l4()
            .len()
            .saturating_sub(usize::from(self.l4()[12] >> 4) * 4) as u32;
        let extra = u32::from(flags & SYN != 0) + u32::from(flags & FIN != 0);
        Some((seq, ack, seq.wrapping_add(data + extra)))
    }

    /// Name and value of every field. The IP identification is left out: `compare` knows when it
    /// counts. So is the IP header checksum, which the oracle recomputes.
    pub(crate) fn fields(self) -> Vec<(String, Vec<u8>)> {
        let mut fields = Vec::new();
        self.put_fields("", &mut fields);
        fields
    }

    fn put_fields(self, prefix: &str, fields: &mut Vec<(String, Vec<u8>)>) {
        let mut put = |name: &str, value: &[u8]| {
            fields.push((format!("{prefix}{name}"), value.to_vec()));
        };
        let header = self.0.get(..self.header_len()).unwrap_or(self.0);
        put("tos", &header[1..2]);
        put("length", &header[2..4]);
        put("fragment", &header[6..8]);
        put("ttl", &header[8..9]);
        put("proto", &header[9..10]);
        put("src", &header[12..16]);
        put("dst", &header[16..20]);
        put("options", &header[20..]);
        let l4 = self.l4();
        if self.is_tail() {
            put("part", l4);
            return;
        }
        match self.proto() {
            TCP if l4.len() >= 20 => {
                put("sport", &l4[..2]);
                put("dport", &l4[2..4]);
                put("seq", &l4[4..8]);
                put("ack", &l4[8..12]);
                put("flags", &l4[12..14]);
                put("window", &l4[14..16]);
                put("check", &l4[16..18]);
                put("payload", &l4[18..]);
            }
            TCP if l4.len() >= 8 => {
                put("sport", &l4[..2]);
                put("dport", &l4[2..4]);
                put("payload", &l4[4..]);
            }
            UDP if l4.len() >= 8 => {
                put("sport", &l4[..2]);
                put("dport", &l4[2..4]);
                put("length of UDP", &l4[4..6]);
                put("check", &l4[6..8]);
                put("payload", &l4[8..]);
            }
            ICMP if l4.len() >= 8 => {
                put("type", &l4[..2]);
                if let Some(quoted) = self.quoted() {
                    put("word", &l4[4..8]);
                    quoted.put_fields(&format!("{prefix}quoted "), fields);
                } else if self.id().is_some() {
                    put("icmp id", &l4[4..6]);
                    put("check", &l4[2..4]);
                    put("payload", &l4[6..]);
                } else {
                    put("payload", &l4[4..]);
                }
            }
            _ => put("payload", l4),
        }
    }

    pub(crate) const fn ip_id(self) -> u16 {
        u16::from_be_bytes([self.0[4], self.0[5]])
    }

    /// In words.
    pub(crate) fn describe(self) -> String {
        let mut frame = netpath_common::testing::ethernet([0; 6], [0; 6], 0x0800);
        frame.extend(self.0);
        let mut words = netpath_common::testing::describe(&netpath_common::testing::Frame {
            bytes: frame,
            ..Default::default()
        });
        if let (Some(flags), Some((seq, ack, end))) = (self.tcp_flags(), self.numbers()) {
            let names = [(SYN, 'S'), (FIN, 'F'), (RST, 'R'), (PSH, 'P'), (ACK, '.')];
            let names = names.iter().filter(|(bit, _)| flags & bit != 0);
            let names: String = names.map(|(_, name)| *name).collect();
            words += &format!(" [{names}] seq {seq}..{end} ack {ack}");
        }
        if self.fragment() != 0 {
            let at = usize::from(self.fragment() & 0x1fff) * 8;
            words += &format!(" fragment at {at}");
        }
        words + &format!(" ttl {} length {}", self.ttl(), self.0.len())
    }
}

/// Every checksum that a packet should carry, in full.
pub(crate) fn checksums(bytes: &[u8]) -> Result<(), String> {
    let mut frame = netpath_common::testing::ethernet([0; 6], [0; 6], 0x0800);
    frame.extend(bytes);
    netpath_common::testing::verify(&netpath_common::testing::Frame {
        bytes: frame,
        ..Default::default()
    })
}
