//! A stream without its input and output: who the client is, which snapshot it is to have, what was said, and what of it is
//! told in the log, the status, the metrics and the rollout.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use envoy_types::pb::envoy::config::core::v3::{Node, node::UserAgentVersionType};
use tokio::sync::mpsc;
use tonic::Status;
use tracing::{debug, info, warn};

use super::clients::{Client, ClientStatus, KindState, KindStatus, Nack, Wait, WaitReason};
use super::codec::Outgoing;
use super::gate::{Hold, Waiting};
use super::inspect::{self, Question};
use super::metrics::OpenStream;
use super::node;
use super::order::{Conversation, Response};
use super::rollout::{self, Member, Refusal};
use super::service::Route;
use super::stream::Shared;
use super::track::Answer;
use super::{Request, origins};
use crate::diagnostic::without_secrets;
use crate::envoy::Kind;
use crate::snapshot::{Group, NodeFields, Resource, Snapshot};

/// How long a client that goes first with a snapshot must rest, with all of it taken, until it counts as having passed.
const QUIET: Duration = Duration::from_secs(1);

/// The same of a client that has just come, and may ask for listeners once its clusters are ready.
const QUIET_START: Duration = Duration::from_secs(10);

/// Unknown type URLs that are remembered, so that each is logged once.
const MAX_UNKNOWN_TYPES: usize = 16;

/// What an Envoy calls itself.
const ENVOY: &str = "envoy";

/// Who the client is.
struct Identity {
    /// What chooses its group.
    fields: NodeFields,
    id: Arc<str>,
    client: Client,
    member: Member,
}

/// A snapshot that this client goes first with.
struct Trial {
    id: u64,
    /// The newest response before it.
    nonce: u64,
    /// What the client had not taken before: it is not the trial's fault.
    open: BTreeSet<(Kind, Arc<str>)>,
    /// Since when the client has taken all of it.
    taken: Option<Instant>,
    passed: bool,
}

/// A stream without its input and output.
pub(super) struct Session {
    shared: Arc<Shared>,
    route: Route,
    pub(super) peer: String,
    conversation: Conversation,
    identity: Option<Identity>,
    snapshot: Option<Arc<Snapshot>>,
    trial: Option<Trial>,
    /// The client has once taken all that it was to have: it has asked for all that it needs.
    has_started: bool,
    group: Option<Arc<Group>>,
    /// While there is something to serve, but not to this node.
    unmatched: Option<OpenStream>,
    /// What is held back, and counted as such.
    waiting: BTreeMap<Kind, (Hold, OpenStream)>,
    unknown_types: BTreeSet<String>,
    /// Takes questions to this stream, once it is known whose it is.
    ask: mpsc::Sender<Question>,
    /// When the client last accepted a response, by kind.
    accepted: BTreeMap<Kind, SystemTime>,
}

impl Session {
    pub(super) fn new(shared: Arc<Shared>, route: Route, peer: String, ask: mpsc::Sender<Question>) -> Self {
        let conversation = Conversation::new(route.protocol, shared.gates);
        Self {
            shared,
            route,
            peer,
            conversation,
            identity: None,
            snapshot: None,
            trial: None,
            has_started: false,
            group: None,
            unmatched: None,
            waiting: BTreeMap::new(),
            unknown_types: BTreeSet::new(),
            ask,
            accepted: BTreeMap::new(),
        }
    }

    /// Says where the client stands on each resource.
    pub(super) fn answer(&self, question: Question) {
        let Some(Identity { fields, client, .. }) = &self.identity else { return };
        let group = self.group.as_deref();
        let view = inspect::View {
            status: client.status(),
            node: fields.clone(),
            accepted: self.accepted.clone(),
            resources: self.conversation.tracks().flat_map(|track| inspect::resources(track, group)).collect(),
        };
        // Who asked may have given up.
        _ = question.send(view).ok();
    }

    /// Takes the snapshot that this client is to have now.
    pub(super) fn load(&mut self) {
        let Some(Identity { member, .. }) = &self.identity else { return };
        let rollout::View { snapshot, trial } = member.view();
        if let (None, Some(group)) = (&self.trial, &self.group) {
            self.has_started |= self.conversation.is_done(group);
        }
        let (nonce, open) = (self.conversation.last_nonce(), || self.conversation.open());
        let begin = |id| Trial { id, nonce, open: open(), taken: None, passed: false };
        let current = self.trial.take();
        self.trial = trial.map(|id| current.filter(|trial| trial.id == id).unwrap_or_else(|| begin(id)));
        self.snapshot = snapshot;
        if self.snapshot.is_none() {
            // There is nothing to go back to: it keeps what it has.
            self.group = None;
        }
        self.choose_group();
        if self.group.is_none() {
            // Nothing is due to it, and so nothing waits.
            self.note_waiting();
        }
    }

