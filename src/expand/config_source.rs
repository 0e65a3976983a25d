//! Where proxies get further configuration from: the aggregated stream that they are on, unless something else is said.
//! Only that one stream can put changes in order, and gRPC clients know no other.

use crate::diagnostic::Span;
use crate::envoy::{MessageDescriptor, Node};

use super::object::Object;
use super::walk::Walk;

/// The aggregated stream.
fn ads(span: Span) -> Node {
    Node::map(span, [("ads", Node::map::<&str>(span, [])), ("resource_api_version", Node::string(span, "V3"))])
}

/// An empty one is the aggregated stream; any other stays as it is.
pub(super) fn config_source(walk: &mut Walk<'_>, message: &MessageDescriptor, mut object: Object) -> Object {
    let span = object.span;
    if object.entries().is_empty() {
        object.set("ads", span, Node::map::<&str>(span, []));
    }
    if object.get("ads").is_some() {
        object.default("resource_api_version", Node::string(span, "V3"));
    }
    walk.fields(message, object)
}

pub(super) fn rds(walk: &mut Walk<'_>, message: &MessageDescriptor, object: Object) -> Object {
    with_source(walk, message, object, "config_source")
}

/// A secret that the proxies have in their bootstrap comes from there.
pub(super) fn sds_secret_config(walk: &mut Walk<'_>, message: &MessageDescriptor, object: Object) -> Object {
    let name = object.get("name").and_then(Node::as_str);
    if name.is_some_and(|name| walk.static_resources.secrets.iter().any(|secret| secret == name)) {
        return walk.fields(message, object);
    }
    with_source(walk, message, object, "sds_config")
}

/// What an EDS cluster says where nothing else is said.
pub(super) fn eds(span: Span) -> Node {
    Node::map(span, [("eds_config", ads(span))])
}

pub(super) fn eds_cluster_config(walk: &mut Walk<'_>, message: &MessageDescriptor, object: Object) -> Object {
    with_source(walk, message, object, "eds_config")
}

pub(super) fn extension_config_source(walk: &mut Walk<'_>, message: &MessageDescriptor, object: Object) -> Object {
    with_source(walk, message, object, "config_source")
}

fn with_source(walk: &mut Walk<'_>, message: &MessageDescriptor, mut object: Object, source: &str) -> Object {
    if !object.has(source) {
        object.lead(source, ads(object.span));
    }
    walk.fields(message, object)
}
