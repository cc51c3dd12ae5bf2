//! XDP at the uplinks: which of them have it, by what their networks ask for.
//!
//! Owns the choice between tc and XDP. Attaching is [`crate::bpf`]'s.

use super::{Error, work::Work};
use crate::{
    bpf::{Datapath, XdpProgram, XdpTarget},
    config::UplinkHook,
    ct,
    net::{self, listeners, sysctl},
    state::{Network, State, Uplink},
};

/// Drivers on which `uplink_hook = "auto"` takes XDP where early drop is asked for: those whose
/// native XDP netpath's own tests run on. `uplink_hook = "xdp"` takes any driver that has it.
pub(super) const TESTED_DRIVERS: &[&str] = &["veth"];

/// Connections that the kernel's conntrack holds in this namespace; absent without the module.
const KERNEL_CONNTRACK: &str = "net/netfilter/nf_conntrack_count";

/// What the networks of one uplink ask of it.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(super) struct Ask<'a> {
    /// A network that wants XDP, or nothing.
    xdp: Option<&'a str>,
    /// A network that wants tc.
    tc: Option<&'a str>,
    /// Early drop is wanted where it is known to work.
    early_drop: bool,
    /// A network that wants its packets translated there too.
    translate: Option<&'a str>,
}

impl<'a> Ask<'a> {
    fn add(&mut self, n: &'a Network) {
        match n.uplink_hook {
            UplinkHook::Xdp => {
                self.xdp = Some(&n.name);
                if n.xdp_translate {
                    self.translate = Some(&n.name);
                }
            }
            UplinkHook::Tc => self.tc = Some(&n.name),
            UplinkHook::Auto => self.early_drop |= n.early_drop,
        }
    }

    /// The program for an uplink with this driver.
    fn program(self, uplink: &str, driver: &str) -> Result<Option<XdpProgram>, Error> {
        match (self.xdp, self.tc) {
            (Some(xdp), Some(tc)) => Err(Error::HookConflict {
                uplink: uplink.into(),
                xdp: xdp.into(),
                tc: tc.into(),
            }),
            (Some(_), None) if self.translate.is_some() => Ok(Some(XdpProgram::Translate)),
            (Some(_), None) => Ok(Some(XdpProgram::EarlyDrop)),
            (None, Some(_)) => Ok(None),
            (None, None) => Ok((self.early_drop && TESTED_DRIVERS.contains(&driver))
                .then_some(XdpProgram::EarlyDrop)),
        }
    }
}

impl Work<'_> {
    /// Attaches and detaches XDP programs as the networks ask, at the uplinks that are in use.
    pub(super) async fn sync_xdp(&mut self) -> Result<(), Error> {
        let networks = self.state.networks.clone();
        let mut uses = Vec::new();
        for wish in self.wishes() {
            let used = self.instance.netlink.uplinks(wish, &[]).await?;
            uses.push((wish.clone(), used));
        }
        for uplink in self.state.uplinks.clone() {
            let mut ask = None;
            for n in networks.iter().filter(|n| !n.internal) {
                let used = uses.iter().filter(|(wish, _)| *wish == n.uplinks);
                if used
                    .flat_map(|(_, used)| used)
                    .any(|u| u.index == uplink.ifindex)
                {
                    ask.get_or_insert_with(Ask::default).add(n);
                }
            }
            // One that no network names any more stays as it is while it is kept.
            let Some(ask) = ask else { continue };
            // Not asked where nothing depends on it: not every device has a driver that says.
            let driver = if ask == Ask::default() {
                String::new()
            } else {
                driver(&uplink.name)
            };
            let wanted = ask.program(&uplink.name, &driver)?;
            match self.put_xdp(&uplink, wanted, ask, &driver).await {
                // Nobody has insisted.
                Err(e) if ask.xdp.is_none() => tracing::warn!("{e}"),
                done => done?,
            }
        }
        Ok(())
    }

    async fn put_xdp(
        &mut self,
        uplink: &Uplink,
        wanted: Option<XdpProgram>,
        ask: Ask<'_>,
        driver: &str,
    ) -> Result<(), Error> {
        let datapath = self.datapath()?;
        let now = datapath.xdp_at(uplink.ifindex)?;
        if now != wanted {
            match wanted {
                None => datapath.detach_xdp(uplink.ifindex)?,
                Some(program) => {
                    let link = self.instance.netlink.link_by_index(uplink.ifindex).await?;
                    if let (Some(network), Some(link)) = (ask.translate, &link) {
                        self.instance.check_peer(network, link).await?;
                    }
                    let target = XdpTarget {
                        ifname: &uplink.name,
                        ifindex: uplink.ifindex,
                        driver,
                        found: link.and_then(|l| l.xdp).filter(|_| now.is_none()),
                    };
                    if now.is_none() {
                        tracing::warn!(
                            "attaching XDP to uplink {} (driver {driver}): some drivers reset the \
                             link for it, which interrupts its traffic for a moment",
                            uplink.name
                        );
                    }
                    // What has sent before the hooks were there waits for answers all the same.
                    let mut ports = listeners::local_ports()?;
                    ports.extend(ct::reply_ports(&datapath)?);
                    datapath.mark_used(&ports)?;
                    datapath.attach_xdp(program, target)?;
                    if let Some(text) = foreign_nat() {
                        tracing::warn!("{text}");
                    }
                }
            }
        }
        if let Some(stored) = self
            .state
            .uplinks
            .iter_mut()
            .find(|u| u.slot == uplink.slot)
        {
            stored.xdp = wanted;
        }
        Ok(())
    }
}

