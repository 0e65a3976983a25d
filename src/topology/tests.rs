use std::sync::Arc;

use super::*;
use crate::diagnostic::{Level, Report};

fn document(name: &str, bytes: impl AsRef<[u8]>) -> Document {
    Document { name: name.into(), bytes: bytes.as_ref().into() }
}

/// The paths of all items and the findings as text, one line each.
fn outcome(documents: &[Document]) -> (Vec<String>, Vec<String>) {
    let (mut files, mut findings) = (Files::new(), Findings::new());
    let topology = parse(documents, &mut files, &mut findings);
    let report = Report::new(findings, Arc::new(files));
    let line = |finding: &Finding| report.render(finding).lines().next().unwrap().to_owned();
    assert!(report.count(Level::Error) == report.findings().len());
    (topology.items.into_iter().map(|item| item.path).collect(), report.findings().iter().map(line).collect())
}

fn findings(text: &str) -> Vec<String> {
    outcome(&[document("t.yaml", text)]).1
}

#[test]
fn all_documents_of_all_files_are_one_union() {
    let one = "version: 1\nclusters: [{name: a}]\nx-anything: {no: matter}\n---\nversion: 1\nclusters: [{name: b}, {name: c}]\n";
    let two = "version: 1\nlisteners: [{name: l}]\nresources:\n- {\"@type\": t}\n---\n";
    let (items, findings) = outcome(&[document("1.yaml", one), document("2.yaml", two)]);
    assert_eq!(items, ["clusters[0]", "clusters[0]", "clusters[1]", "listeners[0]", "resources[0]"]);
    assert_eq!(findings, [""; 0]);
}

#[test]
fn every_section_has_its_kind() {
    let text = "version: 1\nlisteners: [{}]\nroute_configs: [{}]\nclusters: [{}]\nload_assignments: [{}]\nsecrets: [{}]\n\
                runtimes: [{}]\nextension_configs: [{}]\nresources: [{}]\n";
    let topology = parse(&[document("t.yaml", text)], &mut Files::new(), &mut Findings::new());
    let kinds: Vec<_> = topology.items.iter().map(|item| item.kind).collect();
    let kind = |kind| Some(kind);
    assert_eq!(
        kinds,
        [
            kind(Kind::Listener),
            kind(Kind::Route),
            kind(Kind::Cluster),
            kind(Kind::Endpoint),
            kind(Kind::Secret),
            kind(Kind::Runtime),
            kind(Kind::ExtensionConfig),
            None
        ]
    );
    assert_eq!(section_of(Kind::Cluster), "clusters");
    assert_eq!(section_of(Kind::ScopedRoute), "resources");
}

#[test]
fn nothing_is_never_taken_for_remove_everything() {
    for text in ["", "# a comment\n", "null\n", "---\n"] {
        assert_eq!(findings(text), ["t.yaml:1:1: error[empty-topology]: this file is empty"], "{text:?}");
    }
    let no_section = ["t.yaml:1:1: error[empty-topology]: no section says what there is to serve"];
    for text in ["version: 1\n", "version: 1\nclusters:\n", "version: 1\nx-a: 1\nstatic_resources: {clusters: [a]}\n"] {
        assert_eq!(findings(text), no_section, "{text:?}");
    }
    assert_eq!(outcome(&[]).1, ["error[empty-topology]: no section says what there is to serve"]);
    assert_eq!(findings("version: 1\nlisteners: []\n"), [""; 0]);
    let full = "version: 1\nclusters: []\n";
    let (_, beside) = outcome(&[document("a.yaml", full), document("b.yaml", "")]);
    assert_eq!(beside, ["b.yaml:1:1: error[empty-topology]: this file is empty"]);
}

