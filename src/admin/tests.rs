//! The admin port over a real socket.

use std::collections::BTreeMap;
use std::time::{Duration, SystemTime};

use envoy_types::pb::envoy::config::cluster::v3::Cluster;
use envoy_types::pb::envoy::config::core::v3::DataSource;
use envoy_types::pb::envoy::config::core::v3::data_source::Specifier;
use envoy_types::pb::envoy::extensions::transport_sockets::tls::v3::{Secret, TlsCertificate, secret};
use prometheus_client::metrics::counter::Counter;
use prost::Message as _;
use serde_json::Value;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::task::JoinHandle;

use super::*;
use crate::diagnostic::{Files, Finding, Findings, Report, Span};
use crate::envoy::Kind;
use crate::pipeline::{Build, Outcome};
use crate::reload::{self, Builder, Reload, SourceFile, StateStatus, Status, Verdict};
use crate::snapshot::{DEFAULT_GROUP, Origin, Resource, Selectors, Snapshot, Traits};
use crate::source::Sources;
use crate::xds::{Metrics, Policy};

struct Port {
    url: String,
    http: reqwest::Client,
    state: State,
    /// Asked in vain: it does not run.
    reload: Option<Reload>,
    shutdown: CancellationToken,
    task: JoinHandle<io::Result<()>>,
}

impl Port {
    async fn open() -> Self {
        let counter: Counter = Counter::default();
        counter.inc();
        let mut registry = Registry::default();
        registry.register("chancery_reloads", "Reloads", counter);
        let (store, status) = (Arc::new(Store::new()), Arc::new(StatusCell::new(vec!["topology.yaml".into()])));
        let build: Builder = Arc::new(|_, _, _| Build { report: Report::default(), outcome: Outcome::Rejected });
        let metrics = reload::Metrics::register(&mut Registry::default());
        let (sources, options) = (Sources::new(["topology.yaml"]), reload::Options::default());
        let reload = Reload::new(sources, options, build, Arc::clone(&store), Arc::clone(&status), metrics);
        let rollout = Rollout::new(Arc::clone(&store), Policy::Hold, Metrics::default());
        let state = State {
            rollout: Arc::new(rollout),
            store,
            status,
            trigger: reload.handle(),
            clients: Arc::new(Clients::new()),
            schema: Schema::embedded(),
            registry: Arc::new(registry),
            withholds_private_keys: false,
        };
        let server = Server::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", server.local_addr());
        let shutdown = CancellationToken::new();
        #[expect(clippy::disallowed_methods, reason = "a test joins it by hand")]
        let task = tokio::spawn(server.run(state.clone(), shutdown.clone()));
        let http = reqwest::Client::builder().no_proxy().build().unwrap();
        Self { url, http, state, reload: Some(reload), shutdown, task }
    }

    async fn get(&self, path: &str) -> (u16, String) {
        let response = self.http.get(self.url.clone() + path).send().await.unwrap();
        assert_eq!(response.headers()["x-content-type-options"], "nosniff");
        (response.status().as_u16(), response.text().await.unwrap())
    }

    async fn json(&self, path: &str) -> Value {
        let response = self.http.get(self.url.clone() + path).send().await.unwrap();
        assert_eq!(response.status(), 200);
        assert_eq!(response.headers()["content-type"], "application/json");
        response.json().await.unwrap()
    }

    fn publish(&self, resources: Vec<Resource>) {
        let groups = BTreeMap::from([(DEFAULT_GROUP.into(), resources)]);
        let (snapshot, _) = Snapshot::next(None, groups, Selectors::default()).unwrap();
        self.state.store.publish(Arc::new(snapshot));
    }
}

fn origin() -> Origin {
    Origin { file: "topology.yaml".into(), line: 3, column: 5 }
}

fn cluster(name: &str) -> Resource {
    let message = Cluster { name: name.to_owned(), alt_stat_name: "b".to_owned(), ..Default::default() };
    Resource::new(Kind::Cluster, name, &message.encode_to_vec(), origin(), Traits::default())
}

