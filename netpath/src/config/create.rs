//! A network by a command, in Docker's words.
//!
//! Owns which options of `docker network create` there are. What the values may be is for the
//! configuration's own checks.

use super::{Error, Network, raw, rules, validate};

/// Options of `network create`.
#[derive(Clone, Debug, Default)]
pub struct NetworkOptions {
    /// Its name.
    pub name: String,
    /// Its bridge.
    pub bridge: String,
    /// `--driver`.
    pub driver: Option<String>,
    /// `--subnet`, one of each family.
    pub subnets: Vec<String>,
    /// `--gateway`, one of each family.
    pub gateways: Vec<String>,
    /// `--internal`.
    pub internal: bool,
    /// `--opt KEY=VALUE`.
    pub options: Vec<String>,
}

impl NetworkOptions {
    /// The checked network, without endpoints.
    ///
    /// # Errors
    /// The first option that is wrong.
    pub fn check(self) -> Result<Network, Error> {
        let mut raw = raw::Network {
            name: self.name.clone(),
            bridge: Some(self.bridge.clone()),
            driver: self.driver.clone(),
            internal: Some(self.internal),
            ..raw::Network::default()
        };
        self.one_of_each("--subnet", &self.subnets, &mut raw.subnet, &mut raw.ipv6)?;
        let gateways = (&mut raw.gateway, &mut raw.gateway6);
        self.one_of_each("--gateway", &self.gateways, gateways.0, gateways.1)?;
        for option in &self.options {
            self.option(option, &mut raw)?;
        }
        let network = validate::network(raw)?;
        rules::addresses(&network)?;
        Ok(network)
    }

    fn invalid(&self, key: &'static str, value: &str, reason: impl Into<String>) -> Error {
        Error::Invalid {
            object: format!("network `{}`", self.name),
            key,
            value: format!("{value:?}"),
            reason: reason.into(),
        }
    }

    fn one_of_each(
        &self,
        key: &'static str,
        values: &[String],
        v4: &mut Option<String>,
        v6: &mut Option<String>,
    ) -> Result<(), Error> {
        for value in values {
            let family = if value.contains(':') {
                &mut *v6
            } else {
                &mut *v4
            };
            if let Some(first) = family.replace(value.clone()) {
                let reason = format!("{first} is of the same family; give one of each");
                return Err(self.invalid(key, value, reason));
            }
        }
        Ok(())
    }

    fn option(&self, option: &str, raw: &mut raw::Network) -> Result<(), Error> {
        let (key, value) = option
            .split_once('=')
            .ok_or_else(|| self.invalid("--opt", option, "the form is KEY=VALUE"))?;
        let truth = || {
            let wrong = |_| self.invalid("--opt", option, "the values are true, false");
            value.parse::<bool>().map_err(wrong)
        };
        let text = || Some(value.to_owned());
        match key {
            "com.docker.network.bridge.name" => raw.bridge = text(),
            "com.docker.network.bridge.enable_icc" => raw.icc = Some(truth()?),
            "com.docker.network.bridge.enable_ip_masquerade" => raw.masquerade = Some(truth()?),
            "com.docker.network.bridge.host_binding_ipv4" => raw.host_binding_ipv4 = text(),
            "com.docker.network.host_ipv4" => raw.snat = text(),
            "com.docker.network.host_ipv6" => raw.snat6 = text(),
            "com.docker.network.driver.mtu" => {
                let wrong = |_| self.invalid("--opt", option, "the value is a number of bytes");
                raw.mtu = Some(value.parse().map_err(wrong)?);
            }
            "com.docker.network.bridge.gateway_mode_ipv4"
            | "com.docker.network.bridge.gateway_mode_ipv6"
                if value == "isolated" =>
            {
                raw.isolated = Some(true);
            }
            "com.docker.network.bridge.gateway_mode_ipv4"
            | "com.docker.network.bridge.gateway_mode_ipv6" => {
                if raw
                    .mode
                    .replace(value.to_owned())
                    .is_some_and(|other| other != value)
                {
                    let reason = "both families have the same mode here; give both the same";
                    return Err(self.invalid("--opt", option, reason));
                }
            }
            _ => {
                let reason = "the options are com.docker.network.bridge.name, .enable_icc, \
                              .enable_ip_masquerade, .host_binding_ipv4, .gateway_mode_ipv4 and \
                              _ipv6, and com.docker.network.driver.mtu, .host_ipv4 and .host_ipv6";
                return Err(self.invalid("--opt", option, reason));
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::{super::Mode, *};

    fn options(subnets: &[&str], opts: &[&str]) -> NetworkOptions {
        let own = |all: &[&str]| all.iter().map(|s| (*s).to_owned()).collect();
        NetworkOptions {
            name: "n".into(),
            bridge: "br-1".into(),
            subnets: own(subnets),
            options: own(opts),
            ..NetworkOptions::default()
        }
    }

    #[test]
    fn dockers_options() {
        let o = options(
            &["fd00:17::/64", "10.1.0.0/24"],
            &[
                "com.docker.network.bridge.enable_icc=false",
                "com.docker.network.driver.mtu=1400",
                "com.docker.network.bridge.gateway_mode_ipv6=routed",
            ],
        );
        let gateways = vec!["10.1.0.9".to_owned(), "fd00:17::9".to_owned()];
        let n = NetworkOptions { gateways, ..o }.check().unwrap();
        assert_eq!(n.subnet, "10.1.0.0/24".parse().ok());
        assert_eq!(n.ipv6, "fd00:17::/64".parse().ok());
        assert_eq!(n.gateway, "10.1.0.9".parse().ok());
        assert_eq!(n.gateway6, "fd00:17::9".parse().ok());
        assert_eq!((n.icc, n.mtu, n.mode), (false, Some(1400), Mode::Routed));
        assert_eq!(n.bridge, "br-1");
    }

    #[test]
    fn refusals_name_the_option() {
        for (subnets, opts, why) in [
            (
                &["10.1.0.0/24", "10.2.0.0/24"][..],
                &[][..],
                "--subnet = \"10.2.0.0/24\"",
            ),
            (&["fd00::1/64"], &[], "write fd00::/64"),
            (&[], &["colour=red"], "--opt = \"colour=red\""),
            (
                &[],
                &["com.docker.network.driver.mtu=big"],
                "a number of bytes",
            ),
            (
                &[],
                &["com.docker.network.bridge.enable_icc=yes"],
                "the values are true, false",
            ),
            (
                &[],
                &["com.docker.network.bridge.gateway_mode_ipv4=magic"],
                "nat, routed",
            ),
            (
                &[],
                &["com.docker.network.bridge.gateway_mode_ipv4=isolated"],
                "internal",
            ),
        ] {
            let e = options(subnets, opts).check().unwrap_err().to_string();
            assert!(e.starts_with("network `n`: ") && e.contains(why), "{e}");
        }
    }
}
