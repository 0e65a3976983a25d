//! `chancery schema`: what editors are given takes what the other commands take and make.

use std::fs;

use boon::{Compiler, Schemas};
use serde_json::Value;

use crate::golden::yaml_files;
use crate::support::chancery::run;

#[tokio::test]
async fn examples_and_imported_topologies_validate() {
    let printed = run(&["schema"]).await;
    assert_eq!((printed.code, printed.stderr.as_str()), (0, ""), "{printed:?}");
    let schema: Value = serde_json::from_str(&printed.stdout).unwrap();
    let (mut schemas, mut compiler) = (Schemas::new(), Compiler::new());
    compiler.add_resource("mem://topology", schema).unwrap();
    let index = compiler.compile("mem://topology", &mut schemas).unwrap();

    let mut topologies = Vec::new();
    for (directory, is_envoys) in [("examples", false), ("tests/import", true)] {
        for name in yaml_files(directory) {
            let path = format!("{}/{directory}/{name}.yaml", env!("CARGO_MANIFEST_DIR"));
            let text =
                if is_envoys { run(&["import", &path]).await.stdout } else { fs::read_to_string(&path).unwrap() };
            topologies.push((path, text));
        }
    }
    assert!(topologies.len() >= 20, "{}", topologies.len());
    for (path, text) in topologies {
        for document in text.split("\n---\n") {
            let document: Value = serde_saphyr::from_str(document).unwrap();
            let valid = schemas.validate(&document, index).map_err(|error| format!("{error:#}"));
            assert_eq!(valid, Ok(()), "{path}");
        }
    }
}
