//! One kind of resource on one stream: what is asked for, what was told, and what is owed.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Instant;

use super::ledger::{InFlight, Ledger};
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
    /// The version of the set that the client was last brought up to.
    pub(super) settled: Option<Version>,
    /// A refusal has not been made good yet.
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
        /// Whether everything that was refused before has been made good.
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

    /// Whether the client was brought up to a version of the set.
    pub(super) fn is_settled(&self, version: Version) -> bool {
        self.settled == Some(version) || self.subscription.is_empty()
    }

    /// What to send now, if anything. What was owed is then paid, also where there is nothing to say.
    pub(super) fn plan(&mut self, protocol: Protocol, set: &Resources, permit: Permit) -> Option<Payload> {
        let changed = (permit.changes || self.answer) && self.settled != Some(set.version());
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
            self.settled = Some(set.version());
            if payload.is_none() && !self.subscription.is_empty() && self.ledger.in_sync() {
                self.found_settled = Some(set.version());
            }
        }
        self.asked.clear();
        self.forced.clear();
        self.answer = false;
        payload
    }

    /// Notes a response; returns the resources in it that are news to the client.
    pub(super) fn sent(&mut self, protocol: Protocol, mut response: InFlight) -> Vec<Arc<Resource>> {
        let is_news = |resource: &&Arc<Resource>| !self.ledger.offered(resource) || self.ledger.unknown(&resource.name);
        let news: Vec<_> = response.resources.iter().filter(is_news).cloned().collect();
        response.news.clone_from(&news);
        let full = protocol == Protocol::Sotw && self.kind.is_full_state();
        if full {
            // What a full set leaves out is gone.
            let kept: BTreeSet<&str> = response.resources.iter().map(|resource| &*resource.name).collect();
            self.ledger.retain(|name| kept.contains(name));
        }
        self.ledger.send(response);
        news
    }

    /// The response of a nonce was accepted.
    pub(super) fn acked(&mut self, nonce: u64, version: Version) -> Answer {
        self.ledger.accept(nonce, self.subscription.names());
        let recovered = self.in_doubt && self.ledger.is_certain();
        self.in_doubt &= !recovered;
        Answer::Ack { version, newest: nonce == self.ledger.last_nonce(), recovered }
    }

    /// The response of a nonce was refused. Nothing is owed for it: the same content is not sent again.
    pub(super) fn nacked(&mut self, refused: InFlight, code: i32, message: String) -> Answer {
        self.ledger.refuse(refused.nonce);
        self.in_doubt = true;
        let unknown = self.ledger.unknowns();
        Answer::Nack { refused, code, message, unknown }
    }

    /// When the wait for the newest answer is over.
    pub(super) fn busy_until(&self, patience: std::time::Duration) -> Option<Instant> {
        self.ledger.busy_until(patience)
    }
}
