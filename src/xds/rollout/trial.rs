//! Trials of snapshots: who goes first, what came of it, what is not to be tried again. Pure but for the log; what waits is told
//! the time.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use tracing::{error, info, warn};

use super::{CanaryStatus, Cause, Policy, Quarantined, RolloutStatus, TrialStatus};
use crate::snapshot::{Group, NodeFields, Snapshot, Version};

/// How long a lost proxy's place is kept for it: one that the new snapshot has felled must not be followed by another.
const RETURN: Duration = Duration::from_secs(5);

/// A trial is over once the proxies in one place were lost so often.
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
    pub(in crate::xds) group: Arc<str>,
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

/// Who has a place in front.
#[derive(Debug, PartialEq, Eq)]
enum Place {
    Taken(Proxy),
    /// It was lost at this time, and may come back.
    Kept(Instant),
    /// Whoever comes next of the group.
    Free,
}

/// A place in front.
#[derive(Debug)]
struct Canary {
    /// Who has it, or had it last.
    node: Arc<str>,
    group: Arc<str>,
    place: Place,
    deadline: Instant,
    passed: bool,
    /// How often whoever had it was lost.
    lost: usize,
}

impl Canary {
    fn is(&self, proxy: &Proxy) -> bool {
        matches!(&self.place, Place::Taken(taken) if taken == proxy)
    }

    fn take(&mut self, proxy: &Proxy, deadline: Instant) {
        (self.node, self.place) = (Arc::clone(&proxy.0), Place::Taken(proxy.clone()));
        (self.deadline, self.passed) = (deadline, false);
    }
}

#[derive(Debug)]
struct Trial {
    id: u64,
    snapshot: Arc<Snapshot>,
    digest: Version,
    canaries: Vec<Canary>,
}

/// Content that was refused, and the part of it that the proxy was served.
#[derive(Debug)]
struct Known {
    shown: Quarantined,
    group: Arc<str>,
    part: Option<Version>,
}

