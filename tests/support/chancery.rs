//! The program under test, as users start it.

use std::ffi::OsStr;
use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Output, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use tempfile::TempDir;
use tokio::process::{Child, Command};

use super::http::{self, Answer};
use super::{eventually, holds};

/// How long it may take to end after a SIGTERM.
const DRAIN: Duration = Duration::from_secs(15);

/// A running `chancery serve`; it is killed when it is dropped.
#[derive(Debug)]
pub(crate) struct Chancery {
    process: Child,
    xds: SocketAddr,
    admin: String,
    dir: TempDir,
}

/// How `chancery serve` is started.
#[derive(Clone, Debug)]
pub(crate) struct Options {
    /// The address of the xDS port.
    pub(crate) listen: SocketAddr,
    /// Further flags.
    pub(crate) flags: Vec<&'static str>,
    /// Where it keeps the last good snapshot.
    pub(crate) state: Option<PathBuf>,
    /// A program and its arguments that runs the command given after them, if not this process itself.
    pub(crate) within: Vec<String>,
}

impl Default for Options {
    fn default() -> Self {
        // Without polling, so that a test in which no event arrives fails.
        let listen = SocketAddr::from(([127, 0, 0, 1], 0));
        Self { listen, flags: vec!["--poll-interval", "0s"], state: None, within: Vec::new() }
    }
}

impl Chancery {
    /// Starts `chancery serve PATH` and waits until it listens.
    pub(crate) async fn serve(path: &Path) -> Self {
        Self::serve_with(path, Options::default()).await
    }

    /// Starts `chancery serve PATH` with options and waits until it listens.
    pub(crate) async fn serve_with(path: &Path, options: Options) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let file = |name: &str| fs::File::create(dir.path().join(name)).unwrap();
        let process = command_within(&options.within)
            .args(["serve", "--admin", "127.0.0.1:0", "--listen"])
            .arg(options.listen.to_string())
            .args(options.flags)
            .args(options.state.map(|dir| format!("--state-dir={}", dir.display())))
            .arg(path)
            .stdin(Stdio::null())
            .stdout(file("stdout"))
            .stderr(file("stderr"))
            .kill_on_drop(true)
            .spawn()
            .expect("chancery starts");
        let mut chancery = Self { process, xds: options.listen, admin: String::new(), dir };
        (chancery.xds, chancery.admin) = eventually("what chancery listens on", async || {
            let status = chancery.process.try_wait().unwrap();
            assert!(status.is_none(), "chancery ended: {status:?}: {}", chancery.stderr());
            let stdout = chancery.stdout();
            let value = |prefix: &str| stdout.lines().find_map(|line| line.strip_prefix(prefix)).ok_or(&stdout);
            let xds = value("listening for xDS on ")?.parse::<SocketAddr>().map_err(|error| error.to_string())?;
            // The line may be half written: its successor shows that it is not.
            value("watching ")?;
            Ok((xds, value("admin on ")?.to_owned()))
        })
        .await;
        chancery
    }

    /// The address of the xDS port.
    pub(crate) fn xds(&self) -> SocketAddr {
        self.xds
    }

    /// The process id.
    pub(crate) fn pid(&self) -> u32 {
        self.process.id().expect("it runs")
    }

    /// What it said on standard output.
    pub(crate) fn stdout(&self) -> String {
        fs::read_to_string(self.dir.path().join("stdout")).unwrap()
    }

    /// What it logged.
    pub(crate) fn stderr(&self) -> String {
        fs::read_to_string(self.dir.path().join("stderr")).unwrap()
    }

    /// An answer of the admin port.
    pub(crate) async fn admin(&self, path: &str) -> Answer {
        http::get(&format!("{}{path}", self.admin)).await.unwrap_or_else(|error| panic!("{path}: {error}"))
    }

    /// What a POST to the admin port is answered, as JSON.
    pub(crate) async fn post(&self, path: &str) -> (u16, Value) {
        let answer = http::post(&format!("{}{path}", self.admin)).await;
        let answer = answer.unwrap_or_else(|error| panic!("{path}: {error}"));
        (answer.status, json(&answer))
    }

    /// The URL of the admin port.
    pub(crate) fn admin_url(&self) -> &str {
        &self.admin
    }

    /// `/status`.
    pub(crate) async fn status(&self) -> Value {
        json(&self.admin("/status").await)
    }

    /// `/config_dump`.
    pub(crate) async fn config_dump(&self) -> Value {
        json(&self.admin("/config_dump").await)
    }

    /// The sum of a metric over its labels.
    pub(crate) async fn metric(&self, name: &str) -> f64 {
        let text = self.admin("/metrics").await.body;
        let samples = text.lines().filter_map(|line| {
            let rest = line.strip_prefix(name)?;
            rest.starts_with([' ', '{']).then(|| rest.rsplit(' ').next().unwrap().parse::<f64>().unwrap())
        });
        let samples: Vec<f64> = samples.collect();
        assert!(!samples.is_empty(), "no metric {name} in\n{text}");
        samples.iter().sum()
    }

    /// Whether a metric is not zero.
    pub(crate) async fn is_set(&self, name: &str) -> bool {
        self.metric(name).await > 0.0
    }

    /// Waits until `/status` is as wanted, and returns it.
    pub(crate) async fn until(&self, what: &str, mut wanted: impl FnMut(&Value) -> bool) -> Value {
        eventually(what, async || {
            let status = self.status().await;
            holds(wanted(&status), &status).map(|()| status)
        })
        .await
    }

    /// Waits until a revision is published.
    pub(crate) async fn until_revision(&self, revision: u64) -> Value {
        self.until(&format!("revision {revision}"), |status| status["revision"] == revision).await
    }

    /// Waits until `count` streams have acknowledged everything that they were sent, and one of them was sent the newest
    /// revision. An edit that does not concern a stream off ADS leaves it at an older one.
    pub(crate) async fn until_synced(&self, count: usize) -> Value {
        self.until(&format!("{count} synced clients"), |status| {
            let clients = status["clients"].as_array().expect("a list");
            let synced = |client: &Value| {
                client["kinds"].as_object().expect("a map").values().all(|kind| kind["state"] == "synced")
            };
            let newest = |client: &Value| client["revision"] == status["revision"];
            clients.len() == count && clients.iter().all(synced) && clients.iter().any(newest)
        })
        .await
    }

    /// Sends it a signal.
    pub(crate) fn signal(&self, signal: Signal) {
        kill_process(Pid::from_raw(i32::try_from(self.pid()).unwrap()).unwrap(), signal).unwrap();
    }

    /// Lets it run no further until [`Chancery::resume`].
    pub(crate) fn pause(&self) {
        self.signal(Signal::STOP);
    }

    pub(crate) fn resume(&self) {
        self.signal(Signal::CONT);
    }

    /// Ends it at once, wherever it is.
    pub(crate) async fn kill(mut self) {
        self.process.kill().await.unwrap();
    }

    /// Asks it to end, as a container engine does, and expects exit code 0.
    pub(crate) async fn stop(mut self) {
        self.signal(Signal::TERM);
        let status = tokio::time::timeout(DRAIN, self.process.wait()).await.expect("it ends after SIGTERM").unwrap();
        assert_eq!(status.code(), Some(0), "{}", self.stderr());
    }
}

