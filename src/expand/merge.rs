//! RFC 7396 (JSON Merge Patch) on proto3 JSON, where one field has two spellings.

use crate::diagnostic::Span;
use crate::envoy::{Entry, FieldDescriptor, Kind, MessageDescriptor, Node, Schema, Value};

use super::object::TYPE;

/// What is known of the mapping that is being merged.
#[derive(Clone)]
enum Shape {
    /// A message: keys are fields.
    Message(MessageDescriptor),
    /// A proto map: keys are themselves, and every value is like this field.
    Map(FieldDescriptor),
    /// `Any`: it says itself what it is.
    Any,
    /// A `Struct`, or something that no descriptor knows.
    Other,
}

/// A value that a patch sets or removes.
#[derive(Clone, Debug)]
pub(super) struct Leaf {
    path: Vec<String>,
    /// Where the patch gives it.
    pub(super) span: Span,
}

impl Leaf {
    /// Whether both set the same value, or one replaces what the other sets a part of.
    pub(super) fn clashes(&self, other: &Self) -> bool {
        self.path.iter().zip(&other.path).all(|(a, b)| a == b)
    }

    /// The path in the resource.
    pub(super) fn name(&self) -> String {
        self.path.join(".")
    }
}

/// One patch on its way into one resource.
pub(super) struct Merge<'a> {
    schema: &'a Schema,
    path: Vec<String>,
    leaves: Vec<Leaf>,
}

impl<'a> Merge<'a> {
    pub(super) fn new(schema: &'a Schema) -> Self {
        Self { schema, path: Vec::new(), leaves: Vec::new() }
    }

    /// What the patch set.
    pub(super) fn into_leaves(self) -> Vec<Leaf> {
        self.leaves
    }

    /// A resource with a patch merged in. What the patch says keeps its own place in the sources.
    pub(super) fn resource(&mut self, kind: Kind, target: Node, patch: &Node) -> Node {
        let shape = self.schema.message(kind.message()).map_or(Shape::Other, Shape::Message);
        self.merge(Some(target), patch, &shape)
    }

    fn merge(&mut self, target: Option<Node>, patch: &Node, shape: &Shape) -> Node {
        let Value::Map(changes) = &patch.value else {
            self.leaf(patch.span);
            return patch.clone();
        };
        let (span, mut entries) = match target {
            Some(Node { span, value: Value::Map(entries) }) => (span, entries),
            _ => (patch.span, Vec::new()),
        };
        let shape = self.resolve(shape, &entries, changes);
        for Entry { key, key_span, value } in changes {
            let name = field_name(&shape, key);
            let position = entries.iter().position(|entry| field_name(&shape, &entry.key) == name);
            self.path.push(name);
            if value.is_null() {
                self.leaf(*key_span);
                if let Some(position) = position {
                    entries.remove(position);
                } else if is_unknown(&shape, key) {
                    // Reading it strictly tells of it.
                    entries.push(Entry::new(key, *key_span, value.clone()));
                }
            } else {
                let child = child(&shape, key);
                if let Some(position) = position {
                    let entry = &mut entries[position];
                    let old = std::mem::replace(&mut entry.value, Node { span, value: Value::Null });
                    entry.key_span = *key_span;
                    entry.value = self.merge(Some(old), value, &child);
                } else {
                    let value = self.merge(None, value, &child);
                    entries.push(Entry { key: key.clone(), key_span: *key_span, value });
                }
            }
            self.path.pop();
        }
        Node { span, value: Value::Map(entries) }
    }

    fn leaf(&mut self, span: Span) {
        self.leaves.push(Leaf { path: self.path.clone(), span });
    }

    /// An `Any` is the message that the patch, or else the target, says it is.
    fn resolve(&self, shape: &Shape, target: &[Entry], patch: &[Entry]) -> Shape {
        let Shape::Any = shape else { return shape.clone() };
        let url = patch.iter().chain(target).find(|entry| entry.key == TYPE).and_then(|entry| entry.value.as_str());
        let name = url.map(|url| url.rsplit('/').next().unwrap_or(url));
        name.and_then(|name| self.schema.message(name)).map_or(Shape::Other, of_message)
    }
}

fn of_message(message: MessageDescriptor) -> Shape {
    match message.full_name() {
        "google.protobuf.Any" => Shape::Any,
        name if name.starts_with("google.protobuf.") => Shape::Other,
        _ => Shape::Message(message),
    }
}

fn of_field(field: &FieldDescriptor) -> Shape {
    field.kind().as_message().map_or(Shape::Other, |message| of_message(message.clone()))
}

fn field(message: &MessageDescriptor, key: &str) -> Option<FieldDescriptor> {
    message.get_field_by_name(key).or_else(|| message.get_field_by_json_name(key))
}

/// The one spelling of a key.
fn field_name(shape: &Shape, key: &str) -> String {
    match shape {
        Shape::Message(message) => field(message, key).map_or_else(|| key.to_owned(), |field| field.name().to_owned()),
        Shape::Map(_) | Shape::Any | Shape::Other => key.to_owned(),
    }
}

/// Whether a key is none of a message's fields.
fn is_unknown(shape: &Shape, key: &str) -> bool {
    matches!(shape, Shape::Message(message) if field(message, key).is_none())
}

/// What is known of the value of a key.
fn child(shape: &Shape, key: &str) -> Shape {
    match shape {
        Shape::Message(message) => match field(message, key) {
            Some(field) if field.is_map() => {
                let values = field.kind().as_message().map(MessageDescriptor::map_entry_value_field);
                values.map_or(Shape::Other, Shape::Map)
            }
            // Lists are replaced as a whole.
            Some(field) if field.is_list() => Shape::Other,
            Some(field) => of_field(&field),
            None => Shape::Other,
        },
        Shape::Map(values) => of_field(values),
        Shape::Any | Shape::Other => Shape::Other,
    }
}
