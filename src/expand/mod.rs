//! The friendly form becomes native Envoy resources.
//!
//! Enters: a [`Topology`], and what lies [`Beside`] it. Leaves: [`Native`]s, proto3 JSON of their kind's message, whose every node points at the text that
//! caused it. Knows: the descriptors, and what may be written instead of what they say: keys hoisted out of nested messages,
//! shorthands, defaults. One `walk` follows the descriptors; what is particular to a message stands in a hook, and
//! `hooks` lists them all.
//!
//! Invariants: whatever carries `"@type"` is left alone, at every level. Shorthands are told apart by the kind of YAML value
//! alone, never by guessing from its text. An explicit `null` keeps a default away. A mistake is reported once, here or when
//! the result is read strictly, never in both places.

mod address;
mod cluster;
mod config_source;
mod data_source;
mod defaults;
mod endpoint;
mod extension;
mod header;
mod hooks;
mod http;
mod listener;
mod matcher;
mod memory;
mod merge;
mod object;
mod patch;
mod route;
mod scalar;
mod server;
mod slot;
mod tcp;
mod tls;
mod udp;
mod walk;

#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::Arc;

use crate::diagnostic::{Files, Finding, Findings, Span, did_you_mean};
use crate::envoy::{Entry, FieldDescriptor, Kind, MessageDescriptor, Node, Schema, Value};
use crate::source::Attachments;
use crate::topology::{Item, Membership, StaticResources, Topology, section_of};

pub use memory::Memory;

use object::{Object, TYPE, is_verbatim};
use walk::{Scope, Walk};

/// The keys that a message takes beside its fields, by the message's full name.
pub(crate) fn hoisted(message: &str) -> &'static [&'static str] {
    hooks::hoisted(message)
}

/// What may stand for a message beside a mapping of its fields.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Shorthand {
    /// Nothing.
    None,
    /// A text.
    Text,
    /// A text or a number, which the message has a syntax for.
    Scalar,
    /// What this field, or hoisted key, takes.
    Field(&'static str),
    /// The short name of an extension, which is a key of the mapping as well.
    Extension,
}

/// What may stand for a message, by its full name.
pub(crate) fn shorthand(message: &str) -> Shorthand {
    hooks::shorthand(message)
}

/// Whether a list of these messages may be a mapping by name.
pub(crate) fn is_list_by_name(message: &str) -> bool {
    hooks::of_list(message).is_some()
}

/// Whether a text in this field is the path of a file beside the topology.
pub(crate) fn takes_paths(message: &MessageDescriptor, field: &FieldDescriptor) -> bool {
    data_source::takes_paths(message, field)
}

/// What the topology speaks of without holding it.
#[derive(Clone, Copy)]
pub struct Beside<'a> {
    /// The files that spans point into: paths are relative to them.
    pub files: &'a Files,
    /// The files that are named.
    pub attachments: &'a dyn Attachments,
}

/// A resource in Envoy's own JSON form. It may hold private keys: `Debug` does not show its content.
#[derive(Clone)]
pub struct Native {
    /// Its kind.
    pub kind: Kind,
    /// Its name; empty if it has none, which is an error.
    pub name: String,
    /// Proto3 JSON of the kind's message, without an outer `"@type"`; spans point at the text that it came from. While
    /// nothing of what it was made from changes, it is the same one in every build.
    pub node: Arc<Node>,
    /// Where it was written, such as `clusters[0]`; of a derived resource, the item that it was derived from.
    pub path: String,
    /// Written with `"@type"`: taken as it is.
    pub verbatim: bool,
    /// Which of the topology's items it was made from.
    pub item: usize,
    /// Whether the expansion of that item found an error.
    pub broken: bool,
    /// A listener of a gRPC server, which asks for it by name; Envoy refuses it when it asks for all listeners.
    pub on_demand: bool,
    /// The node groups that it is for.
    pub groups: Membership,
}

impl fmt::Debug for Native {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { kind, name, node: _, path, verbatim, item, broken, on_demand, groups } = self;
        let mut shown = f.debug_struct("Native");
        shown.field("kind", kind).field("name", name).field("path", path).field("verbatim", verbatim);
        shown.field("item", item).field("broken", broken).field("on_demand", on_demand).field("groups", groups);
        shown.finish_non_exhaustive()
    }
}

