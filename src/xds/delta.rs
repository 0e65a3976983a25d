//! The incremental protocol: requests add and remove names, responses carry what changed and what is gone.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use envoy_types::pb::envoy::service::discovery::v3::DeltaDiscoveryRequest;

use super::ledger::Told;
use super::track::{Answer, Differences, Payload, Track};
use crate::snapshot::{Resource, Resources, Version};

/// Takes a request of the track's kind. `doubts` are the names that this node refused on an earlier stream and that were
/// not made good since.
pub(super) fn hear(
    track: &mut Track,
    request: &DeltaDiscoveryRequest,
    doubts: impl FnOnce() -> Option<BTreeSet<Arc<str>>>,
) -> Answer {
    let first = !track.subscription.started();
    let answer = if first { Answer::Nothing } else { judge(track, request) };
    // "The nonce must not be used to reject stale requests": names count in any case.
    let was_wildcard = track.subscription.wildcard();
    let change =
        track.subscription.amend(track.kind, &request.resource_names_subscribe, &request.resource_names_unsubscribe);
    if !change.dropped.is_empty() || change.wildcard_dropped {
        track.forget_dropped();
    }
    if track.subscription.wildcard() && !first {
        // Everything stays subscribed: the client must hear whether the name belongs to everything.
        track.asked.extend(change.dropped);
    }
    track.asked.extend(change.asked);
    if change.wildcard_asked {
        if was_wildcard {
            track.ledger.distrust();
        }
        track.ledger.claim_in_flight();
        track.answer = true;
        track.settled = None;
    }
    if first {
        claim(track, request, doubts());
    }
    answer
}

fn judge(track: &mut Track, request: &DeltaDiscoveryRequest) -> Answer {
    let nonce = request.response_nonce.parse().unwrap_or(0);
    let Some(response) = track.ledger.pending(nonce) else { return Answer::Nothing };
    if let Some(error) = &request.error_detail {
        let response = response.clone();
        return track.nacked(response, error.code, error.message.clone());
    }
    let version = response.version;
    track.acked(nonce, version)
}

/// Takes over what the client holds from an earlier stream. After a refusal its account is wrong (it lists what it removed
/// and leaves out what it took), so that then only the names are believed.
fn claim(track: &mut Track, request: &DeltaDiscoveryRequest, doubts: Option<BTreeSet<Arc<str>>>) {
    let trusted = doubts.is_none();
    track.in_doubt = !trusted;
    let held: BTreeMap<&str, &str> =
        request.initial_resource_versions.iter().map(|(name, version)| (&**name, &**version)).collect();
    for (name, version) in held {
        if !track.subscription.may_hold(name) {
            continue;
        }
        track.rejoined = true;
        let told = Version::parse(version).filter(|_| trusted).map_or(Told::Other, Told::Is);
        track.ledger.claim(Arc::from(name), told);
        // The version that the client holds says whether it needs an answer.
        track.asked.remove(name);
    }
    for name in doubts.into_iter().flatten().filter(|name| track.subscription.may_hold(name)) {
        track.ledger.claim(name, Told::Other);
    }
}

/// What to send, given what differs and may be sent, and what is to wait.
pub(super) fn payload(
    track: &Track,
    set: &Resources,
    due: Differences<'_>,
    deferred: &BTreeSet<Arc<str>>,
) -> Option<Payload> {
    let mut chosen: BTreeMap<Arc<str>, Option<&Arc<Resource>>> = BTreeMap::new();
    for name in track.asked.iter().chain(&track.forced) {
        // "If a subscribed name does not exist, the server sends it in `removed_resources`": at once, so that a client
        // need not wait for its own timeout.
        chosen.insert(Arc::clone(name), track.find(set, deferred, name));
    }
    if !due.is_empty() {
        chosen.extend(due);
        // What was refused comes again with the next content that differs, removals too.
        let unknown = track.unknowns().filter(|name| !deferred.contains(*name));
        chosen.extend(unknown.map(|name| (Arc::clone(name), track.subscription.get(set, name))));
    }
    if chosen.is_empty() && !track.answer {
        return None;
    }
    let mut payload = Payload::default();
    for (name, resource) in chosen {
        match resource {
            Some(resource) => payload.resources.push(Arc::clone(resource)),
            None => payload.removed.push(name),
        }
    }
    Some(payload)
}
