//! The one encoding of a message.
//!
//! Protobuf leaves the order of map entries open, and the maps in memory are hash maps. Here entries are sorted by their
//! bytes, and the payloads of `Any`s are brought into the same form. Unknown fields are kept.
//!
//! Each message is written once, and its length is put before it: asking for lengths in advance would look at everything
//! again at every level.

use prost::DecodeError;
use prost::Message as _;
use prost::encoding::{WireType, encode_key, encode_varint};
use prost_reflect::{
    DynamicMessage, ExtensionDescriptor, FieldDescriptor, Kind as FieldKind, MapKey, ReflectMessage as _, Value,
};

use super::{Kind, MAX_DEPTH, Schema, any};

/// Encodes a message so that equal messages give equal bytes.
///
/// What nests deeper than [`MAX_DEPTH`] is copied as it is; [`json::read`](super::json::read) does not let such messages in.
pub fn encode(schema: &Schema, message: &DynamicMessage) -> Vec<u8> {
    let mut out = Vec::new();
    write_message(schema, message, 0, &mut out);
    out
}

/// Decodes the message of a kind.
///
/// # Errors
/// If the bytes are not an encoding of that message.
pub fn decode(schema: &Schema, kind: Kind, bytes: &[u8]) -> Result<DynamicMessage, DecodeError> {
    let descriptor = schema.message(kind.message()).expect("a test checks that the embedded set has every kind");
    DynamicMessage::decode(descriptor, bytes)
}

/// Appends the fields of a message in the order of their numbers.
fn write_message(schema: &Schema, message: &DynamicMessage, depth: usize, out: &mut Vec<u8>) {
    if depth >= MAX_DEPTH {
        return message.encode(out).expect("a vector grows");
    }
    if message.descriptor().full_name() == any::ANY
        && let Some(payload) = any::unpack_open(schema, message)
    {
        let mut packed = message.clone();
        let mut bytes = Vec::new();
        write_message(schema, &payload, depth + 1, &mut bytes);
        any::pack(&mut packed, &any::type_url(message), bytes);
        return packed.encode(out).expect("a vector grows");
    }
    let mut unknown = message.unknown_fields().peekable();
    let mut write = |field: &Field, value: &Value| {
        while let Some(unknown) = unknown.next_if(|unknown| unknown.number() < field.number) {
            unknown.encode(out);
        }
        write_field(schema, field, value, depth, out);
    };
    let mut extensions = message.extensions().map(|(field, value)| (Field::of_extension(&field), value)).peekable();
    for (field, value) in message.fields() {
        let field = Field::of(&field);
        while let Some((extension, value)) = extensions.next_if(|(extension, _)| extension.number < field.number) {
            write(&extension, value);
        }
        write(&field, value);
    }
    extensions.for_each(|(extension, value)| write(&extension, value));
    unknown.for_each(|unknown| unknown.encode(out));
}

/// How a field is written.
struct Field {
    number: u32,
    kind: FieldKind,
    is_packed: bool,
    is_group: bool,
}

impl Field {
    fn of(field: &FieldDescriptor) -> Self {
        let (is_packed, is_group) = (field.is_packed(), field.is_group());
        Self { number: field.number(), kind: field.kind(), is_packed, is_group }
    }

    fn of_extension(field: &ExtensionDescriptor) -> Self {
        let (is_packed, is_group) = (field.is_packed(), field.is_group());
        Self { number: field.number(), kind: field.kind(), is_packed, is_group }
    }
}

fn write_field(schema: &Schema, field: &Field, value: &Value, depth: usize, out: &mut Vec<u8>) {
    let Field { number, kind, is_packed, is_group } = field;
    match value {
        Value::Message(inner) if *is_group => prost::encoding::group::encode(*number, inner, out),
        Value::Message(inner) => write_delimited(*number, out, |out| write_message(schema, inner, depth + 1, out)),
        Value::List(items) if *is_packed => {
            write_delimited(*number, out, |out| items.iter().for_each(|item| write_packed(kind, item, out)));
        }
        Value::List(items) => items.iter().for_each(|item| write_field(schema, field, item, depth, out)),
        Value::Map(entries) => {
            let FieldKind::Message(shape) = kind else { return };
            let (key_kind, value_kind) = (shape.map_entry_key_field().kind(), shape.map_entry_value_field().kind());
            let entry = |(key, value): (&MapKey, &Value)| {
                let mut bytes = Vec::new();
                let key = Value::from(key.clone());
                if !key.is_default(&key_kind) {
                    write_scalar(1, &key_kind, &key, &mut bytes);
                }
                match value {
                    Value::Message(inner) => {
                        write_delimited(2, &mut bytes, |out| write_message(schema, inner, depth + 2, out));
                    }
                    scalar if scalar.is_default(&value_kind) => {}
                    scalar => write_scalar(2, &value_kind, scalar, &mut bytes),
                }
                bytes
            };
            let mut encoded: Vec<Vec<u8>> = entries.iter().map(entry).collect();
            encoded.sort();
            for entry in encoded {
                write_delimited(*number, out, |out| out.extend_from_slice(&entry));
            }
        }
        scalar => write_scalar(*number, kind, scalar, out),
    }
}

