//! The two verdicts on one configuration.

use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use chancery::diagnostic::{Finding, Level};
use chancery::envoy::Schema;
use chancery::pipeline::{self, World};
use chancery::source::{Document, Recorder};
use serde_json::{Value, json};
use tokio::process::Command;

use crate::support::tools::Release;

/// The sections of a static configuration, and what stands in them.
pub(super) const SECTIONS: [(&str, &str); 3] = [
    ("listeners", "envoy.config.listener.v3.Listener"),
    ("clusters", "envoy.config.cluster.v3.Cluster"),
    ("secrets", "envoy.extensions.transport_sockets.tls.v3.Secret"),
];

/// Longer than any configuration takes on a busy machine.
const PATIENCE: Duration = Duration::from_mins(1);

/// Some moment: nothing here depends on it but the age of certificates.
const NOW: i64 = 1_790_000_000;

/// What Envoy makes of a configuration.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Class {
    Accepted,
    /// It cannot be read: it is no message of Envoy's.
    Parse,
    /// A value breaks a rule that is written on its field.
    Rule,
    /// Anything else: what only the code of an extension knows, or the host.
    Meaning,
    /// Envoy itself broke.
    Crash,
}

/// The errors that `chancery check` finds in the resources of a static configuration.
pub(super) fn ours(schema: &Schema, config: &Value) -> Vec<Finding> {
    let mut resources = Vec::new();
    for (section, message) in SECTIONS {
        for resource in config["static_resources"][section].as_array().into_iter().flatten() {
            let mut typed = serde_json::Map::new();
            typed.insert("@type".to_owned(), format!("type.googleapis.com/{message}").into());
            typed.extend(resource.as_object().cloned().unwrap_or_default());
            resources.push(Value::Object(typed));
        }
    }
    // YAML takes this character only as an escape.
    let topology = json!({"version": 1, "resources": resources}).to_string().replace('\u{7f}', "\\u007f");
    let document = Document { name: "topology.yaml".into(), bytes: topology.into_bytes().into() };
    let compiled = pipeline::compile(schema, &[document], &World { attachments: &Recorder::new(), now: NOW });
    compiled.report.findings().iter().filter(|finding| finding.level == Level::Error).cloned().collect()
}

/// What Envoy says of a static configuration, in one line.
pub(super) async fn envoys(dir: &Path, number: usize, config: &Value) -> (Class, String) {
    let path = dir.join(format!("{number}.json"));
    std::fs::write(&path, config.to_string()).unwrap();
    let run = Command::new(Release::Described.envoy())
        .args(["--mode", "validate", "--concurrency", "1", "--disable-hot-restart"])
        .args(["--log-level", "error", "--log-format", "%v", "--config-path"])
        .arg(&path)
        // Access logs are opened, whatever their paths are.
        .current_dir(dir)
        .stdin(Stdio::null())
        .kill_on_drop(true)
        .output();
    let output = tokio::time::timeout(PATIENCE, run).await.expect("Envoy ends").expect("Envoy starts");
    std::fs::remove_file(&path).unwrap();
    if output.status.success() {
        return (Class::Accepted, String::new());
    }
    let text = String::from_utf8_lossy(&output.stderr);
    let message = text.split_once("error initializing configuration '").and_then(|(_, rest)| rest.split_once("': "));
    match (output.status.code(), message) {
        (Some(1), Some((_, message))) => (class(message), shortened(message)),
        _ => (Class::Crash, format!("{}: {}", output.status, shortened(&text))),
    }
}

fn shortened(message: &str) -> String {
    let line = message.split_whitespace().collect::<Vec<_>>().join(" ");
    line.chars().take(900).collect()
}

fn class(message: &str) -> Class {
    let any = |parts: &[&str]| parts.iter().any(|part| message.contains(part));
    if any(&["Proto constraint validation failed", "ProtoValidationError"]) {
        Class::Rule
    } else if any(&["Unable to parse JSON as proto", "has unknown fields", "Unable to unpack"]) {
        Class::Parse
    } else {
        Class::Meaning
    }
}
