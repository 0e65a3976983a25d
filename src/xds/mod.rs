//! Serving snapshots over gRPC.
//!
//! Enters: snapshots from the [`Store`](crate::snapshot::Store), requests of clients. Leaves: responses, and what clients
//! think of them ([`Clients`]). Knows: snapshots, kinds and the discovery messages; nothing of topologies.
//!
//! `stream` is the only I/O: one task per stream that reads requests, waits for snapshots, and writes responses. Its
//! `session` knows who the client is, asks `order::Conversation` what to say, and tells what came of it. What it asks is
//! pure and is handed requests, content and the time: `subscription` (what is asked for), `ledger` (what was told, what is not
//! answered), `track` (both, for one kind), `sotw` and `delta` (the two protocols), `order` (all kinds of a stream), `gate`
//! (which of them holds back which). `codec` writes the bytes that the snapshot already holds. `rollout` decides which
//! snapshot each stream serves, `admission` how many streams are taken on in a second.
//!
//! Beside discovery the port answers what tools and clients ask of a control plane (`further`): who stands where (`csds`,
//! which asks each stream through `inspect`), load reports (`lrs`, added up in `load`), `health` and `reflection`.
//!
//! Invariants: no lock is held while sending and nothing is queued per edit, so that a slow client only skips versions; a
//! response names no resource twice; what was refused is not sent again unless the content differs; after quiescence
//! nothing is sent; on a port that others can listen in on, private keys are sent to nobody unless the operator says so.

mod admission;
mod clients;
mod codec;
mod connection;
mod csds;
mod delta;
mod further;
mod gate;
mod health;
mod inspect;
mod ledger;
mod listen;
mod load;
mod lrs;
mod metrics;
mod node;
mod node_matcher;
mod order;
mod origins;
mod reflection;
mod rollout;
mod server;
mod service;
mod session;
mod sotw;
mod stream;
mod subscription;
mod track;
mod withhold;

#[cfg(test)]
mod tests;

pub use clients::{ClientStatus, Clients, KindState, KindStatus, Nack, Wait, WaitReason};
pub use gate::Gates;
pub use listen::{Listen, ListenError};
pub use load::{Load, LoadStatus, NodeLoad, Requests};
pub use metrics::Metrics;
pub use rollout::{CanaryStatus, Cause, Policy, Quarantined, Rollout, RolloutStatus, Share, ShareError, TrialStatus};
pub use server::{Options, Server};

use envoy_types::pb::envoy::config::core::v3::Node;
use envoy_types::pb::envoy::service::discovery::v3::{DeltaDiscoveryRequest, DiscoveryRequest};

/// The two ways of speaking xDS.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
enum Protocol {
    /// State of the world.
    Sotw,
    /// Incremental.
    Delta,
}

impl Protocol {
    /// As it is written in logs, metrics and the status.
    fn as_str(self) -> &'static str {
        match self {
            Self::Sotw => "sotw",
            Self::Delta => "delta",
        }
    }
}

/// A request of either protocol.
#[derive(Clone, Debug)]
enum Request {
    Sotw(Box<DiscoveryRequest>),
    Delta(Box<DeltaDiscoveryRequest>),
}

impl Request {
    fn type_url(&self) -> &str {
        match self {
            Self::Sotw(request) => &request.type_url,
            Self::Delta(request) => &request.type_url,
        }
    }

    /// Takes the node out: it is needed once, and an Envoy's weighs 61 kB.
    fn take_node(&mut self) -> Option<Node> {
        match self {
            Self::Sotw(request) => request.node.take(),
            Self::Delta(request) => request.node.take(),
        }
    }
}
