//! The UDP proxy.

use crate::envoy::{Entry, MessageDescriptor, Node, Value};

use super::object::{Object, typed};
use super::walk::Walk;

/// The key of a listener that holds its fields, or the name of a cluster.
pub(super) const KEY: &str = "udp_proxy";

pub(super) const MESSAGE: &str = "envoy.extensions.filters.udp.udp_proxy.v3.UdpProxyConfig";

const ROUTE: &str = "envoy.extensions.filters.udp.udp_proxy.v3.Route";

/// Makes the key the last listener filter, of that short name.
pub(super) fn hoist(walk: &mut Walk<'_>, listener: &mut Object) {
    let Some(Entry { key, key_span, value }) = listener.take(KEY) else { return };
    if !matches!(value.value, Value::Map(_) | Value::String(_)) {
        let message =
            format!("`{KEY}` must be the name of a cluster or a mapping of its fields, not {}", value.describe());
        return walk.report("wrong-type", value.span, message, "");
    }
    let filter = Node::map(key_span, [(key, value)]);
    match listener.get_mut("listener_filters") {
        Some(Node { value: Value::List(filters), .. }) => filters.push(filter),
        // What is no list is complained about when it is read strictly.
        Some(_) => {}
        None => {
            listener.take("listener_filters");
            listener.set("listener_filters", key_span, Node::list(key_span, vec![filter]));
        }
    }
}

/// Statistics are named after the listener. The only cluster is the answer of a matcher that asks nothing: the field that
/// names it is deprecated.
pub(super) fn proxy(walk: &mut Walk<'_>, message: &MessageDescriptor, mut object: Object) -> Object {
    if let Some(cluster) = object.take("cluster") {
        if object.get("matcher").is_some() {
            walk.exclusive(&cluster, "matcher", "name the cluster in the matcher's `on_no_match`");
        } else {
            let span = cluster.value.span;
            let route = typed(ROUTE, Node::map(span, [("cluster", cluster.value)]));
            let action = Node::map(span, [("name", Node::string(span, "route")), ("typed_config", route)]);
            let matcher = Node::map(span, [("on_no_match", Node::map(span, [("action", action)]))]);
            object.take("matcher");
            object.set("matcher", cluster.key_span, matcher);
        }
    }
    walk.stat_prefix(&mut object);
    walk.fields(message, object)
}
