//! What holds back what: add before use, wait for the client's own word, remove last.
//!
//! A change leads from new clusters over their endpoints to the listeners and routes that use them, and takes old clusters away
//! when nothing leads there any more. The pace is set by the client: an Envoy on the aggregated service answers clusters only
//! once they are warm.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::envoy::Kind;

/// How a stream waits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Gates {
    /// How long an un-answered response holds back changes that build on it.
    pub timeout: Duration,
    /// How long after a listener changed nothing is taken away: the old one drains, and its routes still lead to old clusters.
    pub removal_grace: Duration,
    /// Nothing waits for anything but room on the stream. Requests are lost that way; it is there to be compared with.
    pub open: bool,
}

impl Default for Gates {
    fn default() -> Self {
        Self { timeout: Duration::from_secs(20), removal_grace: Duration::from_secs(5), open: false }
    }
}

/// The kinds that a change of a kind builds on, besides itself. Endpoints never wait for clusters, and secrets for nothing:
/// a cluster that waits for either is answered only when they have come.
pub(super) fn builds_on(kind: Kind) -> &'static [Kind] {
    match kind {
        Kind::Runtime | Kind::Cluster | Kind::Endpoint | Kind::Secret => &[],
        Kind::Listener | Kind::ExtensionConfig => &[Kind::Cluster, Kind::Endpoint],
        Kind::ScopedRoute | Kind::Route => &[Kind::Cluster, Kind::Endpoint, Kind::Listener],
        Kind::VirtualHost => &[Kind::Cluster, Kind::Endpoint, Kind::Listener, Kind::Route],
    }
}

/// The kinds that must be as they are to be, and answered, before something of a kind is taken away.
pub(super) fn leads_to(kind: Kind) -> &'static [Kind] {
    match kind {
        Kind::Cluster => &[Kind::Listener, Kind::ExtensionConfig, Kind::ScopedRoute, Kind::Route, Kind::VirtualHost],
        Kind::Endpoint => {
            &[Kind::Cluster, Kind::Listener, Kind::ExtensionConfig, Kind::ScopedRoute, Kind::Route, Kind::VirtualHost]
        }
        _ => &[],
    }
}

/// Why something that is due is not sent yet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Hold {
    /// Changes wait for answers to what they build on.
    Answers(BTreeSet<Kind>),
    /// What is gone is taken away when these are up to date and answered.
    Removal(BTreeSet<Kind>),
    /// What is gone is taken away when old listeners had time to drain.
    Grace,
    /// Changes lead to clusters that the client refused.
    Refused(BTreeSet<Arc<str>>),
}

/// A kind of which something is held back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Waiting {
    pub(super) kind: Kind,
    pub(super) hold: Hold,
    /// When it is looked at again although nothing happens.
    pub(super) until: Option<Instant>,
}
