//! Located JSON: the one tree that users' YAML, its expansion and Envoy's JSON form share.
//!
//! Every key and every value knows its place in a source file. What the expansion adds points at the text that asked
//! for it, so that a finding about a generated field still names a line that the user wrote.

use std::cmp::Ordering;
use std::fmt;

use prost_reflect::FieldDescriptor;

use super::place;
use crate::diagnostic::Span;

/// A value and its place.
#[derive(Clone, Debug, PartialEq)]
pub struct Node {
    /// Where the value was written, or the text that caused it.
    pub span: Span,
    /// The value.
    pub value: Value,
}

/// A JSON value. Numbers keep their source text: what they mean depends on the field that takes them.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    /// `null`.
    Null,
    /// `true` or `false`.
    Bool(bool),
    /// A number as written, such as `1.10`.
    Number(String),
    /// A string.
    String(String),
    /// A list.
    List(Vec<Node>),
    /// A mapping, in source order, without duplicate keys.
    Map(Vec<Entry>),
}

/// One key of a mapping with its value.
#[derive(Clone, Debug, PartialEq)]
pub struct Entry {
    /// The key.
    pub key: String,
    /// Where the key was written.
    pub key_span: Span,
    /// The value.
    pub value: Node,
}

impl Entry {
    /// An entry that the expansion adds on behalf of the text at `span`.
    pub fn new(key: impl Into<String>, span: Span, value: Node) -> Self {
        Self { key: key.into(), key_span: span, value }
    }
}

impl Node {
    /// A string.
    pub fn string(span: Span, text: impl Into<String>) -> Self {
        Self { span, value: Value::String(text.into()) }
    }

    /// A number.
    pub fn number(span: Span, number: impl fmt::Display) -> Self {
        Self { span, value: Value::Number(number.to_string()) }
    }

    /// A boolean.
    pub fn bool(span: Span, value: bool) -> Self {
        Self { span, value: Value::Bool(value) }
    }

    /// A list.
    pub fn list(span: Span, items: Vec<Node>) -> Self {
        Self { span, value: Value::List(items) }
    }

    /// A mapping.
    pub fn map<K: Into<String>>(span: Span, entries: impl IntoIterator<Item = (K, Node)>) -> Self {
        let entries = entries.into_iter().map(|(key, value)| Entry::new(key, span, value)).collect();
        Self { span, value: Value::Map(entries) }
    }

    /// The text of a string.
    pub fn as_str(&self) -> Option<&str> {
        if let Value::String(text) = &self.value { Some(text) } else { None }
    }

    /// The entries of a mapping.
    pub fn entries(&self) -> Option<&[Entry]> {
        if let Value::Map(entries) = &self.value { Some(entries) } else { None }
    }

    /// The items of a list.
    pub fn items(&self) -> Option<&[Node]> {
        if let Value::List(items) = &self.value { Some(items) } else { None }
    }

    /// The entry of a mapping's key.
    pub fn entry(&self, key: &str) -> Option<&Entry> {
        self.entries()?.iter().find(|entry| entry.key == key)
    }

    /// The value of a mapping's key.
    pub fn get(&self, key: &str) -> Option<&Node> {
        self.entry(key).map(|entry| &entry.value)
    }

    /// Whether the value is `null`.
    pub fn is_null(&self) -> bool {
        self.value == Value::Null
    }

    /// The place of the value that `path` leads to, or of the innermost value on the way to it.
    pub fn locate(&self, path: &Path) -> Span {
        place::locate(self, path.segments()).span
    }

    /// What kind of value this is, for messages: "a string", "a mapping" …
    pub fn describe(&self) -> &'static str {
        match &self.value {
            Value::Null => "null",
            Value::Bool(_) => "a boolean",
            Value::Number(_) => "a number",
            Value::String(_) => "a string",
            Value::List(_) => "a list",
            Value::Map(_) => "a mapping",
        }
    }
}

/// One step of a field path.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Segment {
    /// A field of a message, by its proto name, or a key of the tree.
    Field(FieldName),
    /// An element of a list.
    Index(usize),
    /// A key of a proto map.
    Key(String),
}

/// The name of a field. Walks step into many fields and speak of few, so a name that a descriptor has is not copied.
#[derive(Clone, Debug)]
pub struct FieldName(Name);

#[derive(Clone, Debug)]
enum Name {
    Known(FieldDescriptor),
    Text(String),
}

impl FieldName {
    /// The name.
    pub fn as_str(&self) -> &str {
        match &self.0 {
            Name::Known(field) => field.name(),
            Name::Text(name) => name,
        }
    }
}

impl From<&FieldDescriptor> for FieldName {
    fn from(field: &FieldDescriptor) -> Self {
        Self(Name::Known(field.clone()))
    }
}

impl From<&str> for FieldName {
    fn from(name: &str) -> Self {
        Self(Name::Text(name.to_owned()))
    }
}

impl From<&String> for FieldName {
    fn from(name: &String) -> Self {
        Self::from(name.as_str())
    }
}

impl PartialEq for FieldName {
    fn eq(&self, other: &Self) -> bool {
        self.as_str() == other.as_str()
    }
}

impl Eq for FieldName {}

impl PartialOrd for FieldName {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for FieldName {
    fn cmp(&self, other: &Self) -> Ordering {
        self.as_str().cmp(other.as_str())
    }
}

impl fmt::Display for FieldName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A field path such as `clusters[0].metadata.filter_metadata["envoy.lb"]`.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Path(Vec<Segment>);

impl Path {
    /// The empty path.
    pub fn new() -> Self {
        Self::default()
    }

    /// Steps into a field.
    pub fn field(&mut self, name: impl Into<FieldName>) {
        self.0.push(Segment::Field(name.into()));
    }

    /// Steps into a list element.
    pub fn index(&mut self, index: usize) {
        self.0.push(Segment::Index(index));
    }

    /// Steps into a map value.
    pub fn key(&mut self, key: impl Into<String>) {
        self.0.push(Segment::Key(key.into()));
    }

    /// Steps out again.
    pub fn pop(&mut self) {
        self.0.pop();
    }

    /// The steps from the root.
    pub fn segments(&self) -> &[Segment] {
        &self.0
    }
}

impl fmt::Display for Path {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (position, segment) in self.0.iter().enumerate() {
            match segment {
                Segment::Field(name) if position == 0 => write!(f, "{name}")?,
                Segment::Field(name) => write!(f, ".{name}")?,
                Segment::Index(index) => write!(f, "[{index}]")?,
                Segment::Key(key) => write!(f, "[{key:?}]")?,
            }
        }
        Ok(())
    }
}
