//! What can go wrong with an instance; every message names the object and the remedy.

use std::{io, net::IpAddr};

pub(super) use super::known::known;
use super::{AddressError, ParentError, PlaceError};
use crate::{bpf, config, net, state};

/// An error of an instance.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The configuration is wrong.
    #[error(transparent)]
    Config(#[from] config::Error),
    /// The host's network refused.
    #[error(transparent)]
    Net(#[from] net::Error),
    /// The datapath refused.
    #[error(transparent)]
    Bpf(#[from] bpf::Error),
    /// The state's files refused.
    #[error(transparent)]
    State(#[from] state::Error),
    /// Addresses are used up.
    #[error(transparent)]
    Address(#[from] AddressError),
    /// The container cannot be in the network.
    #[error(transparent)]
    Place(#[from] PlaceError),
    /// A parent is not as it must be.
    #[error(transparent)]
    Parent(#[from] ParentError),
    /// No network is called so.
    #[error(transparent)]
    Lookup(#[from] state::LookupError),
    /// A network is in use; the first sentence is Docker's.
    #[error(
        "error while removing network: network {network} id {id} has active endpoints (they are: \
         {endpoints}; remove those first, or all with --with-endpoints)"
    )]
    ActiveEndpoints {
        /// The network.
        network: String,
        /// Its identifier.
        id: String,
        /// What is in it.
        endpoints: String,
    },
    /// The kernel tells no boot identifier.
    #[error("cannot read the kernel's boot identifier: {0}; is /proc mounted?")]
    BootId(io::Error),
    /// Nothing is up.
    #[error("instance `{instance}` is not up; run `netpath up` first")]
    NotUp {
        /// The instance.
        instance: String,
    },
    /// The bridge's name belongs to something else.
    #[error(
        "network `{network}`: the bridge name {name} is taken by {what}; choose another name for the bridge"
    )]
    BridgeTaken {
        /// The network.
        network: String,
        /// The name.
        name: String,
        /// What has it.
        what: String,
    },
    /// A named uplink is not there.
    #[error("network `{network}`: uplink {name} does not exist; the interfaces are {known}")]
    NoUplink {
        /// The network.
        network: String,
        /// The name.
        name: String,
        /// What exists.
        known: String,
    },
    /// A named uplink carries neither Ethernet frames nor bare IP packets.
    #[error(
        "network `{network}`: uplink {name} is a {kind}, whose packets are neither Ethernet frames nor IP \
         packets without a header of the link; netpath reads no others. Name an Ethernet interface (a VLAN, \
         bond or tap device is one), a tun, WireGuard or PPP device, or a tunnel to one peer"
    )]
    UnknownFrames {
        /// The network.
        network: String,
        /// The interface.
        name: String,
        /// Its kind.
        kind: String,
    },
    /// Two networks want different hooks on one uplink.
    #[error(
        "uplink {uplink}: network `{xdp}` has uplink_hook = \"xdp\" and network `{tc}` has \"tc\"; \
         give both the same"
    )]
    HookConflict {
        /// The uplink.
        uplink: String,
        /// The network that wants XDP.
        xdp: String,
        /// The network that wants tc.
        tc: String,
    },
    /// XDP cannot translate what a veth's other end sends.
    #[error(
        "uplink {uplink}: xdp_translate of network `{network}` is refused: the other end of this veth, \
         {peer}, has tx-checksumming on, so its packets come without checksums and XDP cannot see \
         which; turn it off there with `ethtool -K {ifname} tx off`, or leave xdp_translate out: \
         uplink_hook = \"xdp\" drops early without it"
    )]
    PeerOffload {
        /// The uplink.
        uplink: String,
        /// The network.
        network: String,
        /// The other end and where it is.
        peer: String,
        /// Its name.
        ifname: String,
    },
    /// It is not known what a veth's other end sends.
    #[error(
        "uplink {uplink}: xdp_translate of network `{network}` is refused: the other end of this veth, \
         interface {index}, is in a network namespace that cannot be looked at (it has no name in \
         /run/netns and no process in /proc), so its tx-checksumming is not known; run netpath where \
         both can be seen, or leave xdp_translate out: uplink_hook = \"xdp\" drops early without it"
    )]
    PeerUnseen {
        /// The uplink.
        uplink: String,
        /// The network.
        network: String,
        /// Interface index of the other end, in its own namespace.
        index: u32,
    },
    /// A container's interface cannot be made ready for frames.
    #[error(
        "endpoint `{endpoint}`: xdp_translate needs GRO on the container's interface, and its namespace \
         is no longer `{netns}`; remove the endpoint, or leave xdp_translate out"
    )]
    NoContainer {
        /// The endpoint.
        endpoint: String,
        /// As the user named its namespace.
        netns: String,
    },
    /// The kernel has no larger segments.
    #[error(
        "network `{network}`: gso_max_size = {wanted} needs BIG TCP for IPv4, which Linux has since \
         6.3, and this kernel is {found}; leave it out"
    )]
    NoBigTcp {
        /// The network.
        network: String,
        /// As configured, bytes.
        wanted: u32,
        /// The kernel's release.
        found: String,
    },
    /// The devices are too small for IPv6.
    #[error(
        "network `{network}`: ipv6 needs an MTU of {least}, and that of its uplinks is {found}; set mtu, \
         or leave ipv6 out"
    )]
    Ipv6Mtu {
        /// The network.
        network: String,
        /// The MTU that it would have, bytes.
        found: u32,
        /// The smallest one of IPv6, bytes.
        least: u32,
    },
    /// Every slot is used up.
    #[error("no room for another {what}: netpath holds {most}; remove one first")]
    NoSlot {
        /// What kind of object.
        what: &'static str,
        /// How many there can be.
        most: usize,
    },
    /// The container's namespace is not as it must be.
    #[error("endpoint `{endpoint}`: {source}")]
    Container {
        /// The endpoint.
        endpoint: String,
        /// What is wrong.
        source: net::Error,
    },
    /// The container would be the host.
    #[error(
        "endpoint `{endpoint}`: `{netns}` is the namespace that netpath manages itself; name the \
         container's namespace"
    )]
    OwnNamespace {
        /// The endpoint.
        endpoint: String,
        /// Its namespace.
        netns: String,
    },
    /// No such network.
    #[error("network `{name}` does not exist; {known}")]
    NoNetwork {
        /// The name.
        name: String,
        /// What exists.
        known: String,
    },
    /// The name is taken.
    #[error("network `{name}` exists already, {place}; remove it first or choose another name")]
    NetworkExists {
        /// The name.
        name: String,
        /// Its bridge or driver.
        place: String,
    },
    /// No such endpoint.
    #[error("endpoint `{name}` does not exist; {known}")]
    NoEndpoint {
        /// The name.
        name: String,
        /// What exists.
        known: String,
    },
    /// The endpoint's namespace is gone.
    #[error(
        "endpoint `{name}` is gone with its network namespace `{netns}`; run `netpath up` when that is back, \
         or `netpath endpoint rm {name}`"
    )]
    Gone {
        /// The endpoint.
        name: String,
        /// As the user named its namespace.
        netns: String,
    },
    /// The name is taken.
    #[error(
        "endpoint `{name}` exists already in network `{network}`; remove it first or choose another name"
    )]
    EndpointExists {
        /// The name.
        name: String,
        /// Its network.
        network: String,
    },
    /// Another endpoint publishes the port; the first sentence is Docker's.
    #[error(
        "Bind for {}:{port} failed: port is already allocated (endpoint `{endpoint}`, {proto}; endpoint \
         `{holder}` publishes it; choose another port, free that one, or let both share it with `balance`)",
        config::host_text(*addr)
    )]
    PortTaken {
        /// Who asks.
        endpoint: String,
        /// Host address.
        addr: IpAddr,
        /// Host port.
        port: u16,
        /// Protocol.
        proto: config::Protocol,
        /// Who has it.
        holder: String,
    },
    /// A socket of the host has the port; the first sentence is Docker's.
    #[error(
        "failed to bind host port {}:{port}/{proto}: address already in use (endpoint `{endpoint}`; \
         a socket of the host is bound to {socket}; stop that program or choose another port; where a \
         container engine holds the port for its container, give the network port_holder = \"engine\")",
        config::host_text(*addr)
    )]
    PortBound {
        /// Who asks.
        endpoint: String,
        /// Host address.
        addr: IpAddr,
        /// Host port.
        port: u16,
        /// Protocol.
        proto: config::Protocol,
        /// The address that the socket is bound to.
        socket: IpAddr,
    },
    /// The host's address is of a family that the container does not have.
    #[error(
        "endpoint `{endpoint}`: publish `{spec}`: the container has no {family} address; publish at an \
         address of the other family, or give it one"
    )]
    NoHome {
        /// Who asks.
        endpoint: String,
        /// For what.
        spec: config::PortSpec,
        /// The family.
        family: &'static str,
    },
    /// A port that is the container's own cannot be shared.
    #[error(
        "endpoint `{endpoint}`: publish `{spec}`: in a routed network a port is its container's own; leave \
         out `balance`"
    )]
    RoutedBalance {
        /// Who asks.
        endpoint: String,
        /// For what.
        spec: config::PortSpec,
    },
    /// No free port.
    #[error(
        "endpoint `{endpoint}`: publish `{spec}`: no {width} free ports in a row within {range}; unpublish some"
    )]
    NoPort {
        /// Who asks.
        endpoint: String,
        /// For what.
        spec: config::PortSpec,
        /// How many.
        width: u32,
        /// Where was looked.
        range: config::PortRange,
    },
    /// The port is not published.
    #[error("endpoint `{endpoint}` does not publish `{spec}`; {known}")]
    NotPublished {
        /// The endpoint.
        endpoint: String,
        /// What was asked for.
        spec: config::PortSpec,
        /// What it does publish.
        known: String,
    },
    /// The configuration takes something away.
    #[error(
        "the configuration would remove {what}; run `netpath up --yes` to agree, or `--dry-run` to see it all"
    )]
    NeedsYes {
        /// What.
        what: String,
    },
    /// What was agreed to is not what would be done by now.
    #[error(
        "the host or its networks have changed since the plan was shown; nothing was done, look again"
    )]
    PlanChanged,
    /// The user said no.
    #[error("nothing was changed")]
    Declined,
    /// The table's size is fixed while it is loaded.
    #[error(
        "[limits]: conntrack = {wanted}, but the table is loaded for {found} flows; run \
         `netpath down --all` first to change it"
    )]
    ConntrackSize {
        /// As configured.
        wanted: u32,
        /// As loaded.
        found: u32,
    },
    /// A change failed, and so did undoing it.
    #[error("{source}; undoing what was done failed too: {left}; run `netpath down --all`")]
    Rollback {
        /// Why the change failed.
        source: Box<Error>,
        /// What could not be undone.
        left: String,
    },
    /// Not everything could be removed.
    #[error("not everything could be removed: {left}; run `netpath down --all` again")]
    Teardown {
        /// What is left.
        left: String,
    },
}
