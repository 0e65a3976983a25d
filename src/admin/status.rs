//! `/status`: the last edit, what is served, and who has it.
//!
//! The shapes of this page are its own, so that the other stages can change theirs without breaking scripts; they are
//! filled by taking those apart completely.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::SystemTime;

use axum::extract::State;
use axum::response::Response;
use serde::Serialize;

use super::Shared;
use super::load::Load;
use super::rollout::{self, Rollout};
use crate::diagnostic::{Level, Report};
use crate::envoy::Kind;
use crate::reload::{Mode, SourceFile, StateStatus, Status, Verdict, Watch};
use crate::snapshot::{Group, Snapshot, Version};
use crate::source::Hazard;
use crate::xds::{ClientStatus, KindState, KindStatus, LoadStatus, Nack, Wait, WaitReason};

pub(super) async fn show(State(shared): State<Arc<Shared>>) -> Response {
    let snapshot = shared.state.store.load();
    let status = shared.state.status.load();
    let watch = shared.state.status.watch();
    let withheld = if shared.state.withholds_private_keys { withheld(snapshot.as_deref()) } else { Vec::new() };
    let clients = &shared.state.clients;
    let page = Page::new(snapshot.as_deref(), &status, &watch, (clients.status(), clients.load()), withheld);
    super::json(&Page { rollout: shared.state.rollout.status().map(rollout::shown), ..page })
}

/// The error while something is withheld.
const WITHHELD: &str = "private keys are withheld, for anyone on the network could read them: listen on loopback or a Unix \
                        socket, or pass --allow-plaintext-secrets";

#[derive(Serialize)]
struct Page<'a> {
    /// Of this program.
    version: &'static str,
    ready: bool,
    revision: Option<u64>,
    verdict: Verdict,
    /// RFC 3339, as are all times here.
    attempted: Option<String>,
    succeeded: Option<String>,
    /// Why not all that the files say is served.
    error: Option<Cow<'a, str>>,
    findings: &'a Report,
    watched: &'a [Arc<str>],
    watch: Watching<'a>,
    sources: &'a [SourceFile],
    source_digest: Option<&'a str>,
    served_digest: Option<&'a str>,
    /// Where what is served comes from, if not from the files.
    restored: Option<Restored>,
    state: Option<Kept<'a>>,
    groups: BTreeMap<Arc<str>, BTreeMap<&'static str, Type>>,
    /// What is sent to nobody, because it holds private keys that others could read on the way.
    withheld: Vec<Withheld>,
    /// How many connected nodes belong to no group, and are sent nothing.
    unmatched_nodes: usize,
    /// None where all are sent the newest.
    rollout: Option<Rollout>,
    clients: Vec<Client>,
    /// What clients report of their requests.
    load: Load,
}

/// What is served was saved by an earlier run; `served_digest` is that of the files it was made from.
#[derive(Serialize)]
struct Restored {
    saved: String,
    age_seconds: u64,
}

/// The state on disk.
#[derive(Serialize)]
struct Kept<'a> {
    path: &'a str,
    saved: Option<String>,
    error: Option<&'a str>,
}

/// How the files are watched.
#[derive(Serialize)]
struct Watching<'a> {
    mode: Mode,
    /// None if the files are not looked at without an event.
    poll_interval_seconds: Option<f64>,
    overflows: u64,
    missed_changes: u64,
    warnings: Vec<Warning<'a>>,
}

/// What keeps changes from being noticed, or at once.
#[derive(Serialize)]
struct Warning<'a> {
    level: Level,
    code: &'a str,
    message: &'a str,
    help: &'a str,
}

#[derive(Serialize)]
struct Withheld {
    group: Arc<str>,
    kind: &'static str,
    name: Arc<str>,
    origin: String,
}

/// What a group is served of one type.
#[derive(Serialize)]
struct Type {
    version: Version,
    resources: usize,
}

#[derive(Serialize)]
struct Client {
    node: String,
    cluster: String,
    user_agent: String,
    group: Option<String>,
    peer: String,
    protocol: &'static str,
    service: &'static str,
    connected: String,
    revision: Option<u64>,
    kinds: BTreeMap<&'static str, ClientType>,
}

