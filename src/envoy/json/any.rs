//! `google.protobuf.Any`: a mapping that names its message under `@type`.

use prost_reflect::{DynamicMessage, MessageDescriptor, ReflectMessage as _};

use super::read::Reader;
use crate::diagnostic::{Findings, did_you_mean};
use crate::envoy::{Node, Schema, any, canonical};

impl Reader<'_> {
    pub(super) fn any(&mut self, message: &mut DynamicMessage, node: &Node) {
        let Some(entries) = node.entries() else {
            let message = format!("expected a mapping with \"@type\", got {}", node.describe());
            return self.error("any-type", node.span, message);
        };
        if entries.is_empty() {
            return;
        }
        let Some(entry) = node.entry("@type") else {
            let help = "add the message's name: \"@type\": type.googleapis.com/…";
            return self.error_help("any-type", node.span, "\"@type\" is missing", help);
        };
        let Some(url) = self.in_field("@type", |reader| reader.string(&entry.value)) else { return };
        let descriptor = any::message_name(&url).and_then(|name| self.schema.message(name));
        let Some(descriptor) = descriptor else {
            return self.in_field("@type", |reader| reader.unknown_type(&url, &entry.value));
        };
        let mut payload = DynamicMessage::new(descriptor);
        self.nested(node.span, |reader| reader.payload(&mut payload, node));
        any::pack(message, &url, canonical::encode(self.schema, &payload));
    }

    fn unknown_type(&mut self, url: &str, node: &Node) {
        let Some(name) = any::message_name(url) else {
            let message = format!("`{url}` is not a type URL");
            let known = self.schema.message(url).is_some();
            let help = if known {
                format!("write type.googleapis.com/{url}")
            } else {
                "it looks like type.googleapis.com/NAME".into()
            };
            return self.error_help("any-type", node.span, message, help);
        };
        let message = format!("unknown message type `{name}`");
        match similar_type(self.schema, name) {
            Some(meant) => self.error_help("any-type", node.span, message, format!("did you mean {meant}?")),
            None => self.error_help(
                "any-type",
                node.span,
                message,
                "types that are not part of Envoy's core come with --descriptor-set FILE",
            ),
        }
    }

    fn payload(&mut self, payload: &mut DynamicMessage, node: &Node) {
        let descriptor = payload.descriptor();
        let name = descriptor.full_name();
        if !any::has_special_json(name) {
            self.plain_message(payload, node, true);
            if any::is_typed_struct(name) {
                self.typed_struct(node);
            }
            return;
        }
        for entry in node.entries().unwrap_or_default() {
            if entry.key != "@type" && entry.key != "value" {
                self.in_field(&entry.key, |reader| {
                    let message = format!("unknown field `{}`: {name} stands whole under `value`", entry.key);
                    reader.error("unknown-field", entry.key_span, message);
                });
            }
        }
        match node.get("value") {
            Some(value) => self.in_field("value", |reader| reader.message(payload, value)),
            None if name == "google.protobuf.Empty" => {}
            None => {
                let help = format!("a {name} inside an Any stands under the key `value`");
                self.error_help("any-type", node.span, "`value` is missing", help);
            }
        }
    }

    /// A `TypedStruct` is turned into its `type_url` by Envoy, so its value has to be JSON of that message.
    fn typed_struct(&mut self, node: &Node) {
        let url = node.get("type_url").or_else(|| node.get("typeUrl"));
        let (Some(url), Some(value)) = (url, node.get("value")) else { return };
        let Some(name) = url.as_str().map(|text| any::message_name(text).unwrap_or(text)) else { return };
        let Some(descriptor) = self.schema.message(name) else {
            return self.in_field("type_url", |reader| {
                let message = format!("unknown message type `{name}`: its value cannot be checked");
                reader.warning("any-type", url.span, message);
            });
        };
        let mut typed = DynamicMessage::new(descriptor);
        self.in_field("value", |reader| reader.message(&mut typed, value));
    }
}

/// The message of a `TypedStruct` at a node, as far as it can be read.
pub(in crate::envoy) fn read_typed_struct(schema: &Schema, node: &Node, depth: usize) -> Option<DynamicMessage> {
    let url = node.get("type_url").or_else(|| node.get("typeUrl"))?.as_str()?;
    let descriptor = schema.message(any::message_name(url).unwrap_or(url))?;
    let mut findings = Findings::new();
    let mut path = crate::envoy::Path::new();
    Some(super::read_noting(schema, &descriptor, node.get("value")?, &mut path, &mut findings, depth).0)
}

/// Messages that the author of an unknown type name may have meant.
fn similar_type(schema: &Schema, name: &str) -> Option<String> {
    let messages: Vec<_> = schema.pool().all_messages().filter(|message| !message.is_map_entry()).collect();
    let short = name.rsplit('.').next().unwrap_or(name);
    let namesakes: Vec<&str> =
        messages.iter().filter(|message| message.name() == short).map(MessageDescriptor::full_name).collect();
    if !namesakes.is_empty() {
        let closest = did_you_mean(name, namesakes.iter().copied());
        return Some(closest.map_or_else(|| namesakes[..namesakes.len().min(3)].join(" or "), str::to_owned));
    }
    let is_alike = |message: &&MessageDescriptor| did_you_mean(short, [message.name()]).is_some();
    let alike = messages.iter().filter(is_alike);
    did_you_mean(name, alike.map(MessageDescriptor::full_name)).map(str::to_owned)
}
