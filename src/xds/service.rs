//! The paths of the discovery services, and what each speaks.

use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Instant;

use futures_util::StreamExt as _;
use http_body_util::{BodyStream, StreamBody};
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tonic::body::Body;
use tonic::server::Grpc;
use tonic::{Status, Streaming};
use tower_service::Service;
use tracing::warn;

use super::admission::Verdict;
use super::codec::{DiscoveryCodec, Outgoing};
use super::connection::Peer;
use super::further::Further;
use super::stream::{self, Shared};
use super::{Protocol, Request};
use crate::envoy::Kind;

/// A 10,000-cluster Envoy repeats its 61 kB node, all its names and all its versions in one request: some megabytes.
pub(super) const MAX_REQUEST_BYTES: usize = 64 << 20;

/// The discovery services: what their methods end with, and the only kind of their streams.
pub(super) const DISCOVERY: [(&str, &str, Option<Kind>); 10] = [
    ("envoy.service.discovery.v3.AggregatedDiscoveryService", "AggregatedResources", None),
    ("envoy.service.cluster.v3.ClusterDiscoveryService", "Clusters", Some(Kind::Cluster)),
    ("envoy.service.endpoint.v3.EndpointDiscoveryService", "Endpoints", Some(Kind::Endpoint)),
    ("envoy.service.listener.v3.ListenerDiscoveryService", "Listeners", Some(Kind::Listener)),
    ("envoy.service.route.v3.RouteDiscoveryService", "Routes", Some(Kind::Route)),
    ("envoy.service.route.v3.ScopedRoutesDiscoveryService", "ScopedRoutes", Some(Kind::ScopedRoute)),
    ("envoy.service.route.v3.VirtualHostDiscoveryService", "VirtualHosts", Some(Kind::VirtualHost)),
    ("envoy.service.secret.v3.SecretDiscoveryService", "Secrets", Some(Kind::Secret)),
    ("envoy.service.runtime.v3.RuntimeDiscoveryService", "Runtime", Some(Kind::Runtime)),
    ("envoy.service.extension.v3.ExtensionConfigDiscoveryService", "ExtensionConfigs", Some(Kind::ExtensionConfig)),
];

/// What a stream is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Route {
    pub(super) protocol: Protocol,
    /// The only kind of the stream; `None` on the aggregated service.
    pub(super) kind: Option<Kind>,
}

impl Route {
    /// Reads the path of a call; `None` if it is not a discovery stream.
    pub(super) fn of(path: &str) -> Option<Self> {
        let (service, method) = path.strip_prefix('/')?.split_once('/')?;
        let (_, subject, kind) = DISCOVERY.into_iter().find(|(name, ..)| *name == service)?;
        let protocol = match method.strip_suffix(subject)? {
            "Stream" => Protocol::Sotw,
            "Delta" => Protocol::Delta,
            _ => return None,
        };
        let route = Self { protocol, kind };
        kind.is_none_or(|kind| route.serves(kind)).then_some(route)
    }

    /// Whether a kind can be had on this stream. Virtual hosts exist in the incremental protocol only.
    pub(super) fn serves(self, kind: Kind) -> bool {
        self.kind.is_none_or(|only| only == kind) && (kind != Kind::VirtualHost || self.protocol == Protocol::Delta)
    }

    /// `ADS`, or the short name of the service.
    pub(super) fn service(self) -> &'static str {
        self.kind.map_or("ADS", Kind::service)
    }
}

/// Answers every call of a connection.
#[derive(Clone, Debug)]
pub(super) struct Discovery {
    pub(super) shared: Arc<Shared>,
    /// All that is not discovery.
    pub(super) further: Arc<Further>,
    pub(super) tasks: TaskTracker,
    pub(super) shutdown: CancellationToken,
}

impl Service<http::Request<Body>> for Discovery {
    type Response = http::Response<Body>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Infallible>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<Body>) -> Self::Future {
        let Some(route) = Route::of(request.uri().path()) else {
            if let Some(mut routes) = self.further.find(request.uri().path()) {
                return Box::pin(routes.call(until(self.shutdown.clone(), request)));
            }
            let message = format!("`{}` is not served here", request.uri().path());
            return Box::pin(async { Ok(Status::unimplemented(message).into_http()) });
        };
        let call = Call { discovery: self.clone(), route };
        Box::pin(async move {
            let codec = DiscoveryCodec(route.protocol);
            Ok(Grpc::new(codec).max_decoding_message_size(MAX_REQUEST_BYTES).streaming(call, request).await)
        })
    }
}

