//! What the reload task last did, for `/status`, `/readyz` and metrics.

use std::sync::Arc;
use std::time::SystemTime;

use arc_swap::ArcSwap;
use serde::Serialize;
use tokio::sync::watch;

use super::{StateStatus, Watch};
use crate::diagnostic::Report;
use crate::snapshot::Changes;

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

impl Verdict {
    /// The word in `/status` and in metrics.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Applied => "applied",
            Self::Unchanged => "unchanged",
            Self::Rejected => "rejected",
            Self::Missing => "missing",
            Self::Unreadable => "unreadable",
        }
    }

    /// Whether what is served is what the files say.
    pub fn is_good(self) -> bool {
        matches!(self, Self::Applied | Self::Unchanged)
    }
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
    /// When that was. Wake-ups that find the same bytes, or the same error, as the last one are no attempts.
    pub attempted: Option<SystemTime>,
    /// When a snapshot was last published or confirmed.
    pub succeeded: Option<SystemTime>,
    /// The revision in service.
    pub revision: Option<u64>,
    /// What the last attempt changed.
    pub changes: Arc<Changes>,
    /// The findings of the last attempt.
    pub report: Arc<Report>,
    /// Why the files could not be read, if they could not.
    pub error: Option<String>,
    /// The paths that are followed.
    pub watched: Vec<Arc<str>>,
    /// The files that were last read.
    pub sources: Vec<SourceFile>,
    /// SHA-256 over all files that were last read, in hex; differs from `served_digest` while they are not in service.
    pub source_digest: Option<String>,
    /// SHA-256 over all files that made the snapshot in service, in hex.
    pub served_digest: Option<String>,
    /// When the snapshot in service was saved, if it is that of an earlier run.
    pub restored: Option<SystemTime>,
    /// The state on disk, if one is kept.
    pub state: Option<StateStatus>,
}

/// Where the reload task leaves its [`Status`] for others to read without a lock.
#[derive(Debug)]
pub struct StatusCell {
    current: ArcSwap<Status>,
    watch: ArcSwap<Watch>,
    /// Counts replacements.
    bell: watch::Sender<u64>,
}

impl StatusCell {
    /// A cell that says that nothing has been read yet.
    pub fn new(watched: Vec<Arc<str>>) -> Self {
        let current = ArcSwap::from_pointee(Status {
            verdict: Verdict::Pending,
            attempted: None,
            succeeded: None,
            revision: None,
            changes: Arc::default(),
            report: Arc::default(),
            error: None,
            watched,
            sources: Vec::new(),
            source_digest: None,
            served_digest: None,
            restored: None,
            state: None,
        });
        Self { current, watch: ArcSwap::default(), bell: watch::Sender::new(0) }
    }

    /// The newest status.
    pub fn load(&self) -> Arc<Status> {
        self.current.load_full()
    }

    /// Replaces the status, then wakes every subscriber.
    pub fn store(&self, status: Status) {
        self.current.store(Arc::new(status));
        self.bell.send_modify(|count| *count += 1);
    }

    /// How the files are watched.
    pub fn watch(&self) -> Arc<Watch> {
        self.watch.load_full()
    }

    /// Replaces how the files are watched, then wakes every subscriber.
    pub fn store_watch(&self, watch: Watch) {
        self.watch.store(Arc::new(watch));
        self.bell.send_modify(|count| *count += 1);
    }

    /// Changes once per replacement.
    pub fn subscribe(&self) -> watch::Receiver<u64> {
        self.bell.subscribe()
    }
}
