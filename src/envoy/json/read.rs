//! JSON → message: the walk over fields.

use std::collections::BTreeSet;
use std::ops::Bound;

use prost_reflect::{
    DynamicMessage, FieldDescriptor, Kind, MapKey, MessageDescriptor, ReflectMessage as _, Value as Proto,
};

use crate::diagnostic::{Finding, Findings, Span, did_you_mean};
use crate::envoy::{Entry, MAX_DEPTH, Node, Path, Schema, Segment};

/// Reads a message from its JSON form: unknown fields, wrong types, values out of range and the like are errors, all of
/// them are found, and the message has everything else.
///
/// `path` is where `node` stands; findings extend it.
pub fn read(
    schema: &Schema,
    descriptor: &MessageDescriptor,
    node: &Node,
    path: &mut Path,
    findings: &mut Findings,
) -> DynamicMessage {
    read_noting(schema, descriptor, node, path, findings, 0).0
}

/// The paths that have an error, or that a misspelled field was probably meant for: nothing more needs to be said of them.
#[derive(Debug, Default)]
pub(in crate::envoy) struct Mistakes {
    places: BTreeSet<Vec<Segment>>,
    /// Where nothing could be read, so that what the message has there means nothing.
    unread: BTreeSet<Vec<Segment>>,
}

impl Mistakes {
    /// Whether a mistake stands at the path or below it, or hides it.
    pub(in crate::envoy) fn within(&self, path: &Path) -> bool {
        self.at_or_below(path).next().is_some() || self.hide(path)
    }

    /// Whether a mistake stands at a field of the message at the path.
    pub(in crate::envoy) fn directly_in(&self, path: &Path) -> bool {
        let depth = path.segments().len();
        self.at_or_below(path).any(|mistake| mistake.len() <= depth + 1)
    }

    /// Whether what was written at the path, or around it, could not be read.
    pub(in crate::envoy) fn hide(&self, path: &Path) -> bool {
        let segments = path.segments();
        !self.unread.is_empty() && (0..=segments.len()).any(|end| self.unread.contains(&segments[..end]))
    }

    fn at_or_below(&self, path: &Path) -> impl Iterator<Item = &Vec<Segment>> {
        let from = (Bound::Included(path.segments()), Bound::Unbounded);
        self.places.range::<[Segment], _>(from).take_while(|mistake| mistake.starts_with(path.segments()))
    }
}

/// [`read`], beginning at a depth, with the places of the errors.
pub(in crate::envoy) fn read_noting(
    schema: &Schema,
    descriptor: &MessageDescriptor,
    node: &Node,
    path: &mut Path,
    findings: &mut Findings,
    depth: usize,
) -> (DynamicMessage, Mistakes) {
    let mut reader = Reader { schema, path, findings, mistakes: Mistakes::default(), depth };
    let mut message = DynamicMessage::new(descriptor.clone());
    reader.message(&mut message, node);
    (message, reader.mistakes)
}

pub(super) struct Reader<'a> {
    pub(super) schema: &'a Schema,
    pub(super) path: &'a mut Path,
    findings: &'a mut Findings,
    mistakes: Mistakes,
    pub(super) depth: usize,
}

