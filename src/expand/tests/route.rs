//! Route tables and matchers.

use super::*;

/// The only route of a table.
fn route(yaml: &str) -> Json {
    resource(&format!("version: 1\nroute_configs:\n- name: r\n  routes:\n  - {yaml}\n"))["virtual_hosts"][0]["routes"]
        [0]
    .clone()
}

fn matching(yaml: &str) -> Json {
    route(&format!("{{match: {yaml}, route: c}}"))["match"].clone()
}

#[test]
fn a_table_of_routes_is_one_virtual_host() {
    let text = "version: 1\nroute_configs: [{name: r, routes: [{route: c}]}]\n";
    let expected = json!([{
        "name": "local_service",
        "domains": ["*"],
        "routes": [{ "match": { "prefix": "/" }, "route": { "cluster": "c" } }],
    }]);
    assert_eq!(resource(text)["virtual_hosts"], expected);
}

#[test]
fn virtual_hosts_are_named_after_their_first_domain() {
    let host = |yaml: &str| {
        let host = resource(&format!("version: 1\nroute_configs: [{{name: r, virtual_hosts: [{yaml}]}}]\n"));
        let host = &host["virtual_hosts"][0];
        (host["name"].clone(), host["domains"].clone())
    };
    assert_eq!(host("{}"), (json!("local_service"), json!(["*"])));
    assert_eq!(host("{name: n}"), (json!("n"), json!(["*"])));
    assert_eq!(host("{domains: [a.example, b.example]}"), (json!("a.example"), json!(["a.example", "b.example"])));
    assert_eq!(host("{name: n, domains: [a.example]}"), (json!("n"), json!(["a.example"])));
    assert_eq!(host("{name: null, domains: [a.example]}"), (Json::Null, json!(["a.example"])));
    assert_eq!(host("{domains: null}"), (Json::Null, Json::Null), "an explicit null keeps defaults away");
}

#[test]
fn a_match_without_a_path_is_any_path() {
    assert_eq!(route("{route: c}")["match"], json!({ "prefix": "/" }));
    assert_eq!(matching("/api"), json!({ "prefix": "/api" }));
    assert_eq!(matching("{path: /x}"), json!({ "path": "/x" }));
    assert_eq!(matching("{pathSeparatedPrefix: /x}"), json!({ "pathSeparatedPrefix": "/x" }));
    assert_eq!(matching("{safe_regex: /a.*}"), json!({ "safe_regex": { "regex": "/a.*" } }));
    assert_eq!(matching("{connect_matcher: {}}"), json!({ "connect_matcher": {} }));
    assert_eq!(matching("{grpc: {}}"), json!({ "prefix": "/", "grpc": {} }));
    assert_eq!(matching("{prefix: null}"), json!({ "prefix": null }));
    assert_eq!(route("{match: null, route: c}")["match"], Json::Null);
}

#[test]
fn headers_are_matched_by_a_mapping() {
    let header = |yaml: &str| {
        let mut header = matching(&format!("{{headers: {{x-a: {yaml}}}}}"))["headers"][0].clone();
        assert_eq!(header.as_object_mut().unwrap().remove("name"), Some(json!("x-a")));
        header
    };
    assert_eq!(header("v"), json!({ "string_match": { "exact": "v" } }));
    assert_eq!(header("5"), json!({ "string_match": { "exact": "5" } }));
    assert_eq!(header("1.10"), json!({ "string_match": { "exact": "1.10" } }));
    assert_eq!(header("true"), json!({ "present_match": true }));
    assert_eq!(header("false"), json!({ "present_match": true, "invert_match": true }));
    assert_eq!(header("[GET, 'a.b']"), json!({ "string_match": { "safe_regex": { "regex": r"GET|a\.b" } } }));
    assert_eq!(header("{prefix: p}"), json!({ "string_match": { "prefix": "p" } }));
    assert_eq!(
        header("{safe_regex: p, ignore_case: true}"),
        json!({ "string_match": { "safe_regex": { "regex": "p" }, "ignore_case": true } })
    );
    assert_eq!(header("{range_match: {start: 1, end: 2}}"), json!({ "range_match": { "start": 1, "end": 2 } }));
    assert_eq!(
        header("{stringMatch: p, invert_match: true}"),
        json!({ "stringMatch": { "exact": "p" }, "invert_match": true })
    );
    let list = "{headers: [{name: x-a, string_match: v}]}";
    assert_eq!(matching(list)["headers"], json!([{ "name": "x-a", "string_match": { "exact": "v" } }]));
    assert_eq!(matching("{headers: {x-a: null}}")["headers"], json!([]));
}

#[test]
fn query_parameters_are_matched_by_a_mapping() {
    let expected = json!([
        { "name": "v", "string_match": { "exact": "1" } },
        { "name": "beta", "present_match": true },
        { "name": "w", "string_match": { "suffix": "x" } },
    ]);
    assert_eq!(matching("{query_parameters: {v: 1, beta: true, w: {suffix: x}}}")["query_parameters"], expected);
}

#[test]
fn headers_are_added_by_a_mapping() {
    let expected =
        json!([{ "header": { "key": "x-a", "value": "v" } }, { "header": { "key": "x-b", "value": "1.10" } }]);
    let added = route("{route: c, request_headers_to_add: {x-a: v, x-b: 1.10}}")["request_headers_to_add"].clone();
    assert_eq!(added, expected);
}

#[test]
fn actions_have_short_forms() {
    assert_eq!(route("{route: c}")["route"], json!({ "cluster": "c" }));
    let action = |yaml: &str| route(&format!("{{route: {yaml}}}"))["route"].clone();
    let weighted =
        json!({ "weighted_clusters": { "clusters": [{ "name": "a", "weight": 90 }, { "name": "b", "weight": 10 }] } });
    assert_eq!(action("{weighted_clusters: [{name: a, weight: 90}, {name: b, weight: 10}]}"), weighted);
    let retry = action("{cluster: c, retry_policy: {retry_on: [5xx, reset, 503], per_try_timeout: 250ms}}");
    assert_eq!(retry["retry_policy"], json!({ "retry_on": "5xx,reset,503", "per_try_timeout": "0.25s" }));
    let upgrade = action("{cluster: c, upgrade_configs: [websocket, {upgrade_type: CONNECT, enabled: false}]}");
    assert_eq!(
        upgrade["upgrade_configs"],
        json!([{ "upgrade_type": "websocket" }, { "upgrade_type": "CONNECT", "enabled": false }])
    );
}

#[test]
fn path_templates_are_extensions() {
    let made = resource(
        "version: 1\nroute_configs: [{name: r, routes: [{match: {path_template: '/a/{id}'}, route: {cluster: c, path_template_rewrite: '/b/{id}'}}]}]\n",
    );
    let route = &made["virtual_hosts"][0]["routes"][0];
    let template = |kind: &str, message: &str, field: &str, value: &str| {
        json!({
            "name": format!("envoy.path.{kind}.uri_template.uri_template_{kind}{}", if kind == "match" { "er" } else { "r" }),
            "typed_config": {
                "@type": format!("type.googleapis.com/envoy.extensions.path.{kind}.uri_template.v3.{message}"),
                field: value,
            },
        })
    };
    let matched = template("match", "UriTemplateMatchConfig", "path_template", "/a/{id}");
    assert_eq!(route["match"], json!({ "path_match_policy": matched }));
    let rewritten = template("rewrite", "UriTemplateRewriteConfig", "path_template_rewrite", "/b/{id}");
    assert_eq!(route["route"], json!({ "cluster": "c", "path_rewrite_policy": rewritten }));
}
