//! Matchers: of text, headers and query parameters.

use crate::envoy::{Entry, Node, Value};

use super::header::set;
use super::walk::Walk;

pub(super) const HEADER: &str = "envoy.config.route.v3.HeaderMatcher";
pub(super) const QUERY_PARAMETER: &str = "envoy.config.route.v3.QueryParameterMatcher";

/// `{name: value}` where a list of `HeaderMatcher` is expected.
pub(super) fn headers(walk: &mut Walk<'_>, entries: Vec<Entry>) -> Vec<Node> {
    list(walk, entries, &Style { noun: "header", message: HEADER, inverts: true })
}

/// `{name: value}` where a list of `QueryParameterMatcher` is expected.
pub(super) fn query_parameters(walk: &mut Walk<'_>, entries: Vec<Entry>) -> Vec<Node> {
    list(walk, entries, &Style { noun: "query parameter", message: QUERY_PARAMETER, inverts: false })
}

/// What a mapping of matchers is about.
struct Style {
    noun: &'static str,
    message: &'static str,
    /// Whether "not there" can be said.
    inverts: bool,
}

fn list(walk: &mut Walk<'_>, entries: Vec<Entry>, style: &Style) -> Vec<Node> {
    entries.into_iter().filter(set).filter_map(|entry| matcher(walk, entry, style)).collect()
}

fn matcher(walk: &mut Walk<'_>, entry: Entry, style: &Style) -> Option<Node> {
    let Entry { key, key_span, value } = entry;
    let span = value.span;
    let exact = |text: String| vec![Entry::new("string_match", span, of_text("exact", Node::string(span, text)))];
    let present = || Entry::new("present_match", span, Node::bool(span, true));
    let rest = match value.value {
        Value::String(text) | Value::Number(text) => exact(text),
        Value::Bool(true) => vec![present()],
        Value::Bool(false) if style.inverts => {
            vec![present(), Entry::new("invert_match", span, Node::bool(span, true))]
        }
        Value::List(items) => {
            let regex = of_text("regex", Node::string(span, alternatives(walk, &key, items, style)?));
            vec![Entry::new("string_match", span, of_text("safe_regex", Node { span, ..regex }))]
        }
        Value::Map(fields) if fields.iter().any(|field| is_field(walk, &field.key, style)) => fields,
        Value::Map(_) => vec![Entry::new("string_match", span, value)],
        Value::Bool(_) | Value::Null => {
            let message = format!("that the {} `{key}` is absent cannot be matched", style.noun);
            walk.report("wrong-type", span, message, "");
            return None;
        }
    };
    let (name, rest): (Vec<Entry>, Vec<Entry>) = rest.into_iter().partition(|entry| entry.key == "name");
    for name in name {
        walk.exclusive(&name, &key, "the key is the name");
    }
    let mut entries = vec![Entry::new("name", key_span, Node::string(key_span, key))];
    entries.extend(rest);
    Some(Node { span: key_span, value: Value::Map(entries) })
}

fn of_text(field: &str, text: Node) -> Node {
    Node::map(text.span, [(field, text)])
}

/// Whether a key belongs to the matcher itself, and not to a matcher of its value.
fn is_field(walk: &Walk<'_>, key: &str, style: &Style) -> bool {
    let message = walk.schema.message(style.message);
    message.is_some_and(|m| m.get_field_by_name(key).is_some() || m.get_field_by_json_name(key).is_some())
}

/// A regular expression for any of these texts.
fn alternatives(walk: &mut Walk<'_>, key: &str, items: Vec<Node>, style: &Style) -> Option<String> {
    let mut texts = Vec::new();
    for item in items {
        match item.value {
            Value::String(text) | Value::Number(text) => texts.push(escaped(&text)),
            _ => {
                let message = format!("a value of the {} `{key}` must be text, not {}", style.noun, item.describe());
                walk.report("wrong-type", item.span, message, "quote it");
                return None;
            }
        }
    }
    Some(texts.join("|"))
}

/// A text as a regular expression that matches just that.
fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        if r"\.+*?()|[]{}^$".contains(c) {
            out.push('\\');
        }
        out.push(c);
    }
    out
}
