//! What `chancery check` says of bad topologies, to the letter.
//!
//! `BLESS=1` rewrites the expected texts (`just bless`).

use std::path::Path;

use crate::golden::{compare, yaml_files};
use crate::support::chancery;

#[tokio::test]
async fn every_bad_topology_gets_its_findings() {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/rejected");
    let names = yaml_files("tests/rejected");
    assert!(names.len() >= 10, "{names:?}");
    for name in names {
        // From within, so that no path of this machine is in the text.
        let run = chancery::run_in(&directory, &["check", &format!("{name}.yaml")], "").await;
        assert_eq!(run.code, 1, "{name}: {run:?}");
        compare(&directory.join(&name).with_extension("txt"), &run.stderr);
    }
}

/// Each topology of a folder gets exactly one finding, and is served nevertheless.
async fn one_finding_each(folder: &str, least: usize, flags: &[&str], strict: i32) {
    let folder = format!("tests/rejected/{folder}");
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join(&folder);
    let names = yaml_files(&folder);
    assert!(names.len() >= least, "{names:?}");
    for name in names {
        let file = format!("{name}.yaml");
        let run = chancery::run_in(&directory, &[&["check", &file], flags].concat(), "").await;
        assert_eq!(run.code, 0, "{name}: {run:?}");
        compare(&directory.join(&name).with_extension("txt"), &run.stderr);
        let json = chancery::run_in(&directory, &["check", &file, "-o", "json"], "").await;
        let report: serde_json::Value = serde_json::from_str(&json.stdout).unwrap();
        assert_eq!(report["findings"].as_array().map(Vec::len), Some(1), "{name}: {report}");
        let run = chancery::run_in(&directory, &["check", &file, "--strict"], "").await;
        assert_eq!(run.code, strict, "{name}: {run:?}");
    }
}

#[tokio::test]
async fn every_suspicious_topology_gets_its_warning() {
    one_finding_each("warned", 20, &[], 1).await;
}

#[tokio::test]
async fn what_is_worth_knowing_is_told_when_asked_for() {
    one_finding_each("noted", 3, &["--verbose"], 0).await;
}

/// Whoever reads a finding can ask what it means.
#[tokio::test]
async fn a_finding_can_be_explained() {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    let run = chancery::run_in(here, &["explain", "error[shadowed-route]:"], "").await;
    assert_eq!(run.code, 0, "{run:?}");
    assert!(run.stdout.starts_with("shadowed-route: "), "{run:?}");
    let run = chancery::run_in(here, &["explain", "shadow-route"], "").await;
    assert_eq!(run.code, 2, "{run:?}");
    assert!(run.stderr.contains("did you mean `shadowed-route`?"), "{run:?}");
    let run = chancery::run_in(here, &["explain"], "").await;
    assert_eq!(run.code, 0, "{run:?}");
    assert!(run.stdout.lines().count() > 70, "{run:?}");
}
