//! The list of wanted differences.
//!
//! Owns what is wanted, why, and by which word; `docs/differences.md` says it to readers, and a test
//! compares the names. A difference that no entry knows fails the run, and so does an entry that
//! nothing exercises.

use super::{
    Seen,
    told::{
        client_address_between_networks, dropped_before_its_ttl, expired_ttl_makes_flow,
        fragment_boundaries, fragment_order, gateway_from_outside,
        hairpin_error_quotes_translation, hairpin_ttl, hairpin_ttl_expires, incomplete_datagram,
        invalid_to_host, mapping_of_another_flow, other_protocols, pickup_needs_own_port,
        private_source, published_port_as_source, redirect_between_neighbours, reset_after_pickup,
        reset_of_unanswered, reset_while_closing, unacknowledged_data,
        untranslated_between_containers, wrong_checksum,
    },
};

/// A kind of difference.
pub(crate) struct Wanted {
    pub(crate) name: &'static str,
    /// What is treated differently.
    pub(crate) what: &'static str,
    /// How, and why netpath does otherwise.
    pub(crate) why: &'static str,
    /// A standard, an advisory or a report.
    pub(crate) source: &'static str,
    /// Whether a difference is this one.
    pub(crate) is: fn(&Seen<'_>) -> bool,
    /// The engines know different flows afterwards, so the sequence ends.
    pub(crate) diverges: bool,
}

pub(crate) const TABLE: [Wanted; 23] = [
    Wanted {
        name: "private-source",
        what: "a container's packet that belongs to no flow and can begin none",
        why: "iptables lets it out with the container's address; netpath drops it",
        source: "RFC 3022, 2; moby issue 44015",
        is: private_source,
        diverges: false,
    },
    Wanted {
        name: "wrong-checksum",
        what: "a datagram with a wrong checksum",
        why: "conntrack verifies it, finds the packet invalid and does not translate it; netpath leaves it to the receiver",
        source: "RFC 3022, 4.1",
        is: wrong_checksum,
        diverges: true,
    },
    Wanted {
        name: "invalid-to-host",
        what: "a segment that does not fit its flow, or to a published port",
        why: "the kernel leaves it untranslated to the host's stack, which resets the connection; netpath drops it",
        source: "moby issue 37372; RFC 5382, REQ-9",
        is: invalid_to_host,
        diverges: false,
    },
    Wanted {
        name: "gateway-from-outside",
        what: "a packet from outside to the address of a bridge",
        why: "the answers would leave with a private source",
        source: "RFC 1918, 3",
        is: gateway_from_outside,
        diverges: true,
    },
    Wanted {
        name: "dropped-before-its-ttl",
        what: "a packet with a TTL of 1 that would be dropped anyway",
        why: "the kernel's TTL error comes before its rules; netpath drops first and says nothing",
        source: "RFC 1812, 5.3.1",
        is: dropped_before_its_ttl,
        diverges: false,
    },
    Wanted {
        name: "hairpin-ttl-expires",
        what: "a question with a TTL of 1 to a neighbour's published port",
        why: "br_netfilter switches it without counting the hop; netpath routes it, so the host answers",
        source: "RFC 1812, 5.3.1",
        is: hairpin_ttl_expires,
        diverges: true,
    },
    Wanted {
        name: "hairpin-ttl",
        what: "the TTL between containers of one network by a published port",
        why: "br_netfilter switches it without counting the hop; netpath counts one",
        source: "RFC 1812, 5.3.1",
        is: hairpin_ttl,
        diverges: false,
    },
    Wanted {
        name: "client-address-between-networks",
        what: "a question from another network to a published port",
        why: "Docker masquerades it; netpath keeps the client's address, so what answers is sent elsewhere too",
        source: "RFC 4787, REQ-9",
        is: client_address_between_networks,
        diverges: false,
    },
    Wanted {
        name: "published-port-as-source",
        what: "a container's source port that is published",
        why: "the kernel keeps it, so that who is asked from it is taken for a client of the published port; netpath chooses another",
        source: "CVE-2021-3773",
        is: published_port_as_source,
        diverges: true,
    },
    Wanted {
        name: "pickup-needs-own-port",
        what: "a segment in the middle of a connection that is not tracked, whose own port is taken",
        why: "under another port the server knows no such connection; the kernel sends it so, netpath drops it",
        source: "RFC 5382, REQ-1",
        is: pickup_needs_own_port,
        diverges: true,
    },
    Wanted {
        name: "fragment-boundaries",
        what: "a datagram in fragments",
        why: "conntrack reassembles it and sends it whole where it fits; netpath translates each fragment",
        source: "RFC 791, 3.2; RFC 4787, REQ-14",
        is: fragment_boundaries,
        diverges: false,
    },
    Wanted {
        name: "fragment-order",
        what: "fragments in another order than they were sent",
        why: "the kernel sends them in order; netpath as soon as each can be translated",
        source: "RFC 4787, REQ-14",
        is: fragment_order,
        diverges: false,
    },
    Wanted {
        name: "incomplete-datagram",
        what: "a datagram of which a fragment is lost",
        why: "conntrack keeps what is there until it expires; netpath forwards it",
        source: "RFC 4787, REQ-14",
        is: incomplete_datagram,
        diverges: true,
    },
    Wanted {
        name: "other-protocols",
        what: "a protocol without ports",
        why: "the kernel translates the addresses, for one container and server at a time; netpath drops it",
        source: "RFC 3022, 4.3",
        is: other_protocols,
        diverges: true,
    },
    Wanted {
        name: "hairpin-error-quotes-translation",
        what: "the host's TTL error about a question to a published port",
        why: "the question has been translated when the host's stack sees it",
        source: "RFC 5508, REQ-7",
        is: hairpin_error_quotes_translation,
        diverges: false,
    },
    Wanted {
        name: "untranslated-between-containers",
        what: "an answer of a published port to a neighbour that does not fit its flow",
        why: "the kernel's bridge lets it through untranslated; netpath drops it",
        source: "RFC 5382, REQ-9",
        is: untranslated_between_containers,
        diverges: false,
    },
    Wanted {
        name: "reset-of-unanswered",
        what: "what follows a reset of a connection that only one side has spoken in",
        why: "the kernel forgets such a flow at once; netpath keeps it for the ten seconds of every reset flow",
        source: "RFC 7857, 2.2",
        is: reset_of_unanswered,
        diverges: true,
    },
    Wanted {
        name: "reset-while-closing",
        what: "an old reset of a connection that is closing",
        why: "the kernel finds it invalid; to netpath it is one more end of what ends, and the receiver judges it",
        source: "RFC 5961, 3.2",
        is: reset_while_closing,
        diverges: true,
    },
    Wanted {
        name: "unacknowledged-data",
        what: "an open connection with data that nobody has acknowledged, silent for five minutes",
        why: "the kernel ends it then (nf_conntrack_tcp_timeout_unacknowledged); netpath gives it the time of every open connection",
        source: "RFC 5382, REQ-5",
        is: unacknowledged_data,
        diverges: true,
    },
    Wanted {
        name: "expired-ttl-makes-flow",
        what: "what follows a packet whose TTL was used up",
        why: "the kernel has confirmed no flow of it; netpath has made one and reserved its port",
        source: "no standard; see the known limits",
        is: expired_ttl_makes_flow,
        diverges: true,
    },
    Wanted {
        name: "mapping-of-another-flow",
        what: "the port of a flow whose source has another port with another server",
        why: "the kernel gives it that one again (find_appropriate_src); netpath keeps the flow's own where it is free",
        source: "RFC 4787, REQ-1",
        is: mapping_of_another_flow,
        diverges: true,
    },
    Wanted {
        name: "redirect-between-neighbours",
        what: "an ICMP redirect from one container of a network to another",
        why: "the kernel sees the flow that it is about; in netpath the bridge switches what neighbours say to each other",
        source: "RFC 1122, 3.2.2.2",
        is: redirect_between_neighbours,
        diverges: false,
    },
    Wanted {
        name: "reset-after-pickup",
        what: "an old reset of a connection that was picked up in its middle",
        why: "the kernel does not know yet what has been acknowledged; netpath does from the first segment on",
        source: "RFC 5961, 3.2",
        is: reset_after_pickup,
        diverges: true,
    },
];
