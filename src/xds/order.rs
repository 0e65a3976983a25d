//! One stream's conversation over all its kinds: which may be sent now, and in which order.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::ledger::InFlight;
use super::track::{Answer, Permit, Track};
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
    /// Only in incremental responses.
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
    gate_timeout: Duration,
    /// The endpoints of clusters that were sent before the client asked for any endpoints.
    awaited: BTreeSet<Arc<str>>,
}

impl Conversation {
    pub(super) fn new(protocol: Protocol, gate_timeout: Duration) -> Self {
        Self { protocol, tracks: BTreeMap::new(), nonce: 0, gate_timeout, awaited: BTreeSet::new() }
    }

    /// Takes a request. `doubts` is asked on the first incremental request of a kind only.
    pub(super) fn hear(
        &mut self,
        kind: Kind,
        request: &Request,
        doubts: impl FnOnce() -> Option<BTreeSet<Arc<str>>>,
    ) -> Answer {
        let track = self.tracks.entry(kind).or_insert_with(|| Track::new(kind));
        let answer = match request {
            Request::Sotw(request) => sotw::hear(track, request),
            Request::Delta(request) => delta::hear(track, request, doubts),
        };
        if kind == Kind::Endpoint {
            let awaited = std::mem::take(&mut self.awaited);
            track.forced.extend(awaited.into_iter().filter(|name| track.subscription.may_hold(name)));
        }
        answer
    }

    /// The next response, if one is due. To be called until it returns `None`; the order of the kinds is the order of
    /// the bytes.
    pub(super) fn next(&mut self, group: &Group, now: Instant) -> Option<Response> {
        for kind in Kind::ALL {
            let permit = self.permit(kind, now);
            let Some(track) = self.tracks.get_mut(&kind) else { continue };
            let set = group.resources(kind);
            let Some(payload) = track.plan(self.protocol, set, permit) else { continue };
            self.nonce += 1;
            let version = set.version();
            let (resources, removed) = (payload.resources, payload.removed);
            let in_flight = InFlight {
                nonce: self.nonce,
                version,
                sent_at: now,
                resources: resources.clone(),
                removed: removed.clone(),
                news: Vec::new(),
            };
            let impatient = track.busy_until(self.gate_timeout).is_some_and(|until| until <= now);
            let news = track.sent(self.protocol, in_flight);
            if kind == Kind::Cluster {
                self.force_endpoints(&news, set);
            }
            return Some(Response { kind, version, nonce: self.nonce, resources, removed, impatient });
        }
        None
    }

    /// What may be sent of a kind now, given what is in flight. Gates between kinds belong here.
    fn permit(&self, kind: Kind, now: Instant) -> Permit {
        let busy = self.tracks.get(&kind).and_then(|track| track.busy_until(self.gate_timeout));
        Permit { changes: busy.is_none_or(|until| until <= now) }
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

    /// Whether everything that the group holds and the client asks for has been said.
    pub(super) fn is_settled(&self, group: &Group) -> bool {
        self.tracks.values().all(|track| track.is_settled(group.resources(track.kind).version()))
    }

    /// The clusters that the client may still be warming as the stream ends: refused, or sent and not answered. If it joins
    /// again it says that it holds them, and yet waits for endpoints that it holds as well.
    pub(super) fn warming(&self) -> BTreeSet<Arc<str>> {
        let clusters = self.tracks.get(&Kind::Cluster).filter(|track| !track.ledger.is_answered());
        let names = |track: &Track| track.unknowns().into_iter().chain(track.ledger.unanswered().cloned()).collect();
        clusters.map(names).unwrap_or_default()
    }

    /// When to look again although nothing happens: what waits for an answer does not wait for ever.
    pub(super) fn deadline(&self, group: &Group, now: Instant) -> Option<Instant> {
        let waiting = self.tracks.values().filter(|track| !track.is_settled(group.resources(track.kind).version()));
        waiting.filter_map(|track| track.busy_until(self.gate_timeout)).filter(|until| *until > now).min()
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
}
