//! A real Envoy.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use serde_json::Value;
use tempfile::TempDir;
use tokio::process::{Child, Command};

use super::http::{self, Answer};
use super::tools::Release;
use super::{eventually, holds};

/// How much of the log a failed test shows.
const LOG_LINES: usize = 60;

/// A running Envoy; it is killed when it is dropped.
#[derive(Debug)]
pub(crate) struct Envoy {
    process: Child,
    admin: String,
    dir: TempDir,
}

impl Envoy {
    /// Starts Envoy with a bootstrap as YAML or JSON, of which the admin port may be 0, and waits for its admin port.
    pub(crate) async fn start(bootstrap: &str) -> Self {
        Self::start_release(Release::Chosen, bootstrap).await
    }

    /// The same with an Envoy of a release.
    pub(crate) async fn start_release(release: Release, bootstrap: &str) -> Self {
        Self::start_with(release, bootstrap, &[]).await
    }

    /// The same with further arguments.
    pub(crate) async fn start_with(release: Release, bootstrap: &str, arguments: &[&str]) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let config = dir.path().join("envoy.yaml");
        let address = dir.path().join("admin");
        fs::write(&config, bootstrap).unwrap();
        let log = fs::File::create(dir.path().join("log")).unwrap();
        let process = Command::new(release.envoy())
            .args(["--use-dynamic-base-id", "--concurrency", "1", "--log-level", "info"])
            // What each delta response held is logged by this component, at this level only.
            .args(["--component-log-level", "config:debug"])
            .args(arguments)
            .arg("--config-path")
            .arg(&config)
            .arg("--admin-address-path")
            .arg(&address)
            .stdin(Stdio::null())
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .kill_on_drop(true)
            .spawn()
            .expect("Envoy starts");
        let mut envoy = Self { process, admin: String::new(), dir };
        envoy.admin = eventually("Envoy's admin port", async || {
            envoy.assert_running();
            match fs::read_to_string(&address) {
                Ok(text) if !text.is_empty() => Ok(format!("http://{text}")),
                other => Err(format!("{other:?}")),
            }
        })
        .await;
        envoy
    }

    /// The URL of a path on the admin port.
    fn url(&self, path: &str) -> String {
        format!("{}{path}", self.admin)
    }

    /// An answer of the admin port.
    pub(crate) async fn admin(&self, path: &str) -> Answer {
        http::get(&self.url(path)).await.unwrap_or_else(|error| panic!("{path}: {error}"))
    }

    /// A section of the config dump, by the last part of its `@type`: `ClustersConfigDump` …
    pub(crate) async fn config_dump(&self, section: &str) -> Value {
        self.config_dumps().await.remove(section).unwrap_or(Value::Null)
    }

    /// All sections of the config dump at one moment.
    pub(crate) async fn config_dumps(&self) -> BTreeMap<String, Value> {
        let mut dump = http::get_json(&self.url("/config_dump?include_eds")).await.unwrap();
        let sections = dump["configs"].as_array_mut().expect("a config dump has sections");
        let name = |section: &Value| section["@type"].as_str().unwrap().rsplit('.').next().unwrap().to_owned();
        sections.iter_mut().map(Value::take).map(|section| (name(&section), section)).collect()
    }

    /// The value of one statistic; 0 if Envoy has not used it yet.
    pub(crate) async fn stat(&self, name: &str) -> u64 {
        let stats = self.admin(&format!("/stats?usedonly&filter=^{}$", regex::escape(name))).await.body;
        let value = stats.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": "));
        value.map_or(0, |value| value.parse().expect("a counter or gauge"))
    }

    /// Waits until a statistic has at least this value.
    pub(crate) async fn until_stat(&self, name: &str, least: u64) {
        eventually(name, async || {
            let value = self.stat(name).await;
            holds(value >= least, value)
        })
        .await;
    }

    /// Seconds since this process began to serve, and how many hot restarts came before it.
    pub(crate) async fn uptime(&self) -> (u64, u64) {
        let info = http::get_json(&self.url("/server_info")).await.unwrap();
        let seconds = info["uptime_current_epoch"].as_str().unwrap().trim_end_matches('s').parse().unwrap();
        (seconds, info["command_line_options"]["restart_epoch"].as_u64().unwrap())
    }

    /// Everything that was logged so far.
    pub(crate) fn log(&self) -> String {
        read_log(self.dir.path())
    }

    /// How many resources, and how many removals, the delta responses of one type brought so far.
    pub(crate) fn delta_traffic(&self, message: &str) -> (u64, u64) {
        delta_traffic(&self.log(), message)
    }

    /// # Panics
    /// If the process has ended.
    pub(crate) fn assert_running(&mut self) {
        let status = self.process.try_wait().unwrap();
        assert!(status.is_none(), "Envoy ended: {status:?}");
    }
}

