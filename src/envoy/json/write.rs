//! Message → JSON, as Envoy's `/config_dump` prints it.

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use prost_reflect::{DynamicMessage, FieldDescriptor, Kind, MapKey, ReflectMessage as _, Value as Proto};
use serde_json::{Map, Value as Json};

use super::time::format_duration;
use crate::diagnostic::Span;
use crate::envoy::visit::map_key_text;
use crate::envoy::{Entry, MAX_DEPTH, Node, Path, Schema, Value, any};

/// What a secret is replaced with.
const REDACTED: &str = "[redacted]";

/// Whether secrets are shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Redact {
    /// Fields that Envoy marks as sensitive, and everything below them, are replaced with `[redacted]`.
    Yes,
    /// Everything is shown.
    No,
}

/// Writes a message as JSON.
///
/// Fields have their proto names and stand in the order of their numbers, map entries in the order of their keys. An `Any`
/// is written with `@type` first; one that cannot be decoded becomes `{"@type", "#undecodable"}`, the latter in base64.
/// Field numbers that the schema does not know are listed under `#unknown`.
pub fn write(schema: &Schema, message: &DynamicMessage, redact: Redact) -> Json {
    Writer { schema, redact }.message(message, false, 0)
}

struct Writer<'a> {
    schema: &'a Schema,
    redact: Redact,
}

impl Writer<'_> {
    /// `secret`: everything in here is sensitive.
    fn message(&self, message: &DynamicMessage, secret: bool, depth: usize) -> Json {
        if depth >= MAX_DEPTH {
            return Json::String("#too-deep".to_owned());
        }
        let descriptor = message.descriptor();
        match descriptor.full_name().strip_prefix("google.protobuf.") {
            Some("Any") => self.any(message, secret, depth),
            Some(name) => match self.well_known(name, message, secret, depth) {
                Some(json) => json,
                None => Json::Object(self.fields(message, secret, depth)),
            },
            None => Json::Object(self.fields(message, secret, depth)),
        }
    }

    fn fields(&self, message: &DynamicMessage, secret: bool, depth: usize) -> Map<String, Json> {
        let descriptor = message.descriptor();
        let sensitive = (self.redact == Redact::Yes).then(|| {
            let catalog = self.schema.catalog();
            catalog.number(&descriptor).map(|number| catalog.rules(number, &descriptor).sensitive_fields())
        });
        let sensitive = sensitive.flatten().unwrap_or_default();
        let mut out = Map::new();
        for (field, value) in message.fields() {
            let secret = secret || sensitive.contains(&field.number());
            let json = self.field(&field, value, secret, depth);
            out.insert(field.name().to_owned(), json);
        }
        let unknown: Vec<Json> = message.unknown_fields().map(|field| field.number().into()).collect();
        if !unknown.is_empty() {
            out.insert("#unknown".to_owned(), Json::Array(unknown));
        }
        out
    }

    fn field(&self, field: &FieldDescriptor, value: &Proto, secret: bool, depth: usize) -> Json {
        let kind = field.kind();
        match value {
            Proto::List(items) => items.iter().map(|item| self.single(&kind, item, secret, depth)).collect(),
            Proto::Map(entries) => {
                let value_kind = match &kind {
                    Kind::Message(entry) => entry.map_entry_value_field().kind(),
                    _ => kind,
                };
                let mut entries: Vec<(&MapKey, &Proto)> = entries.iter().collect();
                entries.sort_by(|a, b| a.0.cmp(b.0));
                let json = |(key, value)| (map_key_text(key), self.single(&value_kind, value, secret, depth + 1));
                Json::Object(entries.into_iter().map(json).collect())
            }
            single => self.single(&kind, single, secret, depth),
        }
    }

    fn single(&self, kind: &Kind, value: &Proto, secret: bool, depth: usize) -> Json {
        match value {
            Proto::Message(message) => self.message(message, secret, depth + 1),
            Proto::Bytes(_) if secret => Json::String(BASE64_STANDARD.encode(REDACTED)),
            _ if secret => Json::String(REDACTED.to_owned()),
            Proto::Bool(value) => Json::Bool(*value),
            Proto::I32(value) => (*value).into(),
            Proto::U32(value) => (*value).into(),
            Proto::I64(value) => value.to_string().into(),
            Proto::U64(value) => value.to_string().into(),
            // The shortest text of a float, not the many digits of the double nearest to it.
            Proto::F32(value) => number(value.to_string().parse().unwrap_or_else(|_| f64::from(*value))),
            Proto::F64(value) => number(*value),
            Proto::String(value) => Json::String(value.clone()),
            Proto::Bytes(value) => Json::String(BASE64_STANDARD.encode(value)),
            Proto::EnumNumber(number) => enum_name(kind, *number),
            Proto::List(_) | Proto::Map(_) => Json::Null,
        }
    }

    fn any(&self, message: &DynamicMessage, secret: bool, depth: usize) -> Json {
        let url = any::type_url(message);
        let payload = any::payload(message);
        let mut out = Map::new();
        if url.is_empty() && payload.is_empty() {
            return Json::Object(out);
        }
        out.insert("@type".to_owned(), Json::String(url));
        let Some(inner) = any::unpack(self.schema, message) else {
            // What cannot be decoded may hold anything.
            let hidden = self.redact == Redact::Yes;
            let text = if hidden { REDACTED.to_owned() } else { BASE64_STANDARD.encode(payload) };
            out.insert("#undecodable".to_owned(), Json::String(text));
            return Json::Object(out);
        };
        let descriptor = inner.descriptor();
        let name = descriptor.full_name();
        if name == "google.protobuf.Empty" {
            return Json::Object(out);
        }
        if any::has_special_json(name) {
            out.insert("value".to_owned(), self.message(&inner, secret, depth + 1));
        } else if depth + 1 >= MAX_DEPTH {
            out.insert("#too-deep".to_owned(), Json::Bool(true));
        } else {
            out.extend(self.fields(&inner, secret, depth + 1));
            if self.redact == Redact::Yes && any::is_typed_struct(name) {
                self.redact_typed_struct(&inner, &mut out, depth + 1);
            }
        }
        Json::Object(out)
    }

    /// The value of a `TypedStruct` is untyped, yet it may be the JSON of a message with secrets in it.
    fn redact_typed_struct(&self, message: &DynamicMessage, out: &mut Map<String, Json>, depth: usize) {
        let url = out.get("type_url").and_then(Json::as_str).unwrap_or_default().to_owned();
        let Some(descriptor) = self.schema.message(any::message_name(&url).unwrap_or(&url)) else { return };
        let Some(value) = out.get("value") else { return };
        let mut findings = crate::diagnostic::Findings::new();
        let node = tree(value);
        let (typed, _) = super::read_noting(self.schema, &descriptor, &node, &mut Path::new(), &mut findings, depth);
        let value = if findings.has_errors() {
            message.get_field_by_name("value").map(|value| self.single(&Kind::Bool, &value, true, depth))
        } else {
            Some(self.message(&typed, false, depth))
        };
        out.insert("value".to_owned(), value.unwrap_or_default());
    }

    fn well_known(&self, name: &str, message: &DynamicMessage, secret: bool, depth: usize) -> Option<Json> {
        let value = |number| message.get_field_by_number(number);
        Some(match name {
            "Duration" | "Timestamp" if secret => Json::String(REDACTED.to_owned()),
            "Duration" => Json::String(format_duration(value(1)?.as_i64()?, value(2)?.as_i32()?)),
            "Timestamp" => {
                let time = prost_types::Timestamp { seconds: value(1)?.as_i64()?, nanos: value(2)?.as_i32()? };
                Json::String(time.to_string())
            }
            "FieldMask" => {
                let paths = value(1)?;
                let paths = paths.as_list()?.iter().filter_map(Proto::as_str).map(camel);
                Json::String(paths.collect::<Vec<_>>().join(","))
            }
            "BoolValue" | "StringValue" | "BytesValue" | "Int32Value" | "Int64Value" | "UInt32Value"
            | "UInt64Value" | "FloatValue" | "DoubleValue" => {
                let field = message.descriptor().get_field(1)?;
                self.single(&field.kind(), &message.get_field(&field), secret, depth)
            }
            "Struct" | "ListValue" => {
                let field = message.descriptor().get_field(1)?;
                self.field(&field, &message.get_field(&field), secret, depth)
            }
            "Value" => match message.fields().next() {
                Some((field, value)) if field.number() != 1 => self.single(&field.kind(), value, secret, depth),
                _ => Json::Null,
            },
            _ => return None,
        })
    }
}

