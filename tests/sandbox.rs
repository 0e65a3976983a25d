//! The sandbox without Docker does what the README says.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use rustix::process::{Pid, Signal, kill_process_group};
use tokio::process::Command;

use crate::support::{eventually, holds, http};

#[tokio::test]
async fn an_edit_reroutes_the_sandbox() {
    let dir = tempfile::tempdir().unwrap();
    let said = dir.path().join("said");
    let output = fs::File::create(&said).unwrap();
    let mut sandbox = Command::new(build().await)
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .stdin(Stdio::null())
        .stdout(output.try_clone().unwrap())
        .stderr(output)
        .process_group(0)
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    let mut until = async |wanted: &str| {
        eventually(wanted, async || {
            let text = fs::read_to_string(&said).unwrap();
            assert!(sandbox.try_wait().unwrap().is_none(), "the sandbox ended: {text}");
            holds(text.contains(wanted), &text).map(|()| text)
        })
        .await
    };
    let text = until("now served by service1, revision 1\n").await;
    let word = |before: &str| text.split_once(before).unwrap().1.split_whitespace().next().unwrap().to_owned();
    let url = word("curl ");
    assert!(http::get(&url).await.unwrap().body.starts_with("Request served by service1\n\nGET / HTTP/1.1\n\n"));

    let file: PathBuf = Path::new(env!("CARGO_MANIFEST_DIR")).join(word("edit "));
    let (service1, service2) = (word("service1 is at "), word("service2 at "));
    let service1 = service1.trim_end_matches(',');
    let service2 = service2.trim_end_matches(';');
    let topology = fs::read_to_string(&file).unwrap();
    fs::write(&file, topology.replace("LOGICAL_DNS", "LOGIC_DNS")).unwrap();
    until("the edit was rejected, and nothing changes:\n").await;
    fs::write(&file, topology.replace(&format!("\"{service1}\""), &format!("\"{service2}\""))).unwrap();
    until("now served by service2, revision 2\n").await;

    // As a terminal does it: everything in the foreground gets the signal.
    kill_process_group(Pid::from_raw(i32::try_from(sandbox.id().unwrap()).unwrap()).unwrap(), Signal::INT).unwrap();
    assert!(sandbox.wait().await.unwrap().success(), "{}", fs::read_to_string(&said).unwrap());
    eventually("everything to stop", async || holds(http::get(&url).await.is_err(), "it still answers")).await;
}

/// The example is built only where all targets are.
async fn build() -> PathBuf {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut build = Command::new(cargo);
    build.args(["build", "--quiet", "--example", "sandbox"]).current_dir(env!("CARGO_MANIFEST_DIR"));
    assert!(build.status().await.unwrap().success());
    Path::new(env!("CARGO_BIN_EXE_chancery")).with_file_name("examples").join("sandbox")
}
