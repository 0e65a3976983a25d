//! gRPC's own xDS client finds its servers through Chancery, with no proxy in between.

use std::fs;
use std::process::Stdio;
use std::time::Duration;

use ::chancery::xds::{Options, Requests};
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::process::{Child, ChildStdin, ChildStdout, Command};

use crate::support::chancery::{self, Chancery};
use crate::support::edit::{Edit, File};
use crate::support::examples::examples;
use crate::support::xds_client::Fixture;
use crate::support::{eventually, holds, tools};

/// How the names of servers' listeners begin in our bootstrap; their address follows.
pub(crate) const SERVER: &str = "grpc/server?xds.resource.listening_address=";

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
    let options = Options { load_interval: Duration::from_secs(1), ..Options::default() };
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
