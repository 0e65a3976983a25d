//! Whether a guess is right: what the real expansion makes of it, compared with the original as canonical messages.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use serde_json::{Map, Value, json};

use super::super::yaml;
use super::fold::{Null, Object};
use super::original::Original;
use crate::diagnostic::{Files, Findings};
use crate::envoy::json::{self, Redact};
use crate::envoy::{DynamicMessage, Kind, MessageDescriptor, Node, Path, Schema, canonical};
use crate::expand::{self, Beside};
use crate::source::Document;
use crate::topology;

/// Items of a topology with their kinds.
pub(super) type Items = Vec<(Kind, Value)>;

/// What became of a guess.
pub(super) enum Verdict {
    /// It means the originals.
    Equal,
    /// It does not; these fields have defaults that the originals lack.
    Differs(BTreeSet<Null>),
}

/// A document of one node group, or of all if the name is empty.
pub(super) fn document(group: &str, items: Items) -> Value {
    let mut document = json!({"version": 1});
    if !group.is_empty() {
        document["node_group"] = group.into();
    }
    let order = [
        Kind::Listener,
        Kind::Route,
        Kind::Cluster,
        Kind::Endpoint,
        Kind::Secret,
        Kind::Runtime,
        Kind::ExtensionConfig,
        Kind::ScopedRoute,
        Kind::VirtualHost,
    ];
    let mut sections: BTreeMap<Kind, Vec<Value>> = BTreeMap::new();
    for (kind, item) in items {
        sections.entry(kind).or_default().push(item);
    }
    for kind in order {
        let Some(items) = sections.remove(&kind) else { continue };
        match &mut document[topology::section_of(kind)] {
            Value::Array(present) => present.extend(items),
            empty => *empty = items.into(),
        }
    }
    document
}

/// Compares what the items expand to with the originals.
pub(super) fn confirm(schema: &Schema, items: Items, originals: &[&Original]) -> Verdict {
    let expected: BTreeMap<_, _> =
        originals.iter().map(|it| ((it.kind, it.name.clone()), message(schema, it.kind, &object(it)))).collect();
    let text = yaml::to_string(&document("", items));
    let document = Document { name: Arc::from("<import>"), bytes: Arc::from(text.into_bytes()) };
    let mut findings = Findings::new();
    let mut files = Files::new();
    let topology = topology::parse(&[document], &mut files, &mut findings);
    // What is imported names no files beside it: its paths are those of the proxies' hosts.
    let attachments = BTreeMap::<&str, &[u8]>::new();
    let beside = Beside { files: &files, attachments: &attachments };
    let natives = expand::expand(schema, topology, beside, &mut findings);
    let mut found = BTreeMap::new();
    for native in natives {
        let read = read(schema, native.kind, &native.node, &mut findings);
        found.insert((native.kind, native.name), read);
    }
    let bytes = |message: &Option<DynamicMessage>| message.as_ref().map(|it| canonical::encode(schema, it));
    let equal = expected.len() == found.len()
        && expected.iter().all(|(key, message)| found.get(key).is_some_and(|other| bytes(message) == bytes(other)));
    if equal && !findings.has_errors() {
        return Verdict::Equal;
    }
    let mut nulls = BTreeSet::new();
    for (key, message) in &expected {
        if let (Some(expected), Some(Some(found)), Some(descriptor)) =
            (message, found.get(key), schema.message(key.0.message()))
        {
            let write = |message: &DynamicMessage| json::write(schema, message, Redact::No);
            added(schema, &descriptor, &write(expected), &write(found), &mut nulls);
        }
    }
    Verdict::Differs(nulls)
}

fn object(original: &Original) -> Value {
    Value::Object(original.json.clone())
}

fn message(schema: &Schema, kind: Kind, json: &Value) -> Option<DynamicMessage> {
    read(schema, kind, &json::tree(json), &mut Findings::new())
}

fn read(schema: &Schema, kind: Kind, node: &Node, findings: &mut Findings) -> Option<DynamicMessage> {
    let descriptor = schema.message(kind.message())?;
    Some(json::read(schema, &descriptor, node, &mut Path::new(), findings))
}

/// The fields that one message has and the other has not, wherever both have the same messages.
fn added(schema: &Schema, message: &MessageDescriptor, old: &Value, new: &Value, nulls: &mut BTreeSet<Null>) {
    let (Value::Object(old), Value::Object(new)) = (old, new) else { return };
    if message.full_name() == "google.protobuf.Any" {
        let url = old.get("@type").and_then(Value::as_str).filter(|url| new.get("@type") == Some(&Value::from(*url)));
        let payload = url.and_then(|url| url.rsplit('/').next()).and_then(|name| schema.message(name));
        if let Some(payload) = payload {
            fields(schema, &payload, old, new, nulls);
        }
    } else if !message.full_name().starts_with("google.protobuf.") {
        fields(schema, message, old, new, nulls);
    }
}

fn fields(schema: &Schema, message: &MessageDescriptor, old: &Object, new: &Object, nulls: &mut BTreeSet<Null>) {
    for (key, new) in new {
        let Some(field) = message.get_field_by_name(key) else { continue };
        let Some(old) = old.get(key) else {
            nulls.insert((message.full_name().to_owned(), key.clone()));
            continue;
        };
        let kind = field.kind();
        let Some(inner) = kind.as_message() else { continue };
        match (old, new) {
            (Value::Object(old), Value::Object(new)) if field.is_map() => pairs(schema, inner, old, new, nulls),
            (Value::Array(old), Value::Array(new)) => {
                old.iter().zip(new).for_each(|(old, new)| added(schema, inner, old, new, nulls));
            }
            _ => added(schema, inner, old, new, nulls),
        }
    }
}

fn pairs(
    schema: &Schema,
    pair: &MessageDescriptor,
    old: &Map<String, Value>,
    new: &Map<String, Value>,
    nulls: &mut BTreeSet<Null>,
) {
    let kind = pair.map_entry_value_field().kind();
    let Some(message) = kind.as_message() else { return };
    for (key, old) in old {
        if let Some(new) = new.get(key) {
            added(schema, message, old, new, nulls);
        }
    }
}
