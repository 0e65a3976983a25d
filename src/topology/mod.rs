//! YAML text becomes a located tree, split into sections.
//!
//! Enters: [`Document`]s. Leaves: a [`Topology`] whose every item knows its place. Knows: the names of the sections, and
//! nothing of what stands in them. Invariant: a file that cannot be understood adds an error, never an absence: an empty or
//! truncated file must not look like "remove everything".

mod section;
mod text;
mod yaml;

#[cfg(test)]
mod tests;

use crate::diagnostic::{FileId, Files, Finding, Findings, Span, did_you_mean};
use crate::envoy::{Entry, Kind, Node, Path, Value};
use crate::source::Document;

pub(crate) use section::of_kind as section_of;

/// What the documents say, before any of it is understood as Envoy's.
#[derive(Debug, Default)]
pub struct Topology {
    /// The items of all sections of all documents.
    pub items: Vec<Item>,
    /// Names that exist in the proxies' bootstrap.
    pub static_resources: StaticResources,
}

/// One list item of a section.
#[derive(Debug)]
pub struct Item {
    /// The kind that the section stands for; `None` in `resources`, where `"@type"` decides.
    pub kind: Option<Kind>,
    /// The item as written: a mapping.
    pub node: Node,
    /// Where it stands, such as `clusters[0]`.
    pub path: String,
}

/// Names that exist in the bootstrap of the proxies, so that references to them are not dangling.
#[derive(Clone, Debug, Default)]
pub struct StaticResources {
    /// Names of clusters.
    pub clusters: Vec<String>,
    /// Names of listeners.
    pub listeners: Vec<String>,
    /// Names of secrets.
    pub secrets: Vec<String>,
}

/// Joins all documents of all files into one topology; their order does not matter.
///
/// Every mistake becomes a finding, and what can be understood is returned nevertheless, so that later stages can find more.
/// The files are added to `files`, so that findings can show them.
pub fn parse(documents: &[Document], files: &mut Files, findings: &mut Findings) -> Topology {
    let mut reader = Reader { topology: Topology::default(), findings, first: None, sections: 0 };
    let mut total = 0_usize;
    let before = reader.findings.len();
    for document in documents {
        total = total.saturating_add(document.bytes.len());
        let Some((file, text)) = text::read(document, files, reader.findings) else { continue };
        if total > yaml::MAX_BYTES {
            let message = format!("more than {} MiB of text in all files", yaml::MAX_BYTES >> 20);
            reader.findings.push(Finding::error("yaml-budget", start_of(file), "", message));
            return reader.topology;
        }
        reader.first.get_or_insert(file);
        reader.file(file, &text);
    }
    // A mistake may be what hides the sections.
    if reader.sections == 0 && reader.findings.len() == before {
        let finding = empty("no section says what there is to serve", reader.first.map(start_of));
        reader.findings.push(finding);
    }
    reader.topology
}

/// The YAML documents of a file as located trees, whatever they say; `None` if it cannot be read, which a finding explains.
pub(crate) fn trees(document: &Document, files: &mut Files, findings: &mut Findings) -> Option<Vec<Node>> {
    let (file, text) = text::read(document, files, findings)?;
    yaml::parse(file, &text, findings)
}

/// "There is nothing here", which is an error, because a truncated file looks the same.
fn empty(message: &str, span: Option<Span>) -> Finding {
    let help = "to really remove everything write `version: 1` and `listeners: []`";
    Finding { span, ..Finding::error("empty-topology", Span::default(), "", message).help(help) }
}

/// The first character of a file.
fn start_of(file: FileId) -> Span {
    Span { file, line: 1, column: 1, len: 1 }
}

/// Collects the topology.
struct Reader<'a> {
    topology: Topology,
    findings: &'a mut Findings,
    /// The first file that could be read.
    first: Option<FileId>,
    /// How many sections there were, even empty ones.
    sections: usize,
}

impl Reader<'_> {
    fn file(&mut self, file: FileId, text: &str) {
        let Some(documents) = yaml::parse(file, text, self.findings) else { return };
        if documents.is_empty() {
            self.findings.push(empty("this file is empty", Some(start_of(file))));
        }
        for document in documents {
            self.document(document);
        }
    }

    fn document(&mut self, document: Node) {
        let Value::Map(entries) = document.value else {
            let message =
                format!("a topology is a mapping with `version: 1` and sections, not {}", document.describe());
            self.findings.push(Finding::error("wrong-type", document.span, "", message).help(section::HELP));
            return;
        };
        self.version(document.span, &entries);
        for entry in entries {
            self.section(entry);
        }
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

    fn section(&mut self, entry: Entry) {
        let Entry { key, key_span, value } = entry;
        if key == "version" || key.starts_with("x-") {
            return;
        }
        if key == section::STATIC_RESOURCES {
            self.static_resources(value);
        } else if let Some(section) = section::find(&key) {
            self.sections += usize::from(!value.is_null());
            self.items(&key, section.kind, value);
        } else {
            let message = format!("there is no section `{key}`");
            let finding = Finding::error("unknown-key", key_span, key.clone(), message);
            let help = did_you_mean(&key, section::names()).map(|name| format!("did you mean `{name}`?"));
            self.findings.push(finding.help(help.unwrap_or_else(|| section::HELP.to_owned())));
        }
    }

    fn items(&mut self, section: &str, kind: Option<Kind>, value: Node) {
        let mut path = Path::new();
        path.field(section);
        for (index, node) in self.list(value, &path, "a list of mappings").into_iter().enumerate() {
            path.index(index);
            if let Value::Map(_) = node.value {
                self.topology.items.push(Item { kind, node, path: path.to_string() });
            } else {
                let message = format!("an item of `{section}` must be a mapping, not {}", node.describe());
                self.findings.push(Finding::error("wrong-type", node.span, path.to_string(), message));
            }
            path.pop();
        }
    }

    fn static_resources(&mut self, value: Node) {
        let mut path = Path::new();
        path.field(section::STATIC_RESOURCES);
        let entries = match value.value {
            Value::Map(entries) => entries,
            Value::Null => return,
            _ => {
                let message = format!("`{path}` must be a mapping of lists of names, not {}", value.describe());
                self.findings.push(Finding::error("wrong-type", value.span, path.to_string(), message));
                return;
            }
        };
        for Entry { key, key_span, value } in entries {
            path.field(&key);
            let names = self.names(value, &mut path);
            let StaticResources { clusters, listeners, secrets } = &mut self.topology.static_resources;
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