#[derive(Serialize)]
struct ClientType {
    state: KindState,
    sent: Option<String>,
    acked: Option<String>,
    nack: Option<Refusal>,
    wildcard: bool,
    names: usize,
    /// None if nothing is held back.
    #[serde(skip_serializing_if = "Option::is_none")]
    waiting: Option<Held>,
}

/// What is held back, since when, and what it waits for.
#[derive(Serialize)]
struct Held {
    since: String,
    r#for: WaitReason,
}

#[derive(Serialize)]
struct Refusal {
    code: i32,
    message: String,
    version: String,
    at: String,
    origins: Vec<String>,
}

impl<'a> Page<'a> {
    fn new(
        snapshot: Option<&Snapshot>,
        status: &'a Status,
        watch: &'a Watch,
        (clients, load): (Vec<ClientStatus>, LoadStatus),
        withheld: Vec<Withheld>,
    ) -> Self {
        let Status {
            verdict,
            attempted,
            succeeded,
            revision: _,
            changes: _,
            report,
            error,
            watched,
            sources,
            source_digest,
            served_digest,
            restored,
            state,
        } = status;
        let groups = snapshot.into_iter().flat_map(Snapshot::groups);
        let unmatched = clients.iter().filter(|client| snapshot.is_some() && client.group.is_none());
        let unmatched: BTreeSet<&str> = unmatched.map(|client| client.node.as_str()).collect();
        Self {
            version: env!("CARGO_PKG_VERSION"),
            ready: snapshot.is_some(),
            revision: snapshot.map(Snapshot::revision),
            verdict: *verdict,
            attempted: attempted.map(rfc3339),
            succeeded: succeeded.map(rfc3339),
            error: match error {
                Some(error) => Some(error.into()),
                None if withheld.is_empty() => None,
                None => Some(WITHHELD.into()),
            },
            findings: report,
            watched,
            watch: watching(watch),
            sources,
            source_digest: source_digest.as_deref(),
            served_digest: served_digest.as_deref(),
            restored: restored.map(Restored::of),
            state: state.as_ref().map(Kept::of),
            groups: groups.map(|group| (Arc::clone(group.name()), types(group))).collect(),
            withheld,
            unmatched_nodes: unmatched.len(),
            rollout: None,
            clients: clients.into_iter().map(client).collect(),
            load: load.into(),
        }
    }
}

impl Restored {
    fn of(saved: SystemTime) -> Self {
        Self { saved: rfc3339(saved), age_seconds: saved.elapsed().unwrap_or_default().as_secs() }
    }
}

impl<'a> Kept<'a> {
    fn of(StateStatus { path, saved, error }: &'a StateStatus) -> Self {
        Self { path, saved: saved.map(rfc3339), error: error.as_deref() }
    }
}

fn withheld(snapshot: Option<&Snapshot>) -> Vec<Withheld> {
    let of_group = |group: &Arc<Group>| {
        let withheld = group.private().map(|resource| Withheld {
            group: Arc::clone(group.name()),
            kind: resource.kind.service(),
            name: Arc::clone(&resource.name),
            origin: resource.origin.to_string(),
        });
        withheld.collect::<Vec<_>>()
    };
    snapshot.into_iter().flat_map(Snapshot::groups).flat_map(of_group).collect()
}

fn watching(watch: &Watch) -> Watching<'_> {
    let Watch { mode, poll_interval, overflows, missed_changes, hazards } = watch;
    let warnings =
        hazards.iter().map(|Hazard { level, code, message, help }| Warning { level: *level, code, message, help });
    Watching {
        mode: *mode,
        poll_interval_seconds: poll_interval.map(|interval| interval.as_secs_f64()),
        overflows: *overflows,
        missed_changes: *missed_changes,
        warnings: warnings.collect(),
    }
}

