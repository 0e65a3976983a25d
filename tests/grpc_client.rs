//! gRPC's own xDS client finds its servers through Chancery, with no proxy in between.

use std::process::Stdio;

use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::process::{Child, ChildStdin, ChildStdout, Command};

use crate::support::chancery::{self, Chancery};
use crate::support::edit::{Edit, File};
use crate::support::{eventually, holds, tools};

/// `greeter.py` as a server or as a client.
struct Greeter {
    process: Child,
    stdin: ChildStdin,
    stdout: BufReader<ChildStdout>,
}

impl Greeter {
    fn start(role: &str, argument: &str, environment: &[(&str, &str)]) -> Self {
        let mut process = Command::new("python3")
            .arg(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/grpc_client/greeter.py"))
            .args([role, argument])
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
    let mut first = Greeter::start("serve", "first", &[]);
    let mut second = Greeter::start("serve", "second", &[]);
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
    let xds = chancery.xds().to_string();
    let bootstrap =
        chancery::run(&["bootstrap", "--grpc", "--id", "client-1", "--cluster", "clients", "--xds", &xds]).await;
    assert_eq!(bootstrap.code, 0, "{bootstrap:?}");

    let environment = [("GRPC_XDS_BOOTSTRAP_CONFIG", bootstrap.stdout.as_str())];
    let mut client = Greeter::start("call", "xds:///greeter.example:50051", &environment);
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