fn secret(key: &[u8]) -> Resource {
    let private_key = DataSource { specifier: Some(Specifier::InlineBytes(key.to_vec())), ..Default::default() };
    let certificate = TlsCertificate { private_key: Some(private_key), ..Default::default() };
    let message = Secret { name: "shop".to_owned(), r#type: Some(secret::Type::TlsCertificate(certificate)) };
    Resource::new(Kind::Secret, "shop", &message.encode_to_vec(), origin(), Traits::default())
}

fn rejected(watched: &[Arc<str>]) -> Status {
    let mut files = Files::new();
    let file = files.add("topology.yaml", "clusters:\n- nmae: a\n");
    let mut findings = Findings::new();
    let span = Span { file, line: 2, column: 3, len: 4 };
    findings.push(Finding::error("unknown-field", span, "clusters[0].nmae", "unknown field `nmae`"));
    Status {
        verdict: Verdict::Rejected,
        attempted: Some(SystemTime::UNIX_EPOCH + Duration::from_secs(1)),
        succeeded: None,
        revision: None,
        changes: Arc::default(),
        report: Arc::new(Report::new(findings, Arc::new(files))),
        error: None,
        watched: watched.to_vec(),
        sources: vec![SourceFile { path: "topology.yaml".into(), sha256: "abc".to_owned() }],
        source_digest: Some("def".to_owned()),
        served_digest: None,
        restored: None,
        state: None,
    }
}

#[tokio::test]
async fn readiness_needs_a_good_snapshot_and_survives_a_bad_edit() {
    let port = Port::open().await;
    assert_eq!(port.get("/livez").await.0, 200);
    assert_eq!(port.get("/readyz").await, (503, "not ready: nothing has been read yet\n".to_owned()));

    let watched = port.state.status.load().watched.clone();
    port.state.status.store(rejected(&watched));
    let reason = "not ready: the configuration has an error, first topology.yaml:2:3: unknown-field: unknown field `nmae`; see /status\n";
    assert_eq!(port.get("/readyz").await, (503, reason.to_owned()));

    let missing =
        Status { verdict: Verdict::Missing, error: Some("topology.yaml: gone".to_owned()), ..rejected(&watched) };
    port.state.status.store(missing);
    assert_eq!(port.get("/readyz").await, (503, "not ready: a file is missing: topology.yaml: gone\n".to_owned()));

    port.publish(vec![cluster("a")]);
    port.state.status.store(rejected(&watched));
    assert_eq!(port.get("/readyz").await, (200, "ready: serving revision 1\n".to_owned()));
}

#[tokio::test]
async fn status_tells_the_edit_and_what_is_served() {
    let port = Port::open().await;
    let before = port.json("/status").await;
    assert_eq!(before["version"], env!("CARGO_PKG_VERSION"));
    assert_eq!(before["ready"], false);
    assert_eq!(before["revision"], Value::Null);
    assert_eq!(before["verdict"], "pending");

    port.publish(vec![cluster("a"), cluster("b")]);
    port.state.status.store(rejected(&["topology.yaml".into()]));
    let page = port.json("/status").await;
    assert_eq!(page["ready"], true);
    assert_eq!(page["revision"], 1);
    assert_eq!(page["verdict"], "rejected");
    assert_eq!(page["attempted"], "1970-01-01T00:00:01.000Z");
    assert_eq!(page["succeeded"], Value::Null);
    assert_eq!(page["findings"][0]["code"], "unknown-field");
    assert_eq!(page["findings"][0]["line"], 2);
    assert_eq!(page["watched"], serde_json::json!(["topology.yaml"]));
    assert_eq!(page["sources"], serde_json::json!([{"path": "topology.yaml", "sha256": "abc"}]));
    assert_eq!(page["source_digest"], "def");
    assert_eq!(page["served_digest"], Value::Null);
    let snapshot = port.state.store.load().unwrap();
    let version = snapshot.group(DEFAULT_GROUP).unwrap().resources(Kind::Cluster).version().to_string();
    assert_eq!(page["groups"], serde_json::json!({"default": {"CDS": {"version": version, "resources": 2}}}));
    assert_eq!(page["clients"], serde_json::json!([]));
}

#[tokio::test]
async fn the_dump_shows_resources_with_their_places_and_no_keys() {
    let port = Port::open().await;
    assert_eq!(port.json("/config_dump").await, serde_json::json!({}));

    let a = cluster("a");
    let version = a.version.to_string();
    port.publish(vec![a, secret(b"a very private key")]);
    let dump = port.json("/config_dump").await;
    let clusters = &dump["default"]["type.googleapis.com/envoy.config.cluster.v3.Cluster"];
    let expected = serde_json::json!([{
        "name": "a",
        "version": version,
        "source": "topology.yaml:3:5",
        "resource": {
            "@type": "type.googleapis.com/envoy.config.cluster.v3.Cluster",
            "name": "a",
            "alt_stat_name": "b",
        },
    }]);
    assert_eq!(*clusters, expected);
    assert_eq!(dump["default"].as_object().unwrap().len(), 2);
    let secrets = &dump["default"]["type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.Secret"];
    assert_eq!(secrets[0]["name"], "shop");
    let key = &secrets[0]["resource"]["tls_certificate"]["private_key"]["inline_bytes"];
    assert_eq!(*key, "W3JlZGFjdGVkXQ==", "base64 of `[redacted]`");

    assert_eq!(port.json("/config_dump?group=default").await, dump);
    let (status, message) = port.get("/config_dump?group=edge").await;
    assert_eq!((status, message.as_str()), (404, "there is no node group `edge`; node groups: default\n"));
    assert_eq!(port.get("/config_dump?node=n").await.0, 404);
    let (status, message) = port.get("/config_dump?nodes=n").await;
    assert_eq!(status, 400);
    assert!(message.contains("nodes") && message.contains("?node=ID"), "{message}");
}

#[test]
fn a_dump_keeps_its_turn_when_its_client_has_gone() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().max_blocking_threads(1).build().unwrap();
    runtime.block_on(async {
        let port = Port::open().await;
        let dumps = Arc::new(Semaphore::new(1));
        let shared = Arc::new(Shared { state: port.state.clone(), dumps: Arc::clone(&dumps) });
        // While the only thread for such work is taken, the dump cannot end.
        let (free, taken) = std::sync::mpsc::channel::<()>();
        let busy = tokio::task::spawn_blocking(move || taken.recv());
        let selection = axum::extract::Query::try_from_uri(&Uri::from_static("/config_dump"));
        let asked = config_dump::show(axum::extract::State(shared), selection);
        assert!(futures_util::FutureExt::now_or_never(asked).is_none());
        assert_eq!(dumps.available_permits(), 0, "its client has gone, and it has not");
        free.send(()).unwrap();
        busy.await.unwrap().unwrap();
        dumps.acquire().await.unwrap().forget();
    });
}