    /// A node without a group keeps what it has.
    fn choose_group(&mut self) {
        let (Some(Identity { fields, id, client, member: _ }), Some(snapshot)) = (&self.identity, &self.snapshot)
        else {
            return;
        };
        let group = snapshot.group_of(fields).cloned().map(|group| match &self.shared.withhold {
            Some(withhold) => withhold.filter(group),
            None => group,
        });
        if group.as_ref().map(|group| group.name()) != self.group.as_ref().map(|group| group.name()) {
            let name = group.as_ref().map(|group| group.name().to_string());
            debug!(node = &**id, group = name, "node group chosen");
            client.update(|status| status.group = name);
        }
        if self.shared.clients.match_node(id, group.is_some()) {
            let NodeFields { id, cluster, .. } = fields;
            warn!(node = id, cluster, "the node matches no node group; it keeps what it has and is sent nothing");
        }
        match &group {
            Some(_) => self.unmatched = None,
            None => _ = self.unmatched.get_or_insert_with(|| self.shared.metrics.unmatched()),
        }
        self.group = group;
    }

    /// Takes a request; an error ends the stream.
    pub(super) fn hear(&mut self, mut request: Request) -> Result<(), Status> {
        let node = request.take_node();
        if self.identity.is_none() {
            self.identify(node)?;
        }
        let kind = match (self.route.kind, request.type_url()) {
            (None, "") => return Err(Status::invalid_argument("type_url is required on the aggregated service")),
            (Some(kind), "") => kind,
            (_, url) => match Kind::from_type_url(url).filter(|kind| self.route.serves(*kind)) {
                Some(kind) => kind,
                None if self.route.kind.is_none() => {
                    self.shared.metrics.request(None);
                    self.note_unknown_type(url.to_owned());
                    return Ok(());
                }
                None => return Err(Status::invalid_argument(format!("`{url}` is not the type of this service"))),
            },
        };
        self.shared.metrics.request(Some(kind));
        let Some(identity) = &self.identity else { return Ok(()) };
        let answer =
            self.conversation.hear(kind, &request, Instant::now(), || identity.client.doubts(&identity.id, kind));
        self.note_answer(kind, answer);
        Ok(())
    }

    /// "Only the first request on a stream is guaranteed to carry the node identifier."
    fn identify(&mut self, node: Option<Node>) -> Result<(), Status> {
        let Some(node) = node.filter(|node| !node.id.is_empty()) else {
            return Err(Status::invalid_argument(
                "missing node information: the first request must carry a node with an id",
            ));
        };
        let status = ClientStatus {
            node: node.id.clone(),
            cluster: node.cluster.clone(),
            user_agent: user_agent(&node),
            group: None,
            peer: self.peer.clone(),
            protocol: self.route.protocol.as_str(),
            service: self.route.service(),
            connected: SystemTime::now(),
            revision: None,
            kinds: BTreeMap::new(),
        };
        info!(
            node = node.id,
            cluster = node.cluster,
            peer = self.peer,
            protocol = status.protocol,
            service = status.service,
            "client connected"
        );
        if node.user_agent_name != ENVOY {
            self.conversation.tell_missing();
        }
        let client = self.shared.clients.register(status, self.ask.clone());
        let (id, fields) = (node.id.as_str().into(), node::fields(node));
        let member = self.shared.rollout.join(client.id(), &fields, &self.peer);
        self.identity = Some(Identity { fields, id, client, member });
        self.load();
        Ok(())
    }

    fn note_unknown_type(&mut self, url: String) {
        if self.unknown_types.len() < MAX_UNKNOWN_TYPES && !self.unknown_types.contains(&url) {
            warn!(peer = self.peer, type_url = url, "a type that is not served was asked for");
            self.unknown_types.insert(url);
        }
    }

