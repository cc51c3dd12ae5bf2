//! How flows are printed: the conntrack tool's lines, or JSON.
//!
//! Owns the text. Chooses no flows.

use std::fmt::Write as _;

use netpath_common::{
    Tuple,
    conntrack::{CtEntry, age_ns, tcp::TcpState},
    records::Timeouts,
    tuple::{DCCP, GRE, SCTP, TCP, UDP, UDPLITE, has_ports},
};
use serde_json::{Value, json};

use super::Flow;
use crate::bpf::Family;

/// How flows look.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Style {
    /// One line a flow.
    Plain,
    /// The same with the network protocol and the counters.
    Extended,
    /// A JSON array of objects.
    Json,
}

/// Prints flows part by part.
pub(super) struct Printer {
    style: Style,
    timeouts: Timeouts,
    printed: usize,
}

impl Printer {
    pub(super) const fn new(style: Style, timeouts: Timeouts) -> Self {
        Self {
            style,
            timeouts,
            printed: 0,
        }
    }

    /// The text of the next flows.
    pub(super) fn part<A: Family>(&mut self, flows: &[Flow<A>], now: u64) -> String {
        let mut text = String::new();
        let t = &self.timeouts;
        for flow in flows {
            match self.style {
                Style::Plain | Style::Extended => {
                    line(&mut text, flow, t, now, self.style == Style::Extended);
                    text.push('\n');
                }
                Style::Json => {
                    text.push_str(if self.printed == 0 { "[\n" } else { ",\n" });
                    // Writing to a String cannot fail.
                    let _ = write!(text, "{:#}", object(flow, t, now));
                }
            }
            self.printed += 1;
        }
        text
    }

    /// What comes after the last flow.
    pub(super) const fn end(&self) -> &'static str {
        match (self.style, self.printed) {
            (Style::Plain | Style::Extended, _) => "",
            (Style::Json, 0) => "[]\n",
            (Style::Json, _) => "\n]\n",
        }
    }

    /// How many flows there were.
    pub(super) const fn printed(&self) -> usize {
        self.printed
    }
}

/// The flow as the conntrack tool prints it, without its counters.
pub(super) fn plain_line<A: Family>(flow: &Flow<A>, t: &Timeouts, now: u64) -> String {
    let mut text = String::new();
    line(&mut text, flow, t, now, false);
    text
}

fn line<A: Family>(out: &mut String, flow: &Flow<A>, t: &Timeouts, now: u64, extended: bool) {
    let proto = flow.tuple.proto;
    let left = flow.remaining_ns(t, now) / 1_000_000_000;
    // Writing to a String cannot fail.
    if extended {
        let _ = write!(out, "{:<8} {} ", A::NAME, A::NUMBER);
    }
    let _ = write!(out, "{:<8} {proto} {left} ", name::<A>(proto));
    if let Some(state) = state(flow) {
        let _ = write!(out, "{state} ");
    }
    tuple(out, &flow.tuple);
    if extended {
        counters(out, flow.index.as_ref());
    }
    if !flow.is_answered() {
        out.push_str("[UNREPLIED] ");
    }
    tuple(out, &flow.reply);
    if extended {
        counters(out, Some(&flow.record));
    }
    if flow.is_assured() {
        out.push_str("[ASSURED] ");
    }
    out.push_str("mark=0 use=1");
}

fn tuple<A: Family>(out: &mut String, t: &Tuple<A>) {
    let _ = write!(out, "src={} dst={} ", t.src.ip(), t.dst.ip());
    let _ = match t.proto {
        proto if proto == A::ICMP => {
            write!(out, "type={} code=0 id={} ", t.icmp_type, t.sport)
        }
        GRE => write!(out, "srckey=0x0 dstkey=0x0 "),
        proto if has_ports(proto) => write!(out, "sport={} dport={} ", t.sport, t.dport),
        _ => Ok(()),
    };
}

fn counters<A: Family>(out: &mut String, entry: Option<&CtEntry<A>>) {
    let (packets, bytes) = entry.map_or((0, 0), |e| (e.packets, e.bytes));
    let _ = write!(out, "packets={packets} bytes={bytes} ");
}

