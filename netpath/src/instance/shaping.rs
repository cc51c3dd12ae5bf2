//! Bandwidth limits of endpoints, on both ends of their veth pairs.

use super::{Error, rollback::Undo, work::Work};
use crate::{
    config::{Rate, Rates},
    net::{Netlink, namespace::Namespace},
    state::Endpoint,
};

impl Work<'_> {
    /// Gives an endpoint other limits, in place.
    pub(super) async fn shape(&mut self, name: &str, rates: Rates) -> Result<(), Error> {
        let (network, old) = self.existing_endpoint(name)?;
        self.undo.push(Undo::Shape(name.to_owned(), old.rates));
        let e = Endpoint { rates, ..old };
        if let Some(stored) = self.state.endpoint_mut(name) {
            stored.rates = rates;
        }
        self.save()?;
        let datapath = self.datapath()?;
        if rates.into.is_some() {
            // Its queue first, and only then the packets.
            self.shape_host_side(&e).await?;
        }
        self.put_endpoint_record(&datapath, &network, &e)?;
        self.shape_host_side(&e).await?;
        self.shape_container(&e)
    }

    /// Limits what the container is sent.
    pub(super) async fn shape_host_side(&self, e: &Endpoint) -> Result<(), Error> {
        Ok(self.instance.netlink.shape(e.ifindex, e.rates.into).await?)
    }

    /// Limits what the container sends.
    pub(super) fn shape_container(&self, e: &Endpoint) -> Result<(), Error> {
        let netns = Namespace::open(&e.netns)?;
        Ok(netns.run(async |netlink| limit(netlink, &e.container_ifname, e.rates.out).await)?)
    }
}

async fn limit(
    netlink: &Netlink,
    ifname: &str,
    rate: Option<Rate>,
) -> Result<(), crate::net::Error> {
    match netlink.link(ifname).await? {
        Some(link) => netlink.shape(link.index, rate).await,
        None => Ok(()),
    }
}
