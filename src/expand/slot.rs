//! Which extensions a place takes: what a short name means depends on where it stands.
//!
//! Only the place is written down here; names and messages come from Envoy's own table. A place that is not listed takes any
//! extension whose name is the name of no other.

use crate::envoy::extensions::Category;
use crate::envoy::{FieldDescriptor, MessageDescriptor};

use super::walk::Walk;

/// Filters of any kind that `ExtensionConfig` resources configure; HTTP filters first, which are almost all of them.
pub(super) const DISCOVERED: Category = Category::of(
    &[
        "envoy.filters.http",
        "envoy.filters.http.upstream",
        "envoy.filters.network",
        "envoy.filters.listener",
        "envoy.filters.udp_listener",
        "envoy.filters.quic_listener",
        "envoy.filters.udp.session",
        "envoy.matching.action",
    ],
    "a filter",
);

const CERTIFICATE_MAPPER: Category =
    Category::of(&["envoy.tls.certificate_mappers", "envoy.tls.upstream_certificate_mappers"], "a certificate mapper");
const CERTIFICATE_SELECTOR: Category = Category::of(
    &["envoy.tls.certificate_selectors", "envoy.tls.upstream_certificate_selectors"],
    "a certificate selector",
);
const CONTENT_PARSER: Category = Category::of(&["envoy.content_parsers"], "a content parser");
const CUSTOM_MATCHER: Category =
    Category::of(&["envoy.matching.http.custom_matchers", "envoy.matching.network.custom_matchers"], "a matcher");
const DNS_RESOLVER: Category = Category::of(&["envoy.network.dns_resolver"], "a DNS resolver");
const FORMATTER: Category = Category::of(&["envoy.formatter"], "a formatter");
const GEOIP_PROVIDER: Category = Category::of(&["envoy.geoip_providers"], "a provider of locations");
const HEADER_VALIDATOR: Category = Category::of(&["envoy.http.header_validators"], "a header validator");
const INPUT_MATCHER: Category = Category::of(&["envoy.matching.input_matchers"], "a matcher of inputs");
const KEY_VALUE_STORE: Category = Category::of(&["envoy.common.key_value"], "a key-value store");
const MATCHING_ACTION: Category =
    Category::of(&["envoy.matching.action", "envoy.http.custom_response"], "an action of a matcher");
const MATCHING_INPUT: Category = Category::of(
    &[
        "envoy.matching.http.input",
        "envoy.matching.network.input",
        "envoy.matching.common_inputs",
        "envoy.matching.transport_socket.input",
        "envoy.matching.generic_proxy_request_input.input",
        "envoy.matching.stat_matching_data.input",
        "envoy.matching.stat_tag_matching_data.input",
    ],
    "an input of a matcher",
);
const PATH_MATCHER: Category = Category::of(&["envoy.path.match"], "a path matcher");
const PATH_REWRITER: Category = Category::of(&["envoy.path.rewrite"], "a path rewriter");
const REQUEST_ID: Category = Category::of(&["envoy.request_id"], "a maker of request ids");
const REQUEST_MODIFIER: Category =
    Category::of(&["envoy.http.ext_proc.processing_request_modifiers"], "a request modifier");
const RESOURCE_DETECTOR: Category =
    Category::of(&["envoy.tracers.opentelemetry.resource_detectors"], "a resource detector");
const ROUTE_SPECIFIER: Category = Category::of(&["envoy.router.route_specifiers"], "a route specifier");
const SAMPLER: Category = Category::of(&["envoy.tracers.opentelemetry.samplers"], "a sampler");
const STRING_MATCHER: Category = Category::of(&["envoy.string_matcher"], "a matcher of strings");
const THRIFT_FILTER: Category = Category::of(&["envoy.thrift_proxy.filters"], "a Thrift filter");