/// A resource with the place of its name.
#[derive(Clone, Debug)]
struct Made {
    native: Native,
    name_span: Span,
}

/// Every resource that the topology stands for, those derived from others (inline route tables, endpoints, secrets) included,
/// with its patches applied. A name can come twice, for different node groups.
pub fn expand(schema: &Schema, topology: Topology, beside: Beside<'_>, findings: &mut Findings) -> Vec<Native> {
    Memory::default().expand(schema, topology, beside, findings)
}

/// What expanding any item takes from outside it.
struct Known<'a> {
    schema: &'a Schema,
    static_resources: &'a StaticResources,
    types: &'a extension::Types,
    beside: Beside<'a>,
}

fn expand_item(known: &Known<'_>, item: Item, findings: &mut Findings, made: &mut Vec<Made>) {
    let Item { kind: section, node, path, groups: _ } = item;
    let mut node = Arc::unwrap_or_clone(node);
    let verbatim = is_verbatim(&node);
    let Some(kind) = kind_of(section, &node, &path, findings) else { return };
    let (name, name_span) = name_of(known.schema, kind, &mut node, &path, findings);
    let native = |node, path| Native {
        kind,
        name: name.clone(),
        node: Arc::new(node),
        path,
        verbatim,
        on_demand: false,
        item: 0,
        broken: false,
        groups: Membership::default(),
    };
    if verbatim {
        if let Ok(mut object) = Object::open(node) {
            object.take(TYPE);
            made.push(Made { native: native(object.close(), path), name_span });
        }
        return;
    }
    let mut walk = Walk::new(known.schema, known.static_resources, known.beside, known.types, findings, &path);
    if kind == Kind::ExtensionConfig {
        walk.slot = Some(slot::DISCOVERED);
    }
    if matches!(kind, Kind::Listener | Kind::Cluster) {
        let name = if name.is_empty() { stand_in(name_span) } else { name.clone() };
        walk.scope = Scope::Named { name, chains: 1 };
    }
    let node = walk.named(kind.message(), node);
    let node = if kind == Kind::Endpoint { node.map(|node| endpoint::served(&walk, node)) } else { node };
    let derived = walk.into_derived();
    if let Some(node) = node {
        made.push(Made { native: native(node, path), name_span });
    }
    made.extend(derived);
}

/// What no name begins with that was written.
const STAND_IN: &str = "\u{0}";

/// A name for what has none. Nothing is published with an error; with some name, no more errors follow from this one.
fn stand_in(span: Span) -> String {
    format!("{STAND_IN}{}:{}", span.line, span.column)
}

/// What kind of resource an item is: what its section or its `"@type"` says.
fn kind_of(section: Option<Kind>, node: &Node, path: &str, findings: &mut Findings) -> Option<Kind> {
    let Some(url) = node.get(TYPE) else {
        if section.is_none() {
            let message = "an item of `resources` must say what it is";
            let help = "add `\"@type\": type.googleapis.com/…`, or move it to the section of its kind";
            findings.push(Finding::error("missing-type", node.span, path, message).help(help));
        }
        return section;
    };
    let Value::String(text) = &url.value else {
        let message = format!("`\"@type\"` must be a type URL, not {}", url.describe());
        findings.push(Finding::error("wrong-type", url.span, path, message));
        return None;
    };
    let name = text.rsplit('/').next().unwrap_or(text);
    let Some(kind) = Kind::ALL.into_iter().find(|kind| kind.message() == name) else {
        let message = format!("`{text}` is not a type of resource that xDS serves");
        let help = match did_you_mean(name, Kind::ALL.into_iter().map(Kind::message)) {
            Some(name) => format!("did you mean `type.googleapis.com/{name}`?"),
            None => format!("such as `{}`", Kind::Cluster.type_url()),
        };
        findings.push(Finding::error("unknown-resource-type", url.span, path, message).help(help));
        return None;
    };
    if let Some(section) = section
        && section != kind
    {
        let message = format!("a {} cannot stand under `{}`", short(kind), section_of(section));
        let help = match section_of(kind) {
            "resources" => "move it to `resources`".to_owned(),
            own => format!("move it to `{own}` or `resources`"),
        };
        findings.push(Finding::error("wrong-section", url.span, path, message).help(help));
        return None;
    }
    Some(kind)
}

