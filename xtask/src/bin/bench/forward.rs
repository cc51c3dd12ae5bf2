//! Forwarding without translation by netpath's own object: the limit.
//!
//! Owns loading the two programs for it, filling the maps that they read, and attaching them in
//! the router. Nothing is pinned: all of it goes with the process.

use anyhow::{Context as _, Result, bail};
use aya::{
    Ebpf, EbpfLoader,
    maps::{Array, HashMap},
    programs::{SchedClassifier, TcAttachType},
};
use netpath::{
    bpf::OBJECT,
    lab::{Namespace, links},
};
use netpath_common::{
    datapath::FORWARD_UPLINK,
    maps,
    records::{EndpointRecord, NetworkRecord, UplinkRecord},
};

use crate::variant::{BRIDGE, CONTAINER, PORT, UPLINK};

/// Slot of the one network and the one endpoint; 0 stands for none.
const SLOT: u16 = 1;

/// The attached programs; detached when dropped.
pub(crate) struct Forward {
    _ebpf: Ebpf,
}

impl Forward {
    /// Loads the programs and attaches them to the container's veth and the uplink.
    pub(crate) fn attach(router: &Namespace, container: &Namespace) -> Result<Self> {
        let Some(object) = OBJECT else {
            bail!("this program was built without the eBPF object: run `cargo xtask setup`");
        };
        let (mac, mtu) = container.run(|| {
            let links = links::links()?;
            let eth0 = links.iter().find(|link| link.name == "eth0");
            let eth0 = eth0.context("the container has no eth0")?;
            anyhow::Ok((mac(&eth0.mac)?, eth0.mtu))
        })??;
        router.run(|| {
            let mut ebpf = EbpfLoader::new()
                // Not used, and preallocated for a million entries.
                .map_max_entries(maps::CT4, 1)
                .load(object)
                .context("cannot load the eBPF object")?;
            fill(&mut ebpf, mac, mtu)?;
            for (program, interface) in [("np_forward_out", PORT), ("np_forward_in", UPLINK)] {
                attach(&mut ebpf, program, interface)
                    .with_context(|| format!("cannot attach {program} to {interface}"))?;
            }
            Ok(Self { _ebpf: ebpf })
        })?
    }
}

/// Describes uplink, network and container to the programs.
fn fill(ebpf: &mut Ebpf, container_mac: [u8; 6], mtu: u32) -> Result<()> {
    let uplink = UplinkRecord {
        ifindex: links::index(UPLINK)?,
        mtu,
        ..UplinkRecord::default()
    };
    array(ebpf, maps::UPLINKS)?.set(u32::from(FORWARD_UPLINK), uplink, 0)?;
    let links = links::links()?;
    let bridge = links.iter().find(|link| link.name == BRIDGE);
    let bridge = bridge.with_context(|| format!("the router has no {BRIDGE}"))?;
    let network = NetworkRecord {
        bridge_ifindex: bridge.index,
        bridge_mac: mac(&bridge.mac)?,
        ..NetworkRecord::default()
    };
    array(ebpf, maps::NETWORKS)?.set(u32::from(SLOT), network, 0)?;
    let endpoint = EndpointRecord {
        ifindex: links::index(PORT)?,
        addr: CONTAINER.octets(),
        mac: container_mac,
        network: SLOT,
        mtu,
        ..EndpointRecord::default()
    };
    array(ebpf, maps::ENDPOINTS)?.set(u32::from(SLOT), endpoint, 0)?;
    let map = ebpf.map_mut(maps::ENDPOINT_BY_ADDR4);
    let map = map.with_context(|| format!("no map {}", maps::ENDPOINT_BY_ADDR4))?;
    HashMap::<_, [u8; 4], u32>::try_from(map)?.insert(CONTAINER.octets(), u32::from(SLOT), 0)?;
    Ok(())
}

fn array<'e, R: aya::Pod>(
    ebpf: &'e mut Ebpf,
    name: &str,
) -> Result<Array<&'e mut aya::maps::MapData, R>> {
    let map = ebpf.map_mut(name);
    let map = map.with_context(|| format!("the object has no map {name}"))?;
    Ok(Array::try_from(map)?)
}

fn attach(ebpf: &mut Ebpf, program: &str, interface: &str) -> Result<()> {
    let program = ebpf
        .program_mut(program)
        .context("the object has no such program")?;
    let program: &mut SchedClassifier = program.try_into()?;
    program.load()?;
    program.attach(interface, TcAttachType::Ingress)?;
    Ok(())
}

fn mac(bytes: &[u8]) -> Result<[u8; 6]> {
    bytes.try_into().context("the interface has no MAC address")
}
