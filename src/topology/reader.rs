//! The outline of documents: versions, sections, and lists of items.

use std::sync::Arc;

use crate::diagnostic::{FileId, Finding, Findings, Span, did_you_mean};
use crate::envoy::{Entry, Kind, Node, Path, Value};

use super::node_group::{self, Definitions};
use super::section::{self, Content};
use super::{Item, Membership, NodeGroup, Patch, StaticResources, Topology, empty, start_of, yaml};

/// What one document adds to the topology.
#[derive(Debug, Default)]
struct Part {
    items: Vec<(Option<Kind>, Arc<Node>, String)>,
    patches: Vec<(Node, String)>,
    static_resources: StaticResources,
    /// `node_group`, if it is given.
    node_group: Option<Node>,
}

/// What one file says.
#[derive(Debug, Default)]
pub(super) struct Outline {
    pub(super) findings: Findings,
    /// How many sections with resources there are, even empty ones.
    pub(super) sections: usize,
    parts: Vec<Part>,
    /// Every `node_groups`, with the place of the key.
    definitions: Vec<(Span, Node)>,
}

/// Joins what files say: gives every item its groups, which any document may define.
pub(super) fn join(outlines: &[Arc<Outline>], findings: &mut Findings) -> Topology {
    let definitions = outlines.iter().flat_map(|outline| outline.definitions.iter().cloned()).collect();
    let Definitions { mut groups, complete } = node_group::definitions(definitions, findings);
    let mut topology = Topology::default();
    for (document, part) in outlines.iter().flat_map(|outline| &outline.parts).enumerate() {
        let Part { items, patches, static_resources, node_group } = part;
        let membership = match node_group {
            None => Membership::all(groups.len()),
            Some(node) => node_group::membership(node, &groups, complete, findings),
        };
        for group in membership.iter() {
            groups[group].static_resources.add(static_resources);
        }
        topology.static_resources.add(static_resources);
        topology.items.extend(items.iter().map(|(kind, node, path)| {
            let groups = membership.clone();
            Item { kind: *kind, node: Arc::clone(node), path: path.clone(), groups }
        }));
        topology.patches.extend(patches.iter().map(|(node, path)| {
            let groups = membership.clone();
            Patch { node: node.clone(), path: path.clone(), groups, document }
        }));
    }
    topology.node_groups = Arc::<[NodeGroup]>::from(groups);
    topology
}

impl Outline {
    /// Reads a file's text.
    pub(super) fn of(file: FileId, text: &str) -> Self {
        let mut outline = Self::default();
        let Some(documents) = yaml::parse(file, text, &mut outline.findings) else { return outline };
        if documents.is_empty() {
            outline.findings.push(empty("this file is empty", Some(start_of(file))));
        }
        for document in documents {
            outline.document(document);
        }
        outline
    }

    fn document(&mut self, document: Node) {
        let Value::Map(entries) = document.value else {
            let message =
                format!("a topology is a mapping with `version: 1` and sections, not {}", document.describe());
            self.findings.push(Finding::error("wrong-type", document.span, "", message).help(section::HELP));
            return;
        };
        self.version(document.span, &entries);
        let mut part = Part::default();
        for entry in entries {
            self.section(entry, &mut part);
        }
        self.parts.push(part);
    }

    fn version(&mut self, span: Span, entries: &[Entry]) {
        let Some(entry) = entries.iter().find(|entry| entry.key == "version" && !entry.value.is_null()) else {
            let message = "this document does not say which version of the language it is written in";
            let finding = Finding::error("missing-version", span, "version", message);
            self.findings.push(finding.help("add `version: 1`; every document of a file has its own"));
            return;
        };
        let message = match &entry.value.value {
            Value::Number(number) if number == "1" => return,
            Value::Number(number) => format!("version {number} of the language is not known"),
            _ => format!("`version` must be the number 1, not {}", entry.value.describe()),
        };
        let finding = Finding::error("unsupported-version", entry.value.span, "version", message);
        self.findings.push(finding.help("write `version: 1`"));
    }