fn enum_name(kind: &Kind, number: i32) -> Json {
    let value = kind.as_enum().and_then(|descriptor| descriptor.get_value(number));
    match (kind.as_enum().map(prost_reflect::EnumDescriptor::full_name), value) {
        (Some("google.protobuf.NullValue"), _) => Json::Null,
        (_, Some(value)) => Json::String(value.name().to_owned()),
        (_, None) => number.into(),
    }
}

/// A double as Envoy writes it: `1`, not `1.0`, and words for what JSON has no numbers for.
fn number(value: f64) -> Json {
    if value.fract() == 0.0 && value.abs() < 1e15 {
        #[expect(clippy::cast_possible_truncation, reason = "an integer below 10^15")]
        return (value as i64).into();
    }
    let word = || {
        Json::from(if value.is_nan() {
            "NaN"
        } else if value > 0.0 {
            "Infinity"
        } else {
            "-Infinity"
        })
    };
    serde_json::Number::from_f64(value).map_or_else(word, Json::Number)
}

fn camel(path: &str) -> String {
    let mut upper = false;
    let mut out = String::with_capacity(path.len());
    for c in path.chars() {
        if c == '_' {
            upper = true;
        } else {
            out.push(if std::mem::take(&mut upper) { c.to_ascii_uppercase() } else { c });
        }
    }
    out
}

/// JSON as a tree without a place in any file.
pub fn tree(json: &Json) -> Node {
    let span = Span::default();
    let value = match json {
        Json::Null => Value::Null,
        Json::Bool(value) => Value::Bool(*value),
        Json::Number(number) => Value::Number(number.to_string()),
        Json::String(text) => Value::String(text.clone()),
        Json::Array(items) => Value::List(items.iter().map(tree).collect()),
        Json::Object(entries) => {
            Value::Map(entries.iter().map(|(key, value)| Entry::new(key.as_str(), span, tree(value))).collect())
        }
    };
    Node { span, value }
}
