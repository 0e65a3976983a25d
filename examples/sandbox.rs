//! The sandbox without Docker: a real Envoy, two upstreams, Chancery, and a file to edit.
//!
//!     cargo run --release --example sandbox
//!
//! Everything listens on loopback and stops on Ctrl-C. Logs are next to the file, in `target/sandbox`.

#![allow(clippy::print_stdout, reason = "this program talks to the person who runs it")]

use std::fs::{self, File};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use serde_json::Value;
use tokio::net::TcpListener;
use tokio::process::{Child, Command};
use tokio::signal::unix::{SignalKind, signal};

#[allow(dead_code, reason = "the tests use more of it")]
#[path = "../tests/support/tools.rs"]
mod tools;
#[allow(dead_code, reason = "the tests use more of it")]
#[path = "../tests/support/upstream.rs"]
mod upstream;

use upstream::Upstream;

/// How often the sandbox looks at what a person would see.
const LOOK: Duration = Duration::from_millis(100);
/// How long a program may take to say what it listens on.
const START: Duration = Duration::from_secs(30);

#[tokio::main]
async fn main() -> Result<()> {
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    let ended = tokio::select! {
        result = Sandbox::run() => result,
        _ = interrupt.recv() => Ok(()),
        _ = terminate.recv() => Ok(()),
    };
    // What was started is killed as it is dropped.
    println!("\nstopped");
    ended
}

/// Everything that runs.
struct Sandbox {
    chancery: Child,
    envoy: Child,
    url: String,
    status: String,
    client: reqwest::Client,
    _upstreams: [Upstream; 2],
}

impl Sandbox {
    async fn run() -> Result<()> {
        let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/sandbox");
        fs::create_dir_all(&dir)?;
        println!("getting ready: Envoy {} and Chancery", tools::envoy_version());
        let envoy = tokio::task::spawn_blocking(tools::envoy).await?;
        let program = build_chancery().await?;
        Self::start(&dir, &envoy, &program).await?.watch().await
    }

    async fn start(dir: &Path, envoy: &Path, program: &Path) -> Result<Self> {
        let upstreams =
            [Upstream::serve("service1", bind(8081).await?), Upstream::serve("service2", bind(8082).await?)];
        let [service1, service2] = [upstreams[0].address(), upstreams[1].address()];
        // Envoy binds these two itself, so they are only looked for here.
        let listener = bind(10000).await?.local_addr()?;
        let admin = bind(19000).await?.local_addr()?;

        let file = dir.join("topology.yaml");
        fs::write(&file, topology(listener, service1, service2)?)?;
        let log = dir.join("chancery.log");
        let (chancery, xds, status) = start_chancery(program, &file, &log).await?;
        let envoy = start_envoy(envoy, program, dir, xds, admin).await?;

        let shown =
            |path: &Path| std::env::current_dir().ok().and_then(|here| path.strip_prefix(here).ok().map(PathBuf::from));
        let file = shown(&file).unwrap_or(file);
        println!("service1 is at {service1}, service2 at {service2}; Envoy's admin page: http://{admin}");
        println!();
        println!("    ask      curl http://{listener}/");
        println!("    edit     {}   ({} -> {}, and save)", file.display(), service1.port(), service2.port());
        println!("    status   {status}");
        println!("    end      Ctrl-C");
        println!();
        let client = reqwest::Client::builder().timeout(Duration::from_secs(5)).no_proxy().build()?;
        let url = format!("http://{listener}/");
        Ok(Self { chancery, envoy, url, status, client, _upstreams: upstreams })
    }

    /// Says what changes, until something ends that should not.
    async fn watch(mut self) -> Result<()> {
        let mut served = String::new();
        let mut told = Value::Null;
        let mut look = tokio::time::interval(LOOK);
        loop {
            look.tick().await;
            for (name, process) in [("chancery", &mut self.chancery), ("envoy", &mut self.envoy)] {
                if let Some(status) = process.try_wait()? {
                    bail!("{name} ended ({status}); see target/sandbox/{name}.log");
                }
            }
            let status: Value = self.client.get(&self.status).send().await?.json().await?;
            let verdict = serde_json::json!([status["verdict"], status["source_digest"]]);
            if verdict != told {
                tell(&status);
                told = verdict;
            }
            let now = self.ask().await;
            // Until the first answer Envoy is only starting.
            if now != served && !(served.is_empty() && now.starts_with("nobody")) {
                println!("now served by {now}, revision {}", status["revision"]);
                served = now;
            }
        }
    }

    /// Who answers at the moment.
    async fn ask(&self) -> String {
        let answer = async { self.client.get(&self.url).send().await?.text().await };
        match answer.await {
            Ok(body) => upstream::served_by(&body).map_or_else(|| format!("nobody: {}", body.trim()), str::to_owned),
            Err(_) => "nobody: no connection".to_owned(),
        }
    }
}

