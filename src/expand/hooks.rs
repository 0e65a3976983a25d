//! Which messages may be written in another way, and who rewrites them.

use super::walk::{Hook, ListHook, MapHook, Mapping, Short};
use super::{
    address, cluster, config_source, data_source, defaults, endpoint, extension, header, http, listener, matcher,
    route, scalar, tcp, tls, udp,
};

/// A message without a hook.
const NONE: Hook = Hook { short: Short::None, mapping: None };

const fn short(short: Short) -> Hook {
    Hook { short, mapping: None }
}

const fn text(field: &'static str) -> Hook {
    short(Short::Text(field))
}

const fn list(field: &'static str) -> Hook {
    short(Short::List(field))
}

const fn mapping(mapping: Mapping) -> Hook {
    NONE.and(mapping)
}

/// A message that wraps an extension.
const WRAPPER: Hook = short(Short::Key).and(extension::wrapper);

impl Hook {
    const fn and(self, mapping: Mapping) -> Self {
        Self { mapping: Some(mapping), ..self }
    }
}

/// Each message that has a hook, sorted by its full name.
const MESSAGES: [(&str, Hook); 70] = [
    ("envoy.config.accesslog.v3.AccessLog", WRAPPER),
    ("envoy.config.accesslog.v3.ExtensionFilter", WRAPPER),
    ("envoy.config.cluster.v3.Cluster", mapping(cluster::cluster)),
    ("envoy.config.cluster.v3.Cluster.CustomClusterType", WRAPPER),
    ("envoy.config.cluster.v3.Cluster.EdsClusterConfig", mapping(config_source::eds_cluster_config)),
    ("envoy.config.cluster.v3.Cluster.TransportSocketMatch", mapping(data_source::transport_socket_match)),
    ("envoy.config.cluster.v3.Filter", WRAPPER),
    ("envoy.config.core.v3.Address", short(Short::Other(address::address))),
    ("envoy.config.core.v3.CidrRange", short(Short::Other(address::cidr_range))),
    ("envoy.config.core.v3.ConfigSource", mapping(config_source::config_source)),
    ("envoy.config.core.v3.ExtensionConfigSource", mapping(config_source::extension_config_source)),
    ("envoy.config.core.v3.GrpcService", text("envoy_grpc.cluster_name")),
    ("envoy.config.core.v3.HealthCheck", mapping(defaults::health_check)),
    ("envoy.config.core.v3.HealthCheck.CustomHealthCheck", WRAPPER),
    ("envoy.config.core.v3.RetryPolicy", mapping(route::retry_policy)),
    ("envoy.config.core.v3.RetryPolicy.RetryHostPredicate", WRAPPER),
    ("envoy.config.core.v3.RetryPolicy.RetryPriority", WRAPPER),
    ("envoy.config.core.v3.RuntimeFractionalPercent", short(Short::Other(scalar::runtime_fractional_percent))),
    ("envoy.config.core.v3.TransportSocket", WRAPPER),
    ("envoy.config.core.v3.TypedExtensionConfig", WRAPPER),
    ("envoy.config.endpoint.v3.ClusterLoadAssignment", mapping(endpoint::load_assignment)),
    ("envoy.config.endpoint.v3.LbEndpoint", short(Short::Any("address")).and(endpoint::lb_endpoint)),
    ("envoy.config.listener.v3.Filter", WRAPPER),
    ("envoy.config.listener.v3.FilterChain", mapping(listener::filter_chain)),
    ("envoy.config.listener.v3.Listener", mapping(listener::listener)),
    ("envoy.config.listener.v3.ListenerFilter", WRAPPER),
    ("envoy.config.ratelimit.v3.RateLimitServiceConfig", mapping(defaults::transport_api)),
    ("envoy.config.route.v3.RetryPolicy", mapping(route::retry_policy)),
    ("envoy.config.route.v3.RetryPolicy.RetryHostPredicate", WRAPPER),
    ("envoy.config.route.v3.RetryPolicy.RetryPriority", WRAPPER),
    ("envoy.config.route.v3.Route", mapping(route::route)),
    ("envoy.config.route.v3.RouteAction", text("cluster").and(route::action)),
    ("envoy.config.route.v3.RouteAction.UpgradeConfig", text("upgrade_type")),
    ("envoy.config.route.v3.RouteConfiguration", mapping(route::table)),
    ("envoy.config.route.v3.RouteMatch", text("prefix").and(route::route_match)),
    ("envoy.config.route.v3.VirtualHost", mapping(route::virtual_host)),
    ("envoy.config.route.v3.WeightedCluster", list("clusters")),
    ("envoy.config.trace.v3.Tracing.Http", WRAPPER),
    ("envoy.extensions.access_loggers.grpc.v3.CommonGrpcAccessLogConfig", mapping(defaults::transport_api)),
    ("envoy.extensions.filters.http.compressor.v3.Compressor", mapping(defaults::compressor)),
    ("envoy.extensions.filters.http.ext_authz.v3.ExtAuthz", mapping(defaults::transport_api)),
    ("envoy.extensions.filters.http.local_ratelimit.v3.LocalRateLimit", mapping(defaults::local_rate_limit)),
    ("envoy.extensions.filters.network.ext_authz.v3.ExtAuthz", mapping(defaults::transport_api)),
    (http::MESSAGE, mapping(http::connection_manager)),
    (
        "envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager.UpgradeConfig",
        text("upgrade_type"),
    ),
    ("envoy.extensions.filters.network.http_connection_manager.v3.HttpFilter", WRAPPER),
    (
        "envoy.extensions.filters.network.http_connection_manager.v3.Rds",
        text("route_config_name").and(config_source::rds),
    ),
    ("envoy.extensions.filters.network.http_connection_manager.v3.RequestIDExtension", WRAPPER),
    (tcp::MESSAGE, text("cluster").and(tcp::proxy)),
    ("envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy.WeightedCluster", list("clusters")),
    ("envoy.extensions.filters.network.thrift_proxy.v3.ThriftFilter", WRAPPER),
    (udp::MESSAGE, text("cluster").and(udp::proxy)),
    ("envoy.extensions.filters.udp.udp_proxy.v3.UdpProxyConfig.SessionFilter", WRAPPER),
    ("envoy.extensions.transport_sockets.quic.v3.QuicDownstreamTransport", mapping(tls::quic)),
    ("envoy.extensions.transport_sockets.tls.v3.CertificateValidationContext", mapping(data_source::holder)),
    ("envoy.extensions.transport_sockets.tls.v3.CommonTlsContext", mapping(data_source::common_tls_context)),
    ("envoy.extensions.transport_sockets.tls.v3.DownstreamTlsContext", mapping(tls::downstream)),
    ("envoy.extensions.transport_sockets.tls.v3.SdsSecretConfig", text("name").and(config_source::sds_secret_config)),
    ("envoy.extensions.transport_sockets.tls.v3.TlsCertificate", mapping(data_source::holder)),
    ("envoy.extensions.transport_sockets.tls.v3.TlsSessionTicketKeys", mapping(data_source::holder)),
    ("envoy.extensions.transport_sockets.tls.v3.UpstreamTlsContext", mapping(tls::upstream)),
    ("envoy.type.matcher.v3.RegexMatcher", text("regex")),
    ("envoy.type.matcher.v3.StringMatcher", text("exact")),
    ("envoy.type.v3.FractionalPercent", short(Short::Other(scalar::fractional_percent))),
    ("envoy.type.v3.Percent", short(Short::Other(scalar::percent))),
    ("google.protobuf.Duration", short(Short::Other(scalar::duration))),
    ("xds.core.v3.CidrRange", short(Short::Other(address::cidr_range))),
    ("xds.core.v3.TypedExtensionConfig", WRAPPER),
    ("xds.type.matcher.v3.RegexMatcher", text("regex")),
    ("xds.type.matcher.v3.StringMatcher", text("exact")),
];

