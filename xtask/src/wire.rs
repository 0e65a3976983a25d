//! Just enough of the protobuf wire format to take messages apart without decoding them.
//!
//! Descriptors are copied as bytes: decoding them into generated types would drop the options that carry Envoy's rules.

use prost::bytes::Buf;
use prost::encoding::{DecodeContext, WireType, decode_key, encode_key, encode_varint, skip_field};

/// One field of an encoded message.
pub(crate) struct Field<'a> {
    pub(crate) number: u32,
    /// The field with its key.
    pub(crate) whole: &'a [u8],
    /// The content of a length-delimited field; empty otherwise.
    pub(crate) content: &'a [u8],
}

/// Takes the next field off the front of `bytes`.
pub(crate) fn next<'a>(bytes: &mut &'a [u8]) -> Option<Field<'a>> {
    let start = *bytes;
    let (number, wire_type) = decode_key(bytes).ok()?;
    let mut content: &[u8] = &[];
    if wire_type == WireType::LengthDelimited {
        let length = usize::try_from(prost::encoding::decode_varint(bytes).ok()?).ok()?;
        content = bytes.get(..length)?;
        bytes.advance(length);
    } else {
        skip_field(wire_type, number, bytes, DecodeContext::default()).ok()?;
    }
    Some(Field { number, whole: &start[..start.len() - bytes.len()], content })
}

/// The fields of a message, as far as it can be read.
pub(crate) fn fields(mut bytes: &[u8]) -> impl Iterator<Item = Field<'_>> {
    std::iter::from_fn(move || if bytes.is_empty() { None } else { next(&mut bytes) })
}

/// Appends a length-delimited field.
pub(crate) fn push(number: u32, content: &[u8], out: &mut Vec<u8>) {
    encode_key(number, WireType::LengthDelimited, out);
    encode_varint(content.len() as u64, out);
    out.extend_from_slice(content);
}
