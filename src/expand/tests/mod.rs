//! YAML in, native JSON out.

mod cluster;
mod data_source;
mod defaults;
mod extension;
mod listener;
mod mistakes;
mod patch;
mod route;
mod scalar;
mod tls;
mod whole;

use std::sync::{Arc, LazyLock};

use serde_json::{Value as Json, json};

use super::*;
use crate::diagnostic::{Files, Report};
use crate::source::Document;

/// No file is attached.
fn alone() -> Beside<'static> {
    static FILES: LazyLock<Files> = LazyLock::new(Files::new);
    static NONE: BTreeMap<&str, &[u8]> = BTreeMap::new();
    Beside { files: &FILES, attachments: &NONE }
}

/// The resources that a topology stands for and its findings, one line each.
fn outcome(text: &str) -> (Vec<Native>, Vec<String>) {
    outcome_beside(text, &BTreeMap::new())
}

/// The same with attached files.
fn outcome_beside(text: &str, attached: &BTreeMap<&str, &[u8]>) -> (Vec<Native>, Vec<String>) {
    let document = Document { name: "t.yaml".into(), bytes: text.as_bytes().into() };
    let (mut files, mut findings) = (Files::new(), Findings::new());
    let topology = crate::topology::parse(&[document], &mut files, &mut findings);
    let beside = Beside { files: &files, attachments: attached };
    let natives = expand(&Schema::embedded(), topology, beside, &mut findings);
    let report = Report::new(findings, Arc::new(files));
    let line = |finding: &Finding| report.render(finding).lines().next().unwrap().to_owned();
    (natives, report.findings().iter().map(line).collect())
}

/// The resources of a topology without mistakes.
fn natives(text: &str) -> Vec<Native> {
    let (natives, findings) = outcome(text);
    assert_eq!(findings, [""; 0], "{text}");
    natives
}

/// The errors that reading the resources strictly and checking their fields finds.
fn compiled(text: &str) -> Vec<String> {
    let schema = Schema::embedded();
    let mut findings = Findings::new();
    for Native { kind, node, path, .. } in outcome(text).0 {
        let message = schema.message(kind.message()).unwrap();
        let mut start = crate::envoy::Path::new();
        start.field(&path);
        crate::envoy::compile(&schema, &message, &node, &mut start, &mut findings);
    }
    let errors = findings.as_slice().iter().filter(|finding| finding.level == crate::diagnostic::Level::Error);
    errors.map(|finding| format!("{} {}: {}", finding.code, finding.path, finding.message)).collect()
}

/// Their JSON, by kind and name.
fn resources(text: &str) -> BTreeMap<String, Json> {
    let key = |native: &Native| format!("{} {}", native.kind, native.name);
    natives(text).into_iter().map(|native| (key(&native), json_of(&native.node))).collect()
}

/// The only resource of a topology without mistakes.
fn resource(text: &str) -> Json {
    let mut resources = resources(text);
    assert_eq!(resources.len(), 1, "{resources:#?}");
    resources.pop_first().unwrap().1
}

/// The findings of a topology with mistakes.
fn findings(text: &str) -> Vec<String> {
    outcome(text).1
}

fn json_of(node: &Node) -> Json {
    match &node.value {
        Value::Null => Json::Null,
        Value::Bool(value) => json!(value),
        Value::Number(text) => serde_json::from_str(text).unwrap_or_else(|_| json!({ "number": text })),
        Value::String(text) => json!(text),
        Value::List(items) => items.iter().map(json_of).collect(),
        Value::Map(entries) => entries.iter().map(|entry| (entry.key.clone(), json_of(&entry.value))).collect(),
    }
}

/// The configuration of the first filter of the first chain of a listener.
fn manager(listener: &Json) -> &Json {
    &listener["filter_chains"][0]["filters"][0]["typed_config"]
}

fn ads() -> Json {
    json!({ "ads": {}, "resource_api_version": "V3" })
}

fn router() -> Json {
    let url = "type.googleapis.com/envoy.extensions.filters.http.router.v3.Router";
    json!({ "name": "envoy.filters.http.router", "typed_config": { "@type": url } })
}
