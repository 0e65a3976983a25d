//! The one encoding of a message.
//!
//! Protobuf leaves the order of map entries open, and the maps in memory are hash maps. Here entries are sorted by their
//! bytes, and the payloads of `Any`s are brought into the same form. Unknown fields are kept.

use bytes::{Buf as _, Bytes};
use prost::DecodeError;
use prost::Message as _;
use prost::encoding::{DecodeContext, WireType, decode_key, encode_key, encode_varint, skip_field};
use prost_reflect::{DynamicMessage, Kind as FieldKind, MessageDescriptor, ReflectMessage as _};

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
    if !schema.catalog().is_order_open(&descriptor) {
        return bytes.into();
    }
    let mut out = Vec::with_capacity(bytes.len());
    let walk = Walk { schema };
    match walk.message(&descriptor, bytes.clone(), depth, &mut out) {
        Ok(()) => out,
        Err(_) => bytes.into(),
    }
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
