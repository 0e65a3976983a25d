//! From what was read to a verdict.

use std::sync::Arc;
use std::time::{Instant, SystemTime};

use super::{Metrics, SourceFile, Status, StatusCell, Verdict};
use crate::diagnostic::{Files, Finding, Findings, Level, Report};
use crate::pipeline::{Build, Outcome, World};
use crate::snapshot::{Changes, Snapshot, Store};
use crate::source::{Attached, Digest, Document, ReadError, Reading, Recorder};

/// [`pipeline::build`](crate::pipeline::build) with its schema and memory: documents to the snapshot that follows the
/// previous one.
pub type Builder = Arc<dyn Fn(&[Document], &World<'_>, Option<&Snapshot>) -> Build + Send + Sync>;

/// How often a topology is built again because its attached files changed meanwhile.
const ATTEMPTS: usize = 3;

/// Judges what was read, publishes what is good, and says so.
pub(super) struct Judge {
    build: Builder,
    store: Arc<Store>,
    status: Arc<StatusCell>,
    metrics: Metrics,
    /// The content that was judged last.
    last: Option<Judged>,
    /// Why the files cannot be read, while they cannot.
    error: Option<ReadError>,
}

/// A content and the verdict on it.
struct Judged {
    digest: Digest,
    attached: Attached,
    verdict: Verdict,
    report: Arc<Report>,
}

impl Judge {
    pub(super) fn new(build: Builder, store: Arc<Store>, status: Arc<StatusCell>, metrics: Metrics) -> Self {
        Self { build, store, status, metrics, last: None, error: None }
    }

    /// What was last said.
    pub(super) fn status(&self) -> Arc<Status> {
        self.status.load()
    }

    /// The attached files of what was judged last, as they were then.
    pub(super) fn attached(&self) -> Attached {
        self.last.as_ref().map(|last| last.attached.clone()).unwrap_or_default()
    }

    /// Judges what was read; what was judged before is not judged again. `attached` are the attached files as they are now,
    /// `started` is when reading began.
    pub(super) async fn judge(&mut self, read: Result<Reading, ReadError>, attached: &Attached, started: Instant) {
        self.metrics.read();
        match read {
            Err(error) if self.error.as_ref() == Some(&error) => {}
            Err(error) => self.unread(error),
            Ok(reading) => {
                let was_unread = self.error.take().is_some();
                match &self.last {
                    Some(last) if last.digest == reading.digest && last.attached == *attached => {
                        if was_unread {
                            self.returned(&reading);
                        }
                    }
                    _ => {
                        self.changed(reading).await;
                        self.metrics.took(started.elapsed());
                    }
                }
            }
        }
    }

    /// The files cannot be read, and that is news.
    fn unread(&mut self, error: ReadError) {
        let verdict = match &error {
            ReadError::Missing { .. } => Verdict::Missing,
            ReadError::Unreadable { .. } => Verdict::Unreadable,
        };
        let serving = self.store.load().map(|snapshot| snapshot.revision());
        tracing::warn!(%error, help = error.help(), serving, "the topology cannot be read; what is served stays");
        let before = self.status.load();
        self.tell(Status {
            verdict,
            report: Arc::default(),
            error: Some(error.with_help()),
            attempted: Some(SystemTime::now()),
            ..Status::clone(&before)
        });
        self.error = Some(error);
    }

    /// The files are back and say what they last said.
    fn returned(&mut self, reading: &Reading) {
        let Some(Judged { digest, attached, verdict, report }) = &self.last else { return };
        let attached = attached.clone();
        let verdict = if verdict.is_good() { Verdict::Unchanged } else { *verdict };
        tracing::info!(%digest, verdict = verdict.as_str(), "the topology can be read again, and is what it was");
        self.conclude(reading, &attached, verdict, Arc::clone(report));
    }

    /// The files say something else than they last did.
    async fn changed(&mut self, reading: Reading) {
        let previous = self.store.load();
        let reading = Arc::new(reading);
        let job = {
            let (build, reading, previous) = (Arc::clone(&self.build), Arc::clone(&reading), previous.clone());
            move || build_whole(&build, &reading.documents, previous.as_deref())
        };
        let (Build { report, outcome }, attached) = match tokio::task::spawn_blocking(job).await {
            Ok(built) => built,
            Err(error) => (Build { report: broken(error), outcome: Outcome::Rejected }, self.attached()),
        };
        let digest = reading.digest;
        let verdict = match outcome {
            Outcome::Rejected => {
                let errors = report.count(Level::Error);
                let findings = report.render_all(Level::Warning);
                let serving = previous.map(|snapshot| snapshot.revision());
                tracing::error!(errors, %digest, serving, %findings, "the topology has errors; what is served stays");
                Verdict::Rejected
            }
            Outcome::Unchanged => {
                tracing::info!(%digest, "the topology was edited and means what it did");
                Verdict::Unchanged
            }
            Outcome::Changed { snapshot, changes } => self.publish(snapshot, &changes, previous.is_none(), digest),
        };
        if verdict.is_good() && report.count(Level::Warning) > 0 {
            let findings = report.render_all(Level::Warning);
            tracing::warn!(warnings = report.count(Level::Warning), %digest, %findings, "the topology has warnings");
        }
        let report = Arc::new(report);
        self.last = Some(Judged { digest, attached: attached.clone(), verdict, report: Arc::clone(&report) });
        self.conclude(&reading, &attached, verdict, report);
    }

    fn publish(&self, snapshot: Arc<Snapshot>, changes: &Changes, is_first: bool, digest: Digest) -> Verdict {
        let revision = snapshot.revision();
        self.store.publish(snapshot);
        if changes.is_empty() && !is_first {
            tracing::info!(%digest, "the topology was edited and means what it did");
            return Verdict::Unchanged;
        }
        tracing::info!(revision, %changes, %digest, "published the topology");
        Verdict::Applied
    }

    /// Tells the verdict on what was read.
    fn conclude(&self, reading: &Reading, attached: &Attached, verdict: Verdict, report: Arc<Report>) {
        let before = self.status.load();
        let now = SystemTime::now();
        let names = reading.documents.iter().map(|document| &document.name);
        let sources: Vec<_> = names.zip(reading.digests.iter().copied()).chain(attached.digests()).collect();
        let digest = Digest::of_all(sources.iter().map(|(name, digest)| (&***name, *digest))).to_string();
        self.tell(Status {
            verdict,
            attempted: Some(now),
            succeeded: if verdict.is_good() { Some(now) } else { before.succeeded },
            report,
            error: None,
            watched: before.watched.clone(),
            sources: sources
                .into_iter()
                .map(|(name, sha256)| SourceFile { path: Arc::clone(name), sha256: sha256.to_string() })
                .collect(),
            served_digest: if verdict.is_good() { Some(digest.clone()) } else { before.served_digest.clone() },
            source_digest: Some(digest),
        });
    }

    fn tell(&self, status: Status) {
        let in_sync = status.error.is_none() && status.served_digest == status.source_digest;
        self.metrics.judged(status.verdict, in_sync, status.attempted.unwrap_or(SystemTime::UNIX_EPOCH));
        self.status.store(status);
    }
}

/// Builds until the attached files are at the end what they were when they were read: a certificate and its key are then of
/// one generation. Files that never rest are judged as they were found, and again when they change once more.
fn build_whole(build: &Builder, documents: &[Document], previous: Option<&Snapshot>) -> (Build, Attached) {
    let mut attempt = 1;
    loop {
        let recorder = Recorder::new();
        let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        let world = World { attachments: &recorder, now: i64::try_from(since.as_secs()).unwrap_or(i64::MAX) };
        let outcome = build(documents, &world, previous);
        let attached = recorder.attached();
        if attempt == ATTEMPTS || attached.look() == attached {
            return (outcome, attached);
        }
        attempt += 1;
    }
}

/// A report of a panic, which is a mistake in the program and not in the topology.
fn broken(error: tokio::task::JoinError) -> Report {
    let cause = match error.try_into_panic() {
        Ok(panic) => match panic.downcast::<String>() {
            Ok(message) => *message,
            Err(panic) => panic.downcast::<&str>().map_or("unknown".to_owned(), |message| (*message).to_owned()),
        },
        Err(error) => error.to_string(),
    };
    let mut findings = Findings::new();
    findings.push(Finding {
        level: Level::Error,
        code: "internal-error",
        span: None,
        path: String::new(),
        message: format!("the topology could not be judged because of a mistake in this program: {cause}"),
        help: Some("please report it, with the topology; undoing the last edit should help meanwhile".to_owned()),
        related: Vec::new(),
    });
    Report::new(findings, Arc::new(Files::new()))
}
