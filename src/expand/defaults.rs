//! Defaults of messages that have nothing else to rewrite: what Envoy requires, or does nothing without.

use crate::envoy::{MessageDescriptor, Node};

use super::object::Object;
use super::walk::Walk;

/// How often hosts are asked and how soon they are believed.
pub(super) fn health_check(walk: &mut Walk<'_>, message: &MessageDescriptor, mut object: Object) -> Object {
    let span = object.span;
    object.default("timeout", Node::string(span, "1s"));
    object.default("interval", Node::string(span, "3s"));
    object.default("unhealthy_threshold", Node::number(span, 3));
    object.default("healthy_threshold", Node::number(span, 1));
    walk.fields(message, object)
}

/// The only version of the transport API that is left; Envoy's default is one that is gone.
pub(super) fn transport_api(walk: &mut Walk<'_>, message: &MessageDescriptor, mut object: Object) -> Object {
    object.default("transport_api_version", Node::string(object.span, "V3"));
    walk.fields(message, object)
}

/// A limit that is written down is a limit: Envoy applies it to no request of its own accord.
pub(super) fn local_rate_limit(walk: &mut Walk<'_>, message: &MessageDescriptor, mut object: Object) -> Object {
    let span = object.span;
    object.default("stat_prefix", Node::string(span, "http_local_rate_limiter"));
    object.default("filter_enabled", Node::number(span, 100));
    object.default("filter_enforced", Node::number(span, 100));
    walk.fields(message, object)
}

pub(super) fn compressor(walk: &mut Walk<'_>, message: &MessageDescriptor, mut object: Object) -> Object {
    object.default("compressor_library", Node::string(object.span, "gzip"));
    walk.fields(message, object)
}
