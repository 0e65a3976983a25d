//! Where a client stands on each resource: what a stream's task answers when it is asked from outside.
//!
//! Nothing is kept for this. The task looks through what it knows while it answers, so that it costs nothing while nobody
//! asks.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::SystemTime;

use tokio::sync::oneshot;

use super::clients::ClientStatus;
use super::ledger::Told;
use super::track::Track;
use crate::envoy::Kind;
use crate::snapshot::{Group, NodeFields, Resource, Version};

/// Where the answer goes.
pub(super) type Question = oneshot::Sender<View>;

/// What one stream knows of its client.
#[derive(Debug)]
pub(super) struct View {
    pub(super) status: ClientStatus,
    pub(super) node: NodeFields,
    /// When the client last accepted a response, by kind.
    pub(super) accepted: BTreeMap<Kind, SystemTime>,
    /// By kind in sending order, then by name.
    pub(super) resources: Vec<Seen>,
}

/// What has become of the newest content of a resource. Its absence counts as content, where the client was told of
/// another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Standing {
    /// It exists nowhere: it is asked for by name, or the node belongs to no group.
    Unknown,
    /// It was not sent.
    NotSent,
    /// It was sent, and not answered.
    Stale,
    /// It was accepted.
    Synced,
    /// The response with it was refused.
    Refused,
}

/// One resource, as one client has it.
#[derive(Clone, Debug)]
pub(super) struct Seen {
    pub(super) kind: Kind,
    pub(super) name: Arc<str>,
    /// What the client is to have; `None` if it does not exist.
    pub(super) newest: Option<Arc<Resource>>,
    /// The version that the client was last sent or said to hold.
    pub(super) version: Option<Version>,
    /// Whether the client has accepted some version.
    pub(super) held: bool,
    /// Whether the last word on it was refused, be it of the newest content or of what came before.
    pub(super) refused: bool,
    pub(super) standing: Standing,
}

/// Everything of one kind that the client asks for or was told of. Without a group there is nothing that it is to have.
pub(super) fn resources(track: &Track, group: Option<&Group>) -> Vec<Seen> {
    let set = group.map(|group| group.resources(track.kind));
    let unanswered: BTreeSet<&Arc<str>> = track.ledger.unanswered().collect();
    let existing = set.into_iter().flat_map(|set| track.subscription.select(set)).map(|resource| &resource.name);
    let names: BTreeSet<&Arc<str>> = existing.chain(track.subscription.names()).chain(track.ledger.names()).collect();
    let seen = names.into_iter().map(|name| {
        let newest = set.and_then(|set| track.subscription.get(set, name)).cloned();
        let (told, is_unanswered) = (track.ledger.told(name), unanswered.contains(name));
        let refused = track.ledger.is_unknown(name);
        let standing = match (&newest, told) {
            (Some(resource), Some(Told::Is(version))) if version == resource.version => {
                match (is_unanswered, refused) {
                    (true, _) => Standing::Stale,
                    (false, true) => Standing::Refused,
                    (false, false) => Standing::Synced,
                }
            }
            (Some(_), _) => Standing::NotSent,
            (None, Some(Told::Absent)) if is_unanswered => Standing::Stale,
            (None, Some(Told::Is(_) | Told::Other)) if set.is_some() => Standing::NotSent,
            (None, _) => Standing::Unknown,
        };
        let version = if let Some(Told::Is(version)) = told { Some(version) } else { None };
        let held = matches!(told, Some(Told::Is(_) | Told::Other)) && !is_unanswered && !refused;
        Seen { kind: track.kind, name: Arc::clone(name), newest, version, held, refused, standing }
    });
    seen.collect()
}
