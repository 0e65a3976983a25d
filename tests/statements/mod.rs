//! Every statement on the protocol has a test that is named after it.
//!
//! The statements are G (streams and nodes), S (versions and nonces), N (refusals), W (subscriptions), R (what is sent), O (order),
//! T (time to live) and X (single kinds and features). A test's name begins with the ids of what it shows: `s3_s8_a_name_…`.

mod socket;

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

/// How many statements there are of each letter.
const STATEMENTS: [(char, u32); 8] =
    [('g', 14), ('s', 13), ('n', 8), ('w', 14), ('r', 13), ('o', 12), ('t', 3), ('x', 10)];

/// Statements that say nothing of a server, and so have no test.
const OF_OTHERS: [(&str, &str); 3] = [
    ("g10", "that an Envoy has one aggregated stream, and reconnects by itself"),
    ("s13", "that an Envoy does not compare versions"),
    ("o6", "that a setting of Envoy lets it use the endpoints that it remembers"),
];

#[test]
fn every_statement_has_a_test_named_after_it() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut tested = BTreeSet::new();
    for dir in ["src", "tests"] {
        collect(&root.join(dir), &mut tested);
    }
    let all: BTreeSet<String> = STATEMENTS.iter().flat_map(|(letter, count)| ids(*letter, *count)).collect();
    let unknown: Vec<_> = tested.difference(&all).collect();
    assert!(unknown.is_empty(), "tests are named after statements that there are not: {unknown:?}");
    let others: BTreeSet<String> = OF_OTHERS.iter().map(|(id, _)| (*id).to_owned()).collect();
    let needless: Vec<_> = others.intersection(&tested).collect();
    assert!(needless.is_empty(), "these do have a test: {needless:?}");
    let untested: Vec<_> = all.iter().filter(|id| !tested.contains(*id) && !others.contains(*id)).collect();
    assert!(untested.is_empty(), "no test is named after {untested:?}");
}

fn ids(letter: char, count: u32) -> impl Iterator<Item = String> {
    (1..=count).map(move |number| format!("{letter}{number}"))
}

/// The ids of all tests under a directory.
fn collect(dir: &Path, tested: &mut BTreeSet<String>) {
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            collect(&path, tested);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            tested.extend(tests(&fs::read_to_string(&path).unwrap()).flat_map(|name| ids_of(name).map(str::to_owned)));
        }
    }
}

/// The names of the tests in a source.
fn tests(source: &str) -> impl Iterator<Item = &str> {
    let mut is_test = false;
    source.lines().filter_map(move |line| {
        let line = line.trim();
        if line.starts_with("#[") {
            is_test |= line == "#[test]" || line.starts_with("#[tokio::test");
            return None;
        }
        let name = line.strip_prefix("async ").unwrap_or(line).strip_prefix("fn ")?;
        std::mem::take(&mut is_test).then(|| name.split(['(', '<']).next().unwrap_or_default())
    })
}

/// The ids that a name begins with.
fn ids_of(name: &str) -> impl Iterator<Item = &str> {
    name.split('_').take_while(|part| {
        let mut chars = part.chars();
        let is_letter = chars.next().is_some_and(|letter| STATEMENTS.iter().any(|(known, _)| *known == letter));
        let number = chars.as_str();
        is_letter && !number.is_empty() && number.chars().all(|digit| digit.is_ascii_digit())
    })
}

#[test]
fn ids_are_read_off_the_names_of_tests_alone() {
    let source = "#[test]\nfn s3_s8_a_name() {}\nfn w1_helper() {}\n    #[tokio::test(flavor = \"x\")]\n    #[ignore]\n\
                  async fn g1_x2() {}\n#[test]\nfn o_something_o1() {}\n";
    let found: Vec<_> = tests(source).flat_map(ids_of).collect();
    assert_eq!(found, ["s3", "s8", "g1", "x2"]);
}
