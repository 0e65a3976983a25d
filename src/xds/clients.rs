//! Who is connected, and what they say of what they were sent.

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::time::SystemTime;

use serde::Serialize;

/// Where one client stands on one kind of resource.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum KindState {
    /// Subscribed, and nothing was sent yet.
    NotSent,
    /// The newest response was accepted.
    Synced,
    /// The newest response is not answered yet.
    Stale,
    /// The newest response was refused.
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

/// One kind of resource on one stream.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct KindStatus {
    /// Where the client stands.
    pub state: KindState,
    /// The version that was last sent.
    pub sent: Option<String>,
    /// The version that was last accepted.
    pub acked: Option<String>,
    /// The last refusal, until the next acceptance.
    pub nack: Option<Nack>,
    /// Whether all resources of the kind are subscribed.
    pub wildcard: bool,
    /// How many names are subscribed.
    pub names: usize,
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
    /// The snapshot revision that was last sent from.
    pub revision: Option<u64>,
    /// By the service's short name: `CDS`, `EDS` …
    pub kinds: BTreeMap<&'static str, KindStatus>,
}

/// The registry of all streams.
#[derive(Debug, Default)]
pub struct Clients {
    streams: Mutex<BTreeMap<u64, ClientStatus>>,
}

impl Clients {
    /// An empty registry.
    pub fn new() -> Self {
        Self::default()
    }

    /// Every open stream, oldest first.
    pub fn status(&self) -> Vec<ClientStatus> {
        self.streams.lock().expect("no panic while the registry is locked").values().cloned().collect()
    }
}
