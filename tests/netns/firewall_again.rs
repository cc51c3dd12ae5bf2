//! Tests of other files once more, behind a closed firewall with the recommended rules: in networks that
//! it sees, and in those that it does not.
//!
//! Owns their choice: one of each way through the datapath.

use netpath_tests::{skip, topology::behind_firewall};

macro_rules! once_more {
    ($firewall:literal: $($module:ident: $($test:ident,)+;)+) => { $(mod $module { $(
        #[test]
        fn $test() {
            super::super::run($firewall, crate::$module::$test);
        }
    )+ })+ };
}

fn run(firewall: &'static str, test: fn()) {
    if !skip::missing("nft") {
        behind_firewall(firewall, test);
    }
}

mod visible {
    once_more! {
        "visible":
        masquerade:
            the_outside_sees_the_hosts_address_and_the_same_port,
            large_pings_arrive_in_fragments,
            two_containers_with_one_source_port_get_two,
        ;
        publish:
            the_container_sees_the_clients_address,
            replies_come_from_the_address_that_was_asked,
        ;
        hairpin:
            a_neighbour_keeps_its_own_address,
            the_gateway_stands_in_for_the_container_itself,
            bulk_data_goes_both_ways_through_the_hairpin,
        ;
        icmp_error:
            a_closed_port_outside_refuses_a_containers_socket,
            a_closed_port_in_a_container_refuses_the_outside_client,
            a_ttl_of_one_ends_at_the_gateway,
            a_smaller_uplink_mtu_is_learnt_by_tcp,
        ;
        fragment:
            large_datagrams_go_out_and_are_answered,
            large_datagrams_come_in_and_are_answered,
            large_datagrams_go_through_the_hairpin,
            fragments_go_out_in_any_order,
            fragments_come_in_in_any_order,
        ;
    }
}

mod bypass {
    once_more! {
        "bypass":
        masquerade:
            the_outside_sees_the_hosts_address_and_the_same_port,
            large_pings_arrive_in_fragments,
        ;
        publish:
            the_container_sees_the_clients_address,
        ;
        icmp_error:
            a_closed_port_outside_refuses_a_containers_socket,
            a_ttl_of_one_ends_at_the_gateway,
            a_smaller_uplink_mtu_is_learnt_by_tcp,
        ;
        fragment:
            large_datagrams_go_out_and_are_answered,
            large_datagrams_come_in_and_are_answered,
            fragments_go_out_in_any_order,
            fragments_come_in_in_any_order,
        ;
    }
}
