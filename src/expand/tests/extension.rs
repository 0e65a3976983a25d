//! Short names of extensions.

use super::*;

fn filters(yaml: &str) -> Json {
    let made = resource(&format!("version: 1\nlisteners:\n- name: l\n  rds: t\n  http_filters: {yaml}\n"));
    manager(&made)["http_filters"].clone()
}

#[test]
fn a_short_name_is_a_name_and_a_type() {
    let fault = |extra: Json| {
        let mut filter = json!({
            "name": "envoy.filters.http.fault",
            "typed_config": {
                "@type": "type.googleapis.com/envoy.extensions.filters.http.fault.v3.HTTPFault",
                "delay": { "fixed_delay": "0.25s" },
            },
        });
        filter.as_object_mut().unwrap().extend(extra.as_object().unwrap().clone());
        filter
    };
    assert_eq!(filters("[{fault: {delay: {fixed_delay: 250ms}}}]")[0], fault(json!({})));
    assert_eq!(
        filters("[{fault: {delay: {fixed_delay: 250ms}}, disabled: true}]")[0],
        fault(json!({ "disabled": true }))
    );
    assert_eq!(filters("[{fault: {delay: {fixed_delay: 250ms}}, name: mine}]")[0], fault(json!({ "name": "mine" })));
    let cors = json!({
        "name": "envoy.filters.http.cors",
        "typed_config": { "@type": "type.googleapis.com/envoy.extensions.filters.http.cors.v3.Cors" },
    });
    for yaml in ["[cors]", "[{cors: {}}]", "[{cors: }]", "\n  - cors:\n"] {
        assert_eq!(filters(yaml)[0], cors, "{yaml}");
    }
}

#[test]
fn other_forms_are_left_alone() {
    let native = json!({ "name": "x", "typed_config": { "@type": "type.googleapis.com/x.Y", "delay": "250ms" } });
    assert_eq!(filters(&format!("[{native}]"))[0], native);
    let verbatim =
        r#"[{fault: {"@type": type.googleapis.com/envoy.extensions.filters.http.fault.v3.HTTPFault, delay: 250ms}}]"#;
    assert_eq!(filters(verbatim)[0]["typed_config"]["delay"], json!("250ms"));
    let discovered = filters("[{name: e, config_discovery: {type_urls: [t]}}]");
    assert_eq!(discovered[0]["config_discovery"], json!({ "config_source": ads(), "type_urls": ["t"] }));
}

#[test]
fn every_category_has_its_own_names() {
    let text = r"
version: 1
listeners:
- name: l
  listener_filters: [proxy_protocol, {tls_inspector: {}}]
  access_log: [stderr]
  rds: t
  http_connection_manager:
    access_log: [{stdout: {log_format: {text_format_source: {inline_string: x}}}}, {file: {path: /x}}]
    tracing: {provider: {zipkin: {collector_cluster: z, collector_endpoint: /, collector_endpoint_version: http_json}}}
";
    let made = resource(text);
    let names = |list: &Json| -> Vec<String> {
        list.as_array().unwrap().iter().map(|item| item["name"].as_str().unwrap().to_owned()).collect()
    };
    assert_eq!(
        names(&made["listener_filters"]),
        ["envoy.filters.listener.proxy_protocol", "envoy.filters.listener.tls_inspector"]
    );
    assert_eq!(names(&made["access_log"]), ["envoy.access_loggers.stderr"]);
    assert_eq!(names(&manager(&made)["access_log"]), ["envoy.access_loggers.stdout", "envoy.access_loggers.file"]);
    let tracer = &manager(&made)["tracing"]["provider"];
    assert_eq!(tracer["name"], json!("envoy.tracers.zipkin"));
    assert_eq!(tracer["typed_config"]["collector_endpoint_version"], json!("HTTP_JSON"));
}

/// The name and the message of what stands at a pointer of a topology's only resource of a kind.
fn extension_at(text: &str, resource: &str, pointer: &str) -> (String, String) {
    let made = resources(&format!("version: 1\n{text}\n"));
    let found = made[resource].pointer(pointer).unwrap_or_else(|| panic!("{:#?}", made[resource]));
    let url = found["typed_config"]["@type"].as_str().unwrap().rsplit('.').next().unwrap().to_owned();
    (found["name"].as_str().unwrap_or_default().to_owned(), url)
}

