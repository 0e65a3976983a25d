//! What is imported: the resources of a static bootstrap, or of the files of Envoy's filesystem xDS.

use std::collections::BTreeMap;

use serde_json::Value as Json;

use super::fold::Object;
use crate::diagnostic::{Files, Finding, Findings, Level, Span};
use crate::envoy::json::{self, Redact};
use crate::envoy::{Entry, FieldDescriptor, Kind, MessageDescriptor, Node, Path, Schema, Value};
use crate::source::Document;
use crate::topology;

/// The code of what stays behind.
const LEFT_OUT: &str = "not-imported";

/// What a static bootstrap may say beside its resources; anything else there is none of Envoy's.
const BOOTSTRAP: &str = "envoy.config.bootstrap.v3.Bootstrap";

/// What a discovery response, or what `render` prints, may say beside its resources.
const RESPONSE: [&str; 7] =
    ["version", "version_info", "resources", "node_group", "type_url", "nonce", "control_plane"];

/// A resource as it was written, brought into Envoy's canonical JSON.
#[derive(Clone, Debug)]
pub(super) struct Original {
    pub(super) kind: Kind,
    pub(super) name: String,
    /// The fields, without `"@type"`.
    pub(super) json: Object,
    pub(super) span: Span,
    /// Whether it stood in `static_resources`, where references need no source.
    pub(super) is_static: bool,
}

/// The resources for each node group; the empty name stands for all groups.
pub(super) type Originals = BTreeMap<String, Vec<Original>>;

/// Reads everything; what is not understood becomes an error, what has no place in a topology a warning.
pub(super) fn read(schema: &Schema, documents: &[Document], files: &mut Files, findings: &mut Findings) -> Originals {
    let mut reader = Reader { schema, findings, originals: Originals::new(), group: String::new() };
    for document in documents {
        for tree in topology::trees(document, files, reader.findings).unwrap_or_default() {
            reader.document(tree);
        }
    }
    reader.originals
}

/// A warning about something that stays behind.
pub(super) fn left_out(span: Span, path: &str, why: &str) -> Finding {
    Finding::warning(LEFT_OUT, span, path, format!("`{path}` is left out: {why}"))
}

struct Reader<'a> {
    schema: &'a Schema,
    findings: &'a mut Findings,
    originals: Originals,
    group: String,
}

