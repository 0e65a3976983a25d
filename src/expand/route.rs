//! Route tables: virtual hosts, routes and what they do.

use crate::envoy::{MessageDescriptor, Node, Value};

use super::object::Object;
use super::walk::Walk;

/// Name of the virtual host that stands for "any host".
const VIRTUAL_HOST: &str = "local_service";

/// A table may hold the routes of its only virtual host.
pub(super) fn table(walk: &mut Walk<'_>, message: &MessageDescriptor, mut object: Object) -> Object {
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
    walk.fields(message, object)
}

/// A virtual host without domains is for all of them.
pub(super) fn virtual_host(walk: &mut Walk<'_>, message: &MessageDescriptor, mut object: Object) -> Object {
    let span = object.span;
    let name = if object.has("domains") {
        let first = object.get("domains").and_then(Node::items).and_then(<[Node]>::first);
        first.cloned()
    } else {
        object.lead("domains", Node::list(span, vec![Node::string(span, "*")]));
        Some(Node::string(span, VIRTUAL_HOST))
    };
    if let Some(name) = name
        && !object.has("name")
    {
        object.lead("name", name);
    }
    walk.fields(message, object)
}

/// A route without a match is for all paths.
pub(super) fn route(walk: &mut Walk<'_>, message: &MessageDescriptor, mut object: Object) -> Object {
    if !object.has("match") {
        object.lead("match", Node::map::<&str>(object.span, []));
    }
    walk.fields(message, object)
}

/// A match without a path is for all paths.
pub(super) fn route_match(walk: &mut Walk<'_>, message: &MessageDescriptor, mut object: Object) -> Object {
    let path = message.get_field_by_name("prefix").and_then(|prefix| prefix.containing_oneof());
    if path.is_some_and(|path| path.fields().all(|field| !object.has(field.name()))) {
        object.lead("prefix", Node::string(object.span, "/"));
    }
    walk.fields(message, object)
}

/// The conditions may be a list.
pub(super) fn retry_policy(walk: &mut Walk<'_>, message: &MessageDescriptor, mut object: Object) -> Object {
    if let Some(conditions) = object.get_mut("retry_on")
        && let Some(items) = conditions.items()
        && let Some(texts) = items.iter().map(condition).collect::<Option<Vec<_>>>()
    {
        *conditions = Node::string(conditions.span, texts.join(","));
    }
    walk.fields(message, object)
}

/// One condition; `503` is as good as `"503"`.
fn condition(node: &Node) -> Option<&str> {
    match &node.value {
        Value::String(text) | Value::Number(text) => Some(text),
        _ => None,
    }
}