/// Everything that is known of rollouts.
///
/// Whatever happens (an offer, someone who comes, goes, passes) may be what a trial has waited for, so each ends with
/// [`Trials::promote`]. With canaries, those in front are in `Trial::canaries`; with rollback everyone is, and the list is empty.
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
    newest: Option<Arc<Snapshot>>,
    /// Whether the newest content is one that was refused.
    held: bool,
    quarantined: VecDeque<Known>,
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
            held: false,
            quarantined: VecDeque::new(),
            ended: Vec::new(),
        }
    }

    /// Takes the newest snapshot. True if someone may have to serve another one.
    pub(super) fn offer(&mut self, snapshot: Arc<Snapshot>, now: Instant) -> bool {
        if self.newest.as_ref().is_some_and(|newest| Arc::ptr_eq(newest, &snapshot)) {
            return false;
        }
        let (digest, revision) = (snapshot.digest(), snapshot.revision());
        self.newest = Some(Arc::clone(&snapshot));
        self.held = false;
        if let Some(trial) = &mut self.trial
            && trial.digest == digest
        {
            // Only places in the files differ.
            trial.snapshot = snapshot;
            return true;
        }
        if let Some(Trial { canaries, .. }) = self.trial.take() {
            self.veterans = canaries.into_iter().map(|canary| canary.node).collect();
            self.ended.push("superseded");
        }
        if self.promoted.as_ref().is_some_and(|(_, promoted)| *promoted == digest) {
            self.promoted = Some((snapshot, digest));
            return true;
        }
        if let Some(Known { shown: Quarantined { node, message, .. }, .. }) = self.known(&snapshot, digest) {
            warn!(revision, %digest, node, message, "not rolled out: the same content was refused before");
            self.held = true;
            return true;
        }
        self.started += 1;
        let promoted = self.promoted.as_ref().map(|(snapshot, _)| snapshot);
        for connected in self.proxies.values_mut() {
            connected.news = news(&snapshot, promoted, &connected.fields);
        }
        self.trial = Some(Trial { id: self.started, snapshot, digest, canaries: Vec::new() });
        self.elect(None, now);
        self.promote();
        true
    }

    /// What was refused of a snapshot: all of it, or what it holds for one group, if that is not what the group has.
    fn known(&self, snapshot: &Snapshot, digest: Version) -> Option<&Known> {
        let part = |snapshot: &Snapshot, group: &str| snapshot.group(group).map(|group| group.digest());
        let promoted = self.promoted.as_ref().map(|(snapshot, _)| snapshot);
        self.quarantined.iter().find(|known| {
            let is_served = promoted.is_some_and(|promoted| part(promoted, &known.group) == known.part);
            let has_part = known.part.is_some() && part(snapshot, &known.group) == known.part;
            known.shown.digest == digest || (has_part && !is_served)
        })
    }

    /// Lets content be tried again. True if there was such content.
    pub(super) fn release(&mut self, digest: Version) -> bool {
        let before = self.quarantined.len();
        self.quarantined.retain(|known| known.shown.digest != digest);
        if self.quarantined.len() == before {
            return false;
        }
        // It is offered anew, as if it had just come.
        (self.newest, self.held) = (None, false);
        true
    }

    /// A stream of a proxy was opened. True if others may have to serve something else for it.
    pub(super) fn join(&mut self, proxy: &Proxy, stream: u64, fields: &NodeFields, now: Instant) -> bool {
        let (trial, promoted) = (self.trial.as_mut(), self.promoted.as_ref().map(|(snapshot, _)| snapshot));
        let connected = self.proxies.entry(proxy.clone()).or_insert_with(|| Connected {
            fields: fields.clone(),
            streams: BTreeMap::new(),
            news: trial.as_ref().and_then(|trial| news(&trial.snapshot, promoted, fields)),
        });
        connected.streams.insert(stream, None);
        let (Some(trial), Some(group)) = (trial, connected.news.clone()) else { return false };
        let is_in_front = trial.canaries.iter().any(|canary| canary.is(proxy));
        let waits = |canary: &&mut Canary| match canary.place {
            Place::Taken(_) => false,
            Place::Kept(_) => canary.node == proxy.0 && canary.group == group,
            Place::Free => canary.group == group,
        };
        if let Policy::Canary { timeout, .. } = self.policy
            && let Some(canary) = trial.canaries.iter_mut().find(waits).filter(|_| !is_in_front)
        {
            canary.take(proxy, now + timeout);
        }
        self.elect(Some(&group), now);
        self.judge(proxy);
        self.promote()
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
        let Some(canary) = trial.canaries.iter_mut().find(|canary| canary.is(proxy)) else { return self.promote() };
        (canary.place, canary.passed) = (Place::Kept(now), false);
        canary.lost += 1;
        if canary.lost >= MAX_LOST {
            let message = format!("whoever went first in its place was lost {MAX_LOST} times");
            let (node, group) = (proxy.0.to_string(), Arc::clone(&canary.group));
            self.quarantine(Cause::Lost, Refusal { node, group, message, origins: Vec::new() });
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
            let message = match canary.place {
                Place::Taken(_) => "it did not take everything in time",
                Place::Kept(_) | Place::Free => "it was lost, and did not come back in time",
            };
            let (node, group) = (canary.node.to_string(), Arc::clone(&canary.group));
            self.quarantine(Cause::Timeout, Refusal { node, group, message: message.to_owned(), origins: Vec::new() });
            return true;
        }
        let mut freed = false;
        for canary in &mut trial.canaries {
            if matches!(canary.place, Place::Kept(since) if since + RETURN <= now) {
                canary.place = Place::Free;
                freed = true;
            }
        }
        if freed {
            self.succeed(now);
        }
        freed
    }

    /// When [`Trials::tick`] has something to do.
    pub(super) fn deadline(&self) -> Option<Instant> {
        let canaries = self.trial.iter().flat_map(|trial| &trial.canaries);
        let next = |canary: &Canary| {
            let deadline = Some(canary.deadline).filter(|_| !canary.passed);
            let kept = if let Place::Kept(since) = canary.place { Some(since + RETURN) } else { None };
            deadline.into_iter().chain(kept).min()
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
            peer: if let Place::Taken((_, peer)) = &canary.place { Some(peer.to_string()) } else { None },
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
            quarantined: self.quarantined.iter().map(|known| known.shown.clone()).collect(),
        }
    }

    /// Whether something is on trial.
    pub(super) fn is_trying(&self) -> bool {
        self.trial.is_some()
    }

    /// Whether the newest content is one that was refused.
    pub(super) fn is_held(&self) -> bool {
        self.held
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
                place: Place::Taken(proxy.clone()),
                deadline: now + timeout,
                passed: false,
                lost: 0,
            }));
        }
    }

    /// Gives free places to proxies of their groups that have none, if there are any.
    fn succeed(&mut self, now: Instant) {
        let (Policy::Canary { timeout, .. }, Some(trial)) = (self.policy, &mut self.trial) else { return };
        for index in 0..trial.canaries.len() {
            let Canary { group, place: Place::Free, .. } = &trial.canaries[index] else { continue };
            let of_group = self.proxies.iter().filter(|(_, connected)| connected.news.as_ref() == Some(group));
            let unplaced = of_group.map(|(proxy, _)| proxy).find(|proxy| !trial.has(proxy)).cloned();
            if let Some(proxy) = unplaced {
                trial.canaries[index].take(&proxy, now + timeout);
            }
        }
    }

    /// Notes whether a proxy in front has passed, on all its streams.
    fn judge(&mut self, proxy: &Proxy) {
        let (Some(trial), Some(connected)) = (&mut self.trial, self.proxies.get(proxy)) else { return };
        for canary in trial.canaries.iter_mut().filter(|canary| canary.is(proxy)) {
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
        self.veterans = canaries.into_iter().map(|canary| canary.node).collect();
        info!(revision = snapshot.revision(), %digest, first = ?self.veterans, "taken, and rolled out to all");
        self.promoted = Some((snapshot, digest));
        self.ended.push("promoted");
        true
    }

    /// Ends a trial: its content is not sent until it changes.
    fn quarantine(&mut self, cause: Cause, refusal: Refusal) {
        let Some(Trial { snapshot, digest, canaries, .. }) = self.trial.take() else { return };
        let Refusal { node, group, message, origins } = refusal;
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
        let part = snapshot.group(&group).map(|group| group.digest());
        let shown = Quarantined { digest, revision, cause, node, message, origins, at };
        self.quarantined.push_back(Known { shown, group, part });
        self.held = true;
    }
}

impl Trial {
    fn has(&self, proxy: &Proxy) -> bool {
        self.canaries.iter().any(|canary| canary.is(proxy))
    }
}

/// The group of a node in a snapshot, if the node would be served something else there.
fn news(trial: &Snapshot, promoted: Option<&Arc<Snapshot>>, node: &NodeFields) -> Option<Arc<str>> {
    let group = trial.group_of(node)?;
    let before = promoted.and_then(|snapshot| snapshot.group_of(node));
    let is_same = |before: &Arc<Group>| Arc::ptr_eq(before, group) || before.digest() == group.digest();
    (!before.is_some_and(is_same)).then(|| Arc::clone(group.name()))
}
