//! The listening socket and its end.

use std::io;
use std::os::unix::fs::FileTypeExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use futures_util::Stream;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, UnixListener, UnixStream};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tonic::transport::server::Connected;
use tracing::warn;

use super::admission::{self, Admission};
use super::connection::Connection;
use super::further::Further;
use super::health::Health;
use super::service::Discovery;
use super::stream::Shared;
use super::withhold::Withhold;
use super::{Clients, Gates, Listen, Metrics, Policy, Rollout};
use crate::snapshot::Store;

/// How often an idle connection is pinged: a client that vanished without a word is otherwise shown as connected.
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(30);
const KEEPALIVE_TIMEOUT: Duration = Duration::from_secs(10);
/// Off ADS an Envoy opens one stream per subscription, all on one connection.
const MAX_STREAMS_PER_CONNECTION: u32 = 100_000;
/// Pause after a failed `accept`, which mostly means that there are no file descriptors left.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// How to serve.
#[derive(Clone, Debug)]
pub struct Options {
    /// What waits for what, and how long.
    pub gates: Gates,
    /// How a new snapshot reaches the proxies.
    pub rollout: Policy,
    /// `control_plane.identifier` of every response; empty to leave it out.
    pub identifier: String,
    /// How long connections may take to close after the end was asked for.
    pub drain: Duration,
    /// Whether private keys are sent although others on the network could read them.
    pub allow_plaintext_secrets: bool,
    /// How often clients are asked to report their load.
    pub load_interval: Duration,
    /// New clients that are taken on in a second, and at once after a quiet second; 0 is no limit. A client is an aggregated
    /// stream, or a connection with any number of streams of one type.
    pub max_new_streams_per_second: u32,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            gates: Gates::default(),
            rollout: Policy::Hold,
            identifier: concat!("chancery/", env!("CARGO_PKG_VERSION")).to_owned(),
            drain: Duration::from_secs(5),
            allow_plaintext_secrets: false,
            load_interval: Duration::from_secs(10),
            max_new_streams_per_second: admission::streams_per_second(),
        }
    }
}

#[derive(Debug)]
enum Socket {
    Tcp(TcpListener),
    Unix(UnixListener, SocketFile),
}

/// The xDS server: bound, and serving once [`Server::run`] is polled.
#[derive(Debug)]
pub struct Server {
    socket: Socket,
    local: Listen,
    shared: Arc<Shared>,
    drain: Duration,
}

impl Server {
    /// Takes the address. A Unix socket that nobody listens on any more is replaced.
    pub async fn bind(
        listen: &Listen,
        store: Arc<Store>,
        clients: Arc<Clients>,
        metrics: Metrics,
        options: Options,
    ) -> io::Result<Self> {
        let (socket, local) = match listen {
            Listen::Tcp(address) => {
                let listener = TcpListener::bind(address).await?;
                let local = Listen::Tcp(listener.local_addr()?);
                (Socket::Tcp(listener), local)
            }
            Listen::Unix(path) => {
                let listener = bind_unix(path).await?;
                (Socket::Unix(listener, SocketFile(path.clone())), listen.clone())
            }
        };
        let Options {
            gates,
            rollout,
            identifier,
            drain,
            allow_plaintext_secrets,
            load_interval,
            max_new_streams_per_second,
        } = options;
        let rollout = Arc::new(Rollout::new(Arc::clone(&store), rollout, metrics.clone()));
        let withhold = (!allow_plaintext_secrets && !local.is_local()).then(Withhold::default);
        let admission = Admission::new(max_new_streams_per_second);
        let identifier = identifier.into();
        let shared = Shared { store, rollout, clients, metrics, gates, identifier, withhold, load_interval, admission };
        Ok(Self { socket, local, shared: Arc::new(shared), drain })
    }

    /// What is listened on, with the port that was chosen for port 0.
    pub fn local_addr(&self) -> &Listen {
        &self.local
    }

    /// Whether resources with private keys are sent to nobody.
    pub fn withholds_private_keys(&self) -> bool {
        self.shared.withhold.is_some()
    }

    /// Which snapshot is sent to whom.
    pub fn rollout(&self) -> &Arc<Rollout> {
        &self.shared.rollout
    }

