//! YAML text becomes a located tree, split into sections.
//!
//! Enters: [`Document`](crate::source::Document)s. Leaves: a [`Topology`] whose every item knows its place.

use crate::envoy::{Kind, Node};

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
    /// The item as written.
    pub node: Node,
    /// Where it stands, such as `clusters[0]`.
    pub path: String,
}

/// Names that exist in the bootstrap of the proxies, so that references to them are not dangling.
#[derive(Debug, Default)]
pub struct StaticResources {
    /// Names of clusters.
    pub clusters: Vec<String>,
    /// Names of listeners.
    pub listeners: Vec<String>,
    /// Names of secrets.
    pub secrets: Vec<String>,
}
