//! gRPC's own xDS client finds its servers through Chancery, with no proxy in between.

use std::collections::BTreeMap;
use std::fs;
use std::net::SocketAddr;
use std::process::Stdio;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use ::chancery::xds::{self, Requests};
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::process::{Child, ChildStdin, ChildStdout, Command};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::support::chancery::{self, Chancery, Options};
use crate::support::edit::{Edit, File};
use crate::support::examples::examples;
use crate::support::port::Port;
use crate::support::xds_client::Fixture;
use crate::support::{eventually, holds, tools};

/// How the names of servers' listeners begin in our bootstrap; their address follows.
pub(crate) const SERVER: &str = "grpc/server?xds.resource.listening_address=";

/// What is said of a name that does not exist.
const MISSING: &str = "the control plane has no resource of this name";

/// Without it, gRPC does not look at what a control plane says of single names.
const HEARS_ERRORS: (&str, &str) = ("GRPC_EXPERIMENTAL_XDS_DATA_ERROR_HANDLING", "true");

/// `greeter.py` as a server or as a client.
struct Greeter {
    process: Child,
    stdin: ChildStdin,
    stdout: BufReader<ChildStdout>,
}

impl Greeter {
    fn start(role: &str, arguments: &[&str], environment: &[(&str, &str)]) -> Self {
        let mut process = Command::new("python3")
            .arg(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/grpc_client/greeter.py"))
            .arg(role)
            .args(arguments)
            .env("PYTHONPATH", tools::grpcio())
            .envs(environment.iter().copied())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .expect("python3 starts");
        let stdin = process.stdin.take().unwrap();
        let stdout = BufReader::new(process.stdout.take().unwrap());
        Self { process, stdin, stdout }
    }

    /// The next line that it prints.
    async fn line(&mut self) -> String {
        let mut line = String::new();
        self.stdout.read_line(&mut line).await.unwrap();
        assert!(!line.is_empty(), "greeter.py ended: {:?}", self.process.try_wait());
        line.trim().to_owned()
    }

    /// One call, and what came of it.
    async fn call(&mut self, name: &str) -> String {
        self.stdin.write_all(format!("{name}\n").as_bytes()).await.unwrap();
        self.line().await
    }

    /// Calls until the answer is as wanted.
    async fn until(&mut self, wanted: &str) {
        eventually(wanted, async || {
            let answer = self.call("world").await;
            holds(answer == wanted, answer)
        })
        .await;
    }
}

/// A client that makes one call after the other, and what came of them.
struct Calls {
    answers: Arc<Mutex<BTreeMap<String, u64>>>,
    stop: CancellationToken,
    running: JoinSet<Greeter>,
}

impl Calls {
    fn start(mut client: Greeter) -> Self {
        let mut calls = Self { answers: Arc::default(), stop: CancellationToken::new(), running: JoinSet::new() };
        let (answers, stop) = (Arc::clone(&calls.answers), calls.stop.clone());
        calls.running.spawn(async move {
            while !stop.is_cancelled() {
                let answer = client.call("world").await;
                *answers.lock().unwrap().entry(answer).or_default() += 1;
            }
            client
        });
        calls
    }

    fn count(&self, answer: &str) -> u64 {
        self.answers.lock().unwrap().get(answer).copied().unwrap_or(0)
    }

    /// Waits until an answer has come so many times more than it had.
    async fn until(&self, wanted: &str, count: u64) {
        let before = self.count(wanted);
        eventually(&format!("{count} times {wanted}"), async || {
            holds(self.count(wanted) >= before + count, self.answers.lock().unwrap())
        })
        .await;
    }

