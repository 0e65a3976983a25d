//! Where in a tree something is, or would be.

use crate::diagnostic::Span;
use crate::envoy::{Entry, Node, Segment};

/// Where a path leads in a tree.
pub(super) struct Place<'a> {
    /// The value, or the innermost one on the way to it.
    pub(super) span: Span,
    /// The value's key, if the whole path is there.
    pub(super) key: Option<Span>,
    /// The value, if the whole path is there.
    pub(super) node: Option<&'a Node>,
}

/// Follows a path as far as it goes; fields are found by either of their names.
pub(super) fn locate<'a>(root: &'a Node, segments: &[Segment]) -> Place<'a> {
    let mut place = Place { span: root.span, key: None, node: Some(root) };
    for segment in segments {
        let Some(node) = place.node else { break };
        let (key, next) = match segment {
            Segment::Index(index) => (None, node.items().and_then(|items| items.get(*index))),
            Segment::Key(key) => {
                let entry = node.entry(key);
                (entry.map(|entry| entry.key_span), entry.map(|entry| &entry.value))
            }
            Segment::Field(name) => {
                let entry = find(node, name.as_str());
                (entry.map(|entry| entry.key_span), entry.map(|entry| &entry.value))
            }
        };
        place = Place { span: next.map_or(place.span, |next| next.span), key, node: next };
    }
    place
}

/// The entry of a field, by either of its names.
pub(super) fn find<'a>(node: &'a Node, field: &str) -> Option<&'a Entry> {
    node.entries()?.iter().find(|entry| entry.key == field || is_camel_of(&entry.key, field))
}

/// Whether a key is the JSON name of a field.
fn is_camel_of(key: &str, field: &str) -> bool {
    let mut upper = false;
    let mut rest = key.chars();
    for c in field.chars() {
        if c == '_' {
            upper = true;
            continue;
        }
        let expected = if std::mem::take(&mut upper) { c.to_ascii_uppercase() } else { c };
        if rest.next() != Some(expected) {
            return false;
        }
    }
    rest.next().is_none()
}