fn types(group: &Group) -> BTreeMap<&'static str, Type> {
    let served = Kind::ALL.into_iter().map(|kind| (kind, group.resources(kind))).filter(|(_, set)| !set.is_empty());
    served.map(|(kind, set)| (kind.service(), Type { version: set.version(), resources: set.len() })).collect()
}

fn client(status: ClientStatus) -> Client {
    let ClientStatus { node, cluster, user_agent, group, peer, protocol, service, connected, revision, kinds } = status;
    let kinds = kinds.into_iter().map(|(kind, status)| {
        let KindStatus { state, sent, acked, nack, wildcard, names, waiting } = status;
        let waiting = waiting.map(|Wait { reason, since }| Held { since: rfc3339(since), r#for: reason });
        (kind, ClientType { state, sent, acked, nack: nack.map(refusal), wildcard, names, waiting })
    });
    let (connected, kinds) = (rfc3339(connected), kinds.collect());
    Client { node, cluster, user_agent, group, peer, protocol, service, connected, revision, kinds }
}

fn refusal(nack: Nack) -> Refusal {
    let Nack { code, message, version, at, origins } = nack;
    Refusal { code, message, version, at: rfc3339(at), origins }
}

/// A clock that is wrong by half a century must not end a request: the formatter panics before 1970.
pub(super) fn rfc3339(time: SystemTime) -> String {
    humantime::format_rfc3339_millis(time.max(SystemTime::UNIX_EPOCH)).to_string()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use serde_json::json;

    use super::*;
    use crate::reload::StatusCell;

    #[test]
    fn times_are_rfc_3339_and_never_end_a_request() {
        assert_eq!(
            rfc3339(SystemTime::UNIX_EPOCH + Duration::from_millis(1_700_000_000_123)),
            "2023-11-14T22:13:20.123Z"
        );
        assert_eq!(rfc3339(SystemTime::UNIX_EPOCH - Duration::from_secs(1)), "1970-01-01T00:00:00.000Z");
    }

    #[test]
    fn clients_are_shown_with_what_they_refused() {
        let at = SystemTime::UNIX_EPOCH + Duration::from_secs(1);
        let nack = Nack {
            code: 13,
            message: "no such cluster".to_owned(),
            version: "v2".to_owned(),
            at,
            origins: vec!["topology.yaml:3:3".to_owned()],
        };
        let cds = KindStatus {
            state: KindState::Nacked,
            sent: Some("v2".to_owned()),
            acked: Some("v1".to_owned()),
            nack: Some(nack),
            wildcard: true,
            names: 0,
            waiting: Some(Wait { reason: WaitReason::Removal(vec!["RDS"]), since: at }),
        };
        let client = ClientStatus {
            node: "n".to_owned(),
            cluster: "c".to_owned(),
            user_agent: "envoy 1.40.0".to_owned(),
            group: Some("default".to_owned()),
            peer: "127.0.0.1:1".to_owned(),
            protocol: "delta",
            service: "ADS",
            connected: at,
            revision: Some(2),
            kinds: BTreeMap::from([("CDS", cds)]),
        };
        let status = StatusCell::new(vec!["topology.yaml".into()]).load();
        let page = serde_json::to_value(Page::new(
            None,
            &status,
            &Watch::default(),
            (vec![client], LoadStatus::default()),
            Vec::new(),
        ))
        .unwrap();
        assert_eq!(
            page["clients"],
            json!([{
                "node": "n", "cluster": "c", "user_agent": "envoy 1.40.0", "group": "default", "peer": "127.0.0.1:1",
                "protocol": "delta", "service": "ADS", "connected": "1970-01-01T00:00:01.000Z", "revision": 2,
                "kinds": {"CDS": {
                    "state": "nacked", "sent": "v2", "acked": "v1", "wildcard": true, "names": 0,
                    "waiting": {"since": "1970-01-01T00:00:01.000Z", "for": {"removal": ["RDS"]}},
                    "nack": {
                        "code": 13, "message": "no such cluster", "version": "v2", "at": "1970-01-01T00:00:01.000Z",
                        "origins": ["topology.yaml:3:3"],
                    },
                }},
            }])
        );
    }
}
