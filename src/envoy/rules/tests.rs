use super::unsupported;
use crate::envoy::Schema;
use crate::envoy::testing::compiled;

const CLUSTER: &str = "envoy.config.cluster.v3.Cluster";

#[test]
fn every_rule_of_the_embedded_set_is_supported() {
    assert_eq!(unsupported(&Schema::embedded()), Vec::<String>::new());
}

#[test]
fn a_bad_cluster_is_told_everything_at_once() {
    let text = r#"{
        nmae: x, conect_timeout: 5s, connect_timeout: 250ms, lb_policy: round_robin,
        transport_socket: {name: t, typed_config: {"@type": "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.UpstreamTlsContex"}},
        health_checks: [{timeout: 1s, interval: 1s, tcp_health_check: {}, healthy_threshold: 1}],
        load_assignment: {cluster_name: c, endpoints: [{lb_endpoints: [{endpoint: {address: {socket_address: {address: a, port_value: 70000}}}}]}]}
    }"#;
    let (_, told) = compiled(CLUSTER, text);
    let expected = [
        "unknown-field @nmae nmae: unknown field `nmae` in envoy.config.cluster.v3.Cluster",
        "unknown-field @conect_timeout conect_timeout: unknown field `conect_timeout` in envoy.config.cluster.v3.Cluster",
        "duration @250ms connect_timeout: `250ms`: not a duration",
        "enum-case @round_robin lb_policy: `round_robin` should be written `ROUND_ROBIN`",
        "any-type @\"type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.UpstreamTlsContex\" \
         transport_socket.typed_config.@type: \
         unknown message type `envoy.extensions.transport_sockets.tls.v3.UpstreamTlsContex`",
        "required @{timeout: 1s, interval: 1s, tcp_health_check: {}, healthy_threshold: 1} \
         health_checks[0].unhealthy_threshold: `unhealthy_threshold` is required",
        "invalid-value @70000 \
         load_assignment.endpoints[0].lb_endpoints[0].endpoint.address.socket_address.port_value: \
         must be at most 65535, not 70000",
    ];
    assert_eq!(told, expected);
}

/// What the rules tell of a message.
fn told(message: &str, text: &str) -> Vec<String> {
    compiled(message, text).1
}

