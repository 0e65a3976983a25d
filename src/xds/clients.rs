//! Who is connected, and what they say of what they were sent.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::SystemTime;

use serde::Serialize;
use tokio::sync::mpsc;

use super::inspect::Question;
use super::load::{LoadStatus, Loads};
use crate::envoy::Kind;

/// Where one client stands on one kind of resource.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum KindState {
    /// Subscribed, and nothing was sent yet.
    NotSent,
    /// The newest response was accepted, and nothing refused is left.
    Synced,
    /// The newest response is not answered yet.
    Stale,
    /// Something was refused, and has not been replaced by anything that was accepted.
    Nacked,
}

/// A refusal, in the client's own words.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Nack {
    /// The gRPC status code, 13 from Envoy.
    pub code: i32,
    /// The client's message.
    pub message: String,
    /// The version that was refused.
    pub version: String,
    /// When the refusal came.
    pub at: SystemTime,
    /// `file:line:column` of the resources that the message names.
    pub origins: Vec<String>,
}

/// What a change waits for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum WaitReason {
    /// Changes wait until the client has answered what they build on, of these types.
    Answers(Vec<&'static str>),
    /// What is gone is removed once these types are up to date and answered.
    Removal(Vec<&'static str>),
    /// What is gone is removed once changed listeners had time to drain.
    Grace,
    /// Changes lead to these clusters, which the client refused.
    Refused(Vec<String>),
}

/// Something that is due and held back.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Wait {
    /// What for.
    pub reason: WaitReason,
    /// Since when.
    pub since: SystemTime,
}

/// One kind of resource on one stream.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct KindStatus {
    /// Where the client stands.
    pub state: KindState,
    /// The version that was last sent.
    pub sent: Option<String>,
    /// The version that was last accepted.
    pub acked: Option<String>,
    /// The last refusal, until what was refused has been replaced by something that was accepted.
    pub nack: Option<Nack>,
    /// Whether all resources of the kind are subscribed.
    pub wildcard: bool,
    /// How many names are subscribed.
    pub names: usize,
    /// What of it is held back, if anything.
    pub waiting: Option<Wait>,
}

/// One stream of a client.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ClientStatus {
    /// `Node.id`.
    pub node: String,
    /// `Node.cluster`.
    pub cluster: String,
    /// Name and version of the client's software.
    pub user_agent: String,
    /// The node group, if the node matches one.
    pub group: Option<String>,
    /// The client's address.
    pub peer: String,
    /// `sotw` or `delta`.
    pub protocol: &'static str,
    /// `ADS`, or the service of a stream for one kind.
    pub service: &'static str,
    /// When the stream was opened.
    pub connected: SystemTime,
    /// The snapshot revision of which the client has been sent everything that concerns it.
    pub revision: Option<u64>,
    /// By the service's short name: `CDS`, `EDS` …
    pub kinds: BTreeMap<&'static str, KindStatus>,
}

/// Refusals that are remembered beyond their stream. Nodes that vanish for good after a refusal would otherwise add up.
const MAX_DOUBTS: usize = 10_000;

/// Refused names by the stream that must make them good.
type ByStream = BTreeMap<u64, BTreeSet<Arc<str>>>;

/// Nodes without a group that are remembered, so that each is logged once.
const MAX_UNMATCHED: usize = 10_000;

/// An open stream.
#[derive(Clone, Debug)]
struct Stream {
    status: Arc<Mutex<ClientStatus>>,
    /// Takes questions to the stream's task, which alone knows where the client stands on each resource.
    ask: mpsc::Sender<Question>,
}

/// What nodes may hold besides what they say.
#[derive(Debug, Default)]
struct Doubts {
    /// By node and kind, then by stream: several proxies may share one id, and off ADS a proxy has many streams of one
    /// kind.
    names: BTreeMap<(Arc<str>, Kind), ByStream>,
    /// There were too many to remember: no reconnecting node is believed any more.
    overflowed: bool,
}

/// The registry of all streams.
#[derive(Debug, Default)]
pub struct Clients {
    /// Counts the streams of this process.
    opened: AtomicU64,
    streams: Mutex<BTreeMap<u64, Stream>>,
    /// What clients report of their requests.
    loads: Mutex<Loads>,
    doubts: Mutex<Doubts>,
    /// Nodes that were last seen without a group.
    unmatched: Mutex<BTreeSet<Arc<str>>>,
}

