//! Certificates that are made for one test, and clients that look at those that they are shown.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_rustls::rustls::pki_types::pem::PemObject as _;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use tokio_rustls::rustls::{ClientConfig, RootCertStore};
use tokio_util::sync::CancellationToken;

use super::{eventually, holds};

/// Connections at any time.
const WORKERS: usize = 3;

const PACE: Duration = Duration::from_millis(10);

/// Whoever trusts it trusts what it issued.
pub(crate) struct Authority {
    key: KeyPair,
    params: CertificateParams,
    pem: String,
    der: CertificateDer<'static>,
}

/// A certificate with its key.
#[derive(Clone)]
pub(crate) struct Pair {
    pub(crate) certificate: String,
    pub(crate) key: String,
    der: CertificateDer<'static>,
}

impl Authority {
    pub(crate) fn new() -> Self {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let certificate = params.self_signed(&key).unwrap();
        Self { key, params, pem: certificate.pem(), der: certificate.der().clone() }
    }

    /// A certificate for a DNS name, with a new key.
    pub(crate) fn issue(&self, name: &str) -> Pair {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(vec![name.to_owned()]).unwrap();
        // One that is called as its issuer is would pass for its own issuer.
        params.distinguished_name.push(DnType::CommonName, name);
        let issuer = Issuer::from_params(&self.params, &self.key);
        let certificate = params.signed_by(&key, &issuer).unwrap();
        Pair { certificate: certificate.pem(), key: key.serialize_pem(), der: certificate.der().clone() }
    }

    pub(crate) fn pem(&self) -> &str {
        &self.pem
    }

    /// A client that trusts only this authority.
    pub(crate) fn client(&self, address: SocketAddr, name: &str) -> Client {
        self.client_with(address, name, None)
    }

    /// The same, with a certificate to show.
    pub(crate) fn client_with(&self, address: SocketAddr, name: &str, own: Option<&Pair>) -> Client {
        let mut roots = RootCertStore::empty();
        roots.add(self.der.clone()).unwrap();
        let config = ClientConfig::builder().with_root_certificates(roots);
        let config = if let Some(Pair { key, der, .. }) = own {
            let key = PrivateKeyDer::from_pem_slice(key.as_bytes()).unwrap();
            config.with_client_auth_cert(vec![der.clone()], key).unwrap()
        } else {
            config.with_no_client_auth()
        };
        let name = ServerName::try_from(name.to_owned()).unwrap();
        Client { connector: TlsConnector::from(Arc::new(config)), address, name }
    }
}

/// A certificate for a DNS name that is its own authority.
pub(crate) fn self_signed(name: &str) -> Pair {
    let key = KeyPair::generate().unwrap();
    let mut params = CertificateParams::new(vec![name.to_owned()]).unwrap();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let certificate = params.self_signed(&key).unwrap();
    Pair { certificate: certificate.pem(), key: key.serialize_pem(), der: certificate.der().clone() }
}

impl Pair {
    /// Lines of the key that must not be seen anywhere.
    pub(crate) fn key_lines(&self) -> Vec<&str> {
        let lines: Vec<_> = self.key.lines().filter(|line| !line.starts_with("-----")).collect();
        assert!(lines.len() > 1 && lines[0].len() == 64, "a key in PEM");
        lines
    }
}

/// Connects to one address under one name.
#[derive(Clone)]
pub(crate) struct Client {
    connector: TlsConnector,
    address: SocketAddr,
    name: ServerName<'static>,
}

/// A connection with the certificate that was shown on it.
pub(crate) struct Connection {
    stream: TlsStream<TcpStream>,
    certificate: CertificateDer<'static>,
}

impl Client {
    pub(crate) async fn connect(&self) -> Result<Connection, String> {
        let connected = async {
            let tcp = TcpStream::connect(self.address).await?;
            self.connector.connect(self.name.clone(), tcp).await
        };
        let stream = connected.await.map_err(|error| error.to_string())?;
        let shown = stream.get_ref().1.peer_certificates().and_then(<[_]>::first).ok_or("no certificate")?;
        let certificate = shown.clone().into_owned();
        Ok(Connection { stream, certificate })
    }
}

