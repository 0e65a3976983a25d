//! Which messages may be written in another way, and who rewrites them.

use super::walk::{Hook, ListHook};
use super::{address, cluster, config_source, endpoint, extension, header, http, listener, matcher, route, scalar};

/// Each message that has a hook, sorted by its full name.
const MESSAGES: [(&str, Hook); 37] = [
    ("envoy.config.accesslog.v3.AccessLog", extension::access_log),
    ("envoy.config.cluster.v3.Cluster", cluster::cluster),
    ("envoy.config.cluster.v3.Cluster.EdsClusterConfig", config_source::eds_cluster_config),
    ("envoy.config.core.v3.Address", address::address),
    ("envoy.config.core.v3.CidrRange", address::cidr_range),
    ("envoy.config.core.v3.ConfigSource", config_source::config_source),
    ("envoy.config.core.v3.ExtensionConfigSource", config_source::extension_config_source),
    ("envoy.config.core.v3.GrpcService", config_source::grpc_service),
    ("envoy.config.core.v3.RuntimeFractionalPercent", scalar::runtime_fractional_percent),
    ("envoy.config.endpoint.v3.ClusterLoadAssignment", endpoint::load_assignment),
    ("envoy.config.endpoint.v3.LbEndpoint", endpoint::lb_endpoint),
    ("envoy.config.listener.v3.Filter", extension::network_filter),
    ("envoy.config.listener.v3.FilterChain", listener::filter_chain),
    ("envoy.config.listener.v3.Listener", listener::listener),
    ("envoy.config.listener.v3.ListenerFilter", extension::listener_filter),
    ("envoy.config.route.v3.RetryPolicy", route::retry_policy),
    ("envoy.config.route.v3.Route", route::route),
    ("envoy.config.route.v3.RouteAction", route::action),
    ("envoy.config.route.v3.RouteAction.UpgradeConfig", route::upgrade),
    ("envoy.config.route.v3.RouteConfiguration", route::table),
    ("envoy.config.route.v3.RouteMatch", route::route_match),
    ("envoy.config.route.v3.VirtualHost", route::virtual_host),
    ("envoy.config.route.v3.WeightedCluster", route::weighted_clusters),
    ("envoy.config.trace.v3.Tracing.Http", extension::tracer),
    ("envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager", http::connection_manager),
    ("envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager.UpgradeConfig", route::upgrade),
    ("envoy.extensions.filters.network.http_connection_manager.v3.HttpFilter", extension::http_filter),
    ("envoy.extensions.filters.network.http_connection_manager.v3.Rds", config_source::rds),
    ("envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy.WeightedCluster", route::weighted_clusters),
    ("envoy.extensions.transport_sockets.tls.v3.SdsSecretConfig", config_source::sds_secret_config),
    ("envoy.type.matcher.v3.RegexMatcher", matcher::regex),
    ("envoy.type.matcher.v3.StringMatcher", matcher::string),
    ("envoy.type.v3.FractionalPercent", scalar::fractional_percent),
    ("envoy.type.v3.Percent", scalar::percent),
    ("google.protobuf.Duration", scalar::duration),
    ("xds.type.matcher.v3.RegexMatcher", matcher::regex),
    ("xds.type.matcher.v3.StringMatcher", matcher::string),
];

/// Each message whose list may be written as a mapping, sorted by its full name.
const LISTS: [(&str, ListHook); 3] = [
    ("envoy.config.core.v3.HeaderValueOption", header::values),
    ("envoy.config.route.v3.HeaderMatcher", matcher::headers),
    ("envoy.config.route.v3.QueryParameterMatcher", matcher::query_parameters),
];

/// The hook of a message.
pub(super) fn of_message(name: &str) -> Option<Hook> {
    MESSAGES.binary_search_by_key(&name, |(name, _)| name).ok().map(|position| MESSAGES[position].1)
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
        for name in MESSAGES.iter().map(|(name, _)| name).chain(LISTS.iter().map(|(name, _)| name)) {
            assert!(schema.message(name).is_some(), "{name}");
        }
    }
}
