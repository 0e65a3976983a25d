//! The HTTP versions that a cluster may speak, and whether its socket lets it.

use super::site::{Site, steps};
use crate::diagnostic::Findings;
use crate::envoy::{DynamicMessage, field};

const OPTIONS: &str = "envoy.extensions.upstreams.http.v3.HttpProtocolOptions";
/// Sockets in which both sides agree on a version.
const AGREEING: [&str; 3] = [".UpstreamTlsContext", ".QuicUpstreamTransport", ".StartTlsConfig"];

/// A cluster's transport socket and the protocols that are spoken through it.
pub(super) fn cluster(site: &Site<'_>, findings: &mut Findings) {
    let entries = field::map(site.message, "typed_extension_protocol_options");
    let Some(options) = entries.get(OPTIONS).and_then(|options| field::payload(site.schema, options)) else { return };
    // One of several is chosen for each endpoint, and each may be another.
    if field::messages(site.message, "transport_socket_matches").next().is_some() || !site.is_whole() {
        return;
    }
    let mut here = site.at(steps!["typed_extension_protocol_options"]);
    here.key(OPTIONS);
    let socket =
        field::message(site.message, "transport_socket").and_then(|socket| field::message(socket, "typed_config"));
    let socket = socket.map(|config| field::type_name(config).unwrap_or_default());
    let speaks_quic = socket.as_deref().is_some_and(|socket| socket.ends_with(".QuicUpstreamTransport"));
    // What is wrapped in another socket, or comes from elsewhere, cannot be judged.
    let is_plain = socket.as_deref().is_none_or(|socket| socket.ends_with(".RawBuffer"));
    let agrees = socket.as_deref().is_some_and(|socket| AGREEING.iter().any(|end| socket.ends_with(end)));
    let finding = if let Some(auto) = field::message(&options, "auto_config") {
        if is_plain {
            let text = "with `auto_config` both sides agree on a version of HTTP in TLS, and this cluster has no TLS";
            let help = "add `tls_context`, or say the version: `http2_protocol_options: {}`";
            Some((format!("{text}: Envoy refuses it"), help))
        } else if asks_quic(auto) && field::message(auto, "alternate_protocols_cache_options").is_none() {
            let text = "HTTP/3 in `auto_config` needs `alternate_protocols_cache_options`: Envoy refuses the cluster";
            Some((text.to_owned(), "add `alternate_protocols_cache_options: {name: default}`"))
        } else {
            None
        }
    } else if field::message(&options, "explicit_http_config").is_some_and(asks_quic)
        && !speaks_quic
        && (is_plain || agrees)
    {
        let text = "HTTP/3 runs on QUIC, and this cluster's transport socket is another: Envoy refuses it";
        Some((text.to_owned(), "use the transport socket `quic`, or `http2_protocol_options`"))
    } else {
        None
    };
    if let Some((text, help)) = finding {
        findings.push(site.resource.error("upstream-protocol", &here, text).help(help));
    }
}

fn asks_quic(config: &DynamicMessage) -> bool {
    field::message(config, "http3_protocol_options").is_some()
}
