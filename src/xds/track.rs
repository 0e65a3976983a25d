//! One kind of resource on one stream: what is asked for, what was told, and what is owed.

use std::cmp::Ordering;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::ledger::{InFlight, Ledger, Told};
use super::subscription::Subscription;
use super::{Protocol, delta, origins, sotw};
use crate::envoy::Kind;
use crate::snapshot::{Resource, Resources, Version};

/// One kind of resource on one stream.
///
/// Where it stands on a version of the set, each more than the one before: it was looked at (`is_current`), nothing of it waits
/// to be sent (`is_settled`), and the client has answered everything and refused nothing of it (`is_done`; `is_taken` excuses
/// some names). `in_doubt` lasts from a refusal until the answer that leaves nothing refused and nothing waiting.
#[derive(Debug)]
pub(super) struct Track {
    pub(super) kind: Kind,
    pub(super) subscription: Subscription,
    pub(super) ledger: Ledger,
    /// Names to answer because the client has just asked, whether or not their content changed.
    pub(super) asked: BTreeSet<Arc<str>>,
    /// Names to send again because something that was sent makes the client wait for them.
    pub(super) forced: BTreeSet<Arc<str>>,
    /// The client waits for an answer, be it empty.
    pub(super) answer: bool,
    /// The client has what it needs from an earlier stream: the answer that it waits for may be empty.
    pub(super) rejoined: bool,
    /// The set that the client was last brought up to, but for what is deferred: what is the same there and in a newer set
    /// needs no second look.
    pub(super) settled: Option<Arc<Resources>>,
    /// The names that differ from what the client was told, and for which the time has not come.
    pub(super) deferred: BTreeSet<Arc<str>>,
    /// Something was not accepted, and was not made good yet.
    pub(super) in_doubt: bool,
    /// The client turned out to hold this version of the set already.
    pub(super) found_settled: Option<Version>,
    pub(super) missing: Missing,
}

/// What a client hears of names that do not exist where that is all there is to say, in the state of the world.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Missing {
    /// Nothing: it would not listen, and may refuse it.
    #[default]
    Unsaid,
    /// That they do not exist.
    Said,
}

/// What a response says.
#[derive(Debug, Default)]
pub(super) struct Payload {
    pub(super) resources: Vec<Arc<Resource>>,
    /// What is gone, or never was.
    pub(super) removed: Vec<Arc<str>>,
}

/// What may be sent now. What the client asks for always may.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Permit {
    /// Whether changed content may be sent.
    pub(super) changes: bool,
    /// What of what is gone may be taken away.
    pub(super) removals: Removals,
    /// The clusters that the client may lack, because it refused them: nothing new may lead there.
    pub(super) refused: Arc<BTreeSet<Arc<str>>>,
}

/// What may be taken away of what others lead to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Removals {
    /// Nothing.
    None,
    /// What the client has not accepted yet: nothing leads there, and the client may be waiting for it in vain.
    Untaken,
    /// All that is gone.
    All,
}

/// The names whose content differs from what the client was told; `None` is what is gone.
pub(super) type Differences<'a> = BTreeMap<Arc<str>, Option<&'a Arc<Resource>>>;

/// What a request says of an earlier response.
#[derive(Debug)]
pub(super) enum Answer {
    /// Nothing that counts.
    Nothing,
    /// It was accepted.
    Ack {
        version: Version,
        /// Whether it was the newest response of its kind.
        newest: bool,
        /// Whether nothing that was refused before is still to be made good.
        clean: bool,
        /// Whether this is the answer that made the last of it good.
        recovered: bool,
        /// Whether something that the client had was changed or taken away.
        altered: bool,
    },
    /// It was refused.
    Nack {
        code: i32,
        message: String,
        /// What was refused.
        refused: InFlight,
        /// All names whose state at the client is unknown.
        unknown: BTreeSet<Arc<str>>,
    },
}

impl Track {
    pub(super) fn new(kind: Kind) -> Self {
        Self {
            kind,
            subscription: Subscription::default(),
            ledger: Ledger::default(),
            asked: BTreeSet::new(),
            forced: BTreeSet::new(),
            answer: false,
            rejoined: false,
            settled: None,
            deferred: BTreeSet::new(),
            in_doubt: false,
            found_settled: None,
            missing: Missing::Unsaid,
        }
    }

    /// Forgets all about the names that are no longer subscribed: the client does, too.
    pub(super) fn forget_dropped(&mut self) {
        let subscription = &self.subscription;
        self.ledger.retain(|name| subscription.may_hold(name));
        self.asked.retain(|name| subscription.may_hold(name));
        self.forced.retain(|name| subscription.may_hold(name));
        self.deferred.retain(|name| subscription.may_hold(name));
    }

    /// Whether the client is told that a name does not exist. Errors are for names that are asked for, and not for "".
    pub(super) fn tells_missing(&self, name: &str) -> bool {
        self.missing == Missing::Said && !name.is_empty() && self.subscription.names().contains(name)
    }

