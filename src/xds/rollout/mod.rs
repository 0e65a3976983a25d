//! Which proxy is sent which snapshot: a new one goes to a few, and on to all once these have taken it.
//!
//! Enters: the snapshots that the store publishes, who is connected, and what the proxies in front say. Leaves: the snapshot
//! that each stream serves. `trial` is the pure machine; here it meets the clock and the streams.
//! Invariants: what was refused on trial is sent to nobody else and to nobody again until its content changes; proxies go back
//! to a whole snapshot, never to a mixture.

mod trial;

#[cfg(test)]
mod tests;

use std::num::ParseIntError;
use std::str::FromStr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use tokio::sync::{Notify, watch};
use tokio_util::sync::CancellationToken;

use super::Metrics;
use crate::snapshot::{NodeFields, Store, Version};

use trial::{Proxy, Trials};
pub(super) use trial::{Refusal, View};

/// How many proxies of a group go first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Share {
    /// So many.
    Count(usize),
    /// So many of a hundred, at least one.
    Percent(u8),
}

impl Share {
    fn of(self, all: usize) -> usize {
        let wanted = match self {
            Self::Count(count) => count,
            Self::Percent(percent) => (all * usize::from(percent)).div_ceil(100),
        };
        wanted.clamp(1, all.max(1))
    }
}

/// Why a text is no [`Share`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ShareError {
    /// No number.
    #[error("`{0}` is neither a number of proxies such as 1 nor a share such as 10%: {1}")]
    NoNumber(String, ParseIntError),
    /// Nobody, or more than everybody.
    #[error("at least one proxy goes first, and at most 100%")]
    OutOfRange,
}

impl FromStr for Share {
    type Err = ShareError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let bad = |error| ShareError::NoNumber(text.to_owned(), error);
        let share = match text.strip_suffix('%') {
            Some(percent) => Self::Percent(percent.parse().map_err(bad)?),
            None => Self::Count(text.parse().map_err(bad)?),
        };
        match share {
            Self::Count(0) | Self::Percent(0 | 101..) => Err(ShareError::OutOfRange),
            share => Ok(share),
        }
    }
}

/// How a new snapshot reaches the proxies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Policy {
    /// All at once. A proxy that refuses something is left with what it has.
    Hold,
    /// All at once. If one refuses something, all go back to the last snapshot that every connected proxy had taken.
    Rollback,
    /// A few of each group first, and the others once these have taken all of it in time.
    Canary {
        /// How many go first.
        first: Share,
        /// How long they may take.
        timeout: Duration,
    },
}

impl Policy {
    fn as_str(self) -> &'static str {
        match self {
            Self::Hold => "hold",
            Self::Rollback => "rollback",
            Self::Canary { .. } => "canary",
        }
    }
}

/// Where a rollout stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RolloutStatus {
    /// `canary` or `rollback`.
    pub policy: &'static str,
    /// The revision that was last taken by all who were to take it.
    pub promoted: Option<u64>,
    /// What is being tried.
    pub trial: Option<TrialStatus>,
    /// Whether the newest content is among what was refused, so that an older one is served.
    pub held: bool,
    /// What was refused on trial, by its digest, the newest last.
    pub quarantined: Vec<Quarantined>,
}

/// A snapshot on trial.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TrialStatus {
    /// Its revision.
    pub revision: u64,
    /// Hash of its content.
    pub digest: Version,
    /// Who goes first.
    pub canaries: Vec<CanaryStatus>,
}

/// A proxy that goes first.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CanaryStatus {
    /// Its node id.
    pub node: String,
    /// Its address, while it is connected.
    pub peer: Option<String>,
    /// Its group.
    pub group: String,
    /// Whether it has taken everything.
    pub passed: bool,
}

/// Why a snapshot is not rolled out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cause {
    /// A proxy refused a response.
    Nack,
    /// A proxy did not take all of it in time.
    Timeout,
    /// Proxies that went first were lost again and again.
    Lost,
}

impl Cause {
    /// As it is written in logs, metrics and the status.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Nack => "nack",
            Self::Timeout => "timeout",
            Self::Lost => "lost",
        }
    }
}

/// Content that is not sent until it changes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Quarantined {
    /// Hash of the content.
    pub digest: Version,
    /// The revision in which it came.
    pub revision: u64,
    /// Why.
    pub cause: Cause,
    /// The proxy that would not have it.
    pub node: String,
    /// What it said, or what became of it.
    pub message: String,
    /// `file:line:column` of the resources that it named.
    pub origins: Vec<String>,
    /// When.
    pub at: SystemTime,
}