/// Appends what `write` appends, with its field number and length before it.
fn write_delimited(number: u32, out: &mut Vec<u8>, write: impl FnOnce(&mut Vec<u8>)) {
    encode_key(number, WireType::LengthDelimited, out);
    let start = out.len();
    out.push(0);
    write(out);
    let length = out.len() - start - 1;
    if let Ok(short @ ..0x80) = u8::try_from(length) {
        out[start] = short;
    } else {
        let mut longer = Vec::with_capacity(10);
        encode_varint(length as u64, &mut longer);
        out.splice(start..=start, longer);
    }
}

/// How numbers of each kind are written, alone and in packed lists.
macro_rules! numbers {
    ($($kind:pat, $value:ident, $codec:ident;)*) => {
        fn write_scalar(number: u32, kind: &FieldKind, value: &Value, out: &mut Vec<u8>) {
            match (kind, value) {
                $(($kind, Value::$value(value)) => prost::encoding::$codec::encode(number, value, out),)*
                (FieldKind::String, Value::String(text)) => prost::encoding::string::encode(number, text, out),
                (FieldKind::Bytes, Value::Bytes(bytes)) => prost::encoding::bytes::encode(number, bytes, out),
                (kind, value) => unreachable!("a dynamic message does not take {value:?} for {kind:?}"),
            }
        }

        /// The value without its field number.
        fn write_packed(kind: &FieldKind, value: &Value, out: &mut Vec<u8>) {
            let mut encoded = Vec::with_capacity(12);
            write_scalar(1, kind, value, &mut encoded);
            // The key of field 1 is one byte.
            out.extend_from_slice(&encoded[1..]);
        }
    };
}

