//! The extensions that have a short name: the last segment of their canonical one.

/// Where an extension is used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Category {
    HttpFilter,
    NetworkFilter,
    ListenerFilter,
    AccessLog,
    Tracer,
}

impl Category {
    /// What its extensions are called in messages.
    pub(super) fn noun(self) -> &'static str {
        match self {
            Self::HttpFilter => "HTTP filter",
            Self::NetworkFilter => "network filter",
            Self::ListenerFilter => "listener filter",
            Self::AccessLog => "access log",
            Self::Tracer => "tracer",
        }
    }

    fn table(self) -> &'static [Extension] {
        match self {
            Self::HttpFilter => &HTTP_FILTERS,
            Self::NetworkFilter => &NETWORK_FILTERS,
            Self::ListenerFilter => &LISTENER_FILTERS,
            Self::AccessLog => &ACCESS_LOGS,
            Self::Tracer => &TRACERS,
        }
    }
}

/// An extension.
#[derive(Clone, Copy, Debug)]
pub(super) struct Extension {
    /// Its canonical name.
    pub(super) name: &'static str,
    /// The full name of its configuration's message.
    pub(super) message: &'static str,
}

/// The extension of this short name.
pub(super) fn find(category: Category, short: &str) -> Option<Extension> {
    category.table().iter().find(|extension| short_name(extension) == short).copied()
}

/// Every short name of a category.
pub(super) fn short_names(category: Category) -> impl Iterator<Item = &'static str> {
    category.table().iter().map(short_name)
}

fn short_name(extension: &Extension) -> &'static str {
    extension.name.rsplit('.').next().unwrap_or(extension.name)
}

macro_rules! extensions {
    ($prefix:literal: $($short:literal => $message:literal,)*) => {
        [$(Extension { name: concat!($prefix, ".", $short), message: $message },)*]
    };
}

const HTTP_FILTERS: [Extension; 30] = extensions! { "envoy.filters.http":
    "adaptive_concurrency" => "envoy.extensions.filters.http.adaptive_concurrency.v3.AdaptiveConcurrency",
    "admission_control" => "envoy.extensions.filters.http.admission_control.v3.AdmissionControl",
    "api_key_auth" => "envoy.extensions.filters.http.api_key_auth.v3.ApiKeyAuth",
    "bandwidth_limit" => "envoy.extensions.filters.http.bandwidth_limit.v3.BandwidthLimit",
    "basic_auth" => "envoy.extensions.filters.http.basic_auth.v3.BasicAuth",
    "buffer" => "envoy.extensions.filters.http.buffer.v3.Buffer",
    "compressor" => "envoy.extensions.filters.http.compressor.v3.Compressor",
    "cors" => "envoy.extensions.filters.http.cors.v3.Cors",
    "csrf" => "envoy.extensions.filters.http.csrf.v3.CsrfPolicy",
    "decompressor" => "envoy.extensions.filters.http.decompressor.v3.Decompressor",
    "dynamic_forward_proxy" => "envoy.extensions.filters.http.dynamic_forward_proxy.v3.FilterConfig",
    "ext_authz" => "envoy.extensions.filters.http.ext_authz.v3.ExtAuthz",
    "ext_proc" => "envoy.extensions.filters.http.ext_proc.v3.ExternalProcessor",
    "fault" => "envoy.extensions.filters.http.fault.v3.HTTPFault",
    "grpc_http1_bridge" => "envoy.extensions.filters.http.grpc_http1_bridge.v3.Config",
    "grpc_json_transcoder" => "envoy.extensions.filters.http.grpc_json_transcoder.v3.GrpcJsonTranscoder",
    "grpc_stats" => "envoy.extensions.filters.http.grpc_stats.v3.FilterConfig",
    "grpc_web" => "envoy.extensions.filters.http.grpc_web.v3.GrpcWeb",
    "header_mutation" => "envoy.extensions.filters.http.header_mutation.v3.HeaderMutation",
    "header_to_metadata" => "envoy.extensions.filters.http.header_to_metadata.v3.Config",
    "health_check" => "envoy.extensions.filters.http.health_check.v3.HealthCheck",
    "jwt_authn" => "envoy.extensions.filters.http.jwt_authn.v3.JwtAuthentication",
    "local_ratelimit" => "envoy.extensions.filters.http.local_ratelimit.v3.LocalRateLimit",
    "lua" => "envoy.extensions.filters.http.lua.v3.Lua",
    "oauth2" => "envoy.extensions.filters.http.oauth2.v3.OAuth2",
    "ratelimit" => "envoy.extensions.filters.http.ratelimit.v3.RateLimit",
    "rbac" => "envoy.extensions.filters.http.rbac.v3.RBAC",
    "router" => "envoy.extensions.filters.http.router.v3.Router",
    "stateful_session" => "envoy.extensions.filters.http.stateful_session.v3.StatefulSession",
    "wasm" => "envoy.extensions.filters.http.wasm.v3.Wasm",
};

