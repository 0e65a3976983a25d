//! Route tables: virtual hosts, routes and what they do.

use crate::envoy::{MessageDescriptor, Node, OneofDescriptor, Value};

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

/// A path template is an extension of Envoy's; a match without a path is for all paths.
pub(super) fn route_match(walk: &mut Walk<'_>, message: &MessageDescriptor, mut object: Object) -> Object {
    let path = message.get_field_by_name("prefix").and_then(|prefix| prefix.containing_oneof());
    if let Some(template) = object.take("path_template") {
        let others = path.iter().flat_map(OneofDescriptor::fields);
        if let Some(other) = others.map(|field| field.name().to_owned()).find(|name| object.get(name).is_some()) {
            walk.exclusive(&template, &other, "a route is matched by one of them");
        } else {
            let matcher = Node::map(template.key_span, [("path_template", template.value)]);
            object.take("path_match_policy");
            object.set("path_match_policy", template.key_span, named("uri_template_matcher", matcher));
        }
    }
    if path.is_some_and(|path| path.fields().all(|field| !object.has(field.name()))) {
        object.lead("prefix", Node::string(object.span, "/"));
    }
    walk.fields(message, object)
}

/// So is a rewrite to a path template.
pub(super) fn action(walk: &mut Walk<'_>, message: &MessageDescriptor, mut object: Object) -> Object {
    if let Some(template) = object.take("path_template_rewrite") {
        if object.get("path_rewrite_policy").is_some() {
            walk.exclusive(&template, "path_rewrite_policy", "a path is rewritten by one of them");
        } else {
            let rewriter = Node::map(template.key_span, [("path_template_rewrite", template.value)]);
            object.take("path_rewrite_policy");
            object.set("path_rewrite_policy", template.key_span, named("uri_template_rewriter", rewriter));
        }
    }
    walk.fields(message, object)
}

/// An extension by its short name.
fn named(short: &str, config: Node) -> Node {
    Node::map(config.span, [(short, config)])
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
