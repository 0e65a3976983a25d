//! YAML text → located trees, behind one function.
//!
//! The library infers a plain scalar's type, which loses how it was written: `1.10` and `0755` would come back as 1.1 and
//! 755. So numbers are cut out of the source text afterwards, and what they mean is left to the field that takes them.
//!
//! Where an alias is used, the aliased node itself stands where it is used, and what is inside it where it was written:
//! that is the text which an author has to change.

mod explain;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::thread;

use serde::de::{Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_saphyr::options::NonFiniteFloatPolicy;
use serde_saphyr::{DuplicateKeyPolicy, Location, MergeKeyPolicy, Options, Spanned};

use crate::diagnostic::{FileId, Finding, Findings, Span};
use crate::envoy::{Entry, Node, Value};

/// The longest text that is read, in bytes.
pub(super) const MAX_BYTES: usize = 256 << 20;

/// The longest single text, in bytes. It is copied from stage to stage, and no client takes a resource of that size.
const MAX_SCALAR: usize = 16 << 20;

/// What the library is told of a longer one; it adds the place.
const TOO_LONG: &str = "one text is too long";

/// Deepest nesting of lists and mappings.
const MAX_DEPTH: usize = 64;

/// Stack of the thread that parses, in bytes; only what is used of it is ever backed by memory.
const STACK: usize = 32 << 20;

/// Most documents in one file.
const MAX_DOCUMENTS: usize = 1_000;

/// All documents of a text that are neither empty nor `null`. `None` if it is not YAML; a finding then says why.
///
/// A duplicate key is an error as well, but the rest of the tree is still worth looking at: the first one stays.
pub(super) fn parse(file: FileId, text: &str, findings: &mut Findings) -> Option<Vec<Node>> {
    let read = || {
        let documents = serde_saphyr::from_multiple_with_options::<Located>(text, options());
        documents.map_err(|error| Box::new(explain::finding(file, &error)))
    };
    // The library recurses, and an unoptimised build needs more than a thread usually has for the deepest allowed tree.
    let outcome = thread::scope(|scope| match thread::Builder::new().stack_size(STACK).spawn_scoped(scope, read) {
        Ok(reader) => reader.join().unwrap_or_else(|_| Err(whole(file, "the YAML parser failed on this file".into()))),
        Err(error) => Err(whole(file, format!("cannot start a thread to parse this file: {error}"))),
    });
    match outcome {
        Ok(documents) => {
            let mut finish = Finish { file, text, findings };
            Some(documents.into_iter().map(|document| finish.document(document)).collect())
        }
        Err(finding) => {
            findings.push(*finding);
            None
        }
    }
}

/// A finding about a file as a whole.
fn whole(file: FileId, message: String) -> Box<Finding> {
    Box::new(Finding::error("yaml-budget", Span { file, ..Span::default() }, "", message))
}

/// Budgets fit a topology of tens of thousands of clusters, which has millions of nodes; aliases may share much, but not
/// blow up a small file into a huge tree.
fn options() -> Options {
    serde_saphyr::options! {
        budget: serde_saphyr::budget! {
            max_reader_input_bytes: Some(MAX_BYTES),
            max_nodes: 10_000_000,
            max_events: 20_000_000,
            max_total_scalar_bytes: MAX_BYTES,
            max_depth: MAX_DEPTH,
            max_documents: MAX_DOCUMENTS,
            max_anchors: 10_000,
            max_aliases: 100_000,
            enforce_alias_anchor_ratio: false,
            max_merge_keys: 10_000,
        },
        alias_limits: serde_saphyr::alias_limits! {
            max_total_replayed_events: 2_000_000,
            max_replay_stack_depth: 4,
        },
        // Found by `Finish`, which names both places and goes on.
        duplicate_keys: DuplicateKeyPolicy::PassThrough,
        merge_keys: MergeKeyPolicy::Merge,
        strict_booleans: true,
        reject_unsupported_tags: true,
        non_finite_float_policy: NonFiniteFloatPolicy::PassThrough,
        with_snippet: false,
    }
}

/// A node as the library hands it over: its span says where it was written, `used` where it stands. Numbers are not text
/// yet but [`held`] places in it.
struct Located {
    used: Span,
    node: Node,
}

impl Located {
    /// The node inside a parent that stands at `parent`: aliased nodes stand where the alias is, their contents do not.
    fn settle(self, parent: Span) -> Node {
        let Self { used, mut node } = self;
        if used != parent {
            node.span = used;
        }
        node
    }
}

/// An entry of a mapping that stands at `parent`.
fn entry(key: Spanned<String>, value: Located, parent: Span) -> Entry {
    let (used, written) = (place(key.referenced), place(key.defined));
    // What `<<: *anchor` brings along is inside the alias, as a whole.
    let merged = used != written && used == value.used;
    let (key_span, parent) = if merged {
        (written, used)
    } else if used == parent {
        (written, parent)
    } else {
        (used, parent)
    };
    Entry { key: key.value, key_span, value: value.settle(parent) }
}

/// A value before its place is known.
enum Content {
    Scalar(Value),
    Number,
    List(Vec<Located>),
    Map(Vec<(Spanned<String>, Located)>),
}

impl<'de> Deserialize<'de> for Located {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let Spanned { value, referenced, defined } = Spanned::<Content>::deserialize(deserializer)?;
        let (used, span) = (place(referenced), place(defined));
        let value = match value {
            Content::Scalar(value) => value,
            Content::Number => Value::Number(held(defined)),
            Content::List(items) => Value::List(items.into_iter().map(|item| item.settle(used)).collect()),
            Content::Map(entries) => {
                Value::Map(entries.into_iter().map(|(key, value)| entry(key, value, used)).collect())
            }
        };
        Ok(Self { used, node: Node { span, value } })
    }
}

