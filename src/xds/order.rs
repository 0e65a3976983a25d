//! One stream's conversation over all its kinds: which may be sent now, and in which order.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Instant;

use super::gate::{Gates, Hold, Waiting, builds_on, leads_to};
use super::ledger::InFlight;
use super::track::{Answer, Missing, Payload, Permit, Removals, Track};
use super::{Protocol, Request, delta, sotw};
use crate::envoy::Kind;
use crate::snapshot::{Group, Resource, Resources, Version};

/// A response to be written.
#[derive(Debug)]
pub(super) struct Response {
    pub(super) kind: Kind,
    /// The version of the whole set that the resources come from.
    pub(super) version: Version,
    pub(super) nonce: u64,
    pub(super) resources: Vec<Arc<Resource>>,
    /// What is gone, or never was: `removed_resources`, or `resource_errors` in the state of the world.
    pub(super) removed: Vec<Arc<str>>,
    /// It is sent although an earlier response was not answered in time.
    pub(super) impatient: bool,
}

/// What was said on one stream. Pure: requests, content and the time are handed in, responses are handed out.
#[derive(Debug)]
pub(super) struct Conversation {
    protocol: Protocol,
    tracks: BTreeMap<Kind, Track>,
    /// Counts the responses of all kinds, so that no nonce is ever taken for one of another kind.
    nonce: u64,
    gates: Gates,
    /// Nothing is taken away before this moment.
    grace: Option<Instant>,
    /// The endpoints of clusters that were sent before the client asked for any endpoints.
    awaited: BTreeSet<Arc<str>>,
    missing: Missing,
}

impl Conversation {
    pub(super) fn new(protocol: Protocol, gates: Gates) -> Self {
        Self {
            protocol,
            tracks: BTreeMap::new(),
            nonce: 0,
            gates,
            grace: None,
            awaited: BTreeSet::new(),
            missing: Missing::Unsaid,
        }
    }

    /// Also tells of names that do not exist where that is all there is to say. To be called before the first request:
    /// in the state of the world, Envoys ignore it, and older ones refuse a response without resources.
    pub(super) fn tell_missing(&mut self) {
        self.missing = Missing::Said;
    }

    /// Takes a request. `doubts` is asked on the first incremental request of a kind only.
    pub(super) fn hear(
        &mut self,
        kind: Kind,
        request: &Request,
        now: Instant,
        doubts: impl FnOnce() -> Option<BTreeSet<Arc<str>>>,
    ) -> Answer {
        let missing = self.missing;
        let track = self.tracks.entry(kind).or_insert_with(|| Track { missing, ..Track::new(kind) });
        let answer = match request {
            Request::Sotw(request) => sotw::hear(track, request),
            Request::Delta(request) => delta::hear(track, request, doubts),
        };
        if kind == Kind::Endpoint {
            let awaited = std::mem::take(&mut self.awaited);
            track.forced.extend(awaited.into_iter().filter(|name| track.subscription.may_hold(name)));
        }
        // A client that comes back has listeners and routes that it has not spoken of yet.
        let rejoins = track.rejoined && kind.is_removed_last();
        if rejoins || (matches!(answer, Answer::Ack { altered: true, .. }) && self.outlasts_answer(kind)) {
            self.grace = self.grace.max(Some(now + self.gates.removal_grace));
        }
        answer
    }

    /// Whether a client goes on for a while with what it had of a kind after it has accepted something else: an Envoy drains old
    /// listeners, and a gRPC client, which asks for clusters by name, answers routes when it has read them and takes them
    /// into use when it has the clusters.
    fn outlasts_answer(&self, kind: Kind) -> bool {
        let by_name = |clusters: &Track| !clusters.subscription.wildcard();
        match kind {
            Kind::Listener => true,
            Kind::Route | Kind::ScopedRoute => self.tracks.get(&Kind::Cluster).is_some_and(by_name),
            _ => false,
        }
    }

    /// The next response, if one is due. To be called until it returns `None`; the order of the kinds is the order of
    /// the bytes.
    pub(super) fn next(&mut self, group: &Group, now: Instant) -> Option<Response> {
        // What a kind has to say of a new set may be nothing: once that is known, something may be taken away.
        Kind::ALL.into_iter().chain(Kind::ALL).find_map(|kind| self.next_of(kind, group, now))
    }

