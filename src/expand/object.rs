//! A mapping while it is being rewritten.

use crate::diagnostic::Span;
use crate::envoy::{Entry, Node, Value};

/// A mapping whose keys are field names, in proto (`rds`, `stat_prefix`) or JSON spelling (`statPrefix`).
#[derive(Debug)]
pub(super) struct Object {
    pub(super) span: Span,
    entries: Vec<Entry>,
}

impl Object {
    /// An empty one that the text at `span` asked for.
    pub(super) fn new(span: Span) -> Self {
        Self { span, entries: Vec::new() }
    }

    /// The mapping of a node, or the node itself if it is none.
    pub(super) fn open(node: Node) -> Result<Self, Node> {
        match node.value {
            Value::Map(entries) => Ok(Self { span: node.span, entries }),
            _ => Err(node),
        }
    }

    /// The mapping as a node again.
    pub(super) fn close(self) -> Node {
        Node { span: self.span, value: Value::Map(self.entries) }
    }

    /// Whether the key was written, be it with `null`.
    pub(super) fn has(&self, name: &str) -> bool {
        self.entries.iter().any(|entry| is(&entry.key, name))
    }

    /// The entry of a field that is set.
    pub(super) fn entry(&self, name: &str) -> Option<&Entry> {
        self.entries.iter().find(|entry| is(&entry.key, name) && !entry.value.is_null())
    }

    /// The value of a field that is set.
    pub(super) fn get(&self, name: &str) -> Option<&Node> {
        self.entry(name).map(|entry| &entry.value)
    }

    /// The value of a field that is set, to be changed.
    pub(super) fn get_mut(&mut self, name: &str) -> Option<&mut Node> {
        self.entries
            .iter_mut()
            .find(|entry| is(&entry.key, name) && !entry.value.is_null())
            .map(|entry| &mut entry.value)
    }

    /// Removes a key and returns its entry; `null` is as good as absent.
    pub(super) fn take(&mut self, name: &str) -> Option<Entry> {
        self.take_written(name).filter(|entry| !entry.value.is_null())
    }

    /// Removes a key and returns its entry, be it `null`.
    pub(super) fn take_written(&mut self, name: &str) -> Option<Entry> {
        let position = self.entries.iter().position(|entry| is(&entry.key, name))?;
        Some(self.entries.remove(position))
    }

    /// Adds a field that is not there yet.
    pub(super) fn set(&mut self, name: &str, key_span: Span, value: Node) {
        self.entries.push(Entry::new(name, key_span, value));
    }

    /// Adds an entry that was taken elsewhere.
    pub(super) fn push(&mut self, entry: Entry) {
        self.entries.push(entry);
    }

    /// Adds a field unless its key was written: an explicit `null` keeps its default away.
    pub(super) fn default(&mut self, name: &str, value: Node) {
        if !self.has(name) {
            self.set(name, self.span, value);
        }
    }

    /// Puts a field first, where readers of the result look for it.
    pub(super) fn lead(&mut self, name: &str, value: Node) {
        self.entries.insert(0, Entry::new(name, value.span, value));
    }

    /// Removes all entries of which something holds, and returns them.
    pub(super) fn split(&mut self, holds: impl Fn(&Entry) -> bool) -> Vec<Entry> {
        let (taken, kept) = std::mem::take(&mut self.entries).into_iter().partition(holds);
        self.entries = kept;
        taken
    }

    /// The same with each entry changed or left out.
    pub(super) fn filter_map(self, change: impl FnMut(Entry) -> Option<Entry>) -> Self {
        Self { span: self.span, entries: self.entries.into_iter().filter_map(change).collect() }
    }

    /// All entries.
    pub(super) fn entries(&self) -> &[Entry] {
        &self.entries
    }
}

/// The value of a field of a mapping, if it is set.
pub(super) fn find<'a>(node: &'a Node, name: &str) -> Option<&'a Node> {
    let entry = node.entries()?.iter().find(|entry| is(&entry.key, name))?;
    Some(&entry.value).filter(|value| !value.is_null())
}

/// Whether a key is the field of this proto name, in either spelling.
pub(super) fn is(key: &str, name: &str) -> bool {
    if key == name {
        return true;
    }
    let mut upper = false;
    let camel = name.chars().filter_map(|c| {
        if c == '_' {
            upper = true;
            return None;
        }
        Some(if std::mem::take(&mut upper) { c.to_ascii_uppercase() } else { c })
    });
    camel.eq(key.chars())
}

/// `"@type"` with the fields of a message.
pub(super) fn typed(message: &str, node: Node) -> Node {
    let span = node.span;
    let url = Node::string(span, format!("type.googleapis.com/{message}"));
    match node.value {
        Value::Map(mut entries) => {
            entries.insert(0, Entry::new(TYPE, span, url));
            Node { span, value: Value::Map(entries) }
        }
        _ => Node::map(span, [(TYPE, url)]),
    }
}

/// The key that says what a mapping is, and that it is to be taken as it is.
pub(super) const TYPE: &str = "@type";

/// Whether a node is taken as it is.
pub(super) fn is_verbatim(node: &Node) -> bool {
    node.entry(TYPE).is_some()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_found_in_both_spellings() {
        assert!(is("stat_prefix", "stat_prefix") && is("statPrefix", "stat_prefix") && is("rds", "rds"));
        assert!(
            !is("StatPrefix", "stat_prefix") && !is("stat_prefixes", "stat_prefix") && !is("statprefix", "stat_prefix")
        );
        assert!(is("http2ProtocolOptions", "http2_protocol_options"));
    }
}
