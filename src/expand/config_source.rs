//! Where proxies get further configuration from: the aggregated stream that they are on, unless something else is said.
//! Only that one stream can put changes in order, and gRPC clients know no other.

use crate::diagnostic::Span;
use crate::envoy::{MessageDescriptor, Node, Value};

use super::object::Object;
use super::walk::Walk;

/// The aggregated stream.
fn ads(span: Span) -> Node {
    Node::map(span, [("ads", Node::map::<&str>(span, [])), ("resource_api_version", Node::string(span, "V3"))])
}

/// An empty one is the aggregated stream; any other stays as it is.
pub(super) fn config_source(walk: &mut Walk<'_>, message: &MessageDescriptor, node: Node) -> Option<Node> {
    match Object::open(node) {
        Ok(object) if object.entries().is_empty() => Some(ads(object.span)),
        Ok(mut object) => {
            if object.get("ads").is_some() {
                object.default("resource_api_version", Node::string(object.span, "V3"));
            }
            Some(walk.fields(message, object.close()))
        }
        Err(node) => Some(node),
    }
}

/// `rds: name`.
pub(super) fn rds(walk: &mut Walk<'_>, message: &MessageDescriptor, node: Node) -> Option<Node> {
    with_source(walk, message, node, "config_source", "route_config_name")
}

/// `name`; one that the proxies have in their bootstrap comes from there.
pub(super) fn sds_secret_config(walk: &mut Walk<'_>, message: &MessageDescriptor, node: Node) -> Option<Node> {
    let name = node.as_str().or_else(|| node.get("name").and_then(Node::as_str));
    if name.is_some_and(|name| walk.static_resources.secrets.iter().any(|secret| secret == name)) {
        let node = if node.as_str().is_some() { Node::map(node.span, [("name", node)]) } else { node };
        return Some(walk.fields(message, node));
    }
    with_source(walk, message, node, "sds_config", "name")
}

/// What an EDS cluster says where nothing else is said.
pub(super) fn eds(span: Span) -> Node {
    Node::map(span, [("eds_config", ads(span))])
}

pub(super) fn eds_cluster_config(walk: &mut Walk<'_>, message: &MessageDescriptor, node: Node) -> Option<Node> {
    with_source(walk, message, node, "eds_config", "service_name")
}

pub(super) fn extension_config_source(walk: &mut Walk<'_>, message: &MessageDescriptor, node: Node) -> Option<Node> {
    match Object::open(node) {
        Ok(mut object) => {
            object.default("config_source", ads(object.span));
            Some(walk.fields(message, object.close()))
        }
        Err(node) => Some(node),
    }
}

/// A text is the `name` field; an absent `source` is the aggregated stream.
fn with_source(walk: &mut Walk<'_>, message: &MessageDescriptor, node: Node, source: &str, name: &str) -> Option<Node> {
    let node = match &node.value {
        Value::String(_) => Node::map(node.span, [(name, node)]),
        _ => node,
    };
    match Object::open(node) {
        Ok(mut object) => {
            if !object.has(source) {
                object.lead(source, ads(object.span));
            }
            Some(walk.fields(message, object.close()))
        }
        Err(node) => Some(node),
    }
}

/// The name of a cluster.
pub(super) fn grpc_service(walk: &mut Walk<'_>, message: &MessageDescriptor, node: Node) -> Option<Node> {
    let span = node.span;
    let node = match &node.value {
        Value::String(_) => Node::map(span, [("envoy_grpc", Node::map(span, [("cluster_name", node)]))]),
        _ => node,
    };
    Some(walk.fields(message, node))
}