    fn next_of(&mut self, kind: Kind, group: &Group, now: Instant) -> Option<Response> {
        let is_owed = self.tracks.get(&kind)?.is_owed();
        let permit = Permit {
            changes: self.blockers(kind, now).is_empty(),
            removals: self.removals(kind, group, now),
            refused: self.refused(),
        };
        let impatient = !is_owed && self.is_impatient(kind, now);
        let track = self.tracks.get_mut(&kind)?;
        let set = group.resources(kind);
        let Payload { resources, removed } = track.plan(self.protocol, set, &permit)?;
        let version = match self.protocol {
            // A full set that holds what is to go is another one.
            Protocol::Sotw if kind.is_full_state() && !track.deferred.is_empty() => {
                Version::of_all(resources.iter().map(|resource| (&*resource.name, resource.version)))
            }
            _ => set.version(),
        };
        self.nonce += 1;
        let in_flight = InFlight {
            nonce: self.nonce,
            version,
            sent_at: now,
            resources: resources.clone(),
            removed: removed.clone(),
            news: Vec::new(),
            alters: false,
        };
        let news = track.sent(self.protocol, in_flight);
        if kind == Kind::Cluster {
            self.force_endpoints(&news, set);
        }
        if kind == Kind::Route {
            self.force_virtual_hosts(&news);
        }
        Some(Response { kind, version, nonce: self.nonce, resources, removed, impatient })
    }

    /// The kinds whose answers changes of a kind wait for.
    fn blockers(&self, kind: Kind, now: Instant) -> BTreeSet<Kind> {
        let blocks = |other: &Kind| self.blocks_until(kind, *other).is_some_and(|until| until > now);
        self.foundations(kind).filter(blocks).collect()
    }

    /// Whether a change of a kind would go on without an answer that it has waited for long enough.
    fn is_impatient(&self, kind: Kind, now: Instant) -> bool {
        self.foundations(kind).any(|other| self.blocks_until(kind, other).is_some_and(|until| until <= now))
    }

    fn foundations(&self, kind: Kind) -> impl Iterator<Item = Kind> {
        let others: &[Kind] = if self.gates.open { &[] } else { builds_on(kind) };
        std::iter::once(kind).chain(others.iter().copied())
    }

    /// When the wait of one kind for another, or for itself, is over.
    fn blocks_until(&self, kind: Kind, other: Kind) -> Option<Instant> {
        let ledger = &self.tracks.get(&other)?.ledger;
        if kind == other { ledger.busy_until(self.gates.timeout) } else { ledger.blocks_until(self.gates.timeout) }
    }

    /// What may be taken away of a kind.
    fn removals(&self, kind: Kind, group: &Group, now: Instant) -> Removals {
        match self.removal_hold(kind, group, now) {
            None => Removals::All,
            Some(Hold::Removal(waits)) if waits.iter().any(|other| *other != kind) => Removals::None,
            Some(_) => Removals::Untaken,
        }
    }

    /// What keeps something of a kind from being taken away, if anything.
    fn removal_hold(&self, kind: Kind, group: &Group, now: Instant) -> Option<Hold> {
        if self.gates.open || !kind.is_removed_last() {
            return None;
        }
        let is_done = |track: &Track| track.is_done(group.resources(track.kind).version());
        let mut waits: BTreeSet<Kind> = leads_to(kind)
            .iter()
            .copied()
            .filter(|other| self.tracks.get(other).is_some_and(|track| !is_done(track)))
            .collect();
        if self.tracks.get(&kind).is_some_and(|track| !track.ledger.is_answered()) {
            waits.insert(kind);
        }
        if !waits.is_empty() {
            return Some(Hold::Removal(waits));
        }
        self.grace.filter(|grace| *grace > now).map(|_| Hold::Grace)
    }

    /// The clusters that the client may lack, because it refused them.
    fn refused(&self) -> Arc<BTreeSet<Arc<str>>> {
        let clusters = self.tracks.get(&Kind::Cluster).filter(|_| !self.gates.open);
        clusters.map(|track| Arc::clone(track.ledger.refused())).unwrap_or_default()
    }

    /// What is held back, and why. To be asked when nothing more is due.
    pub(super) fn waiting(&self, group: &Group, now: Instant) -> Vec<Waiting> {
        let unsettled = self.tracks.values().filter(|track| !track.is_settled(group.resources(track.kind).version()));
        unsettled.filter_map(|track| self.why(track, group, now)).collect()
    }

    fn why(&self, track: &Track, group: &Group, now: Instant) -> Option<Waiting> {
        let kind = track.kind;
        let blockers = self.blockers(kind, now);
        if !blockers.is_empty() {
            let until = blockers.iter().filter_map(|other| self.blocks_until(kind, *other)).max();
            return Some(Waiting { kind, hold: Hold::Answers(blockers), until });
        }
        if let Some(hold) = self.removal_hold(kind, group, now) {
            let until = self.grace.filter(|_| hold == Hold::Grace);
            return Some(Waiting { kind, hold, until });
        }
        let refused = self.refused();
        let leads = track.deferred.iter().filter_map(|name| group.get(kind, name)).flat_map(|it| &it.traits.clusters);
        let refused: BTreeSet<_> = leads.filter(|cluster| refused.contains(*cluster)).cloned().collect();
        (!refused.is_empty()).then_some(Waiting { kind, hold: Hold::Refused(refused), until: None })
    }

