//! Which resources of one kind a client asks for, and the two ways of saying so.

use std::collections::BTreeSet;
use std::sync::Arc;

use crate::envoy::Kind;
use crate::snapshot::{Resource, Resources};

/// The name that stands for everything.
const WILDCARD: &str = "*";

/// The names that a client asks for; `*` is kept apart.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Subscription {
    names: BTreeSet<Arc<str>>,
    wildcard: bool,
    /// Whether a request has come at all.
    started: bool,
    /// Whether a request has ever named anything; from then on an empty list means nothing instead of everything.
    explicit: bool,
}

/// What a request changed.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Change {
    /// The names to answer because of this request.
    pub(super) asked: BTreeSet<Arc<str>>,
    /// The names that are no longer asked for by name.
    pub(super) dropped: BTreeSet<Arc<str>>,
    /// Everything is asked for, and was not before this request.
    pub(super) wildcard_asked: bool,
    /// Everything was asked for, and no longer is.
    pub(super) wildcard_dropped: bool,
}

impl Subscription {
    /// Takes the complete list that a state-of-the-world request carries.
    pub(super) fn replace(&mut self, kind: Kind, requested: &[String]) -> Change {
        self.explicit |= !requested.is_empty();
        // "If all requests so far on the stream for this type had no resource names, the server interprets it as a
        // wildcard"; afterwards an empty list unsubscribes from everything.
        let legacy = !self.explicit && empty_means_all(kind);
        let wildcard = legacy || requested.iter().any(|name| name == WILDCARD);
        let names: BTreeSet<Arc<str>> =
            requested.iter().filter(|name| *name != WILDCARD).map(|name| Arc::from(&**name)).collect();
        let change = Change {
            asked: names.difference(&self.names).cloned().collect(),
            dropped: self.names.difference(&names).cloned().collect(),
            wildcard_asked: wildcard && !self.wildcard,
            wildcard_dropped: !wildcard && self.wildcard,
        };
        (self.names, self.wildcard, self.started) = (names, wildcard, true);
        change
    }

    /// Takes what a stale list leaves out. What it adds comes again with the answer to the newer response.
    pub(super) fn narrow(&mut self, requested: &[String]) {
        self.explicit |= !requested.is_empty();
        self.wildcard &= requested.iter().any(|name| name == WILDCARD) || !self.explicit;
        let requested: BTreeSet<&str> = requested.iter().map(|name| &**name).collect();
        self.names.retain(|name| requested.contains(&**name));
    }

    /// Takes the additions and removals that an incremental request carries.
    pub(super) fn amend(&mut self, kind: Kind, subscribe: &[String], unsubscribe: &[String]) -> Change {
        let mut change = Change::default();
        if !self.started && subscribe.is_empty() && unsubscribe.is_empty() && empty_means_all(kind) {
            self.wildcard = true;
            change.wildcard_asked = true;
        }
        self.started = true;
        for name in subscribe {
            if name == WILDCARD {
                self.wildcard = true;
                change.wildcard_asked = true;
            } else {
                let name: Arc<str> = Arc::from(&**name);
                self.names.insert(Arc::clone(&name));
                change.asked.insert(name);
            }
        }
        // A name in both lists ends up unsubscribed: some clients say "nothing at all" as `*` in both.
        for name in unsubscribe {
            if name == WILDCARD {
                change.wildcard_dropped |= self.wildcard && !change.wildcard_asked;
                (self.wildcard, change.wildcard_asked) = (false, false);
            } else if let Some(name) = self.names.take(&**name) {
                change.asked.remove(&name);
                change.dropped.insert(name);
            }
        }
        change
    }

    /// Whether a request has come.
    pub(super) fn started(&self) -> bool {
        self.started
    }

    /// Whether everything is asked for.
    pub(super) fn wildcard(&self) -> bool {
        self.wildcard
    }

    /// What is asked for by name.
    pub(super) fn names(&self) -> &BTreeSet<Arc<str>> {
        &self.names
    }

    /// Whether nothing is asked for.
    pub(super) fn is_empty(&self) -> bool {
        !self.wildcard && self.names.is_empty()
    }

    /// Whether a name may be held by the client because of this subscription.
    pub(super) fn may_hold(&self, name: &str) -> bool {
        self.wildcard || self.names.contains(name)
    }

    /// Whether a resource is asked for. On-demand resources are never part of "everything".
    pub(super) fn covers(&self, resource: &Resource) -> bool {
        (self.wildcard && !resource.traits.on_demand) || self.names.contains(&resource.name)
    }

    /// The resource of a name, if it exists and is asked for.
    pub(super) fn get<'a>(&self, set: &'a Resources, name: &str) -> Option<&'a Arc<Resource>> {
        set.get(name).filter(|resource| self.covers(resource))
    }

    /// Everything that exists and is asked for, each once, by name.
    pub(super) fn select<'a>(&'a self, set: &'a Resources) -> Box<dyn Iterator<Item = &'a Arc<Resource>> + 'a> {
        if self.wildcard {
            Box::new(set.iter().filter(|resource| self.covers(resource)))
        } else {
            Box::new(self.names.iter().filter_map(|name| set.get(name)))
        }
    }
}

/// Only clusters and listeners know the old way of asking for everything. An Envoy that has lost its last EDS cluster
/// opens its next stream with an empty list of endpoints, and it means it.
fn empty_means_all(kind: Kind) -> bool {
    matches!(kind, Kind::Cluster | Kind::Listener)
}
