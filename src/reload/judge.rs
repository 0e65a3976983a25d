//! From what was read to a verdict.

use std::sync::Arc;
use std::time::{Instant, SystemTime};

use super::guard::Guard;
use super::state::{self, Keeper};
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
    pub(super) guard: Guard,
    /// The state on disk, if one is kept.
    keeper: Option<Keeper>,
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
        Self { build, store, status, metrics, guard: Guard::default(), keeper: None, last: None, error: None }
    }

    /// Keeps the last good snapshot on disk; what is there is served until there is a better one.
    pub(super) fn keep(&mut self, keeper: Keeper) {
        self.status.store(Status { state: Some(keeper.status().clone()), ..self.before() });
        self.keeper = Some(keeper);
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
        match read {
            Err(error) if self.error.as_ref() == Some(&error) => {}
            Err(error) => self.unread(error),
            Ok(reading) => {
                let was_unread = self.error.take().is_some();
                match &self.last {
                    Some(last)
                        if last.digest == reading.digest && last.attached == *attached && !self.guard.releases() =>
                    {
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
        self.guard.forget();
        self.save().await;
    }

    /// Writes what is served to disk, if it is not there.
    async fn save(&mut self) {
        let Some(keeper) = &mut self.keeper else { return };
        let Some(written) = keeper.save().await else { return };
        self.metrics.saved(written);
        let state = Some(keeper.status().clone());
        self.status.store(Status { state, ..self.before() });
    }

    /// What an earlier process left is better than nothing.
    fn fall_back(&self) {
        let Some(left) = self.keeper.as_ref().and_then(Keeper::left).filter(|_| self.store.load().is_none()) else {
            return;
        };
        let (revision, digest, saved) = (left.snapshot.revision(), &left.source_digest, state::at(left));
        let shown = humantime::format_rfc3339_seconds(saved);
        tracing::warn!(revision, digest, saved = %shown, "serving the last good snapshot of an earlier run");
        self.store.publish(Arc::clone(&left.snapshot));
        let revision = Some(revision);
        let served_digest = Some(digest.clone());
        self.status.store(Status { restored: Some(saved), revision, served_digest, ..self.before() });
        self.metrics.restored(true);
    }

    /// What was last said, to say most of it again.
    fn before(&self) -> Status {
        Status::clone(&self.status.load())
    }

    /// The files cannot be read, and that is news.
    fn unread(&mut self, error: ReadError) {
        let verdict = match &error {
            ReadError::Missing { .. } => Verdict::Missing,
            ReadError::Unreadable { .. } => Verdict::Unreadable,
        };
        self.fall_back();
        let serving = self.store.load().map(|snapshot| snapshot.revision());
        tracing::warn!(%error, help = error.help(), serving, "the topology cannot be read; what is served stays");
        self.tell(Status {
            verdict,
            report: Arc::default(),
            changes: Arc::default(),
            error: Some(error.with_help()),
            attempted: Some(SystemTime::now()),
            ..self.before()
        });
        self.error = Some(error);
    }

    /// The files are back and say what they last said.
    fn returned(&mut self, reading: &Reading) {
        let Some(Judged { digest, attached, verdict, report }) = &self.last else { return };
        let verdict = if verdict.is_good() { Verdict::Unchanged } else { *verdict };
        tracing::info!(%digest, verdict = verdict.as_str(), "the topology can be read again, and is what it was");
        self.conclude(Read::of(reading, attached), verdict, Changes::default(), Arc::clone(report));
    }

    /// The files say something else than they last did.
    async fn changed(&mut self, reading: Reading) {
        let served = self.store.load();
        let is_first = served.is_none();
        let left = self.keeper.as_ref().and_then(Keeper::left).map(|left| Arc::clone(&left.snapshot));
        let previous = served.or(left);
        let reading = Arc::new(reading);
        let job = {
            let (build, reading, previous) = (Arc::clone(&self.build), Arc::clone(&reading), previous.clone());
            move || build_whole(&build, &reading.documents, previous.as_deref())
        };
        let (Build { mut report, mut outcome }, attached) = match tokio::task::spawn_blocking(job).await {
            Ok(built) => built,
            Err(error) => (Build { report: broken(error), outcome: Outcome::Rejected }, self.attached()),
        };
        let read = Read::of(&reading, &attached);
        let changes = if let Outcome::Changed { changes, .. } = &outcome { Some(changes) } else { None };
        for excess in self.guard.judge(previous.as_deref(), changes, &read.digest).as_slice() {
            report.add(excess.clone());
            outcome = Outcome::Rejected;
        }
        let digest = reading.digest;
        let (verdict, changes) = match outcome {
            Outcome::Rejected => {
                self.fall_back();
                let errors = report.count(Level::Error);
                let findings = report.render_all(Level::Warning);
                let serving = self.store.load().map(|snapshot| snapshot.revision());
                tracing::error!(errors, %digest, serving, %findings, "the topology has errors; what is served stays");
                (Verdict::Rejected, Changes::default())
            }
            Outcome::Unchanged => (self.publish(previous.filter(|_| is_first), None, digest), Changes::default()),
            Outcome::Changed { snapshot, changes } => {
                let is_news = is_first || !changes.is_empty();
                (self.publish(Some(snapshot), Some(&changes).filter(|_| is_news), digest), changes)
            }
        };
        if verdict.is_good() && report.count(Level::Warning) > 0 {
            let findings = report.render_all(Level::Warning);
            tracing::warn!(warnings = report.count(Level::Warning), %digest, %findings, "the topology has warnings");
        }
        if let (true, Some(keeper), Some(snapshot)) = (verdict.is_good(), &mut self.keeper, self.store.load()) {
            keeper.want(snapshot, &read.digest);
        }
        let report = Arc::new(report);
        self.last = Some(Judged { digest, attached: attached.clone(), verdict, report: Arc::clone(&report) });
        self.conclude(read, verdict, changes, report);
    }

    /// Publishes what is to be served from now on, if that is another snapshot. `changes` is what it brings, if that is news.
    fn publish(&self, snapshot: Option<Arc<Snapshot>>, changes: Option<&Changes>, digest: Digest) -> Verdict {
        let is_first = self.store.load().is_none();
        let revision = snapshot.as_ref().map(|snapshot| snapshot.revision());
        if let Some(snapshot) = snapshot {
            self.store.publish(snapshot);
        }
        match changes {
            Some(changes) => tracing::info!(revision, %changes, %digest, "published the topology"),
            None if is_first => {
                tracing::info!(revision, %digest, "published the topology; it is that of the earlier run");
            }
            None => {
                tracing::info!(%digest, "the topology was edited and means what it did");
                return Verdict::Unchanged;
            }
        }
        Verdict::Applied
    }

    /// Tells the verdict on what was read.
    fn conclude(&self, read: Read, verdict: Verdict, changes: Changes, report: Arc<Report>) {
        let before = self.before();
        let (now, good) = (SystemTime::now(), verdict.is_good());
        let Read { sources, digest } = read;
        self.tell(Status {
            verdict,
            attempted: Some(now),
            succeeded: if good { Some(now) } else { before.succeeded },
            revision: self.store.load().map(|snapshot| snapshot.revision()),
            changes: Arc::new(changes),
            report,
            error: None,
            sources,
            served_digest: if good { Some(digest.clone()) } else { before.served_digest },
            source_digest: Some(digest),
            restored: before.restored.filter(|_| !good),
            watched: before.watched,
            state: before.state,
        });
    }

    fn tell(&self, status: Status) {
        let in_sync = status.error.is_none() && status.served_digest == status.source_digest;
        self.metrics.judged(status.verdict, in_sync, status.attempted.unwrap_or(SystemTime::UNIX_EPOCH));
        self.metrics.restored(status.restored.is_some());
        self.status.store(status);
    }
}

/// What was read, as it is shown.
struct Read {
    sources: Vec<SourceFile>,
    digest: String,
}

impl Read {
    fn of(reading: &Reading, attached: &Attached) -> Self {
        let names = reading.documents.iter().map(|document| &document.name);
        let files: Vec<_> = names.zip(reading.digests.iter().copied()).chain(attached.digests()).collect();
        let digest = Digest::of_all(files.iter().map(|(name, digest)| (&***name, *digest))).to_string();
        let file =
            |(name, sha256): (&Arc<str>, Digest)| SourceFile { path: Arc::clone(name), sha256: sha256.to_string() };
        Self { sources: files.into_iter().map(file).collect(), digest }
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