    fn note_answer(&mut self, kind: Kind, answer: Answer) {
        let Some(Identity { id, client, member, .. }) = &self.identity else { return };
        let (wildcard, names) = self.conversation.subscribed(kind);
        client.update(|status| {
            let status = status.kinds.entry(kind.service()).or_insert_with(|| KindStatus {
                state: KindState::NotSent,
                sent: None,
                acked: None,
                nack: None,
                wildcard,
                names,
                waiting: None,
            });
            (status.wildcard, status.names) = (wildcard, names);
        });
        match answer {
            Answer::Nothing => {}
            Answer::Ack { version, newest, clean, recovered, altered: _ } => {
                self.accepted.insert(kind, SystemTime::now());
                if recovered {
                    client.trust(id, kind);
                }
                update_kind(client, kind, |status| {
                    status.acked = Some(version.to_string());
                    // The answer to a name that was asked for meanwhile says nothing of those that were refused.
                    if clean {
                        status.nack = None;
                    }
                    if newest {
                        status.state = if status.nack.is_some() { KindState::Nacked } else { KindState::Synced };
                    }
                });
            }
            Answer::Nack { refused, code, message, unknown } => {
                // A client may quote what it refuses.
                let message = without_secrets(&message);
                let current = self.group.as_ref().map(|group| &**group.resources(kind));
                let origins = origins::of(&message, &refused, current);
                self.shared.metrics.nack(kind);
                client.doubt(id, kind, unknown);
                let version = refused.version.to_string();
                warn!(node = &**id, kind = kind.service(), version, code, error = ?message, ?origins, "client refused a response");
                // What was under way when the trial began may be in it as well.
                let is_tried = |resource: &Arc<Resource>| {
                    let set = self.group.as_ref().map(|group| group.resources(kind));
                    set.and_then(|set| set.get(&resource.name)).is_some_and(|tried| tried.version == resource.version)
                };
                let is_about = |trial: &&Trial| refused.nonce > trial.nonce || refused.news.iter().any(is_tried);
                if let Some(trial) = self.trial.as_ref().filter(is_about) {
                    let (node, message) = (id.to_string(), format!("{} refused: {message}", kind.service()));
                    let group = self.group.as_ref().map_or_else(|| Arc::from(""), |group| Arc::clone(group.name()));
                    member.refuse(trial.id, Refusal { node, group, message, origins: origins.clone() });
                }
                let nack = Nack { code, message, version, at: SystemTime::now(), origins };
                update_kind(client, kind, |status| {
                    status.state = KindState::Nacked;
                    status.nack = Some(nack);
                });
            }
        }
    }

    /// The next response, if one is due. Before there is a snapshot, and for a node without a group, nothing is.
    pub(super) fn next(&mut self) -> Option<Outgoing> {
        let response = self.conversation.next(self.group.as_deref()?, Instant::now());
        self.note_settled();
        self.note_waiting();
        let Some(response) = response else {
            self.note_revision();
            self.note_trial();
            return None;
        };
        let Response { kind, version, impatient, ref resources, ref removed, .. } = response;
        if impatient {
            self.shared.metrics.gate_timeout(kind);
            warn!(
                peer = self.peer,
                kind = kind.service(),
                "an earlier response is still not answered, going on without"
            );
        }
        debug!(
            peer = self.peer,
            kind = kind.service(),
            %version,
            resources = resources.len(),
            removed = removed.len(),
            "response sent"
        );
        if let Some(Identity { client, .. }) = &self.identity {
            update_kind(client, kind, |status| {
                status.state = KindState::Stale;
                status.sent = Some(version.to_string());
            });
        }
        let identifier = Arc::clone(&self.shared.identifier);
        let outgoing = Outgoing { protocol: self.route.protocol, response, identifier };
        self.shared.metrics.response(kind, outgoing.encoded_len());
        Some(outgoing)
    }

    fn note_settled(&mut self) {
        let Some(Identity { client, .. }) = &self.identity else { return };
        for (kind, version) in self.conversation.take_settled() {
            self.accepted.insert(kind, SystemTime::now());
            update_kind(client, kind, |status| {
                status.state = KindState::Synced;
                (status.sent, status.acked) = (Some(version.to_string()), Some(version.to_string()));
            });
        }
    }

