//! What the examples mean, as plain files that show every change of meaning in a diff.
//!
//! `BLESS=1` rewrites them (`just bless`).

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use crate::support::chancery;
use crate::support::examples::{View, entries, examples};

#[tokio::test]
async fn every_example_means_what_its_golden_file_says() {
    let mut names = BTreeSet::new();
    for example in examples() {
        let checked = chancery::run_in(example.dir(), &["check", example.entry()], "").await;
        assert_eq!((checked.code, checked.stderr.as_str()), (0, ""), "{}: nothing to complain of", example.name);
        for View { name, arguments, .. } in example.views().await {
            compare(&golden(&name), &example.render(&arguments).await);
            names.insert(name);
        }
    }
    let blessed: BTreeSet<_> = files("tests/golden", "json").into_iter().filter(|name| name != SEED).collect();
    assert_eq!(blessed, names, "each golden file belongs to an example");
}

#[test]
fn every_example_says_what_it_shows_and_is_in_the_readmes_table() {
    for name in yaml_files("examples") {
        let text = fs::read_to_string(root().join(format!("examples/{name}.yaml"))).unwrap();
        let head: Vec<_> = text.lines().take_while(|line| line.starts_with('#')).collect();
        let idea = head.split(|line| *line == "#").next().unwrap();
        assert!((1..=3).contains(&idea.len()), "{name} opens with its idea, in three lines at most: {idea:?}");
    }
    let readme = fs::read_to_string(root().join("README.md")).unwrap();
    let mut listed: Vec<_> = readme
        .lines()
        .filter_map(|line| {
            let (name, rest) = line.strip_prefix("| [")?.split_once("](examples/")?;
            let (link, idea) = rest.split_once(") | ")?;
            assert!(link == name.trim_end_matches('/') && idea.len() > 5, "{line}");
            Some(link.to_owned())
        })
        .collect();
    listed.sort();
    assert_eq!(listed, entries());
}

/// What is rendered of node groups is a topology that means the same, all groups at once and each by itself.
#[tokio::test]
async fn what_is_rendered_of_groups_means_the_same() {
    let whole = chancery::run(&["render", "examples/fleets.yaml"]).await;
    let again = chancery::run_in(root(), &["render", "-"], &whole.stdout).await;
    let meaning = |text: &str| text.lines().filter(|line| !line.starts_with('#')).collect::<Vec<_>>().join("\n");
    assert_eq!(meaning(&again.stdout), meaning(&whole.stdout), "{again:?}");
    let one = chancery::run(&["render", "examples/fleets.yaml", "--node-group", "edge"]).await;
    let again = chancery::run_in(root(), &["render", "-"], &one.stdout).await;
    assert_eq!(meaning(&again.stdout), meaning(&one.stdout), "{again:?}");
}

/// Without its extension, the golden file that is written by hand.
const SEED: &str = "seed-resource-go";

/// The listener, route and cluster that the seed's Go program makes, but for the source of the route: the program's is a
/// stream of its own, ours is the one stream on which Chancery can order a change.
#[tokio::test]
async fn the_demo_is_what_the_seeds_program_made() {
    let expected: Value = serde_json::from_str(&fs::read_to_string(golden(SEED)).unwrap()).unwrap();
    let rendered = chancery::run(&["render", "-o", "json", "config/topology.yaml"]).await;
    let rendered: Value = serde_json::from_str(&rendered.stdout).unwrap();
    let by_type = |resources: &Value| {
        let mut sorted = resources.as_array().expect("a list of resources").clone();
        sorted.sort_by_key(|resource| resource["@type"].as_str().unwrap().to_owned());
        sorted
    };
    let mut expected = by_type(&expected);
    let source = expected
        .iter_mut()
        .find_map(|resource| resource.pointer_mut("/filter_chains/0/filters/0/typed_config/rds/config_source"))
        .expect("the listener asks for its route");
    assert_eq!(source["api_config_source"]["api_type"], "GRPC");
    *source = json!({"ads": {}, "resource_api_version": "V3"});
    assert_eq!(by_type(&rendered["resources"]), expected);
}

fn golden(name: &str) -> PathBuf {
    root().join("tests/golden").join(format!("{name}.json"))
}

/// Compares a text with a file, or rewrites the file.
pub(crate) fn compare(path: &Path, text: &str) {
    if std::env::var_os("BLESS").is_some() {
        fs::write(path, text).unwrap();
        return;
    }
    let expected =
        fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}; run `just bless`", path.display()));
    let differs = expected.lines().zip(text.lines()).position(|(a, b)| a != b);
    let line = differs.unwrap_or_else(|| expected.lines().count().min(text.lines().count())) + 1;
    assert!(
        expected == text,
        "{}:{line} differs; run `just bless` and read the diff. It is now:\n{text}",
        path.display()
    );
}

/// The names of the YAML files of a directory, without their extension.
pub(crate) fn yaml_files(directory: &str) -> BTreeSet<String> {
    files(directory, "yaml")
}

fn files(directory: &str, extension: &str) -> BTreeSet<String> {
    let paths = fs::read_dir(root().join(directory)).unwrap().map(|entry| entry.unwrap().path());
    let wanted = paths.filter(|path| path.extension().is_some_and(|found| found == extension));
    wanted.map(|path| path.file_stem().unwrap().to_str().unwrap().to_owned()).collect()
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}