impl Reader<'_> {
    /// Reports an error at the current path.
    pub(super) fn error(&mut self, code: &'static str, span: Span, message: impl Into<String>) {
        self.report(Finding::error(code, span, self.path.to_string(), message));
    }

    /// Reports an error at the current path, with a remedy.
    pub(super) fn error_help(
        &mut self,
        code: &'static str,
        span: Span,
        message: impl Into<String>,
        help: impl Into<String>,
    ) {
        self.report(Finding::error(code, span, self.path.to_string(), message).help(help));
    }

    fn report(&mut self, finding: Finding) {
        self.mistakes.places.insert(self.path.segments().to_vec());
        self.findings.push(finding);
    }

    /// Notes that nothing could be read at the current path.
    fn unread(&mut self) {
        self.mistakes.unread.insert(self.path.segments().to_vec());
    }

    /// Reports something that Envoy takes all the same.
    pub(super) fn warning(&mut self, code: &'static str, span: Span, message: impl Into<String>) {
        self.findings.push(Finding::warning(code, span, self.path.to_string(), message));
    }

    /// Runs a step one field deeper in the path.
    pub(super) fn in_field<T>(&mut self, name: &str, step: impl FnOnce(&mut Self) -> T) -> T {
        self.path.field(name);
        let result = step(self);
        self.path.pop();
        result
    }

    /// Runs a step one message deeper; beyond the budget it reports that instead.
    pub(super) fn nested<T>(&mut self, span: Span, step: impl FnOnce(&mut Self) -> T) -> Option<T> {
        if self.depth >= MAX_DEPTH {
            self.error("too-deep", span, format!("nested too deeply: more than {MAX_DEPTH} messages in each other"));
            return None;
        }
        self.depth += 1;
        let result = step(self);
        self.depth -= 1;
        Some(result)
    }

    /// Fills a message, whatever its JSON form is.
    pub(super) fn message(&mut self, message: &mut DynamicMessage, node: &Node) {
        self.nested(node.span, |reader| {
            if !reader.well_known(message, node) {
                reader.plain_message(message, node, false);
            }
        });
    }

    /// Fills a message from a mapping of its fields; in an `Any`, `@type` stands among them.
    pub(super) fn plain_message(&mut self, message: &mut DynamicMessage, node: &Node, in_any: bool) {
        let descriptor = message.descriptor();
        let Some(entries) = node.entries() else {
            let expected = format!("expected a mapping with the fields of {}", descriptor.full_name());
            self.error("type", node.span, format!("{expected}, got {}", node.describe()));
            return self.unread();
        };
        let mut seen: Vec<(FieldDescriptor, Span)> = Vec::with_capacity(entries.len());
        for entry in entries {
            if in_any && entry.key == "@type" {
                continue;
            }
            let by_name = descriptor.get_field_by_name(&entry.key);
            let Some(field) = by_name.or_else(|| descriptor.get_field_by_json_name(&entry.key)) else {
                self.unknown_field(&descriptor, entry);
                continue;
            };
            self.path.field(&field);
            if self.is_first_of_its_kind(&field, entry, &seen) {
                let is_set = !entry.value.is_null() || takes_null(&field);
                if is_set && let Some(value) = self.field(&field, &entry.value) {
                    message.set_field(&field, value);
                }
                if is_set {
                    seen.push((field, entry.key_span));
                }
            }
            self.path.pop();
        }
    }

    fn unknown_field(&mut self, descriptor: &MessageDescriptor, entry: &Entry) {
        let owner = descriptor.full_name();
        let names: Vec<FieldDescriptor> = descriptor.fields().collect();
        let meant = did_you_mean(&entry.key, names.iter().map(FieldDescriptor::name));
        if let Some(meant) = meant {
            let mut suspect = self.path.segments().to_vec();
            suspect.push(Segment::Field(meant.into()));
            self.mistakes.places.insert(suspect);
        }
        let removed = descriptor.reserved_names().any(|name| name == entry.key);
        self.in_field(&entry.key, |reader| {
            let message = match entry.key.as_str() {
                "@type" => format!("`@type` stands only in a google.protobuf.Any, and this is {owner}"),
                key if removed => format!("the field `{key}` was removed from {owner}"),
                key => format!("unknown field `{key}` in {owner}"),
            };
            match meant {
                Some(meant) => {
                    reader.error_help("unknown-field", entry.key_span, message, format!("did you mean `{meant}`?"));
                }
                None => reader.error("unknown-field", entry.key_span, message),
            }
        });
    }

    /// Whether neither the field nor another one of its oneof was given before.
    fn is_first_of_its_kind(
        &mut self,
        field: &FieldDescriptor,
        entry: &Entry,
        seen: &[(FieldDescriptor, Span)],
    ) -> bool {
        let (code, message, first) = if let Some((_, first)) = seen.iter().find(|(other, _)| other == field) {
            let (name, json) = (field.name(), field.json_name());
            ("duplicate-field", format!("the field is given twice, as `{name}` and as `{json}`"), *first)
        } else if entry.value.is_null() {
            return true;
        } else if let Some(oneof) = field.containing_oneof()
            && let Some((other, first)) =
                seen.iter().find(|(other, _)| other.containing_oneof().as_ref() == Some(&oneof))
        {
            let (one, two) = (other.name(), field.name());
            ("oneof", format!("`{one}` and `{two}` are alternatives (oneof `{}`): set only one", oneof.name()), *first)
        } else {
            return true;
        };
        let finding = Finding::error(code, entry.key_span, self.path.to_string(), message);
        self.report(finding.related(first, "the other one is here"));
        false
    }

    fn field(&mut self, field: &FieldDescriptor, node: &Node) -> Option<Proto> {
        if field.is_map() {
            return self.map(field, node);
        }
        if !field.is_list() {
            return self.single(&field.kind(), node);
        }
        let Some(items) = node.items() else {
            self.error_help(
                "type",
                node.span,
                format!("expected a list, got {}", node.describe()),
                "write a list, even of one element",
            );
            return None;
        };
        let kind = field.kind();
        let mut values = Vec::with_capacity(items.len());
        for (index, item) in items.iter().enumerate() {
            self.path.index(index);
            // Something has to stand there, or else the indices of what follows would shift.
            values.push(self.single(&kind, item).unwrap_or_else(|| {
                self.unread();
                Proto::default_value(&kind)
            }));
            self.path.pop();
        }
        Some(Proto::List(values))
    }

    fn map(&mut self, field: &FieldDescriptor, node: &Node) -> Option<Proto> {
        let Some(entries) = node.entries() else {
            self.error("type", node.span, format!("expected a mapping, got {}", node.describe()));
            return None;
        };
        let Kind::Message(entry_type) = field.kind() else { return None };
        let key_kind = entry_type.map_entry_key_field().kind();
        let value_kind = entry_type.map_entry_value_field().kind();
        let read = |reader: &mut Self, entry: &Entry| {
            reader.path.key(entry.key.as_str());
            let key = reader.map_key(&key_kind, entry);
            let value = reader.nested(entry.value.span, |reader| reader.single(&value_kind, &entry.value)).flatten();
            reader.path.pop();
            Some((key?, value?))
        };
        Some(Proto::Map(entries.iter().filter_map(|entry| read(self, entry)).collect()))
    }

    fn map_key(&mut self, kind: &Kind, entry: &Entry) -> Option<MapKey> {
        let key = match kind {
            Kind::String => return Some(MapKey::String(entry.key.clone())),
            Kind::Bool => entry.key.parse().ok().map(MapKey::Bool),
            Kind::Int32 | Kind::Sint32 | Kind::Sfixed32 => entry.key.parse().ok().map(MapKey::I32),
            Kind::Int64 | Kind::Sint64 | Kind::Sfixed64 => entry.key.parse().ok().map(MapKey::I64),
            Kind::Uint32 | Kind::Fixed32 => entry.key.parse().ok().map(MapKey::U32),
            Kind::Uint64 | Kind::Fixed64 => entry.key.parse().ok().map(MapKey::U64),
            _ => None,
        };
        if key.is_none() {
            self.error("type", entry.key_span, format!("`{}` cannot be a key of this mapping", entry.key));
        }
        key
    }

    /// One value of a field, an element of a list, or a value of a map.
    pub(super) fn single(&mut self, kind: &Kind, node: &Node) -> Option<Proto> {
        Some(match kind {
            Kind::Bool => Proto::Bool(self.boolean(node)?),
            Kind::String => Proto::String(self.string(node)?),
            Kind::Bytes => Proto::Bytes(self.bytes(node)?),
            Kind::Double => Proto::F64(self.double(node)?),
            Kind::Float => Proto::F32(self.float(node)?),
            Kind::Int32 | Kind::Sint32 | Kind::Sfixed32 => Proto::I32(self.integer(node)?),
            Kind::Int64 | Kind::Sint64 | Kind::Sfixed64 => Proto::I64(self.integer(node)?),
            Kind::Uint32 | Kind::Fixed32 => Proto::U32(self.integer(node)?),
            Kind::Uint64 | Kind::Fixed64 => Proto::U64(self.integer(node)?),
            Kind::Enum(descriptor) => Proto::EnumNumber(self.enumeration(descriptor, node)?),
            Kind::Message(descriptor) => {
                if node.is_null() && descriptor.full_name() != "google.protobuf.Value" {
                    self.error("type", node.span, "null is not allowed here");
                    return None;
                }
                let mut message = DynamicMessage::new(descriptor.clone());
                self.message(&mut message, node);
                Proto::Message(message)
            }
        })
    }
}

/// Whether `null` is a value of the field, not its absence.
fn takes_null(field: &FieldDescriptor) -> bool {
    !field.is_list()
        && !field.is_map()
        && match field.kind() {
            Kind::Message(descriptor) => descriptor.full_name() == "google.protobuf.Value",
            Kind::Enum(descriptor) => descriptor.full_name() == "google.protobuf.NullValue",
            _ => false,
        }
}