/// The driver's name; a device that does not say has none of the names that count.
fn driver(ifname: &str) -> String {
    net::driver(ifname).unwrap_or_else(|_| "unknown".into())
}

/// The hook of an uplink in words, for `status`.
pub(super) fn hook_in_use(datapath: &Datapath, uplink: &Uplink) -> Result<&'static str, Error> {
    Ok(match datapath.xdp_at(uplink.ifindex)? {
        None => "tc",
        Some(XdpProgram::EarlyDrop) => "tc, xdp",
        Some(XdpProgram::Translate) => "tc, xdp with translation",
    })
}

/// What `status` has to say about XDP.
pub(super) fn warnings(state: &State) -> Vec<String> {
    let mut warnings = Vec::new();
    let eager = |n: &&Network| n.early_drop && n.uplink_hook == UplinkHook::Auto && !n.internal;
    if let Some(n) = state.networks.iter().find(eager) {
        for u in state.uplinks.iter().filter(|u| u.xdp.is_none()) {
            warnings.push(format!(
                "network {} asks for early drop, but the driver of uplink {} ({}) is not among \
                 those that it was tested on ({}); set uplink_hook = \"xdp\" to use it all the same",
                n.name,
                u.name,
                driver(&u.name),
                TESTED_DRIVERS.join(", ")
            ));
        }
    }
    if state.uplinks.iter().any(|u| u.xdp.is_some()) {
        warnings.extend(foreign_nat());
    }
    warnings
}

/// Whether another NAT may be at work here: its flows have neither a socket nor an entry of
/// netpath's, so they look like packets to ports that nobody has.
fn foreign_nat() -> Option<String> {
    let count = sysctl::read_optional(KERNEL_CONNTRACK).ok().flatten()?;
    if count == "0" {
        return None;
    }
    Some(format!(
        "the kernel's conntrack holds {count} connections: where iptables or nftables translate to \
         or from this host's addresses, XDP lets no more than {} packets a second and CPU of those \
         flows through; set uplink_hook = \"tc\" if they do",
        netpath_common::datapath::REFUSED_PER_SECOND
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ask(xdp: bool, tc: bool, early_drop: bool) -> Ask<'static> {
        Ask {
            xdp: xdp.then_some("x"),
            tc: tc.then_some("t"),
            early_drop,
            translate: None,
        }
    }

    #[test]
    fn auto_is_tc_unless_early_drop_is_asked_for_on_a_tested_driver() {
        let early = Some(XdpProgram::EarlyDrop);
        let of = |a: Ask<'_>, driver| a.program("eth0", driver).unwrap();
        assert_eq!(of(ask(false, false, false), "veth"), None);
        assert_eq!(of(ask(false, false, true), "veth"), early);
        assert_eq!(of(ask(false, false, true), "e1000e"), None);
        assert_eq!(of(ask(true, false, false), "e1000e"), early);
        assert_eq!(of(ask(false, true, true), "veth"), None);
        let translate = Ask {
            translate: Some("x"),
            ..ask(true, false, false)
        };
        assert_eq!(of(translate, "e1000e"), Some(XdpProgram::Translate));
    }

    #[test]
    fn two_networks_that_disagree_are_told() {
        let e = ask(true, true, false)
            .program("eth0", "veth")
            .unwrap_err()
            .to_string();
        assert!(
            e.contains("uplink eth0") && e.contains("`x`") && e.contains("`t`"),
            "{e}"
        );
    }
}
