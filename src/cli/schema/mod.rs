//! `chancery schema`: the topology language as JSON Schema, for editors.
//!
//! Enters: the descriptors, and what the expansion knows of hoisted keys and shorthands. Leaves: one schema (draft 7, which
//! editors know best) with a definition per message that a section can reach. It is meant for completion and for obvious
//! mistakes; what a topology means, only `check` knows. Invariant: whatever the language takes, the schema takes.

mod field;
mod message;
#[cfg(test)]
mod tests;

use std::io::Write as _;
use std::process::ExitCode;

use serde_json::{Map, Value, json};

use self::message::Definitions;
use crate::envoy::{Kind, Schema};
use crate::topology;

/// Print the JSON Schema of topology files.
///
/// For yaml-language-server, write it to a file and name that in the topology's first line:
/// `# yaml-language-server: $schema=topology.schema.json`.
#[derive(Clone, Debug, clap::Args)]
pub(super) struct Print {}

impl Print {
    #[allow(clippy::unused_self, reason = "it has the form of every command")]
    pub(super) fn run(self) -> anyhow::Result<ExitCode> {
        let schema = generate(&Schema::embedded());
        writeln!(std::io::stdout().lock(), "{schema:#}")?;
        Ok(ExitCode::SUCCESS)
    }
}

/// The whole schema. The same descriptors give the same text.
fn generate(schema: &Schema) -> Value {
    let mut definitions = Definitions::new(schema);
    let mut sections = Map::new();
    for kind in Kind::ALL {
        let section = topology::section_of(kind);
        if let (Some(message), true) = (schema.message(kind.message()), section != "resources") {
            let item = json!({"allOf": [definitions.reference(&message), {"required": [kind.name_field()]}]});
            sections.insert(section.to_owned(), json!({"type": ["array", "null"], "items": item}));
        }
    }
    let resource_types: Vec<&str> = Kind::ALL.into_iter().map(Kind::type_url).collect();
    let typed = json!({
        "type": "object",
        "required": ["@type"],
        "properties": {"@type": {"enum": resource_types}},
    });
    let names = json!({"type": ["array", "null"], "items": {"type": "string"}});
    let mut properties = Map::new();
    properties.insert("version".to_owned(), json!({"const": 1}));
    properties
        .insert("node_group".to_owned(), json!({"type": ["string", "array", "null"], "items": {"type": "string"}}));
    properties.insert("node_groups".to_owned(), node_groups());
    properties.insert(
        "static_resources".to_owned(),
        json!({
            "type": ["object", "null"],
            "properties": {"clusters": names, "listeners": names, "secrets": names},
            "additionalProperties": false,
        }),
    );
    properties.extend(sections);
    properties.insert("resources".to_owned(), json!({"type": ["array", "null"], "items": typed}));
    properties.insert(
        "patches".to_owned(),
        json!({"type": ["array", "null"], "items": {"allOf": [typed, {"required": ["name", "merge"]}]}}),
    );
    json!({
        "$schema": "http://json-schema.org/draft-07/schema#",
        "title": "Chancery topology",
        "type": "object",
        "required": ["version"],
        "properties": properties,
        "patternProperties": {"^x-": true},
        "additionalProperties": false,
        "definitions": definitions.finish(),
    })
}

fn node_groups() -> Value {
    json!({
        "type": ["array", "null"],
        "items": {
            "type": "object",
            "required": ["name"],
            "properties": {"name": {"type": "string"}, "match": {"type": ["object", "array", "null"]}},
            "additionalProperties": false,
        },
    })
}