    /// Lets the call in flight end, and returns the client with what came of all calls.
    async fn stop(mut self) -> (Greeter, BTreeMap<String, u64>) {
        self.stop.cancel();
        let client = self.running.join_next().await.expect("it runs").expect("it does not panic");
        (client, std::mem::take(&mut self.answers.lock().unwrap()))
    }
}

#[tokio::test]
async fn calls_survive_edits_and_a_restart_and_fail_at_once_without_a_service() {
    const FIRST: &str = "hello world from first";
    const SECOND: &str = "hello world from second";
    let mut first = Greeter::start("serve", &["first"], &[]);
    let mut second = Greeter::start("serve", &["second"], &[]);
    let (first, second) = ((first.line().await, first), (second.line().await, second));
    let with_service = |cluster: &str, port: &str| {
        format!(
            "version: 1
listeners:
- name: greeter.example:50051
  api_listener:
    rds: greeter
    routes: [{{match: {{prefix: /helloworld.Greeter/}}, route: {{cluster: {cluster}}}}}]
clusters:
- name: {cluster}
  type: EDS
  endpoints: [\"127.0.0.1:{port}\"]
"
        )
    };
    let mut xds = Port::reserve();
    let mut file = File::new(Edit::Rename, &with_service("greeter", &first.0));
    let chancery = serve(&file, &mut xds).await;
    let bootstrap = bootstrap(&chancery.xds().to_string(), "client-1").await;
    // What it logs of a service that is gone is what this is about.
    let environment = [("GRPC_XDS_BOOTSTRAP_CONFIG", bootstrap.as_str()), ("GRPC_VERBOSITY", "NONE")];
    let start = || Greeter::start("call", &["xds:///greeter.example:50051"], &environment);
    let mut client = start();
    client.until(FIRST).await;
    let calls = Calls::start(client);
    file.write(&with_service("greeter", &second.0));
    calls.until(SECOND, 50).await;
    chancery.until_synced(1).await;

    // Without Chancery calls go on, and with the next one edits count again.
    chancery.stop().await;
    xds.hold();
    calls.until(SECOND, 200).await;
    let chancery = serve(&file, &mut xds).await;
    chancery.until_synced(1).await;
    calls.until(SECOND, 50).await;
    file.write(&with_service("greeter", &first.0));
    calls.until(FIRST, 50).await;
    // The cluster is another one, too.
    for turn in 0..10 {
        let (port, wanted) = if turn % 2 == 0 { (&second.0, SECOND) } else { (&first.0, FIRST) };
        file.write(&with_service(&format!("greeter-{turn}"), port));
        calls.until(wanted, 50).await;
        chancery.until_synced(1).await;
    }
    let (mut client, answers) = calls.stop().await;
    assert_eq!(answers.keys().collect::<Vec<_>>(), [FIRST, SECOND], "{answers:?}");

    // A service that is gone: calls fail at once, and say what is missing.
    file.write("version: 1\nclusters: [{name: other, endpoints: [\"127.0.0.1:1\"]}]\n");
    eventually("a failed call", async || {
        let answer = client.call("world").await;
        holds(is_missing(&answer), answer)
    })
    .await;
    let asked = Instant::now();
    let answer = client.call("world").await;
    assert!(is_missing(&answer) && asked.elapsed() < FAST, "after {:?}: {answer}", asked.elapsed());
    // So it is for a client that never had it.
    let mut late = start();
    eventually("a failed call of a new client", async || {
        let answer = late.call("world").await;
        holds(is_missing(&answer), answer)
    })
    .await;

    // And it comes back.
    file.write(&with_service("greeter", &second.0));
    client.until(SECOND).await;
    late.until(SECOND).await;
    chancery.stop().await;
}

/// How long a call for a service that does not exist may take. Its own deadline is longer.
const FAST: Duration = Duration::from_secs(5);

/// Whether a call failed because the service does not exist, and says so.
fn is_missing(answer: &str) -> bool {
    answer.starts_with("UNAVAILABLE: ") && answer.contains("LDS resource greeter.example:50051")
}

/// Starts Chancery on the port that the bootstrap names.
async fn serve(file: &File, xds: &mut Port) -> Chancery {
    xds.release();
    let mut options = Options { listen: SocketAddr::from(([127, 0, 0, 1], xds.number())), ..Options::default() };
    options.flags.extend(["--removal-grace", "500ms"]);
    Chancery::serve_with(&file.path(), options).await
}

#[tokio::test]
async fn a_grpc_client_calls_and_follows_an_edit() {
    let mut first = Greeter::start("serve", &["first"], &[]);
    let mut second = Greeter::start("serve", &["second"], &[]);
    let (first, second) = ((first.line().await, first), (second.line().await, second));
    let topology = |port: &str| {
        format!(
            "version: 1
listeners:
- name: greeter.example:50051
  api_listener:
    routes:
    - match: {{prefix: /helloworld.Greeter/}}
      route: {{cluster: greeter, max_stream_duration: {{max_stream_duration: 10s}}}}
clusters:
- name: greeter
  type: EDS
  endpoints: [\"127.0.0.1:{port}\"]
"
        )
    };
    let mut file = File::new(Edit::Rename, &topology(&first.0));
    let chancery = Chancery::serve(&file.path()).await;
    let bootstrap = bootstrap(&chancery.xds().to_string(), "client-1").await;
    let environment = [("GRPC_XDS_BOOTSTRAP_CONFIG", bootstrap.as_str())];
    let mut client = Greeter::start("call", &["xds:///greeter.example:50051"], &environment);
    client.until("hello world from first").await;
    file.write(&topology(&second.0));
    client.until("hello world from second").await;

    let status = chancery.until_synced(1).await;
    assert_eq!(status["clients"][0]["node"], "client-1");
    assert_eq!(status["clients"][0]["protocol"], "sotw");
    assert_eq!(status["revision"], 2);
    chancery.stop().await;
    // What a client holds, it keeps.
    assert_eq!(client.call("again").await, "hello again from second");
}

/// A topology in which a name is a gRPC service that one cluster provides.
fn service(name: &str, cluster: &str, port: &str) -> String {
    format!(
        "version: 1
static_resources: {{clusters: [elsewhere]}}
listeners:
- name: {name}
  api_listener:
    routes:
    - match: {{prefix: /helloworld.Greeter/}}
      route: {{cluster: {cluster}}}
clusters:
- name: greeter
  type: EDS
  endpoints: [\"127.0.0.1:{port}\"]
"
    )
}

/// gRPC takes what is missing at first for late, and waits longer than the calls here may take.
#[tokio::test]
async fn x3_a_service_that_does_not_exist_fails_at_once_and_works_once_it_does() {
    let mut server = Greeter::start("serve", &["a server"], &[]);
    let port = server.line().await;
    let mut file = File::new(Edit::Rename, &service("another:1", "greeter", &port));
    let chancery = Chancery::serve(&file.path()).await;
    let bootstrap = bootstrap(&chancery.xds().to_string(), "client-1").await;
    let environment = [("GRPC_XDS_BOOTSTRAP_CONFIG", bootstrap.as_str()), HEARS_ERRORS];
    let mut client = Greeter::start("call", &["xds:///greeter.example:50051"], &environment);
    let answer = client.call("world").await;
    assert!(answer.starts_with("UNAVAILABLE") && answer.contains("greeter.example:50051"), "{answer}");
    assert!(answer.contains(MISSING), "{answer}");
    file.write(&service("greeter.example:50051", "elsewhere", &port));
    eventually("the cluster to be the one that is missed", async || {
        let answer = client.call("world").await;
        assert!(answer.starts_with("UNAVAILABLE"), "{answer}");
        holds(answer.contains("elsewhere") && answer.contains(MISSING), answer)
    })
    .await;
    file.write(&service("greeter.example:50051", "greeter", &port));
    client.until("hello world from a server").await;
    chancery.stop().await;
}

#[tokio::test]
async fn x3_a_removed_service_fails_at_once() {
    a_removed_service_fails_at_once(|bootstrap| bootstrap, &[], "does not exist").await;
}

/// A gRPC that hears of errors keeps what it has, unless it is told not to.
#[tokio::test]
async fn x3_a_removed_service_fails_at_once_where_errors_are_heard_and_shall_count() {
    let strict = |bootstrap: String| {
        assert!(bootstrap.contains("\"xds_v3\""), "{bootstrap}");
        bootstrap.replace("\"xds_v3\"", "\"xds_v3\", \"fail_on_data_errors\"")
    };
    a_removed_service_fails_at_once(strict, &[HEARS_ERRORS], MISSING).await;
}

async fn a_removed_service_fails_at_once(
    change: impl FnOnce(String) -> String,
    besides: &[(&str, &str)],
    reason: &str,
) {
    let mut server = Greeter::start("serve", &["a server"], &[]);
    let port = server.line().await;
    let mut file = File::new(Edit::Rename, &service("greeter.example:50051", "greeter", &port));
    let chancery = Chancery::serve(&file.path()).await;
    let bootstrap = change(bootstrap(&chancery.xds().to_string(), "client-1").await);
    let environment = [&[("GRPC_XDS_BOOTSTRAP_CONFIG", &*bootstrap)], besides].concat();
    let mut client = Greeter::start("call", &["xds:///greeter.example:50051"], &environment);
    client.until("hello world from a server").await;
    file.write(&service("another:1", "greeter", &port));
    eventually("the service to be gone", async || {
        let answer = client.call("world").await;
        assert!(!answer.starts_with("DEADLINE_EXCEEDED"), "{answer}");
        holds(answer.starts_with("UNAVAILABLE") && answer.contains(reason), answer)
    })
    .await;
    chancery.stop().await;
}

/// What an xDS client of this id is given as its environment.
async fn bootstrap(xds: &str, id: &str) -> String {
    let run = chancery::run(&["bootstrap", "--grpc", "--id", id, "--cluster", "greeters", "--xds", xds]).await;
    assert_eq!(run.code, 0, "{run:?}");
    run.stdout
}

/// gRPC reports what `lrs_server` of a cluster asks for, and to whom.
#[tokio::test]
async fn a_grpc_client_reports_its_load() {
    let mut server = Greeter::start("serve", &["a server"], &[]);
    let port = server.line().await;
    let options = xds::Options { load_interval: Duration::from_secs(1), ..xds::Options::default() };
    let fixture = Fixture::start_with(&"127.0.0.1:0".parse().unwrap(), options).await;
    fixture.publish_topology(&format!(
        "version: 1
listeners:
- name: greeter.example:50051
  api_listener:
    routes: [{{route: greeter}}]
clusters:
- name: greeter
  type: EDS
  lrs_server: {{self: {{}}}}
  endpoints: [\"127.0.0.1:{port}\"]
"
    ));
    let bootstrap = bootstrap(&fixture.listen.to_string(), "client-1").await;
    let environment = [("GRPC_XDS_BOOTSTRAP_CONFIG", bootstrap.as_str())];
    let mut client = Greeter::start("call", &["xds:///greeter.example:50051"], &environment);
    for _ in 0..5 {
        assert_eq!(client.call("world").await, "hello world from a server");
    }
    let status = eventually("a report", async || {
        let status = fixture.clients.load();
        holds(status.clusters.get("greeter").is_some_and(|load| load.total.successful >= 5), &status).map(|()| status)
    })
    .await;
    let total = status.clusters["greeter"].total;
    assert_eq!(total, Requests { successful: 5, errors: 0, issued: 5, dropped: 0 }, "{status:?}");
    assert_eq!((status.nodes.len(), status.nodes[0].node.as_str()), (1, "client-1"));
    drop(client);
    eventually("the client has left", async || {
        let status = fixture.clients.load();
        holds(status.nodes.is_empty(), status)
    })
    .await;
}

/// What Envoy is not sent of the examples: the listeners of gRPC's clients and servers. All of them are tried here.
#[tokio::test]
async fn grpc_takes_the_listeners_of_every_example() {
    let mut tried = Vec::new();
    for mut example in examples() {
        let text: String = example.files().iter().map(|file| fs::read_to_string(file).unwrap()).collect();
        if !text.contains("api_listener") && !text.contains(SERVER) {
            continue;
        }
        example.put_on_loopback();
        let chancery = Chancery::serve(&example.topology()).await;
        chancery.until_revision(1).await;
        let dump = chancery.config_dump().await["default"].take();
        let of = |kind: &str| dump[format!("type.googleapis.com/envoy.config.{kind}")].as_array().expect(kind).clone();
        let mut endpoints = Vec::new();
        for assignment in of("endpoint.v3.ClusterLoadAssignment") {
            for host in assignment["resource"]["endpoints"][0]["lb_endpoints"].as_array().unwrap() {
                let address = &host["endpoint"]["address"]["socket_address"];
                let address = format!("{}:{}", address["address"].as_str().unwrap(), address["port_value"]);
                let mut server = Greeter::start("serve", &["an endpoint", &address], &[]);
                server.line().await;
                endpoints.push(server);
            }
        }
        let mut xds_clients = Vec::new();
        for listener in of("listener.v3.Listener") {
            let name = listener["name"].as_str().unwrap();
            let id = format!("node-{}", xds_clients.len());
            let bootstrap = bootstrap(&chancery.xds().to_string(), &id).await;
            let environment = [("GRPC_XDS_BOOTSTRAP_CONFIG", bootstrap.as_str())];
            if let Some(address) = name.strip_prefix(SERVER) {
                let mut server = Greeter::start("serve-xds", &["a server", address], &environment);
                server.line().await;
                // It refuses every call until it has been given its listener.
                Greeter::start("call", &[address], &[]).until("hello world from a server").await;
                xds_clients.push(server);
            } else if listener["resource"].get("api_listener").is_some() {
                let mut client = Greeter::start("call", &[&format!("xds:///{name}")], &environment);
                client.until("hello world from an endpoint").await;
                xds_clients.push(client);
            }
        }
        let status = chancery.until_synced(xds_clients.len()).await;
        for client in status["clients"].as_array().unwrap() {
            let kinds = client["kinds"].as_object().unwrap();
            assert!(kinds.contains_key("LDS") && kinds.values().all(|kind| kind["nack"].is_null()), "{status}");
        }
        tried.push((example.name.clone(), xds_clients.len()));
        chancery.stop().await;
    }
    assert_eq!(tried, [("grpc".to_owned(), 2)]);
}