    /// Serves until `shutdown`; then every stream ends, and connections have the drain time to close.
    pub async fn run(self, shutdown: CancellationToken) -> io::Result<()> {
        let Self { socket, local: _, shared, drain } = self;
        let (tasks, rollout, until) = (TaskTracker::new(), Arc::clone(&shared.rollout), shutdown.clone());
        tasks.spawn(async move { rollout.run(until).await });
        let health = Health::new().await;
        let further = Arc::new(Further::new(&shared, &health));
        tasks.spawn(health.follow(Arc::clone(&shared.store), shutdown.clone()));
        let discovery = Discovery { shared, further, tasks, shutdown: shutdown.clone() };
        match socket {
            Socket::Tcp(listener) => {
                let accept = async |listener: &TcpListener| {
                    let (stream, address) = listener.accept().await?;
                    stream.set_nodelay(true)?;
                    Ok(Connection::new(stream, address.to_string()))
                };
                serve(discovery, incoming(listener, accept), shutdown, drain).await
            }
            Socket::Unix(listener, _file) => {
                let accept = async |listener: &UnixListener| {
                    let (stream, _) = listener.accept().await?;
                    let pid = stream.peer_cred().ok().and_then(|peer| peer.pid());
                    let address = pid.map_or_else(|| "unix".to_owned(), |pid| format!("unix, process {pid}"));
                    Ok(Connection::new(stream, address))
                };
                serve(discovery, incoming(listener, accept), shutdown, drain).await
            }
        }
    }
}

async fn serve<I, S>(discovery: Discovery, incoming: I, shutdown: CancellationToken, drain: Duration) -> io::Result<()>
where
    I: Stream<Item = io::Result<S>>,
    S: AsyncRead + AsyncWrite + Connected + Unpin + Send + 'static,
{
    let tasks = discovery.tasks.clone();
    let serving = tonic::transport::Server::builder()
        .http2_keepalive_interval(Some(KEEPALIVE_INTERVAL))
        .http2_keepalive_timeout(Some(KEEPALIVE_TIMEOUT))
        .max_concurrent_streams(MAX_STREAMS_PER_CONNECTION)
        .serve_with_incoming_shutdown(discovery, incoming, shutdown.clone().cancelled_owned());
    let served = async {
        serving.await.map_err(io::Error::other)?;
        tasks.close();
        tasks.wait().await;
        Ok(())
    };
    let too_late = async {
        shutdown.cancelled().await;
        tokio::time::sleep(drain).await;
    };
    tokio::select! {
        outcome = served => outcome,
        () = too_late => {
            warn!(seconds = drain.as_secs(), "connections that did not close in time are cut");
            Ok(())
        }
    }
}

/// The connections of a listener. A failed `accept` is not the end, and not a busy loop either.
fn incoming<L, S, A>(listener: L, accept: A) -> impl Stream<Item = io::Result<S>>
where
    A: AsyncFn(&L) -> io::Result<S>,
{
    futures_util::stream::unfold((listener, accept), |(listener, accept)| async move {
        loop {
            match accept(&listener).await {
                Ok(stream) => return Some((Ok(stream), (listener, accept))),
                Err(error) => {
                    warn!(%error, "cannot accept a connection");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            }
        }
    })
}

async fn bind_unix(path: &Path) -> io::Result<UnixListener> {
    match UnixListener::bind(path) {
        Err(error) if error.kind() == io::ErrorKind::AddrInUse => {
            let is_socket = std::fs::symlink_metadata(path).is_ok_and(|metadata| metadata.file_type().is_socket());
            let refused = |error: io::Error| error.kind() == io::ErrorKind::ConnectionRefused;
            if !is_socket || !UnixStream::connect(path).await.is_err_and(refused) {
                return Err(error);
            }
            std::fs::remove_file(path)?;
            UnixListener::bind(path)
        }
        outcome => outcome,
    }
}

/// The file of a Unix socket, removed with the server.
#[derive(Debug)]
struct SocketFile(PathBuf);

impl Drop for SocketFile {
    fn drop(&mut self) {
        if let Err(error) = std::fs::remove_file(&self.0) {
            warn!(path = %self.0.display(), %error, "cannot remove the socket");
        }
    }
}
