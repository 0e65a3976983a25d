//! Trials of snapshots: who goes first, what came of it, what is not to be tried again. Pure but for the log; what waits is told
//! the time.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use tracing::{error, info, warn};

use super::{CanaryStatus, Cause, Policy, Quarantined, RolloutStatus, TrialStatus, listed};
use crate::snapshot::{Group, NodeFields, Snapshot, Version};

/// How long a lost proxy's place is kept for it: one that the new snapshot has felled must not be followed by another.
const RETURN: Duration = Duration::from_secs(5);

/// A trial whose proxies were lost so often is over.
const MAX_LOST: usize = 3;

/// Refused contents that are remembered.
const MAX_QUARANTINED: usize = 100;

/// A node id, and the connection that it speaks on: off the aggregated service a proxy has several streams.
pub(super) type Proxy = (Arc<str>, Arc<str>);

/// What a stream is to serve.
#[derive(Clone, Debug)]
pub(in crate::xds) struct View {
    /// `None` is what the client has.
    pub(in crate::xds) snapshot: Option<Arc<Snapshot>>,
    /// The number of the trial, if it is one.
    pub(in crate::xds) trial: Option<u64>,
}

/// What a proxy said of a snapshot on trial.
#[derive(Clone, Debug)]
pub(in crate::xds) struct Refusal {
    pub(in crate::xds) node: String,
    pub(in crate::xds) message: String,
    pub(in crate::xds) origins: Vec<String>,
}

/// A connected proxy.
#[derive(Debug)]
struct Connected {
    fields: NodeFields,
    /// By the number of the stream: the trial that it passed last.
    streams: BTreeMap<u64, Option<u64>>,
    /// Its group, if the trial would bring it something else.
    news: Option<Arc<str>>,
}

impl Connected {
    fn passed(&self, trial: u64) -> bool {
        self.streams.values().all(|passed| *passed == Some(trial))
    }
}

/// A place in front.
#[derive(Debug)]
struct Canary {
    node: Arc<str>,
    group: Arc<str>,
    /// Who has it, or since when nobody.
    taken: Result<Proxy, Instant>,
    deadline: Instant,
    passed: bool,
}

#[derive(Debug)]
struct Trial {
    id: u64,
    snapshot: Arc<Snapshot>,
    digest: Version,
    canaries: Vec<Canary>,
    lost: usize,
}

/// Everything that is known of rollouts.
#[derive(Debug)]
pub(super) struct Trials {
    policy: Policy,
    proxies: BTreeMap<Proxy, Connected>,
    promoted: Option<(Arc<Snapshot>, Version)>,
    trial: Option<Trial>,
    /// Counts the trials.
    started: u64,
    /// The nodes that went first the last time.
    veterans: BTreeSet<Arc<str>>,
    newest: Option<(Arc<Snapshot>, Version)>,
    quarantined: VecDeque<Quarantined>,
    /// How trials ended that were not counted yet.
    ended: Vec<&'static str>,
}

impl Trials {
    pub(super) fn new(policy: Policy) -> Self {
        Self {
            policy,
            proxies: BTreeMap::new(),
            promoted: None,
            trial: None,
            started: 0,
            veterans: BTreeSet::new(),
            newest: None,
            quarantined: VecDeque::new(),
            ended: Vec::new(),
        }
    }

