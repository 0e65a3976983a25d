//! The file descriptors inside the Envoy binary.
//!
//! C++ protobuf keeps each generated file's serialized `FileDescriptorProto` in an ELF section of its own.

use std::fs;
use std::path::Path;

use anyhow::{Context as _, ensure};
use object::{Object as _, ObjectSection as _};
use prost::Message as _;
use prost_types::FileDescriptorProto;

use crate::wire;

const SECTION: &str = "protodesc_cold";
/// The first byte of a descriptor: the key of its name.
const NAME_KEY: u8 = 0x0a;

/// All descriptors of a binary, as bytes.
pub(crate) fn descriptors(binary: &Path) -> anyhow::Result<Vec<Vec<u8>>> {
    let data = fs::read(binary).with_context(|| format!("cannot read {}", binary.display()))?;
    let elf = object::File::parse(&*data).with_context(|| format!("{} is not an executable", binary.display()))?;
    let section = elf.section_by_name(SECTION);
    let section = section.with_context(|| format!("{} has no section {SECTION}", binary.display()))?;
    let found = scan(section.data()?);
    ensure!(!found.is_empty(), "no descriptors in section {SECTION} of {}", binary.display());
    Ok(found)
}

fn scan(mut bytes: &[u8]) -> Vec<Vec<u8>> {
    let mut found = Vec::new();
    while let Some(start) = bytes.iter().position(|byte| *byte == NAME_KEY) {
        bytes = &bytes[start..];
        match descriptor(bytes) {
            Some(length) => {
                found.push(bytes[..length].to_vec());
                bytes = &bytes[length..];
            }
            None => bytes = &bytes[1..],
        }
    }
    found
}

/// The length of the descriptor at the front, if there is one.
fn descriptor(bytes: &[u8]) -> Option<usize> {
    let mut rest = bytes;
    let name = wire::next(&mut rest)?;
    if !name.content.ends_with(b".proto") || !name.content.is_ascii() {
        return None;
    }
    let mut length = bytes.len() - rest.len();
    // The next descriptor begins with a name again, and padding is no field at all.
    while let Some(field) = wire::next(&mut rest).filter(|field| (2..=14).contains(&field.number)) {
        length += field.whole.len();
    }
    FileDescriptorProto::decode(&bytes[..length]).is_ok().then_some(length)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn descriptors_are_found_between_padding() {
        let file = |name: &str| {
            FileDescriptorProto { name: Some(name.into()), syntax: Some("proto3".into()), ..Default::default() }
                .encode_to_vec()
        };
        let (one, two) = (file("a/one.proto"), file("two.proto"));
        let section = [b"\x0a\x03xyz\0\0".as_slice(), &one, &[0; 7], &two, &one, b"\0\x0a\xff"].concat();
        assert_eq!(scan(&section), [one.clone(), two, one]);
    }
}
