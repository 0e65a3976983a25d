//! One stream's task: the only place where requests are read and responses written.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use envoy_types::pb::envoy::config::core::v3::{Node, node::UserAgentVersionType};
use tokio::sync::mpsc;
use tokio_stream::StreamExt as _;
use tokio_util::sync::CancellationToken;
use tonic::{Status, Streaming};
use tracing::{debug, info, warn};

use super::clients::{Client, ClientStatus, Clients, KindState, KindStatus, Nack};
use super::codec::Outgoing;
use super::inspect::{self, Question, View};
use super::metrics::{Metrics, OpenStream};
use super::node;
use super::order::{Conversation, Response};
use super::service::Route;
use super::track::Answer;
use super::withhold::Withhold;
use super::{Request, origins};
use crate::diagnostic::without_secrets;
use crate::envoy::Kind;
use crate::snapshot::{Group, NodeFields, Snapshot, Store};

/// Unknown type URLs that are remembered, so that each is logged once.
const MAX_UNKNOWN_TYPES: usize = 16;

/// What all streams of a server share.
pub(super) struct Shared {
    pub(super) store: Arc<Store>,
    pub(super) clients: Arc<Clients>,
    pub(super) metrics: Metrics,
    pub(super) gate_timeout: Duration,
    pub(super) identifier: Arc<str>,
    /// Set if private keys are sent to nobody.
    pub(super) withhold: Option<Withhold>,
    /// How often clients are asked to report their load.
    pub(super) load_interval: Duration,
}

impl std::fmt::Debug for Shared {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Shared").finish_non_exhaustive()
    }
}

/// The two directions of a stream, and the wish to end it.
pub(super) struct Io {
    pub(super) requests: Streaming<Request>,
    pub(super) out: mpsc::Sender<Result<Outgoing, Status>>,
    pub(super) shutdown: CancellationToken,
}

/// Serves one stream until the client leaves, errs, or the server shuts down.
pub(super) async fn run(shared: Arc<Shared>, route: Route, peer: String, io: Io) {
    let _open = shared.metrics.stream(route.protocol);
    let Io { mut requests, out, shutdown } = io;
    let mut bell = shared.store.subscribe();
    let (ask, mut questions) = mpsc::channel(1);
    let mut session = Session::new(shared, route, peer, ask);
    // Whether something may be due. What it is gets decided when there is room for it, so that a slow client is sent the
    // newest there is.
    let mut ready = false;
    let refusal = loop {
        let deadline = if ready { None } else { session.deadline() };
        tokio::select! {
            biased;
            () = shutdown.cancelled() => break None,
            request = requests.next() => match request {
                Some(Ok(request)) => match session.hear(request) {
                    Ok(()) => ready = true,
                    Err(refusal) => break Some(refusal),
                },
                Some(Err(error)) => {
                    debug!(%error, peer = session.peer, "stream broke off");
                    break None;
                }
                None => break None,
            },
            published = bell.changed() => {
                if published.is_err() {
                    break None;
                }
                session.load();
                ready = true;
            }
            Some(question) = questions.recv() => session.answer(question),
            () = sleep_until(deadline), if deadline.is_some() => ready = true,
            room = out.reserve(), if ready => match (room, session.next()) {
                (Ok(room), Some(outgoing)) => room.send(Ok(outgoing)),
                (Ok(_), None) => ready = false,
                (Err(_), _) => break None,
            },
        }
    };
    if let Some(refusal) = refusal {
        warn!(peer = session.peer, reason = refusal.message(), "stream refused");
        tokio::select! {
            // Nobody left to tell is as good as told.
            _told = out.send(Err(refusal)) => {}
            () = shutdown.cancelled() => {}
        }
    }
}

async fn sleep_until(deadline: Option<Instant>) {
    match deadline {
        Some(deadline) => tokio::time::sleep_until(deadline.into()).await,
        None => std::future::pending().await,
    }
}

/// Who the client is.
struct Identity {
    /// What chooses its group.
    fields: NodeFields,
    id: Arc<str>,
    client: Client,
}

/// A stream without its input and output.
struct Session {
    shared: Arc<Shared>,
    route: Route,
    peer: String,
    conversation: Conversation,
    identity: Option<Identity>,
    snapshot: Option<Arc<Snapshot>>,
    group: Option<Arc<Group>>,
    /// While there is something to serve, but not to this node.
    unmatched: Option<OpenStream>,
    unknown_types: BTreeSet<String>,
    /// Takes questions to this stream, once it is known whose it is.
    ask: mpsc::Sender<Question>,
    /// When the client last accepted a response, by kind.
    accepted: BTreeMap<Kind, SystemTime>,
}