fn object<A: Family>(flow: &Flow<A>, t: &Timeouts, now: u64) -> Value {
    let mut value = json!({
        "family": A::NAME,
        "protocol": name::<A>(flow.tuple.proto),
        "protonum": flow.tuple.proto,
        "timeout": flow.remaining_ns(t, now) / 1_000_000_000,
        "original": direction(&flow.tuple, flow.index.as_ref()),
        "reply": direction(&flow.reply, Some(&flow.record)),
        "unreplied": !flow.is_answered(),
        "assured": flow.is_assured(),
        "age": age_ns(flow.record.created, now) / 1_000_000_000,
    });
    if let Some(state) = state(flow) {
        value["state"] = state.into();
    }
    value
}

fn direction<A: Family>(t: &Tuple<A>, entry: Option<&CtEntry<A>>) -> Value {
    let mut value = json!({
        "src": t.src.ip(),
        "dst": t.dst.ip(),
        "packets": entry.map_or(0, |e| e.packets),
        "bytes": entry.map_or(0, |e| e.bytes),
    });
    let members = if t.proto == A::ICMP {
        [
            ("type", u16::from(t.icmp_type)),
            ("code", 0),
            ("id", t.sport),
        ]
        .to_vec()
    } else if has_ports(t.proto) {
        [("sport", t.sport), ("dport", t.dport)].to_vec()
    } else {
        Vec::new()
    };
    for (member, number) in members {
        value[member] = number.into();
    }
    value
}

/// The state of a connection, as the conntrack tool names it. SCTP and DCCP are tracked by the states of
/// TCP, of which several may be one of theirs.
fn state<A: Family>(flow: &Flow<A>) -> Option<&'static str> {
    use TcpState::{
        Close, CloseWait, Established, FinWait, LastAck, SynRecv, SynSent, SynSent2, TimeWait,
    };
    let state = flow.record.tcp_state();
    Some(match (flow.tuple.proto, state) {
        (TCP, _) => state.as_str(),
        (SCTP, SynSent | SynSent2) => "COOKIE_WAIT",
        (SCTP, SynRecv) => "COOKIE_ECHOED",
        (SCTP | DCCP, TcpState::None) => "NONE",
        (SCTP, Established) => "ESTABLISHED",
        (SCTP, FinWait | CloseWait) => "SHUTDOWN_SENT",
        (SCTP, LastAck) => "SHUTDOWN_ACK_SENT",
        (SCTP, TimeWait | Close) => "CLOSED",
        (DCCP, SynSent | SynSent2) => "REQUEST",
        (DCCP, SynRecv) => "RESPOND",
        (DCCP, Established) => "OPEN",
        (DCCP, FinWait | CloseWait | LastAck) => "CLOSING",
        (DCCP, TimeWait | Close) => "TIMEWAIT",
        _ => return None,
    })
}

/// The protocol's name in the conntrack tool.
pub(super) fn name<A: Family>(proto: u8) -> &'static str {
    match proto {
        TCP => "tcp",
        UDP => "udp",
        _ if proto == A::ICMP => A::ICMP_NAME,
        SCTP => "sctp",
        DCCP => "dccp",
        UDPLITE => "udplite",
        GRE => "gre",
        _ => "unknown",
    }
}

#[cfg(test)]
mod tests {
    use netpath_common::conntrack::{STATE_ASSURED, STATE_SEEN_REPLY, tcp::TcpState};

    use super::{
        super::testing::{NOW, echo, echo6, masqueraded, masqueraded6},
        *,
    };

    fn printed<A: Family>(flow: &Flow<A>) -> String {
        plain_line(flow, &Timeouts::KERNEL, NOW)
    }

