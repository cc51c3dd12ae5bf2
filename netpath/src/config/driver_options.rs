//! Options of a network, `--opt KEY=VALUE`: those of Docker's bridge driver and netpath's own. Each is
//! another name for something of the configuration, or refused with what to do instead.

use super::{Error, raw};

/// What all keys begin with.
const PREFIX: &str = "com.docker.network.";
/// What the keys of netpath's own begin with, as `network inspect` shows them; then comes the
/// configuration's key.
const OWN: &str = "netpath.";
/// What the names of containers' interfaces begin with.
const INTERFACE: &str = "eth";

/// The options of one network that concern more than a value each.
#[derive(Debug)]
pub(super) struct DriverOptions<'a> {
    network: &'a str,
    mode4: Option<String>,
    mode6: Option<String>,
    /// `enable_ipv4`.
    pub(super) ipv4: Option<bool>,
    /// `enable_ipv6`.
    pub(super) ipv6: Option<bool>,
}

impl<'a> DriverOptions<'a> {
    pub(super) const fn new(network: &'a str) -> Self {
        Self {
            network,
            mode4: None,
            mode6: None,
            ipv4: None,
            ipv6: None,
        }
    }

    /// Takes one option.
    pub(super) fn option(
        &mut self,
        key: &str,
        value: &str,
        raw: &mut raw::Network,
    ) -> Result<(), Error> {
        let text = || Some(value.to_owned());
        let truth = || truth(value).ok_or_else(|| self.invalid(key, value, "it is true or false"));
        match key {
            "parent" => {
                raw.parent = text();
                return Ok(());
            }
            "macvlan_mode" => {
                raw.macvlan_mode = text();
                return Ok(());
            }
            "ipvlan_mode" => {
                raw.ipvlan_mode = text();
                return Ok(());
            }
            "ipvlan_flag" if value != "bridge" => {
                let reason = "the one flag is bridge; leave it out, or use macvlan";
                return Err(self.invalid(key, value, reason));
            }
            "ipvlan_flag" => return Ok(()),
            _ => {}
        }
        if let Some(own) = key.strip_prefix(OWN) {
            return self.own(own, key, value, raw);
        }
        match key.strip_prefix(PREFIX).unwrap_or_default() {
            "bridge.name" => raw.bridge = text(),
            "bridge.enable_icc" => raw.icc = Some(truth()?),
            "bridge.enable_ip_masquerade" => raw.masquerade = Some(truth()?),
            "bridge.host_binding_ipv4" => raw.host_binding_ipv4 = text(),
            // Docker has none of this name; its own takes an address of either family.
            "bridge.host_binding_ipv6" => raw.host_binding_ipv6 = text(),
            "host_ipv4" => raw.snat = text(),
            "host_ipv6" => raw.snat6 = text(),
            "driver.mtu" => {
                let bytes = value.parse();
                let wrong = |_| self.invalid(key, value, "it is a number of bytes");
                // As Docker's, 0 leaves it to netpath.
                raw.mtu = Some(bytes.map_err(wrong)?).filter(|mtu| *mtu != 0);
            }
            "enable_ipv4" => self.ipv4 = Some(truth()?),
            "enable_ipv6" => self.ipv6 = Some(truth()?),
            "bridge.gateway_mode_ipv4" => self.mode4 = Some(self.mode(key, value)?),
            "bridge.gateway_mode_ipv6" => self.mode6 = Some(self.mode(key, value)?),
            "bridge.default_bridge" => {
                if truth()? != (raw.name == "bridge") {
                    let reason = "the default network is the one named `bridge`; leave it out";
                    return Err(self.invalid(key, value, reason));
                }
            }
            "bridge.inhibit_ipv4" => {
                if truth()? {
                    let reason = "the bridge is the containers' gateway and has its address; leave \
                                  it out";
                    return Err(self.invalid(key, value, reason));
                }
            }
            "bridge.trusted_host_interfaces" => {
                if !value.is_empty() {
                    let reason = "containers' own addresses are reached from outside in routed \
                                  networks alone; set gateway_mode_ipv4 to routed, and publish with \
                                  allow=CIDR";
                    return Err(self.invalid(key, value, reason));
                }
            }
            "container_iface_prefix" => {
                if value != INTERFACE {
                    let reason = "the interfaces of containers are ethN; leave it out, or give each \
                                  endpoint its ifname";
                    return Err(self.invalid(key, value, reason));
                }
            }
            _ => {
                let reason = "the options are com.docker.network.bridge.name, .enable_icc, \
                              .enable_ip_masquerade, .host_binding_ipv4, .gateway_mode_ipv4 and \
                              _ipv6, and com.docker.network.driver.mtu, .host_ipv4, .host_ipv6, \
                              .enable_ipv4 and .enable_ipv6, of macvlan \
                              and ipvlan parent, macvlan_mode, ipvlan_mode, and netpath.KEY";
                return Err(self.invalid(key, value, reason));
            }
        }
        Ok(())
    }

