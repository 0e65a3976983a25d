//! Extensions by their short names: `cors`, or `{cors: {…}}`, where Envoy wants `{name, typed_config}`.

mod table;

use crate::diagnostic::did_you_mean;
use crate::envoy::{Entry, MessageDescriptor, Node, Value};

use super::object::{Object, is_verbatim, typed};
use super::walk::Walk;
use table::Category;

pub(super) fn http_filter(walk: &mut Walk<'_>, message: &MessageDescriptor, node: Node) -> Option<Node> {
    extension(walk, message, node, Category::HttpFilter)
}

pub(super) fn network_filter(walk: &mut Walk<'_>, message: &MessageDescriptor, node: Node) -> Option<Node> {
    extension(walk, message, node, Category::NetworkFilter)
}

pub(super) fn listener_filter(walk: &mut Walk<'_>, message: &MessageDescriptor, node: Node) -> Option<Node> {
    extension(walk, message, node, Category::ListenerFilter)
}

pub(super) fn access_log(walk: &mut Walk<'_>, message: &MessageDescriptor, node: Node) -> Option<Node> {
    extension(walk, message, node, Category::AccessLog)
}

pub(super) fn tracer(walk: &mut Walk<'_>, message: &MessageDescriptor, node: Node) -> Option<Node> {
    extension(walk, message, node, Category::Tracer)
}

fn extension(walk: &mut Walk<'_>, message: &MessageDescriptor, node: Node, category: Category) -> Option<Node> {
    let span = node.span;
    let node = match node.value {
        Value::String(short) => {
            Node { span, value: Value::Map(vec![Entry::new(short, span, Node::map::<&str>(span, []))]) }
        }
        value => Node { span, value },
    };
    let object = match Object::open(node) {
        Ok(object) => object,
        Err(node) => return Some(node),
    };
    // Envoy's own form says what it is; a key that is unknown there is complained about when it is read strictly.
    if ["typed_config", "config_discovery", "hidden_envoy_deprecated_config"]
        .iter()
        .any(|key| object.get(key).is_some())
    {
        return Some(walk.fields(message, object.close()));
    }
    let is_field =
        |key: &str| message.get_field_by_name(key).is_some() || message.get_field_by_json_name(key).is_some();
    let mut wrapper = Object::new(span);
    let mut shorts = Vec::new();
    let Value::Map(entries) = object.close().value else { return None };
    for entry in entries {
        if is_field(&entry.key) { wrapper.push(entry) } else { shorts.push(entry) }
    }
    let mut shorts = shorts.into_iter();
    let Some(short) = shorts.next() else { return Some(walk.fields(message, wrapper.close())) };
    for second in shorts {
        walk.exclusive(&second, &short.key, "each is an item of its own; start a new one with `- `");
    }
    let Some(found) = table::find(category, &short.key) else {
        let message = format!("there is no {} called `{}`", category.noun(), short.key);
        let help = match did_you_mean(&short.key, table::short_names(category)) {
            Some(name) => format!("did you mean `{name}`?"),
            None => "write Envoy's own form: `{name: …, typed_config: {\"@type\": …}}`".to_owned(),
        };
        walk.report("unknown-extension", short.key_span, message, &help);
        return None;
    };
    let config = config(walk, short, found.message)?;
    if !wrapper.has("name") {
        wrapper.lead("name", Node::string(config.span, found.name));
    }
    wrapper.set("typed_config", config.span, config);
    Some(walk.fields(message, wrapper.close()))
}

/// The configuration of an extension, expanded and typed.
fn config(walk: &mut Walk<'_>, short: Entry, message: &str) -> Option<Node> {
    let Entry { key, key_span, value } = short;
    let value = match value.value {
        Value::Null => Node::map::<&str>(key_span, []),
        Value::Map(_) => value,
        _ => {
            let message = format!("`{key}` takes a mapping of its fields, not {}", value.describe());
            walk.report("wrong-type", value.span, message, "");
            return None;
        }
    };
    if is_verbatim(&value) {
        return Some(value);
    }
    walk.path.field(key);
    let config = walk.named(message, value);
    walk.path.pop();
    config.map(|config| typed(message, config))
}
