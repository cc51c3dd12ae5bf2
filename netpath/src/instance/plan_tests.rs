//! Tests of plans: what goes, stays and comes, from a state, a configuration and what the host has.

use std::net::Ipv4Addr;

use super::*;
use crate::{
    config::Mac,
    instance::plan_network::on_bridge,
    net::Link,
    state::{self, testing},
};

const MAC: Mac = Mac([2, 0, 0, 0, 0, 1]);
const OTHER: Mac = Mac([2, 0, 0, 0, 0, 9]);
const NET: &str = "[[network]]\nname = \"n\"\nbridge = \"b\"\nsubnet = \"172.17.0.0/16\"\n";

fn link(index: u32, name: &str, kind: &str, mac: Mac) -> Link {
    Link {
        index,
        name: name.into(),
        kind: Some(kind.into()),
        ethernet: true,
        bare: false,
        mac,
        mtu: 1500,
        up: true,
        controller: None,
        isolated: None,
        lower: None,
        lower_netns: None,
        xdp: None,
        segments: None,
        tso_max: None,
    }
}

/// The bridge of the network `n` and the interface of its endpoint `e`.
fn facts() -> Facts {
    Facts {
        links: vec![link(7, "b", "bridge", MAC), link(8, "v", "veth", OTHER)],
        ..Facts::none()
    }
}

fn config(text: &str) -> Config {
    Config::parse(text, "a test").unwrap()
}

fn plan(state: &State, text: &str, facts: &Facts) -> Plan {
    Planner::new(state, facts).converge(&config(text)).unwrap()
}

fn words(plan: &Plan) -> Vec<String> {
    plan.steps.iter().map(ToString::to_string).collect()
}

/// The state in which `text` has come true, with an endpoint `e` that a command has made.
fn state(text: &str) -> State {
    let mut made = plan(&State::default(), text, &Facts::none());
    let mut networks = made.steps.drain(..).filter_map(|step| match step {
        Step::AddNetwork(n) => Some(*n),
        _ => None,
    });
    let mut n = networks.next().unwrap();
    (n.ifindex, n.mac) = (7, MAC);
    let mut e = testing::network(None, &["fd00::2"]).endpoints.remove(0);
    (e.addr6, e.ifindex) = (None, 8);
    n.endpoints = vec![e];
    State {
        networks: vec![n],
        ..State::default()
    }
}

#[test]
fn what_is_there_needs_nothing() {
    let state = state(NET);
    assert_eq!(plan(&state, NET, &facts()), Plan::default());
    // It is found by its index, whatever else has its name.
    let mut other = facts();
    other.links[0] = link(9, "b", "bridge", OTHER);
    assert_eq!(words(&plan(&state, NET, &other)), ["change network n"]);
}

#[test]
fn a_network_on_other_ground_is_made_anew_after_the_old_one_is_gone() {
    for (from, to) in [
        ("\"b\"", "\"c\""),
        ("172.17.0.0/16", "172.16.0.0/12"),
        ("/16\"\n", "/16\"\ngateway = \"172.17.0.9\"\n"),
        ("/16\"\n", "/16\"\nipv6 = \"fd00:17::/64\"\n"),
        ("/16\"\n", "/16\"\nmode = \"routed\"\n"),
    ] {
        let plan = plan(&state(NET), &NET.replace(from, to), &facts());
        let words = words(&plan);
        assert_eq!(
            words[..2],
            ["remove endpoint e", "remove network n"],
            "{to}"
        );
        assert!(words[2].starts_with("add network n ("), "{to}: {words:?}");
        let losses = ["network n (to make it anew)", "endpoint e"];
        assert_eq!(plan.losses, losses, "{to}");
        assert!(plan.removes("network `n`") && !plan.removes("network `m`"));
    }
}

#[test]
fn what_changes_in_place_is_no_loss() {
    let changed = format!("{NET}icc = false\nmtu = 1400\n");
    let plan = plan(&state(NET), &changed, &facts());
    assert_eq!(words(&plan), ["change network n"]);
    assert_eq!(plan.losses, Vec::<String>::new());
    assert!(!plan.removes("network `n`"));
}

#[test]
fn the_configuration_s_go_with_it_and_those_of_commands_stay() {
    let mut state = state(NET);
    let gone = plan(&state, "", &facts());
    assert_eq!(words(&gone), ["remove endpoint e", "remove network n"]);
    assert_eq!(gone.losses, ["network n", "endpoint e"]);
    let n = &mut state.networks[0];
    n.origin = Origin::Command;
    assert_eq!(plan(&state, "", &facts()), Plan::default());
    state.networks[0].endpoints[0].origin = Origin::Config;
    let gone = plan(&state, "", &facts());
    assert_eq!(words(&gone), ["remove endpoint e"]);
    assert_eq!(gone.losses, ["endpoint e"]);
}

