//! Which messages may be written in another way, and who rewrites them.

use super::walk::{Hook, ListHook, Mapping, Short};
use super::{
    address, cluster, config_source, data_source, endpoint, extension, header, http, listener, matcher, route, scalar,
    tcp,
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

impl Hook {
    const fn and(self, mapping: Mapping) -> Self {
        Self { mapping: Some(mapping), ..self }
    }
}

/// Each message that has a hook, sorted by its full name.
const MESSAGES: [(&str, Hook); 44] = [
    ("envoy.config.accesslog.v3.AccessLog", short(Short::Key).and(extension::access_log)),
    ("envoy.config.cluster.v3.Cluster", mapping(cluster::cluster)),
    ("envoy.config.cluster.v3.Cluster.EdsClusterConfig", mapping(config_source::eds_cluster_config)),
    ("envoy.config.cluster.v3.Cluster.TransportSocketMatch", mapping(data_source::transport_socket_match)),
    ("envoy.config.core.v3.Address", short(Short::Other(address::address))),
    ("envoy.config.core.v3.CidrRange", short(Short::Other(address::cidr_range))),
    ("envoy.config.core.v3.ConfigSource", mapping(config_source::config_source)),
    ("envoy.config.core.v3.ExtensionConfigSource", mapping(config_source::extension_config_source)),
    ("envoy.config.core.v3.GrpcService", text("envoy_grpc.cluster_name")),
    ("envoy.config.core.v3.RuntimeFractionalPercent", short(Short::Other(scalar::runtime_fractional_percent))),
    ("envoy.config.endpoint.v3.ClusterLoadAssignment", mapping(endpoint::load_assignment)),
    ("envoy.config.endpoint.v3.LbEndpoint", short(Short::Any("address")).and(endpoint::lb_endpoint)),
    ("envoy.config.listener.v3.Filter", short(Short::Key).and(extension::network_filter)),
    ("envoy.config.listener.v3.FilterChain", mapping(listener::filter_chain)),
    ("envoy.config.listener.v3.Listener", mapping(listener::listener)),
    ("envoy.config.listener.v3.ListenerFilter", short(Short::Key).and(extension::listener_filter)),
    ("envoy.config.route.v3.RetryPolicy", mapping(route::retry_policy)),
    ("envoy.config.route.v3.Route", mapping(route::route)),
    ("envoy.config.route.v3.RouteAction", text("cluster")),
    ("envoy.config.route.v3.RouteAction.UpgradeConfig", text("upgrade_type")),
    ("envoy.config.route.v3.RouteConfiguration", mapping(route::table)),
    ("envoy.config.route.v3.RouteMatch", text("prefix").and(route::route_match)),
    ("envoy.config.route.v3.VirtualHost", mapping(route::virtual_host)),
    ("envoy.config.route.v3.WeightedCluster", list("clusters")),
    ("envoy.config.trace.v3.Tracing.Http", short(Short::Key).and(extension::tracer)),
    (http::MESSAGE, mapping(http::connection_manager)),
    (
        "envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager.UpgradeConfig",
        text("upgrade_type"),
    ),
    (
        "envoy.extensions.filters.network.http_connection_manager.v3.HttpFilter",
        short(Short::Key).and(extension::http_filter),
    ),
    (
        "envoy.extensions.filters.network.http_connection_manager.v3.Rds",
        text("route_config_name").and(config_source::rds),
    ),
    (tcp::MESSAGE, text("cluster").and(tcp::proxy)),
    ("envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy.WeightedCluster", list("clusters")),
    ("envoy.extensions.transport_sockets.tls.v3.CertificateValidationContext", mapping(data_source::holder)),
    ("envoy.extensions.transport_sockets.tls.v3.CommonTlsContext", mapping(data_source::common_tls_context)),
    ("envoy.extensions.transport_sockets.tls.v3.DownstreamTlsContext", mapping(data_source::downstream_tls_context)),
    ("envoy.extensions.transport_sockets.tls.v3.SdsSecretConfig", text("name").and(config_source::sds_secret_config)),
    ("envoy.extensions.transport_sockets.tls.v3.TlsCertificate", mapping(data_source::holder)),
    ("envoy.extensions.transport_sockets.tls.v3.TlsSessionTicketKeys", mapping(data_source::holder)),
    ("envoy.type.matcher.v3.RegexMatcher", text("regex")),
    ("envoy.type.matcher.v3.StringMatcher", text("exact")),
    ("envoy.type.v3.FractionalPercent", short(Short::Other(scalar::fractional_percent))),
    ("envoy.type.v3.Percent", short(Short::Other(scalar::percent))),
    ("google.protobuf.Duration", short(Short::Other(scalar::duration))),
    ("xds.type.matcher.v3.RegexMatcher", text("regex")),
    ("xds.type.matcher.v3.StringMatcher", text("exact")),
];

/// Each message whose list may be written as a mapping, sorted by its full name.
const LISTS: [(&str, ListHook); 3] = [
    ("envoy.config.core.v3.HeaderValueOption", header::values),
    (matcher::HEADER, matcher::headers),
    (matcher::QUERY_PARAMETER, matcher::query_parameters),
];

/// Keys that a listener and its chains take on behalf of their last network filter.
const CHAIN: &[&str] = &["http_connection_manager", "routes", "virtual_hosts", "rds", "http_filters", "tcp_proxy"];

/// The keys that each message takes beside its fields, sorted by its full name.
const HOISTED: [(&str, &[&str]); 6] = [
    (
        "envoy.config.cluster.v3.Cluster",
        &[
            "endpoints",
            "http3_protocol_options",
            "explicit_http_config",
            "use_downstream_protocol_config",
            "auto_config",
        ],
    ),
    ("envoy.config.endpoint.v3.LbEndpoint", &["address", "hostname", "health_check_config", "additional_addresses"]),
    ("envoy.config.listener.v3.FilterChain", CHAIN),
    ("envoy.config.listener.v3.Listener", CHAIN),
    ("envoy.config.route.v3.RouteConfiguration", &["routes"]),
    (http::MESSAGE, &["routes", "virtual_hosts"]),
];

/// The keys that a message takes beside its fields.
pub(super) fn hoisted(name: &str) -> &'static [&'static str] {
    let position = HOISTED.binary_search_by_key(&name, |(name, _)| name);
    position.map_or(&[], |position| HOISTED[position].1)
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
