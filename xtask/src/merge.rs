//! Two sets of file descriptors become one.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Context as _, ensure};
use prost::Message as _;
use prost_types::{DescriptorProto, EnumDescriptorProto, FileDescriptorProto};

use crate::wire;

/// Number of `FileDescriptorProto.source_code_info`.
const SOURCE_CODE_INFO: u32 = 9;

/// A file as bytes, with what must be known of it.
#[derive(Clone)]
pub(crate) struct File {
    bytes: Vec<u8>,
    pub(crate) proto: FileDescriptorProto,
}

/// Files by name.
pub(crate) type Set = BTreeMap<String, File>;

/// What a merge left out.
#[derive(Default)]
pub(crate) struct Dropped {
    /// Files whose symbols another file defines.
    pub(crate) clashing: Vec<String>,
    /// Files with imports that are nowhere.
    pub(crate) open: Vec<String>,
}

/// Decodes files; comments and positions are stripped.
pub(crate) fn set(files: impl IntoIterator<Item = Vec<u8>>) -> anyhow::Result<Set> {
    let file = |bytes: Vec<u8>| {
        let kept = wire::fields(&bytes).filter(|field| field.number != SOURCE_CODE_INFO);
        let bytes: Vec<u8> = kept.flat_map(|field| field.whole.iter().copied()).collect();
        let proto = FileDescriptorProto::decode(bytes.as_slice()).context("not a file descriptor")?;
        Ok((proto.name().to_owned(), File { bytes, proto }))
    };
    files.into_iter().map(file).collect()
}

/// The files that are wanted, and those that they import.
pub(crate) fn closure(set: &Set, is_wanted: impl Fn(&str) -> bool) -> Set {
    let mut pending: Vec<&str> = set.keys().map(String::as_str).filter(|name| is_wanted(name)).collect();
    let mut out = Set::new();
    while let Some(name) = pending.pop() {
        if let Some(file) = set.get(name).filter(|_| !out.contains_key(name)) {
            pending.extend(file.proto.dependency.iter().map(String::as_str));
            out.insert(name.to_owned(), file.clone());
        }
    }
    out
}

/// Puts `over` on top of `base`, file by file: Envoy parses with its own descriptors, so they win. A file that only `base`
/// has stays, unless it defines what another file defines (it was renamed upstream) or needs a file that is not there.
pub(crate) fn overlay(base: Set, over: Set) -> (Set, Dropped) {
    let mut merged = over;
    let mut dropped = Dropped::default();
    let mut taken: BTreeSet<String> = merged.values().flat_map(|file| symbols(&file.proto)).collect();
    for (name, file) in base {
        if merged.contains_key(&name) {
            continue;
        }
        let symbols = symbols(&file.proto);
        if symbols.iter().any(|symbol| taken.contains(symbol)) {
            dropped.clashing.push(name);
        } else {
            taken.extend(symbols);
            merged.insert(name, file);
        }
    }
    loop {
        let is_open = |file: &File| file.proto.dependency.iter().any(|needed| !merged.contains_key(needed));
        let open: Vec<String> = merged.iter().filter(|(_, file)| is_open(file)).map(|(name, _)| name.clone()).collect();
        if open.is_empty() {
            return (merged, dropped);
        }
        for name in &open {
            merged.remove(name);
        }
        dropped.open.extend(open);
    }
}

/// The `FileDescriptorSet` of a set: files after those that they import, otherwise in the order of their names.
pub(crate) fn encode(set: &Set) -> anyhow::Result<Vec<u8>> {
    let mut out = Vec::new();
    let mut done = BTreeSet::new();
    for name in set.keys() {
        write(set, name, &mut done, &mut Vec::new(), &mut out)?;
    }
    Ok(out)
}

fn write<'a>(
    set: &'a Set,
    name: &'a str,
    done: &mut BTreeSet<&'a str>,
    path: &mut Vec<&'a str>,
    out: &mut Vec<u8>,
) -> anyhow::Result<()> {
    ensure!(!path.contains(&name), "{name} imports itself");
    if done.contains(name) {
        return Ok(());
    }
    let file = set.get(name).with_context(|| format!("{name} is imported and missing"))?;
    path.push(name);
    for needed in &file.proto.dependency {
        write(set, needed, done, path, out)?;
    }
    path.pop();
    done.insert(name);
    wire::push(1, &file.bytes, out);
    Ok(())
}