    /// Takes the newest snapshot. True if someone may have to serve another one.
    pub(super) fn offer(&mut self, snapshot: Arc<Snapshot>, now: Instant) -> bool {
        if self.newest.as_ref().is_some_and(|(newest, _)| Arc::ptr_eq(newest, &snapshot)) {
            return false;
        }
        let (digest, revision) = (snapshot.digest(), snapshot.revision());
        self.newest = Some((Arc::clone(&snapshot), digest));
        if let Some(trial) = &mut self.trial
            && trial.digest == digest
        {
            // Only places in the files differ.
            trial.snapshot = snapshot;
            return true;
        }
        if self.trial.take().is_some() {
            self.ended.push("superseded");
        }
        if self.promoted.as_ref().is_some_and(|(_, promoted)| *promoted == digest) {
            self.promoted = Some((snapshot, digest));
            return true;
        }
        if let Some(known) = self.quarantined.iter().find(|known| known.digest == digest) {
            let (node, message) = (&known.node, &known.message);
            warn!(revision, %digest, node, message, "not rolled out: the same content was refused before");
            return true;
        }
        self.started += 1;
        let promoted = self.promoted.as_ref().map(|(snapshot, _)| snapshot);
        for connected in self.proxies.values_mut() {
            connected.news = news(&snapshot, promoted, &connected.fields);
        }
        self.trial = Some(Trial { id: self.started, snapshot, digest, canaries: Vec::new(), lost: 0 });
        self.elect(None, now);
        self.promote();
        true
    }

    /// A stream of a proxy was opened.
    pub(super) fn join(&mut self, proxy: &Proxy, stream: u64, fields: &NodeFields, now: Instant) -> bool {
        let (trial, promoted) = (self.trial.as_mut(), self.promoted.as_ref().map(|(snapshot, _)| snapshot));
        let connected = self.proxies.entry(proxy.clone()).or_insert_with(|| Connected {
            fields: fields.clone(),
            streams: BTreeMap::new(),
            news: trial.as_ref().and_then(|trial| news(&trial.snapshot, promoted, fields)),
        });
        connected.streams.insert(stream, None);
        let Some(trial) = trial else { return false };
        let vacant = trial.canaries.iter_mut().find(|canary| canary.taken.is_err() && canary.node == proxy.0);
        if let Some(canary) = vacant {
            canary.taken = Ok(proxy.clone());
        }
        let group = connected.news.clone();
        self.elect(group.as_ref(), now);
        self.judge(proxy);
        self.promote();
        true
    }

    /// A stream of a proxy has ended.
    pub(super) fn leave(&mut self, proxy: &Proxy, stream: u64, now: Instant) -> bool {
        let Some(connected) = self.proxies.get_mut(proxy) else { return false };
        connected.streams.remove(&stream);
        if !connected.streams.is_empty() {
            self.judge(proxy);
            return self.promote();
        }
        self.proxies.remove(proxy);
        let Some(trial) = &mut self.trial else { return false };
        let Some(canary) = trial.canaries.iter_mut().find(|canary| canary.taken.as_ref() == Ok(proxy)) else {
            return self.promote();
        };
        (canary.taken, canary.passed) = (Err(now), false);
        trial.lost += 1;
        if trial.lost >= MAX_LOST {
            let message = format!("{MAX_LOST} connections of proxies that went first were lost");
            let refusal = Refusal { node: proxy.0.to_string(), message, origins: Vec::new() };
            self.quarantine(Cause::Lost, refusal);
        }
        true
    }

    /// Whether a stream's client has taken everything of a trial.
    pub(super) fn pass(&mut self, proxy: &Proxy, stream: u64, trial: u64, passed: bool) -> bool {
        if let Some(known) = self.proxies.get_mut(proxy).and_then(|connected| connected.streams.get_mut(&stream)) {
            *known = passed.then_some(trial);
        }
        self.judge(proxy);
        self.promote()
    }

    /// A client refused something of a trial.
    pub(super) fn refuse(&mut self, trial: u64, refusal: Refusal) -> bool {
        if self.trial.as_ref().is_none_or(|current| current.id != trial) {
            return false;
        }
        if self.policy == Policy::Rollback && self.promoted.is_none() {
            warn!(node = refusal.node, "refused, and there is nothing to go back to");
            return false;
        }
        self.quarantine(Cause::Nack, refusal);
        true
    }

