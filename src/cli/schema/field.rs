//! Values of fields: scalars, enums, and the well-known types that have a JSON form of their own.

use serde_json::{Value, json};

use crate::envoy::{EnumDescriptor, FieldKind};

/// A scalar; an explicit `null` is an absent one.
pub(super) fn scalar(kind: &FieldKind) -> Value {
    match kind {
        FieldKind::Bool => json!({"type": ["boolean", "null"]}),
        FieldKind::String | FieldKind::Bytes => json!({"type": ["string", "null"]}),
        FieldKind::Float | FieldKind::Double => json!({"type": ["number", "string", "null"]}),
        _ => json!({"type": ["integer", "string", "null"], "pattern": "^-?[0-9]"}),
    }
}

/// The names of an enum's values. They may be in any case; these two are offered.
pub(super) fn names(values: &EnumDescriptor) -> Value {
    let canonical: Vec<String> = values.values().map(|value| value.name().to_owned()).collect();
    let lower = canonical.iter().map(|name| name.to_ascii_lowercase());
    let lower: Vec<String> = lower.filter(|name| !canonical.contains(name)).collect();
    json!({"anyOf": [{"enum": canonical}, {"enum": lower}, {"type": ["integer", "null"]}]})
}

/// A message of `google.protobuf`, by its name there.
pub(super) fn well_known(name: &str) -> Value {
    match name {
        "Any" => json!({
            "type": ["object", "null"],
            "required": ["@type"],
            "properties": {"@type": {"type": "string"}},
        }),
        "Duration" => json!({
            "type": ["string", "null"],
            "pattern": "^-?[0-9]+(\\.[0-9]+)?(ms|us|ns|s|m|h)$",
        }),
        "BoolValue" => scalar(&FieldKind::Bool),
        "StringValue" | "BytesValue" | "Timestamp" | "FieldMask" => scalar(&FieldKind::String),
        "DoubleValue" | "FloatValue" => scalar(&FieldKind::Double),
        "Int32Value" | "UInt32Value" | "Int64Value" | "UInt64Value" => scalar(&FieldKind::Uint64),
        "Struct" | "Empty" => json!({"type": ["object", "null"]}),
        "ListValue" => json!({"type": ["array", "null"]}),
        // Any JSON, or a message of descriptors, which no resource has.
        _ => json!(true),
    }
}