    /// Takes one of netpath's own, which Docker has no name for.
    fn own(&self, own: &str, key: &str, value: &str, raw: &mut raw::Network) -> Result<(), Error> {
        let text = || Some(value.to_owned());
        let truth = || truth(value).ok_or_else(|| self.invalid(key, value, "it is true or false"));
        let list = || Some(value.split(',').map(|v| v.trim().to_owned()).collect());
        match own {
            "early_drop" => raw.early_drop = Some(truth()?),
            "firewall" => raw.firewall = text(),
            "gso_max_size" => {
                let wrong = |_| self.invalid(key, value, "it is a number of bytes");
                raw.gso_max_size = Some(value.parse().map_err(wrong)?);
            }
            "host_binding_ipv6" => raw.host_binding_ipv6 = text(),
            "mapping" => raw.mapping = text(),
            "no_masquerade" => raw.no_masquerade = list(),
            "port_holder" => raw.port_holder = text(),
            "uplink_hook" => raw.uplink_hook = text(),
            "uplinks" => raw.uplinks = list(),
            "xdp_translate" => raw.xdp_translate = Some(truth()?),
            _ => {
                let reason = "netpath's own are netpath.early_drop, .firewall, .gso_max_size, \
                              .host_binding_ipv6, .mapping, .no_masquerade, .port_holder, \
                              .uplink_hook, .uplinks, .xdp_translate";
                return Err(self.invalid(key, value, reason));
            }
        }
        Ok(())
    }

    /// The mode of one family.
    fn mode(&self, key: &str, value: &str) -> Result<String, Error> {
        let reason = match value {
            "nat" | "routed" | "isolated" => return Ok(value.to_owned()),
            "nat-unprotected" => {
                "nothing of netpath's lets in what is not published; use nat and publish the ports, or \
                 routed"
            }
            _ => "the modes are nat, routed, isolated",
        };
        Err(self.invalid(key, value, reason))
    }

    /// Both families have one mode: says which, when everything else is known.
    pub(super) fn finish(self, raw: &mut raw::Network) -> Result<(), Error> {
        const KEY4: &str = "com.docker.network.bridge.gateway_mode_ipv4";
        const KEY6: &str = "com.docker.network.bridge.gateway_mode_ipv6";
        // What is not said is nat, as with Docker.
        let mode4 = self.mode4.as_deref().unwrap_or("nat");
        let mode6 = self.mode6.as_deref().unwrap_or("nat");
        if mode4 != mode6 && (raw.ipv6.is_some() || self.mode6.is_some()) {
            let (key, value) = match (&self.mode6, mode4) {
                (Some(_), _) => (KEY6, mode6),
                (None, _) => (KEY4, mode4),
            };
            let reason = "both families have the same mode here, and nat is the one of a family that \
                          none is given for; give both the same";
            return Err(self.invalid(key, value, reason));
        }
        match mode4 {
            "isolated" if raw.internal != Some(true) => {
                return Err(self.invalid(KEY4, mode4, "it needs --internal"));
            }
            "isolated" => raw.isolated = Some(true),
            "routed" => raw.mode = Some("routed".into()),
            _ => {}
        }
        Ok(())
    }

    fn invalid(&self, key: &str, value: &str, reason: &str) -> Error {
        Error::Invalid {
            object: format!("network `{}`", self.network),
            key: "--opt",
            value: format!("{:?}", format!("{key}={value}")),
            reason: reason.to_owned(),
        }
    }
}

/// The words of Go's `strconv.ParseBool`.
fn truth(text: &str) -> Option<bool> {
    match text {
        "1" | "t" | "T" | "true" | "TRUE" | "True" => Some(true),
        "0" | "f" | "F" | "false" | "FALSE" | "False" => Some(false),
        _ => None,
    }
}
