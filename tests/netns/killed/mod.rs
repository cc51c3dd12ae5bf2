//! `kill -9` at every moment of a command: the same command then ends as if nothing had happened.
//!
//! Owns the commands that are killed. How one is, and after which of its steps, is `converge`'s; that these
//! are all moments is proven in `netpath_tests::killer`. The first `up` and the last `down` are `first`'s.

mod converge;
mod first;
mod site;

use std::thread;

use self::{
    converge::{Killed, converges},
    site::{Site, qdiscs},
};
use crate::lifecycle::{Snapshot, assert_same};

const CREATE: &str = "network create --ipv6 --subnet 10.9.0.0/24 --subnet fd00:9::/64 \
                      -o com.docker.network.bridge.name=netpath9 n";
const ADD: &str = "endpoint add --network n --netns NETNS --name c -p 8090:80 \
                   -p 33010-33011:53/udp,allow=198.51.100.0/24";
const SECOND: &str =
    "network create --subnet 10.8.0.0/24 -o com.docker.network.bridge.name=netpath8 m";
const LAN: &str = "network create -d macvlan --subnet 10.7.0.0/24 -o parent=uplink0 lan";
const JOIN: &str = "endpoint add --network lan --netns NETNS --name c";

const MADE: Killed = Killed {
    before: "",
    command: "up -y -c FULL",
    done: "",
    after: "up -y -c EMPTY",
};

const EMPTIED: Killed = Killed {
    before: "up -y -c FULL",
    command: "up -y -c EMPTY",
    done: "",
    after: "",
};

const UPS: &[Killed] = &[
    MADE,
    Killed {
        before: "up -y -c FULL",
        command: "up -y -c CHANGED",
        done: "",
        after: "up -y -c EMPTY",
    },
    EMPTIED,
];

const UP_BY_CLSACT: &[Killed] = &[MADE, EMPTIED];

const NETWORKS: &[Killed] = &[
    Killed {
        before: "up -y -c FULL",
        command: CREATE,
        done: "exists already",
        after: "network rm n",
    },
    Killed {
        before: "up -y -c FULL; CREATE",
        command: "network rm n",
        done: "does not exist",
        after: "",
    },
    Killed {
        before: "up -y -c FULL; CREATE; ADD",
        command: "network rm --with-endpoints n",
        done: "does not exist",
        after: "",
    },
    Killed {
        before: "up -y -c FULL; CREATE",
        command: "network prune --force",
        done: "",
        after: "",
    },
    Killed {
        before: "up -y -c FULL",
        command: "down bridge",
        done: "does not exist",
        after: "",
    },
];

/// With the network `n` there.
const ENDPOINTS: &[Killed] = &[
    Killed {
        before: "",
        command: ADD,
        done: "exists already",
        after: "endpoint rm c",
    },
    Killed {
        before: ADD,
        command: "endpoint rm c",
        done: "does not exist",
        after: "",
    },
    Killed {
        before: "ADD; endpoint add --network n --netns OTHER --name d",
        command: "endpoint rm c d",
        done: "does not exist",
        after: "",
    },
    Killed {
        before: ADD,
        command: "publish c 9090:80 9091:80,allow=198.51.100.0/24",
        done: "already allocated",
        after: "endpoint rm c",
    },
    Killed {
        before: ADD,
        command: "unpublish c 8090:80 33010-33011:53/udp,allow=198.51.100.0/24",
        done: "does not publish",
        after: "endpoint rm c",
    },
    Killed {
        before: "SECOND; ADD",
        command: "network connect --name d m c",
        done: "exists already",
        after: "network rm --with-endpoints m; endpoint rm c",
    },
    Killed {
        before: "SECOND; ADD; network connect --name d m c",
        command: "network disconnect m c",
        done: "not connected",
        after: "network rm m; endpoint rm c",
    },
];

/// As above, beside networks without a bridge.
const WITHOUT_A_BRIDGE: &[Killed] = &[
    Killed {
        before: "",
        command: LAN,
        done: "exists already",
        after: "network rm lan",
    },
    Killed {
        before: LAN,
        command: "network rm lan",
        done: "does not exist",
        after: "",
    },
    Killed {
        before: LAN,
        command: JOIN,
        done: "exists already",
        after: "network rm --with-endpoints lan",
    },
    Killed {
        before: "LAN; JOIN",
        command: "endpoint rm c",
        done: "does not exist",
        after: "network rm lan",
    },
];

/// Each line of cases on a host of its own, side by side: a command waits more than it works.
#[test]
fn every_command() {
    thread::scope(|scope| {
        let lines = [
            scope.spawn(|| all(false, "up -c EMPTY", UPS)),
            scope.spawn(|| all(true, "up -c EMPTY", UP_BY_CLSACT)),
            scope.spawn(|| all(false, "up -c EMPTY", NETWORKS)),
            scope.spawn(|| all(false, "up -c EMPTY; CREATE", ENDPOINTS)),
            scope.spawn(|| all(false, "up -c EMPTY; CREATE", WITHOUT_A_BRIDGE)),
        ];
        for line in lines {
            line.join().unwrap_or_else(|p| std::panic::resume_unwind(p));
        }
    });
}

/// Runs the cases on one host, on which they then leave nothing.
fn all(clsact: bool, first: &str, cases: &[Killed]) {
    let mut site = Site::bare();
    site.clsact = clsact;
    let before = Snapshot::of_host(&site.world);
    site.run(first);
    for case in cases {
        converges(&site, case);
    }
    site.run("down --all");
    assert_same(&[Snapshot::of_host(&site.world)], &[before]);
    assert_eq!(qdiscs(&site.world), Vec::<String>::new());
    assert!(!site.world.file("state").exists(), "state is left");
}
