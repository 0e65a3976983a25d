//! One kind of resource on one stream: what is asked for, what was told, and what is owed.

use std::cmp::Ordering;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Instant;

use super::ledger::{InFlight, Ledger, Told};
use super::subscription::Subscription;
use super::{Protocol, delta, sotw};
use crate::envoy::Kind;
use crate::snapshot::{Resource, Resources, Version};

/// One kind of resource on one stream.
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
    /// The set that the client was last brought up to: what is the same there and in a newer set needs no second look.
    pub(super) settled: Option<Arc<Resources>>,
    /// Something was not accepted, and was not made good yet.
    pub(super) in_doubt: bool,
    /// The client turned out to hold this version of the set already.
    pub(super) found_settled: Option<Version>,
}

/// What a response says.
#[derive(Debug, Default)]
pub(super) struct Payload {
    pub(super) resources: Vec<Arc<Resource>>,
    /// Only incremental responses say what is gone.
    pub(super) removed: Vec<Arc<str>>,
}

/// What may be sent now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Permit {
    /// Whether changed content may be sent; what the client asks for always may.
    pub(super) changes: bool,
}

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
            settled: None,
            in_doubt: false,
            found_settled: None,
        }
    }

    /// Forgets all about the names that are no longer subscribed: the client does, too.
    pub(super) fn forget_dropped(&mut self) {
        let subscription = &self.subscription;
        self.ledger.retain(|name| subscription.may_hold(name));
        self.asked.retain(|name| subscription.may_hold(name));
        self.forced.retain(|name| subscription.may_hold(name));
    }

    /// Whether the client was brought up to a version of the set.
    pub(super) fn is_settled(&self, version: Version) -> bool {
        self.settled.as_ref().is_some_and(|set| set.version() == version) || self.subscription.is_empty()
    }

    /// What to send now, if anything. What was owed is then paid, also where there is nothing to say.
    pub(super) fn plan(&mut self, protocol: Protocol, set: &Arc<Resources>, permit: Permit) -> Option<Payload> {
        let current = self.settled.as_ref().is_some_and(|settled| settled.version() == set.version());
        let changed = (permit.changes || self.answer) && !current;
        if !changed && !self.answer && self.asked.is_empty() && self.forced.is_empty() {
            return None;
        }
        let payload = match protocol {
            _ if self.subscription.is_empty() && self.asked.is_empty() => None,
            Protocol::Sotw => sotw::payload(self, set, changed),
            Protocol::Delta => delta::payload(self, set, changed),
        };
        let complete = changed || (payload.is_some() && protocol == Protocol::Sotw && self.kind.is_full_state());
        if complete {
            if payload.is_none() && !self.subscription.is_empty() && !self.in_doubt && self.ledger.in_sync() {
                self.found_settled = Some(set.version());
            }
            self.settled = Some(Arc::clone(set));
        } else if payload.is_some() && !current {
            // The client now holds parts of a newer set: only a comparison with all that it was told will do.
            self.settled = None;
        }
        self.asked.clear();
        self.forced.clear();
        self.answer = false;
        payload
    }

    /// The subscribed names whose content in `set` is not what the client was last told; `None` is what is gone.
    pub(super) fn differences<'a>(&self, set: &'a Resources) -> BTreeMap<Arc<str>, Option<&'a Arc<Resource>>> {
        let candidates = if let Some(settled) = &self.settled {
            between(settled, set)
        } else {
            let gone = self.ledger.names().filter(|name| set.get(name).is_none());
            let there = set.iter().map(|resource| (Arc::clone(&resource.name), Some(resource)));
            there.chain(gone.map(|name| (Arc::clone(name), None))).collect()
        };
        let desired = candidates.into_iter().map(|(name, resource)| {
            let resource = resource.filter(|resource| self.subscription.covers(resource));
            (name, resource)
        });
        let differs = |(name, resource): &(Arc<str>, Option<&Arc<Resource>>)| match resource {
            Some(resource) => !self.ledger.offered(resource),
            None => matches!(self.ledger.told(name), Some(Told::Is(_) | Told::Other)),
        };
        desired.filter(differs).collect()
    }

    /// The subscribed names of which it is unknown what the client holds.
    pub(super) fn unknowns(&self) -> BTreeSet<Arc<str>> {
        if self.in_doubt { self.ledger.unknowns() } else { BTreeSet::new() }
    }

    /// Notes a response; returns the resources in it that are news to the client.
    pub(super) fn sent(&mut self, protocol: Protocol, mut response: InFlight) -> Vec<Arc<Resource>> {
        let is_news =
            |resource: &&Arc<Resource>| !self.ledger.offered(resource) || self.ledger.is_unknown(&resource.name);
        let news: Vec<_> = response.resources.iter().filter(is_news).cloned().collect();
        response.news.clone_from(&news);
        let full = protocol == Protocol::Sotw && self.kind.is_full_state();
        if full {
            // What a full set leaves out is gone.
            let kept: BTreeSet<&str> = response.resources.iter().map(|resource| &*resource.name).collect();
            self.ledger.retain(|name| kept.contains(name));
        }
        self.in_doubt |= !self.ledger.send(response);
        news
    }

    /// The response of a nonce was accepted.
    pub(super) fn acked(&mut self, nonce: u64, version: Version) -> Answer {
        self.ledger.accept(nonce, self.subscription.names());
        let clean = !self.in_doubt || !self.ledger.has_unknowns();
        let recovered = self.in_doubt && clean && self.ledger.is_answered();
        self.in_doubt &= !recovered;
        Answer::Ack { version, newest: nonce == self.ledger.last_nonce(), clean, recovered }
    }

    /// The response of a nonce was refused. Nothing is owed for it: the same content is not sent again.
    pub(super) fn nacked(&mut self, refused: InFlight, code: i32, message: String) -> Answer {
        self.ledger.refuse(refused.nonce);
        self.in_doubt = true;
        // A later response may speak of the same names. If it is lost with the stream, so is what it would have mended.
        let unanswered = self.ledger.unanswered().cloned();
        let unknown = self.ledger.unknowns().into_iter().chain(unanswered).collect();
        Answer::Nack { refused, code, message, unknown }
    }

    /// When the wait for the newest answer is over.
    pub(super) fn busy_until(&self, patience: std::time::Duration) -> Option<Instant> {
        self.ledger.busy_until(patience)
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
