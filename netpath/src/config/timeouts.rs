//! `[limits]` and `[timeouts]`: the table's size and the flows' lifetimes.

use std::time::Duration;

use netpath_common::{conntrack::tcp::TcpState, records::Timeouts};

use super::{Error, raw};

/// Fewest flows that the conntrack table may hold.
pub const CONNTRACK_MIN: u32 = 65_536;
/// Most flows that the conntrack table may hold.
pub const CONNTRACK_MAX: u32 = 1_048_576;
/// Bytes of memory for each flow of the default.
const MEMORY_PER_FLOW: u64 = 16_384;

/// The default number of flows on a machine with `memory` bytes.
#[must_use]
pub fn default_conntrack(memory: u64) -> u32 {
    u32::try_from(memory / MEMORY_PER_FLOW)
        .unwrap_or(u32::MAX)
        .clamp(CONNTRACK_MIN, CONNTRACK_MAX)
}

pub(super) fn conntrack(limits: &raw::Limits) -> Result<Option<u32>, Error> {
    let Some(n) = limits.conntrack else {
        return Ok(None);
    };
    match u32::try_from(n) {
        Ok(n) if (CONNTRACK_MIN..=CONNTRACK_MAX).contains(&n) => Ok(Some(n)),
        _ => Err(Error::Invalid {
            object: "[limits]".into(),
            key: "conntrack",
            value: n.to_string(),
            reason: format!("the number of flows lies within {CONNTRACK_MIN} and {CONNTRACK_MAX}"),
        }),
    }
}

pub(super) fn timeouts(raw: &raw::Timeouts) -> Result<Timeouts, Error> {
    let mut t = match raw.profile.as_deref() {
        None | Some("kernel") => Timeouts::KERNEL,
        Some("rfc") => Timeouts::RFC,
        Some(other) => {
            return Err(invalid(
                "profile",
                other,
                "the profiles are kernel and rfc".into(),
            ));
        }
    };
    let tcp = |state: TcpState| state as usize;
    let fields: [(&'static str, &Option<String>, &mut u32); 5] = [
        ("tcp_pickup", &raw.tcp_pickup, &mut t.tcp_pickup),
        ("udp", &raw.udp, &mut t.udp),
        ("udp_stream", &raw.udp_stream, &mut t.udp_stream),
        ("icmp", &raw.icmp, &mut t.icmp),
        ("frag", &raw.frag, &mut t.frag),
    ];
    for (key, text, out) in fields {
        if let Some(text) = text {
            *out = millis(key, text)?;
        }
    }
    let states: [(&'static str, &Option<String>, usize); 8] = [
        ("tcp_syn_sent", &raw.tcp_syn_sent, tcp(TcpState::SynSent)),
        ("tcp_syn_recv", &raw.tcp_syn_recv, tcp(TcpState::SynRecv)),
        (
            "tcp_established",
            &raw.tcp_established,
            tcp(TcpState::Established),
        ),
        ("tcp_fin_wait", &raw.tcp_fin_wait, tcp(TcpState::FinWait)),
        (
            "tcp_close_wait",
            &raw.tcp_close_wait,
            tcp(TcpState::CloseWait),
        ),
        ("tcp_last_ack", &raw.tcp_last_ack, tcp(TcpState::LastAck)),
        ("tcp_time_wait", &raw.tcp_time_wait, tcp(TcpState::TimeWait)),
        ("tcp_close", &raw.tcp_close, tcp(TcpState::Close)),
    ];
    for (key, text, state) in states {
        if let Some(text) = text {
            t.tcp[state] = millis(key, text)?;
        }
    }
    Ok(t)
}

fn millis(key: &'static str, text: &str) -> Result<u32, Error> {
    let d: Duration = humantime::parse_duration(text).map_err(|e| {
        invalid(
            key,
            text,
            format!("{e}; write a duration such as 30s, 5m or 5d"),
        )
    })?;
    match u32::try_from(d.as_millis()) {
        Ok(ms) if ms >= 1000 => Ok(ms),
        _ => Err(invalid(
            key,
            text,
            "a lifetime lies within 1s and 49d".into(),
        )),
    }
}

fn invalid(key: &'static str, value: &str, reason: String) -> Error {
    Error::Invalid {
        object: "[timeouts]".into(),
        key,
        value: format!("{value:?}"),
        reason,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn default_follows_memory_within_bounds() {
        assert_eq!(default_conntrack(0), CONNTRACK_MIN);
        assert_eq!(default_conntrack(4 << 30), 262_144);
        assert_eq!(default_conntrack(u64::MAX), CONNTRACK_MAX);
    }

    #[test]
    fn overrides_apply_to_the_profile() {
        let raw = raw::Timeouts {
            profile: Some("rfc".into()),
            tcp_established: Some("5d".into()),
            udp: Some("45s".into()),
            ..Default::default()
        };
        let t = timeouts(&raw).unwrap();
        assert_eq!(t.tcp[TcpState::Established as usize], 432_000_000);
        assert_eq!(t.udp, 45_000);
        assert_eq!(t.icmp, 60_000);
        // RFC 7857, 2.2: a connection is kept after its reset.
        assert_eq!(t.tcp[TcpState::Close as usize], 240_000);
        let bad = |text: &str| {
            timeouts(&raw::Timeouts {
                icmp: Some(text.into()),
                ..Default::default()
            })
            .is_err()
        };
        assert!(bad("soon") && bad("10ms") && bad("10years") && !bad("1m"));
    }
}
