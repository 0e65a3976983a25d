//! The state-of-the-world protocol: requests carry all names, responses carry full sets (clusters, listeners) or what
//! changed (all else, where a client keeps what a response leaves out).

use std::collections::BTreeMap;
use std::sync::Arc;

use envoy_types::pb::envoy::service::discovery::v3::DiscoveryRequest;

use super::track::{Answer, Payload, Track};
use crate::snapshot::{Resource, Resources, Version};

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
                track.forget_dropped();
            }
            return answer;
        }
    }
    let change = track.subscription.replace(track.kind, &request.resource_names);
    if !change.dropped.is_empty() || change.wildcard_dropped {
        track.forget_dropped();
    }
    // "The server must resend any newly requested resources, even if it previously sent those resources."
    track.asked.extend(change.asked);
    if change.wildcard_asked {
        track.answer = true;
        track.settled = None;
    }
    answer
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
    track.ledger.refuse(nonce);
    track.in_doubt = true;
    Answer::Nothing
}

/// What to send: `changed` allows what the client has not asked for just now.
pub(super) fn payload(track: &Track, set: &Resources, changed: bool) -> Option<Payload> {
    let resources = if track.kind.is_full_state() { full(track, set, changed)? } else { partial(track, set, changed)? };
    Some(Payload { resources, removed: Vec::new() })
}

/// Clusters and listeners: everything or nothing, since what a response leaves out is deleted.
fn full(track: &Track, set: &Resources, changed: bool) -> Option<Vec<Arc<Resource>>> {
    let owed = track.answer || !track.asked.is_empty();
    let due = owed || (changed && !track.differences(set).is_empty());
    due.then(|| track.subscription.select(set).cloned().collect())
}

/// All other kinds: what was asked for and what changed; never an empty response, which older Envoys refuse.
fn partial(track: &Track, set: &Resources, changed: bool) -> Option<Vec<Arc<Resource>>> {
    let mut chosen: BTreeMap<&str, &Arc<Resource>> = BTreeMap::new();
    let owed = track.asked.iter().chain(&track.forced);
    chosen.extend(owed.filter_map(|name| track.subscription.get(set, name)).map(|found| (&*found.name, found)));
    let differences = if changed { track.differences(set) } else { BTreeMap::new() };
    let mut differing = differences.into_values().flatten().peekable();
    if differing.peek().is_some() {
        chosen.extend(differing.map(|resource| (&*resource.name, resource)));
        let unknown = track.unknowns().into_iter().filter_map(|name| track.subscription.get(set, &name));
        chosen.extend(unknown.map(|resource| (&*resource.name, resource)));
    }
    (!chosen.is_empty()).then(|| chosen.into_values().cloned().collect())
}