numbers! {
    FieldKind::Bool, Bool, bool;
    FieldKind::Int32, I32, int32;
    FieldKind::Sint32, I32, sint32;
    FieldKind::Sfixed32, I32, sfixed32;
    FieldKind::Int64, I64, int64;
    FieldKind::Sint64, I64, sint64;
    FieldKind::Sfixed64, I64, sfixed64;
    FieldKind::Uint32, U32, uint32;
    FieldKind::Fixed32, U32, fixed32;
    FieldKind::Uint64, U64, uint64;
    FieldKind::Fixed64, U64, fixed64;
    FieldKind::Float, F32, float;
    FieldKind::Double, F64, double;
    FieldKind::Enum(_), EnumNumber, int32;
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;
    use crate::diagnostic::Findings;
    use crate::envoy::testing::tree;
    use crate::envoy::{Node, Path, Value, json};

    const CLUSTER: &str = r#"{name: c,
        metadata: {filter_metadata: {z: {b: 1, a: 2, c: {y: 1, x: 2}}, m: {}, a: {}}, typed_filter_metadata: {
            k2: {"@type": type.googleapis.com/google.protobuf.Struct, value: {p: 1, o: 2, n: {}}},
            k1: {"@type": type.googleapis.com/envoy.config.core.v3.Metadata, filter_metadata: {two: {t: 1, u: 2}, one: {}, three: {}}}
        }},
        typed_extension_protocol_options: {
            e: {"@type": type.googleapis.com/google.protobuf.Any, value: {
                "@type": type.googleapis.com/envoy.config.core.v3.Metadata, filter_metadata: {b: {}, a: {}, d: {}, c: {}}}}
        }}"#;

    fn read(node: &Node) -> DynamicMessage {
        let schema = Schema::embedded();
        let mut findings = Findings::new();
        let descriptor = schema.message(Kind::Cluster.message()).unwrap();
        let message = json::read(&schema, &descriptor, node, &mut Path::new(), &mut findings);
        assert!(findings.is_empty(), "{findings:?}");
        message
    }

    fn reversed(node: &Node) -> Node {
        let value = match &node.value {
            Value::Map(entries) => {
                let entries = entries.iter().rev();
                Value::Map(
                    entries
                        .map(|entry| crate::envoy::Entry { value: reversed(&entry.value), ..entry.clone() })
                        .collect(),
                )
            }
            Value::List(items) => Value::List(items.iter().map(reversed).collect()),
            other => other.clone(),
        };
        Node { span: node.span, value }
    }

    #[test]
    fn equal_messages_have_equal_bytes() {
        let schema = Schema::embedded();
        let node = tree(CLUSTER);
        let bytes = encode(&schema, &read(&node));
        let plain: std::collections::BTreeSet<Vec<u8>> = (0..50).map(|_| read(&node).encode_to_vec()).collect();
        assert!(plain.len() > 1, "without sorting, the order of maps shows");
        for _ in 0..50 {
            assert_eq!(encode(&schema, &read(&node)), bytes);
            assert_eq!(encode(&schema, &read(&reversed(&node))), bytes);
        }
        let decoded = decode(&schema, Kind::Cluster, &bytes).unwrap();
        assert_eq!(encode(&schema, &decoded), bytes);
        assert_eq!(
            json::write(&schema, &decoded, json::Redact::No),
            json::write(&schema, &read(&node), json::Redact::No)
        );
    }

    #[test]
    fn where_nothing_is_open_the_bytes_are_the_usual_ones() {
        let schema = Schema::embedded();
        let long = "x".repeat(300);
        let text = format!(
            "{{name: {long}, filter_chains: [{{filter_chain_match: {{source_ports: [1, 300, 65535], server_names: [a, b], \
             source_type: EXTERNAL, destination_port: 0}}, transport_socket_connect_timeout: 1.5s}}, {{}}], \
             per_connection_buffer_limit_bytes: 0, tcp_backlog_size: 4294967295, bypass_overload_manager: true}}"
        );
        let descriptor = schema.message(Kind::Listener.message()).unwrap();
        let mut findings = Findings::new();
        let message = json::read(&schema, &descriptor, &tree(&text), &mut Path::new(), &mut findings);
        assert!(findings.is_empty(), "{findings:?}");
        assert_eq!(encode(&schema, &message), message.encode_to_vec());
        // Doubles, floats, signed numbers and bytes, as rules are written in them.
        let descriptor = schema.message("validate.FieldRules").unwrap();
        for rules in [
            "{double: {const: -1.5, in: [0, 2.5]}}",
            "{float: {const: -1.5, in: [0, 2.5]}}",
            "{sint32: {const: -7, in: [-1, 0, 300]}}",
            "{int64: {const: -7, in: [-1, 0, 9223372036854775807]}}",
            "{sfixed64: {const: -7, in: [-1, 300]}}",
            "{fixed32: {const: 7, in: [1, 300]}}",
            "{bytes: {const: AAEC, in: [AAEC, AA==]}}",
        ] {
            let message = json::read(&schema, &descriptor, &tree(rules), &mut Path::new(), &mut findings);
            assert!(findings.is_empty(), "{rules}: {findings:?}");
            assert_eq!(encode(&schema, &message), message.encode_to_vec(), "{rules}");
        }
    }

    #[test]
    fn an_any_in_another_order_is_brought_into_the_same() {
        let schema = Schema::embedded();
        let metadata = |keys: [&str; 2]| {
            let mut out = Vec::new();
            for key in keys {
                let mut entry = Vec::new();
                prost::encoding::bytes::encode(1, &Bytes::copy_from_slice(key.as_bytes()), &mut entry);
                prost::encoding::bytes::encode(2, &Bytes::new(), &mut entry);
                prost::encoding::bytes::encode(1, &Bytes::from(entry), &mut out);
            }
            out
        };
        let wrap = |payload: Vec<u8>| {
            let mut any = DynamicMessage::new(schema.message(any::ANY).unwrap());
            any::pack(&mut any, "type.googleapis.com/envoy.config.core.v3.Metadata", payload);
            any
        };
        assert_eq!(encode(&schema, &wrap(metadata(["a", "b"]))), encode(&schema, &wrap(metadata(["b", "a"]))));
    }

    #[test]
    fn unknown_fields_are_kept() {
        let schema = Schema::embedded();
        let mut bytes = encode(&schema, &read(&tree(CLUSTER)));
        // Field 9999 as a varint, as a string and as a group.
        for unknown in [
            [0xf8, 0xf0, 0x04, 0x07].as_slice(),
            &[0xfa, 0xf0, 0x04, 0x01, b'x'],
            &[0xfb, 0xf0, 0x04, 0xfc, 0xf0, 0x04],
        ] {
            bytes.extend_from_slice(unknown);
        }
        let message = decode(&schema, Kind::Cluster, &bytes).unwrap();
        assert_eq!(message.unknown_fields().count(), 3);
        assert_eq!(encode(&schema, &message), bytes);
    }

    #[test]
    fn bytes_of_something_else_are_an_error() {
        assert!(decode(&Schema::embedded(), Kind::Cluster, b"\x0a\xff").is_err());
    }
}
