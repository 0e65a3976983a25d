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
mod endpoint;
mod extension;
mod header;
mod hooks;
mod http;
mod listener;
mod matcher;
mod object;
mod route;
mod scalar;
mod tcp;
mod walk;

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::fmt;

use crate::diagnostic::{Files, Finding, Findings, Span, did_you_mean};
use crate::envoy::{Kind, Node, Schema, Value};
use crate::source::Attachments;
use crate::topology::{Item, StaticResources, Topology, section_of};

use object::{Object, TYPE, is_verbatim};
use walk::{Scope, Walk};

/// What the topology speaks of without holding it.
#[derive(Clone, Copy)]
pub struct Beside<'a> {
    /// The files that spans point into: paths are relative to them.
    pub files: &'a Files,
    /// The files that are named.
    pub attachments: &'a dyn Attachments,
}

/// A resource in Envoy's own JSON form. It may hold private keys: `Debug` does not show its content.
pub struct Native {
    /// Its kind.
    pub kind: Kind,
    /// Its name.
    pub name: String,
    /// Proto3 JSON of the kind's message, without an outer `"@type"`; spans point at the text that it came from.
    pub node: Node,
    /// Where it was written, such as `clusters[0]`; of a derived resource, the item that it was derived from.
    pub path: String,
    /// Written with `"@type"`: taken as it is.
    pub verbatim: bool,
}

impl fmt::Debug for Native {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { kind, name, node: _, path, verbatim } = self;
        let mut shown = f.debug_struct("Native");
        shown.field("kind", kind).field("name", name).field("path", path).field("verbatim", verbatim);
        shown.finish_non_exhaustive()
    }
}

/// A resource with the place of its name.
#[derive(Debug)]
struct Made {
    native: Native,
    name_span: Span,
}

/// Every resource that the topology stands for, those derived from others (inline route tables, endpoints, secrets) included.
pub fn expand(schema: &Schema, topology: Topology, beside: Beside<'_>, findings: &mut Findings) -> Vec<Native> {
    let Topology { items, static_resources } = topology;
    let mut made = Vec::new();
    for item in items {
        expand_item(schema, &static_resources, beside, item, findings, &mut made);
    }
    duplicates(&made, findings);
    made.into_iter().map(|made| made.native).collect()
}

fn expand_item(
    schema: &Schema,
    static_resources: &StaticResources,
    beside: Beside<'_>,
    item: Item,
    findings: &mut Findings,
    made: &mut Vec<Made>,
) {
    let Item { kind: section, node, path } = item;
    let verbatim = is_verbatim(&node);
    let Some(kind) = kind_of(section, &node, &path, findings) else { return };
    let name = name_of(kind, &node, &path, findings);
    if verbatim {
        if let (Some((name, name_span)), Ok(mut object)) = (name, Object::open(node)) {
            object.take(TYPE);
            made.push(Made { native: Native { kind, name, node: object.close(), path, verbatim }, name_span });
        }
        return;
    }
    let mut walk = Walk::new(schema, static_resources, beside, findings, &path);
    if let (Kind::Listener | Kind::Cluster, Some((name, _))) = (kind, &name) {
        walk.scope = Scope::Named { name: name.clone(), chains: 1 };
    }
    let node = walk.named(kind.message(), node);
    let derived = walk.into_derived();
    if let (Some(mut node), Some((name, name_span))) = (node, name) {
        if kind == Kind::Endpoint {
            node = endpoint::served(node);
        }
        made.push(Made { native: Native { kind, name, node, path, verbatim }, name_span });
    }
    made.extend(derived);
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

/// The name of a resource and where it is written. What is not text is complained about when it is read strictly.
fn name_of(kind: Kind, node: &Node, path: &str, findings: &mut Findings) -> Option<(String, Span)> {
    let field = kind.name_field();
    let entry = node.entries()?.iter().find(|entry| object::is(&entry.key, field) && !entry.value.is_null());
    let span = entry.map_or(node.span, |entry| entry.value.span);
    let name = match entry.map(|entry| &entry.value.value) {
        Some(Value::String(name) | Value::Number(name)) => name.clone(),
        Some(_) => return Some((String::new(), span)),
        None => String::new(),
    };
    if name.is_empty() {
        let message = format!("this {} has no `{field}`", short(kind));
        let help = format!("every resource needs a `{field}`: proxies refer to it, update it and remove it by that");
        findings.push(Finding::error("missing-name", span, path, message).help(help));
        return None;
    }
    Some((name, span))
}

/// Each kind has its own names, and each name is given once, whoever gives it.
fn duplicates(made: &[Made], findings: &mut Findings) {
    let mut first: BTreeMap<(Kind, &str), &Made> = BTreeMap::new();
    for second in made.iter().filter(|made| !made.native.name.is_empty()) {
        let Made { native: Native { kind, name, path, .. }, name_span } = second;
        if let Some(first) = first.get(&(*kind, name.as_str())) {
            let message = format!("the {} `{name}` is given twice", short(*kind));
            let finding = Finding::error("duplicate-resource", *name_span, path.clone(), message)
                .related(first.name_span, format!("first given here, at {}", first.native.path))
                .help("rename or remove one; the order of files and items never decides");
            findings.push(finding);
        } else {
            first.insert((*kind, name), second);
        }
    }
}
