//! The loop: wait, set watches, read, judge.

use std::future::pending;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::judge::{Builder, Judge};
use super::state::Keeper;
use super::trigger::{Request, Trigger};
use super::watch::{Herald, Mode, Watch};
use super::{Metrics, Options, StateDir, StatusCell, WatchMode};
use crate::snapshot::Store;
use crate::source::{ArmError, Attached, Bell, Hazard, Listing, ReadError, Signal, Sources, Stamp, Wake, Watcher};

/// At least this often, polling reads the files although they look the same from outside.
const FULL_READ: Duration = Duration::from_mins(1);

/// How often to look at the files while they cannot be watched, if no interval is set.
const FALLBACK_INTERVAL: Duration = Duration::from_secs(5);

/// However long no watch can be had, it is tried this often.
const MAX_RETRY: Duration = Duration::from_mins(1);

/// How often to look at the files, at least, while changes are known to come without events.
const DEAF_INTERVAL: Duration = Duration::from_secs(1);

/// The one task that follows the files and publishes what they say.
pub struct Reload {
    sources: Arc<Sources>,
    options: Options,
    pub(super) bell: Arc<Bell>,
    pub(super) watcher: Arc<Mutex<Watcher>>,
    judge: Judge,
    trigger: Trigger,
    requests: mpsc::Receiver<Request>,
    /// Who is to be told of the next verdict.
    waiting: Vec<Request>,
    /// What was on disk when it was last looked at.
    seen: Option<Look>,
    /// The attached files of what was read last.
    attached: Arc<Attached>,
    last_read: Instant,
    pub(super) full_read: Duration,
    next_poll: Option<Instant>,
    /// While the files should be watched and are not.
    deaf: Option<Deaf>,
    /// Whether they were not watched at some time since they were last read.
    was_deaf: bool,
    /// Whether the last change came without an event.
    missed: bool,
    /// What is wrong with the places where the files were last found.
    hazards: Vec<Hazard>,
    /// Who had a file open when it was last read.
    at_work: Vec<Hazard>,
    herald: Herald,
    /// What the herald is to tell next.
    watch: Watch,
}

impl std::fmt::Debug for Reload {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Reload").field("sources", &self.sources).field("options", &self.options).finish_non_exhaustive()
    }
}

/// No watch can be had.
struct Deaf {
    why: ArmError,
    /// How long to wait before the next try; it grows from one to the next, for a limit is not raised in a hurry.
    pause: Duration,
    retry: Instant,
}

impl Deaf {
    fn new(why: ArmError, before: Option<&Self>, pause: Duration) -> Self {
        // Directories that keep changing are no limit: they come to rest.
        let grows = !matches!(why, ArmError::Moved);
        let pause = before.filter(|_| grows).map_or(pause, |before| (before.pause * 2).min(MAX_RETRY));
        Self { why, pause, retry: Instant::now() + pause }
    }
}

/// How the files look from outside.
#[derive(PartialEq, Eq)]
struct Look {
    topology: Result<Listing, ReadError>,
    attached: Vec<Result<Stamp, ReadError>>,
}

/// What came of a reading.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Reconciled {
    /// It was judged.
    SameAttached,
    /// It was judged, and other files turned out to be attached than before: they may have changed since they were read, for
    /// nobody watched them.
    OthersAttached,
    /// It was not judged: someone began to write meanwhile, so it may be half of something.
    Disturbed,
}

impl Reload {
    /// A task that follows `sources`, which should not include standard input: it can be read only once.
    ///
    /// `build` is [`pipeline::build`](crate::pipeline::build) with its schema. Nothing is read before [`Reload::run`].
    pub fn new(
        sources: Sources,
        options: Options,
        build: Builder,
        store: Arc<Store>,
        status: Arc<StatusCell>,
        metrics: Metrics,
    ) -> Self {
        let sources = Arc::new(sources);
        let bell = Arc::new(Bell::new(options.settle));
        let watcher = Watcher::new(Arc::clone(&sources), Arc::clone(&bell));
        let (trigger, requests) = Trigger::new();
        let herald = Herald::new(Arc::clone(&status), metrics.clone());
        Self {
            sources,
            options,
            bell,
            watcher: Arc::new(Mutex::new(watcher)),
            judge: Judge::new(build, store, status, metrics),
            trigger,
            requests,
            waiting: Vec::new(),
            seen: None,
            attached: Arc::default(),
            last_read: Instant::now(),
            full_read: FULL_READ,
            next_poll: None,
            deaf: None,
            was_deaf: false,
            missed: false,
            hazards: Vec::new(),
            at_work: Vec::new(),
            herald,
            watch: Watch::default(),
        }
    }