    fn section(&mut self, entry: Entry, part: &mut Part) {
        let Entry { key, key_span, value } = entry;
        if key == "version" || key.starts_with("x-") {
            return;
        }
        let Some(section) = section::find(&key) else {
            let message = format!("there is no section `{key}`");
            let finding = Finding::error("unknown-key", key_span, key.clone(), message);
            let help = did_you_mean(&key, section::names()).map(|name| format!("did you mean `{name}`?"));
            self.findings.push(finding.help(help.unwrap_or_else(|| section::HELP.to_owned())));
            return;
        };
        match section.content {
            Content::Resources(kind) => {
                self.sections += usize::from(!value.is_null());
                let items = self.items(&key, value);
                part.items.extend(items.into_iter().map(|(node, path)| (kind, Arc::new(node), path)));
            }
            Content::Patches => part.patches = self.items(&key, value),
            Content::StaticResources => part.static_resources = self.static_resources(value),
            Content::NodeGroup => part.node_group = Some(value),
            Content::NodeGroups => self.definitions.push((key_span, value)),
        }
    }

    /// The mappings of a list, each with its path.
    fn items(&mut self, section: &str, value: Node) -> Vec<(Node, String)> {
        let mut items = Vec::new();
        let mut path = Path::new();
        path.field(section);
        for (index, node) in self.list(value, &path, "a list of mappings").into_iter().enumerate() {
            path.index(index);
            if let Value::Map(_) = node.value {
                items.push((node, path.to_string()));
            } else {
                let message = format!("an item of `{section}` must be a mapping, not {}", node.describe());
                self.findings.push(Finding::error("wrong-type", node.span, path.to_string(), message));
            }
            path.pop();
        }
        items
    }

    fn static_resources(&mut self, value: Node) -> StaticResources {
        let mut all = StaticResources::default();
        let mut path = Path::new();
        path.field(section::STATIC_RESOURCES);
        let entries = match value.value {
            Value::Map(entries) => entries,
            Value::Null => return all,
            _ => {
                let message = format!("`{path}` must be a mapping of lists of names, not {}", value.describe());
                self.findings.push(Finding::error("wrong-type", value.span, path.to_string(), message));
                return all;
            }
        };
        for Entry { key, key_span, value } in entries {
            path.field(&key);
            let names = self.names(value, &mut path);
            let StaticResources { clusters, listeners, secrets } = &mut all;
            match key.as_str() {
                "clusters" => clusters.extend(names),
                "listeners" => listeners.extend(names),
                "secrets" => secrets.extend(names),
                _ => {
                    let message = format!("`{key}` cannot be named here");
                    let finding = Finding::error("unknown-key", key_span, path.to_string(), message);
                    self.findings.push(finding.help("names of `clusters`, `listeners` and `secrets` can be given"));
                }
            }
            path.pop();
        }
        all
    }

    fn names(&mut self, value: Node, path: &mut Path) -> Vec<String> {
        let mut names = Vec::new();
        for (index, node) in self.list(value, path, "a list of names").into_iter().enumerate() {
            match node.value {
                Value::String(name) if !name.is_empty() => names.push(name),
                _ => {
                    path.index(index);
                    let message = format!("a name is expected here, not {}", node.describe());
                    let finding = Finding::error("wrong-type", node.span, path.to_string(), message);
                    self.findings
                        .push(finding.help("only names stand here; the resources are in the proxies' bootstrap"));
                    path.pop();
                }
            }
        }
        names
    }

    /// The items of a list; `null` is an absent one.
    fn list(&mut self, value: Node, path: &Path, expected: &str) -> Vec<Node> {
        match value.value {
            Value::List(items) => items,
            Value::Null => Vec::new(),
            _ => {
                let message = format!("`{path}` must be {expected}, not {}", value.describe());
                let finding = Finding::error("wrong-type", value.span, path.to_string(), message);
                self.findings.push(finding.help("start each item with `- `; an empty list is `[]`"));
                Vec::new()
            }
        }
    }
}