    /// Whether the client was brought up to a version of the set.
    pub(super) fn is_settled(&self, version: Version) -> bool {
        self.subscription.is_empty() || (self.is_current(version) && self.deferred.is_empty())
    }

    fn is_current(&self, version: Version) -> bool {
        self.settled.as_ref().is_some_and(|set| set.version() == version)
    }

    /// Whether the client has taken everything of a version of the set, and said so.
    pub(super) fn is_done(&self, version: Version) -> bool {
        self.is_taken(version, |_| false)
    }

    /// The same, but for names that are excused.
    pub(super) fn is_taken(&self, version: Version, excused: impl Fn(&Arc<str>) -> bool) -> bool {
        let is_told = self.subscription.is_empty() || (self.is_current(version) && self.deferred.iter().all(&excused));
        is_told && self.ledger.is_answered() && self.unknowns().all(excused)
    }

    /// The names that wait, or of which it is unknown what the client has.
    pub(super) fn open(&self) -> impl Iterator<Item = &Arc<str>> {
        self.unknowns().chain(&self.deferred)
    }

    /// Whether something must be sent whatever the state of other kinds.
    pub(super) fn is_owed(&self) -> bool {
        self.answer || !self.asked.is_empty() || !self.forced.is_empty()
    }

    /// What to send now, if anything. What was owed is then paid, also where there is nothing to say; what may not be sent
    /// yet is deferred.
    pub(super) fn plan(&mut self, protocol: Protocol, set: &Arc<Resources>, permit: &Permit) -> Option<Payload> {
        let settled = self.is_current(set.version()) && self.deferred.is_empty();
        if settled && !self.is_owed() {
            return None;
        }
        let (due, deferred) = self.divide(self.differences(set), permit);
        if protocol == Protocol::Sotw && !self.kind.is_full_state() {
            // Unless it is said that such a resource is gone, there is nothing to be made good of it.
            let unsaid = due.iter().filter(|(name, resource)| resource.is_none() && !self.tells_missing(name));
            let unsaid: Vec<_> = unsaid.map(|(name, _)| Arc::clone(name)).collect();
            for name in unsaid {
                self.ledger.forget(&name);
            }
        }
        let payload = match protocol {
            _ if self.subscription.is_empty() && self.asked.is_empty() => None,
            Protocol::Sotw => sotw::payload(self, set, due, &deferred),
            Protocol::Delta => delta::payload(self, set, due, &deferred),
        };
        let is_brought_up = !settled && deferred.is_empty();
        if is_brought_up
            && payload.is_none()
            && !self.subscription.is_empty()
            && !self.in_doubt
            && self.ledger.in_sync()
        {
            self.found_settled = Some(set.version());
        }
        self.settled = Some(Arc::clone(set));
        self.deferred = deferred;
        self.asked.clear();
        self.forced.clear();
        (self.answer, self.rejoined) = (false, false);
        payload
    }