const NETWORK_FILTERS: [Extension; 7] = extensions! { "envoy.filters.network":
    "connection_limit" => "envoy.extensions.filters.network.connection_limit.v3.ConnectionLimit",
    "ext_authz" => "envoy.extensions.filters.network.ext_authz.v3.ExtAuthz",
    "http_connection_manager" => "envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager",
    "local_ratelimit" => "envoy.extensions.filters.network.local_ratelimit.v3.LocalRateLimit",
    "ratelimit" => "envoy.extensions.filters.network.ratelimit.v3.RateLimit",
    "rbac" => "envoy.extensions.filters.network.rbac.v3.RBAC",
    "tcp_proxy" => "envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy",
};

const LISTENER_FILTERS: [Extension; 5] = extensions! { "envoy.filters.listener":
    "http_inspector" => "envoy.extensions.filters.listener.http_inspector.v3.HttpInspector",
    "original_dst" => "envoy.extensions.filters.listener.original_dst.v3.OriginalDst",
    "original_src" => "envoy.extensions.filters.listener.original_src.v3.OriginalSrc",
    "proxy_protocol" => "envoy.extensions.filters.listener.proxy_protocol.v3.ProxyProtocol",
    "tls_inspector" => "envoy.extensions.filters.listener.tls_inspector.v3.TlsInspector",
};

const ACCESS_LOGS: [Extension; 6] = extensions! { "envoy.access_loggers":
    "file" => "envoy.extensions.access_loggers.file.v3.FileAccessLog",
    "http_grpc" => "envoy.extensions.access_loggers.grpc.v3.HttpGrpcAccessLogConfig",
    "open_telemetry" => "envoy.extensions.access_loggers.open_telemetry.v3.OpenTelemetryAccessLogConfig",
    "stderr" => "envoy.extensions.access_loggers.stream.v3.StderrAccessLog",
    "stdout" => "envoy.extensions.access_loggers.stream.v3.StdoutAccessLog",
    "tcp_grpc" => "envoy.extensions.access_loggers.grpc.v3.TcpGrpcAccessLogConfig",
};

const TRACERS: [Extension; 5] = extensions! { "envoy.tracers":
    "datadog" => "envoy.config.trace.v3.DatadogConfig",
    "opentelemetry" => "envoy.config.trace.v3.OpenTelemetryConfig",
    "skywalking" => "envoy.config.trace.v3.SkyWalkingConfig",
    "xray" => "envoy.config.trace.v3.XRayConfig",
    "zipkin" => "envoy.config.trace.v3.ZipkinConfig",
};

#[cfg(test)]
mod tests {
    use super::*;
    use crate::envoy::Schema;

    #[test]
    fn every_message_is_known() {
        let schema = Schema::embedded();
        for category in [
            Category::HttpFilter,
            Category::NetworkFilter,
            Category::ListenerFilter,
            Category::AccessLog,
            Category::Tracer,
        ] {
            for extension in category.table() {
                assert!(schema.message(extension.message).is_some(), "{extension:?}");
            }
        }
    }
}
