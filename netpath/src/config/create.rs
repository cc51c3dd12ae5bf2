//! A network by a command, in Docker's words.
//!
//! Owns which options of `docker network create` there are, and which of them netpath has nothing for.
//! Options of the bridge driver are [`super::driver_options`]'s; what the values may be is for the
//! configuration's own checks.

use super::{
    Driver, Error, Network, Unbridged, driver::driver, driver_options::DriverOptions, raw, rules,
    unbridged::unbridged, validate,
};

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
    /// `--ip-range`, one of each family.
    pub ip_ranges: Vec<String>,
    /// `--aux-address NAME=ADDRESS`.
    pub aux_addresses: Vec<String>,
    /// `--ipv4`.
    pub ipv4: Option<bool>,
    /// `--ipv6`.
    pub ipv6: Option<bool>,
    /// `--internal`.
    pub internal: bool,
    /// `--label NAME[=VALUE]`.
    pub labels: Vec<String>,
    /// `--opt KEY=VALUE`.
    pub options: Vec<String>,
    /// `--scope`.
    pub scope: Option<String>,
    /// `--ingress`.
    pub ingress: bool,
    /// `--config-only`.
    pub config_only: bool,
    /// `--config-from`.
    pub config_from: Option<String>,
    /// `--ipam-driver`.
    pub ipam_driver: Option<String>,
    /// `--ipam-opt KEY=VALUE`.
    pub ipam_options: Vec<String>,
}

/// A checked network of any driver.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum AnyNetwork {
    /// With a bridge.
    Bridged(Box<Network>),
    /// Without one.
    Unbridged(Box<Unbridged>),
}

impl NetworkOptions {
    /// The checked network, without endpoints.
    ///
    /// # Errors
    /// The first option that is wrong.
    pub fn check(self) -> Result<AnyNetwork, Error> {
        self.refuse_swarm()?;
        let mut raw = raw::Network {
            name: self.name.clone(),
            driver: self.driver.clone(),
            internal: Some(self.internal),
            ..raw::Network::default()
        };
        self.one_of_each("--subnet", &self.subnets, &mut raw.subnet, &mut raw.ipv6)?;
        let gateways = (&mut raw.gateway, &mut raw.gateway6);
        self.one_of_each("--gateway", &self.gateways, gateways.0, gateways.1)?;
        let ranges = (&mut raw.ip_range, &mut raw.ip_range6);
        self.one_of_each("--ip-range", &self.ip_ranges, ranges.0, ranges.1)?;
        for text in &self.aux_addresses {
            let (name, addr) = self.pair("--aux-address", text, "NAME=ADDRESS")?;
            if raw.aux_addresses.insert(name.into(), addr.into()).is_some() {
                return Err(self.invalid("--aux-address", text, "the name is given twice"));
            }
        }
        for text in &self.labels {
            let (name, value) = text.split_once('=').unwrap_or((text, ""));
            raw.labels.insert(name.to_owned(), value.to_owned());
        }
        let mut options = DriverOptions::new(&self.name);
        for option in &self.options {
            let (key, value) = self.pair("--opt", option, "KEY=VALUE")?;
            options.option(key, value, &mut raw)?;
        }
        self.families(&options, &mut raw)?;
        options.finish(&mut raw)?;
        let driver = driver(&raw)?;
        if driver != Driver::Bridge {
            return Ok(AnyNetwork::Unbridged(Box::new(unbridged(raw, driver)?)));
        }
        raw.bridge.get_or_insert_with(|| self.bridge.clone());
        let network = validate::network(raw)?;
        rules::addresses(&network)?;
        Ok(AnyNetwork::Bridged(Box::new(network)))
    }

    /// Which families it has.
    fn families(&self, driver: &DriverOptions<'_>, raw: &mut raw::Network) -> Result<(), Error> {
        if self.ipv4.or(driver.ipv4) == Some(false) {
            let reason = "every network of netpath has IPv4; leave it out, and give the containers \
                          nothing that uses it";
            return Err(self.invalid("--ipv4", "false", reason));
        }
        match (self.ipv6.or(driver.ipv6), &raw.ipv6) {
            (Some(true), None) => raw.ipv6 = Some("::/64".into()),
            (Some(false), Some(subnet)) => {
                let reason = format!("--subnet {subnet} is of IPv6; leave out one of the two");
                return Err(self.invalid("--ipv6", "false", reason));
            }
            _ => {}
        }
        Ok(())
    }

    /// What Docker has for swarms and other address managers, and netpath has not.
    fn refuse_swarm(&self) -> Result<(), Error> {
        const SWARM: &str = "it is of swarms, and netpath's networks are of one host; leave it out";
        if let Some(scope) = self.scope.as_deref().filter(|s| *s != "local") {
            let reason = "the scope of a network is local: it is of one host";
            return Err(self.invalid("--scope", scope, reason));
        }
        if self.ingress {
            return Err(self.invalid("--ingress", "true", SWARM));
        }
        if self.config_only {
            return Err(self.invalid("--config-only", "true", SWARM));
        }
        if let Some(from) = self.config_from.as_deref() {
            return Err(self.invalid("--config-from", from, SWARM));
        }
        if let Some(driver) = self.ipam_driver.as_deref().filter(|d| *d != "default") {
            let reason = "the one driver is default: addresses are netpath's own matter";
            return Err(self.invalid("--ipam-driver", driver, reason));
        }
        if let Some(option) = self.ipam_options.first() {
            let reason = "the default driver has no options; leave it out";
            return Err(self.invalid("--ipam-opt", option, reason));
        }
        Ok(())
    }

    fn invalid(&self, key: &'static str, value: &str, reason: impl Into<String>) -> Error {
        Error::Invalid {
            object: format!("network `{}`", self.name),
            key,
            value: format!("{value:?}"),
            reason: reason.into(),
        }
    }

    fn pair<'t>(
        &self,
        key: &'static str,
        text: &'t str,
        form: &str,
    ) -> Result<(&'t str, &'t str), Error> {
        text.split_once('=')
            .ok_or_else(|| self.invalid(key, text, format!("the form is {form}")))
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
}

#[cfg(test)]
#[path = "create_tests.rs"]
mod tests;
