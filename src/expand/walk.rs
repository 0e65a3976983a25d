//! The one walk over everything that is written in the friendly form.
//!
//! It follows the descriptors: every mapping is a message, so every message type can have a [`Hook`] that rewrites what may be
//! written instead. What has no hook is only walked through. It never complains about unknown fields: reading the result
//! strictly does that, for verbatim and friendly text alike.

use crate::diagnostic::{Finding, Findings, Span};
use crate::envoy::{Entry, FieldDescriptor, Kind, MessageDescriptor, Node, Path, Schema, Value};
use crate::topology::StaticResources;

use super::object::is_verbatim;
use super::{Made, Native, hooks};

/// Deepest nesting of messages that is walked; YAML allows less without aliases.
const MAX_DEPTH: usize = 128;

/// Rewrites a node where a message of one type is expected. `None` if that failed: a finding has been made, and the node
/// is left out so that it is not complained about twice.
pub(super) type Hook = fn(&mut Walk<'_>, &MessageDescriptor, Node) -> Option<Node>;

/// Rewrites a mapping where a list of messages of one type is expected.
pub(super) type ListHook = fn(&mut Walk<'_>, Node) -> Option<Node>;

/// Where derived names come from.
#[derive(Clone, Debug, Default)]
pub(super) enum Scope {
    /// Nothing to derive from; where that matters, a finding has been made already.
    #[default]
    Unknown,
    /// Inside a listener, or inside one of its chains if it has several.
    Named {
        /// The listener's name, or `listener/chain`.
        name: String,
        /// How many chains the listener has.
        chains: usize,
    },
    /// Inside one of several chains, which has no name of its own.
    Unnamed(Span),
}

/// The state of the walk through one item.
pub(super) struct Walk<'a> {
    pub(super) schema: &'a Schema,
    pub(super) static_resources: &'a StaticResources,
    pub(super) path: Path,
    pub(super) scope: Scope,
    findings: &'a mut Findings,
    derived: Vec<Made>,
    item: String,
    depth: usize,
}

impl<'a> Walk<'a> {
    pub(super) fn new(
        schema: &'a Schema,
        static_resources: &'a StaticResources,
        findings: &'a mut Findings,
        item: &str,
    ) -> Self {
        Self {
            schema,
            static_resources,
            path: start(item),
            scope: Scope::default(),
            findings,
            derived: Vec::new(),
            item: item.to_owned(),
            depth: 0,
        }
    }

    /// The resources that the item made beside itself.
    pub(super) fn into_derived(self) -> Vec<Made> {
        self.derived
    }

    /// A value where a message is expected.
    pub(super) fn message(&mut self, message: &MessageDescriptor, node: Node) -> Option<Node> {
        let name = message.full_name();
        if node.is_null() || is_verbatim(&node) {
            return Some(node);
        }
        if self.depth == MAX_DEPTH {
            let message = format!("messages are nested more than {MAX_DEPTH} deep");
            self.report("too-deep", node.span, message, "check for aliases that contain each other");
            return None;
        }
        self.depth += 1;
        let node = match hooks::of_message(name) {
            Some(hook) => hook(self, message, node),
            // These have a JSON form of their own, which has no fields.
            None if name.starts_with("google.protobuf.") => Some(node),
            None => Some(self.fields(message, node)),
        };
        self.depth -= 1;
        node
    }

    /// A value where a message of this full name is expected.
    pub(super) fn named(&mut self, message: &str, node: Node) -> Option<Node> {
        match self.schema.message(message) {
            Some(message) => self.message(&message, node),
            None => Some(node),
        }
    }

    /// Every field of a mapping; anything else stays as it is.
    pub(super) fn fields(&mut self, message: &MessageDescriptor, node: Node) -> Node {
        let Value::Map(entries) = node.value else { return node };
        let entry = |entry: Entry| {
            let field = message.get_field_by_name(&entry.key).or_else(|| message.get_field_by_json_name(&entry.key));
            let Some(field) = field else { return Some(entry) };
            self.path.field(field.name());
            let value = self.field(&field, entry.value);
            self.path.pop();
            Some(Entry { value: value?, ..entry })
        };
        Node { span: node.span, value: Value::Map(entries.into_iter().filter_map(entry).collect()) }
    }

    fn field(&mut self, field: &FieldDescriptor, node: Node) -> Option<Node> {
        if node.is_null() {
            return Some(node);
        }
        if field.is_map() {
            let pair = field.kind();
            let values = pair.as_message().map(MessageDescriptor::map_entry_value_field);
            return Some(match values {
                Some(values) => self.values(&values, node),
                None => node,
            });
        }
        if !field.is_list() {
            return self.single(field, node);
        }
        let node = match (&node.value, field.kind().as_message()) {
            (Value::Map(_), Some(message)) => match hooks::of_list(message.full_name()) {
                Some(hook) => hook(self, node)?,
                None => node,
            },
            _ => node,
        };
        let Value::List(items) = node.value else { return Some(node) };
        let item = |(index, item): (usize, Node)| {
            self.path.index(index);
            let item = self.single(field, item);
            self.path.pop();
            item
        };
        Some(Node::list(node.span, items.into_iter().enumerate().filter_map(item).collect()))
    }

    /// The values of a proto map.
    fn values(&mut self, field: &FieldDescriptor, node: Node) -> Node {
        let Value::Map(entries) = node.value else { return node };
        let entry = |entry: Entry| {
            self.path.key(&entry.key);
            let value = self.single(field, entry.value);
            self.path.pop();
            Some(Entry { value: value?, ..entry })
        };
        Node { span: node.span, value: Value::Map(entries.into_iter().filter_map(entry).collect()) }
    }

    /// One value of a field, be the field repeated or not.
    fn single(&mut self, field: &FieldDescriptor, mut node: Node) -> Option<Node> {
        let kind = field.kind();
        if let Some(message) = kind.as_message() {
            return self.message(message, node);
        }
        if let (Some(names), Value::String(text)) = (kind.as_enum(), &mut node.value)
            && let Some(value) = names.values().find(|value| value.name().eq_ignore_ascii_case(text))
        {
            value.name().clone_into(text);
        }
        Some(node)
    }

    /// Makes a resource beside the item, from the friendly form of its kind.
    pub(super) fn derive(&mut self, kind: Kind, name: &str, name_span: Span, node: Node) {
        let path = std::mem::replace(&mut self.path, start(&self.item));
        let node = self.named(kind.message(), node);
        self.path = path;
        if let Some(node) = node {
            self.made(kind, name, name_span, node);
        }
    }

    /// Makes a resource beside the item, from its native form.
    pub(super) fn made(&mut self, kind: Kind, name: &str, name_span: Span, node: Node) {
        let native = Native { kind, name: name.to_owned(), node, path: self.item.clone(), verbatim: false };
        self.derived.push(Made { native, name_span });
    }

    /// The name that resources and statistics derive from where this is; `what` asks for it.
    pub(super) fn derived_name(&mut self, span: Span, what: &str) -> Option<String> {
        match std::mem::take(&mut self.scope) {
            Scope::Unknown => None,
            Scope::Named { name, chains } => {
                self.scope = Scope::Named { name: name.clone(), chains };
                Some(name)
            }
            Scope::Unnamed(chain) => {
                let message = format!("{what} would be named after this filter chain, which has no name");
                let finding = self.finding("unnamed-chain", chain, message);
                let help = "one of several filter chains needs a `name`, or `server_names` in its `filter_chain_match`";
                self.findings.push(finding.help(help).related(span, "the name is needed here"));
                None
            }
        }
    }

    /// Two keys that mean the same thing.
    pub(super) fn exclusive(&mut self, entry: &Entry, other: &str, help: &str) {
        let message = format!("`{}` cannot be given together with `{other}`", entry.key);
        self.report("exclusive-keys", entry.key_span, message, help);
    }

    /// An error at the present path; `help` may be empty.
    pub(super) fn report(&mut self, code: &'static str, span: Span, message: impl Into<String>, help: &str) {
        let finding = self.finding(code, span, message);
        self.findings.push(if help.is_empty() { finding } else { finding.help(help) });
    }

    fn finding(&self, code: &'static str, span: Span, message: impl Into<String>) -> Finding {
        Finding::error(code, span, self.path.to_string(), message)
    }
}

/// The path of an item such as `clusters[0]`.
fn start(item: &str) -> Path {
    let mut path = Path::new();
    path.field(item);
    path
}