/// Full names of everything that a file defines or that stands in its messages and enums.
fn symbols(file: &FileDescriptorProto) -> Vec<String> {
    let mut out = Vec::new();
    let package = file.package();
    for message in &file.message_type {
        message_symbols(package, message, &mut out);
    }
    file.enum_type.iter().for_each(|item| enum_symbols(package, item, &mut out));
    out.extend(file.extension.iter().map(|item| qualified(package, item.name())));
    out.extend(file.service.iter().map(|item| qualified(package, item.name())));
    out
}

fn message_symbols(scope: &str, message: &DescriptorProto, out: &mut Vec<String>) {
    let name = qualified(scope, message.name());
    for nested in &message.nested_type {
        message_symbols(&name, nested, out);
    }
    message.enum_type.iter().for_each(|item| enum_symbols(&name, item, out));
    out.push(name);
}

/// The values of an enum are named next to it, not inside it.
fn enum_symbols(scope: &str, item: &EnumDescriptorProto, out: &mut Vec<String>) {
    out.push(qualified(scope, item.name()));
    out.extend(item.value.iter().map(|value| qualified(scope, value.name())));
}

fn qualified(scope: &str, name: &str) -> String {
    if scope.is_empty() { name.to_owned() } else { format!("{scope}.{name}") }
}

/// Fields of a set, as `message.field` with what must not change about them.
pub(crate) fn fields(set: &Set) -> BTreeMap<String, String> {
    let mut out = BTreeMap::new();
    for file in set.values() {
        for message in &file.proto.message_type {
            message_fields(file.proto.package(), message, &mut out);
        }
    }
    out
}

fn message_fields(scope: &str, message: &DescriptorProto, out: &mut BTreeMap<String, String>) {
    let name = qualified(scope, message.name());
    for nested in &message.nested_type {
        message_fields(&name, nested, out);
    }
    for field in &message.field {
        let type_name = field.type_name().trim_start_matches('.');
        let shape = format!("number {} {:?} {:?} {type_name}", field.number(), field.label(), field.r#type());
        out.insert(qualified(&name, field.name()), shape);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(name: &str, message: &str, imports: &[&str]) -> Vec<u8> {
        FileDescriptorProto {
            name: Some(name.into()),
            message_type: vec![DescriptorProto { name: Some(message.into()), ..Default::default() }],
            dependency: imports.iter().map(|import| (*import).to_owned()).collect(),
            ..Default::default()
        }
        .encode_to_vec()
    }

    #[test]
    fn the_upper_set_wins_and_clashes_and_open_ends_fall_out() {
        let base = set([
            file("old_name.proto", "A", &[]),
            file("b.proto", "B", &[]),
            file("only.proto", "Only", &["b.proto"]),
            file("open.proto", "Open", &["nowhere.proto"]),
        ])
        .unwrap();
        let over =
            set([file("a.proto", "A", &["z.proto"]), file("z.proto", "Z", &[]), file("b.proto", "B2", &[])]).unwrap();
        assert_eq!(closure(&over, |name| name == "a.proto").len(), 2);
        let (merged, dropped) = overlay(base, over);
        assert_eq!(merged.keys().collect::<Vec<_>>(), ["a.proto", "b.proto", "only.proto", "z.proto"]);
        assert_eq!(merged["b.proto"].proto.message_type[0].name(), "B2");
        assert_eq!(dropped.clashing, ["old_name.proto"]);
        assert_eq!(dropped.open, ["open.proto"]);

        let encoded = encode(&merged).unwrap();
        let names: Vec<_> = prost_types::FileDescriptorSet::decode(encoded.as_slice()).unwrap().file;
        let names: Vec<_> = names.iter().map(FileDescriptorProto::name).collect();
        assert_eq!(names, ["z.proto", "a.proto", "b.proto", "only.proto"]);
    }
}
