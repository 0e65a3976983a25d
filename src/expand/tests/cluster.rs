//! Clusters and endpoints.

use super::*;

/// All resources of one cluster.
fn cluster(fields: &str) -> BTreeMap<String, Json> {
    resources(&format!("version: 1\nclusters: [{{name: c, {fields}}}]\n"))
}

fn endpoint(address: &str, port: u16) -> Json {
    json!({ "endpoint": { "address": { "socket_address": { "address": address, "port_value": port } } } })
}

/// What serving endpoints over EDS adds to a locality.
fn served(endpoints: &[Json]) -> Json {
    json!({ "lb_endpoints": endpoints, "locality": {}, "load_balancing_weight": 1 })
}

#[test]
fn addresses_are_served_apart_from_their_cluster() {
    let made = cluster("endpoints: ['10.0.0.1:80', '[::1]:80', 'unix:///s']");
    let expected = json!({
        "name": "c",
        "type": "EDS",
        "connect_timeout": "5s",
        "eds_cluster_config": { "eds_config": ads() },
    });
    assert_eq!(made["CDS c"], expected);
    let pipe = json!({ "endpoint": { "address": { "pipe": { "path": "/s" } } } });
    let endpoints = served(&[endpoint("10.0.0.1", 80), endpoint("::1", 80), pipe]);
    assert_eq!(made["EDS c"], json!({ "cluster_name": "c", "endpoints": [endpoints] }));
    assert_eq!(made.len(), 2);
}

#[test]
fn host_names_are_resolved_by_the_proxy() {
    let made = cluster("endpoints: ['10.0.0.1:80', 'a.example:80']");
    let expected = json!({
        "name": "c",
        "type": "STRICT_DNS",
        "connect_timeout": "5s",
        "dns_lookup_family": "V4_PREFERRED",
        "load_assignment": {
            "cluster_name": "c",
            "endpoints": [{ "lb_endpoints": [endpoint("10.0.0.1", 80), endpoint("a.example", 80)] }],
        },
    });
    assert_eq!(made.into_iter().collect::<Vec<_>>(), [("CDS c".to_owned(), expected)]);
}

#[test]
fn the_type_decides_where_endpoints_go_and_what_is_added() {
    let table = [
        ("type: EDS", "EDS", Json::Null, Json::Null, true),
        ("type: eds", "EDS", Json::Null, Json::Null, true),
        ("type: STATIC", "STATIC", Json::Null, Json::Null, false),
        ("type: strict_dns", "STRICT_DNS", json!("V4_PREFERRED"), Json::Null, false),
        ("type: LOGICAL_DNS", "LOGICAL_DNS", json!("V4_PREFERRED"), Json::Null, false),
        ("type: ORIGINAL_DST", "ORIGINAL_DST", Json::Null, json!("CLUSTER_PROVIDED"), false),
        ("type: ORIGINAL_DST, lb_policy: random", "ORIGINAL_DST", Json::Null, json!("RANDOM"), false),
        ("type: STRICT_DNS, dns_lookup_family: ALL", "STRICT_DNS", json!("ALL"), Json::Null, false),
    ];
    for (fields, kind, dns, policy, eds) in table {
        let made = cluster(&format!("{fields}, endpoints: ['10.0.0.1:80']"));
        let cluster = &made["CDS c"];
        let field = |name: &str| cluster.get(name).cloned().unwrap_or_default();
        assert_eq!(
            (field("type"), field("dns_lookup_family"), field("lb_policy")),
            (json!(kind), dns, policy),
            "{fields}"
        );
        assert_eq!((made.contains_key("EDS c"), cluster.get("load_assignment").is_none()), (eds, eds), "{fields}");
        assert_eq!(cluster.get("eds_cluster_config").is_some(), eds, "{fields}");
    }
}

#[test]
fn without_endpoints_a_cluster_refers_to_a_load_assignment() {
    let made = cluster("lb_policy: RANDOM");
    assert_eq!(made.keys().collect::<Vec<_>>(), ["CDS c"]);
    assert_eq!(made["CDS c"]["type"], json!("EDS"));
    assert_eq!(cluster("endpoints: null").len(), 1);
    assert_eq!(cluster("endpoints: []")["EDS c"], json!({ "cluster_name": "c", "endpoints": [] }));
}

#[test]
fn endpoints_are_named_after_the_service() {
    let made = cluster("eds_cluster_config: {service_name: s}, endpoints: ['10.0.0.1:80']");
    assert_eq!(made["CDS c"]["eds_cluster_config"], json!({ "eds_config": ads(), "service_name": "s" }));
    assert_eq!(made["EDS s"]["cluster_name"], json!("s"));
}

#[test]
fn a_stated_config_source_stays() {
    let source = "{api_config_source: {api_type: GRPC, grpc_services: [{envoy_grpc: {cluster_name: x}}]}}";
    let made = cluster(&format!("eds_cluster_config: {{eds_config: {source}}}"));
    let expected = json!({ "api_config_source": { "api_type": "GRPC", "grpc_services": [{ "envoy_grpc": { "cluster_name": "x" } }] } });
    assert_eq!(made["CDS c"]["eds_cluster_config"]["eds_config"], expected);
    for source in ["{}", "{ads: {}}"] {
        let made = cluster(&format!("eds_cluster_config: {{eds_config: {source}}}"));
        assert_eq!(made["CDS c"]["eds_cluster_config"]["eds_config"], ads());
    }
}