#[tokio::test]
async fn metrics_come_in_the_type_that_prometheus_knows() {
    let port = Port::open().await;
    let response = port.http.get(port.url.clone() + "/metrics").send().await.unwrap();
    assert_eq!(response.headers()["content-type"], "application/openmetrics-text; version=1.0.0; charset=utf-8");
    let text = response.text().await.unwrap();
    assert!(text.contains("chancery_reloads_total 1\n") && text.ends_with("# EOF\n"), "{text}");
}

#[tokio::test]
async fn wrong_requests_are_told_what_is_right() {
    let port = Port::open().await;
    let (status, index) = port.get("/").await;
    assert_eq!(status, 200);
    assert!(index.contains(RELOAD));
    let (status, message) = port.get(RELOAD).await;
    assert_eq!((status, message.as_str()), (405, "`/reload` does not take GET; use POST\n"));
    for (path, _) in ENDPOINTS.into_iter().filter(|(path, _)| *path != RELOAD) {
        assert!(index.contains(path));
        assert_ne!(port.get(path).await.0, 404);
        let response = port.http.post(port.url.clone() + path).send().await.unwrap();
        assert_eq!(response.status(), 405);
        assert!(response.text().await.unwrap().contains("use GET"));
    }
    let (status, message) = port.get("/statuz").await;
    assert_eq!(status, 404);
    assert!(message.contains("`/statuz`") && message.contains("/status"), "{message}");
}

