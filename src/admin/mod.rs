//! Looking in from outside: health, status, what is served, metrics.
//!
//! Enters: what the other stages leave to be read (the store, the reload status, the client registry, the metrics).
//! Leaves: answers to HTTP requests. It may know everything to its left and changes none of it; it can ask for a reload.
//! Invariants: no answer holds key material; no request can slow an edit or a stream down; readiness never falls again
//! once there is a good snapshot.

mod config_dump;
mod health;
mod host;
mod load;
mod metrics;
mod reload;
mod resource;
mod rollout;
mod status;

#[cfg(test)]
mod tests;

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::Request;
use axum::http::{HeaderValue, Method, StatusCode, Uri, header};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use prometheus_client::registry::Registry;
use tokio::net::{TcpListener, ToSocketAddrs};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;

use crate::envoy::Schema;
use crate::reload::{StatusCell, Trigger};
use crate::snapshot::Store;
use crate::xds::{Clients, Rollout};

pub use resource::native_json;

/// How long requests in flight may take once the server is told to stop.
const DRAIN: Duration = Duration::from_secs(2);

/// What the answers are made from.
#[derive(Clone, Debug)]
pub struct State {
    /// The snapshot in service.
    pub store: Arc<Store>,
    /// What the reload task last did.
    pub status: Arc<StatusCell>,
    /// Asks for a reload.
    pub trigger: Trigger,
    /// Who is connected.
    pub clients: Arc<Clients>,
    /// Which snapshot is sent to whom.
    pub rollout: Arc<Rollout>,
    /// Decodes resources for the dump.
    pub schema: Arc<Schema>,
    /// The metrics.
    pub registry: Arc<Registry>,
    /// Whether resources with private keys are sent to nobody.
    pub withholds_private_keys: bool,
}

/// What handlers share.
#[derive(Debug)]
struct Shared {
    state: State,
    /// A dump of a large snapshot takes much memory: one at a time.
    dumps: Arc<Semaphore>,
}

/// A bound admin port that answers nothing yet.
#[derive(Debug)]
pub struct Server {
    listener: TcpListener,
    addr: SocketAddr,
}

impl Server {
    /// Takes the port.
    ///
    /// # Errors
    /// If the address does not resolve or the port cannot be had.
    pub async fn bind(addr: impl ToSocketAddrs) -> io::Result<Self> {
        let listener = TcpListener::bind(addr).await?;
        let addr = listener.local_addr()?;
        Ok(Self { listener, addr })
    }

    /// The address that was taken, with the real port where 0 was asked for.
    pub fn local_addr(&self) -> SocketAddr {
        self.addr
    }

    /// Answers requests until `shutdown`, then lets those in flight end within two seconds.
    ///
    /// # Errors
    /// If the listening socket fails for good.
    pub async fn run(self, state: State, shutdown: CancellationToken) -> io::Result<()> {
        let Self { listener, addr } = self;
        let loopback = addr.ip().to_canonical().is_loopback();
        if !loopback {
            tracing::warn!(%addr, "the admin port is reachable from other hosts; it has no authentication");
        }
        let drained = shutdown.clone();
        let serve = axum::serve(listener, router(state, loopback)).with_graceful_shutdown(shutdown.cancelled_owned());
        let deadline = async {
            drained.cancelled().await;
            tokio::time::sleep(DRAIN).await;
        };
        tokio::select! {
            result = serve => result,
            () = deadline => Ok(()),
        }
    }
}

/// The only endpoint that does something, and takes POST.
const RELOAD: &str = "/reload";

/// Every endpoint with a line about it, in the order in which `/` shows them.
const ENDPOINTS: [(&str, &str); 6] = [
    ("/livez", "200 while the process runs"),
    ("/readyz", "200 once there is a good snapshot; a bad edit does not lower it"),
    ("/status", "last edit with its findings, versions by group, clients (JSON)"),
    ("/config_dump", "what is served, secrets redacted; ?group=NAME or ?node=ID (JSON)"),
    (RELOAD, "POST: read the files now; 200 with the changes, 422 with the findings; ?confirm=DIGEST (JSON)"),
    ("/metrics", "for Prometheus (OpenMetrics text)"),
];

fn router(state: State, loopback: bool) -> Router {
    let router = Router::new()
        .route("/", get(index))
        .route("/livez", get(health::live))
        .route("/readyz", get(health::ready))
        .route("/status", get(status::show))
        .route("/config_dump", get(config_dump::show))
        .route(RELOAD, post(reload::ask))
        .route("/metrics", get(metrics::show))
        .fallback(not_found)
        .method_not_allowed_fallback(method_not_allowed)
        .with_state(Arc::new(Shared { state, dumps: Arc::new(Semaphore::new(1)) }));
    let router = if loopback { router.layer(middleware::from_fn(host::require_loopback)) } else { router };
    router.layer(middleware::from_fn(guard_browsers))
}

/// Answers are of the moment, and their text is never to be taken for a page or script.
async fn guard_browsers(request: Request, next: Next) -> Response {
    let mut response = next.run(request).await;
    let headers = response.headers_mut();
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    response
}

fn endpoints() -> String {
    ENDPOINTS.map(|(path, about)| format!("{path:<14}{about}\n")).concat()
}

async fn index() -> String {
    format!("chancery {}\n\n{}", env!("CARGO_PKG_VERSION"), endpoints())
}

async fn not_found(uri: Uri) -> Response {
    (StatusCode::NOT_FOUND, format!("there is no `{}` here; there is:\n\n{}", uri.path(), endpoints())).into_response()
}

async fn method_not_allowed(method: Method, uri: Uri) -> Response {
    let right = if uri.path() == RELOAD { Method::POST } else { Method::GET };
    let message = format!("`{}` does not take {method}; use {right}\n", uri.path());
    (StatusCode::METHOD_NOT_ALLOWED, message).into_response()
}

/// Indented JSON with a line ending, for people with curl.
fn json(value: &impl serde::Serialize) -> Response {
    match serde_json::to_string_pretty(value) {
        Ok(text) => ([(header::CONTENT_TYPE, "application/json")], text + "\n").into_response(),
        Err(error) => {
            tracing::warn!(%error, "cannot write an answer of the admin port as JSON");
            (StatusCode::INTERNAL_SERVER_ERROR, "cannot write the answer as JSON\n").into_response()
        }
    }
}