/// Decides which snapshot each stream serves.
#[derive(Debug)]
pub struct Rollout {
    store: Arc<Store>,
    /// `None` where everyone is served the newest.
    trials: Option<Mutex<Trials>>,
    policy: Policy,
    metrics: Metrics,
    bell: watch::Sender<u64>,
    /// Wakes [`Rollout::run`].
    moved: Notify,
}

impl Rollout {
    /// With anything but [`Policy::Hold`] it serves nothing before the server runs.
    pub fn new(store: Arc<Store>, policy: Policy, metrics: Metrics) -> Self {
        let trials = (policy != Policy::Hold).then(|| Mutex::new(Trials::new(policy)));
        Self { store, trials, policy, metrics, bell: watch::Sender::new(0), moved: Notify::new() }
    }

    /// Where it stands; `None` where everyone is served the newest.
    pub fn status(&self) -> Option<RolloutStatus> {
        Some(self.trials()?.status(self.policy.as_str()))
    }

    /// Lets quarantined content be tried again. True if there is such content.
    pub fn release(&self, digest: &str) -> bool {
        let mut released = false;
        if let Some(digest) = Version::parse(digest) {
            self.change(|trials, _| {
                released = trials.release(digest);
                released
            });
        }
        released
    }

    /// Changes whenever a stream may have to serve another snapshot.
    pub(super) fn subscribe(&self) -> watch::Receiver<u64> {
        if self.trials.is_some() { self.bell.subscribe() } else { self.store.subscribe() }
    }

    /// Adds a stream until the member is dropped.
    pub(super) fn join(self: &Arc<Self>, stream: u64, fields: &NodeFields, peer: &str) -> Member {
        let proxy: Proxy = (fields.id.as_str().into(), peer.into());
        self.change(|trials, now| trials.join(&proxy, stream, fields, now));
        Member { rollout: Arc::clone(self), proxy, stream }
    }

    /// Follows the store and the clock until `shutdown`.
    pub(super) async fn run(&self, shutdown: CancellationToken) {
        if self.trials.is_none() {
            return;
        }
        let mut published = self.store.subscribe();
        loop {
            if let Some(snapshot) = self.store.load() {
                self.apply(|trials, now| trials.offer(snapshot, now));
            }
            self.apply(Trials::tick);
            let deadline = self.trials().and_then(|trials| trials.deadline());
            tokio::select! {
                () = shutdown.cancelled() => return,
                news = published.changed() => if news.is_err() { return },
                () = self.moved.notified() => {}
                () = async {
                    match deadline {
                        Some(deadline) => tokio::time::sleep_until(deadline.into()).await,
                        None => std::future::pending().await,
                    }
                } => {}
            }
        }
    }

    fn trials(&self) -> Option<MutexGuard<'_, Trials>> {
        self.trials.as_ref().map(|trials| trials.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Changes something on behalf of a stream, which may leave something for the clock to do.
    fn change(&self, change: impl FnOnce(&mut Trials, Instant) -> bool) {
        self.apply(change);
        self.moved.notify_one();
    }

    fn apply(&self, change: impl FnOnce(&mut Trials, Instant) -> bool) {
        let Some(mut trials) = self.trials() else { return };
        let changed = change(&mut trials, Instant::now());
        if changed {
            self.metrics.rollout(trials.take_ended(), trials.is_trying(), trials.is_held());
        }
        drop(trials);
        if changed {
            self.bell.send_modify(|count| *count += 1);
        }
    }
}

/// One stream in a rollout.
#[derive(Debug)]
pub(super) struct Member {
    rollout: Arc<Rollout>,
    proxy: Proxy,
    stream: u64,
}

impl Member {
    /// What to serve now.
    pub(super) fn view(&self) -> View {
        match self.rollout.trials() {
            Some(trials) => trials.view(&self.proxy),
            None => View { snapshot: self.rollout.store.load(), trial: None },
        }
    }

    /// Whether the client has taken everything of a trial, on this stream.
    pub(super) fn pass(&self, trial: u64, passed: bool) {
        self.rollout.change(|trials, _| trials.pass(&self.proxy, self.stream, trial, passed));
    }

    /// The client refused something of a trial.
    pub(super) fn refuse(&self, trial: u64, refusal: Refusal) {
        self.rollout.change(|trials, _| trials.refuse(trial, refusal));
    }
}

impl Drop for Member {
    fn drop(&mut self) {
        self.rollout.change(|trials, now| trials.leave(&self.proxy, self.stream, now));
    }
}
