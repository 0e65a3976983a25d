//! What the reload task last did, for `/status`, `/readyz` and metrics.

use std::sync::Arc;
use std::time::SystemTime;

use arc_swap::ArcSwap;
use serde::Serialize;

use crate::diagnostic::Report;

/// What became of the last wake-up that found something to say.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Verdict {
    /// Nothing has been read yet.
    Pending,
    /// The content was published.
    Applied,
    /// The content means what is already served.
    Unchanged,
    /// The content has errors; the last good snapshot is served.
    Rejected,
    /// A file is not there; the last good snapshot is served.
    Missing,
    /// A file cannot be read; the last good snapshot is served.
    Unreadable,
}

/// One file of the content that was last read.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct SourceFile {
    /// The path as it was given or found.
    pub path: Arc<str>,
    /// SHA-256 of its bytes, in hex.
    pub sha256: String,
}

/// What the reload task last did.
#[derive(Clone, Debug)]
pub struct Status {
    /// What became of the last attempt.
    pub verdict: Verdict,
    /// When that was.
    pub attempted: Option<SystemTime>,
    /// When a snapshot was last published or confirmed.
    pub succeeded: Option<SystemTime>,
    /// The findings of the last attempt.
    pub report: Arc<Report>,
    /// Why the files could not be read, if they could not.
    pub error: Option<String>,
    /// The paths that are followed.
    pub watched: Vec<Arc<str>>,
    /// The files that were last read.
    pub sources: Vec<SourceFile>,
    /// SHA-256 over all files that were last read, in hex.
    pub source_digest: Option<String>,
    /// SHA-256 over all files that made the snapshot in service, in hex.
    pub served_digest: Option<String>,
}

/// Where the reload task leaves its [`Status`] for others to read without a lock.
#[derive(Debug)]
pub struct StatusCell(ArcSwap<Status>);

impl StatusCell {
    /// A cell that says that nothing has been read yet.
    pub fn new(watched: Vec<Arc<str>>) -> Self {
        Self(ArcSwap::from_pointee(Status {
            verdict: Verdict::Pending,
            attempted: None,
            succeeded: None,
            report: Arc::default(),
            error: None,
            watched,
            sources: Vec::new(),
            source_digest: None,
            served_digest: None,
        }))
    }

    /// The newest status.
    pub fn load(&self) -> Arc<Status> {
        self.0.load_full()
    }

    /// Replaces the status.
    pub fn store(&self, status: Status) {
        self.0.store(Arc::new(status));
    }
}