/// Says what became of an edit that was not taken.
fn tell(status: &Value) {
    let text = |value: &Value| value.as_str().map(str::to_owned).unwrap_or_default();
    match status["verdict"].as_str() {
        Some("rejected") => {
            println!("the edit was rejected, and nothing changes:");
            for finding in status["findings"].as_array().into_iter().flatten() {
                let (line, column) = (&finding["line"], &finding["column"]);
                let (level, code, message) =
                    (text(&finding["level"]), text(&finding["code"]), text(&finding["message"]));
                println!("    {}:{line}:{column}: {level}[{code}]: {message}", text(&finding["file"]));
                if let Some(help) = finding["help"].as_str() {
                    println!("    help: {help}");
                }
            }
        }
        Some(verdict @ ("missing" | "unreadable")) => println!("the file is {verdict}, and nothing changes"),
        _ => {}
    }
}

/// The port that the documentation names, or any other if that one is taken.
async fn bind(port: u16) -> Result<TcpListener> {
    let wanted = TcpListener::bind(SocketAddr::from(([127, 0, 0, 1], port))).await;
    match wanted {
        Ok(listener) => Ok(listener),
        Err(_) => Ok(TcpListener::bind("127.0.0.1:0").await?),
    }
}

/// The demo's topology, its names and addresses put on loopback.
fn topology(listener: SocketAddr, service1: SocketAddr, service2: SocketAddr) -> Result<String> {
    let demo = include_str!("../config/topology.yaml");
    let body = demo.find("version: 1").context("the demo's topology begins with its version")?;
    let body =
        demo[body..].replace("0.0.0.0:10000", &listener.to_string()).replace("service1:8080", &service1.to_string());
    let (head, last) =
        body.trim_end().rsplit_once("# <-").context("the demo's last line says that it is to be edited")?;
    ensure!(last.contains("service1"), "the demo's last line names service1");
    Ok(format!(
        "# What Envoy is told to do. Edit the last line, save, and ask again: curl http://{listener}/\n\
         # A mistake harms nothing: try one.\n{head}# <- service1; service2 is {service2}\n"
    ))
}

/// The program of this checkout, in the profile of this example.
async fn build_chancery() -> Result<PathBuf> {
    let example = std::env::current_exe()?;
    let profile =
        example.parent().and_then(Path::parent).context("examples are built into a directory of their own")?;
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut build = Command::new(cargo);
    // Together with this example, so that the two share every dependency: its own build is done and is not repeated.
    build
        .args(["build", "--quiet", "--example", "sandbox", "--bin", "chancery"])
        .current_dir(env!("CARGO_MANIFEST_DIR"));
    if profile.ends_with("release") {
        build.arg("--release");
    }
    ensure!(build.stdin(Stdio::null()).status().await?.success(), "chancery could not be built");
    Ok(profile.join("chancery"))
}

async fn start_chancery(program: &Path, file: &Path, log: &Path) -> Result<(Child, SocketAddr, String)> {
    let stdout = log.with_extension("out");
    let mut process = Command::new(program)
        .args(["serve", "--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0"])
        .arg(file)
        .stdin(Stdio::null())
        .stdout(File::create(&stdout)?)
        .stderr(File::create(log)?)
        // Ctrl-C is for this program alone, which then ends what it started.
        .process_group(0)
        .kill_on_drop(true)
        .spawn()
        .with_context(|| format!("cannot start {}", program.display()))?;
    let deadline = tokio::time::Instant::now() + START;
    loop {
        let said = fs::read_to_string(&stdout)?;
        let value = |prefix: &str| said.lines().find_map(|line| line.strip_prefix(prefix));
        // The third line shows that the first two are complete.
        if let (Some(xds), Some(admin), Some(_)) =
            (value("listening for xDS on "), value("admin on "), value("watching "))
        {
            return Ok((process, xds.parse()?, format!("{admin}/status")));
        }
        if let Some(status) = process.try_wait()? {
            bail!("chancery ended ({status}): {}", fs::read_to_string(log)?);
        }
        ensure!(tokio::time::Instant::now() < deadline, "chancery says nothing; see {}", log.display());
        tokio::time::sleep(LOOK).await;
    }
}

async fn start_envoy(envoy: &Path, program: &Path, dir: &Path, xds: SocketAddr, admin: SocketAddr) -> Result<Child> {
    let bootstrap = Command::new(program)
        .args(["bootstrap", "--id", "test-id", "--cluster", "test-cluster"])
        .args(["--xds", &xds.to_string(), "--admin", &admin.to_string()])
        .output()
        .await?;
    ensure!(bootstrap.status.success(), "no bootstrap: {}", String::from_utf8_lossy(&bootstrap.stderr));
    let config = dir.join("envoy.yaml");
    fs::write(&config, bootstrap.stdout)?;
    let log = File::create(dir.join("envoy.log"))?;
    Command::new(envoy)
        .args(["--use-dynamic-base-id", "--concurrency", "1", "-c"])
        .arg(config)
        .stdin(Stdio::null())
        .stdout(log.try_clone()?)
        .stderr(log)
        .process_group(0)
        .kill_on_drop(true)
        .spawn()
        .with_context(|| format!("cannot start {}", envoy.display()))
}
