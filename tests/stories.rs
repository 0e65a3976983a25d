//! The stories of `examples/stories/`, as a user runs them: each script judges for itself, and must say what it saw.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use tokio::process::Command;

use crate::support::tools;

/// How long a story may take; the waits in it end earlier, so that it ends what it started.
const PATIENCE: Duration = Duration::from_mins(10);

/// What the stories source.
const COMMON: &str = "common.sh";

fn directory() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/stories")
}

/// Runs a story, which must succeed and say these lines, in this order, with others in between.
async fn story(name: &str, envoy: Option<&Path>, lines: &[&str]) {
    let mut command = Command::new(directory().join(name));
    for (key, _) in std::env::vars_os().filter(|(key, _)| key.to_string_lossy().starts_with("CHANCERY_")) {
        command.env_remove(key);
    }
    let scratch = tempfile::tempdir().unwrap();
    command.env("CHANCERY", env!("CARGO_BIN_EXE_chancery")).env("TMPDIR", scratch.path()).env_remove("ENVOY");
    let ended = command.envs(envoy.map(|path| ("ENVOY", path))).stdin(Stdio::null()).output();
    let output = tokio::time::timeout(PATIENCE, ended).await.expect("it ends by itself").unwrap();
    let (said, log) = (String::from_utf8(output.stdout).unwrap(), String::from_utf8(output.stderr).unwrap());
    assert_eq!(output.status.code(), Some(0), "{name} failed\n{said}\n{log}");
    let mut rest = said.lines();
    for line in lines {
        let seen = rest.any(|said| said.ends_with(line));
        assert!(seen, "{name} does not say {line:?} where it should\n{said}\n{log}");
    }
    let left: Vec<_> = fs::read_dir(scratch.path()).unwrap().collect();
    assert!(left.is_empty(), "{name} leaves {left:?} behind");
}

#[tokio::test]
async fn edited_by_hand() {
    let lines = [
        "revision 1 serves 10.0.0.1",
        "== sed -i moves a new file over the old one",
        "revision 2 serves 10.0.0.2",
        "== nano writes into the file",
        "revision 3 serves 10.0.0.3",
        "== vim keeps a backup and writes a new file",
        "revision 4 serves 10.0.0.4",
        "topology.yaml:9:3: error[unknown-field]: unknown field `endpionts` in envoy.config.cluster.v3.Cluster",
        "refused; revision 4 still serves 10.0.0.4",
        "revision 5 serves 10.0.0.5",
    ];
    story("edit-by-hand.sh", None, &lines).await;
}

#[tokio::test]
async fn a_config_map_as_a_volume() {
    let lines = [
        "revision 1 serves 10.0.0.1",
        "revision 2 serves 10.0.0.2",
        "mount/topology.yaml:9:3: error[unknown-field]: unknown field `endpionts` in envoy.config.cluster.v3.Cluster",
        "refused; revision 2 still serves 10.0.0.2",
        "revision 3 serves 10.0.0.4",
    ];
    story("configmap.sh", None, &lines).await;
}

#[tokio::test]
async fn a_checkout_that_git_sync_keeps() {
    let lines = [
        "revision 1 serves app-v1",
        "revision 2 serves app-v2",
        "revision 3 serves app-v3",
        "no half of a commit was ever read: 0 rejections",
        "current/listeners.yaml:6:12: error[unknown-cluster]: cluster `app-v3` is not defined",
        "refused; revision 3 still serves app-v3",
        "revision 4 serves app-v5",
    ];
    story("git-sync.sh", None, &lines).await;
}

/// What a CI job sees, whatever is connected.
const JOB: [&str; 8] = [
    "== a good change",
    "== a bad change does not pass the check, and is not put in place",
    "exit code 1",
    "topology.yaml:9:3: error[unknown-field]: unknown field `endpionts` in envoy.config.cluster.v3.Cluster",
    "exit code 22",
    "/readyz says 200",
    "/config_dump is as before",
    "== the next good change is taken",
];

#[tokio::test]
async fn a_smoke_test_for_ci_with_an_envoy_per_protocol() {
    let envoy = tools::envoy();
    let mut lines = vec!["sotw uses 10.0.0.1", "delta uses 10.0.0.1", JOB[0]];
    let taken = ["every proxy took the change: 2", "sotw uses 10.0.0.2", "delta uses 10.0.0.2"];
    lines.extend(taken.iter().chain(&JOB[1..]));
    lines.extend(["every proxy took the change: 2", "sotw uses 10.0.0.4", "delta uses 10.0.0.4"]);
    story("ci-smoke-test.sh", Some(&envoy), &lines).await;
}

#[tokio::test]
async fn a_smoke_test_for_ci_without_proxies() {
    story("ci-smoke-test.sh", None, &JOB).await;
}

#[test]
fn every_story_is_in_the_readme_and_is_run() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let readme = fs::read_to_string(root.join("README.md")).unwrap();
    let tests = fs::read_to_string(root.join(file!())).unwrap();
    let names = fs::read_dir(directory()).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let stories: Vec<_> = names.filter(|name| name != COMMON).collect();
    assert_eq!(stories.len(), 4, "{stories:?}");
    for name in stories {
        assert!(readme.contains(&format!("[{name}](examples/stories/{name})")), "the README does not link {name}");
        assert!(tests.contains(&format!("story(\"{name}\"")), "{name} is not run");
    }
}
