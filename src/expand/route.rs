//! Route tables: virtual hosts, routes and what they do.

use crate::envoy::{MessageDescriptor, Node, Value};

use super::object::Object;
use super::walk::Walk;

/// Name of the virtual host that stands for "any host".
const VIRTUAL_HOST: &str = "local_service";

/// A table may hold the routes of its only virtual host.
pub(super) fn table(walk: &mut Walk<'_>, message: &MessageDescriptor, node: Node) -> Option<Node> {
    let mut object = match Object::open(node) {
        Ok(object) => object,
        Err(node) => return Some(node),
    };
    if let Some(routes) = object.take("routes") {
        if object.get("virtual_hosts").is_some() {
            walk.exclusive(&routes, "virtual_hosts", "put the routes into one of the virtual hosts");
        } else {
            let span = routes.key_span;
            object.take("virtual_hosts");
            let mut host = Object::new(span);
            host.push(routes);
            object.set("virtual_hosts", span, Node::list(span, vec![host.close()]));
        }
    }
    Some(walk.fields(message, object.close()))
}

/// A virtual host without domains is for all of them.
pub(super) fn virtual_host(walk: &mut Walk<'_>, message: &MessageDescriptor, node: Node) -> Option<Node> {
    let mut object = match Object::open(node) {
        Ok(object) => object,
        Err(node) => return Some(node),
    };
    let span = object.span;
    if !object.has("domains") {
        object.lead("domains", Node::list(span, vec![Node::string(span, "*")]));
        if !object.has("name") {
            object.lead("name", Node::string(span, VIRTUAL_HOST));
        }
    } else if !object.has("name")
        && let Some(domain) = object.get("domains").and_then(Node::items).and_then(<[Node]>::first)
    {
        let name = domain.clone();
        object.lead("name", name);
    }
    Some(walk.fields(message, object.close()))
}

/// A route without a match is for all paths.
pub(super) fn route(walk: &mut Walk<'_>, message: &MessageDescriptor, node: Node) -> Option<Node> {
    match Object::open(node) {
        Ok(mut object) => {
            if !object.has("match") {
                object.lead("match", Node::map::<&str>(object.span, []));
            }
            Some(walk.fields(message, object.close()))
        }
        Err(node) => Some(node),
    }
}

/// A text is a path prefix; no path at all is any path.
pub(super) fn route_match(walk: &mut Walk<'_>, message: &MessageDescriptor, node: Node) -> Option<Node> {
    let node = match &node.value {
        Value::String(_) => Node::map(node.span, [("prefix", node)]),
        _ => node,
    };
    let mut object = match Object::open(node) {
        Ok(object) => object,
        Err(node) => return Some(node),
    };
    let path = message.get_field_by_name("prefix").and_then(|prefix| prefix.containing_oneof());
    if path.is_some_and(|path| path.fields().all(|field| !object.has(field.name()))) {
        object.lead("prefix", Node::string(object.span, "/"));
    }
    Some(walk.fields(message, object.close()))
}

/// A text is the name of a cluster.
pub(super) fn action(walk: &mut Walk<'_>, message: &MessageDescriptor, node: Node) -> Option<Node> {
    let node = match &node.value {
        Value::String(_) => Node::map(node.span, [("cluster", node)]),
        _ => node,
    };
    Some(walk.fields(message, node))
}

/// A list is the clusters to choose from.
pub(super) fn weighted_clusters(walk: &mut Walk<'_>, message: &MessageDescriptor, node: Node) -> Option<Node> {
    let node = match &node.value {
        Value::List(_) => Node::map(node.span, [("clusters", node)]),
        _ => node,
    };
    Some(walk.fields(message, node))
}

/// A text is the type of upgrade.
pub(super) fn upgrade(walk: &mut Walk<'_>, message: &MessageDescriptor, node: Node) -> Option<Node> {
    let node = match &node.value {
        Value::String(_) => Node::map(node.span, [("upgrade_type", node)]),
        _ => node,
    };
    Some(walk.fields(message, node))
}

/// The conditions may be a list.
pub(super) fn retry_policy(walk: &mut Walk<'_>, message: &MessageDescriptor, node: Node) -> Option<Node> {
    let mut object = match Object::open(node) {
        Ok(object) => object,
        Err(node) => return Some(node),
    };
    if let Some(conditions) = object.get_mut("retry_on")
        && let Some(items) = conditions.items()
        && let Some(texts) = items.iter().map(condition).collect::<Option<Vec<_>>>()
    {
        *conditions = Node::string(conditions.span, texts.join(","));
    }
    Some(walk.fields(message, object.close()))
}

/// One condition; `503` is as good as `"503"`.
fn condition(node: &Node) -> Option<&str> {
    match &node.value {
        Value::String(text) | Value::Number(text) => Some(text),
        _ => None,
    }
}
