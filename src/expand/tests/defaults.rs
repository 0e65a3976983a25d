//! What is filled in.

use super::*;

fn filter(yaml: &str) -> Json {
    let made = resource(&format!("version: 1\nlisteners: [{{name: l, rds: t, http_filters: [{yaml}]}}]\n"));
    let mut config = manager(&made)["http_filters"][0]["typed_config"].clone();
    config.as_object_mut().unwrap().remove("@type");
    config
}

fn all() -> Json {
    json!({ "default_value": { "numerator": 100, "denominator": "HUNDRED" } })
}

#[test]
fn filters_do_something() {
    let gzip = json!({
        "name": "envoy.compression.gzip.compressor",
        "typed_config": { "@type": "type.googleapis.com/envoy.extensions.compression.gzip.compressor.v3.Gzip" },
    });
    let brotli = json!({
        "name": "envoy.compression.brotli.compressor",
        "typed_config": {
            "@type": "type.googleapis.com/envoy.extensions.compression.brotli.compressor.v3.Brotli",
            "quality": 5,
        },
    });
    let grpc = json!({ "envoy_grpc": { "cluster_name": "a" } });
    let table = [
        ("compressor", json!({ "compressor_library": gzip })),
        ("compressor: {compressor_library: {brotli: {quality: 5}}}", json!({ "compressor_library": brotli })),
        (
            "local_ratelimit",
            json!({ "stat_prefix": "http_local_rate_limiter", "filter_enabled": all(), "filter_enforced": all() }),
        ),
        (
            "local_ratelimit: {stat_prefix: p, filter_enabled: null, filter_enforced: null}",
            json!({ "stat_prefix": "p", "filter_enabled": null, "filter_enforced": null }),
        ),
        ("ext_authz: {grpc_service: a}", json!({ "grpc_service": grpc, "transport_api_version": "V3" })),
        (
            "ratelimit: {domain: d, rate_limit_service: {grpc_service: a}}",
            json!({
                "domain": "d",
                "rate_limit_service": { "grpc_service": grpc, "transport_api_version": "V3" },
            }),
        ),
    ];
    for (yaml, expected) in table {
        let yaml = if yaml.contains(':') { format!("{{{yaml}}}") } else { yaml.to_owned() };
        assert_eq!(filter(&yaml), expected, "{yaml}");
    }
}

#[test]
fn loggers_over_grpc_speak_v3() {
    let made = resource(
        "version: 1\nlisteners: [{name: l, access_log: [{tcp_grpc: {common_config: {log_name: n, grpc_service: a}}}]}]\n",
    );
    let config = &made["access_log"][0]["typed_config"]["common_config"];
    let grpc = json!({ "envoy_grpc": { "cluster_name": "a" } });
    assert_eq!(*config, json!({ "log_name": "n", "grpc_service": grpc, "transport_api_version": "V3" }));
}

#[test]
fn a_health_check_needs_only_what_it_asks() {
    let made = resources(
        "version: 1\nclusters: [{name: c, health_checks: [{http_health_check: {path: /}}, {tcp_health_check: {}, interval: 1m}]}]\n",
    );
    let checks = &made["CDS c"]["health_checks"];
    let times = |interval: &str, check: (&str, Json)| {
        json!({
            "timeout": "1s", "interval": interval, "unhealthy_threshold": 3, "healthy_threshold": 1, check.0: check.1,
        })
    };
    assert_eq!(checks[0], times("3s", ("http_health_check", json!({ "path": "/" }))));
    assert_eq!(checks[1], times("60s", ("tcp_health_check", json!({}))));
}

/// The names of the listeners that are served on demand only.
fn on_demand(text: &str) -> Vec<String> {
    natives(text).into_iter().filter(|native| native.on_demand).map(|native| native.name).collect()
}

#[test]
fn listeners_of_grpc_servers_are_on_demand() {
    let server = "{routes: [{non_forwarding_action: {}}, {match: /x, non_forwarding_action: {}}]}";
    let table = [
        ("{name: 'grpc/server?xds.resource.listening_address=0.0.0.0:1', rds: t}", true),
        ("{name: l, routes: [{non_forwarding_action: {}}]}", true),
        ("{name: l, filter_chains: [{name: a, routes: [{non_forwarding_action: {}}]}]}", true),
        ("{name: l, default_filter_chain: {rds: server}}", true),
        ("{name: l, rds: server}", true),
        ("{name: l, rds: elsewhere}", false),
        ("{name: l, routes: []}", false),
        ("{name: l, routes: [{non_forwarding_action: {}}, {route: c}]}", false),
        ("{name: l, filter_chains: [{name: a, rds: server}, {name: b, tcp_proxy: c}]}", false),
        ("{name: l, filter_chains: [{name: a, rds: server}, {name: b, routes: [{route: c}]}]}", false),
        ("{name: l, tcp_proxy: c}", false),
        ("{name: l}", false),
    ];
    for (listener, expected) in table {
        let routes = server.replacen('{', "{name: server, ", 1);
        let found = on_demand(&format!("version: 1\nlisteners: [{listener}]\nroute_configs: [{routes}]\n"));
        assert_eq!(found.len(), usize::from(expected), "{listener}");
    }
}

#[test]
fn listeners_of_grpc_servers_get_no_listener_filter() {
    let text = |name: &str| {
        let chain = "{filter_chain_match: {transport_protocol: raw_buffer}, routes: [{non_forwarding_action: {}}]}";
        format!("version: 1\nlisteners: [{{name: '{name}', address: '0.0.0.0:1', filter_chains: [{chain}]}}]\n")
    };
    for (name, expected) in [("l", 1), ("grpc/server?xds.resource.listening_address=0.0.0.0:1", 0)] {
        let all = natives(&text(name));
        let listener = all.iter().find(|native| native.kind == Kind::Listener).unwrap();
        let filters = listener.node.get("listener_filters").and_then(Node::items).map_or(0, <[Node]>::len);
        assert_eq!(filters, expected, "{name}");
    }
}

#[test]
fn nothing_follows_a_filter_that_ends_the_chain() {
    let router = "envoy.filters.http.router";
    let table = [
        ("[cors]", vec!["envoy.filters.http.cors", router]),
        ("[router]", vec![router]),
        ("[mcp, mcp_router]", vec!["envoy.filters.http.mcp", "envoy.filters.http.mcp_router"]),
        ("[{name: r, config_discovery: {config_source: {ads: {}}}}]", vec!["r", router]),
    ];
    for (filters, expected) in table {
        let text =
            format!("version: 1\nlisteners: [{{name: l, address: '0.0.0.0:1', http_filters: {filters}, rds: r}}]\n");
        let all = natives(&text);
        let shown = format!("{:?}", all[0].node);
        let names: Vec<_> = expected.iter().filter(|name| shown.contains(&format!("\"{name}\""))).collect();
        assert_eq!(names.len(), expected.len(), "{filters}: {shown}");
        assert_eq!(shown.contains(router), expected.contains(&router), "{filters}: {shown}");
    }
}
