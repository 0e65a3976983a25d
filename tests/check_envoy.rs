//! `check --envoy`: a real Envoy's verdict, with positions in our files.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use crate::support::chancery::{run, run_in};
use crate::support::tools;

/// Envoy runs Lua when it loads it; Chancery does not.
const BAD_LUA: &str = "version: 1
clusters:
- name: app
  endpoints: [127.0.0.1:80]
listeners:
- name: plain
  address: 127.0.0.1:10000
  routes: [{route: app}]
- name: scripted
  address: 127.0.0.1:10001
  http_filters:
  - lua: {default_source_code: {inline_string: \"function envoy_on_request(\"}}
  routes: [{route: app}]
";

#[tokio::test]
async fn what_envoy_refuses_has_a_position() {
    let envoy = tools::envoy().display().to_string();
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("bad.yaml"), BAD_LUA).unwrap();
    fs::write(dir.path().join("good.yaml"), BAD_LUA.replace("request(", "request() end")).unwrap();

    let alone = run_in(dir.path(), &["check", "bad.yaml"], "").await;
    assert_eq!(alone.code, 0, "only Envoy can tell: {alone:?}");
    let bad = run_in(dir.path(), &["check", "--envoy", &envoy, "bad.yaml"], "").await;
    assert_eq!(bad.code, 1, "{bad:?}");
    assert!(bad.stderr.starts_with("bad.yaml:9:3: error[envoy]: Envoy refuses this: "), "{bad:?}");

    let good = run_in(dir.path(), &["check", "--envoy", &envoy, "good.yaml"], "").await;
    assert_eq!(good.code, 0, "{good:?}");
}

#[tokio::test]
async fn what_is_no_envoy_gives_no_verdict() {
    for binary in ["/nowhere/envoy", "true", "false"] {
        let refused = run(&["check", "--envoy", binary, "examples/seed.yaml"]).await;
        assert_eq!(refused.code, 2, "{binary}: {refused:?}");
        assert!(refused.stderr.contains(binary), "{refused:?}");
    }
}

#[tokio::test]
async fn envoys_message_may_name_any_resource() {
    let dir = tempfile::tempdir().unwrap();
    let script = dir.path().join("envoy");
    let says = "#!/bin/sh\nyes noise | head -c 1000000 >&1\n\
                echo \"error initializing configuration '$8': cluster: app is no good\" >&2\nexit 1\n";
    fs::write(&script, says).unwrap();
    fs::set_permissions(&script, fs::Permissions::from_mode(0o755)).unwrap();
    fs::write(dir.path().join("t.yaml"), BAD_LUA).unwrap();
    let bad = run_in(dir.path(), &["check", "--envoy", &script.display().to_string(), "t.yaml"], "").await;
    assert_eq!(bad.code, 1, "{bad:?}");
    let expected = "t.yaml:3:3: error[envoy]: Envoy refuses this: cluster: app is no good\n";
    assert!(bad.stderr.starts_with(expected), "{bad:?}");
}

#[tokio::test]
async fn standard_input_has_positions_as_well() {
    let envoy = tools::envoy().display().to_string();
    let bad = run_in(Path::new("."), &["check", "--envoy", &envoy, "-"], BAD_LUA).await;
    assert!(bad.stderr.contains(":9:3: error[envoy]: "), "{bad:?}");
}