impl<'de> Deserialize<'de> for Content {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(ContentVisitor)
    }
}

struct ContentVisitor;

impl<'de> Visitor<'de> for ContentVisitor {
    type Value = Content;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value")
    }

    fn visit_unit<E>(self) -> Result<Content, E> {
        Ok(Content::Scalar(Value::Null))
    }

    fn visit_bool<E>(self, value: bool) -> Result<Content, E> {
        Ok(Content::Scalar(Value::Bool(value)))
    }

    fn visit_u64<E>(self, _: u64) -> Result<Content, E> {
        Ok(Content::Number)
    }

    fn visit_i64<E>(self, _: i64) -> Result<Content, E> {
        Ok(Content::Number)
    }

    fn visit_f64<E>(self, _: f64) -> Result<Content, E> {
        Ok(Content::Number)
    }

    fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<Content, E> {
        if text.len() > MAX_SCALAR { Err(E::custom(TOO_LONG)) } else { self.visit_string(text.to_owned()) }
    }

    fn visit_string<E: serde::de::Error>(self, text: String) -> Result<Content, E> {
        if text.len() > MAX_SCALAR { Err(E::custom(TOO_LONG)) } else { Ok(Content::Scalar(Value::String(text))) }
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Content, A::Error> {
        let mut items = Vec::new();
        while let Some(item) = list.next_element()? {
            items.push(item);
        }
        Ok(Content::List(items))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Content, A::Error> {
        let mut entries = Vec::new();
        while let Some(entry) = map.next_entry()? {
            entries.push(entry);
        }
        Ok(Content::Map(entries))
    }
}

/// The span of a location; which file it is in is filled in later.
fn place(location: Location) -> Span {
    let number = |wide: u64| u32::try_from(wide).unwrap_or(u32::MAX);
    Span {
        file: FileId::default(),
        line: number(location.line()),
        column: number(location.column()),
        len: number(location.span().len()),
    }
}

/// Where a number's text is: its byte offset and length.
fn held(location: Location) -> String {
    let span = location.span();
    format!("{} {}", span.byte_offset().unwrap_or(0), span.byte_len().unwrap_or(0))
}

/// The number that was [`held`], as it was written.
fn written<'a>(text: &'a str, held: &str) -> &'a str {
    let (start, len) = held.split_once(' ').unwrap_or_default();
    let (start, len): (usize, usize) = (start.parse().unwrap_or(0), len.parse().unwrap_or(0));
    let text = text.get(start..start.saturating_add(len)).unwrap_or_default();
    // `!!int "5"` is a number as well.
    let text = if text.starts_with('!') { text.rsplit(char::is_whitespace).next().unwrap_or_default() } else { text };
    text.trim().trim_matches(['"', '\''])
}

/// What needs the whole text: file ids, the text of numbers, duplicate keys.
struct Finish<'a> {
    file: FileId,
    text: &'a str,
    findings: &'a mut Findings,
}

impl Finish<'_> {
    fn document(&mut self, document: Located) -> Node {
        let mut node = document.node;
        self.node(&mut node);
        node
    }

    fn node(&mut self, node: &mut Node) {
        node.span.file = self.file;
        match &mut node.value {
            Value::Number(number) => *number = written(self.text, number).to_owned(),
            Value::List(items) => items.iter_mut().for_each(|item| self.node(item)),
            Value::Map(entries) => {
                for entry in entries.iter_mut() {
                    entry.key_span.file = self.file;
                    self.node(&mut entry.value);
                }
                self.duplicates(entries);
                // A block mapping has no text of its own; its first key is what an underline can show.
                if let (0, Some(first)) = (node.span.len, entries.first())
                    && (first.key_span.line, first.key_span.column) == (node.span.line, node.span.column)
                {
                    node.span.len = first.key_span.len;
                }
            }
            Value::Null | Value::Bool(_) | Value::String(_) => {}
        }
    }

    fn duplicates(&mut self, entries: &mut Vec<Entry>) {
        let mut first: BTreeMap<&str, Span> = BTreeMap::new();
        let mut second = BTreeSet::new();
        for (position, entry) in entries.iter().enumerate() {
            match first.get(entry.key.as_str()) {
                Some(place) => {
                    let message = format!("the key `{}` is given twice in one mapping", entry.key);
                    let finding = Finding::error("duplicate-key", entry.key_span, "", message)
                        .related(*place, "first given here")
                        .help("keep one of the two");
                    self.findings.push(finding);
                    second.insert(position);
                }
                None => {
                    first.insert(&entry.key, entry.key_span);
                }
            }
        }
        let mut position = 0..;
        entries.retain(|_| position.next().is_none_or(|position| !second.contains(&position)));
    }
}
