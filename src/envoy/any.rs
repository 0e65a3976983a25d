//! `google.protobuf.Any`: a message that names its own type.

use prost_reflect::{DynamicMessage, MessageDescriptor, Value};

use super::Schema;

/// The full name of the message.
pub(super) const ANY: &str = "google.protobuf.Any";
/// Number of the field `type_url`.
const TYPE_URL: u32 = 1;
/// Number of the field `value`.
const VALUE: u32 = 2;

/// A string field of a message, by number; empty if there is none.
pub(super) fn text(message: &DynamicMessage, number: u32) -> String {
    let value = message.get_field_by_number(number);
    value.and_then(|value| value.as_str().map(str::to_owned)).unwrap_or_default()
}

/// The type URL of an `Any`.
pub(super) fn type_url(any: &DynamicMessage) -> String {
    text(any, TYPE_URL)
}

/// The encoded payload of an `Any`.
pub(super) fn payload(any: &DynamicMessage) -> bytes::Bytes {
    let value = any.get_field_by_number(VALUE);
    value.and_then(|value| value.as_bytes().cloned()).unwrap_or_default()
}

/// The full message name in a type URL.
pub(super) fn message_name(type_url: &str) -> Option<&str> {
    type_url.rsplit_once('/').map(|(_, name)| name).filter(|name| !name.is_empty())
}

/// The decoded payload; `None` if the type is unknown or the bytes are not of that type.
pub(super) fn unpack(schema: &Schema, any: &DynamicMessage) -> Option<DynamicMessage> {
    DynamicMessage::decode(packed(schema, any)?, payload(any)).ok()
}

/// The same, if there is more than one way to encode it.
pub(super) fn unpack_open(schema: &Schema, any: &DynamicMessage) -> Option<DynamicMessage> {
    let descriptor = packed(schema, any).filter(|descriptor| schema.catalog().is_order_open(descriptor))?;
    DynamicMessage::decode(descriptor, payload(any)).ok()
}

/// What is in an `Any`, by its own word.
fn packed(schema: &Schema, any: &DynamicMessage) -> Option<MessageDescriptor> {
    schema.message(message_name(&type_url(any))?)
}

/// Fills an `Any`.
pub(super) fn pack(any: &mut DynamicMessage, type_url: &str, payload: Vec<u8>) {
    any.set_field_by_number(TYPE_URL, Value::String(type_url.to_owned()));
    any.set_field_by_number(VALUE, Value::Bytes(payload.into()));
}

/// Whether this is one of the two messages that carry another message as a `Struct`, next to its type URL.
pub(super) fn is_typed_struct(name: &str) -> bool {
    matches!(name, "xds.type.v3.TypedStruct" | "udpa.type.v1.TypedStruct")
}

/// Whether the JSON form of a message is special, so that inside an `Any` it stands under the key `value`.
pub(super) fn has_special_json(name: &str) -> bool {
    name.strip_prefix("google.protobuf.").is_some_and(|name| {
        matches!(
            name,
            "Any"
                | "Duration"
                | "Timestamp"
                | "FieldMask"
                | "Struct"
                | "Value"
                | "ListValue"
                | "Empty"
                | "BoolValue"
                | "StringValue"
                | "BytesValue"
                | "Int32Value"
                | "Int64Value"
                | "UInt32Value"
                | "UInt64Value"
                | "FloatValue"
                | "DoubleValue"
        )
    })
}