    #[test]
    fn lines_are_conntracks() {
        let mut flow = masqueraded();
        assert_eq!(
            printed(&flow),
            "tcp      6 431999 ESTABLISHED src=172.17.0.2 dst=198.51.100.2 sport=40000 dport=80 \
             src=198.51.100.2 dst=198.51.100.1 sport=80 dport=40000 [ASSURED] mark=0 use=1"
        );
        flow.record.state = TcpState::SynSent as u32;
        assert_eq!(
            printed(&flow),
            "tcp      6 119 SYN_SENT src=172.17.0.2 dst=198.51.100.2 sport=40000 dport=80 \
             [UNREPLIED] src=198.51.100.2 dst=198.51.100.1 sport=80 dport=40000 mark=0 use=1"
        );
        flow.tuple.proto = UDP;
        flow.reply.proto = UDP;
        flow.record.state = STATE_SEEN_REPLY;
        assert_eq!(
            printed(&flow),
            "udp      17 119 src=172.17.0.2 dst=198.51.100.2 sport=40000 dport=80 \
             src=198.51.100.2 dst=198.51.100.1 sport=80 dport=40000 [ASSURED] mark=0 use=1"
        );
        assert_eq!(
            printed(&echo()),
            "icmp     1 29 src=172.17.0.2 dst=198.51.100.2 type=8 code=0 id=77 \
             src=198.51.100.2 dst=198.51.100.1 type=0 code=0 id=77 mark=0 use=1"
        );
    }

    #[test]
    fn lines_of_ipv6_are_conntracks() {
        assert_eq!(
            printed(&masqueraded6()),
            "tcp      6 431999 ESTABLISHED src=fd00:17::2 dst=2001:db8:1::1 sport=40000 dport=80 \
             src=2001:db8:1::1 dst=2001:db8:1::10 sport=80 dport=40000 [ASSURED] mark=0 use=1"
        );
        assert_eq!(
            printed(&echo6()),
            "icmpv6   58 29 src=fd00:17::2 dst=2001:db8:1::1 type=128 code=0 id=77 \
             src=2001:db8:1::1 dst=2001:db8:1::10 type=129 code=0 id=77 mark=0 use=1"
        );
        let extended = Printer::new(Style::Extended, Timeouts::KERNEL).part(&[echo6()], NOW);
        assert!(
            extended.starts_with("ipv6     10 icmpv6   58 29 src="),
            "{extended}"
        );
    }

    #[test]
    fn extended_lines_have_the_family_and_the_counters() {
        assert_eq!(
            Printer::new(Style::Extended, Timeouts::KERNEL).part(&[masqueraded()], NOW),
            "ipv4     2 tcp      6 431999 ESTABLISHED src=172.17.0.2 dst=198.51.100.2 sport=40000 \
             dport=80 packets=5 bytes=500 src=198.51.100.2 dst=198.51.100.1 sport=80 dport=40000 \
             packets=4 bytes=4000 [ASSURED] mark=0 use=1\n"
        );
    }

    #[test]
    fn json_says_the_same() {
        let mut printer = Printer::new(Style::Json, Timeouts::KERNEL);
        assert_eq!(printer.end(), "[]\n");
        let mut text = printer.part(&[masqueraded()], NOW);
        text += &printer.part::<netpath_common::V4>(&[], NOW);
        text += &printer.part(&[echo()], NOW);
        text += &printer.part(&[echo6()], NOW);
        text += printer.end();
        assert_eq!(printer.printed(), 3);
        let value: Value = serde_json::from_str(&text).unwrap();
        assert_eq!(value[0]["protocol"], "tcp");
        assert_eq!(value[0]["state"], "ESTABLISHED");
        assert_eq!(value[0]["timeout"], 431_999);
        assert_eq!(value[0]["original"]["src"], "172.17.0.2");
        assert_eq!(value[0]["reply"]["dport"], 40_000);
        assert_eq!(value[0]["reply"]["bytes"], 4000);
        assert_eq!(value[0]["assured"], true);
        assert_eq!(value[1]["original"]["type"], 8);
        assert_eq!(value[1]["reply"]["id"], 77);
        assert_eq!(value[1].get("state"), None);
        assert_eq!(value[1]["family"], "ipv4");
        assert_eq!(value[2]["family"], "ipv6");
        assert_eq!(value[2]["protocol"], "icmpv6");
        assert_eq!(value[2]["original"]["src"], "fd00:17::2");
        assert_eq!(value[2]["reply"]["type"], 129);
    }

    #[test]
    fn an_assured_connection_that_is_closing_shows_its_state() {
        let mut flow = masqueraded();
        flow.record.state = STATE_SEEN_REPLY | STATE_ASSURED | TcpState::TimeWait as u32;
        assert!(printed(&flow).starts_with("tcp      6 119 TIME_WAIT "));
    }
}