#[test]
fn each_kind_of_rule() {
    let header = "envoy.config.core.v3.HeaderValue";
    let matcher = "envoy.type.matcher.v3.StringMatcher";
    for (message, text, expected) in [
        // string: min_len, max_bytes, prefix, pattern, in, ignore_empty, HTTP headers
        ("envoy.config.core.v3.Pipe", "{}", vec!["invalid-value @{} path: must not be empty"]),
        (header, r#"{key: "a b", value: x}"#, vec![]),
        (header, "{key: \"a\u{0}\"}", vec!["invalid-value @\"a\u{0}\" key: must not contain NUL, CR or LF"]),
        (matcher, r#"{prefix: ""}"#, vec!["invalid-value @\"\" prefix: must not be empty"]),
        (matcher, r#"{exact: ""}"#, vec![]),
        (
            "envoy.config.route.v3.RouteMatch",
            "{path_separated_prefix: /api/}",
            vec!["invalid-value @/api/ path_separated_prefix: must match the pattern ^[^?#]+[^?#/]$"],
        ),
        // numbers: bounds, on scalars and wrappers, set or not
        (
            "envoy.config.core.v3.SocketAddress",
            "{address: a, port_value: 65536}",
            vec!["invalid-value @65536 port_value: must be at most 65535, not 65536"],
        ),
        ("envoy.config.core.v3.SocketAddress", "{address: a, port_value: 65535}", vec![]),
        (
            "envoy.config.endpoint.v3.LbEndpoint",
            "{load_balancing_weight: 0}",
            vec!["invalid-value @0 load_balancing_weight: must be at least 1, not 0"],
        ),
        ("envoy.config.endpoint.v3.LbEndpoint", "{}", vec![]),
        (
            "envoy.type.v3.Percent",
            "{value: 100.5}",
            vec!["invalid-value @100.5 value: must be at least 0 and at most 100, not 100.5"],
        ),
        // durations
        (
            "envoy.config.cluster.v3.Cluster",
            "{name: c, connect_timeout: 0s}",
            vec!["invalid-value @0s connect_timeout: must be more than 0s, not 0s"],
        ),
        (
            "envoy.config.core.v3.HealthCheck",
            "{timeout: -0.5s, unhealthy_threshold: 1, healthy_threshold: 1, tcp_health_check: {}}",
            vec![
                "invalid-value @-0.5s timeout: must be more than 0s, not -0.5s",
                "required @{timeout: -0.5s, unhealthy_threshold: 1, healthy_threshold: 1, tcp_health_check: {}} \
                 interval: `interval` is required",
            ],
        ),
        // enums, lists, maps, oneofs, constants
        (
            "envoy.config.cluster.v3.Cluster",
            "{name: c, lb_policy: 99}",
            vec!["invalid-value @99 lb_policy: 99 is not a value of envoy.config.cluster.v3.Cluster.LbPolicy"],
        ),
        ("envoy.config.route.v3.VirtualHost", "{name: v}", vec!["invalid-value @{name: v} domains: must not be empty"]),
        ("envoy.config.route.v3.VirtualHost", r#"{name: v, domains: [""]}"#, vec![]),
        (
            "envoy.config.route.v3.Route",
            "{match: {prefix: /}}",
            vec![
                "required @{match: {prefix: /}} : one of `route`, `redirect`, `direct_response`, `filter_action`, \
             `non_forwarding_action` is required",
            ],
        ),
        ("envoy.config.route.v3.WeightedCluster", "{}", vec!["invalid-value @{} clusters: must not be empty"]),
        ("envoy.config.core.v3.TransportSocket", "{}", vec!["invalid-value @{} name: must not be empty"]),
        ("envoy.config.route.v3.HeaderMatcher", "{name: a, present_match: false}", vec![]),
    ] {
        assert_eq!(told(message, text), expected, "{message} {text}");
    }
}

#[test]
fn a_mistake_is_told_once() {
    // The field is missing because it could not be read, or because it is misspelled.
    assert_eq!(told("envoy.config.core.v3.Pipe", "{path: 5}").len(), 1);
    assert_eq!(told("envoy.config.core.v3.Pipe", "{paht: /x}").len(), 1);
    assert_eq!(told("envoy.config.route.v3.VirtualHost", "{name: v, domains: [5]}").len(), 1);
    assert_eq!(told("envoy.config.route.v3.Route", "{match: {prefix: /}, rout: {cluster: c}}").len(), 1);
    // Another mistake next to it is another mistake.
    let text = "{match: {prefix: 5}}";
    let told = told("envoy.config.route.v3.Route", text);
    assert_eq!(told.len(), 2, "{told:?}");
}

#[test]
fn old_things_are_warned_about_or_refused() {
    let warned = told("envoy.config.cluster.v3.Cluster", "{name: c, http2_protocol_options: {}}");
    assert_eq!(warned, ["deprecated @{} http2_protocol_options: the field `http2_protocol_options` is deprecated"]);
    let refused = told(
        "envoy.config.route.v3.RateLimit",
        "{actions: [{dynamic_metadata: {descriptor_key: k, metadata_key: {key: k, path: [{key: p}]}}}]}",
    );
    assert_eq!(
        refused,
        ["deprecated @{descriptor_key: k, metadata_key: {key: k, path: [{key: p}]}} actions[0].dynamic_metadata: \
          the field `dynamic_metadata` is deprecated, and Envoy refuses it by default"]
    );
}

#[test]
fn an_extension_belongs_into_its_slot() {
    let filter = |message: &str| format!(r#"{{name: f, typed_config: {{"@type": type.googleapis.com/{message}}}}}"#);
    let http = "envoy.extensions.filters.network.http_connection_manager.v3.HttpFilter";
    assert_eq!(told(http, &filter("envoy.extensions.filters.http.router.v3.Router")), Vec::<String>::new());
    let wrong = told(http, &filter("envoy.extensions.filters.listener.tls_inspector.v3.TlsInspector"));
    assert_eq!(wrong.len(), 1);
    assert!(
        wrong[0].contains(
            "any-slot @{\"@type\": type.googleapis.com/envoy.extensions.filters.listener.tls_inspector.v3.TlsInspector} typed_config: \
             envoy.extensions.filters.listener.tls_inspector.v3.TlsInspector belongs to envoy.filters.listener: \
             Envoy 1.40.0 does not know it as an HTTP filter"
        ),
        "{wrong:?}"
    );
}

#[test]
fn rules_reach_into_any_and_camel_case_keys() {
    let text = r#"{name: l, filterChains: [{filters: [{name: f, typedConfig: {
        "@type": type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager,
        statPrefix: "", routeConfig: {virtualHosts: [{name: v, domains: [a], routes: [{match: {}, route: {cluster: c}}]}]}
    }}]}]}"#;
    assert_eq!(
        told("envoy.config.listener.v3.Listener", text),
        [
            "invalid-value @\"\" filter_chains[0].filters[0].typed_config.stat_prefix: must not be empty",
            "required @{} filter_chains[0].filters[0].typed_config.route_config.virtual_hosts[0].routes[0].match: \
             one of `prefix`, `path`, `safe_regex`, `connect_matcher`, `path_separated_prefix`, `path_match_policy` is required",
        ]
    );
}

/// What follows in the list keeps its index, and what could not be read breaks no rules.
#[test]
fn an_element_that_cannot_be_read_is_told_once_and_moves_no_other() {
    let host = "envoy.config.route.v3.VirtualHost";
    let (_, told) = compiled(
        host,
        r#"{name: a, domains: [5, "", x], routes: [null, {match: {prefix: "/"}, direct_response: {status: 1}}, 7]}"#,
    );
    assert_eq!(
        told,
        [
            "type @5 domains[0]: expected a string, got the number `5`",
            "type @null routes[0]: null is not allowed here",
            "type @7 routes[2]: expected a mapping with the fields of envoy.config.route.v3.Route, got a number",
            "invalid-value @1 routes[1].direct_response.status: must be at least 200 and less than 600, not 1",
        ]
    );
    let (_, told) =
        compiled("envoy.config.route.v3.RouteAction", "{cluster: c, upgrade_configs: [5], retry_policy: 5}");
    assert_eq!(told.len(), 2, "{told:?}");
}

/// Envoy knows a type of cluster by its name as well, and takes what is left out for empty.
#[test]
fn a_type_of_cluster_without_a_configuration_has_an_empty_one() {
    for config in ["", ", typed_config: {}"] {
        let text = format!("{{name: c, cluster_type: {{name: envoy.clusters.aggregate{config}}}}}");
        let told = told(CLUSTER, &text);
        assert_eq!(told.len(), 1, "{told:?}");
        assert!(told[0].ends_with(" cluster_type.typed_config.clusters: must not be empty"), "{told:?}");
    }
    for name in ["envoy.clusters.redis", "acme.clusters.own"] {
        assert_eq!(told(CLUSTER, &format!("{{name: c, cluster_type: {{name: {name}}}}}")), [""; 0]);
    }
}
