//! IPv6 for the host and a container of a [`World`].
//!
//! Owns a way between both that is not the datapath's, and the records that make the host's sockets
//! know of it: what a socket does is tested here, whatever carries the packets.

use std::net::Ipv6Addr;

use aya::maps::{HashMap, Map, MapData};
use netpath::{
    bpf::{Datapath, PortChange},
    state::Store,
};
use netpath_common::{
    V6, maps,
    publish::starts_index,
    records::{Published, PublishedKey},
};

use crate::{
    netns::{stdout, within},
    topology::World,
};

/// The host's own IPv6 address.
pub const HOST6: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 51, 0, 0, 0, 0, 1);
/// The host's address on the container's network.
pub const GATEWAY6: Ipv6Addr = Ipv6Addr::new(0xfd00, 0x17, 0, 0, 0, 0, 0, 1);
/// The container's address.
pub const CONTAINER6: Ipv6Addr = Ipv6Addr::new(0xfd00, 0x17, 0, 0, 0, 0, 0, 3);

/// Gives the host an IPv6 address.
pub fn give_host(world: &World) {
    add(world, "uplink0", HOST6);
    write(world, maps::HOST_ADDRS6, &HOST6.octets(), &1u32);
    write(world, maps::HOST_ADDRS6, &GATEWAY6.octets(), &1u32);
}

/// Gives the container and the endpoint of this name IPv6.
pub fn give_container(world: &World, name: &str) {
    let container = world.container(name);
    let peer = format!("/run/netns/{}", container.name());
    let link = ["link", "add", "six0", "type", "veth", "peer", "name"];
    stdout(
        &world.host,
        "ip",
        &[&link[..], &["six1", "netns", &peer]].concat(),
    );
    add(world, "six0", GATEWAY6);
    stdout(&world.host, "ip", &["link", "set", "six0", "up"]);
    let address = format!("{CONTAINER6}/64");
    stdout(
        container,
        "ip",
        &["-6", "addr", "add", &address, "dev", "six1", "nodad"],
    );
    stdout(container, "ip", &["link", "set", "six1", "up"]);
    let slot = slot_of(world, name);
    let datapath = datapath(world);
    within(&world.host, || {
        let mut record = datapath.endpoint(slot).unwrap();
        record.addr6 = CONTAINER6.octets();
        datapath.set_endpoint(slot, &record).unwrap();
    });
}

/// Publishes ports of the container at IPv6 addresses of the host; unspecified is any.
pub fn publish(world: &World, name: &str, proto: u8, ports: &[(Ipv6Addr, u16, u16)]) {
    let endpoint = slot_of(world, name);
    let datapath = datapath(world);
    let mut change = within(&world.host, || PortChange {
        starts: datapath.starts().unwrap(),
        reserved: datapath.reserved().unwrap(),
        ..PortChange::default()
    });
    let index = starts_index(proto).expect("a protocol with ports") as usize;
    for (addr, host, port) in ports {
        change.starts[index].insert(*host);
        change.reserved.add(proto, *host..=*host);
        let key = PublishedKey::<V6> {
            addr: addr.octets(),
            port: *host,
            proto,
            zero: 0,
        };
        let to = Published::<V6> {
            addr: CONTAINER6.octets(),
            port: *port,
            endpoint,
            rule: 0,
            last: *host,
            ..Published::default()
        };
        change.v6.write.push((key, to));
    }
    within(&world.host, || datapath.change_ports(&change).unwrap());
}

fn add(world: &World, device: &str, addr: Ipv6Addr) {
    let address = format!("{addr}/64");
    stdout(
        &world.host,
        "ip",
        &["-6", "addr", "add", &address, "dev", device, "nodad"],
    );
}

fn datapath(world: &World) -> Datapath {
    within(&world.host, || {
        Datapath::open(world.instance())
            .unwrap()
            .expect("nothing is loaded")
    })
}

fn write<K: aya::Pod, V: aya::Pod>(world: &World, map: &str, key: &K, value: &V) {
    let data = MapData::from_pin(world.pins().join(map)).unwrap();
    let map = Map::from_map_data(data).unwrap();
    HashMap::<_, K, V>::try_from(map)
        .unwrap()
        .insert(key, value, 0)
        .unwrap();
}

/// The slot of the endpoint of this name, from what netpath remembers.
fn slot_of(world: &World, name: &str) -> u16 {
    let store = Store::new(&world.file("state"), world.instance());
    let state = store.load().unwrap().expect("nothing is remembered");
    state.endpoint(name).unwrap().1.slot
}