/// One call of a known path.
struct Call {
    discovery: Discovery,
    route: Route,
}

impl Service<tonic::Request<Streaming<Request>>> for Call {
    type Response = tonic::Response<ReceiverStream<Result<Outgoing, Status>>>;
    type Error = Status;
    type Future = std::future::Ready<Result<Self::Response, Status>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Status>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: tonic::Request<Streaming<Request>>) -> Self::Future {
        let peer = peer(request.extensions());
        let Discovery { shared, further: _, tasks, shutdown } = &self.discovery;
        if let Err(refusal) = admit(shared, self.route, &peer) {
            return std::future::ready(Err(refusal));
        }
        // One response ahead: what comes after it is decided when it is taken.
        let (out, responses) = tokio::sync::mpsc::channel(1);
        let io = stream::Io { requests: request.into_inner(), out, shutdown: shutdown.clone() };
        tasks.spawn(stream::run(Arc::clone(shared), self.route, peer.address.to_string(), io));
        std::future::ready(Ok(tonic::Response::new(ReceiverStream::new(responses))))
    }
}

/// A call of which nothing more is heard once the server ends: a service that reads to the end then ends its answer.
fn until(shutdown: CancellationToken, request: http::Request<Body>) -> http::Request<Body> {
    request.map(|body| Body::new(StreamBody::new(BodyStream::new(body).take_until(shutdown.cancelled_owned()))))
}

/// Where a call comes from.
pub(super) fn peer(extensions: &http::Extensions) -> Peer {
    extensions.get::<Peer>().cloned().unwrap_or_else(|| Peer::new(String::new()))
}

/// Refuses what is too much at once: the client comes again, by itself and after a pause.
fn admit(shared: &Shared, route: Route, peer: &Peer) -> Result<(), Status> {
    let Some(admission) = &shared.admission else { return Ok(()) };
    let Verdict::Refused { untold } = admission.admit(route.kind.is_none(), &peer.let_in, Instant::now()) else {
        return Ok(());
    };
    shared.metrics.refused();
    if let Some(streams) = untold {
        let peer = &*peer.address;
        warn!(streams, peer, "new streams are refused, for too many come at once: see --max-new-streams-per-second");
    }
    Err(Status::resource_exhausted("too many new streams at once: try again later"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_service_of_the_generated_clients_has_a_route() {
        let aggregated = Route::of("/envoy.service.discovery.v3.AggregatedDiscoveryService/StreamAggregatedResources");
        assert_eq!(aggregated, Some(Route { protocol: Protocol::Sotw, kind: None }));
        let paths = [
            ("/envoy.service.cluster.v3.ClusterDiscoveryService/DeltaClusters", Kind::Cluster),
            ("/envoy.service.endpoint.v3.EndpointDiscoveryService/DeltaEndpoints", Kind::Endpoint),
            ("/envoy.service.listener.v3.ListenerDiscoveryService/DeltaListeners", Kind::Listener),
            ("/envoy.service.route.v3.RouteDiscoveryService/DeltaRoutes", Kind::Route),
            ("/envoy.service.route.v3.ScopedRoutesDiscoveryService/DeltaScopedRoutes", Kind::ScopedRoute),
            ("/envoy.service.route.v3.VirtualHostDiscoveryService/DeltaVirtualHosts", Kind::VirtualHost),
            ("/envoy.service.secret.v3.SecretDiscoveryService/DeltaSecrets", Kind::Secret),
            ("/envoy.service.runtime.v3.RuntimeDiscoveryService/DeltaRuntime", Kind::Runtime),
            (
                "/envoy.service.extension.v3.ExtensionConfigDiscoveryService/DeltaExtensionConfigs",
                Kind::ExtensionConfig,
            ),
        ];
        assert_eq!(paths.len(), Kind::ALL.len());
        for (path, kind) in paths {
            assert_eq!(Route::of(path), Some(Route { protocol: Protocol::Delta, kind: Some(kind) }), "{path}");
            let stream = Route::of(&path.replace("/Delta", "/Stream"));
            assert_eq!(stream.is_some(), kind != Kind::VirtualHost, "{path}");
        }
        assert_eq!(Route::of("/envoy.service.cluster.v3.ClusterDiscoveryService/FetchClusters"), None);
        assert_eq!(Route::of("/envoy.service.status.v3.ClientStatusDiscoveryService/StreamClientStatus"), None);
        assert_eq!(Route::of("/"), None);
    }
}
