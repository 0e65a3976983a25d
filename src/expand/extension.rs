//! Extensions by their short names: `cors`, or `{cors: {…}}`, where Envoy wants `{name, typed_config}`.

use std::collections::{BTreeMap, BTreeSet};

use crate::envoy::extensions::{Category, Extension};
use crate::envoy::{Entry, Kind, MessageDescriptor, Node, Schema, Value};
use crate::topology::Item;

use super::object::{Object, TYPE, find, is, is_verbatim, typed};
use super::slot;
use super::walk::Walk;

/// The type URLs of the `ExtensionConfig` resources of each name; groups of nodes may each have their own.
pub(super) type Types = BTreeMap<String, BTreeSet<String>>;

const NATIVE: &str = "write Envoy's own form: `{name: …, typed_config: {\"@type\": …}}`";

/// The message that wraps an extension of any kind: `{short: {…}}` beside its own fields.
pub(super) fn wrapper(walk: &mut Walk<'_>, message: &MessageDescriptor, mut object: Object) -> Object {
    let slot = slot::of(walk, message);
    discovered(walk, &mut object);
    // Envoy's own form says what it is; a key that is unknown there is complained about when it is read strictly.
    let native = ["typed_config", "config_discovery"].iter().any(|key| object.get(key).is_some());
    let mut shorts = if native { Vec::new() } else { object.split(|entry| !is_field(message, &entry.key)) }.into_iter();
    let Some(short) = shorts.next() else { return walk.fields(message, object) };
    for second in shorts {
        walk.exclusive(&second, &short.key, "each is an item of its own; start a new one with `- `");
    }
    let found = named(walk, slot, &short).and_then(|found| Some((found.name.as_str(), found.message.as_deref()?)));
    if !object.has("name") && message.get_field_by_name("name").is_some() {
        object.lead("name", Node::string(short.key_span, found.map_or(short.key.as_str(), |(name, _)| name)));
    }
    let span = short.key_span;
    match found.and_then(|(_, message)| config(walk, short, message)) {
        Some(config) => object.set("typed_config", span, config),
        // A mistake was found and nothing is published; that the field is required need not be said as well.
        None if slot::is_general(message) => {
            object.set("typed_config", span, typed("google.protobuf.Empty", Node::map::<&str>(span, [])));
        }
        None => {}
    }
    walk.fields(message, object)
}

fn is_field(message: &MessageDescriptor, key: &str) -> bool {
    message.get_field_by_name(key).or_else(|| message.get_field_by_json_name(key)).is_some()
}

/// The extension that a key names, in one slot or anywhere.
fn named<'a>(walk: &mut Walk<'a>, slot: Option<Category>, short: &Entry) -> Option<&'a Extension> {
    let extensions = walk.schema.extensions();
    let Some(category) = slot else { return anywhere(walk, short) };
    let found = extensions.find(category, &short.key).filter(|found| found.message.is_some());
    if found.is_none() {
        let message = format!("`{}` is not the short name of {category}", short.key);
        let help = match extensions.did_you_mean(category, &short.key) {
            Some(name) => format!("did you mean `{name}`?"),
            None => NATIVE.to_owned(),
        };
        walk.report("unknown-extension", short.key_span, message, &help);
    }
    found
}

/// The only extension with a name.
fn anywhere<'a>(walk: &mut Walk<'a>, short: &Entry) -> Option<&'a Extension> {
    let found = walk.schema.extensions().anywhere(&short.key);
    match found.as_slice() {
        [only] => return Some(only),
        [] => {
            let message = format!("`{}` is not the short name of an extension", short.key);
            walk.report("unknown-extension", short.key_span, message, NATIVE);
        }
        many => {
            let names: Vec<String> = many.iter().map(|found| format!("`{}`", found.name)).collect();
            let message = format!("`{}` is the short name of more than one extension", short.key);
            let help = format!("write one of {}", names.join(", "));
            walk.report("unknown-extension", short.key_span, message, &help);
        }
    }
    None
}