/// The message's name without its package.
fn short(kind: Kind) -> &'static str {
    kind.message().rsplit('.').next().unwrap_or_default()
}

/// The name of a resource, if it has one, and where it is written. What is not text is complained about when it is read
/// strictly, and so is a misspelled `name`.
fn name_of(schema: &Schema, kind: Kind, node: &mut Node, path: &str, findings: &mut Findings) -> (String, Span) {
    let (field, span) = (kind.name_field(), node.span);
    let Value::Map(entries) = &mut node.value else { return (String::new(), span) };
    let entry = entries.iter().find(|entry| object::is(&entry.key, field) && !entry.value.is_null());
    let span = entry.map_or(span, |entry| entry.value.span);
    match entry.map(|entry| &entry.value.value) {
        Some(Value::String(name) | Value::Number(name)) if !name.is_empty() => return (name.clone(), span),
        None | Some(Value::String(_)) => {}
        Some(_) => return (String::new(), span),
    }
    if !entries.iter().any(|entry| is_misspelled(schema, kind, &entry.key, field)) {
        let message = format!("this {} has no `{field}`", short(kind));
        let help = format!("every resource needs a `{field}`: proxies refer to it, update it and remove it by that");
        findings.push(Finding::error("missing-name", span, path, message).help(help));
    }
    entries.retain(|entry| !object::is(&entry.key, field));
    entries.insert(0, Entry::new(field, span, Node::string(span, stand_in(span))));
    (String::new(), span)
}

/// Whether a key is none of the fields, and most like this one.
fn is_misspelled(schema: &Schema, kind: Kind, key: &str, field: &str) -> bool {
    let Some(message) = schema.message(kind.message()) else { return false };
    let fields: Vec<_> = message.fields().collect();
    let known = fields.iter().any(|field| object::is(key, field.name()));
    !known && did_you_mean(key, fields.iter().map(FieldDescriptor::name)) == Some(field)
}

/// Whether secrets are derived from an item at this place.
fn derives(path: &str) -> bool {
    ["listeners[", "clusters["].iter().any(|section| path.starts_with(section))
}

/// Whether someone chose a name, or what it was derived from.
fn is_named(name: &str) -> bool {
    !name.is_empty() && !name.starts_with(STAND_IN)
}

/// Each kind has its own names, and each name is given once in a node group, whoever gives it. What is derived from an item
/// that repeats a name, under the same name, is not told besides.
fn duplicates(made: &[Made], findings: &mut Findings) {
    let keys: BTreeSet<_> = made.iter().map(|made| (made.native.kind, made.native.name.as_str())).collect();
    if keys.len() == made.len() {
        return;
    }
    let mut named: BTreeMap<(Kind, &str), Vec<&Made>> = BTreeMap::new();
    let mut told: BTreeSet<(usize, &str)> = BTreeSet::new();
    for second in made.iter().filter(|made| is_named(&made.native.name)) {
        let Made { native: Native { kind, name, path, groups, item, .. }, name_span } = second;
        let earlier = named.entry((*kind, name.as_str())).or_default();
        if let Some(first) = earlier.iter().find(|first| first.native.groups.overlaps(groups)) {
            if !told.insert((*item, name)) {
                continue;
            }
            let message = format!("the {} `{name}` is given twice", short(*kind));
            let finding = Finding::error("duplicate-resource", *name_span, path.clone(), message)
                .related(first.name_span, format!("first given here, at {}", first.native.path))
                .help(match kind {
                    // A secret that was derived is not called what its item is called.
                    Kind::Secret if [path, &first.native.path].iter().any(|path| derives(path)) => {
                        "secrets from files are named after their listener or cluster: rename one of those, or define \
                         the certificate under `secrets` and name it in `…_sds_secret_config`"
                    }
                    _ => "rename or remove one; the order of files and items never decides",
                });
            findings.push(finding);
        } else {
            earlier.push(second);
        }
    }
}