/// Messages that wrap an extension of one category wherever they stand, sorted by their full name.
const BY_MESSAGE: [(&str, Category); 15] = [
    ("envoy.config.accesslog.v3.AccessLog", Category::ACCESS_LOGGER),
    ("envoy.config.accesslog.v3.ExtensionFilter", Category::ACCESS_LOG_FILTER),
    ("envoy.config.cluster.v3.Cluster.CustomClusterType", Category::CLUSTER),
    ("envoy.config.cluster.v3.Filter", Category::UPSTREAM_NETWORK_FILTER),
    ("envoy.config.core.v3.HealthCheck.CustomHealthCheck", Category::HEALTH_CHECKER),
    ("envoy.config.core.v3.RetryPolicy.RetryHostPredicate", Category::RETRY_HOST_PREDICATE),
    ("envoy.config.core.v3.RetryPolicy.RetryPriority", Category::RETRY_PRIORITY),
    ("envoy.config.listener.v3.Filter", Category::NETWORK_FILTER),
    ("envoy.config.listener.v3.ListenerFilter", Category::LISTENER_FILTER),
    ("envoy.config.route.v3.RetryPolicy.RetryHostPredicate", Category::RETRY_HOST_PREDICATE),
    ("envoy.config.route.v3.RetryPolicy.RetryPriority", Category::RETRY_PRIORITY),
    ("envoy.config.trace.v3.Tracing.Http", Category::TRACER),
    ("envoy.extensions.filters.network.http_connection_manager.v3.HttpFilter", Category::HTTP_FILTER),
    ("envoy.extensions.filters.network.http_connection_manager.v3.RequestIDExtension", REQUEST_ID),
    ("envoy.extensions.filters.network.thrift_proxy.v3.ThriftFilter", THRIFT_FILTER),
];

/// Another one, apart because the row is long.
const SESSION_FILTER: &str = "envoy.extensions.filters.udp.udp_proxy.v3.UdpProxyConfig.SessionFilter";

/// The message that wraps an extension of the category that its field asks for.
const TYPED: &str = "envoy.config.core.v3.TypedExtensionConfig";
const XDS_TYPED: &str = "xds.core.v3.TypedExtensionConfig";

