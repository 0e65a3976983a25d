//! YAML text becomes a located tree, split into sections.
//!
//! Enters: [`Document`]s. Leaves: a [`Topology`] whose every item knows its place and the node groups that it is for. Knows:
//! the names of the sections and what chooses a node's group, and nothing of what stands in the sections. Invariant: a file
//! that cannot be understood adds an error, never an absence: an empty or truncated file must not look like "remove
//! everything".

mod membership;
mod memory;
mod node_group;
mod node_match;
mod reader;
mod section;
mod selector;
mod text;
mod text_match;
mod yaml;

#[cfg(test)]
mod tests;

use std::sync::Arc;

use crate::diagnostic::{FileId, Files, Finding, Findings, Span};
use crate::envoy::{Kind, Node};
use crate::source::Document;

pub use membership::Membership;
pub use memory::Memory;
pub use selector::{Conditions, DEFAULT_GROUP, NodeFields, Selector, Selectors};
pub use text_match::TextMatch;

pub(crate) use section::of_kind as section_of;

/// What the documents say, before any of it is understood as Envoy's.
#[derive(Debug, Default)]
pub struct Topology {
    /// The items of all sections of all documents.
    pub items: Vec<Item>,
    /// Changes to what the items stand for.
    pub patches: Vec<Patch>,
    /// The node groups in the order in which they are tried; without definitions one that takes every node.
    pub node_groups: Arc<[NodeGroup]>,
    /// Names that exist in the bootstrap of any proxy.
    pub static_resources: StaticResources,
}

/// One list item of a section.
#[derive(Debug)]
pub struct Item {
    /// The kind that the section stands for; `None` in `resources`, where `"@type"` decides.
    pub kind: Option<Kind>,
    /// The item as written: a mapping. While its file stays the same, it is the same one in every build.
    pub node: Arc<Node>,
    /// Where it stands, such as `clusters[0]`.
    pub path: String,
    /// The node groups that its document is for.
    pub groups: Membership,
}

/// One list item of the section `patches`.
#[derive(Debug)]
pub struct Patch {
    /// The item as written: a mapping.
    pub node: Node,
    /// Where it stands, such as `patches[0]`.
    pub path: String,
    /// The node groups that its document is for.
    pub groups: Membership,
    /// Which document it stands in.
    pub document: usize,
}

/// One node group.
#[derive(Clone, Debug)]
pub struct NodeGroup {
    /// Its name.
    pub name: Arc<str>,
    /// Its nodes, but for those that an earlier group takes.
    pub selector: Selector,
    /// Names that exist in the bootstrap of its proxies.
    pub static_resources: StaticResources,
}

/// Names that exist in the bootstrap of the proxies, so that references to them are not dangling.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct StaticResources {
    /// Names of clusters.
    pub clusters: Vec<String>,
    /// Names of listeners.
    pub listeners: Vec<String>,
    /// Names of secrets.
    pub secrets: Vec<String>,
}

impl StaticResources {
    fn add(&mut self, other: &Self) {
        let Self { clusters, listeners, secrets } = other;
        self.clusters.extend_from_slice(clusters);
        self.listeners.extend_from_slice(listeners);
        self.secrets.extend_from_slice(secrets);
    }
}

/// Joins all documents of all files into one topology; their order does not matter.
///
/// Every mistake becomes a finding, and what can be understood is returned nevertheless, so that later stages can find more.
/// The files are added to `files`, so that findings can show them.
pub fn parse(documents: &[Document], files: &mut Files, findings: &mut Findings) -> Topology {
    Memory::default().parse(documents, files, findings)
}

/// The YAML documents of a file as located trees, whatever they say; `None` if it cannot be read, which a finding explains.
pub(crate) fn trees(document: &Document, files: &mut Files, findings: &mut Findings) -> Option<Vec<Node>> {
    let file = files.next_id();
    let (text, flaw) = text::read(document, file);
    files.add_as(file, Arc::clone(&document.name), Arc::clone(&text));
    if let Some(flaw) = flaw {
        findings.push(flaw);
        return None;
    }
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
