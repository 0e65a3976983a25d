//! Shorthands of single values.

use super::*;

/// A cluster with one more field.
fn field(name: &str, value: &str) -> Json {
    resource(&format!("version: 1\nclusters: [{{name: c, type: STATIC, {name}: {value}}}]\n"))[name].clone()
}

#[test]
fn durations_have_units() {
    let table = [
        ("5s", "5s"),
        ("0.25s", "0.25s"),
        ("0.250000000s", "0.250000000s"),
        ("250ms", "0.25s"),
        ("1500ms", "1.5s"),
        ("1.5ms", "0.0015s"),
        ("0ms", "0s"),
        ("7us", "0.000007s"),
        ("3ns", "0.000000003s"),
        ("5m", "300s"),
        ("1.5m", "90s"),
        ("1h", "3600s"),
        ("-5m", "-300s"),
    ];
    for (written, expected) in table {
        assert_eq!(field("connect_timeout", written), json!(expected), "{written}");
    }
}

#[test]
fn enums_are_written_in_any_case() {
    for (written, expected) in [("round_robin", "ROUND_ROBIN"), ("Ring_Hash", "RING_HASH"), ("nonsense", "nonsense")] {
        assert_eq!(field("lb_policy", written), json!(expected));
    }
    assert_eq!(field("lb_policy", "2"), json!(2));
}

#[test]
fn addresses_are_one_line() {
    let listener = |address: &str| {
        resource(&format!("version: 1\nlisteners: [{{name: l, address: '{address}'}}]\n"))["address"].clone()
    };
    let socket = |address: &str, port: u16| json!({ "socket_address": { "address": address, "port_value": port } });
    assert_eq!(listener("0.0.0.0:80"), socket("0.0.0.0", 80));
    assert_eq!(listener("a.example:65535"), socket("a.example", 65535));
    assert_eq!(listener("[2001:db8::1]:0"), socket("2001:db8::1", 0));
    assert_eq!(listener("tcp://[::]:443"), socket("::", 443));
    let udp = json!({ "socket_address": { "protocol": "UDP", "address": "0.0.0.0", "port_value": 53 } });
    assert_eq!(listener("udp://0.0.0.0:53"), udp);
    assert_eq!(listener("unix:///run/x.sock"), json!({ "pipe": { "path": "/run/x.sock" } }));
    assert_eq!(listener("unix://@abstract"), json!({ "pipe": { "path": "@abstract" } }));
}

#[test]
fn grpc_services_are_clusters() {
    let text = "version: 1\nlisteners: [{name: l, rds: r, http_filters: [{ext_authz: {grpc_service: authz}}]}]\n";
    let made = resource(text);
    let filter = &manager(&made)["http_filters"][0];
    assert_eq!(filter["typed_config"]["grpc_service"], json!({ "envoy_grpc": { "cluster_name": "authz" } }));
}

#[test]
fn ranges_are_one_line() {
    let text = "version: 1\nlisteners:\n- name: l\n  filter_chains: [{rds: r, filter_chain_match: {prefix_ranges: [10.0.0.0/8, '::1/128']}}]\n";
    let expected =
        json!([{ "address_prefix": "10.0.0.0", "prefix_len": 8 }, { "address_prefix": "::1", "prefix_len": 128 }]);
    assert_eq!(resource(text)["filter_chains"][0]["filter_chain_match"]["prefix_ranges"], expected);
}

#[test]
fn percentages_are_numbers() {
    let fraction = |percent: &str| {
        let text = format!(
            "version: 1\nroute_configs: [{{name: r, routes: [{{match: {{runtime_fraction: {percent}}}, route: c}}]}}]\n"
        );
        resource(&text)["virtual_hosts"][0]["routes"][0]["match"]["runtime_fraction"].clone()
    };
    let of = |numerator: u32, denominator: &str| json!({ "default_value": { "numerator": numerator, "denominator": denominator } });
    assert_eq!(fraction("5"), of(5, "HUNDRED"));
    assert_eq!(fraction("100"), of(100, "HUNDRED"));
    assert_eq!(fraction("1.0"), of(1, "HUNDRED"));
    assert_eq!(fraction("0.5"), of(50, "TEN_THOUSAND"));
    assert_eq!(fraction("99.99"), of(9_999, "TEN_THOUSAND"));
    assert_eq!(fraction("0.0001"), of(1, "MILLION"));
    assert_eq!(
        fraction("{default_value: 7, runtime_key: k}"),
        json!({ "default_value": { "numerator": 7, "denominator": "HUNDRED" }, "runtime_key": "k" })
    );
    let text =
        "version: 1\nlisteners: [{name: l, rds: r, http_connection_manager: {tracing: {random_sampling: 1.5}}}]\n";
    assert_eq!(manager(&resource(text))["tracing"]["random_sampling"], json!({ "value": 1.5 }));
}
