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
