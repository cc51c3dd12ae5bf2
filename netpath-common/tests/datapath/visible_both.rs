//! What must come out the same where the host's stack forwards what netpath translates.
//!
//! Left out are tests of the way itself: leases, next hops, what one hook answers by itself.

use super::family;

mod connection;
mod exact;
mod fragment;
mod fragment_order;
mod generation;
mod guard;
mod hairpin;
mod icmp_error;
mod loopback;
mod masquerade;
mod mss;
mod no_masquerade;
mod other_protocol;
mod port_choice;
mod ports;
mod publish;
mod publish_allow;
mod publish_balance;
mod publish_range;
mod quota;
mod rfc4787;
mod rfc5382;
mod rfc5508;
mod rfc5508_error;
mod rfc6888;
mod rfc7857;
mod room;
mod routed;
mod sctp;
mod shadow;
mod timeout;