    /// Keeps the last good snapshot in a directory, and serves the one that is there while the files are not good.
    #[must_use]
    pub fn keep_state(mut self, dir: StateDir) -> Self {
        self.judge.keep(Keeper::new(dir, self.sources.names()));
        self
    }

    /// Refuses edits that remove more than this share of the resources of a type in a group, unless they are confirmed.
    #[must_use]
    pub fn limit_removals(mut self, percent: u8) -> Self {
        self.judge.guard.limit(percent);
        self
    }

    /// Asks this task for a reload, also before it runs.
    pub fn handle(&self) -> Trigger {
        self.trigger.clone()
    }

    /// Reads the files, publishes what they say, and follows them until `shutdown`.
    pub async fn run(mut self, shutdown: CancellationToken) {
        tokio::select! {
            () = shutdown.cancelled() => {}
            () = self.follow() => {}
        }
    }

    async fn follow(&mut self) {
        let mut wake = Wake::default();
        self.bell.start();
        loop {
            // Watches first: what changes after the reading is then heard of.
            self.arm(wake.rearm).await;
            let before = self.found();
            let reconciled = self.reconcile().await;
            if reconciled == Reconciled::Disturbed {
                self.schedule(self.interval());
                self.tell();
                // Whoever asked is answered later.
                self.bell.put_back(&wake);
            } else {
                let mut again = reconciled == Reconciled::OthersAttached;
                if self.hear(&wake, self.found() != before) && !wake.rearm {
                    // Not even the files' time stamps told of the change, let alone the watches.
                    self.arm(true).await;
                    again = true;
                }
                if again && self.options.watch == WatchMode::Auto {
                    self.arm(false).await;
                    // Read again, but not at once: someone may be at work on them.
                    self.bell.ring(Signal::Again);
                }
                self.schedule(self.interval());
                self.at_work = wake.writers.iter().map(|path| Hazard::open_writer(path)).collect();
                self.tell();
                self.answer();
            }
            wake = self.sleep().await;
        }
    }

    /// Tells whoever asked for it what came of the reading.
    fn answer(&mut self) {
        for asker in self.waiting.drain(..).filter_map(|request| request.answer) {
            if asker.send(self.judge.status()).is_err() {
                tracing::debug!("whoever asked for the reload has gone");
            }
        }
    }

    /// Reads and judges.
    async fn reconcile(&mut self) -> Reconciled {
        let started = Instant::now();
        self.last_read = started;
        let (sources, attached) = (Arc::clone(&self.sources), Arc::clone(&self.attached));
        let (watcher, bell) = (Arc::clone(&self.watcher), Arc::clone(&self.bell));
        let look = move || {
            let mut watcher = watcher.lock().unwrap_or_else(PoisonError::into_inner);
            watcher.catch_up();
            // From here on it is this reading that opens them.
            bell.forget_created();
            // Stamps first: what changes after them is seen by the next look.
            let stamps = attached.stamps();
            let read = sources.take();
            let listing = read.as_ref().ok().map(|reading| &reading.listing);
            let hazards = sources.hazards(listing, &attached);
            let attached = attached.look();
            watcher.catch_up();
            (read, attached, stamps, hazards)
        };
        let Some((read, attached, stamps, hazards)) = blocking(look).await else { return Reconciled::SameAttached };
        self.herald.read();
        if self.bell.is_disturbed() {
            return Reconciled::Disturbed;
        }
        self.hazards = hazards;
        let topology = read.as_ref().map(|reading| reading.listing.clone()).map_err(Clone::clone);
        self.seen = Some(Look { topology, attached: stamps });
        self.judge.judge(read, &attached, started).await;
        let attached = self.judge.attached();
        let others = !attached.same_files(&self.attached);
        self.attached = Arc::new(attached);
        if others { Reconciled::OthersAttached } else { Reconciled::SameAttached }
    }

    /// What was last found where the files should be.
    fn found(&self) -> (Option<String>, Option<String>) {
        let status = self.judge.status();
        (status.source_digest.clone(), status.error.clone())
    }

    /// Counts what led to a reading. True if it found a change that should have been heard of.
    fn hear(&mut self, wake: &Wake, is_change: bool) -> bool {
        self.herald.heard(wake.events);
        self.watch.overflows += wake.overflows;
        let was_watching = self.options.watch == WatchMode::Auto && !std::mem::take(&mut self.was_deaf);
        let missed = wake.polled && is_change && was_watching;
        self.watch.missed_changes += u64::from(missed);
        self.missed = missed || (self.missed && wake.events == 0);
        missed
    }

