//! What one client was told about one kind, and which of it is not answered yet.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::snapshot::{Resource, Version};

/// Un-answered responses that are remembered; a client this far behind has stopped answering.
const MAX_IN_FLIGHT: usize = 32;

/// What a client was last told about one name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Told {
    /// It has this content.
    Is(Version),
    /// The client holds something that is not known here.
    Other,
    /// It does not exist.
    Absent,
}

/// What a client is sure to have of one name, whatever it was told since.
#[derive(Clone, Debug)]
enum Held {
    Nothing,
    /// It says so, of an earlier stream.
    Claimed,
    /// This is what it last accepted.
    Accepted(Arc<Resource>),
}

#[derive(Clone, Debug)]
struct Entry {
    told: Told,
    /// The response that said so; 0 for what the client brought along.
    nonce: u64,
    held: Held,
}

/// A response that the client has not answered.
#[derive(Clone, Debug)]
pub(super) struct InFlight {
    pub(super) nonce: u64,
    pub(super) version: Version,
    pub(super) sent_at: Instant,
    pub(super) resources: Vec<Arc<Resource>>,
    pub(super) removed: Vec<Arc<str>>,
    /// Those of the resources that the client had not accepted in this form before.
    pub(super) news: Vec<Arc<Resource>>,
    /// Whether it changes or takes away something that the client has.
    pub(super) alters: bool,
}

/// What one client was told about one kind.
///
/// Three questions are asked of a name. What was it last told (`told`, `offered`), be it accepted or not? What does it have
/// for sure (`has`), or at least something (`holds`, `content`), counting what is under way? Is the last word refused, so that
/// nobody knows (`is_unknown`), and might it have nothing at all (`refused`)?
#[derive(Debug, Default)]
pub(super) struct Ledger {
    entries: BTreeMap<Arc<str>, Entry>,
    /// The names whose last word was in a response that was refused: clients apply parts of what they refuse.
    unknown: BTreeSet<Arc<str>>,
    /// Those of them that the refusal was about, and of which the client has accepted nothing.
    refused: Arc<BTreeSet<Arc<str>>>,
    in_flight: VecDeque<InFlight>,
    /// The newest nonces of this kind, oldest first.
    nonces: VecDeque<u64>,
}

impl Ledger {
    /// Notes what a client says it holds from an earlier stream.
    pub(super) fn claim(&mut self, name: Arc<str>, told: Told) {
        self.settle(&name);
        self.entries.insert(name, Entry { told, nonce: 0, held: Held::Claimed });
    }

    /// Drops what is known of the names that do not match.
    pub(super) fn retain(&mut self, mut keep: impl FnMut(&str) -> bool) {
        self.entries.retain(|name, _| keep(name));
        self.unknown.retain(|name| keep(name));
        if !self.refused.is_empty() {
            Arc::make_mut(&mut self.refused).retain(|name| keep(name));
        }
    }

    /// Drops what is known of a name.
    pub(super) fn forget(&mut self, name: &str) {
        self.entries.remove(name);
        self.settle(name);
    }

    /// There is a new word on a name: what was refused of it counts no more.
    fn settle(&mut self, name: &str) {
        self.unknown.remove(name);
        if self.refused.contains(name) {
            Arc::make_mut(&mut self.refused).remove(name);
        }
    }

    /// Makes all content count as differing, so that it is sent again.
    pub(super) fn distrust(&mut self) {
        for entry in self.entries.values_mut().filter(|entry| entry.told != Told::Absent) {
            entry.told = Told::Other;
        }
    }

    /// Notes that the client will hold what is under way to it, also of names that it had dropped meanwhile.
    pub(super) fn claim_in_flight(&mut self) {
        let names: Vec<_> = self.in_flight.iter().flat_map(|response| &response.resources).collect();
        for resource in names {
            let unheard = Entry { told: Told::Other, nonce: 0, held: Held::Nothing };
            self.entries.entry(Arc::clone(&resource.name)).or_insert(unheard);
        }
    }

    /// The names in responses that are not answered.
    pub(super) fn unanswered(&self) -> impl Iterator<Item = &Arc<str>> {
        self.in_flight
            .iter()
            .flat_map(|response| response.resources.iter().map(|resource| &resource.name).chain(&response.removed))
    }

    /// What the client was last told about a name.
    pub(super) fn told(&self, name: &str) -> Option<Told> {
        self.entries.get(name).map(|entry| entry.told)
    }

    /// Whether the client was last told exactly this content, accepted or not.
    pub(super) fn offered(&self, resource: &Resource) -> bool {
        self.told(&resource.name) == Some(Told::Is(resource.version))
    }

    /// Whether the client is sure to have exactly this content.
    pub(super) fn has(&self, resource: &Resource) -> bool {
        let Some(entry) = self.entries.get(&resource.name) else { return false };
        let same = match &entry.held {
            Held::Nothing => false,
            Held::Claimed => true,
            Held::Accepted(accepted) => accepted.version == resource.version,
        };
        same && !self.unknown.contains(&resource.name) && entry.told == Told::Is(resource.version)
    }

    /// Whether the last word on a name was refused.
    pub(super) fn is_unknown(&self, name: &str) -> bool {
        self.unknown.contains(name)
    }

    /// The names whose last word was refused.
    pub(super) fn unknowns(&self) -> &BTreeSet<Arc<str>> {
        &self.unknown
    }

    /// Whether the client has something of a name, or will have when it reads what is under way.
    pub(super) fn holds(&self, name: &str) -> bool {
        let Some(entry) = self.entries.get(name) else { return false };
        self.has_taken(name) || (!matches!(entry.told, Told::Absent) && self.pending(entry.nonce).is_some())
    }