    /// What waits, waits in sight: in the status, in a gauge, and in the log once it is the client's refusal.
    fn note_waiting(&mut self) {
        let Some(Identity { id, client, .. }) = &self.identity else { return };
        let now = Instant::now();
        let waiting = self.group.as_ref().map_or_else(Vec::new, |group| self.conversation.waiting(group, now));
        self.waiting.retain(|kind, _| {
            let goes_on = waiting.iter().any(|still| still.kind == *kind);
            if !goes_on {
                update_kind(client, *kind, |status| status.waiting = None);
            }
            goes_on
        });
        for Waiting { kind, hold, until: _ } in waiting {
            let counted = match self.waiting.remove(&kind) {
                Some((before, counted)) if before == hold => {
                    self.waiting.insert(kind, (before, counted));
                    continue;
                }
                Some((_, counted)) => counted,
                None => self.shared.metrics.wait(kind),
            };
            if let Hold::Refused(clusters) = &hold {
                warn!(
                    node = &**id,
                    kind = kind.service(),
                    ?clusters,
                    "held back: it leads to clusters that the client refused"
                );
            }
            let reason = reason(&hold);
            update_kind(client, kind, |status| {
                let since = status.waiting.as_ref().map_or_else(SystemTime::now, |wait| wait.since);
                status.waiting = Some(Wait { reason, since });
            });
            self.waiting.insert(kind, (hold, counted));
        }
    }

    /// Where nothing of a snapshot concerns the client, it is up to date without a response.
    fn note_revision(&self) {
        let (Some(snapshot), Some(group)) = (&self.snapshot, &self.group) else { return };
        let Some(Identity { client, .. }) = &self.identity else { return };
        if self.conversation.is_settled(group) {
            let revision = Some(snapshot.revision());
            client.update(|status| status.revision = revision);
        }
    }

    /// A client has passed a trial once it has taken everything and asks for nothing more: what it took may have made it ask.
    fn note_trial(&mut self) {
        let quiet = self.quiet();
        let (Some(trial), Some(group), Some(identity)) = (&mut self.trial, &self.group, &self.identity) else { return };
        let now = Instant::now();
        let is_taken = self.conversation.is_taken(group, &trial.open);
        trial.taken = if is_taken { trial.taken.or(Some(now)) } else { None };
        let passed = trial.taken.is_some_and(|taken| taken + quiet <= now);
        if passed != trial.passed {
            trial.passed = passed;
            self.has_started |= passed;
            identity.member.pass(trial.id, passed);
        }
    }

    /// An Envoy asks for listeners only when its clusters are ready, however early it has answered them.
    fn quiet(&self) -> Duration {
        let is_complete = self.has_started
            || self.conversation.has_heard(Kind::Listener)
            || self.group.as_ref().is_none_or(|group| group.resources(Kind::Listener).is_empty());
        if is_complete { QUIET } else { QUIET_START }
    }

    pub(super) fn deadline(&self) -> Option<Instant> {
        let waiting = self.conversation.deadline(self.group.as_deref()?, Instant::now());
        let trial = self.trial.as_ref().filter(|trial| !trial.passed);
        let passing = trial.and_then(|trial| Some(trial.taken? + self.quiet()));
        waiting.into_iter().chain(passing).min()
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        if let Some(Identity { id, client, .. }) = &self.identity {
            let warming = self.conversation.warming();
            if !warming.is_empty() {
                client.doubt_also(id, Kind::Cluster, warming);
            }
            info!(node = &**id, peer = self.peer, service = self.route.service(), "client disconnected");
        }
    }
}

fn reason(hold: &Hold) -> WaitReason {
    let services = |kinds: &BTreeSet<Kind>| kinds.iter().map(|kind| kind.service()).collect();
    match hold {
        Hold::Answers(kinds) => WaitReason::Answers(services(kinds)),
        Hold::Removal(kinds) => WaitReason::Removal(services(kinds)),
        Hold::Grace => WaitReason::Grace,
        Hold::Refused(clusters) => WaitReason::Refused(clusters.iter().map(ToString::to_string).collect()),
    }
}

fn update_kind(client: &Client, kind: Kind, change: impl FnOnce(&mut KindStatus)) {
    client.update(|status| {
        if let Some(status) = status.kinds.get_mut(kind.service()) {
            change(status);
        }
    });
}

fn user_agent(node: &Node) -> String {
    let version = match &node.user_agent_version_type {
        Some(UserAgentVersionType::UserAgentVersion(version)) => version.clone(),
        Some(UserAgentVersionType::UserAgentBuildVersion(build)) => build
            .version
            .as_ref()
            .map(|version| format!("{}.{}.{}", version.major_number, version.minor_number, version.patch))
            .unwrap_or_default(),
        None => String::new(),
    };
    format!("{} {version}", node.user_agent_name).trim().to_owned()
}
