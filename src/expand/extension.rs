//! Extensions by their short names: `cors`, or `{cors: {…}}`, where Envoy wants `{name, typed_config}`.

use crate::envoy::extensions::Category;
use crate::envoy::{Entry, MessageDescriptor, Node, Value};

use super::object::{Object, is_verbatim, typed};
use super::walk::Walk;

pub(super) fn http_filter(walk: &mut Walk<'_>, message: &MessageDescriptor, object: Object) -> Object {
    wrapper(walk, message, object, Category::HTTP_FILTER)
}

pub(super) fn network_filter(walk: &mut Walk<'_>, message: &MessageDescriptor, object: Object) -> Object {
    wrapper(walk, message, object, Category::NETWORK_FILTER)
}

pub(super) fn listener_filter(walk: &mut Walk<'_>, message: &MessageDescriptor, object: Object) -> Object {
    wrapper(walk, message, object, Category::LISTENER_FILTER)
}

pub(super) fn access_log(walk: &mut Walk<'_>, message: &MessageDescriptor, object: Object) -> Object {
    wrapper(walk, message, object, Category::ACCESS_LOGGER)
}

pub(super) fn tracer(walk: &mut Walk<'_>, message: &MessageDescriptor, object: Object) -> Object {
    wrapper(walk, message, object, Category::TRACER)
}

/// The message that wraps an extension of any kind: `{short: {…}}` beside its own fields.
fn wrapper(walk: &mut Walk<'_>, message: &MessageDescriptor, mut object: Object, category: Category) -> Object {
    // Envoy's own form says what it is; a key that is unknown there is complained about when it is read strictly.
    let native = ["typed_config", "config_discovery"].iter().any(|key| object.get(key).is_some());
    let is_field = |key: &str| message.get_field_by_name(key).or_else(|| message.get_field_by_json_name(key)).is_some();
    let mut shorts = if native { Vec::new() } else { object.split(|entry| !is_field(&entry.key)) }.into_iter();
    let Some(short) = shorts.next() else { return walk.fields(message, object) };
    for second in shorts {
        walk.exclusive(&second, &short.key, "each is an item of its own; start a new one with `- `");
    }
    let schema = walk.schema;
    let found = schema.extensions().find(category, &short.key);
    let found = found.and_then(|found| Some((found.name.as_str(), found.message.as_deref()?)));
    if found.is_none() {
        let message = format!("`{}` is not the short name of {category}", short.key);
        let help = match schema.extensions().did_you_mean(category, &short.key) {
            Some(name) => format!("did you mean `{name}`?"),
            None => "write Envoy's own form: `{name: …, typed_config: {\"@type\": …}}`".to_owned(),
        };
        walk.report("unknown-extension", short.key_span, message, &help);
    }
    if !object.has("name") {
        object.lead("name", Node::string(short.key_span, found.map_or(short.key.as_str(), |(name, _)| name)));
    }
    let span = short.key_span;
    if let Some(config) = found.and_then(|(_, message)| config(walk, short, message)) {
        object.set("typed_config", span, config);
    }
    walk.fields(message, object)
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
