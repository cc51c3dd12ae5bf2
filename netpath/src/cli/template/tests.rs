//! Unit tests of `--format`.

use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;

fn value() -> Value {
    json!({
        "Name": "web", "Id": "abcdef", "EnableIPv6": false, "Internal": true,
        "IPAM": { "Driver": "default", "Options": null, "Config": [
            { "Subnet": "10.0.0.0/24", "Gateway": "10.0.0.1" },
            { "Subnet": "fd00::/64", "Gateway": "fd00::1", "IPRange": "fd00::/96" },
        ] },
        "Options": { "com.docker.network.driver.mtu": "1500" },
        "Labels": { "team": "net" },
        "Containers": { "1": { "Name": "a" }, "2": { "Name": "b" } },
    })
}

fn render(text: &str) -> Result<String, String> {
    let root = value();
    let scope = Scope {
        root: &root,
        labels: &root["Labels"],
        maps: &["Options", "Labels", "Containers"],
        optional: &["IPRange"],
    };
    let template = Template::parse(text).map_err(|e| e.to_string())?;
    template.render(&scope).map_err(|e| e.to_string())
}

#[test]
fn what_docker_s_users_write() {
    for (text, want) in [
        ("plain", "plain"),
        ("", ""),
        ("{{.Name}}", "web"),
        ("{{ .Name }}: {{.Internal}}", "web: true"),
        ("{{.IPAM.Driver}}", "default"),
        (
            "{{.IPAM.Config}}",
            "[map[Gateway:10.0.0.1 Subnet:10.0.0.0/24] map[Gateway:fd00::1 IPRange:fd00::/96 \
             Subnet:fd00::/64]]",
        ),
        ("{{(index .IPAM.Config 0).Subnet}}", "10.0.0.0/24"),
        ("{{(index .IPAM.Config 0).IPRange}}", ""),
        ("{{(index .IPAM.Config 1).IPRange}}", "fd00::/96"),
        (
            "{{range .IPAM.Config}}{{.Subnet}} {{end}}",
            "10.0.0.0/24 fd00::/64 ",
        ),
        (
            "{{range $i, $c := .IPAM.Config}}{{$i}}={{$c.Gateway}} {{$.Name}};{{end}}",
            "0=10.0.0.1 web;1=fd00::1 web;",
        ),
        (
            "{{range $k, $v := .Containers}}{{$k}}:{{$v.Name}} {{end}}",
            "1:a 2:b ",
        ),
        ("{{range $v := .Containers}}{{$v.Name}}{{end}}", "ab"),
        (
            "{{index .Options \"com.docker.network.driver.mtu\"}}",
            "1500",
        ),
        ("{{index .Options `none`}}", ""),
        ("{{.Labels.team}}{{.Labels.none}}", "net"),
        ("{{.Label \"team\"}}", "net"),
        ("{{json .Name}}", "\"web\""),
        ("{{.Labels | json}}", "{\"team\":\"net\"}"),
        (
            "{{json (index .IPAM.Config 0)}}",
            "{\"Gateway\":\"10.0.0.1\",\"Subnet\":\"10.0.0.0/24\"}",
        ),
        ("{{len .Containers}}", "2"),
        ("{{if .EnableIPv6}}6{{else}}4{{end}}", "4"),
        ("{{if and .Internal (not .EnableIPv6)}}x{{end}}", "x"),
        ("{{if eq .Name \"web\"}}yes{{end}}", "yes"),
        ("{{or .EnableIPv6 .Name}}", "web"),
        ("{{with .IPAM}}{{.Driver}}{{end}}", "default"),
        ("{{with .EnableIPv6}}x{{else}}{{.Name}}{{end}}", "web"),
        ("{{range .IPAM.Options}}x{{else}}none{{end}}", "none"),
        ("{{upper .Name}} {{.Name | title}}", "WEB Web"),
        ("{{truncate .Id 3}}", "abc"),
        ("{{join (split \"a,b\" \",\") \"-\"}}", "a-b"),
        ("a {{- .Name -}} b", "awebb"),
        ("{{/* nothing */}}{{.Name}}", "web"),
        ("{{println .Name .Id}}", "web abcdef\n"),
        ("{{\"}}\"}}", "}}"),
        ("{{.IPAM.Options}}", "<nil>"),
    ] {
        assert_eq!(render(text).as_deref(), Ok(want), "{text}");
    }
}

#[test]
fn what_it_does_not_know_is_refused_by_name() {
    for (text, why) in [
        (
            "{{.Nme}}",
            "there is no `.Nme`; the fields here are .Containers",
        ),
        ("{{.Name.First}}", "`.First`: \"web\" has no fields"),
        (
            "{{printf \"%s\" .Name}}",
            "`printf` is not a function; the functions are and, eq",
        ),
        ("{{.Name}", "{{ without }}"),
        ("{{}}", "an action without a word"),
        ("{{if .Name}}x", "{{if}} without {{end}}"),
        (
            "{{range .IPAM.Config}}x{{else}}",
            "{{range}} without {{end}}",
        ),
        (
            "{{if .Name}}a{{else}}b{{else}}c{{end}}",
            "a second {{else}}",
        ),
        ("{{end}}", "{{end}} without"),
        ("{{else}}", "{{else}} without {{if}}"),
        ("{{$x := .Name}}", "`:` is not known here"),
        ("{{$x}}", "$x is not set"),
        ("{{.Name | 3}}", "`3` is not a function"),
        ("{{json}}", "`json` takes one value, not 0"),
        ("{{(json .Name}}", "( without )"),
        ("{{json .Name)}}", "`)` is not expected"),
        ("{{index .IPAM.Config 7}}", "no 7 in a list of 2"),
        (
            "{{index .IPAM.Config \"x\"}}",
            "a list has nothing at \"x\"",
        ),
        ("{{range .Name}}{{end}}", "range goes over lists and maps"),
        ("{{range x := .IPAM}}{{end}}", "`x` is not a variable"),
        ("{{\"x}}", "{{ without }}"),
        ("{{template \"x\"}}", "`template` is not a function"),
    ] {
        let e = render(text).unwrap_err();
        assert!(e.starts_with("--format ") && e.contains(why), "{text}: {e}");
    }
    let deep = format!("{{{{{}.Name{}}}}}", "(".repeat(500), ")".repeat(500));
    assert!(render(&deep).unwrap_err().contains("brackets"));
    let deep = "{{if .Name}}".repeat(500) + &"{{end}}".repeat(500);
    assert!(render(&deep).unwrap_err().contains("blocks"));
}

#[test]
fn lists_have_their_escapes() {
    assert_eq!(escapes("{{.ID}}\\t{{.Name}}\\n"), "{{.ID}}\t{{.Name}}\n");
}

proptest! {
    /// Nothing that anybody writes ends in a panic.
    #[test]
    fn any_text_is_read_or_refused(
        words in proptest::collection::vec(
            prop_oneof![
                Just("{{"), Just("}}"), Just("{{-"), Just("-}}"), Just("."), Just(".Name"),
                Just("$"), Just("$k"), Just(" "), Just("("), Just(")"), Just("|"), Just("\""),
                Just("`"), Just("\\"), Just("range "), Just("if "), Just("else"), Just("end"),
                Just("json "), Just("index "), Just("0"), Just("-1"), Just(":="), Just(","),
                Just("ä"), Just("/*"), Just("*/"), Just(".IPAM.Config"),
            ],
            0..24,
        ),
    ) {
        let _ = render(&words.concat());
    }
}
