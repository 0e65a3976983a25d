//! `chancery healthcheck`: asks `/readyz`, for images without curl.

use std::io::Write as _;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context as _, bail, ensure};
use bytes::Bytes;
use http::{StatusCode, Uri};
use http_body_util::{BodyExt as _, Empty, Limited};
use hyper_util::client::legacy::Client;
use hyper_util::rt::TokioExecutor;

/// Container runtimes give up after 30 seconds or less, and then say nothing of the reason.
const TIMEOUT: Duration = Duration::from_secs(5);
/// The answer is one line.
const MAX_ANSWER: usize = 64 * 1024;

/// Ask a running server whether it is ready.
///
/// Exits with 0 if it is, with 1 if it is not, and with 2 if it does not answer.
#[derive(Clone, Debug, clap::Args)]
pub(super) struct Healthcheck {
    /// Admin address of the server.
    #[arg(long, env = "CHANCERY_SERVER", value_name = "URL", default_value = "http://127.0.0.1:18001")]
    server: Uri,
}

impl Healthcheck {
    /// Prints the server's answer in one line, or why there is none.
    ///
    /// # Errors
    /// If standard output is closed.
    pub(super) fn run(self) -> anyhow::Result<ExitCode> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        match runtime.block_on(self.ask()) {
            Ok((ready, line)) => {
                writeln!(std::io::stdout().lock(), "{line}")?;
                Ok(if ready { ExitCode::SUCCESS } else { ExitCode::from(1) })
            }
            Err(error) => {
                writeln!(std::io::stderr().lock(), "unreachable: {error:#}")?;
                Ok(ExitCode::from(2))
            }
        }
    }

    /// Whether the server is ready, and how it says so.
    async fn ask(&self) -> anyhow::Result<(bool, String)> {
        let uri = self.readyz()?;
        let asked = tokio::time::timeout(TIMEOUT, get(&uri)).await;
        let (status, body) = asked
            .with_context(|| format!("no answer from {uri} within {}", humantime::format_duration(TIMEOUT)))?
            .with_context(|| format!("cannot ask {uri}; is `chancery serve` running with --admin at this address?"))?;
        let line = body.lines().next().unwrap_or_default();
        let line: String = line.chars().filter(|c| !c.is_control()).collect();
        match status {
            StatusCode::OK => Ok((true, line)),
            StatusCode::SERVICE_UNAVAILABLE => Ok((false, line)),
            other => bail!("{uri} answered {other}: {line}; is it the admin port of Chancery?"),
        }
    }

    fn readyz(&self) -> anyhow::Result<Uri> {
        let server = &self.server;
        let authority = server.authority().with_context(|| format!("--server {server}: expected http://HOST:PORT"))?;
        ensure!(
            server.scheme_str().is_none_or(|scheme| scheme == "http"),
            "--server {server}: the admin port speaks plain http"
        );
        let uri = Uri::builder().scheme("http").authority(authority.clone()).path_and_query("/readyz");
        Ok(uri.build()?)
    }
}

async fn get(uri: &Uri) -> anyhow::Result<(StatusCode, String)> {
    let client = Client::builder(TokioExecutor::new()).build_http::<Empty<Bytes>>();
    let response = client.get(uri.clone()).await?;
    let status = response.status();
    let body = Limited::new(response.into_body(), MAX_ANSWER).collect().await;
    let body = body.map_err(|error| anyhow::anyhow!(error))?.to_bytes();
    Ok((status, String::from_utf8_lossy(&body).into_owned()))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::sync::Arc;

    use tokio_util::sync::CancellationToken;

    use super::*;
    use crate::admin::{Server, State};
    use crate::envoy::Schema;
    use crate::reload::{StatusCell, Trigger};
    use crate::snapshot::{Resource, Selectors, Snapshot, Store};
    use crate::xds::{Clients, Metrics, Policy, Rollout};

    fn to(server: &str) -> Healthcheck {
        Healthcheck { server: server.parse().unwrap() }
    }

    #[test]
    fn the_question_is_asked_at_the_root() {
        assert_eq!(to("http://127.0.0.1:1/").readyz().unwrap(), "http://127.0.0.1:1/readyz");
        assert_eq!(to("http://[::1]:1/status?x").readyz().unwrap(), "http://[::1]:1/readyz");
        assert_eq!(to("localhost:1").readyz().unwrap(), "http://localhost:1/readyz");
        assert!(to("https://localhost:1").readyz().is_err());
        assert!(to("/readyz").readyz().is_err());
    }

    #[tokio::test]
    async fn a_closed_port_is_an_error_with_a_hint() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let addr = listener.local_addr().unwrap();
        drop(listener);
        let error = to(&format!("http://{addr}")).ask().await.unwrap_err();
        assert!(format!("{error:#}").contains("is `chancery serve` running"), "{error:#}");
    }

    #[tokio::test]
    async fn the_server_says_whether_it_is_ready() {
        let store = Arc::new(Store::new());
        let rollout = Rollout::new(Arc::clone(&store), Policy::Hold, Metrics::default());
        let state = State {
            rollout: Arc::new(rollout),
            store: Arc::clone(&store),
            status: Arc::new(StatusCell::new(Vec::new())),
            trigger: Trigger::of_nobody(),
            clients: Arc::new(Clients::new()),
            schema: Schema::embedded(),
            registry: Arc::default(),
            withholds_private_keys: false,
        };
        let server = Server::bind("127.0.0.1:0").await.unwrap();
        let healthcheck = to(&format!("http://{}", server.local_addr()));
        let asked = async {
            let before = healthcheck.ask().await.unwrap();
            let (snapshot, _) = Snapshot::next::<Resource>(None, BTreeMap::new(), Selectors::default()).unwrap();
            store.publish(Arc::new(snapshot));
            (before, healthcheck.ask().await.unwrap())
        };
        tokio::select! {
            result = server.run(state, CancellationToken::new()) => panic!("{result:?}"),
            (before, after) = asked => {
                assert_eq!(before, (false, "not ready: nothing has been read yet".to_owned()));
                assert_eq!(after, (true, "ready: serving revision 1".to_owned()));
            }
        }
    }
}