#[test]
fn each_document_states_its_version() {
    let table = [
        (
            "clusters: []\n",
            "t.yaml:1:1: error[missing-version]: this document does not say which version of the language it is written in",
        ),
        (
            "version:\nclusters: []\n",
            "t.yaml:1:1: error[missing-version]: this document does not say which version of the language it is written in",
        ),
        (
            "version: 2\nclusters: []\n",
            "t.yaml:1:10: error[unsupported-version]: version 2 of the language is not known",
        ),
        (
            "version: 1.0\nclusters: []\n",
            "t.yaml:1:10: error[unsupported-version]: version 1.0 of the language is not known",
        ),
        (
            "version: \"1\"\nclusters: []\n",
            "t.yaml:1:10: error[unsupported-version]: `version` must be the number 1, not a string",
        ),
        (
            "version: 1\nclusters: []\n---\nclusters: []\n",
            "t.yaml:4:1: error[missing-version]: this document does not say which version of the language it is written in",
        ),
    ];
    for (text, expected) in table {
        assert_eq!(findings(text), [expected], "{text:?}");
    }
}

#[test]
fn mistakes_in_the_outline_have_a_place_and_a_hint() {
    let table = [
        ("version: 1\nlistener: []\n", "t.yaml:2:1: error[unknown-key]: there is no section `listener`"),
        (
            "version: 1\nclusters: {name: a}\n",
            "t.yaml:2:11: error[wrong-type]: `clusters` must be a list of mappings, not a mapping",
        ),
        (
            "version: 1\nclusters: [a]\n",
            "t.yaml:2:12: error[wrong-type]: an item of `clusters` must be a mapping, not a string",
        ),
        (
            "version: 1\nclusters: []\nstatic_resources: [a]\n",
            "t.yaml:3:19: error[wrong-type]: `static_resources` must be a mapping of lists of names, not a list",
        ),
        (
            "version: 1\nclusters: []\nstatic_resources: {routes: [a]}\n",
            "t.yaml:3:20: error[unknown-key]: `routes` cannot be named here",
        ),
        (
            "version: 1\nclusters: []\nstatic_resources: {clusters: [{name: a}]}\n",
            "t.yaml:3:31: error[wrong-type]: a name is expected here, not a mapping",
        ),
        (
            "version: 1\nclusters: []\nstatic_resources: {clusters: a}\n",
            "t.yaml:3:30: error[wrong-type]: `static_resources.clusters` must be a list of names, not a string",
        ),
        (
            "- version: 1\n",
            "t.yaml:1:1: error[wrong-type]: a topology is a mapping with `version: 1` and sections, not a list",
        ),
        (
            "version: 1\nclusters: []\nclusters: []\n",
            "t.yaml:3:1: error[duplicate-key]: the key `clusters` is given twice in one mapping",
        ),
    ];
    for (text, expected) in table {
        assert_eq!(findings(text), [expected], "{text:?}");
    }
    let mut found = Findings::new();
    parse(&[document("t.yaml", "version: 1\nlistener: []\n")], &mut Files::new(), &mut found);
    assert_eq!(found.as_slice()[0].help.as_deref(), Some("did you mean `listeners`?"));
}

#[test]
fn bytes_that_are_not_utf8_are_pointed_at() {
    let (_, findings) = outcome(&[document("t.yaml", b"version: 1\nclusters: [{name: \xc3\xa9\xff}]\n")]);
    assert_eq!(
        findings,
        ["t.yaml:2:20: error[not-utf8]: this file is not UTF-8: the byte 0xff stands for no character"]
    );
    let (_, findings) = outcome(&[document("t.yaml", b"\xff\xfev\0")]);
    assert_eq!(
        findings,
        ["t.yaml:1:1: error[not-utf8]: this file is not UTF-8: the byte 0xff stands for no character"]
    );
}

#[test]
fn a_byte_order_mark_moves_no_column() {
    let (_, findings) = outcome(&[document("t.yaml", "\u{feff}vresion: 1\nversion: 1\nclusters: []\n")]);
    assert_eq!(findings, ["t.yaml:1:1: error[unknown-key]: there is no section `vresion`"]);
}

#[test]
fn names_of_static_resources_are_joined() {
    let text = "version: 1\nclusters: []\nstatic_resources: {clusters: [a], secrets: [s]}\n---\nversion: 1\nstatic_resources: {clusters: [b]}\n";
    let topology = parse(&[document("t.yaml", text)], &mut Files::new(), &mut Findings::new());
    assert_eq!(topology.static_resources.clusters, ["a", "b"]);
    assert_eq!(topology.static_resources.secrets, ["s"]);
}
