//! TLS, of listeners and of clusters.

use crate::envoy::{Entry, MessageDescriptor, Node, Value};

use super::data_source;
use super::object::{Object, is, is_verbatim};
use super::walk::Walk;

/// The key of a filter chain or a cluster that stands for its transport socket.
pub(super) const KEY: &str = "tls_context";

/// The fields of `CommonTlsContext`, which may be written directly in the contexts of listeners and clusters.
pub(super) const COMMON: &[&str] = &[
    "tls_params",
    "tls_certificates",
    "tls_certificate_sds_secret_configs",
    "tls_certificate_provider_instance",
    "custom_tls_certificate_selector",
    "tls_certificate_certificate_provider",
    "tls_certificate_certificate_provider_instance",
    "validation_context",
    "validation_context_sds_secret_config",
    "combined_validation_context",
    "validation_context_certificate_provider",
    "validation_context_certificate_provider_instance",
    "alpn_protocols",
    "custom_handshaker",
    "key_log",
];

/// Makes the key the transport socket of that short name.
pub(super) fn hoist(walk: &mut Walk<'_>, object: &mut Object) {
    let Some(context) = object.take(KEY) else { return };
    if object.get("transport_socket").is_some() {
        return walk.exclusive(&context, "transport_socket", "`tls_context` is the short form of it; keep one");
    }
    let Entry { key_span, value, .. } = context;
    if !matches!(value.value, Value::Map(_)) {
        let message = format!("`{KEY}` must be a mapping of its fields, not {}", value.describe());
        return walk.report("wrong-type", value.span, message, "for TLS with nothing else to say write `{}`");
    }
    object.take("transport_socket");
    object.set("transport_socket", key_span, Node::map(key_span, [("tls", value)]));
}

/// TLS of a listener. Without ALPN there is no HTTP/2.
pub(super) fn downstream(walk: &mut Walk<'_>, message: &MessageDescriptor, mut object: Object) -> Object {
    data_source::session_tickets(walk, &mut object);
    gather(walk, &mut object);
    if walk.http {
        let span = object.span;
        object.default("common_tls_context", Node::map::<&str>(span, []));
        if let Some(common) = object.get_mut("common_tls_context")
            && !is_verbatim(common)
            && let Value::Map(entries) = &mut common.value
            && !entries.iter().any(|entry| is(&entry.key, "alpn_protocols"))
        {
            let protocols = ["h2", "http/1.1"].map(|protocol| Node::string(span, protocol));
            entries.push(Entry::new("alpn_protocols", span, Node::list(span, protocols.into())));
        }
    }
    walk.fields(message, object)
}

/// TLS of a cluster. Envoy sends no server name of its own accord.
pub(super) fn upstream(walk: &mut Walk<'_>, message: &MessageDescriptor, mut object: Object) -> Object {
    gather(walk, &mut object);
    if let Some(host) = walk.host.clone()
        && !object.has("auto_host_sni")
    {
        object.default("sni", host);
    }
    walk.fields(message, object)
}

/// QUIC negotiates HTTP/3 by itself.
pub(super) fn quic(walk: &mut Walk<'_>, message: &MessageDescriptor, object: Object) -> Object {
    let http = std::mem::replace(&mut walk.http, false);
    let object = walk.fields(message, object);
    walk.http = http;
    object
}

/// Moves the fields of `CommonTlsContext` where they belong.
fn gather(walk: &mut Walk<'_>, object: &mut Object) {
    let common = object.split(|entry| COMMON.iter().any(|name| is(&entry.key, name)));
    let Some(first) = common.first() else { return };
    let span = first.key_span;
    match object.get_mut("common_tls_context") {
        Some(context) if is_verbatim(context) => {
            walk.exclusive(first, "common_tls_context", "with `\"@type\"` it is taken as it is; write it inside");
        }
        Some(Node { value: Value::Map(entries), .. }) => {
            for entry in common {
                if entries.iter().any(|other| other.key == entry.key) {
                    let inside = format!("common_tls_context.{}", entry.key);
                    walk.exclusive(&entry, &inside, "keep one of the two");
                } else {
                    entries.push(entry);
                }
            }
        }
        // What is no mapping is complained about when it is read strictly.
        Some(_) => {}
        None => {
            object.take("common_tls_context");
            object.set("common_tls_context", span, Node { span, value: Value::Map(common) });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::envoy::Schema;

    #[test]
    fn all_common_fields_are_hoisted_and_no_others() {
        let common = Schema::embedded().message("envoy.extensions.transport_sockets.tls.v3.CommonTlsContext").unwrap();
        let fields: Vec<_> = common.fields().map(|field| field.name().to_owned()).collect();
        assert!(COMMON.iter().all(|name| fields.iter().any(|field| field == name)), "{fields:?}");
        assert!(fields.iter().all(|field| COMMON.contains(&field.as_str())), "{fields:?}");
    }
}
