//! Tests of the grammar of published ports.

use proptest::prelude::*;

use super::*;

fn parse(s: &str) -> Result<PortSpec, SpecError> {
    s.parse()
}

#[test]
fn forms() {
    let full = parse("127.0.0.1:8080-8082:80-82/udp").unwrap();
    assert_eq!(full.host_ip, Some(Ipv4Addr::LOCALHOST.into()));
    assert_eq!(full.host, PortRange::new(8080, 8082));
    assert_eq!((full.container.first(), full.container.last()), (80, 82));
    assert_eq!(full.proto, Protocol::Udp);
    let plain = parse("8080:80").unwrap();
    assert_eq!(
        (plain.host_ip, plain.host, plain.proto),
        (None, PortRange::new(8080, 8080), Protocol::Tcp)
    );
    assert_eq!(parse("80").unwrap().host, None);
    assert_eq!(parse("127.0.0.1::80/tcp").unwrap().host, None);
    assert_eq!(
        parse("8000-8009:80").unwrap().host.map(PortRange::width),
        Some(10)
    );
}

#[test]
fn refusals_name_their_reason() {
    let cases = [
        ("", SpecError::Form),
        ("8080:", SpecError::Form),
        ("1:2:3:4", SpecError::Form),
        ("8080:80,colour=red", SpecError::Option("colour=red".into())),
        ("0:80", SpecError::Port("0".into())),
        ("65536:80", SpecError::Port("65536".into())),
        ("+80:80", SpecError::Port("+80".into())),
        ("a:80", SpecError::Port("a".into())),
        ("9-8:9-8", SpecError::Backwards("9-8".into())),
        (
            "1-3:1-2",
            SpecError::Widths {
                host: 3,
                container: 2,
            },
        ),
        ("1.2.3:80:80", SpecError::HostIp("1.2.3".into())),
        ("224.0.0.1:80:80", SpecError::HostIp("224.0.0.1".into())),
        ("80:80/icmp", SpecError::Protocol("icmp".into())),
        ("8080:80/sctp", SpecError::Sctp),
        ("80/sctp", SpecError::Sctp),
        ("80-81:80/sctp", SpecError::Sctp),
        ("80:80/sctp6", SpecError::Protocol("sctp6".into())),
        ("[::1]80:80", SpecError::Form),
        ("[::1:80:80", SpecError::Form),
        ("::1:80:80", SpecError::Form),
        ("[ff02::1]:80:80", SpecError::HostIp("ff02::1".into())),
        ("[1.2.3.4]:80:80", SpecError::HostIp("1.2.3.4".into())),
        (
            "[::ffff:192.0.2.1]:80:80",
            SpecError::Mapped("::ffff:192.0.2.1".into(), Ipv4Addr::new(192, 0, 2, 1)),
        ),
        ("80:80,", SpecError::Option(String::new())),
        ("80:80,balance=2", SpecError::Option("balance=2".into())),
        ("80:80,allow=", SpecError::Allow(String::new())),
        (
            "80:80,allow=1.2.3.4/33",
            SpecError::Allow("1.2.3.4/33".into()),
        ),
        (
            "80:80,allow=192.0.2.1/24",
            SpecError::AllowBits(
                "192.0.2.1/24".parse().unwrap(),
                "192.0.2.0/24".parse().unwrap(),
            ),
        ),
        ("80,balance", SpecError::Balance),
        ("80-89:80,balance", SpecError::Balance),
    ];
    for (text, error) in cases {
        assert_eq!(parse(text), Err(error), "{text}");
    }
}

#[test]
fn addresses_of_both_families_and_options() {
    let spec =
        parse("[2001:db8::1]:8080:8080/sctp,allow=2001:db8::/32,allow=192.0.2.7,balance").unwrap();
    assert_eq!(spec.host_ip, Some("2001:db8::1".parse().unwrap()));
    assert_eq!((spec.proto, spec.balance), (Protocol::Sctp, true));
    let allow: Vec<String> = spec.allow.iter().map(ToString::to_string).collect();
    assert_eq!(allow, ["192.0.2.7/32", "2001:db8::/32"]);
    assert_eq!(
        spec.to_string(),
        "[2001:db8::1]:8080:8080/sctp,allow=192.0.2.7,allow=2001:db8::/32,balance"
    );
    let any = parse("[::]:8080:80").unwrap();
    assert_eq!(any.host_ip, Some(Ipv6Addr::UNSPECIFIED.into()));
    assert_eq!(parse("[::1]::80").unwrap().host, None);
    // The order of a list is no difference.
    let (a, b) = (
        "80:80,allow=1.0.0.0/8,allow=2.0.0.0/8",
        "80:80,allow=2.0.0.0/8,allow=1.0.0.0/8",
    );
    assert_eq!(parse(a), parse(b));
    let plain = parse("80:80").unwrap();
    assert!(plain.differs_in_allow_only(&parse(a).unwrap()));
    assert!(!plain.differs_in_allow_only(&parse("80:81,allow=1.0.0.0/8").unwrap()));
    assert!(!plain.differs_in_allow_only(&plain));
}

fn range() -> impl Strategy<Value = PortRange> {
    (1..=u16::MAX, 0..100u16)
        .prop_map(|(first, more)| PortRange::new(first, first.saturating_add(more)).unwrap())
}

proptest! {
    #[test]
    fn never_panics(text in "\\PC*") {
        let _ = parse(&text);
    }

    #[test]
    fn never_panics_near_the_grammar(text in "[0-9.:/\\[\\],a-z=-]{0,40}") {
        let _ = parse(&text);
    }

    #[test]
    fn display_round_trips(
        container in range(),
        host in proptest::option::of(1..=u16::MAX),
        ip in proptest::option::of(any::<IpAddr>()),
        proto in 0..3usize,
        allow in prop::collection::vec((any::<IpAddr>(), 0..=32u8), 0..4),
        balance in any::<bool>(),
    ) {
        let unfit = |a: &IpAddr| a.is_multicast() || *a == IpAddr::V4(Ipv4Addr::BROADCAST)
            || matches!(a, IpAddr::V6(a) if a.to_ipv4_mapped().is_some());
        let host_ip = ip.filter(|a| !unfit(a));
        let more = container.last() - container.first();
        let host = host.and_then(|h| PortRange::new(h, h.checked_add(more)?));
        let proto = [Protocol::Tcp, Protocol::Udp, Protocol::Sctp][proto];
        let host = if proto == Protocol::Sctp { Some(container) } else { host };
        let net = |(a, len): (IpAddr, u8)| IpNet::new(a, len).unwrap().trunc();
        let mut allow: Vec<IpNet> = allow.into_iter().map(net).collect();
        allow.sort_unstable();
        allow.dedup();
        let balance = balance && host.is_some();
        let spec = PortSpec { host_ip, host, container, proto, allow, balance };
        prop_assert_eq!(parse(&spec.to_string()), Ok(spec));
    }
}
