//! The circumstances of one random life: table, limits, ports, networks, early hooks.
//!
//! Owns their choice and their writing into a host's tables. They stay as they are for the life.

use netpath_common::{
    records::{
        CONFIG_MSS_CLAMP, CONFIG_PRESERVE_PORTS, NETWORK_DIRECT, NETWORK_ICC, NETWORK_INTERNAL,
        NETWORK_XDP,
    },
    testing::{Host, NET1, NET2},
};
use proptest::{prelude::*, sample::select};

use crate::mode::{self, Mode};

/// Families that the packets of a life are of.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Families {
    Four,
    Six,
    Both,
}

/// What the uplink's driver does.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Xdp {
    Off,
    Drops,
    Translates,
}

/// The circumstances.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Life {
    pub(crate) seed: u64,
    pub(crate) families: Families,
    /// Entries that each table takes.
    pub(crate) capacity: usize,
    /// Flows that an endpoint may have begun; 0: any number.
    pub(crate) flows: u32,
    /// Outside tuples that an endpoint may have been given; 0: any number.
    pub(crate) ports: u32,
    /// Flows from the outside that may wait to be established; 0: any number.
    pub(crate) inbound: u32,
    /// The range of outside ports.
    pub(crate) range: Option<(u16, u16)>,
    pub(crate) preserve: bool,
    pub(crate) clamp: bool,
    /// Of the second network: internal, masquerade, containers may talk.
    pub(crate) internal: bool,
    pub(crate) masquerade: bool,
    pub(crate) icc: bool,
    pub(crate) direct: bool,
    pub(crate) xdp: Xdp,
    /// How the networks are open in the beginning.
    pub(crate) modes: [Mode; 2],
}

impl Life {
    /// Whether flows that nobody has answered may go to make room for others.
    pub(crate) fn is_tight(&self) -> bool {
        self.capacity < 1000 || self.inbound != 0
    }

    /// Writes it into the tables.
    pub(crate) fn host(&self) -> Host {
        let mut host = Host::seeded(self.seed);
        host.xdp_translates = self.xdp == Xdp::Translates;
        let t = &mut host.tables;
        let config = t.config.as_mut().unwrap();
        config.endpoint_flows = self.flows;
        config.endpoint_ports = self.ports;
        config.inbound_embryonic = self.inbound;
        (config.port_min, config.port_max) = self.range.unwrap_or((0, 0));
        let bit = |on: bool, bit: u32| if on { bit } else { 0 };
        config.flags =
            bit(self.preserve, CONFIG_PRESERVE_PORTS) | bit(self.clamp, CONFIG_MSS_CLAMP);
        let xdp = bit(self.xdp == Xdp::Translates, NETWORK_XDP);
        t.networks[usize::from(NET1)].flags = NETWORK_ICC | bit(self.direct, NETWORK_DIRECT) | xdp;
        t.networks[usize::from(NET2)].flags =
            bit(self.icc, NETWORK_ICC) | bit(self.internal, NETWORK_INTERNAL) | xdp;
        // One record each, whatever the family.
        let (config, networks) = (t.config, t.networks.clone());
        host.tables6.config = config;
        host.tables6.networks = networks;
        host.tables.ct_capacity = self.capacity;
        host.tables6.ct_capacity = self.capacity;
        mode::write(&mut host, self, self.modes);
        host
    }

    /// The family of a step's packets, if the step leaves the choice to it.
    pub(crate) fn is_v6(&self, either: bool) -> bool {
        match self.families {
            Families::Four => false,
            Families::Six => true,
            Families::Both => either,
        }
    }
}

fn rarely() -> impl Strategy<Value = bool> {
    (0..5_u8).prop_map(|n| n == 0)
}

fn limit(most: u32) -> impl Strategy<Value = u32> {
    prop_oneof![3 => Just(0), 1 => 1..most]
}

/// Any circumstances, with a table of this many entries.
pub(crate) fn life(capacity: impl Strategy<Value = usize>) -> impl Strategy<Value = Life> {
    let range = prop_oneof![
        4 => Just(None),
        1 => select(vec![(5000, 5003), (40_000, 40_100), (8080, 8081), (50_000, 60_000)]).prop_map(Some),
    ];
    let limits = (limit(8), limit(8), limit(4));
    let networks = (rarely(), rarely(), rarely(), any::<bool>());
    let xdp = select(vec![Xdp::Off, Xdp::Off, Xdp::Drops, Xdp::Translates]);
    let families = select(vec![
        Families::Four,
        Families::Six,
        Families::Both,
        Families::Both,
    ]);
    let mode = || {
        prop_oneof![
            4 => Just(Mode::Nat),
            3 => Just(Mode::Bound),
            2 => Just(Mode::Routed),
        ]
    };
    (
        (any::<u64>(), families, [mode(), mode()]),
        capacity,
        limits,
        range,
        (rarely(), rarely()),
        networks,
        xdp,
    )
        .prop_map(
            |(
                (seed, families, modes),
                capacity,
                (flows, ports, inbound),
                range,
                (any_port, clamp),
                networks,
                xdp,
            )| {
                Life {
                    seed,
                    families,
                    capacity,
                    flows,
                    ports,
                    inbound,
                    range,
                    preserve: !any_port,
                    clamp,
                    internal: networks.0,
                    masquerade: !networks.1,
                    icc: !networks.2,
                    direct: networks.3,
                    xdp,
                    modes,
                }
            },
        )
}
