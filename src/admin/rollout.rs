//! The part of `/status` that says which snapshot is sent to whom.

use serde::Serialize;

use super::status::rfc3339;
use crate::snapshot::Version;
use crate::xds::{CanaryStatus, Quarantined, RolloutStatus, TrialStatus};

/// Where a rollout stands.
#[derive(Serialize)]
pub(super) struct Rollout {
    policy: &'static str,
    /// The revision that is served to all but those that go first.
    promoted: Option<u64>,
    trial: Option<Trial>,
    /// Whether the newest content was refused on trial, so that an older one is served.
    held: bool,
    quarantined: Vec<Refused>,
}

#[derive(Serialize)]
struct Trial {
    revision: u64,
    digest: Version,
    canaries: Vec<Canary>,
}

#[derive(Serialize)]
struct Canary {
    node: String,
    /// None while it is not connected.
    peer: Option<String>,
    group: String,
    passed: bool,
}

#[derive(Serialize)]
struct Refused {
    digest: Version,
    revision: u64,
    cause: &'static str,
    node: String,
    message: String,
    origins: Vec<String>,
    at: String,
}

pub(super) fn shown(status: RolloutStatus) -> Rollout {
    let RolloutStatus { policy, promoted, trial, held, quarantined } = status;
    let quarantined = quarantined.into_iter().map(refused).collect();
    Rollout { policy, promoted, trial: trial.map(tried), held, quarantined }
}

fn tried(TrialStatus { revision, digest, canaries }: TrialStatus) -> Trial {
    let canaries = canaries.into_iter().map(|canary| {
        let CanaryStatus { node, peer, group, passed } = canary;
        Canary { node, peer, group, passed }
    });
    Trial { revision, digest, canaries: canaries.collect() }
}

fn refused(quarantined: Quarantined) -> Refused {
    let Quarantined { digest, revision, cause, node, message, origins, at } = quarantined;
    Refused { digest, revision, cause: cause.as_str(), node, message, origins, at: rfc3339(at) }
}