#[tokio::test(start_paused = true)]
async fn an_answer_to_a_reload_is_not_waited_for_without_end() {
    let mut port = Port::open().await;
    let ask = |path: &str| port.http.post(port.url.clone() + path).send();
    for wrong in ["/reload?confirm=yes", "/reload?confrim=a", "/reload?confirm=A"] {
        assert_eq!(ask(wrong).await.unwrap().status(), 400, "{wrong}");
    }
    let evil = port.http.post(port.url.clone() + RELOAD).header("host", "evil.example");
    assert_eq!(evil.send().await.unwrap().status(), 403);
    let late = ask(RELOAD).await.unwrap();
    assert_eq!(late.status(), 504);
    assert!(late.text().await.unwrap().contains("/status"));
    drop(port.reload.take());
    assert_eq!(port.http.post(port.url.clone() + RELOAD).send().await.unwrap().status(), 503);
}

#[tokio::test]
async fn what_an_earlier_run_left_is_said() {
    let port = Port::open().await;
    let at = SystemTime::UNIX_EPOCH + Duration::from_secs(1);
    let state = StateStatus { path: "/state/snapshot".into(), saved: Some(at), error: Some("full".to_owned()) };
    port.publish(vec![cluster("a")]);
    port.state.status.store(Status { restored: Some(at), state: Some(state), ..rejected(&[]) });
    assert_eq!(port.get("/readyz").await.1, "ready: serving revision 1, saved by an earlier run; see /status\n");
    let page = port.json("/status").await;
    assert_eq!(page["restored"]["saved"], "1970-01-01T00:00:01.000Z");
    assert!(page["restored"]["age_seconds"].as_u64().unwrap() > 1_000_000_000, "{page}");
    let state = serde_json::json!({"path": "/state/snapshot", "saved": "1970-01-01T00:00:01.000Z", "error": "full"});
    assert_eq!(page["state"], state);
}

#[tokio::test]
async fn another_host_name_is_refused_on_loopback() {
    let port = Port::open().await;
    for (host, status) in [("evil.example", 403), ("localhost:1", 200)] {
        let response = port.http.get(port.url.clone() + "/livez").header("host", host).send().await.unwrap();
        assert_eq!(response.status(), status, "{host}");
    }
    assert_eq!(
        port.http.get(port.url.clone() + "/none").header("host", "evil.example").send().await.unwrap().status(),
        403
    );
}

#[tokio::test]
async fn any_host_name_is_answered_elsewhere() {
    let port = Port::open().await;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/livez", listener.local_addr().unwrap());
    let serve = axum::serve(listener, router(port.state.clone(), false));
    let ask = async { port.http.get(&url).header("host", "chancery.internal").send().await.unwrap().status() };
    tokio::select! {
        result = serve.into_future() => panic!("{result:?}"),
        status = ask => assert_eq!(status, 200),
    }
}

#[tokio::test]
async fn a_taken_port_is_an_error_at_once() {
    let port = Port::open().await;
    let taken = port.url.trim_start_matches("http://").to_owned();
    assert_eq!(Server::bind(taken).await.unwrap_err().kind(), io::ErrorKind::AddrInUse);
}

#[tokio::test(start_paused = true)]
async fn shutdown_does_not_wait_for_ever_for_a_client_that_stopped_reading() {
    let port = Port::open().await;
    let addr = port.url.trim_start_matches("http://").to_owned();
    // More than socket buffers hold.
    let huge = Cluster { alt_stat_name: "x".repeat(32 << 20), ..Default::default() };
    port.publish(vec![Resource::new(Kind::Cluster, "a", &huge.encode_to_vec(), origin(), Traits::default())]);
    let mut client = TcpStream::connect(addr).await.unwrap();
    client.write_all(b"GET /config_dump HTTP/1.1\r\nhost: localhost\r\n\r\n").await.unwrap();
    assert_ne!(client.read(&mut [0; 8]).await.unwrap(), 0, "the answer begins, and the client reads no more of it");
    port.shutdown.cancel();
    port.task.await.unwrap().unwrap();
}
