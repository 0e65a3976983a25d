//! The HTTP connection manager.

use crate::diagnostic::Span;
use crate::envoy::{Entry, Kind, MessageDescriptor, Node, Value};

use super::object::{Object, TYPE, find, is_verbatim, typed};
use super::walk::Walk;

/// The key of a chain that holds its fields.
pub(super) const KEY: &str = "http_connection_manager";

pub(super) const MESSAGE: &str = "envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager";

const FILTER: &str = "envoy.filters.network.http_connection_manager";

const ROUTER: &str = "envoy.filters.http.router";
const ROUTER_MESSAGE: &str = "envoy.extensions.filters.http.router.v3.Router";

/// Filters that always end a chain, by their names and messages: nothing may follow them.
const TERMINAL: [(&str, &str); 2] = [
    (ROUTER, ROUTER_MESSAGE),
    ("envoy.filters.http.mcp_router", "envoy.extensions.filters.http.mcp_router.v3.McpRouter"),
];

/// Keys of a chain that make it speak HTTP.
pub(super) const KEYS: [&str; 5] = [KEY, "routes", "virtual_hosts", "rds", "http_filters"];

/// The network filter that a chain's keys stand for, if it has any.
pub(super) fn filter(walk: &mut Walk<'_>, chain: &mut Object) -> Option<Node> {
    let manager = chain.take(KEY);
    let hoisted: Vec<Entry> = KEYS.iter().filter_map(|name| chain.take_written(name)).collect();
    let first = hoisted.iter().find(|entry| !entry.value.is_null());
    let span = manager.iter().chain(first).map(|entry| entry.key_span).next()?;
    let node = match (manager, first) {
        (Some(Entry { value, .. }), None) if hoisted.is_empty() || is_verbatim(&value) => value,
        (Some(manager), Some(first)) if is_verbatim(&manager.value) => {
            walk.exclusive(first, KEY, "with `\"@type\"` it is taken as it is; write it inside");
            manager.value
        }
        (manager, _) => {
            let value = manager.map_or_else(|| Node::map::<&str>(span, []), |entry| entry.value);
            join(walk, value, hoisted)
        }
    };
    if !matches!(node.value, Value::Map(_)) {
        let message = format!("`{KEY}` must be a mapping of its fields, not {}", node.describe());
        walk.report("wrong-type", node.span, message, "");
        return None;
    }
    walk.path.field(KEY);
    let config =
        if is_verbatim(&node) { Some(node) } else { walk.named(MESSAGE, node).map(|node| typed(MESSAGE, node)) };
    walk.path.pop();
    Some(Node::map(span, [("name", Node::string(span, FILTER)), ("typed_config", config?)]))
}

/// Whether a network filter, written in any form, is this one.
pub(super) fn is_manager(filter: &Node) -> bool {
    let url = find(filter, "typed_config").and_then(|config| config.get(TYPE)).and_then(Node::as_str);
    match url.or_else(|| find(filter, "name").and_then(Node::as_str)).or_else(|| filter.as_str()) {
        Some(text) => text.ends_with(MESSAGE) || text == FILTER || text == KEY,
        None => find(filter, KEY).or_else(|| find(filter, FILTER)).is_some(),
    }
}

/// The connection manager's fields with those that were written outside it.
fn join(walk: &mut Walk<'_>, manager: Node, hoisted: Vec<Entry>) -> Node {
    let mut object = match Object::open(manager) {
        Ok(object) => object,
        Err(node) => return node,
    };
    for entry in hoisted {
        if entry.value.is_null() && object.has(&entry.key) {
            continue;
        }
        if object.has(&entry.key) {
            walk.exclusive(&entry, &format!("{KEY}.{}", entry.key), "keep one of the two");
        } else {
            object.push(entry);
        }
    }
    object.close()
}

/// Inline routes become a table of their own, which the connection manager refers to.
pub(super) fn connection_manager(walk: &mut Walk<'_>, message: &MessageDescriptor, mut object: Object) -> Object {
    inline_table(walk, &mut object);
    walk.stat_prefix(&mut object);
    let mut object = walk.fields(message, object);
    router(&mut object);
    object
}

fn inline_table(walk: &mut Walk<'_>, object: &mut Object) {
    let (routes, hosts) = (object.take("routes"), object.take("virtual_hosts"));
    let table = match (routes, hosts) {
        (Some(routes), Some(hosts)) => {
            walk.exclusive(&routes, "virtual_hosts", "put the routes into one of the virtual hosts");
            hosts
        }
        (Some(table), None) | (None, Some(table)) => table,
        (None, None) => return,
    };
    for native in ["route_config", "scoped_routes"] {
        if object.get(native).is_some() {
            return walk.exclusive(&table, native, "keep one of the two");
        }
    }
    let Some((name, name_span)) = table_name(walk, object, table.key_span) else { return };
    let mut configuration = Object::new(table.key_span);
    configuration.set("name", name_span, Node::string(name_span, &name));
    configuration.push(table);
    walk.derive(Kind::Route, &name, name_span, configuration.close());
}

/// The name of the inline table: what `rds` says, or the name of the listener. Makes `rds` refer to it.
fn table_name(walk: &mut Walk<'_>, object: &mut Object, span: Span) -> Option<(String, Span)> {
    let stated = object.get("rds").and_then(|rds| match rds.as_str() {
        Some(_) => Some(rds),
        None => find(rds, "route_config_name"),
    });
    if let Some(Node { span, value: Value::String(name) }) = stated
        && !name.is_empty()
    {
        return Some((name.clone(), *span));
    }
    let name = walk.derived_name(span, "the route table")?;
    let node = Node::string(span, &name);
    match object.take("rds") {
        Some(Entry { key, key_span, value: Node { span, value: Value::Map(mut entries) } }) => {
            entries.retain(|entry| !super::object::is(&entry.key, "route_config_name"));
            entries.push(Entry::new("route_config_name", span, node));
            object.push(Entry { key, key_span, value: Node { span, value: Value::Map(entries) } });
        }
        // What is neither a name nor a mapping is complained about when it is read strictly.
        Some(entry) => object.push(entry),
        None => object.set("rds", span, node),
    }
    Some((name, span))
}

/// Without a router nothing is forwarded, and Envoy does not say so.
fn router(object: &mut Object) {
    let span = object.span;
    let router = Node::map(
        span,
        [("name", Node::string(span, ROUTER)), ("typed_config", typed(ROUTER_MESSAGE, Node::map::<&str>(span, [])))],
    );
    match object.get_mut("http_filters") {
        Some(Node { value: Value::List(filters), .. }) => {
            if !filters.last().is_some_and(is_terminal) {
                filters.push(router);
            }
        }
        Some(_) => {}
        None => object.default("http_filters", Node::list(span, vec![router])),
    }
}

fn is_terminal(filter: &Node) -> bool {
    let url = find(filter, "typed_config").and_then(|config| config.get(TYPE)).and_then(Node::as_str);
    match url.and_then(|url| url.rsplit('/').next()) {
        Some(found) => TERMINAL.iter().any(|(_, message)| *message == found),
        None => find(filter, "name")
            .and_then(Node::as_str)
            .is_some_and(|found| TERMINAL.iter().any(|(name, _)| *name == found)),
    }
}