    /// Whether the client has accepted something of a name, or says that it has it.
    pub(super) fn has_taken(&self, name: &str) -> bool {
        self.entries.get(name).is_some_and(|entry| !matches!(entry.held, Held::Nothing))
    }

    /// What the client has of a name, or will have when it has read what is under way; `None` where that is not known.
    pub(super) fn content(&self, name: &str) -> Option<&Arc<Resource>> {
        let entry = self.entries.get(name)?;
        let sent =
            self.pending(entry.nonce).and_then(|response| response.resources.iter().find(|it| *it.name == *name));
        match &entry.held {
            _ if sent.is_some() => sent,
            Held::Accepted(resource) => Some(resource),
            Held::Claimed | Held::Nothing => None,
        }
    }

    /// The names of which the client may have nothing, because it refused all that it was sent of them.
    pub(super) fn refused(&self) -> &Arc<BTreeSet<Arc<str>>> {
        &self.refused
    }

    /// Every name that was spoken of.
    pub(super) fn names(&self) -> impl Iterator<Item = &Arc<str>> {
        self.entries.keys()
    }

    /// Notes a response. False if an earlier one was given up: its answer, should it come, is not understood any more.
    pub(super) fn send(&mut self, response: InFlight) -> bool {
        let nonce = response.nonce;
        let resources = response.resources.iter().map(|resource| (&resource.name, Told::Is(resource.version)));
        for (name, told) in resources.chain(response.removed.iter().map(|name| (name, Told::Absent))) {
            let said = Entry { told, nonce, held: Held::Nothing };
            let entry = self.entries.entry(Arc::clone(name)).or_insert(said);
            (entry.told, entry.nonce) = (told, nonce);
            self.unknown.remove(name);
        }
        if !self.refused.is_empty() {
            let spoken = response.resources.iter().map(|resource| &resource.name).chain(&response.removed);
            let refused = Arc::make_mut(&mut self.refused);
            spoken.for_each(|name| _ = refused.remove(name));
        }
        self.nonces.push_back(nonce);
        self.in_flight.push_back(response);
        if self.nonces.len() > MAX_IN_FLIGHT {
            self.nonces.pop_front();
        }
        if self.in_flight.len() <= MAX_IN_FLIGHT {
            return true;
        }
        if let Some(oldest) = self.in_flight.front().map(|response| response.nonce) {
            self.refuse(oldest, |_| true);
        }
        false
    }

    /// Whether the last word on any name was refused.
    pub(super) fn has_unknowns(&self) -> bool {
        !self.unknown.is_empty()
    }

    /// Whether the client has answered everything.
    pub(super) fn is_answered(&self) -> bool {
        self.in_flight.is_empty()
    }

    /// Whether the client has answered everything and holds something of it.
    pub(super) fn in_sync(&self) -> bool {
        self.in_flight.is_empty() && self.entries.values().any(|entry| entry.told != Told::Absent)
    }

    /// The nonce of the newest response, 0 before the first.
    pub(super) fn last_nonce(&self) -> u64 {
        self.nonces.back().copied().unwrap_or(0)
    }

    /// Whether a nonce was lately used for this kind.
    pub(super) fn used(&self, nonce: u64) -> bool {
        self.nonces.contains(&nonce)
    }

    /// The un-answered response of a nonce.
    pub(super) fn pending(&self, nonce: u64) -> Option<&InFlight> {
        self.in_flight.iter().find(|response| response.nonce == nonce)
    }

    /// When the newest response stops holding back newer ones of its kind; `None` if it is answered.
    pub(super) fn busy_until(&self, patience: Duration) -> Option<Instant> {
        self.in_flight.back().map(|response| response.sent_at + patience)
    }

    /// When responses stop holding back what builds on them; `None` if all are answered. It is the oldest that counts, or a
    /// kind that is sent again and again would hold back the others for ever.
    pub(super) fn blocks_until(&self, patience: Duration) -> Option<Instant> {
        self.in_flight.front().map(|response| response.sent_at + patience)
    }

    /// The client accepted a response, and with it the earlier ones: answers that an Envoy holds back while it warms
    /// clusters are merged into one. True if something that the client had was changed or taken away by it.
    pub(super) fn accept(&mut self, nonce: u64, named: &BTreeSet<Arc<str>>) -> bool {
        let mut altered = false;
        for response in self.answered(nonce) {
            altered |= response.alters;
            for resource in response.news {
                if let Some(entry) = self.entries.get_mut(&resource.name) {
                    entry.held = Held::Accepted(resource);
                }
            }
            for name in &response.removed {
                let Some(entry) = self.entries.get_mut(name) else { continue };
                entry.held = Held::Nothing;
                if entry.told == Told::Absent && entry.nonce == response.nonce && !named.contains(name) {
                    self.entries.remove(name);
                }
            }
        }
        altered
    }

    /// The client did not accept a response: what it holds of the names in it is unknown from now on. `is_blamed` says of
    /// which names it said so; of the others it has probably taken what there was.
    pub(super) fn refuse(&mut self, nonce: u64, is_blamed: impl Fn(&str) -> bool) {
        for response in self.answered(nonce) {
            for name in response.resources.iter().map(|resource| &resource.name).chain(&response.removed) {
                let Some(entry) = self.entries.get(name).filter(|entry| entry.nonce == response.nonce) else {
                    continue;
                };
                self.unknown.insert(Arc::clone(name));
                if entry.told != Told::Absent && matches!(entry.held, Held::Nothing) && is_blamed(name) {
                    Arc::make_mut(&mut self.refused).insert(Arc::clone(name));
                }
            }
        }
    }

    fn answered(&mut self, nonce: u64) -> Vec<InFlight> {
        let count = self.in_flight.iter().take_while(|response| response.nonce <= nonce).count();
        self.in_flight.drain(..count).collect()
    }
}
