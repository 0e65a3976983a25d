//! One stream's task: the only place where requests are read and responses written.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::mpsc;
use tokio_stream::StreamExt as _;
use tokio_util::sync::CancellationToken;
use tonic::{Status, Streaming};
use tracing::{debug, warn};

use super::Request;
use super::admission::Admission;
use super::clients::Clients;
use super::codec::Outgoing;
use super::gate::Gates;
use super::metrics::Metrics;
use super::rollout::Rollout;
use super::service::Route;
use super::session::Session;
use super::withhold::Withhold;
use crate::snapshot::Store;

/// What all streams of a server share.
pub(super) struct Shared {
    /// For what is asked of the server as a whole; streams serve what the rollout says.
    pub(super) store: Arc<Store>,
    pub(super) rollout: Arc<Rollout>,
    pub(super) clients: Arc<Clients>,
    pub(super) metrics: Metrics,
    pub(super) gates: Gates,
    pub(super) identifier: Arc<str>,
    /// Set if private keys are sent to nobody.
    pub(super) withhold: Option<Withhold>,
    /// How often clients are asked to report their load.
    pub(super) load_interval: Duration,
    /// Set if there is a limit to how many streams come in a second.
    pub(super) admission: Option<Admission>,
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
    let mut bell = shared.rollout.subscribe();
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