/// Each message whose list may be written as a mapping, sorted by its full name.
const LISTS: [(&str, ListHook); 3] = [
    ("envoy.config.core.v3.HeaderValueOption", header::values),
    (matcher::HEADER, matcher::headers),
    (matcher::QUERY_PARAMETER, matcher::query_parameters),
];

/// Keys that a chain takes on behalf of its last network filter and its transport socket.
const CHAIN: &[&str] =
    &["http_connection_manager", "routes", "virtual_hosts", "rds", "http_filters", "tcp_proxy", "tls_context"];

/// A listener takes them on behalf of its only chain, and one more on behalf of its last listener filter.
const LISTENER: &[&str] = &[
    "http_connection_manager",
    "routes",
    "virtual_hosts",
    "rds",
    "http_filters",
    "tcp_proxy",
    "tls_context",
    "udp_proxy",
];

/// Each proto map whose entries may be written in another way, by the name of its field.
const MAPS: [(&str, MapHook); 2] = [
    ("typed_extension_protocol_options", extension::protocol_options),
    ("typed_per_filter_config", extension::per_filter),
];

/// The keys that each message takes beside its fields, sorted by its full name.
const HOISTED: [(&str, &[&str]); 10] = [
    (
        "envoy.config.cluster.v3.Cluster",
        &[
            "endpoints",
            "tls_context",
            "http3_protocol_options",
            "explicit_http_config",
            "use_downstream_protocol_config",
            "auto_config",
        ],
    ),
    ("envoy.config.endpoint.v3.LbEndpoint", &["address", "hostname", "health_check_config", "additional_addresses"]),
    ("envoy.config.listener.v3.FilterChain", CHAIN),
    ("envoy.config.listener.v3.Listener", LISTENER),
    ("envoy.config.route.v3.RouteAction", &["path_template_rewrite"]),
    ("envoy.config.route.v3.RouteConfiguration", &["routes"]),
    ("envoy.config.route.v3.RouteMatch", &["path_template"]),
    (http::MESSAGE, &["routes", "virtual_hosts"]),
    ("envoy.extensions.transport_sockets.tls.v3.DownstreamTlsContext", tls::COMMON),
    ("envoy.extensions.transport_sockets.tls.v3.UpstreamTlsContext", tls::COMMON),
];