/// The configuration of an extension, expanded and typed.
fn config(walk: &mut Walk<'_>, short: Entry, message: &str) -> Option<Node> {
    let Entry { key, key_span, value } = short;
    if is_verbatim(&value) {
        return Some(value);
    }
    let value = if value.is_null() { Node::map::<&str>(key_span, []) } else { value };
    walk.path.field(&key);
    let config = walk.named(message, value);
    walk.path.pop();
    match config {
        Some(Node { value: Value::Map(_), .. }) => config.map(|config| typed(message, config)),
        Some(config) => {
            let message = format!("`{key}` takes a mapping of its fields, not {}", config.describe());
            walk.report("wrong-type", config.span, message, "");
            None
        }
        None => None,
    }
}

/// What a proxy shall expect under the name that it asks for: what the resource of that name is.
fn discovered(walk: &Walk<'_>, object: &mut Object) {
    let Some(name) = object.get("name").and_then(Node::as_str) else { return };
    let Some(types) = walk.types.get(name) else { return };
    if let Some(source) = object.get_mut("config_discovery")
        && !is_verbatim(source)
        && let Value::Map(entries) = &mut source.value
        && !entries.iter().any(|entry| is(&entry.key, "type_urls"))
    {
        let urls = types.iter().map(|url| Node::string(source.span, url)).collect();
        entries.push(Entry::new("type_urls", source.span, Node::list(source.span, urls)));
    }
}

/// The types of the `ExtensionConfig` resources among the items.
pub(super) fn types(schema: &Schema, items: &[Item]) -> Types {
    let mut types = Types::new();
    let wrapper = schema.message(Kind::ExtensionConfig.message());
    for Item { kind, node, .. } in items {
        let url = node.get(TYPE).and_then(Node::as_str);
        let says = url.map(|url| url.rsplit('/').next() == Some(Kind::ExtensionConfig.message()));
        if !says.unwrap_or(*kind == Some(Kind::ExtensionConfig)) {
            continue;
        }
        let Some(name) = find(node, "name").and_then(Node::as_str) else { continue };
        let native = find(node, "typed_config").and_then(|config| config.get(TYPE)).and_then(Node::as_str);
        let short = || {
            let mut entries = node.entries()?.iter();
            let short = entries.find(|entry| wrapper.as_ref().is_some_and(|wrapper| !is_field(wrapper, &entry.key)))?;
            let verbatim = short.value.get(TYPE).and_then(Node::as_str).map(str::to_owned);
            let found = || schema.extensions().find(slot::DISCOVERED, &short.key)?.message.as_deref();
            verbatim.or_else(|| Some(format!("type.googleapis.com/{}", found()?)))
        };
        if let Some(url) = native.map(str::to_owned).or_else(short) {
            types.entry(name.to_owned()).or_default().insert(url);
        }
    }
    types
}

/// What routes say to HTTP filters: `{short: {…}}`, where Envoy wants the filter's name and a message of the filter's.
pub(super) fn per_filter(walk: &mut Walk<'_>, entries: Vec<Entry>) -> Vec<Entry> {
    keyed(walk, entries, Category::HTTP_FILTER)
}

/// What clusters say to upstream protocols, in the same form.
pub(super) fn protocol_options(walk: &mut Walk<'_>, entries: Vec<Entry>) -> Vec<Entry> {
    keyed(walk, entries, Category::UPSTREAM_OPTIONS)
}

/// A mapping from extensions to messages of theirs. What carries `"@type"` may stand under any key.
fn keyed(walk: &mut Walk<'_>, entries: Vec<Entry>, category: Category) -> Vec<Entry> {
    let mut kept: Vec<Entry> = Vec::new();
    for entry in entries {
        let entry =
            if entry.value.is_null() || is_verbatim(&entry.value) { Some(entry) } else { one(walk, entry, category) };
        let Some(entry) = entry else { continue };
        if kept.iter().any(|first| first.key == entry.key) {
            let message = format!("`{}` is given twice, by its short name and in full", entry.key);
            walk.report("exclusive-keys", entry.key_span, message, "keep one of the two");
        } else {
            kept.push(entry);
        }
    }
    kept
}

fn one(walk: &mut Walk<'_>, entry: Entry, category: Category) -> Option<Entry> {
    let found = named(walk, Some(category), &entry)?;
    let message = found.per_route.as_deref().or(found.message.as_deref())?;
    let (key, key_span) = (found.name.clone(), entry.key_span);
    Some(Entry { key, key_span, value: config(walk, entry, message)? })
}