    /// Time has passed.
    pub(super) fn tick(&mut self, now: Instant) -> bool {
        let Some(trial) = &mut self.trial else { return false };
        let late = |canary: &&Canary| !canary.passed && canary.deadline <= now;
        if let Some(canary) = trial.canaries.iter().find(late) {
            let message = "it did not take everything in time".to_owned();
            let refusal = Refusal { node: canary.node.to_string(), message, origins: Vec::new() };
            self.quarantine(Cause::Timeout, refusal);
            return true;
        }
        let before = trial.canaries.len();
        trial.canaries.retain(|canary| canary.taken.as_ref().err().is_none_or(|since| *since + RETURN > now));
        let gone = trial.canaries.len() != before;
        if gone {
            self.elect(None, now);
            self.promote();
        }
        gone
    }

    /// When [`Trials::tick`] has something to do.
    pub(super) fn deadline(&self) -> Option<Instant> {
        let canaries = self.trial.iter().flat_map(|trial| &trial.canaries);
        let next = |canary: &Canary| {
            let deadline = Some(canary.deadline).filter(|_| !canary.passed);
            let vacant = canary.taken.as_ref().err().map(|since| *since + RETURN);
            deadline.into_iter().chain(vacant).min()
        };
        canaries.filter_map(next).min()
    }

    /// What a proxy is to be served.
    pub(super) fn view(&self, proxy: &Proxy) -> View {
        let trial = self.trial.as_ref().filter(|trial| self.policy == Policy::Rollback || trial.has(proxy));
        match trial {
            Some(trial) => View { snapshot: Some(Arc::clone(&trial.snapshot)), trial: Some(trial.id) },
            None => View { snapshot: self.promoted.as_ref().map(|(snapshot, _)| Arc::clone(snapshot)), trial: None },
        }
    }

    pub(super) fn status(&self, policy: &'static str) -> RolloutStatus {
        let canary = |canary: &Canary| CanaryStatus {
            node: canary.node.to_string(),
            peer: canary.taken.as_ref().ok().map(|(_, peer)| peer.to_string()),
            group: canary.group.to_string(),
            passed: canary.passed,
        };
        let trial = |trial: &Trial| TrialStatus {
            revision: trial.snapshot.revision(),
            digest: trial.digest,
            canaries: trial.canaries.iter().map(canary).collect(),
        };
        RolloutStatus {
            policy,
            promoted: self.promoted.as_ref().map(|(snapshot, _)| snapshot.revision()),
            trial: self.trial.as_ref().map(trial),
            held: self.is_held(),
            quarantined: self.quarantined.iter().cloned().collect(),
        }
    }

    /// Whether something is on trial.
    pub(super) fn is_trying(&self) -> bool {
        self.trial.is_some()
    }

    /// Whether the newest content is one that was refused.
    pub(super) fn is_held(&self) -> bool {
        self.newest.as_ref().is_some_and(|(_, newest)| self.quarantined.iter().any(|known| known.digest == *newest))
    }