/// The keys that a message takes beside its fields.
pub(super) fn hoisted(name: &str) -> &'static [&'static str] {
    let position = HOISTED.binary_search_by_key(&name, |(name, _)| name);
    position.map_or(&[], |position| HOISTED[position].1)
}

/// What stands for a message, without how it is rewritten.
pub(super) fn shorthand(name: &str) -> super::Shorthand {
    use super::Shorthand;
    match of_message(name).short {
        Short::None => Shorthand::None,
        Short::Text(_) => Shorthand::Text,
        Short::List(field) | Short::Any(field) => Shorthand::Field(field),
        Short::Key => Shorthand::Extension,
        Short::Other(_) => Shorthand::Scalar,
    }
}

/// The hook of a message.
pub(super) fn of_message(name: &str) -> Hook {
    let position = MESSAGES.binary_search_by_key(&name, |(name, _)| name);
    position.map_or(NONE, |position| MESSAGES[position].1)
}

/// The hook of a list of messages.
pub(super) fn of_list(name: &str) -> Option<ListHook> {
    LISTS.binary_search_by_key(&name, |(name, _)| name).ok().map(|position| LISTS[position].1)
}

/// The hook of a proto map.
pub(super) fn of_map(field: &str) -> Option<MapHook> {
    MAPS.iter().find(|(name, _)| *name == field).map(|(_, hook)| *hook)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::envoy::Schema;

    #[test]
    fn hooks_are_sorted_and_their_messages_exist() {
        assert!(MESSAGES.is_sorted_by(|a, b| a.0 < b.0));
        assert!(LISTS.is_sorted_by(|a, b| a.0 < b.0));
        let schema = Schema::embedded();
        assert!(HOISTED.is_sorted_by(|a, b| a.0 < b.0));
        for name in MESSAGES.iter().map(|(name, _)| name).chain(LISTS.iter().map(|(name, _)| name)) {
            assert!(schema.message(name).is_some(), "{name}");
        }
    }

    /// A hoisted key must not hide a field of Envoy's; each new descriptor set is checked.
    #[test]
    fn hoisted_keys_are_no_fields() {
        let schema = Schema::embedded();
        for (name, keys) in HOISTED {
            let message = schema.message(name).unwrap();
            for key in keys {
                assert!(message.get_field_by_name(key).is_none(), "{name} has {key}");
            }
        }
    }
}