/// Fields with such a message, sorted by their full name.
const BY_FIELD: &[(&str, Category)] = &[
    ("envoy.config.cluster.v3.Cluster.typed_dns_resolver_config", DNS_RESOLVER),
    ("envoy.config.cluster.v3.Cluster.upstream_config", Category::of(&["envoy.upstreams"], "an upstream type")),
    ("envoy.config.cluster.v3.LoadBalancingPolicy.Policy.typed_extension_config", Category::LOAD_BALANCING_POLICY),
    ("envoy.config.common.key_value.v3.KeyValueStoreConfig.config", KEY_VALUE_STORE),
    ("envoy.config.common.matcher.v3.Matcher.MatcherList.Predicate.SinglePredicate.custom_match", INPUT_MATCHER),
    ("envoy.config.common.matcher.v3.Matcher.MatcherList.Predicate.SinglePredicate.input", MATCHING_INPUT),
    ("envoy.config.common.matcher.v3.Matcher.MatcherTree.custom_match", CUSTOM_MATCHER),
    ("envoy.config.common.matcher.v3.Matcher.MatcherTree.input", MATCHING_INPUT),
    ("envoy.config.common.matcher.v3.Matcher.OnMatch.action", MATCHING_ACTION),
    ("envoy.config.core.v3.AlternateProtocolsCacheOptions.key_value_store_config", KEY_VALUE_STORE),
    (
        "envoy.config.core.v3.HealthCheck.event_logger",
        Category::of(&["envoy.health_check.event_sinks"], "a sink of health check events"),
    ),
    (
        "envoy.config.core.v3.Http1ProtocolOptions.HeaderKeyFormat.stateful_formatter",
        Category::of(&["envoy.http.stateful_header_formatters"], "a header formatter"),
    ),
    ("envoy.config.core.v3.HttpService.formatters", FORMATTER),
    ("envoy.config.core.v3.SubstitutionFormatString.formatters", FORMATTER),
    ("envoy.config.rbac.v3.Permission.uri_template", PATH_MATCHER),
    (
        "envoy.config.route.v3.ClusterSpecifierPlugin.extension",
        Category::of(&["envoy.router.cluster_specifier_plugin"], "a cluster specifier"),
    ),
    (
        "envoy.config.route.v3.InternalRedirectPolicy.predicates",
        Category::of(&["envoy.internal_redirect_predicates"], "an internal redirect predicate"),
    ),
    (
        "envoy.config.route.v3.RateLimit.Action.extension",
        Category::of(&["envoy.rate_limit_descriptors"], "a rate limit descriptor"),
    ),
    ("envoy.config.route.v3.Route.route_specifiers", ROUTE_SPECIFIER),
    (
        "envoy.config.route.v3.RouteAction.early_data_policy",
        Category::of(&["envoy.route.early_data_policy"], "an early data policy"),
    ),
    ("envoy.config.route.v3.RouteAction.path_rewrite_policy", PATH_REWRITER),
    ("envoy.config.route.v3.RouteConfiguration.route_specifiers", ROUTE_SPECIFIER),
    ("envoy.config.route.v3.RouteMatch.path_match_policy", PATH_MATCHER),
    ("envoy.config.route.v3.VirtualHost.route_specifiers", ROUTE_SPECIFIER),
    ("envoy.config.trace.v3.OpenTelemetryConfig.resource_detectors", RESOURCE_DETECTOR),
    ("envoy.config.trace.v3.OpenTelemetryConfig.sampler", SAMPLER),
    ("envoy.extensions.access_loggers.fluentd.v3.FluentdAccessLogConfig.formatters", FORMATTER),
    ("envoy.extensions.access_loggers.open_telemetry.v3.OpenTelemetryAccessLogConfig.formatters", FORMATTER),
    (
        "envoy.extensions.access_loggers.open_telemetry.v3.OpenTelemetryAccessLogConfig.resource_detectors",
        RESOURCE_DETECTOR,
    ),
    ("envoy.extensions.clusters.dns.v3.DnsCluster.typed_dns_resolver_config", DNS_RESOLVER),
    ("envoy.extensions.common.dynamic_forward_proxy.v3.DnsCacheConfig.typed_dns_resolver_config", DNS_RESOLVER),
    ("envoy.extensions.common.matching.v3.ExtensionWithMatcher.extension_config", Category::HTTP_FILTER),
    (
        "envoy.extensions.filters.http.aws_eventstream_parser.v3.AwsEventstreamParser.ProcessingRules.content_parser",
        CONTENT_PARSER,
    ),
    ("envoy.extensions.filters.http.composite.v3.ExecuteFilterAction.typed_config", Category::HTTP_FILTER),
    ("envoy.extensions.filters.http.composite.v3.FilterChainConfiguration.typed_config", Category::HTTP_FILTER),
    ("envoy.extensions.filters.http.compressor.v3.Compressor.compressor_library", Category::COMPRESSOR),
    ("envoy.extensions.filters.http.compressor.v3.CompressorOverrides.compressor_library", Category::COMPRESSOR),
    (
        "envoy.extensions.filters.http.credential_injector.v3.CredentialInjector.credential",
        Category::of(&["envoy.http.injected_credentials"], "a credential"),
    ),
    ("envoy.extensions.filters.http.decompressor.v3.Decompressor.decompressor_library", Category::DECOMPRESSOR),
    ("envoy.extensions.filters.http.ext_proc.v3.ExtProcOverrides.processing_request_modifier", REQUEST_MODIFIER),
    (
        "envoy.extensions.filters.http.ext_proc.v3.ExternalProcessor.on_processing_response",
        Category::of(&["envoy.http.ext_proc.response_processors"], "a response processor"),
    ),
    ("envoy.extensions.filters.http.ext_proc.v3.ExternalProcessor.processing_request_modifier", REQUEST_MODIFIER),
    ("envoy.extensions.filters.http.filter_chain.v3.FilterChain.filters", Category::HTTP_FILTER),
    ("envoy.extensions.filters.http.geoip.v3.Geoip.provider", GEOIP_PROVIDER),
    ("envoy.extensions.filters.http.header_mutation.v3.Mutations.formatters", FORMATTER),
    ("envoy.extensions.filters.http.sse_to_metadata.v3.SseToMetadata.ProcessingRules.content_parser", CONTENT_PARSER),
    (
        "envoy.extensions.filters.http.stateful_session.v3.StatefulSession.session_state",
        Category::of(&["envoy.http.stateful_session"], "a session state"),
    ),
    (
        "envoy.extensions.filters.network.generic_proxy.v3.GenericProxy.codec_config",
        Category::of(&["envoy.generic_proxy.codecs"], "a codec"),
    ),
    (
        "envoy.extensions.filters.network.generic_proxy.v3.GenericProxy.filters",
        Category::of(&["envoy.generic_proxy.filters"], "a filter of the generic proxy"),
    ),
    ("envoy.extensions.filters.network.geoip.v3.Geoip.provider", GEOIP_PROVIDER),
    (
        "envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager.early_header_mutation_extensions",
        Category::of(&["envoy.http.early_header_mutation"], "an early header mutation"),
    ),
    (
        "envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager.original_ip_detection_extensions",
        Category::of(&["envoy.http.original_ip_detection"], "a detection of client addresses"),
    ),
    (
        "envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager.typed_header_validation_config",
        HEADER_VALIDATOR,
    ),
    ("envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy.TunnelingConfig.formatters", FORMATTER),
    (
        "envoy.extensions.filters.udp.dns_filter.v3.DnsFilterConfig.ClientContextConfig.typed_dns_resolver_config",
        DNS_RESOLVER,
    ),
    ("envoy.extensions.filters.udp.udp_proxy.v3.UdpProxyConfig.UdpTunnelingConfig.formatters", FORMATTER),
    (
        "envoy.extensions.http.custom_response.redirect_policy.v3.RedirectPolicy.modify_request_headers_action",
        MATCHING_ACTION,
    ),
    ("envoy.extensions.tracers.opentelemetry.samplers.v3.ParentBasedSamplerConfig.wrapped_sampler", SAMPLER),
    (
        "envoy.extensions.transport_sockets.tls.cert_selectors.on_demand_secret.v3.Config.certificate_mapper",
        CERTIFICATE_MAPPER,
    ),
    (
        "envoy.extensions.transport_sockets.tls.v3.CertificateValidationContext.custom_validator_config",
        Category::of(&["envoy.tls.cert_validator"], "a certificate validator"),
    ),
    (
        "envoy.extensions.transport_sockets.tls.v3.CommonTlsContext.custom_handshaker",
        Category::of(&["envoy.tls_handshakers"], "a handshaker"),
    ),
    (
        "envoy.extensions.transport_sockets.tls.v3.CommonTlsContext.custom_tls_certificate_selector",
        CERTIFICATE_SELECTOR,
    ),
    ("envoy.extensions.upstreams.http.v3.HttpProtocolOptions.header_validation_config", HEADER_VALIDATOR),
    ("envoy.type.matcher.v3.StringMatcher.custom", STRING_MATCHER),
    ("xds.type.matcher.v3.Matcher.MatcherList.Predicate.SinglePredicate.custom_match", INPUT_MATCHER),
    ("xds.type.matcher.v3.Matcher.MatcherList.Predicate.SinglePredicate.input", MATCHING_INPUT),
    ("xds.type.matcher.v3.Matcher.MatcherTree.custom_match", CUSTOM_MATCHER),
    ("xds.type.matcher.v3.Matcher.MatcherTree.input", MATCHING_INPUT),
    ("xds.type.matcher.v3.Matcher.OnMatch.action", MATCHING_ACTION),
    ("xds.type.matcher.v3.StringMatcher.custom", STRING_MATCHER),
];