    /// Parts differences into what may be sent now, and the names of what may not.
    fn divide<'a>(&self, all: Differences<'a>, permit: &Permit) -> (Differences<'a>, BTreeSet<Arc<str>>) {
        let changes = permit.changes || (self.answer && !self.rejoined);
        let leads_to_refused =
            |resource: &Resource| resource.traits.clusters.iter().any(|it| permit.refused.contains(it));
        // A full set that leaves out what the client may have would take it away.
        let must_be_in = |name: &str| self.kind.is_full_state() && self.ledger.is_unknown(name);
        let is_held_back = |name: &Arc<str>, resource: Option<&Arc<Resource>>| {
            let is_owed = self.answer || self.asked.contains(name) || must_be_in(name);
            !is_owed && resource.is_some_and(|resource| leads_to_refused(resource))
        };
        // Something that is held back may be there in place of something that is gone, on the same port, say.
        let holds_back = !permit.refused.is_empty() && all.iter().any(|(name, resource)| is_held_back(name, *resource));
        let stays = |name: &str| match permit.removals {
            Removals::None => self.ledger.holds(name),
            Removals::Untaken => self.ledger.has_taken(name),
            Removals::All => false,
        };
        let waits = |name: &Arc<str>, resource: Option<&Arc<Resource>>| match resource {
            None if self.kind.is_removed_last() && stays(name) => true,
            _ if self.asked.contains(name) => false,
            _ if !changes => true,
            Some(_) => holds_back && is_held_back(name, resource),
            None => holds_back && self.ledger.has_taken(name),
        };
        let (deferred, due): (Differences<'a>, _) = all.into_iter().partition(|(name, it)| waits(name, *it));
        (due, deferred.into_keys().collect())
    }

    /// The subscribed names whose content in `set` is not what the client was last told.
    fn differences<'a>(&self, set: &'a Resources) -> Differences<'a> {
        let candidates = if let Some(settled) = &self.settled {
            let deferred = self.deferred.iter().map(|name| (Arc::clone(name), set.get(name)));
            between(settled, set).into_iter().chain(deferred).collect()
        } else {
            let gone = self.ledger.names().filter(|name| set.get(name).is_none());
            let there = set.iter().map(|resource| (Arc::clone(&resource.name), Some(resource)));
            there.chain(gone.map(|name| (Arc::clone(name), None))).collect::<Vec<_>>()
        };
        let desired = candidates.into_iter().map(|(name, resource)| {
            let resource = resource.filter(|resource| self.subscription.covers(resource));
            (name, resource)
        });
        let differs = |(name, resource): &(Arc<str>, Option<&Arc<Resource>>)| match resource {
            Some(resource) => !self.ledger.offered(resource),
            // A listener that drains still looks its filters up, and answers 500 without. An Envoy drops itself what it needs no more.
            None if self.kind == Kind::ExtensionConfig => false,
            None => matches!(self.ledger.told(name), Some(Told::Is(_) | Told::Other)),
        };
        desired.filter(differs).collect()
    }

    /// What to answer for one name: what there is, or what the client has of something that is to go later.
    pub(super) fn find<'a>(
        &'a self,
        set: &'a Resources,
        deferred: &BTreeSet<Arc<str>>,
        name: &str,
    ) -> Option<&'a Arc<Resource>> {
        let current = self.subscription.get(set, name);
        current.or_else(|| deferred.contains(name).then(|| self.ledger.content(name)).flatten())
    }

    /// The subscribed names of which it is unknown what the client holds.
    pub(super) fn unknowns(&self) -> impl Iterator<Item = &Arc<str>> {
        self.ledger.unknowns().iter().filter(|_| self.in_doubt)
    }

    /// Notes a response; returns the resources in it that are news to the client.
    pub(super) fn sent(&mut self, protocol: Protocol, mut response: InFlight) -> Vec<Arc<Resource>> {
        let is_news = |resource: &&Arc<Resource>| !self.ledger.has(resource);
        let news: Vec<_> = response.resources.iter().filter(is_news).cloned().collect();
        let changed = news.iter().map(|resource| &resource.name).chain(&response.removed);
        response.alters = changed.into_iter().any(|name| self.ledger.holds(name));
        response.news.clone_from(&news);
        let full = protocol == Protocol::Sotw && self.kind.is_full_state();
        if full {
            // What a full set leaves out is gone.
            let kept: BTreeSet<&str> = response.resources.iter().map(|resource| &*resource.name).collect();
            response.alters |= self.ledger.names().any(|name| !kept.contains(&**name) && self.ledger.has_taken(name));
            self.ledger.retain(|name| kept.contains(name));
        }
        self.in_doubt |= !self.ledger.send(response);
        news
    }

    /// The response of a nonce was accepted.
    pub(super) fn acked(&mut self, nonce: u64, version: Version) -> Answer {
        let altered = self.ledger.accept(nonce, self.subscription.names());
        let clean = !self.in_doubt || !self.ledger.has_unknowns();
        // What is to go later may be just what it refused to let go.
        let recovered = self.in_doubt && clean && self.ledger.is_answered() && self.deferred.is_empty();
        self.in_doubt &= !recovered;
        Answer::Ack { version, newest: nonce == self.ledger.last_nonce(), clean, recovered, altered }
    }

    /// The response of a nonce was refused. Nothing is owed for it: the same content is not sent again.
    pub(super) fn nacked(&mut self, refused: InFlight, code: i32, message: String) -> Answer {
        self.ledger.refuse(refused.nonce, origins::blamed(&message, &refused));
        self.in_doubt = true;
        // A later response may speak of the same names. If it is lost with the stream, so is what it would have mended.
        let unanswered = self.ledger.unanswered().cloned();
        // And what is to go later may be what it refused to let go on an earlier stream.
        let deferred = self.deferred.iter().cloned();
        let unknown = self.ledger.unknowns().iter().cloned().chain(unanswered).chain(deferred).collect();
        Answer::Nack { refused, code, message, unknown }
    }
}

/// The names whose resources differ between two sets, with what they are in the new one. Most are the same `Arc` in both.
fn between<'a>(old: &Resources, new: &'a Resources) -> Vec<(Arc<str>, Option<&'a Arc<Resource>>)> {
    let (mut before, mut after) = (old.iter().peekable(), new.iter().peekable());
    let mut found = Vec::new();
    loop {
        let order = match (before.peek(), after.peek()) {
            (None, None) => return found,
            (Some(_), None) => Ordering::Less,
            (None, Some(_)) => Ordering::Greater,
            (Some(old), Some(new)) if Arc::ptr_eq(old, new) => Ordering::Equal,
            (Some(old), Some(new)) => old.name.cmp(&new.name),
        };
        let old = if order.is_le() { before.next() } else { None };
        let new = if order.is_ge() { after.next() } else { None };
        match (old, new) {
            (Some(old), None) => found.push((Arc::clone(&old.name), None)),
            (Some(old), Some(new)) if old.version == new.version => {}
            (_, Some(new)) => found.push((Arc::clone(&new.name), Some(new))),
            (None, None) => {}
        }
    }
}