impl Reader<'_> {
    fn document(&mut self, document: Node) {
        let (span, found) = (document.span, document.describe());
        let Value::Map(entries) = document.value else {
            let message = format!("a mapping is expected here, not {found}");
            self.findings.push(Finding::error("wrong-type", span, "", message));
            return;
        };
        let has = |name: &str| entries.iter().any(|entry| is(&entry.key, name));
        if has("resources") {
            self.response(entries);
        } else if has("static_resources") || entries.iter().any(|entry| self.is_bootstrap(&entry.key)) {
            self.group.clear();
            self.bootstrap(entries);
        } else {
            let message = "this is neither a static Envoy configuration nor a file of filesystem xDS";
            let help = "`static_resources` or `resources` is expected at the top";
            self.findings.push(Finding::error("not-envoy", span, "", message).help(help));
        }
    }

    fn is_bootstrap(&self, key: &str) -> bool {
        let fields = self.schema.message(BOOTSTRAP);
        fields.is_some_and(|message| find(&message, key).is_some())
    }

    fn bootstrap(&mut self, entries: Vec<Entry>) {
        for Entry { key, key_span, value } in entries {
            if is(&key, "static_resources") {
                for Entry { key, key_span, value } in into_entries(value) {
                    let kind = match key.as_str() {
                        "listeners" => Kind::Listener,
                        "clusters" => Kind::Cluster,
                        "secrets" => Kind::Secret,
                        _ => {
                            let path = format!("static_resources.{key}");
                            self.findings.push(left_out(key_span, &path, "it is none of xDS's resources"));
                            continue;
                        }
                    };
                    for (index, item) in into_items(value).into_iter().enumerate() {
                        self.original(kind, item, &format!("static_resources.{key}[{index}]"), true);
                    }
                }
            } else if is(&key, "layered_runtime") {
                self.runtime(value);
            } else if key.starts_with("x-") {
            } else if self.is_bootstrap(&key) {
                let why = "it belongs to the proxies' own bootstrap; see `chancery bootstrap`";
                self.findings.push(left_out(key_span, &key, why));
            } else {
                let message = format!("Envoy's bootstrap has no field `{key}`");
                self.findings.push(Finding::error("unknown-field", key_span, key, message));
            }
        }
    }

    /// Static layers are served over RTDS; the other layers stay where they are.
    fn runtime(&mut self, runtime: Node) {
        let layers = into_entries(runtime).into_iter().find(|entry| is(&entry.key, "layers"));
        for (index, layer) in layers.map(|entry| into_items(entry.value)).unwrap_or_default().into_iter().enumerate() {
            let path = format!("layered_runtime.layers[{index}]");
            let span = layer.span;
            let entries = into_entries(layer);
            let field = |name: &str| entries.iter().find(|entry| is(&entry.key, name)).map(|entry| entry.value.clone());
            let (Some(name), Some(content)) = (field("name"), field("static_layer")) else {
                self.findings.push(left_out(span, &path, "only static layers can be served"));
                continue;
            };
            if let Some(name) = name.as_str() {
                let message = format!(
                    "`{path}` is served over RTDS now: the proxies' bootstrap needs an `rtds_layer` of the name `{name}`"
                );
                self.findings.push(Finding { level: Level::Info, ..Finding::warning(LEFT_OUT, span, &path, message) });
            }
            self.original(Kind::Runtime, Node::map(span, [("name", name), ("layer", content)]), &path, false);
        }
    }

    fn response(&mut self, entries: Vec<Entry>) {
        let group = entries.iter().find(|entry| entry.key == "node_group");
        group.and_then(|entry| entry.value.as_str()).unwrap_or_default().clone_into(&mut self.group);
        for Entry { key, key_span, value } in entries {
            if key == "resources" {
                for (index, item) in into_items(value).into_iter().enumerate() {
                    self.item(item, &format!("resources[{index}]"));
                }
            } else if !RESPONSE.iter().any(|known| is(&key, known)) && !key.starts_with("x-") {
                self.findings.push(left_out(key_span, &key, "it is no part of a discovery response"));
            }
        }
    }

    fn item(&mut self, item: Node, path: &str) {
        let span = item.span;
        let url = item.get("@type").and_then(Node::as_str).unwrap_or_default().to_owned();
        let name = url.rsplit('/').next().unwrap_or_default();
        if name == "envoy.service.discovery.v3.Resource"
            && let Some(inner) = item.get("resource")
        {
            return self.item(inner.clone(), &format!("{path}.resource"));
        }
        let Some(kind) = Kind::ALL.into_iter().find(|kind| kind.message() == name) else {
            let message = if url.is_empty() {
                "this resource does not say by `\"@type\"` what it is".to_owned()
            } else {
                format!("`{url}` is not a type of resource that xDS serves")
            };
            self.findings.push(Finding::error("unknown-resource-type", span, path, message));
            return;
        };
        let mut entries = into_entries(item);
        entries.retain(|entry| entry.key != "@type");
        self.original(kind, Node { span, value: Value::Map(entries) }, path, false);
    }

    fn original(&mut self, kind: Kind, mut node: Node, path: &str, is_static: bool) {
        let Some(message) = self.schema.message(kind.message()) else { return };
        let span = node.span;
        enums(self.schema, &message, &mut node);
        let mut at = Path::new();
        at.field(path);
        let message = json::read(self.schema, &message, &node, &mut at, self.findings);
        let Json::Object(json) = json::write(self.schema, &message, Redact::No) else { return };
        let name = json.get(kind.name_field()).and_then(Json::as_str).unwrap_or_default().to_owned();
        self.originals.entry(self.group.clone()).or_default().push(Original { kind, name, json, span, is_static });
    }
}

/// Envoy's own loader takes enum values in any case.
fn enums(schema: &Schema, message: &MessageDescriptor, node: &mut Node) {
    let payload = if message.full_name() == "google.protobuf.Any" {
        let url = node.get("@type").and_then(Node::as_str).and_then(|url| url.rsplit('/').next());
        url.and_then(|name| schema.message(name)).filter(|it| it.full_name() != "google.protobuf.Any")
    } else {
        Some(message.clone())
    };
    let (Some(message), Value::Map(entries)) = (payload, &mut node.value) else { return };
    for entry in entries {
        let Some(field) = find(&message, &entry.key) else { continue };
        let kind = field.kind();
        let value_kind = kind.as_message().filter(|_| field.is_map()).map(|pair| pair.map_entry_value_field().kind());
        let kind = value_kind.unwrap_or(kind);
        let values: Vec<&mut Node> = match &mut entry.value.value {
            Value::List(items) if field.is_list() => items.iter_mut().collect(),
            Value::Map(entries) if field.is_map() => entries.iter_mut().map(|entry| &mut entry.value).collect(),
            _ => vec![&mut entry.value],
        };
        for value in values {
            if let Some(message) = kind.as_message() {
                enums(schema, message, value);
            } else if let (Some(names), Value::String(text)) = (kind.as_enum(), &mut value.value)
                && let Some(known) = names.values().find(|known| known.name().eq_ignore_ascii_case(text))
            {
                known.name().clone_into(text);
            }
        }
    }
}

fn find(message: &MessageDescriptor, key: &str) -> Option<FieldDescriptor> {
    message.get_field_by_name(key).or_else(|| message.get_field_by_json_name(key))
}

/// Whether a key is the field of this name, in proto or JSON spelling.
fn is(key: &str, name: &str) -> bool {
    key.eq_ignore_ascii_case(&name.replace('_', "")) || key == name
}

fn into_entries(node: Node) -> Vec<Entry> {
    if let Value::Map(entries) = node.value { entries } else { Vec::new() }
}

fn into_items(node: Node) -> Vec<Node> {
    if let Value::List(items) = node.value { items } else { Vec::new() }
}
