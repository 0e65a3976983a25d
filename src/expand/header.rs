//! Headers to add, as a mapping.

use crate::envoy::{Entry, Node, Value};

use super::walk::Walk;

/// `{name: value}` where a list of `HeaderValueOption` is expected.
pub(super) fn values(walk: &mut Walk<'_>, entries: Vec<Entry>) -> Vec<Node> {
    let option = |Entry { key, key_span, value }: Entry| {
        let text = text(walk, &key, value)?;
        let header = [("key", Node::string(key_span, key)), ("value", text)];
        Some(Node::map(key_span, [("header", Node::map(key_span, header))]))
    };
    entries.into_iter().filter(set).filter_map(option).collect()
}

/// Whether an entry says anything.
pub(super) fn set(entry: &Entry) -> bool {
    !entry.value.is_null()
}

/// The text of a header's value, where a number stands for its text as well.
fn text(walk: &mut Walk<'_>, key: &str, value: Node) -> Option<Node> {
    if let Value::String(text) | Value::Number(text) = value.value {
        return Some(Node::string(value.span, text));
    }
    let message = format!("the value of the header `{key}` must be text, not {}", value.describe());
    let help = "quote it; to say more than a value, write a list of `{header: {key, value}, append_action}`";
    walk.report("wrong-type", value.span, message, help);
    None
}
