//! Whether the corpus has everything: each extension that Envoy registers, and each feature by the field that stands for it.

use std::collections::{BTreeMap, BTreeSet};

use serde::Deserialize;

#[derive(Deserialize)]
struct Table {
    categories: BTreeMap<String, Vec<Row>>,
}

#[derive(Deserialize)]
struct Row {
    #[serde(default)]
    messages: Vec<String>,
}

/// Categories of extensions that only a bootstrap can name, which no control plane serves.
const OF_THE_BOOTSTRAP: [&str; 11] = [
    "envoy.bootstrap",
    "envoy.config.validators",
    "envoy.guarddog_actions",
    "envoy.listener_manager_impl",
    "envoy.matching.stat_matching_data.input",
    "envoy.matching.stat_tag_matching_data.input",
    "envoy.regex_engines",
    "envoy.resource_monitors",
    "envoy.stats_sinks",
    "envoy.rds_factory",
    "envoy.srds_factory",
];

/// Extensions without a place in the corpus, and why.
const EXEMPT: [(&str, &str); 1] = [(
    "envoy.extensions.filters.http.rate_limit_quota.v3.RateLimitQuotaOverride",
    "Envoy refuses every configuration of this filter for a route",
)];

/// What Envoy can be told, beside extensions, by the field that says so; after `=` its value.
const FEATURES: [&str; 68] = [
    "envoy.config.cluster.v3.CircuitBreakers.per_host_thresholds",
    "envoy.config.cluster.v3.CircuitBreakers.thresholds",
    "envoy.config.cluster.v3.Cluster.health_checks",
    "envoy.config.cluster.v3.Cluster.lb_policy=CLUSTER_PROVIDED",
    "envoy.config.cluster.v3.Cluster.lb_policy=LEAST_REQUEST",
    "envoy.config.cluster.v3.Cluster.lb_policy=MAGLEV",
    "envoy.config.cluster.v3.Cluster.lb_policy=RANDOM",
    "envoy.config.cluster.v3.Cluster.lb_policy=RING_HASH",
    "envoy.config.cluster.v3.Cluster.lb_subset_config",
    "envoy.config.cluster.v3.Cluster.outlier_detection",
    "envoy.config.cluster.v3.Cluster.transport_socket_matcher",
    "envoy.config.cluster.v3.Cluster.transport_socket_matches",
    "envoy.config.cluster.v3.Cluster.type=EDS",
    "envoy.config.cluster.v3.Cluster.type=LOGICAL_DNS",
    "envoy.config.cluster.v3.Cluster.type=ORIGINAL_DST",
    "envoy.config.cluster.v3.Cluster.type=STATIC",
    "envoy.config.cluster.v3.Cluster.type=STRICT_DNS",
    "envoy.config.core.v3.HealthCheck.grpc_health_check",
    "envoy.config.core.v3.HealthCheck.http_health_check",
    "envoy.config.core.v3.HealthCheck.tcp_health_check",
    "envoy.config.core.v3.Http3ProtocolOptions.quic_protocol_options",
    "envoy.config.endpoint.v3.LocalityLbEndpoints.load_balancing_weight",
    "envoy.config.endpoint.v3.LocalityLbEndpoints.locality",
    "envoy.config.endpoint.v3.LocalityLbEndpoints.priority",
    "envoy.config.listener.v3.FilterChainMatch.server_names",
    "envoy.config.listener.v3.Listener.api_listener",
    "envoy.config.listener.v3.Listener.default_filter_chain",
    "envoy.config.listener.v3.Listener.filter_chain_matcher",
    "envoy.config.listener.v3.Listener.internal_listener",
    "envoy.config.listener.v3.UdpListenerConfig.quic_options",
    "envoy.config.route.v3.Route.direct_response",
    "envoy.config.route.v3.Route.non_forwarding_action",
    "envoy.config.route.v3.Route.redirect",
    "envoy.config.route.v3.RouteAction.HashPolicy.connection_properties",
    "envoy.config.route.v3.RouteAction.HashPolicy.cookie",
    "envoy.config.route.v3.RouteAction.HashPolicy.filter_state",
    "envoy.config.route.v3.RouteAction.HashPolicy.header",
    "envoy.config.route.v3.RouteAction.HashPolicy.query_parameter",
    "envoy.config.route.v3.RouteAction.cluster_header",
    "envoy.config.route.v3.RouteAction.request_mirror_policies",
    "envoy.config.route.v3.RouteAction.retry_policy",
    "envoy.config.route.v3.RouteAction.upgrade_configs",
    "envoy.config.route.v3.RouteAction.weighted_clusters",
    "envoy.config.route.v3.RouteConfiguration.vhds",
    "envoy.config.route.v3.ScopedRouteConfiguration",
    "envoy.config.route.v3.VirtualHost.matcher",
    "envoy.config.route.v3.WeightedCluster.clusters",
    "envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager.http2_protocol_options",
    "envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager.scoped_routes",
    "envoy.extensions.filters.network.http_connection_manager.v3.HttpFilter.config_discovery",
    "envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy.tunneling_config",
    "envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy.weighted_clusters",
    "envoy.extensions.transport_sockets.tls.v3.CommonTlsContext.combined_validation_context",
    "envoy.extensions.transport_sockets.tls.v3.CommonTlsContext.tls_certificate_sds_secret_configs",
    "envoy.extensions.transport_sockets.tls.v3.DownstreamTlsContext.require_client_certificate",
    "envoy.extensions.transport_sockets.tls.v3.Secret.generic_secret",
    "envoy.extensions.transport_sockets.tls.v3.Secret.session_ticket_keys",
    "envoy.extensions.transport_sockets.tls.v3.Secret.tls_certificate",
    "envoy.extensions.transport_sockets.tls.v3.Secret.validation_context",
    "envoy.extensions.upstreams.http.generic.v3.GenericConnectionPoolProto",
    "envoy.extensions.upstreams.http.http.v3.HttpConnectionPoolProto",
    "envoy.extensions.upstreams.http.tcp.v3.TcpConnectionPoolProto",
    "envoy.extensions.upstreams.http.udp.v3.UdpConnectionPoolProto",
    "envoy.extensions.upstreams.http.v3.HttpProtocolOptions.auto_config",
    "envoy.extensions.upstreams.http.v3.HttpProtocolOptions.explicit_http_config",
    "envoy.extensions.upstreams.http.v3.HttpProtocolOptions.use_downstream_protocol_config",
    "envoy.extensions.upstreams.tcp.generic.v3.GenericConnectionPoolProto",
    "envoy.service.runtime.v3.Runtime.layer",
];

/// Names that the corpus lacks.
pub(super) fn missing(seen: &BTreeSet<String>) -> Vec<String> {
    let table: Table = serde_json::from_str(include_str!("../../assets/extensions.json")).unwrap();
    for category in OF_THE_BOOTSTRAP {
        assert!(table.categories.contains_key(category), "there is no {category}");
    }
    let wanted = table.categories.into_iter().filter(|(category, _)| !OF_THE_BOOTSTRAP.contains(&category.as_str()));
    let wanted: BTreeSet<String> = wanted.flat_map(|(_, rows)| rows).flat_map(|row| row.messages).collect();
    for (name, why) in EXEMPT {
        assert!(wanted.contains(name) && !seen.contains(name), "{name} is no exception, although {why}");
    }
    let is_exempt = |name: &String| EXEMPT.iter().any(|(exempt, _)| exempt == name);
    let features = FEATURES.iter().map(|name| (*name).to_owned());
    wanted.into_iter().chain(features).filter(|name| !seen.contains(name) && !is_exempt(name)).collect()
}