#[test]
fn envoys_form_without_a_type_is_static_unless_it_needs_dns() {
    let native = |address: &str| {
        let fields = format!(
            "load_assignment: {{endpoints: [{{lb_endpoints: [{{endpoint: {{address: {{socket_address: {{address: {address}, port_value: 1}}}}}}}}]}}]}}"
        );
        cluster(&fields)["CDS c"].clone()
    };
    assert_eq!(native("10.0.0.1").get("type"), None);
    assert_eq!(native("a.example")["type"], json!("STRICT_DNS"));
    assert_eq!(native("10.0.0.1")["load_assignment"]["cluster_name"], json!("c"));
    let custom = cluster("cluster_type: {name: envoy.clusters.aggregate}");
    assert_eq!(custom["CDS c"].get("type"), None);
}

#[test]
fn endpoints_are_addresses_mappings_or_localities() {
    let text = r"
version: 1
load_assignments:
- cluster_name: c
  endpoints:
  - 10.0.0.1:80
  - {locality: {zone: a}, priority: 1, load_balancing_weight: 7, lb_endpoints: ['10.0.1.1:80']}
  - {address: 10.0.0.2:80, hostname: h, load_balancing_weight: 2, health_status: draining}
  - {endpoint: {address: 10.0.0.3:80}}
";
    let expected = json!([
        served(&[
            endpoint("10.0.0.1", 80),
            json!({
                "endpoint": { "address": { "socket_address": { "address": "10.0.0.2", "port_value": 80 } }, "hostname": "h" },
                "load_balancing_weight": 2,
                "health_status": "DRAINING",
            }),
            endpoint("10.0.0.3", 80),
        ]),
        json!({
            "locality": { "zone": "a" },
            "priority": 1,
            "load_balancing_weight": 7,
            "lb_endpoints": [endpoint("10.0.1.1", 80)],
        }),
    ]);
    assert_eq!(resource(text)["endpoints"], expected);
}

#[test]
fn an_explicit_null_keeps_a_default_away() {
    let table = [
        ("connect_timeout", "endpoints: ['a.example:80']"),
        ("type", "lb_policy: RANDOM"),
        ("dns_lookup_family", "type: STRICT_DNS"),
        ("eds_cluster_config", "type: EDS"),
        ("lb_policy", "type: ORIGINAL_DST"),
    ];
    for (field, others) in table {
        let made = cluster(&format!("{field}: null, {others}"));
        assert_eq!(made["CDS c"].get(field), Some(&Json::Null), "{field}");
        let default = cluster(others);
        assert!(default["CDS c"].get(field).is_some_and(|value| !value.is_null()), "{field}");
    }
    let text = "version: 1\nload_assignments: [{cluster_name: c, endpoints: [{lb_endpoints: [], locality: null, load_balancing_weight: null}]}]\n";
    let expected = json!([{ "lb_endpoints": [], "locality": null, "load_balancing_weight": null }]);
    assert_eq!(resource(text)["endpoints"], expected);
}

#[test]
fn protocol_options_go_where_they_belong() {
    let options = |fields: &str| {
        let made = cluster(&format!("type: STATIC, {fields}"));
        let mut options =
            made["CDS c"]["typed_extension_protocol_options"]["envoy.extensions.upstreams.http.v3.HttpProtocolOptions"]
                .clone();
        let url = "type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions";
        assert_eq!(options.as_object_mut().unwrap().remove("@type"), Some(json!(url)));
        options
    };
    let http2 = json!({ "explicit_http_config": { "http2_protocol_options": {} } });
    assert_eq!(options("http2_protocol_options: {}"), http2);
    assert_eq!(options("explicit_http_config: {http2_protocol_options: {}}"), http2);
    assert_eq!(options("auto_config: {}"), json!({ "auto_config": {} }));
    assert_eq!(
        options("http3_protocol_options: {}"),
        json!({ "explicit_http_config": { "http3_protocol_options": {} } })
    );
    let common = json!({
        "explicit_http_config": { "http_protocol_options": {} },
        "common_http_protocol_options": { "idle_timeout": "3600s" },
    });
    assert_eq!(options("common_http_protocol_options: {idle_timeout: 1h}"), common);
    let both = json!({ "use_downstream_protocol_config": {}, "upstream_http_protocol_options": { "auto_sni": true } });
    assert_eq!(options("use_downstream_protocol_config: {}, upstream_http_protocol_options: {auto_sni: true}"), both);
}

#[test]
fn a_verbatim_locality_gets_no_defaults() {
    let locality = r#"{"@type": type.googleapis.com/envoy.config.endpoint.v3.LocalityLbEndpoints, lb_endpoints: []}"#;
    let made = cluster(&format!("endpoints: [{locality}]"));
    assert_eq!(made["EDS c"]["endpoints"], json!([{ "lb_endpoints": [] }]));
}