impl Drop for Chancery {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("--- chancery's output and log:\n{}{}\n---", self.stdout(), self.stderr());
        }
    }
}

fn json(answer: &Answer) -> Value {
    serde_json::from_str(&answer.body).unwrap_or_else(|error| panic!("{error}: {answer:?}"))
}

/// The program without arguments, and without settings from the environment.
pub(crate) fn command() -> Command {
    command_within(&[])
}

/// The same, run by another program.
fn command_within(within: &[String]) -> Command {
    let mut words = within.iter().map(String::as_str).chain([env!("CARGO_BIN_EXE_chancery")]);
    let mut command = Command::new(words.next().expect("the program itself at least"));
    command.args(words);
    let settings = std::env::vars_os().map(|(key, _)| key).filter(|key| key.to_string_lossy().starts_with("CHANCERY_"));
    for setting in settings {
        command.env_remove(setting);
    }
    command
}

/// What came of a command that ends by itself.
#[derive(Debug)]
pub(crate) struct Run {
    /// The exit code.
    pub(crate) code: i32,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

/// Runs `chancery` with arguments in a directory, with a text as standard input.
pub(crate) async fn run_in(dir: &Path, arguments: &[impl AsRef<OsStr>], stdin: &str) -> Run {
    let input = tempfile::NamedTempFile::new().unwrap();
    fs::write(input.path(), stdin).unwrap();
    let ended = command().args(arguments).current_dir(dir).stdin(input.reopen().unwrap()).kill_on_drop(true).output();
    let output = tokio::time::timeout(Duration::from_mins(1), ended).await.expect("it ends by itself").unwrap();
    let Output { status, stdout, stderr } = output;
    Run {
        code: status.code().unwrap_or_else(|| panic!("it was killed: {status}")),
        stdout: String::from_utf8(stdout).unwrap(),
        stderr: String::from_utf8(stderr).unwrap(),
    }
}

/// Runs `chancery` with arguments in the root of the repository.
pub(crate) async fn run(arguments: &[&str]) -> Run {
    run_in(Path::new(env!("CARGO_MANIFEST_DIR")), arguments, "").await
}
