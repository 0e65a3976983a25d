//! The state-of-the-world protocol: requests carry all names, responses carry full sets (clusters, listeners) or what
//! changed (all else, where a client keeps what a response leaves out), and which of the names do not exist.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use envoy_types::pb::envoy::service::discovery::v3::DiscoveryRequest;

use super::ledger::Told;
use super::track::{Answer, Differences, Payload, Track};
use crate::snapshot::{Resources, Version};

/// Takes a request of the track's kind.
pub(super) fn hear(track: &mut Track, request: &DiscoveryRequest) -> Answer {
    let first = !track.subscription.started();
    let mut answer = Answer::Nothing;
    if !first && !request.response_nonce.is_empty() {
        let nonce = request.response_nonce.parse().unwrap_or(0);
        answer = judge(track, nonce, request);
        // "The server should not send a response for a request that has a stale nonce": its names come again with the
        // answer to the newer response. Before the first response nothing can be stale.
        let newest = track.ledger.last_nonce();
        if newest != 0 && nonce != newest {
            if track.ledger.used(nonce) {
                // A name that is dropped here and taken up again until then must be answered like a new one.
                track.subscription.narrow(&request.resource_names);
                forget_dropped(track);
            }
            return answer;
        }
    }
    let change = track.subscription.replace(track.kind, &request.resource_names);
    if !change.dropped.is_empty() || change.wildcard_dropped {
        forget_dropped(track);
    }
    // "The server must resend any newly requested resources, even if it previously sent those resources."
    track.asked.extend(change.asked);
    if change.wildcard_asked {
        track.answer = true;
        track.settled = None;
    }
    answer
}

/// Forgets all about the names that are no longer subscribed, and of those that are asked for with all others alone, that they
/// do not exist: there is no way to say that, and so nothing to be made good of it.
fn forget_dropped(track: &mut Track) {
    track.forget_dropped();
    let (names, ledger) = (track.subscription.names(), &track.ledger);
    let is_missed = |name: &&Arc<str>| ledger.told(name) == Some(Told::Absent) && !names.contains(*name);
    let dropped: Vec<_> = ledger.names().filter(is_missed).cloned().collect();
    for name in dropped {
        track.ledger.forget(&name);
    }
}

fn judge(track: &mut Track, nonce: u64, request: &DiscoveryRequest) -> Answer {
    let Some(response) = track.ledger.pending(nonce) else { return Answer::Nothing };
    if let Some(error) = &request.error_detail {
        let response = response.clone();
        return track.nacked(response, error.code, error.message.clone());
    }
    if Version::parse(&request.version_info) == Some(response.version) {
        let version = response.version;
        return track.acked(nonce, version);
    }
    // An Envoy without a watch on the kind echoes the nonce with the version that it had before: it neither took nor
    // refused the response.
    track.ledger.refuse(nonce, |_| true);
    track.in_doubt = true;
    Answer::Nothing
}

/// What to send, given what differs and may be sent, and what is to wait.
pub(super) fn payload(
    track: &Track,
    set: &Resources,
    due: Differences<'_>,
    deferred: &BTreeSet<Arc<str>>,
) -> Option<Payload> {
    if track.kind.is_full_state() { full(track, set, &due, deferred) } else { partial(track, set, due, deferred) }
}

/// Clusters and listeners: everything or nothing, since what a response leaves out is deleted. What is to wait is in it as
/// the client has it. Of a name that never was, a client would wait to see whether it is late.
fn full(track: &Track, set: &Resources, due: &Differences<'_>, deferred: &BTreeSet<Arc<str>>) -> Option<Payload> {
    if due.is_empty() && !track.answer && track.asked.is_empty() {
        return None;
    }
    let current = track.subscription.select(set).filter(|resource| !deferred.contains(&resource.name));
    let mut resources: Vec<_> = current.cloned().collect();
    if !deferred.is_empty() {
        resources.extend(deferred.iter().filter_map(|name| track.ledger.content(name)).cloned());
        resources.sort_by(|one, other| one.name.cmp(&other.name));
    }
    let there: BTreeSet<&str> = resources.iter().map(|resource| &*resource.name).collect();
    let missing = track.subscription.names().iter().filter(|name| !there.contains(&***name) && !name.is_empty());
    let removed = missing.cloned().collect();
    Some(Payload { resources, removed })
}

/// All other kinds: what was asked for and what changed; never an empty response to an Envoy, for older ones refuse it.
fn partial(track: &Track, set: &Resources, mut due: Differences<'_>, deferred: &BTreeSet<Arc<str>>) -> Option<Payload> {
    let mut chosen: Differences<'_> = BTreeMap::new();
    let owed = track.asked.iter().chain(&track.forced);
    chosen.extend(owed.map(|name| (Arc::clone(name), track.find(set, deferred, name))));
    due.retain(|name, resource| resource.is_some() || track.tells_missing(name));
    if !due.is_empty() {
        chosen.extend(due);
        let unknown = track.unknowns().filter(|name| !deferred.contains(*name));
        chosen.extend(unknown.map(|name| (Arc::clone(name), track.subscription.get(set, name))));
    }
    let mut payload = Payload::default();
    for (name, resource) in chosen {
        match resource {
            Some(resource) => payload.resources.push(Arc::clone(resource)),
            // "Resources in `resource_errors` and `resources` must not intersect."
            None if track.tells_missing(&name) => payload.removed.push(name),
            None => {}
        }
    }
    (!payload.resources.is_empty() || !payload.removed.is_empty()).then_some(payload)
}