    /// Tells how the files are watched now.
    fn tell(&mut self) {
        let watching = self.options.watch == WatchMode::Auto;
        self.watch.mode = match self.options.watch {
            WatchMode::Off => Mode::Off,
            WatchMode::Auto if self.deaf.is_none() => Mode::Events,
            WatchMode::Auto | WatchMode::Poll => Mode::Poll,
        };
        self.watch.poll_interval = self.interval();
        let deaf = self.deaf.iter().map(|deaf| deaf.why.hazard());
        let missed = self.missed.then(Hazard::missed);
        let places = self.hazards.iter().filter(|hazard| watching || !hazard.is_eventless()).cloned();
        self.watch.hazards = deaf.chain(missed).chain(self.at_work.clone()).chain(places).collect();
        self.herald.tell(self.watch.clone());
    }

    /// Waits for a reason to read.
    async fn sleep(&mut self) -> Wake {
        loop {
            tokio::select! {
                wake = self.bell.wait() => return wake,
                Some(request) = self.requests.recv() => {
                    self.waiting.push(request);
                    while let Ok(request) = self.requests.try_recv() {
                        self.waiting.push(request);
                    }
                    for confirmed in self.waiting.iter_mut().filter_map(|request| request.confirm.take()) {
                        self.judge.guard.confirm(confirmed);
                    }
                    self.bell.ring(Signal::Asked);
                }
                () = until(self.next_poll) => {
                    if self.poll().await {
                        self.bell.start();
                        return Wake { polled: true, ..Wake::default() };
                    }
                }
            }
        }
    }

    /// Looks at the files from outside. A difference is a signal like others, so that an open writer is waited for; true if
    /// it is time to read them in any case.
    async fn poll(&mut self) -> bool {
        self.herald.looked();
        self.arm(false).await;
        self.tell();
        self.schedule(self.interval());
        let (sources, attached) = (Arc::clone(&self.sources), Arc::clone(&self.attached));
        let look = move || Look { topology: sources.list(), attached: attached.stamps() };
        let Some(look) = blocking(look).await else { return false };
        if self.seen.as_ref() != Some(&look) {
            self.seen = Some(look);
            self.bell.ring(Signal::Polled);
            // Look again before the quiet time is over: as long as the files change, it starts anew.
            let soon = (self.options.settle / 2).max(Duration::from_millis(5));
            self.schedule(self.interval().map(|interval| interval.min(soon)));
            return false;
        }
        self.was_deaf = self.deaf.is_some();
        self.last_read.elapsed() >= self.full_read && !self.bell.is_pending()
    }

    /// Sets watches where they are missing, all of them if `anew`. Without them the files are polled.
    async fn arm(&mut self, anew: bool) {
        if self.options.watch != WatchMode::Auto {
            return;
        }
        if self.deaf.as_ref().is_some_and(|deaf| Instant::now() < deaf.retry) {
            self.was_deaf = true;
            return;
        }
        let (watcher, attached) = (Arc::clone(&self.watcher), Arc::clone(&self.attached));
        let arm = move || watcher.lock().unwrap_or_else(PoisonError::into_inner).arm(&attached, anew);
        let armed = blocking(arm).await;
        let deaf = armed.unwrap_or_else(|| Err(ArmError::Other("internal error".to_owned()))).err();
        self.was_deaf |= deaf.is_some() || self.deaf.is_some();
        let pause = self.interval().unwrap_or(FALLBACK_INTERVAL);
        self.deaf = deaf.map(|why| Deaf::new(why, self.deaf.as_ref(), pause));
    }

    fn interval(&self) -> Option<Duration> {
        let interval = self.options.poll_interval;
        match self.options.watch {
            WatchMode::Off => None,
            WatchMode::Auto
                if !interval.is_zero() && (self.missed || self.hazards.iter().any(Hazard::is_eventless)) =>
            {
                Some(interval.min(DEAF_INTERVAL))
            }
            _ if !interval.is_zero() => Some(interval),
            WatchMode::Auto if self.deaf.is_some() => Some(FALLBACK_INTERVAL),
            WatchMode::Auto | WatchMode::Poll => None,
        }
    }

    fn schedule(&mut self, after: Option<Duration>) {
        self.next_poll = after.map(|after| Instant::now() + after);
    }
}

async fn until(moment: Option<Instant>) {
    match moment {
        Some(moment) => tokio::time::sleep_until(moment.into()).await,
        None => pending().await,
    }
}

/// Runs what may wait for a disk; `None` if it panicked, which is logged and must not end the task.
async fn blocking<T: Send + 'static>(job: impl FnOnce() -> T + Send + 'static) -> Option<T> {
    match tokio::task::spawn_blocking(job).await {
        Ok(value) => Some(value),
        Err(error) => {
            tracing::error!(%error, "internal error while looking at the topology's files");
            None
        }
    }
}
