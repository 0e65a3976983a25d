//! The messages of `google.protobuf` whose JSON form is not a mapping of their fields.

use prost_reflect::{DynamicMessage, Kind, MapKey, ReflectMessage as _, Value as Proto};

use super::read::Reader;
use super::scalar::shown;
use super::time::{parse_duration, suggest_duration};
use crate::envoy::{Node, Value};

/// Integers beyond this are not exact as doubles.
const EXACT: f64 = 9_007_199_254_740_992.0;

impl Reader<'_> {
    /// Fills a message that has a JSON form of its own; false if it has none.
    pub(super) fn well_known(&mut self, message: &mut DynamicMessage, node: &Node) -> bool {
        let descriptor = message.descriptor();
        let Some(name) = descriptor.full_name().strip_prefix("google.protobuf.") else { return false };
        match name {
            "Any" => self.any(message, node),
            "Duration" => self.duration(message, node),
            "Timestamp" => self.timestamp(message, node),
            "FieldMask" => self.field_mask(message, node),
            "BoolValue" | "StringValue" | "BytesValue" | "Int32Value" | "Int64Value" | "UInt32Value"
            | "UInt64Value" | "FloatValue" | "DoubleValue" => {
                if let Some(field) = descriptor.get_field(1)
                    && let Some(value) = self.single(&field.kind(), node)
                {
                    message.set_field(&field, value);
                }
            }
            "Struct" => self.structure(message, node),
            "ListValue" => self.list_value(message, node),
            "Value" => self.value(message, node),
            _ => return false,
        }
        true
    }

    fn duration(&mut self, message: &mut DynamicMessage, node: &Node) {
        const FORM: &str = "a duration is decimal seconds with the suffix `s`, such as 0.25s";
        let (Value::String(text) | Value::Number(text)) = &node.value else {
            let message = format!("expected a duration, got {}", node.describe());
            return self.error_help("duration", node.span, message, FORM);
        };
        let wrong = match &node.value {
            Value::String(text) => match parse_duration(text) {
                Ok((seconds, nanos)) => {
                    message.set_field_by_number(1, Proto::I64(seconds));
                    message.set_field_by_number(2, Proto::I32(nanos));
                    return;
                }
                Err(wrong) => wrong.message(),
            },
            _ => "not a duration",
        };
        let help =
            suggest_duration(text).map_or_else(|| FORM.to_owned(), |meant| format!("{FORM}; did you mean {meant}?"));
        self.error_help("duration", node.span, format!("`{text}`: {wrong}"), help);
    }

    fn timestamp(&mut self, message: &mut DynamicMessage, node: &Node) {
        let Some(text) = self.string(node) else { return };
        match text.parse::<prost_types::Timestamp>() {
            Ok(time) => {
                message.set_field_by_number(1, Proto::I64(time.seconds));
                message.set_field_by_number(2, Proto::I32(time.nanos));
            }
            Err(_) => self.error_help(
                "timestamp",
                node.span,
                format!("`{text}`: not a timestamp"),
                "a timestamp is written as in RFC 3339, such as 2026-01-31T12:00:00Z",
            ),
        }
    }

    fn field_mask(&mut self, message: &mut DynamicMessage, node: &Node) {
        let Some(text) = self.string(node) else { return };
        let snake = |path: &str| {
            path.chars().fold(String::new(), |mut out, c| {
                if c.is_ascii_uppercase() {
                    out.push('_');
                }
                out.push(c.to_ascii_lowercase());
                out
            })
        };
        let paths = text.split(',').filter(|path| !path.is_empty()).map(|path| Proto::String(snake(path)));
        message.set_field_by_number(1, Proto::List(paths.collect()));
    }

    fn structure(&mut self, message: &mut DynamicMessage, node: &Node) {
        let Some(entries) = node.entries() else {
            return self.error("type", node.span, format!("expected a mapping, got {}", node.describe()));
        };
        let Some(Kind::Message(entry_type)) = message.descriptor().get_field(1).map(|field| field.kind()) else {
            return;
        };
        let kind = entry_type.map_entry_value_field().kind();
        let read = |reader: &mut Self, entry: &crate::envoy::Entry| {
            reader.path.key(entry.key.as_str());
            let value = reader.nested(entry.value.span, |reader| reader.single(&kind, &entry.value)).flatten();
            reader.path.pop();
            Some((MapKey::String(entry.key.clone()), value?))
        };
        let fields = entries.iter().filter_map(|entry| read(self, entry)).collect();
        message.set_field_by_number(1, Proto::Map(fields));
    }

    fn list_value(&mut self, message: &mut DynamicMessage, node: &Node) {
        let Some(items) = node.items() else {
            return self.error("type", node.span, format!("expected a list, got {}", node.describe()));
        };
        let Some(kind) = message.descriptor().get_field(1).map(|field| field.kind()) else { return };
        let mut values = Vec::with_capacity(items.len());
        for (index, item) in items.iter().enumerate() {
            self.path.index(index);
            values.extend(self.single(&kind, item));
            self.path.pop();
        }
        message.set_field_by_number(1, Proto::List(values));
    }

    fn value(&mut self, message: &mut DynamicMessage, node: &Node) {
        let (number, value) = match &node.value {
            Value::Null => (1, Some(Proto::EnumNumber(0))),
            Value::Number(text) => (2, self.plain_number(text, node).map(Proto::F64)),
            Value::String(text) => (3, Some(Proto::String(text.clone()))),
            Value::Bool(value) => (4, Some(Proto::Bool(*value))),
            Value::Map(_) => (5, self.inner(message, 5, node)),
            Value::List(_) => (6, self.inner(message, 6, node)),
        };
        if let Some(value) = value {
            message.set_field_by_number(number, value);
        }
    }

    fn inner(&mut self, message: &DynamicMessage, number: u32, node: &Node) -> Option<Proto> {
        self.single(&message.descriptor().get_field(number)?.kind(), node)
    }

    /// A number in a `Struct`: always a double, and JSON has no word for infinity there.
    fn plain_number(&mut self, text: &str, node: &Node) -> Option<f64> {
        let number = self.double(node)?;
        if !number.is_finite() {
            self.error("number", node.span, format!("{} cannot stand in a google.protobuf.Struct", shown(node)));
            return None;
        }
        let is_integer = text.bytes().all(|byte| byte.is_ascii_digit() || byte == b'-');
        if is_integer && number.abs() > EXACT {
            let message =
                format!("{text} is kept as a double here, which makes it {number}; quote it to keep its digits");
            self.warning("precision", node.span, message);
        }
        Some(number)
    }
}
