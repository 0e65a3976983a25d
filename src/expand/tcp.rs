//! The TCP proxy.

use crate::envoy::{Entry, MessageDescriptor, Node, Value};

use super::object::{Object, is_verbatim, typed};
use super::walk::Walk;

/// The key of a chain that holds its fields, or the name of a cluster.
pub(super) const KEY: &str = "tcp_proxy";

pub(super) const MESSAGE: &str = "envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy";

const FILTER: &str = "envoy.filters.network.tcp_proxy";

/// The network filter that a chain's key stands for, if it has it.
pub(super) fn filter(walk: &mut Walk<'_>, chain: &mut Object) -> Option<Node> {
    let Entry { key_span, value, .. } = chain.take(KEY)?;
    if !matches!(value.value, Value::Map(_) | Value::String(_)) {
        let message =
            format!("`{KEY}` must be the name of a cluster or a mapping of its fields, not {}", value.describe());
        walk.report("wrong-type", value.span, message, "");
        return None;
    }
    walk.path.field(KEY);
    let config =
        if is_verbatim(&value) { Some(value) } else { walk.named(MESSAGE, value).map(|node| typed(MESSAGE, node)) };
    walk.path.pop();
    Some(Node::map(key_span, [("name", Node::string(key_span, FILTER)), ("typed_config", config?)]))
}

/// Statistics are named after the listener.
pub(super) fn proxy(walk: &mut Walk<'_>, message: &MessageDescriptor, mut object: Object) -> Object {
    walk.stat_prefix(&mut object);
    walk.fields(message, object)
}
