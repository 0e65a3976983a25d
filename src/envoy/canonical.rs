//! The one encoding of a message.
//!
//! Protobuf leaves the order of map entries open, and the maps in memory are hash maps. Here entries are sorted by their
//! bytes, and the payloads of `Any`s are brought into the same form. Unknown fields are kept.

use bytes::{Buf as _, Bytes};
use prost::DecodeError;
use prost::Message as _;
use prost::encoding::{DecodeContext, WireType, decode_key, encode_key, encode_varint, skip_field};
use prost_reflect::{DynamicMessage, Kind as FieldKind, MessageDescriptor, ReflectMessage as _, Value};

use super::{Kind, MAX_DEPTH, Schema, any};

/// Encodes a message so that equal messages give equal bytes.
///
/// What nests deeper than [`MAX_DEPTH`] is copied as it is; [`json::read`](super::json::read) does not let such messages in.
pub fn encode(schema: &Schema, message: &DynamicMessage) -> Vec<u8> {
    encode_at(schema, message, 0)
}

/// Decodes the message of a kind.
///
/// # Errors
/// If the bytes are not an encoding of that message.
pub fn decode(schema: &Schema, kind: Kind, bytes: &[u8]) -> Result<DynamicMessage, DecodeError> {
    let descriptor = schema.message(kind.message()).expect("a test checks that the embedded set has every kind");
    DynamicMessage::decode(descriptor, bytes)
}

pub(super) fn encode_at(schema: &Schema, message: &DynamicMessage, depth: usize) -> Vec<u8> {
    let bytes = Bytes::from(message.encode_to_vec());
    let descriptor = message.descriptor();
    if !is_order_open(schema, message, depth) {
        return bytes.into();
    }
    let mut out = Vec::with_capacity(bytes.len());
    let walk = Walk { schema };
    match walk.message(&descriptor, bytes.clone(), depth, &mut out) {
        Ok(()) => out,
        Err(_) => bytes.into(),
    }
}

/// Whether anything in a message could stand in another order: several entries of a map, or what is packed in an `Any`.
fn is_order_open(schema: &Schema, message: &DynamicMessage, depth: usize) -> bool {
    let descriptor = message.descriptor();
    if depth >= MAX_DEPTH || !schema.catalog().is_order_open(&descriptor) {
        return false;
    }
    let inside = |value: &Value| value.as_message().is_some_and(|inner| is_order_open(schema, inner, depth + 1));
    descriptor.full_name() == any::ANY
        || message.fields().any(|(_, value)| match value {
            Value::List(items) => items.iter().any(inside),
            Value::Map(entries) => entries.len() > 1 || entries.values().any(inside),
            value => inside(value),
        })
}

struct Walk<'a> {
    schema: &'a Schema,
}

impl Walk<'_> {
    /// Appends the canonical form of an encoded message whose fields stand in the order of their numbers.
    fn message(
        &self,
        descriptor: &MessageDescriptor,
        mut bytes: Bytes,
        depth: usize,
        out: &mut Vec<u8>,
    ) -> Result<(), DecodeError> {
        if depth >= MAX_DEPTH || !self.schema.catalog().is_order_open(descriptor) {
            out.extend_from_slice(&bytes);
            return Ok(());
        }
        if descriptor.full_name() == any::ANY {
            return self.any(descriptor, bytes, depth, out);
        }
        let mut entries = Entries::default();
        while bytes.has_remaining() {
            let whole = bytes.clone();
            let (number, wire_type) = decode_key(&mut bytes)?;
            let field = descriptor.get_field(number).filter(|_| wire_type == WireType::LengthDelimited);
            let inner = field.and_then(|field| match field.kind() {
                FieldKind::Message(inner) => Some((field.is_map(), inner)),
                _ => None,
            });
            if let Some((is_map, inner)) = inner {
                let mut payload = Bytes::new();
                prost::encoding::bytes::merge(wire_type, &mut payload, &mut bytes, DecodeContext::default())?;
                let mut canonical = Vec::with_capacity(payload.len());
                self.message(&inner, payload, depth + 1, &mut canonical)?;
                if is_map {
                    entries.add(number, canonical, out);
                } else {
                    entries.flush(out);
                    write_bytes(number, &canonical, out);
                }
            } else {
                skip_field(wire_type, number, &mut bytes, DecodeContext::default())?;
                entries.flush(out);
                out.extend_from_slice(&whole[..whole.len() - bytes.len()]);
            }
        }
        entries.flush(out);
        Ok(())
    }

    fn any(
        &self,
        descriptor: &MessageDescriptor,
        bytes: Bytes,
        depth: usize,
        out: &mut Vec<u8>,
    ) -> Result<(), DecodeError> {
        let mut any = DynamicMessage::decode(descriptor.clone(), bytes)?;
        if let Some(payload) = any::unpack(self.schema, &any) {
            let url = any::type_url(&any);
            any::pack(&mut any, &url, encode_at(self.schema, &payload, depth + 1));
        }
        any.encode(out).expect("a vector grows");
        Ok(())
    }
}

/// The entries of the map field that is being read; they stand next to each other.
#[derive(Default)]
struct Entries {
    number: u32,
    encoded: Vec<Vec<u8>>,
}

impl Entries {
    fn add(&mut self, number: u32, entry: Vec<u8>, out: &mut Vec<u8>) {
        if number != self.number {
            self.flush(out);
            self.number = number;
        }
        self.encoded.push(entry);
    }

    fn flush(&mut self, out: &mut Vec<u8>) {
        self.encoded.sort();
        for entry in self.encoded.drain(..) {
            write_bytes(self.number, &entry, out);
        }
    }
}

fn write_bytes(number: u32, bytes: &[u8], out: &mut Vec<u8>) {
    encode_key(number, WireType::LengthDelimited, out);
    encode_varint(bytes.len() as u64, out);
    out.extend_from_slice(bytes);
}

#[cfg(test)]
mod tests {
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
    fn an_any_in_another_order_is_brought_into_the_same() {
        let schema = Schema::embedded();
        let metadata = |keys: [&str; 2]| {
            let mut out = Vec::new();
            for key in keys {
                let mut entry = Vec::new();
                write_bytes(1, key.as_bytes(), &mut entry);
                write_bytes(2, b"", &mut entry);
                write_bytes(1, &entry, &mut out);
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