#[test]
fn each_place_has_its_own_names() {
    let cluster = |fields: &str| format!("clusters: [{{name: c, type: STATIC, {fields}}}]");
    let route = |action: &str| format!("route_configs: [{{name: r, routes: [{{route: {{cluster: c, {action}}}}}]}}]");
    let action = "/virtual_hosts/0/routes/0/route";
    let table = [
        (
            cluster("load_balancing_policy: {policies: [{typed_extension_config: {ring_hash: {}}}]}"),
            "CDS c",
            "/load_balancing_policy/policies/0/typed_extension_config".to_owned(),
            ("envoy.load_balancing_policies.ring_hash", "RingHash"),
        ),
        (
            "clusters: [{name: c, cluster_type: {aggregate: {clusters: [a, b]}}, lb_policy: CLUSTER_PROVIDED}]".to_owned(),
            "CDS c",
            "/cluster_type".to_owned(),
            ("envoy.clusters.aggregate", "ClusterConfig"),
        ),
        (
            cluster("health_checks: [{custom_health_check: {redis: {key: k}}}]"),
            "CDS c",
            "/health_checks/0/custom_health_check".to_owned(),
            ("envoy.health_checkers.redis", "Redis"),
        ),
        (
            cluster("upstream_config: generic"),
            "CDS c",
            "/upstream_config".to_owned(),
            ("envoy.filters.connection_pools.tcp.generic", "GenericConnectionPoolProto"),
        ),
        (
            cluster("transport_socket: {upstream_proxy_protocol: {transport_socket: raw_buffer}}"),
            "CDS c",
            "/transport_socket/typed_config/transport_socket".to_owned(),
            ("envoy.transport_sockets.raw_buffer", "RawBuffer"),
        ),
        (
            cluster("transport_socket: {tcp_stats: {transport_socket: tls}}"),
            "CDS c",
            "/transport_socket/typed_config/transport_socket".to_owned(),
            ("envoy.transport_sockets.tls", "UpstreamTlsContext"),
        ),
        (
            "listeners: [{name: l, filter_chains: [{transport_socket: {tcp_stats: {transport_socket: tls}}}]}]".to_owned(),
            "LDS l",
            "/filter_chains/0/transport_socket/typed_config/transport_socket".to_owned(),
            ("envoy.transport_sockets.tls", "DownstreamTlsContext"),
        ),
        (
            cluster("typed_dns_resolver_config: cares"),
            "CDS c",
            "/typed_dns_resolver_config".to_owned(),
            ("envoy.network.dns_resolver.cares", "CaresDnsResolverConfig"),
        ),
        (
            route("retry_policy: {retry_host_predicate: [previous_hosts]}"),
            "RDS r",
            format!("{action}/retry_policy/retry_host_predicate/0"),
            ("envoy.retry_host_predicates.previous_hosts", "PreviousHostsPredicate"),
        ),
        (
            route("retry_policy: {retry_priority: {previous_priorities: {update_frequency: 2}}}"),
            "RDS r",
            format!("{action}/retry_policy/retry_priority"),
            ("envoy.retry_priorities.previous_priorities", "PreviousPrioritiesConfig"),
        ),
        (
            route("internal_redirect_policy: {predicates: [safe_cross_scheme]}"),
            "RDS r",
            format!("{action}/internal_redirect_policy/predicates/0"),
            ("envoy.internal_redirect_predicates.safe_cross_scheme", "SafeCrossSchemeConfig"),
        ),
        (
            "listeners: [{name: l, rds: t, http_filters: [{stateful_session: {session_state: {cookie: {cookie: {name: n}}}}}]}]"
                .to_owned(),
            "LDS l",
            "/filter_chains/0/filters/0/typed_config/http_filters/0/typed_config/session_state".to_owned(),
            ("envoy.http.stateful_session.cookie", "CookieBasedSessionState"),
        ),
        (
            "listeners: [{name: l, filter_chain_matcher: {matcher_tree: {input: server_name}}}]".to_owned(),
            "LDS l",
            "/filter_chain_matcher/matcher_tree/input".to_owned(),
            ("envoy.matching.inputs.server_name", "ServerNameInput"),
        ),
        // A place that is not listed takes what has only one meaning.
        (
            cluster("outlier_detection: {monitors: [ring_hash]}"),
            "CDS c",
            "/outlier_detection/monitors/0".to_owned(),
            ("envoy.load_balancing_policies.ring_hash", "RingHash"),
        ),
    ];
    for (text, resource, pointer, (name, message)) in table {
        assert_eq!(extension_at(&text, resource, &pointer), (name.to_owned(), message.to_owned()), "{text}");
    }
}

