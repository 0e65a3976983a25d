//! The one path from documents to a snapshot, which serving and every command share.
//!
//! Enters: [`Document`]s and the previous snapshot. Leaves: a [`Report`] and an [`Outcome`]. Pure: no disk, no network, no
//! clock. Invariant: one error anywhere and nothing leaves but the report.

use std::sync::Arc;

use crate::diagnostic::Report;
use crate::envoy::Schema;
use crate::snapshot::{Changes, Resource, Snapshot};
use crate::source::Document;

/// What became of a set of documents.
#[derive(Debug)]
pub struct Build {
    /// All findings.
    pub report: Report,
    /// Whether there is something to publish.
    pub outcome: Outcome,
}

/// Whether there is something to publish.
#[derive(Debug)]
pub enum Outcome {
    /// There are errors: keep what is served.
    Rejected,
    /// Nothing differs from the previous snapshot.
    Unchanged,
    /// A new snapshot. The changes are empty where only lines moved.
    Changed {
        /// What to publish.
        snapshot: Arc<Snapshot>,
        /// How it differs from the previous one.
        changes: Changes,
    },
}

/// The resources of a set of documents, before they are compared with a snapshot.
#[derive(Debug)]
pub struct Compiled {
    /// All findings.
    pub report: Report,
    /// The encoded resources of each group; empty if there are errors.
    pub groups: std::collections::BTreeMap<Arc<str>, Vec<Resource>>,
    /// Names that the topology says exist in the proxies' bootstrap.
    pub static_resources: crate::topology::StaticResources,
}

/// Documents to encoded resources.
pub fn compile(schema: &Schema, documents: &[Document]) -> Compiled {
    todo!("{schema:?} {documents:?}")
}

/// Documents to the snapshot that follows `previous`.
pub fn build(schema: &Schema, documents: &[Document], previous: Option<&Snapshot>) -> Build {
    todo!("{schema:?} {documents:?} {previous:?}")
}