impl Session {
    fn new(shared: Arc<Shared>, route: Route, peer: String, ask: mpsc::Sender<Question>) -> Self {
        let conversation = Conversation::new(route.protocol, shared.gate_timeout);
        let snapshot = shared.store.load();
        Self {
            shared,
            route,
            peer,
            conversation,
            identity: None,
            snapshot,
            group: None,
            unmatched: None,
            unknown_types: BTreeSet::new(),
            ask,
            accepted: BTreeMap::new(),
        }
    }

    /// Says where the client stands on each resource.
    fn answer(&self, question: Question) {
        let Some(Identity { fields, client, .. }) = &self.identity else { return };
        let group = self.group.as_deref();
        let view = View {
            status: client.status(),
            node: fields.clone(),
            accepted: self.accepted.clone(),
            resources: self.conversation.tracks().flat_map(|track| inspect::resources(track, group)).collect(),
        };
        // Who asked may have given up.
        _ = question.send(view).ok();
    }

    /// Takes the newest snapshot.
    fn load(&mut self) {
        self.snapshot = self.shared.store.load();
        self.choose_group();
    }

    /// A node without a group keeps what it has.
    fn choose_group(&mut self) {
        let (Some(Identity { fields, id, client }), Some(snapshot)) = (&self.identity, &self.snapshot) else { return };
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
    fn hear(&mut self, mut request: Request) -> Result<(), Status> {
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
        let answer = self.conversation.hear(kind, &request, || identity.client.doubts(&identity.id, kind));
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
        let client = self.shared.clients.register(status, self.ask.clone());
        self.identity = Some(Identity { id: node.id.as_str().into(), fields: node::fields(node), client });
        self.choose_group();
        Ok(())
    }

    fn note_unknown_type(&mut self, url: String) {
        if self.unknown_types.len() < MAX_UNKNOWN_TYPES && !self.unknown_types.contains(&url) {
            warn!(peer = self.peer, type_url = url, "a type that is not served was asked for");
            self.unknown_types.insert(url);
        }
    }

    fn note_answer(&mut self, kind: Kind, answer: Answer) {
        let Some(Identity { id, client, .. }) = &self.identity else { return };
        let (wildcard, names) = self.conversation.subscribed(kind);
        client.update(|status| {
            let status = status.kinds.entry(kind.service()).or_insert_with(|| KindStatus {
                state: KindState::NotSent,
                sent: None,
                acked: None,
                nack: None,
                wildcard,
                names,
            });
            (status.wildcard, status.names) = (wildcard, names);
        });
        match answer {
            Answer::Nothing => {}
            Answer::Ack { version, newest, clean, recovered } => {
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
                let nack = Nack { code, message, version, at: SystemTime::now(), origins };
                update_kind(client, kind, |status| {
                    status.state = KindState::Nacked;
                    status.nack = Some(nack);
                });
            }
        }
    }

    /// The next response, if one is due. Before there is a snapshot, and for a node without a group, nothing is.
    fn next(&mut self) -> Option<Outgoing> {
        let response = self.conversation.next(self.group.as_deref()?, Instant::now());
        self.note_settled();
        let Some(response) = response else {
            self.note_revision();
            return None;
        };
        let Response { kind, version, impatient, ref resources, ref removed, .. } = response;
        if impatient {
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

    /// Where nothing of a snapshot concerns the client, it is up to date without a response.
    fn note_revision(&self) {
        let (Some(snapshot), Some(group)) = (&self.snapshot, &self.group) else { return };
        let Some(Identity { client, .. }) = &self.identity else { return };
        if self.conversation.is_settled(group) {
            let revision = Some(snapshot.revision());
            client.update(|status| status.revision = revision);
        }
    }

    fn deadline(&self) -> Option<Instant> {
        self.conversation.deadline(self.group.as_deref()?, Instant::now())
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        if let Some(Identity { id, client, .. }) = &self.identity {
            let warming = self.conversation.warming();
            if !warming.is_empty() {
                client.doubt(id, Kind::Cluster, warming);
            }
            info!(node = &**id, peer = self.peer, service = self.route.service(), "client disconnected");
        }
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
