//! Names in an instance's `links` directory.
//!
//! Owns their form: `HOOK-IFINDEX` is a tcx link, `clsact-HOOK-IFINDEX` a program that a filter
//! runs (`clsact-new-...` if netpath also made the qdisc), `cgroup-PROGRAM` a cgroup link,
//! `np_uplink_xdp-IFINDEX` (any XDP program by its name) an XDP link.

use std::{fmt, io};

use nix::net::if_::if_indextoname;

use super::{Hook, xdp::XdpProgram};

const HOOKS: [Hook; 7] = [
    Hook::Veth,
    Hook::Bridge,
    Hook::UplinkIngress,
    Hook::UplinkEgress,
    Hook::Loopback,
    Hook::TunnelIngress,
    Hook::TunnelEgress,
];

/// What a pin in `links` stands for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum LinkName {
    /// A tcx link.
    Tcx(Hook, u32),
    /// The program of a clsact filter.
    Clsact {
        hook: Hook,
        ifindex: u32,
        made_qdisc: bool,
    },
    /// A cgroup link, by program.
    Cgroup(String),
    /// An XDP link.
    Xdp(XdpProgram, u32),
}

impl LinkName {
    /// Every form that an attachment can have.
    pub(super) fn of(hook: Hook, ifindex: u32) -> Vec<Self> {
        if matches!(hook, Hook::Xdp) {
            return XdpProgram::ALL.map(|p| Self::Xdp(p, ifindex)).to_vec();
        }
        vec![
            Self::Tcx(hook, ifindex),
            Self::Clsact {
                hook,
                ifindex,
                made_qdisc: false,
            },
            Self::Clsact {
                hook,
                ifindex,
                made_qdisc: true,
            },
        ]
    }

    pub(super) fn parse(name: &str) -> Option<Self> {
        if let Some(program) = name.strip_prefix("cgroup-") {
            return Some(Self::Cgroup(program.to_owned()));
        }
        if let Some(rest) = name.strip_prefix("clsact-") {
            let (rest, made_qdisc) = rest
                .strip_prefix("new-")
                .map_or((rest, false), |rest| (rest, true));
            let (hook, ifindex) = parse_hook(rest)?;
            return Some(Self::Clsact {
                hook,
                ifindex,
                made_qdisc,
            });
        }
        if let Some((program, ifindex)) = parse_xdp(name) {
            return Some(Self::Xdp(program, ifindex));
        }
        let (hook, ifindex) = parse_hook(name)?;
        Some(Self::Tcx(hook, ifindex))
    }

    /// Whether it remembers that netpath has made the clsact qdisc.
    pub(super) const fn made_qdisc(&self) -> bool {
        matches!(
            self,
            Self::Clsact {
                made_qdisc: true,
                ..
            }
        )
    }

    /// The program that is attached.
    pub(super) fn program(&self) -> &str {
        match self {
            Self::Tcx(hook, _) | Self::Clsact { hook, .. } => program_of(*hook),
            Self::Cgroup(program) => program,
            Self::Xdp(program, _) => program.program(),
        }
    }

    /// Hook and interface; `None` for a cgroup.
    pub(super) fn interface(&self) -> Option<(Hook, u32)> {
        match self {
            Self::Tcx(hook, ifindex) | Self::Clsact { hook, ifindex, .. } => {
                Some((*hook, *ifindex))
            }
            Self::Xdp(_, ifindex) => Some((Hook::Xdp, *ifindex)),
            Self::Cgroup(_) => None,
        }
    }

    /// Where it is attached, for messages.
    pub(super) fn target(&self) -> String {
        match self.interface() {
            Some((hook, ifindex)) => {
                let name = ifname(ifindex).unwrap_or_else(|_| format!("interface {ifindex}"));
                format!("{name} ({})", hook.as_str())
            }
            None => "the root cgroup".into(),
        }
    }
}

impl fmt::Display for LinkName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcx(hook, ifindex) => write!(f, "{}-{ifindex}", hook.as_str()),
            Self::Clsact {
                hook,
                ifindex,
                made_qdisc,
            } => {
                let new = if *made_qdisc { "new-" } else { "" };
                write!(f, "clsact-{new}{}-{ifindex}", hook.as_str())
            }
            Self::Cgroup(program) => write!(f, "cgroup-{program}"),
            Self::Xdp(program, ifindex) => write!(f, "{}-{ifindex}", program.program()),
        }
    }
}

/// The program of a tc hook; of the XDP hook the one that does least.
pub(super) const fn program_of(hook: Hook) -> &'static str {
    match hook {
        Hook::Xdp => XdpProgram::EarlyDrop.program(),
        Hook::Veth => "np_veth",
        Hook::Bridge => "np_bridge",
        Hook::UplinkIngress => "np_uplink_in",
        Hook::UplinkEgress => "np_uplink_out",
        Hook::Loopback => "np_lo_in",
        Hook::TunnelIngress => "np_tunnel_in",
        Hook::TunnelEgress => "np_tunnel_out",
    }
}

pub(super) const fn is_egress(hook: Hook) -> bool {
    matches!(hook, Hook::UplinkEgress | Hook::TunnelEgress)
}

/// The name of an interface.
pub(crate) fn ifname(ifindex: u32) -> io::Result<String> {
    let name = if_indextoname(ifindex)?;
    // nix takes the C library's null pointer for success.
    if name.is_empty() {
        return Err(io::Error::from_raw_os_error(libc::ENODEV));
    }
    Ok(name.to_string_lossy().into_owned())
}

fn parse_hook(name: &str) -> Option<(Hook, u32)> {
    let (hook, ifindex) = name.rsplit_once('-')?;
    let hook = HOOKS.into_iter().find(|h| h.as_str() == hook)?;
    Some((hook, ifindex.parse().ok()?))
}

fn parse_xdp(name: &str) -> Option<(XdpProgram, u32)> {
    let (program, ifindex) = name.rsplit_once('-')?;
    let program = XdpProgram::ALL
        .into_iter()
        .find(|p| p.program() == program)?;
    Some((program, ifindex.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_survive_a_round_trip() {
        for hook in HOOKS.into_iter().chain([Hook::Xdp]) {
            for name in LinkName::of(hook, 17) {
                assert_eq!(LinkName::parse(&name.to_string()), Some(name.clone()));
                assert_eq!(name.interface(), Some((hook, 17)));
            }
        }
        let cgroup = LinkName::Cgroup("np_connect4".into());
        assert_eq!(cgroup.to_string(), "cgroup-np_connect4");
        assert_eq!(LinkName::parse("cgroup-np_connect4"), Some(cgroup));
        assert_eq!(
            LinkName::parse("uplink-out-9"),
            Some(LinkName::Tcx(Hook::UplinkEgress, 9))
        );
        for foreign in ["", "veth", "veth-x", "tap-3", "clsact-3"] {
            assert_eq!(LinkName::parse(foreign), None, "{foreign}");
        }
    }
}