impl Clients {
    /// An empty registry.
    pub fn new() -> Self {
        Self::default()
    }

    /// Every open stream, oldest first.
    pub fn status(&self) -> Vec<ClientStatus> {
        self.askable().map(|(status, _)| status).collect()
    }

    /// Every open stream, oldest first, with the way to ask it.
    pub(super) fn askable(&self) -> impl Iterator<Item = (ClientStatus, mpsc::Sender<Question>)> + use<> {
        let streams: Vec<_> = lock(&self.streams).values().cloned().collect();
        streams.into_iter().map(|Stream { status, ask }| (lock(&status).clone(), ask))
    }

    /// What clients report of their requests.
    pub fn load(&self) -> LoadStatus {
        self.loads().status()
    }

    pub(super) fn loads(&self) -> MutexGuard<'_, Loads> {
        lock(&self.loads)
    }

    /// Adds a stream until the returned guard is dropped.
    pub(super) fn register(self: &Arc<Self>, status: ClientStatus, ask: mpsc::Sender<Question>) -> Client {
        let id = self.opened.fetch_add(1, Ordering::Relaxed);
        let status = Arc::new(Mutex::new(status));
        lock(&self.streams).insert(id, Stream { status: Arc::clone(&status), ask });
        Client { id, status, clients: Arc::clone(self) }
    }

    /// Hands what was refused on streams that have ended over to a stream of the same node.
    fn inherit(&self, by_stream: &mut ByStream, heir: u64) {
        let streams = lock(&self.streams);
        let ended: Vec<_> = by_stream.extract_if(.., |id, _| *id != heir && !streams.contains_key(id)).collect();
        if !ended.is_empty() {
            by_stream.entry(heir).or_default().extend(ended.into_iter().flat_map(|(_, names)| names));
        }
    }

    /// Notes whether a node belongs to a group; true if that is news of a node that belongs to none.
    pub(super) fn match_node(&self, node: &Arc<str>, is_matched: bool) -> bool {
        let mut unmatched = lock(&self.unmatched);
        if is_matched {
            unmatched.remove(node);
            return false;
        }
        unmatched.len() < MAX_UNMATCHED && unmatched.insert(Arc::clone(node))
    }
}

/// One registered stream.
#[derive(Debug)]
pub(super) struct Client {
    id: u64,
    status: Arc<Mutex<ClientStatus>>,
    clients: Arc<Clients>,
}

impl Client {
    /// The number of the stream.
    pub(super) fn id(&self) -> u64 {
        self.id
    }

    /// The stream's own status.
    pub(super) fn status(&self) -> ClientStatus {
        lock(&self.status).clone()
    }

    /// Changes the stream's own status; no other stream waits for it.
    pub(super) fn update(&self, change: impl FnOnce(&mut ClientStatus)) {
        change(&mut lock(&self.status));
    }

    /// Remembers all that the node refused on this stream and that is not made good: when it reconnects, its account of
    /// what it holds is wrong.
    pub(super) fn doubt(&self, node: &Arc<str>, kind: Kind, names: BTreeSet<Arc<str>>) {
        self.remember(node, kind, |known| *known = names);
    }

    /// The same of names besides those that are remembered.
    pub(super) fn doubt_also(&self, node: &Arc<str>, kind: Kind, names: BTreeSet<Arc<str>>) {
        self.remember(node, kind, |known| known.extend(names));
    }

    fn remember(&self, node: &Arc<str>, kind: Kind, change: impl FnOnce(&mut BTreeSet<Arc<str>>)) {
        let mut doubts = lock(&self.clients.doubts);
        let key = (Arc::clone(node), kind);
        if doubts.names.len() < MAX_DOUBTS || doubts.names.contains_key(&key) {
            let by_stream = doubts.names.entry(key).or_default();
            change(by_stream.entry(self.id).or_default());
            self.clients.inherit(by_stream, self.id);
        } else {
            doubts.overflowed = true;
        }
    }

    /// On this stream, the node has accepted everything that it once refused.
    pub(super) fn trust(&self, node: &Arc<str>, kind: Kind) {
        let mut doubts = lock(&self.clients.doubts);
        let key = (Arc::clone(node), kind);
        let Some(by_stream) = doubts.names.get_mut(&key) else { return };
        by_stream.remove(&self.id);
        if by_stream.is_empty() {
            doubts.names.remove(&key);
        }
    }