impl Connection {
    /// Asks once and expects an answer; the connection stays.
    pub(crate) async fn ask(&mut self) -> Result<(), String> {
        let exchange = async {
            self.stream.write_all(b"GET / HTTP/1.1\r\nhost: test\r\n\r\n").await?;
            let mut answer = Vec::new();
            loop {
                let mut part = [0; 4096];
                let read = self.stream.read(&mut part).await?;
                answer.extend_from_slice(&part[..read]);
                if read == 0 || is_whole(&answer) {
                    return std::io::Result::Ok(answer);
                }
            }
        };
        let answer = exchange.await.map_err(|error| error.to_string())?;
        let whole = answer.starts_with(b"HTTP/1.1 200 ") && is_whole(&answer);
        holds(whole, String::from_utf8_lossy(&answer))
    }

    pub(crate) fn shows(&self, pair: &Pair) -> bool {
        self.certificate == pair.der
    }
}

/// Whether the head and as much of a body as it announces are there.
fn is_whole(answer: &[u8]) -> bool {
    let Some(head) = answer.windows(4).position(|window| window == b"\r\n\r\n") else { return false };
    let text = String::from_utf8_lossy(&answer[..head]).to_lowercase();
    let length = text.lines().find_map(|line| line.strip_prefix("content-length: "));
    length.is_some_and(|length| answer.len() == head + 4 + length.parse::<usize>().unwrap())
}

/// What came of the requests so far.
#[derive(Clone, Debug, Default)]
pub(crate) struct Totals {
    /// Answers by the certificate of their connection.
    shown: BTreeMap<Vec<u8>, u64>,
    pub(crate) failures: Vec<String>,
}

/// A stream of requests, each on a connection of its own, beside connections that stay; it ends when it is dropped.
pub(crate) struct Load {
    totals: Arc<Mutex<Totals>>,
    stop: CancellationToken,
    workers: JoinSet<()>,
}

impl Load {
    pub(crate) fn start(client: &Client) -> Self {
        let mut load = Self { totals: Arc::default(), stop: CancellationToken::new(), workers: JoinSet::new() };
        for number in 0..WORKERS {
            let (client, totals, stop) = (client.clone(), Arc::clone(&load.totals), load.stop.clone());
            load.workers.spawn(ask(client, totals, stop, number == 0));
        }
        load
    }

    pub(crate) fn totals(&self) -> Totals {
        self.totals.lock().unwrap().clone()
    }

    /// Waits until so many answers more than now came on connections with this certificate.
    pub(crate) async fn until_shown(&self, pair: &Pair, count: u64) {
        let of = |totals: &Totals| totals.shown.get(&*pair.der).copied().unwrap_or(0);
        let before = of(&self.totals());
        eventually(&format!("{count} answers under the certificate"), async || {
            let totals = self.totals();
            holds(of(&totals) >= before + count, totals.failures)
        })
        .await;
    }

    pub(crate) async fn stop(mut self) -> Totals {
        self.stop.cancel();
        while let Some(worker) = self.workers.join_next().await {
            worker.expect("a worker does not panic");
        }
        self.totals()
    }
}

async fn ask(client: Client, totals: Arc<Mutex<Totals>>, stop: CancellationToken, keeps: bool) {
    let mut pace = tokio::time::interval(PACE);
    pace.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let mut kept = None;
    while !stop.is_cancelled() {
        pace.tick().await;
        let outcome = async {
            let mut connection = match kept.take() {
                Some(connection) => connection,
                None => client.connect().await?,
            };
            connection.ask().await?;
            let certificate = connection.certificate.to_vec();
            if keeps {
                kept = Some(connection);
                // Only new connections count.
                return Ok(None);
            }
            Ok(Some(certificate))
        };
        let outcome: Result<Option<Vec<u8>>, String> = outcome.await;
        let mut totals = totals.lock().unwrap();
        match outcome {
            Ok(Some(certificate)) => *totals.shown.entry(certificate).or_default() += 1,
            Ok(None) => {}
            Err(why) => totals.failures.push(why),
        }
    }
}