/// What a field asks for, if that is for its field to say.
pub(super) fn of_field(field: &FieldDescriptor, message: &MessageDescriptor) -> Option<Category> {
    let position = is_general(message).then(|| BY_FIELD.binary_search_by_key(&field.full_name(), |(name, _)| name))?;
    position.ok().map(|position| BY_FIELD[position].1)
}

/// Whether a wrapper is the general one: its field says what it takes, and it must have a configuration.
pub(super) fn is_general(message: &MessageDescriptor) -> bool {
    matches!(message.full_name(), TYPED | XDS_TYPED)
}

/// What a wrapper takes where the walk is; `None` is any extension.
pub(super) fn of(walk: &mut Walk<'_>, message: &MessageDescriptor) -> Option<Category> {
    let name = message.full_name();
    match name {
        TYPED | XDS_TYPED => walk.slot.take(),
        "envoy.config.core.v3.TransportSocket" if walk.upstream => Some(Category::UPSTREAM_TRANSPORT_SOCKET),
        "envoy.config.core.v3.TransportSocket" => Some(Category::DOWNSTREAM_TRANSPORT_SOCKET),
        SESSION_FILTER => Some(Category::UDP_SESSION_FILTER),
        _ => {
            let position = BY_MESSAGE.binary_search_by_key(&name, |(name, _)| name);
            position.ok().map(|position| BY_MESSAGE[position].1)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::envoy::Schema;

    #[test]
    fn every_place_exists_and_has_extensions() {
        let schema = Schema::embedded();
        assert!(BY_MESSAGE.is_sorted_by(|a, b| a.0 < b.0));
        assert!(BY_FIELD.is_sorted_by(|a, b| a.0 < b.0));
        for (name, category) in BY_MESSAGE {
            let message = schema.message(name).unwrap_or_else(|| panic!("{name}"));
            assert!(message.get_field_by_name("typed_config").is_some(), "{name}");
            assert!(!schema.extensions().of(category).is_empty(), "{name}");
        }
        for (name, category) in BY_FIELD {
            let (message, field) = name.rsplit_once('.').unwrap();
            let field = schema.message(message).and_then(|message| message.get_field_by_name(field));
            let kind = field.unwrap_or_else(|| panic!("{name}")).kind();
            assert!(matches!(kind.as_message().unwrap().full_name(), TYPED | XDS_TYPED), "{name}");
            assert!(!schema.extensions().of(*category).is_empty(), "{name}");
        }
        assert!(schema.message(SESSION_FILTER).is_some());
    }
}