    /// A cluster that is added or changed warms until its endpoints come, even if they are the same as before. An Envoy
    /// asks for them with what looks like an ACK (state of the world) or not at all (incremental).
    fn force_endpoints(&mut self, clusters: &[Arc<Resource>], set: &Resources) {
        let services = clusters.iter().filter_map(|cluster| cluster.traits.eds_service.clone());
        if let Some(endpoints) = self.tracks.get_mut(&Kind::Endpoint) {
            let subscription = &endpoints.subscription;
            endpoints.forced.extend(services.filter(|service| subscription.may_hold(service)));
            return;
        }
        // A client that reconnects may say that it holds the very endpoints that its clusters now wait for.
        self.awaited.extend(services);
        // Where endpoints are asked for on another stream, or never, this would else grow with every new cluster.
        let current: BTreeSet<_> = set.iter().filter_map(|cluster| cluster.traits.eds_service.as_ref()).collect();
        self.awaited.retain(|service| current.contains(service));
    }

    /// An Envoy that takes a route table anew forgets the virtual hosts that it asked for one by one.
    fn force_virtual_hosts(&mut self, tables: &[Arc<Resource>]) {
        let Some(hosts) = self.tracks.get_mut(&Kind::VirtualHost) else { return };
        // "<route configuration>/<host>", and a route configuration may have a slash in its name.
        let is_of = |host: &str| {
            let table = host.rsplit_once('/').map(|(table, _)| table);
            tables.iter().any(|it| Some(&*it.name) == table)
        };
        hosts.forced.extend(hosts.subscription.names().iter().filter(|name| is_of(name)).cloned());
    }

    /// Whether everything that the group holds and the client asks for has been said.
    pub(super) fn is_settled(&self, group: &Group) -> bool {
        self.tracks.values().all(|track| track.is_settled(group.resources(track.kind).version()))
    }

    /// Whether the client has taken all of that, and said so.
    pub(super) fn is_done(&self, group: &Group) -> bool {
        self.tracks.values().all(|track| track.is_done(group.resources(track.kind).version()))
    }

    /// The same, but for names that were open before: see [`Conversation::open`].
    pub(super) fn is_taken(&self, group: &Group, excused: &BTreeSet<(Kind, Arc<str>)>) -> bool {
        let is_excused =
            |kind| move |name: &Arc<str>| !excused.is_empty() && excused.contains(&(kind, Arc::clone(name)));
        self.tracks.values().all(|track| track.is_taken(group.resources(track.kind).version(), is_excused(track.kind)))
    }

    /// The names that wait, or of which it is unknown what the client has.
    pub(super) fn open(&self) -> BTreeSet<(Kind, Arc<str>)> {
        let open = |track: &Track| track.open().map(|name| (track.kind, Arc::clone(name))).collect::<Vec<_>>();
        self.tracks.values().flat_map(open).collect()
    }

    /// Whether anything of a kind was asked for.
    pub(super) fn has_heard(&self, kind: Kind) -> bool {
        self.tracks.contains_key(&kind)
    }

    /// The number of the newest response, 0 before the first.
    pub(super) fn last_nonce(&self) -> u64 {
        self.nonce
    }

    /// The clusters that the client may still be warming as the stream ends: refused, or sent and not answered. If it joins
    /// again it says that it holds them, and yet waits for endpoints that it holds as well.
    pub(super) fn warming(&self) -> BTreeSet<Arc<str>> {
        let clusters = self.tracks.get(&Kind::Cluster).filter(|track| !track.ledger.is_answered());
        let names = |track: &Track| track.unknowns().chain(track.ledger.unanswered()).cloned().collect();
        clusters.map(names).unwrap_or_default()
    }

    /// When to look again although nothing happens: what waits for an answer does not wait for ever.
    pub(super) fn deadline(&self, group: &Group, now: Instant) -> Option<Instant> {
        self.waiting(group, now).into_iter().filter_map(|waiting| waiting.until).min()
    }

    /// The kinds of which the client turned out to hold the newest version without being sent it: it said so, or nothing
    /// that it asks for has changed. Each is said once.
    pub(super) fn take_settled(&mut self) -> impl Iterator<Item = (Kind, Version)> {
        self.tracks.values_mut().filter_map(|track| track.found_settled.take().map(|version| (track.kind, version)))
    }

    /// What was said of each kind that the client asks for.
    pub(super) fn tracks(&self) -> impl Iterator<Item = &Track> {
        self.tracks.values()
    }

    /// Whether everything of a kind is subscribed, and how many names are.
    pub(super) fn subscribed(&self, kind: Kind) -> (bool, usize) {
        self.tracks
            .get(&kind)
            .map_or((false, 0), |track| (track.subscription.wildcard(), track.subscription.names().len()))
    }

    /// Lets nothing wait from now on.
    #[cfg(test)]
    pub(super) fn open_gates(&mut self) {
        self.gates.open = true;
    }
}
