//! Walking every message inside a message.

use prost_reflect::{DynamicMessage, MapKey, ReflectMessage as _, Value};

use super::{MAX_DEPTH, Path, Schema, any};

/// Calls `visit` with the message and every message inside it, outermost first, fields in the order of their numbers and
/// map entries in the order of their keys.
///
/// A decodable `Any` is visited as its payload, at the path of the `Any`; another one as itself. The insides of
/// `google.protobuf.Struct` are no messages in this sense. What nests deeper than [`MAX_DEPTH`] is left out.
pub fn visit(schema: &Schema, message: &DynamicMessage, visit: &mut dyn FnMut(&Path, &DynamicMessage)) {
    Visitor { schema, path: Path::new(), visit }.message(message, 0);
}

struct Visitor<'a> {
    schema: &'a Schema,
    path: Path,
    visit: &'a mut dyn FnMut(&Path, &DynamicMessage),
}

impl Visitor<'_> {
    fn message(&mut self, message: &DynamicMessage, depth: usize) {
        if depth >= MAX_DEPTH {
            return;
        }
        let descriptor = message.descriptor();
        if descriptor.full_name() == any::ANY
            && let Some(payload) = any::unpack(self.schema, message)
        {
            return self.message(&payload, depth + 1);
        }
        (self.visit)(&self.path, message);
        if any::has_special_json(descriptor.full_name()) {
            return;
        }
        for (field, value) in message.fields() {
            match value {
                Value::Message(inner) => {
                    self.path.field(&field);
                    self.message(inner, depth + 1);
                    self.path.pop();
                }
                Value::List(items) if matches!(items.first(), Some(Value::Message(_))) => {
                    self.path.field(&field);
                    for (index, inner) in items.iter().enumerate() {
                        if let Value::Message(inner) = inner {
                            self.path.index(index);
                            self.message(inner, depth + 1);
                            self.path.pop();
                        }
                    }
                    self.path.pop();
                }
                Value::Map(entries) => {
                    self.path.field(&field);
                    let mut entries: Vec<(&MapKey, &Value)> = entries.iter().collect();
                    entries.sort_by(|a, b| a.0.cmp(b.0));
                    for (key, inner) in entries {
                        if let Value::Message(inner) = inner {
                            self.path.key(map_key_text(key));
                            self.message(inner, depth + 2);
                            self.path.pop();
                        }
                    }
                    self.path.pop();
                }
                _ => {}
            }
        }
    }
}

/// A map key as JSON writes it.
pub(super) fn map_key_text(key: &MapKey) -> String {
    match key {
        MapKey::Bool(key) => key.to_string(),
        MapKey::I32(key) => key.to_string(),
        MapKey::I64(key) => key.to_string(),
        MapKey::U32(key) => key.to_string(),
        MapKey::U64(key) => key.to_string(),
        MapKey::String(key) => key.clone(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::envoy::testing::compiled;

    #[test]
    fn every_message_is_visited_with_its_path() {
        let text = r#"{name: h, default_filter_chain: {filters: [{name: f, typed_config: {
            "@type": type.googleapis.com/envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy, stat_prefix: s, cluster: c
        }}, {name: g, typed_config: {}}]}, metadata: {filter_metadata: {b: {x: {}}, a: {}}}}"#;
        let (message, told) = compiled("envoy.config.listener.v3.Listener", text);
        assert_eq!(told, Vec::<String>::new());
        let mut seen = Vec::new();
        visit(&Schema::embedded(), &message, &mut |path, message| {
            seen.push(format!("{path}: {}", message.descriptor().name()));
        });
        assert_eq!(
            seen,
            [
                ": Listener",
                "metadata: Metadata",
                "metadata.filter_metadata[\"a\"]: Struct",
                "metadata.filter_metadata[\"b\"]: Struct",
                "default_filter_chain: FilterChain",
                "default_filter_chain.filters[0]: Filter",
                "default_filter_chain.filters[0].typed_config: TcpProxy",
                "default_filter_chain.filters[1]: Filter",
                "default_filter_chain.filters[1].typed_config: Any",
            ]
        );
    }
}