#[test]
fn routes_speak_to_filters_by_their_short_names() {
    let config = |yaml: &str| {
        let made = resource(&format!("version: 1\nroute_configs: [{{name: r, typed_per_filter_config: {yaml}}}]\n"));
        made["typed_per_filter_config"].clone()
    };
    let message = |name: &str, rest: Json| {
        let mut message = json!({ "@type": format!("type.googleapis.com/envoy.extensions.filters.http.{name}") });
        message.as_object_mut().unwrap().extend(rest.as_object().unwrap().clone());
        message
    };
    let table = [
        (
            "{cors: {allow_methods: GET}}",
            "envoy.filters.http.cors",
            message("cors.v3.CorsPolicy", json!({ "allow_methods": "GET" })),
        ),
        (
            "{envoy.filters.http.ext_authz: {disabled: true}}",
            "envoy.filters.http.ext_authz",
            message("ext_authz.v3.ExtAuthzPerRoute", json!({ "disabled": true })),
        ),
        (
            "{jwt_authn: {requirement_name: r}}",
            "envoy.filters.http.jwt_authn",
            message("jwt_authn.v3.PerRouteConfig", json!({ "requirement_name": "r" })),
        ),
        (
            "{ext_proc: {disabled: true}}",
            "envoy.filters.http.ext_proc",
            message("ext_proc.v3.ExtProcPerRoute", json!({ "disabled": true })),
        ),
        // Its own message, with its own defaults.
        (
            "{local_ratelimit: {stat_prefix: p}}",
            "envoy.filters.http.local_ratelimit",
            message(
                "local_ratelimit.v3.LocalRateLimit",
                json!({
                    "stat_prefix": "p",
                    "filter_enabled": { "default_value": { "numerator": 100, "denominator": "HUNDRED" } },
                    "filter_enforced": { "default_value": { "numerator": 100, "denominator": "HUNDRED" } },
                }),
            ),
        ),
        (
            "{fault: {delay: {fixed_delay: 1m}}}",
            "envoy.filters.http.fault",
            message("fault.v3.HTTPFault", json!({ "delay": { "fixed_delay": "60s" } })),
        ),
    ];
    for (yaml, key, expected) in table {
        assert_eq!(config(yaml), json!({ key: expected }), "{yaml}");
    }
    let verbatim = json!({ "mine": { "@type": "type.googleapis.com/x.Y", "disabled": true } });
    assert_eq!(config(&verbatim.to_string()), verbatim);
}

#[test]
fn protocol_options_have_short_names_too() {
    let made = resource(
        "version: 1\nclusters: [{name: c, type: STATIC, typed_extension_protocol_options: {TcpProtocolOptions: {idle_timeout: 5m}}}]\n",
    );
    let name = "envoy.extensions.upstreams.tcp.v3.TcpProtocolOptions";
    let expected = json!({ name: { "@type": format!("type.googleapis.com/{name}"), "idle_timeout": "300s" } });
    assert_eq!(made["typed_extension_protocol_options"], expected);
}

#[test]
fn a_filter_that_is_discovered_is_what_its_resource_says() {
    let url = |name: &str| format!("type.googleapis.com/envoy.extensions.filters.http.{name}");
    let table = [
        ("{name: e, local_ratelimit: {stat_prefix: p}}", json!([url("local_ratelimit.v3.LocalRateLimit")])),
        ("{name: e, envoy.filters.http.cors: }", json!([url("cors.v3.Cors")])),
        (
            r#"{name: e, typed_config: {"@type": type.googleapis.com/envoy.extensions.filters.http.cors.v3.Cors}}"#,
            json!([url("cors.v3.Cors")]),
        ),
        (
            r#"{"@type": type.googleapis.com/envoy.config.core.v3.TypedExtensionConfig, name: e, typed_config: {"@type": type.googleapis.com/envoy.extensions.filters.http.cors.v3.Cors}}"#,
            json!([url("cors.v3.Cors")]),
        ),
    ];
    let listener = "listeners: [{name: l, rds: t, http_filters: [{name: e, config_discovery: {}}]}]";
    for (config, expected) in table {
        let made = resources(&format!("version: 1\n{listener}\nextension_configs: [{config}]\n"));
        let discovery = &manager(&made["LDS l"])["http_filters"][0]["config_discovery"];
        assert_eq!(*discovery, json!({ "config_source": ads(), "type_urls": expected }), "{config}");
        let served = &made["ECDS e"];
        assert_eq!((&served["name"], &served["typed_config"]["@type"]), (&json!("e"), &expected[0]), "{config}");
    }
}
