//! The one walk over everything that is written in the friendly form.
//!
//! It follows the descriptors: every mapping is a message, so every message type can have a [`Hook`] that rewrites what may be
//! written instead. What has no hook is only walked through. Unknown fields are left for reading the result strictly, which
//! complains about them in verbatim and friendly text alike.

use std::collections::BTreeSet;
use std::sync::Arc;

use crate::diagnostic::{Finding, Findings, Span, did_you_mean};
use crate::envoy::extensions::Category;
use crate::envoy::{Entry, FieldDescriptor, Kind, MAX_DEPTH, MessageDescriptor, Node, Path, Schema, Value};
use crate::topology::{Membership, StaticResources};

use super::extension::Types;
use super::object::{Object, TYPE, is_verbatim};
use super::{Beside, Made, Native, hooks, slot};

/// What may be written where a message of one type is expected.
#[derive(Clone, Copy)]
pub(super) struct Hook {
    /// What stands for the message beside a mapping of its fields.
    pub(super) short: Short,
    /// Rewrites a mapping, around the walk through its fields.
    pub(super) mapping: Option<Mapping>,
}

/// What stands for a message.
#[derive(Clone, Copy)]
pub(super) enum Short {
    /// Nothing but a mapping.
    None,
    /// A text is this field; `a.b` is a field of a field.
    Text(&'static str),
    /// A list is this field.
    List(&'static str),
    /// Whatever is no mapping is this field.
    Any(&'static str),
    /// A text is the key of an empty mapping.
    Key,
    /// Whatever is no mapping is rewritten by this. It returns `None` if it made a finding: the value is then left out, so
    /// that it is not complained about twice.
    Other(fn(&mut Walk<'_>, &Node) -> Option<Node>),
}

/// Rewrites a mapping; most do something, call [`Walk::fields`], and do something more.
pub(super) type Mapping = fn(&mut Walk<'_>, &MessageDescriptor, Object) -> Object;

/// Rewrites a mapping where a list of messages of one type is expected.
pub(super) type ListHook = fn(&mut Walk<'_>, Vec<Entry>) -> Vec<Node>;

/// Rewrites a proto map.
pub(super) type MapHook = fn(&mut Walk<'_>, Vec<Entry>) -> Vec<Entry>;

/// Where derived names come from.
#[derive(Clone, Debug, Default)]
pub(super) enum Scope {
    /// Nothing to derive from; where that matters, a finding has been made already.
    #[default]
    Unknown,
    /// Inside a cluster, inside a listener, or inside one of the listener's chains if it has several.
    Named {
        /// The cluster's or the listener's name, or `listener/chain`.
        name: String,
        /// How many chains the listener has.
        chains: usize,
    },
    /// Inside one of several chains, which has no name of its own.
    Unnamed {
        /// The listener's name.
        listener: String,
        /// The chain.
        chain: Span,
    },
}

/// The state of the walk through one item.
pub(super) struct Walk<'a> {
    pub(super) schema: &'a Schema,
    pub(super) static_resources: &'a StaticResources,
    pub(super) beside: Beside<'a>,
    /// What the `ExtensionConfig` resources are, by their names.
    pub(super) types: &'a Types,
    pub(super) path: Path,
    pub(super) scope: Scope,
    /// What the field asks for whose value comes next; `None` is any extension.
    pub(super) slot: Option<Category>,
    /// Inside a filter chain that speaks HTTP.
    pub(super) http: bool,
    /// Inside a cluster.
    pub(super) upstream: bool,
    /// The host that all endpoints of the cluster are, if that is a name.
    pub(super) host: Option<Node>,
    findings: &'a mut Findings,
    derived: Vec<Made>,
    /// The places of what was taken as it is.
    verbatim: BTreeSet<Span>,
    item: String,
    depth: usize,
}

impl<'a> Walk<'a> {
    pub(super) fn new(
        schema: &'a Schema,
        static_resources: &'a StaticResources,
        beside: Beside<'a>,
        types: &'a Types,
        findings: &'a mut Findings,
        item: &str,
    ) -> Self {
        Self {
            schema,
            static_resources,
            beside,
            types,
            path: start(item),
            scope: Scope::default(),
            slot: None,
            http: false,
            upstream: false,
            host: None,
            findings,
            derived: Vec::new(),
            verbatim: BTreeSet::new(),
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
        if node.is_null() {
            return Some(node);
        }
        if is_verbatim(&node) {
            return Some(self.verbatim(name, node));
        }
        if self.depth == MAX_DEPTH {
            let message = format!("messages are nested more than {MAX_DEPTH} deep");
            self.report("too-deep", node.span, message, "check for aliases that contain each other");
            return None;
        }
        self.depth += 1;
        let hook = hooks::of_message(name);
        let node = self.mapping(hook.short, node).map(|node| match Object::open(node) {
            Ok(object) => match hook.mapping {
                Some(rewrite) => rewrite(self, message, object).close(),
                // These have a JSON form of their own, which has no fields.
                None if name.starts_with("google.protobuf.") => object.close(),
                None => self.fields(message, object).close(),
            },
            Err(node) => node,
        });
        self.depth -= 1;
        node
    }

    /// What is taken as it is. Envoy knows `"@type"` in an `Any` only; elsewhere it has served its purpose, unless it is not
    /// the message that is expected: that is complained about when it is read strictly.
    fn verbatim(&mut self, message: &str, node: Node) -> Node {
        let url = node.get(TYPE).and_then(Node::as_str).unwrap_or_default();
        if message == "google.protobuf.Any" || url.rsplit('/').next() != Some(message) {
            return node;
        }
        self.verbatim.insert(node.span);
        match Object::open(node) {
            Ok(mut object) => {
                object.take(TYPE);
                object.close()
            }
            Err(node) => node,
        }
    }

    /// Whether this was written with `"@type"`.
    pub(super) fn was_verbatim(&self, node: &Node) -> bool {
        self.verbatim.contains(&node.span) || is_verbatim(node)
    }

    /// A mapping instead of what stands for it.
    fn mapping(&mut self, short: Short, node: Node) -> Option<Node> {
        let span = node.span;
        let path = match (short, &node.value) {
            (_, Value::Map(_)) => return Some(node),
            (Short::Other(rewrite), _) => return rewrite(self, &node),
            (Short::Key, Value::String(key)) => return Some(Node::map(span, [(key, Node::map::<&str>(span, []))])),
            (Short::Text(path), Value::String(_)) | (Short::List(path), Value::List(_)) | (Short::Any(path), _) => path,
            _ => return Some(node),
        };
        Some(path.rsplit('.').fold(node, |node, field| Node::map(span, [(field, node)])))
    }

    /// A value where a message of this full name is expected.
    pub(super) fn named(&mut self, message: &str, node: Node) -> Option<Node> {
        match self.schema.message(message) {
            Some(message) => self.message(&message, node),
            None => Some(node),
        }
    }

    /// Every field of a mapping.
    pub(super) fn fields(&mut self, message: &MessageDescriptor, object: Object) -> Object {
        let entry = |entry: Entry| {
            let field = message.get_field_by_name(&entry.key).or_else(|| message.get_field_by_json_name(&entry.key));
            let Some(field) = field else { return self.unknown(message, entry) };
            self.path.field(&field);
            let span = entry.value.span;
            // `null` says that something was there and is complained about already.
            let value = self.field(&field, entry.value).unwrap_or(Node { span, value: Value::Null });
            self.path.pop();
            Some(Entry { value, ..entry })
        };
        object.filter_map(entry)
    }

    /// A key that is no field. Reading the result strictly complains about it, unless it was meant to be a hoisted key,
    /// of which only the hooks know.
    fn unknown(&mut self, message: &MessageDescriptor, entry: Entry) -> Option<Entry> {
        let hoisted = hooks::hoisted(message.full_name());
        let fields: Vec<FieldDescriptor> = message.fields().collect();
        let known = hoisted.iter().copied().chain(fields.iter().map(FieldDescriptor::name));
        let meant = did_you_mean(&entry.key, known).filter(|meant| hoisted.contains(meant));
        let Some(meant) = meant.filter(|meant| *meant != entry.key) else { return Some(entry) };
        let text = format!("unknown field `{}` in {}", entry.key, message.full_name());
        self.report("unknown-field", entry.key_span, text, &format!("did you mean `{meant}`?"));
        None
    }

    fn field(&mut self, field: &FieldDescriptor, node: Node) -> Option<Node> {
        if node.is_null() {
            return Some(node);
        }
        if field.is_map() {
            let pair = field.kind();
            let values = pair.as_message().map(MessageDescriptor::map_entry_value_field);
            let node = match (node, hooks::of_map(field.name())) {
                (Node { span, value: Value::Map(entries) }, Some(hook)) => {
                    Node { span, value: Value::Map(hook(self, entries)) }
                }
                (node, _) => node,
            };
            return Some(match values {
                Some(values) => self.values(&values, node),
                None => node,
            });
        }
        if !field.is_list() {
            return self.single(field, node);
        }
        let span = node.span;
        let hook = field.kind().as_message().and_then(|message| hooks::of_list(message.full_name()));
        let items = match (node.value, hook) {
            (Value::List(items), _) => items,
            (Value::Map(entries), Some(hook)) => hook(self, entries),
            (value, _) => return Some(Node { span, value }),
        };
        let item = |(index, item): (usize, Node)| {
            self.path.index(index);
            let item = self.single(field, item);
            self.path.pop();
            item
        };
        Some(Node::list(span, items.into_iter().enumerate().filter_map(item).collect()))
    }

    /// The values of a proto map.
    fn values(&mut self, field: &FieldDescriptor, node: Node) -> Node {
        let object = match Object::open(node) {
            Ok(object) => object,
            Err(node) => return node,
        };
        let entry = |entry: Entry| {
            self.path.key(&entry.key);
            let value = self.single(field, entry.value);
            self.path.pop();
            Some(Entry { value: value?, ..entry })
        };
        object.filter_map(entry).close()
    }

    /// One value of a field, be the field repeated or not.
    fn single(&mut self, field: &FieldDescriptor, mut node: Node) -> Option<Node> {
        let kind = field.kind();
        if let Some(message) = kind.as_message() {
            self.slot = slot::of_field(field, message);
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
        let native = Native {
            kind,
            name: name.to_owned(),
            node: Arc::new(node),
            path: self.item.clone(),
            verbatim: false,
            on_demand: false,
            item: 0,
            broken: false,
            groups: Membership::default(),
        };
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
            Scope::Unnamed { listener, chain } => {
                let message = format!("{what} would be named after this filter chain, which has no name");
                let finding = self.finding("unnamed-chain", chain, message);
                let help = "one of several filter chains needs a `name`, or `server_names` in its `filter_chain_match`";
                self.findings.push(finding.help(help).related(span, "the name is needed here"));
                // Nothing is published with an error; with some name, no more errors follow from this one.
                let name = format!("{listener}/{}:{}", chain.line, chain.column);
                self.scope = Scope::Named { name: name.clone(), chains: 1 };
                Some(name)
            }
        }
    }

    /// Names the statistics of a filter after where it is, unless they have a name.
    pub(super) fn stat_prefix(&mut self, filter: &mut Object) {
        let span = filter.span;
        if !filter.has("stat_prefix")
            && let Some(name) = self.derived_name(span, "`stat_prefix`")
        {
            // These would split the names of statistics.
            let prefix = name.replace(['/', '.', '*'], "_");
            filter.lead("stat_prefix", Node::string(span, prefix));
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

    /// An error at the present path, and the place that it contradicts.
    pub(super) fn report_beside(&mut self, code: &'static str, span: Span, message: String, first: Span) {
        let finding = self.finding(code, span, message).related(first, "first given here");
        self.findings.push(finding);
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