impl Drop for Envoy {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let log = self.log();
            let lines: Vec<_> = log.lines().collect();
            let tail = lines[lines.len().saturating_sub(LOG_LINES)..].join("\n");
            eprintln!("--- the end of Envoy's log:\n{tail}\n---");
        }
    }
}

fn read_log(dir: &Path) -> String {
    fs::read(dir.join("log")).map(|log| String::from_utf8_lossy(&log).into_owned()).unwrap_or_default()
}

/// Adds up lines such as `Delta config for type.googleapis.com/… accepted with 1 resources added, 0 removed`.
fn delta_traffic(log: &str, message: &str) -> (u64, u64) {
    let mut totals = (0, 0);
    for line in log.lines() {
        let Some((_, rest)) =
            line.split_once(&format!("Delta config for type.googleapis.com/{message} accepted with "))
        else {
            continue;
        };
        let numbers: Vec<u64> = rest.split_whitespace().filter_map(|word| word.parse().ok()).collect();
        let [added, removed] = numbers[..] else { panic!("another wording in Envoy's log: {line}") };
        totals = (totals.0 + added, totals.1 + removed);
    }
    totals
}

/// What `envoy --mode validate` says of a complete configuration.
///
/// # Errors
/// Envoy's own words, if it refuses.
pub(crate) async fn validate(config: &str) -> Result<(), String> {
    validate_in(Release::Chosen, Path::new("."), config).await
}

/// The same of an Envoy of a release, and of a configuration that names files of a directory.
///
/// # Errors
/// Envoy's own words, if it refuses.
pub(crate) async fn validate_in(release: Release, beside: &Path, config: &str) -> Result<(), String> {
    let dir = tempfile::tempdir().unwrap();
    let path: PathBuf = dir.path().join("envoy.yaml");
    fs::write(&path, config).unwrap();
    let output = Command::new(release.envoy())
        .args(["--mode", "validate", "--log-level", "error", "--config-path"])
        .arg(&path)
        .current_dir(beside)
        .stdin(Stdio::null())
        .kill_on_drop(true)
        .output()
        .await
        .expect("Envoy starts");
    if output.status.success() { Ok(()) } else { Err(String::from_utf8_lossy(&output.stderr).into_owned()) }
}

#[test]
fn envoys_log_tells_how_many_resources_came() {
    let log = "[debug][config] Delta config for type.googleapis.com/a.B accepted with 2 resources added, 1 removed\n\
               [debug][config] Delta config for type.googleapis.com/a.C accepted with 9 resources added, 9 removed\n\
               [debug][config] Delta config for type.googleapis.com/a.B accepted with 3 resources added, 0 removed\n";
    assert_eq!(delta_traffic(log, "a.B"), (5, 1));
}

#[tokio::test]
async fn a_static_envoy_carries_traffic_and_is_told_from_a_broken_one() {
    let upstream = super::upstream::Upstream::start("service1").await;
    let port = super::port::Port::reserve();
    let config = |cluster: &str| {
        serde_json::json!({
            "admin": {"address": {"socket_address": {"address": "127.0.0.1", "port_value": 0}}},
            "static_resources": {
                "listeners": [{
                    "name": "l",
                    "address": {"socket_address": {"address": "127.0.0.1", "port_value": port.number()}},
                    "filter_chains": [{"filters": [{
                        "name": "envoy.filters.network.tcp_proxy",
                        "typed_config": {
                            "@type": "type.googleapis.com/envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy",
                            "stat_prefix": "l",
                            "cluster": "c"
                        }
                    }]}]
                }],
                "clusters": [{
                    "name": cluster,
                    "type": "STATIC",
                    "load_assignment": {"cluster_name": "c", "endpoints": [{"lb_endpoints": [{"endpoint": {
                        "address": {"socket_address": {"address": "127.0.0.1", "port_value": upstream.port()}}
                    }}]}]}
                }]
            }
        })
        .to_string()
    };
    validate(&config("c")).await.unwrap();
    let refusal = validate(&config("")).await.unwrap_err();
    assert!(refusal.contains("ClusterValidationError.Name"), "{refusal}");

    let mut envoy = Envoy::start(&config("c")).await;
    let url = format!("http://{}/", port.address());
    eventually("an answer", async || http::get(&url).await).await;
    envoy.until_stat("cluster.c.upstream_cx_total", 1).await;
    assert_eq!(envoy.config_dump("ClustersConfigDump").await["static_clusters"][0]["cluster"]["name"], "c");
    assert_eq!(envoy.uptime().await.1, 0);
    envoy.assert_running();
    assert!(envoy.log().contains("starting main dispatch loop"));
}
