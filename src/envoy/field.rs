//! Reading single fields of dynamic messages by name.
//!
//! An unset field, and a name that the message does not have, both read as absent: newer and older descriptor sets differ.

use std::borrow::Cow;
use std::collections::BTreeMap;

use prost_reflect::{DynamicMessage, Kind, ReflectMessage as _, Value};

use super::{Schema, any};

/// A set field.
fn value<'a>(message: &'a DynamicMessage, name: &str) -> Option<&'a Value> {
    match message.get_field_by_name(name)? {
        Cow::Borrowed(value) => Some(value),
        // A default that was made for the occasion: the field is unset.
        Cow::Owned(_) => None,
    }
}

/// A set message field.
pub fn message<'a>(message: &'a DynamicMessage, name: &str) -> Option<&'a DynamicMessage> {
    value(message, name)?.as_message()
}

/// The messages of a list field.
pub fn messages<'a>(message: &'a DynamicMessage, name: &str) -> impl Iterator<Item = &'a DynamicMessage> {
    value(message, name).and_then(Value::as_list).into_iter().flatten().filter_map(Value::as_message)
}

/// A set string field.
pub fn string<'a>(message: &'a DynamicMessage, name: &str) -> Option<&'a str> {
    value(message, name)?.as_str()
}

/// A set bytes field.
pub fn bytes<'a>(message: &'a DynamicMessage, name: &str) -> Option<&'a [u8]> {
    value(message, name)?.as_bytes().map(AsRef::as_ref)
}

/// A set unsigned integer field.
pub fn unsigned(message: &DynamicMessage, name: &str) -> Option<u64> {
    let value = value(message, name)?;
    value.as_u64().or_else(|| value.as_u32().map(u64::from))
}

/// A set signed integer field.
pub fn signed(message: &DynamicMessage, name: &str) -> Option<i64> {
    let value = value(message, name)?;
    value.as_i64().or_else(|| value.as_i32().map(i64::from))
}

/// Whether a field says anything: it is there and not empty, and a `BoolValue` is true.
pub fn is_set(holder: &DynamicMessage, name: &str) -> bool {
    let is_false = |value: &DynamicMessage| value.descriptor().full_name() == "google.protobuf.BoolValue";
    holder.has_field_by_name(name) && (!message(holder, name).is_some_and(is_false) || boolean(holder, name))
}

/// The value of a set string field, or the values of a list of strings.
pub fn strings<'a>(message: &'a DynamicMessage, name: &str) -> Vec<&'a str> {
    match value(message, name) {
        Some(Value::String(text)) => vec![text],
        Some(Value::List(items)) => items.iter().filter_map(Value::as_str).collect(),
        _ => Vec::new(),
    }
}

/// Whether the message has a list field of that name.
pub fn is_list(message: &DynamicMessage, name: &str) -> bool {
    message.descriptor().get_field_by_name(name).is_some_and(|field| field.is_list())
}

/// The name of an enum field's value; that of its default if it is unset outside a oneof.
pub fn enum_name(message: &DynamicMessage, name: &str) -> Option<String> {
    let field = message.descriptor().get_field_by_name(name)?;
    if field.containing_oneof().is_some() && !message.has_field(&field) {
        return None;
    }
    let Kind::Enum(descriptor) = field.kind() else { return None };
    let number = message.get_field(&field).as_enum_number()?;
    Some(descriptor.get_value(number)?.name().to_owned())
}

/// Whether a boolean field, or a `BoolValue`, is set to true.
pub fn boolean(holder: &DynamicMessage, name: &str) -> bool {
    match value(holder, name) {
        Some(Value::Bool(yes)) => *yes,
        Some(Value::Message(wrapper)) => value(wrapper, "value").and_then(Value::as_bool).unwrap_or_default(),
        _ => false,
    }
}

/// The number in a `UInt32Value` or a `UInt64Value`.
pub fn wrapped(holder: &DynamicMessage, name: &str) -> Option<u64> {
    message(holder, name).map(|wrapper| unsigned(wrapper, "value").unwrap_or_default())
}

/// The entries of a map from strings to messages, by key.
pub fn map<'a>(message: &'a DynamicMessage, name: &str) -> BTreeMap<String, &'a DynamicMessage> {
    let entries = value(message, name).and_then(Value::as_map).into_iter().flatten();
    entries.filter_map(|(key, value)| Some((key.as_str()?.to_owned(), value.as_message()?))).collect()
}

/// The full name of the message in an `Any`.
pub fn type_name(any: &DynamicMessage) -> Option<String> {
    any::message_name(&any::type_url(any)).map(str::to_owned)
}

/// The decoded message in an `Any`, if its type is known.
pub fn payload(schema: &Schema, any: &DynamicMessage) -> Option<DynamicMessage> {
    any::unpack(schema, any)
}

/// The values of a list of unsigned integers.
pub fn numbers(message: &DynamicMessage, name: &str) -> Vec<u64> {
    let items = value(message, name).and_then(Value::as_list).into_iter().flatten();
    items.filter_map(|item| item.as_u64().or_else(|| item.as_u32().map(u64::from))).collect()
}
