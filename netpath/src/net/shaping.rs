//! Bandwidth limits: the kernel's token bucket (tbf) as the root qdisc of an interface.
//!
//! Owns its parameters and the messages. An interface sends at most at its rate, so each direction is
//! limited where its packets leave: what the container sends on its own interface, what it is sent on
//! the host side of the pair.

use std::collections::HashMap;

use futures_util::{StreamExt as _, TryStreamExt as _};
use nix::errno::Errno;
use rtnetlink::{
    packet_core::{
        DefaultNla, NLM_F_ACK, NLM_F_CREATE, NLM_F_REPLACE, NLM_F_REQUEST, NetlinkMessage,
        NetlinkPayload, Nla as _, NlasIterator,
    },
    packet_route::{
        RouteNetlinkMessage,
        tc::{TcAttribute, TcHandle, TcMessage, TcOption},
    },
};

use super::{Error, Netlink};
use crate::config::Rate;

/// Handle of netpath's qdiscs, "np".
const HANDLE: TcHandle = TcHandle {
    major: 0x6e70,
    minor: 0,
};
const TCA_TBF_PARMS: u16 = 1;
const TCA_TBF_RATE64: u16 = 4;
const TCA_TBF_BURST: u16 = 6;
const TC_LINKLAYER_ETHERNET: u8 = 1;
/// Where the rate is in `struct tc_tbf_qopt`.
const RATE_AT: usize = 8;

/// What may be sent at once, bytes: 10 ms of the rate, and a super-packet of 64 KB at least, so that
/// the kernel need not take those to pieces.
fn burst(rate: Rate) -> u32 {
    let of_rate = rate.0 / 8 / 100;
    u32::try_from(of_rate.max(72 * 1024)).unwrap_or(u32::MAX)
}

/// What may wait, bytes: 100 ms of the rate, besides the burst.
fn queue(rate: Rate) -> u32 {
    let of_rate = rate.0 / 8 / 10;
    u32::try_from(of_rate.saturating_add(burst(rate).into())).unwrap_or(u32::MAX)
}

/// `struct tc_tbf_qopt`: rate and peak rate (`struct tc_ratespec`), limit, and two fields that the burst
/// in bytes stands for.
fn parameters(rate: Rate) -> Vec<u8> {
    // Cell, link layer, overhead, alignment, smallest packet.
    let mut spec = vec![0, TC_LINKLAYER_ETHERNET, 0, 0, 0, 0, 0, 0];
    spec.extend(rate_bytes(rate).to_ne_bytes());
    spec.extend([0; 12]);
    spec.extend(queue(rate).to_ne_bytes());
    spec.extend([0; 8]);
    spec
}

/// A rate in bytes as the kernel's structure has it; one that is too large for it has its largest.
pub fn rate_bytes(rate: Rate) -> u32 {
    u32::try_from(rate.0 / 8).unwrap_or(u32::MAX)
}

impl Netlink {
    /// The rates of the interfaces that netpath limits, as [`rate_bytes`].
    ///
    /// # Errors
    /// The request failed.
    pub async fn limits(&self) -> Result<HashMap<u32, u32>, Error> {
        let request = self.handle.qdisc().get().execute();
        let all: Vec<TcMessage> = request
            .try_collect()
            .await
            .map_err(|e| Error::request("reading bandwidth limits", &e))?;
        let ours = all.iter().filter(|m| m.header.handle == HANDLE);
        let limit = |m: &TcMessage| Some((m.header.index.cast_unsigned(), limit_of(m)?));
        Ok(ours.filter_map(limit).collect())
    }

    /// Limits what an interface sends; `None` takes netpath's limit away, and is fine without one.
    ///
    /// # Errors
    /// The kernel refused: it may lack tbf (`CONFIG_NET_SCH_TBF`).
    pub async fn shape(&self, index: u32, rate: Option<Rate>) -> Result<(), Error> {
        let mut message = TcMessage::with_index(index.cast_signed());
        message.header.parent = TcHandle::ROOT;
        message.header.handle = HANDLE;
        let Some(rate) = rate else {
            let what = format!("taking the bandwidth limit from interface {index}");
            let request = RouteNetlinkMessage::DelQueueDiscipline(message);
            return match self.traffic_control(request, 0).await {
                // None, or another's.
                Err(Errno::ENOENT | Errno::EINVAL | Errno::ENODEV) => Ok(()),
                other => other.map_err(|e| Error::Request {
                    what,
                    source: e.into(),
                }),
            };
        };
        let option = |kind, bytes| TcOption::Other(DefaultNla::new(kind, bytes));
        message.attributes = vec![
            TcAttribute::Kind("tbf".into()),
            TcAttribute::Options(vec![
                option(TCA_TBF_PARMS, parameters(rate)),
                option(TCA_TBF_BURST, burst(rate).to_ne_bytes().to_vec()),
                option(TCA_TBF_RATE64, (rate.0 / 8).to_ne_bytes().to_vec()),
            ]),
        ];
        let request = RouteNetlinkMessage::NewQueueDiscipline(message);
        let flags = NLM_F_CREATE | NLM_F_REPLACE;
        let done = self.traffic_control(request, flags).await;
        done.map_err(|e| Error::Request {
            what: format!("limiting interface {index} to {rate}"),
            source: e.into(),
        })
    }

    async fn traffic_control(&self, request: RouteNetlinkMessage, flags: u16) -> Result<(), Errno> {
        let mut message = NetlinkMessage::from(request);
        message.header.flags = NLM_F_REQUEST | NLM_F_ACK | flags;
        let mut handle = self.handle.clone();
        let mut answers = handle.request(message).map_err(|_| Errno::EPIPE)?;
        while let Some(answer) = answers.next().await {
            if let NetlinkPayload::Error(e) = answer.payload
                && let Some(code) = e.code
            {
                return Err(Errno::from_raw(-code.get()));
            }
        }
        Ok(())
    }
}

/// The rate of a token bucket, in bytes.
fn limit_of(message: &TcMessage) -> Option<u32> {
    let options = message.attributes.iter().find_map(|a| match a {
        TcAttribute::Options(options) => Some(options),
        _ => None,
    });
    // Of a kind that the library does not know they are as the kernel has sent them.
    let Some(TcOption::Other(nested)) = options?.first() else {
        return None;
    };
    let mut bytes = vec![0; nested.value_len()];
    nested.emit_value(&mut bytes);
    let mut all = NlasIterator::new(&bytes).filter_map(Result::ok);
    let parameters = all.find(|nla| nla.kind() == TCA_TBF_PARMS)?;
    let rate = parameters.value().get(RATE_AT..RATE_AT + 4)?;
    Some(u32::from_ne_bytes(rate.try_into().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_burst_holds_a_super_packet_and_ten_milliseconds() {
        assert_eq!(burst(Rate(10_000_000)), 72 * 1024);
        assert_eq!(burst(Rate(1_000_000_000)), 1_250_000);
        assert_eq!(queue(Rate(1_000_000_000)), 12_500_000 + 1_250_000);
        assert_eq!(queue(Rate(1_000_000_000_000)), u32::MAX);
    }

    #[test]
    fn parameters_are_the_kernels_structure() {
        let bytes = parameters(Rate(80_000));
        assert_eq!(bytes.len(), 36);
        assert_eq!(bytes[8..12], 10_000_u32.to_ne_bytes());
        assert_eq!(bytes[24..28], queue(Rate(80_000)).to_ne_bytes());
    }
}
