//! A slow line between proxies and Chancery: endpoints arrive late, everything else at once.
//!
//! It hands every message on byte for byte, in both protocols and for every service, and reads them only to tell their type.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::future::Future;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::{Buf as _, BufMut as _, Bytes};
use chancery::envoy::Kind;
use envoy_types::pb::envoy::service::discovery::v3::{DeltaDiscoveryResponse, DiscoveryResponse};
use futures_util::stream::BoxStream;
use prost::Message as _;
use tokio::task::JoinSet;
use tokio::time::Instant;
use tokio_stream::StreamExt as _;
use tokio_util::sync::CancellationToken;
use tonic::body::Body;
use tonic::codec::{Codec, DecodeBuf, Decoder, EncodeBuf, Encoder};
use tonic::transport::server::TcpIncoming;
use tonic::transport::{Channel, Endpoint, Server};
use tonic::{Status, Streaming};
use tower_service::Service;

/// A running line; it is cut when it is dropped.
#[derive(Debug)]
pub(crate) struct SlowEds {
    address: SocketAddr,
    delayed: Arc<AtomicU64>,
    calls: Calls,
    _server: JoinSet<()>,
}

/// What ends the calls that are open now.
type Calls = Arc<Mutex<CancellationToken>>;

impl SlowEds {
    /// Leads to a server, and takes so much longer for endpoints.
    pub(crate) fn start(server: SocketAddr, delay: Duration) -> Self {
        let incoming = TcpIncoming::bind(SocketAddr::from(([127, 0, 0, 1], 0))).expect("loopback has a free port");
        let incoming = incoming.with_nodelay(Some(true));
        let address = incoming.local_addr().expect("it is bound");
        let delayed = Arc::<AtomicU64>::default();
        let channel = Endpoint::from_shared(format!("http://{server}")).expect("a URL").connect_lazy();
        let calls = Calls::default();
        let line = Line { channel, delay, delayed: Arc::clone(&delayed), calls: Arc::clone(&calls) };
        let mut running = JoinSet::new();
        running.spawn(async move {
            Server::builder().serve_with_incoming(line, incoming).await.expect("serving does not end by itself");
        });
        Self { address, delayed, calls, _server: running }
    }

    /// Where proxies find it.
    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Ends every stream; proxies may open others at once.
    pub(crate) fn cut(&self) {
        std::mem::take(&mut *self.calls.lock().unwrap()).cancel();
    }

    /// How many responses with endpoints it has held back so far.
    pub(crate) fn delayed(&self) -> u64 {
        self.delayed.load(Ordering::Relaxed)
    }
}

/// Hands on every call.
#[derive(Clone, Debug)]
struct Line {
    channel: Channel,
    delay: Duration,
    delayed: Arc<AtomicU64>,
    calls: Calls,
}

impl Service<http::Request<Body>> for Line {
    type Response = http::Response<Body>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Infallible>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<Body>) -> Self::Future {
        let call = Call { line: self.clone(), path: request.uri().path().to_owned() };
        Box::pin(async {
            let mut grpc = tonic::server::Grpc::new(Raw).max_decoding_message_size(usize::MAX);
            Ok(grpc.streaming(call, request).await)
        })
    }
}

/// One call on its way.
struct Call {
    line: Line,
    path: String,
}

impl Service<tonic::Request<Streaming<Bytes>>> for Call {
    type Response = tonic::Response<BoxStream<'static, Result<Bytes, Status>>>;
    type Error = Status;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Status>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Status>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: tonic::Request<Streaming<Bytes>>) -> Self::Future {
        let Self { line: Line { channel, delay, delayed, calls }, path } = self;
        let mut server = tonic::client::Grpc::new(channel.clone()).max_decoding_message_size(usize::MAX);
        let (delay, delayed, path, cut) = (*delay, Arc::clone(delayed), path.clone(), calls.lock().unwrap().clone());
        Box::pin(async move {
            server.ready().await.map_err(|error| Status::unavailable(error.to_string()))?;
            let is_delta = path.contains("/Delta");
            let path = path.parse().map_err(|_| Status::invalid_argument("not a path"))?;
            // A stream of requests that breaks off is one that ends.
            let requests = request.into_inner().map_while(Result::ok);
            let responses = server.streaming(tonic::Request::new(requests), path, Raw).await?.into_inner();
            let held = Held { responses, late: VecDeque::new(), is_delta, delay, delayed, cut };
            let messages: BoxStream<'static, _> = Box::pin(futures_util::stream::unfold(held, async |mut held| {
                held.next().await.map(|next| (next, held))
            }));
            Ok(tonic::Response::new(messages))
        })
    }
}