#[test]
fn what_a_killed_command_has_half_made_goes_and_is_no_loss() {
    let mut whole = state(NET);
    whole.networks[0].endpoints[0].unfinished = true;
    let endpoint = plan(&whole, NET, &facts());
    assert_eq!(words(&endpoint), ["remove endpoint e"]);
    whole.networks[0].unfinished = true;
    let network = plan(&whole, NET, &facts());
    let words = words(&network);
    assert_eq!(words[..2], ["remove endpoint e", "remove network n"]);
    assert!(words[2].starts_with("add network n (") && words.len() == 3);
    assert!(endpoint.losses.is_empty() && network.losses.is_empty());
}

#[test]
fn an_endpoint_without_its_interface_is_retired() {
    let state = state(NET);
    let mut gone = facts();
    gone.links.truncate(1);
    let plan = plan(&state, NET, &gone);
    assert_eq!(plan.steps, [Step::Retire("e".into())]);
    assert!(plan.losses.is_empty());
}

#[test]
fn a_chosen_subnet_meets_nothing() {
    let facts = Facts {
        on_link: vec![("172.17.4.0/24".parse().unwrap(), 3)],
        nameservers: vec![Ipv4Addr::new(172, 18, 0, 53)],
        ..facts()
    };
    let free = "[[network]]\nname = \"free\"\nbridge = \"f\"\n";
    let claimed = NET.replace("172.17", "172.19").replace("\"b\"", "\"c\"");
    let plan = plan(&State::default(), &format!("{free}{claimed}"), &facts);
    let words = words(&plan);
    assert!(
        words[0].starts_with("add network free (172.20.0.0/16 "),
        "{words:?}"
    );
}

#[test]
fn a_subnet_that_leads_elsewhere_is_refused() {
    let state = State::default();
    let refused = |facts: &Facts| {
        let e = Planner::new(&state, facts).converge(&config(NET));
        e.unwrap_err().to_string()
    };
    let mut facts = facts();
    facts.on_link = vec![("172.17.4.0/24".parse().unwrap(), 8)];
    assert!(refused(&facts).contains("172.17.4.0/24"));
    // Its own bridge's is no obstacle.
    facts.on_link[0].1 = 7;
    assert!(Planner::new(&state, &facts).converge(&config(NET)).is_ok());
    facts.links[0].kind = Some("veth".into());
    assert!(refused(&facts).contains("a veth"), "{}", refused(&facts));
}

#[test]
fn a_bridge_is_ones_own_by_its_index_or_its_mac_address() {
    let n = state(NET).networks.remove(0);
    let on = |link: Option<Link>| on_bridge(n.clone(), link.as_ref());
    assert_eq!(on(Some(link(7, "b", "bridge", OTHER))).unwrap(), n);
    assert_eq!(on(Some(link(9, "b", "bridge", MAC))).unwrap(), n);
    let adopted = on(Some(link(9, "b", "bridge", OTHER))).unwrap();
    assert!(adopted.adopted && adopted.mac == OTHER);
    let anew = on(None).unwrap();
    assert!(!anew.adopted && anew.ifindex == 0 && anew.mac == MAC);
    assert!(on(Some(link(9, "b", "veth", MAC))).is_err());
}

#[test]
fn one_that_comes_back_has_its_address_if_nobody_else_has() {
    let (mut state, facts) = (state(NET), facts());
    let before = state.networks[0].endpoints.remove(0);
    let wanted = crate::config::Endpoint {
        name: "e".into(),
        netns: before.netns.clone(),
        addr: None,
        addr6: None,
        mac: None,
        rates: Rates::default(),
        ifname: None,
        gw_priority: 0,
        publish: Vec::new(),
    };
    let again = |state: &State, wanted: &crate::config::Endpoint| {
        let n = &state.networks[0];
        Planner::new(state, &facts).as_before(n, wanted, Some(&before))
    };
    let back = again(&state, &wanted);
    assert_eq!((back.addr, back.mac), (Some(before.addr), Some(before.mac)));
    // What is asked for goes first.
    let asked = Some(Ipv4Addr::new(172, 17, 0, 9));
    let back = again(
        &state,
        &crate::config::Endpoint {
            addr: asked,
            ..wanted.clone()
        },
    );
    assert_eq!(back.addr, asked);
    let other = state::Endpoint {
        name: "f".into(),
        ..before.clone()
    };
    state.networks[0].endpoints.push(other);
    assert_eq!(again(&state, &wanted).addr, None);
}

#[test]
fn a_plan_that_was_agreed_to_is_known_by_its_words_and_losses() {
    let agreed = plan(&state(NET), "", &facts());
    assert!(agreed.says(&plan(&state(NET), "", &facts())));
    let other = Plan {
        losses: vec!["network n".into()],
        ..agreed.clone()
    };
    assert!(!agreed.says(&other) && !agreed.says(&Plan::default()));
}

#[test]
fn ipv6_forwarding_is_the_last_step_and_only_where_it_is_off() {
    let six = NET.replace("/16\"\n", "/16\"\nipv6 = \"fd00:17::/64\"\n");
    let mut facts = Facts::none();
    let last = |facts: &Facts| words(&plan(&State::default(), &six, facts)).pop().unwrap();
    assert_eq!(last(&facts), "turn IPv6 forwarding on");
    facts.forwarding6.on = true;
    assert!(last(&facts).starts_with("add network"));
}