    /// The names that the node refused of a kind, which this stream makes good from now on; `None` if the node's account
    /// of what it holds can be believed.
    pub(super) fn doubts(&self, node: &Arc<str>, kind: Kind) -> Option<BTreeSet<Arc<str>>> {
        let mut doubts = lock(&self.clients.doubts);
        let names = doubts.names.get_mut(&(Arc::clone(node), kind)).map(|by_stream| {
            self.clients.inherit(by_stream, self.id);
            // A stream that looks open may be the one that the client has just lost.
            by_stream.values().flatten().cloned().collect()
        });
        names.or_else(|| doubts.overflowed.then(BTreeSet::new))
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        lock(&self.clients.streams).remove(&self.id);
    }
}

/// A status is a report: one that was left half-written is better than none.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn status(node: &str) -> ClientStatus {
        ClientStatus {
            node: node.to_owned(),
            cluster: String::new(),
            user_agent: String::new(),
            group: None,
            peer: String::new(),
            protocol: "sotw",
            service: "ADS",
            connected: SystemTime::UNIX_EPOCH,
            revision: None,
            kinds: BTreeMap::new(),
        }
    }

    fn register(clients: &Arc<Clients>, node: &str) -> Client {
        clients.register(status(node), mpsc::channel(1).0)
    }

    #[test]
    fn a_stream_is_listed_until_its_guard_is_dropped() {
        let clients = Arc::new(Clients::new());
        let first = register(&clients, "a");
        let second = register(&clients, "a");
        second.update(|status| status.revision = Some(7));
        let revisions = |clients: &Clients| clients.status().iter().map(|client| client.revision).collect::<Vec<_>>();
        assert_eq!(revisions(&clients), [None, Some(7)]);
        drop(first);
        assert_eq!(revisions(&clients), [Some(7)]);
    }

    fn names(names: &[&str]) -> BTreeSet<Arc<str>> {
        names.iter().map(|name| Arc::from(*name)).collect()
    }

    #[test]
    fn a_node_without_a_group_is_news_once() {
        let clients = Clients::new();
        let node: Arc<str> = "a".into();
        let news = [false, false, true, false].map(|is_matched| clients.match_node(&node, is_matched));
        assert_eq!(news, [true, false, false, true]);
    }

    #[test]
    fn with_too_many_refusals_nobody_is_believed() {
        let clients = Arc::new(Clients::new());
        let stream = register(&clients, "any");
        for node in 0..MAX_DOUBTS {
            stream.doubt(&node.to_string().into(), Kind::Cluster, names(&["c"]));
        }
        let other: Arc<str> = "other".into();
        assert_eq!(stream.doubts(&other, Kind::Cluster), None);
        stream.doubt(&other, Kind::Cluster, names(&["c"]));
        assert_eq!(stream.doubts(&other, Kind::Cluster), Some(names(&[])));
        assert_eq!(stream.doubts(&"0".into(), Kind::Cluster), Some(names(&["c"])));
    }

    #[test]
    fn what_one_stream_of_a_node_makes_good_says_nothing_of_another() {
        let clients = Arc::new(Clients::new());
        let node: Arc<str> = "a".into();
        let (first, second) = (register(&clients, "a"), register(&clients, "a"));
        first.doubt(&node, Kind::Endpoint, names(&["x"]));
        second.doubt(&node, Kind::Endpoint, names(&["y"]));
        second.trust(&node, Kind::Endpoint);
        drop(first);
        let third = register(&clients, "a");
        assert_eq!(third.doubts(&node, Kind::Endpoint), Some(names(&["x"])));
        assert_eq!(third.doubts(&node, Kind::Cluster), None);
        third.trust(&node, Kind::Endpoint);
        assert_eq!(second.doubts(&node, Kind::Endpoint), None);
    }

    #[test]
    fn refusals_do_not_add_up_over_the_streams_of_a_node() {
        let clients = Arc::new(Clients::new());
        let node: Arc<str> = "a".into();
        for _ in 0..100 {
            register(&clients, "a").doubt(&node, Kind::Cluster, names(&["x"]));
        }
        assert_eq!(lock(&clients.doubts).names[&(node, Kind::Cluster)].len(), 1);
    }
}