/// The responses of a call, of which some wait.
struct Held {
    responses: Streaming<Bytes>,
    /// In the order in which they came, with the time at which each is handed on.
    late: VecDeque<(Instant, Bytes)>,
    is_delta: bool,
    delay: Duration,
    delayed: Arc<AtomicU64>,
    cut: CancellationToken,
}

impl Held {
    /// The next response to hand on.
    async fn next(&mut self) -> Option<Result<Bytes, Status>> {
        loop {
            let due = self.late.front().map(|(due, _)| *due);
            tokio::select! {
                biased;
                () = self.cut.cancelled() => return Some(Err(Status::unavailable("the line was cut"))),
                () = tokio::time::sleep_until(due.unwrap_or_else(Instant::now)), if due.is_some() => {
                    return self.late.pop_front().map(|(_, message)| Ok(message));
                }
                response = self.responses.message() => match response.transpose()? {
                    Ok(message) if self.type_url(&message) == Kind::Endpoint.type_url() => {
                        self.delayed.fetch_add(1, Ordering::Relaxed);
                        self.late.push_back((Instant::now() + self.delay, message));
                    }
                    other => return Some(other),
                },
            }
        }
    }

    fn type_url(&self, message: &Bytes) -> String {
        if self.is_delta {
            DeltaDiscoveryResponse::decode(&**message).expect("a response").type_url
        } else {
            DiscoveryResponse::decode(&**message).expect("a response").type_url
        }
    }
}

/// Messages as they are.
#[derive(Clone, Copy, Debug)]
struct Raw;

impl Codec for Raw {
    type Encode = Bytes;
    type Decode = Bytes;
    type Encoder = Self;
    type Decoder = Self;

    fn encoder(&mut self) -> Self {
        Self
    }

    fn decoder(&mut self) -> Self {
        Self
    }
}

impl Encoder for Raw {
    type Item = Bytes;
    type Error = Status;

    fn encode(&mut self, message: Bytes, out: &mut EncodeBuf<'_>) -> Result<(), Status> {
        out.put(message);
        Ok(())
    }
}

impl Decoder for Raw {
    type Item = Bytes;
    type Error = Status;

    fn decode(&mut self, message: &mut DecodeBuf<'_>) -> Result<Option<Bytes>, Status> {
        Ok(Some(message.copy_to_bytes(message.remaining())))
    }
}

#[tokio::test]
async fn endpoints_come_late_and_hold_up_nothing_else() {
    use super::xds_client::{ADS, Fixture, Sotw, Stream};

    let fixture = Fixture::start().await;
    fixture.publish(&[(Kind::Endpoint, "e", "1"), (Kind::Cluster, "c", "1"), (Kind::Listener, "l", "1")]);
    let server = fixture.listen.to_string().parse().unwrap();
    let delay = Duration::from_millis(200);
    let line = SlowEds::start(server, delay);
    let channel = Endpoint::from_shared(format!("http://{}", line.address())).unwrap().connect_lazy();
    let mut stream: Sotw = Stream::open(channel, &ADS.replace('/', "/Stream")).await;
    let asked = Instant::now();
    stream.want(Kind::Endpoint, &["e"]).await;
    stream.want(Kind::Cluster, &[]).await;
    stream.want(Kind::Listener, &[]).await;
    let mut types = Vec::new();
    for _ in 0..3 {
        types.push(stream.receive().await.type_url);
    }
    assert_eq!(types, [Kind::Cluster, Kind::Listener, Kind::Endpoint].map(Kind::type_url));
    assert!(asked.elapsed() >= delay, "{:?}", asked.elapsed());
    assert_eq!(line.delayed(), 1);
    line.cut();
    let end = stream.end().await.map(|status| status.message().to_owned());
    assert_eq!(end.as_deref(), Some("the line was cut"));
}