    /// How trials ended since this was last asked.
    pub(super) fn take_ended(&mut self) -> Vec<&'static str> {
        std::mem::take(&mut self.ended)
    }

    /// Fills the places in front, of one group or of all: of each group whose proxies would get something else, as long as
    /// none of them has a place.
    fn elect(&mut self, only: Option<&Arc<str>>, now: Instant) {
        let (Policy::Canary { first, timeout }, Some(trial)) = (self.policy, &mut self.trial) else { return };
        let has_some = |group: &Arc<str>| trial.canaries.iter().any(|canary| canary.group == *group);
        if only.is_some_and(has_some) {
            return;
        }
        let mut candidates: BTreeMap<&Arc<str>, Vec<(&Proxy, &Connected)>> = BTreeMap::new();
        for (proxy, connected) in &self.proxies {
            let group = connected.news.as_ref().filter(|group| only.is_none_or(|only| only == *group));
            if let Some(group) = group.filter(|group| !has_some(group)) {
                candidates.entry(group).or_default().push((proxy, connected));
            }
        }
        for (group, mut proxies) in candidates {
            // Those who went first before, then those who have been there longest.
            let oldest = |connected: &Connected| connected.streams.keys().next().copied();
            proxies.sort_by_key(|((node, _), connected)| (!self.veterans.contains(node), oldest(connected)));
            let wanted = first.of(proxies.len());
            trial.canaries.extend(proxies.into_iter().take(wanted).map(|(proxy, _)| Canary {
                node: Arc::clone(&proxy.0),
                group: Arc::clone(group),
                taken: Ok(proxy.clone()),
                deadline: now + timeout,
                passed: false,
            }));
        }
    }

    /// Notes whether a proxy in front has passed, on all its streams.
    fn judge(&mut self, proxy: &Proxy) {
        let (Some(trial), Some(connected)) = (&mut self.trial, self.proxies.get(proxy)) else { return };
        for canary in trial.canaries.iter_mut().filter(|canary| canary.taken.as_ref() == Ok(proxy)) {
            canary.passed = connected.passed(trial.id);
        }
    }

    /// Lets everyone have what has passed. True if it did.
    fn promote(&mut self) -> bool {
        let Some(trial) = &self.trial else { return false };
        // Without anybody to try it, it stays to be tried.
        if self.proxies.is_empty() || !trial.canaries.iter().all(|canary| canary.passed) {
            return false;
        }
        let is_tried = |connected: &Connected| match (&connected.news, self.policy) {
            (None, _) => true,
            (Some(_), Policy::Hold | Policy::Rollback) => connected.passed(trial.id),
            (Some(group), Policy::Canary { .. }) => trial.canaries.iter().any(|canary| canary.group == *group),
        };
        if !self.proxies.values().all(is_tried) {
            return false;
        }
        let Some(Trial { snapshot, digest, canaries, .. }) = self.trial.take() else { return false };
        let nodes: BTreeSet<&str> = canaries.iter().map(|canary| &*canary.node).collect();
        info!(revision = snapshot.revision(), %digest, first = listed(nodes), "taken, and rolled out to all");
        self.veterans = canaries.into_iter().map(|canary| canary.node).collect();
        self.promoted = Some((snapshot, digest));
        self.ended.push("promoted");
        true
    }

    /// Ends a trial: its content is not sent until it changes.
    fn quarantine(&mut self, cause: Cause, refusal: Refusal) {
        let Some(Trial { snapshot, digest, canaries, .. }) = self.trial.take() else { return };
        let Refusal { node, message, origins } = refusal;
        let (revision, back_to) =
            (snapshot.revision(), self.promoted.as_ref().map(|(snapshot, _)| snapshot.revision()));
        error!(
            revision,
            %digest,
            ?cause,
            node,
            error = ?message,
            ?origins,
            back_to,
            "not rolled out: whoever had it goes back, and it is sent to nobody until it changes"
        );
        self.veterans = canaries.into_iter().map(|canary| canary.node).collect();
        if self.quarantined.len() >= MAX_QUARANTINED {
            self.quarantined.pop_front();
        }
        self.ended.push(cause.as_str());
        let at = SystemTime::now();
        self.quarantined.push_back(Quarantined { digest, revision, cause, node, message, origins, at });
    }
}

impl Trial {
    fn has(&self, proxy: &Proxy) -> bool {
        self.canaries.iter().any(|canary| canary.taken.as_ref() == Ok(proxy))
    }
}

/// The group of a node in a snapshot, if the node would be served something else there.
fn news(trial: &Snapshot, promoted: Option<&Arc<Snapshot>>, node: &NodeFields) -> Option<Arc<str>> {
    let group = trial.group_of(node)?;
    let before = promoted.and_then(|snapshot| snapshot.group_of(node));
    let is_same = |before: &Arc<Group>| Arc::ptr_eq(before, group) || before.digest() == group.digest();
    (!before.is_some_and(is_same)).then(|| Arc::clone(group.name()))
}
