//! Asking a real Envoy: its verdict on the static form of what is served, as findings.
//!
//! Envoy stops at its first mistake and has no notion of our files; what it says is matched with names and texts of the
//! resources that it was given.

use std::io::Write as _;
use std::path::Path;
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use anyhow::{Context as _, bail};
use serde_json::Value;
use tokio::io::{AsyncRead, AsyncReadExt as _};
use tokio::process::{Child, Command};

use super::render;
use super::static_bootstrap::{self, Native, Setting, Static};
use crate::diagnostic::{Finding, Level, Report, Span};
use crate::envoy::json::Redact;
use crate::envoy::{Kind, Schema};
use crate::pipeline::Compiled;

/// The code of every finding that is made here.
const CODE: &str = "envoy";

/// Validating does not start anything, so that even large configurations take a few seconds.
const TIMEOUT: Duration = Duration::from_secs(20);

/// As much of Envoy's output as is looked at, in bytes; some of its messages repeat the whole resource.
const MAX_OUTPUT: u64 = 256 * 1024;

/// As much of Envoy's message as a finding shows, in characters.
const MAX_MESSAGE: usize = 600;

/// A text that is shorter is in too many messages by chance.
const MIN_TEXT: usize = 3;

/// Adds the verdict on each node group to the report, which must have no errors.
///
/// # Errors
/// If the binary cannot be run, is no Envoy, or does not end in time.
pub(super) fn report(binary: &Path, schema: &Schema, compiled: &mut Compiled) -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let Compiled { report, groups, static_resources, selectors: _ } = compiled;
    for (group, resources) in groups {
        let setting = Setting { clusters: &static_resources.clusters, node_cluster: group, admin: None };
        let natives = || render::natives(schema, resources, Redact::No);
        let Static { config, left_out } = static_bootstrap::build(schema, natives(), &setting);
        for note in left_out {
            report.add(finding(Level::Info, None, &format!("Envoy was not asked about everything: {note}")));
        }
        if let Some(message) = runtime.block_on(validate(binary, &config))? {
            let culprit = culprit(&message, &natives());
            let span = culprit.as_ref().and_then(|resource| span(report, &resource.origin));
            let message = format!("Envoy refuses this: {}", shortened(&message));
            let path = culprit.map(|Native { kind, name, .. }| format!("{kind} {name}")).unwrap_or_default();
            report.add(Finding { path, ..finding(Level::Error, span, &message) });
        }
    }
    Ok(())
}

fn finding(level: Level, span: Option<Span>, message: &str) -> Finding {
    Finding { level, span, ..Finding::error(CODE, Span::default(), "", message) }
}

/// What Envoy has against a configuration; `None` if it would start with it.
async fn validate(binary: &Path, config: &Value) -> anyhow::Result<Option<String>> {
    // Readable for its owner alone, for it may hold private keys.
    let mut file = tempfile::Builder::new().prefix("chancery-").suffix(".json").tempfile()?;
    file.write_all(config.to_string().as_bytes()).context("cannot write a temporary file")?;
    let shown = binary.display();
    let mut child = Command::new(binary)
        .args(["--mode", "validate", "--log-level", "error", "--log-format", "%v", "-c"])
        .arg(file.path())
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .with_context(|| format!("cannot run {shown}; --envoy is the path of an Envoy binary"))?;
    let ended = tokio::time::timeout(TIMEOUT, output(&mut child)).await;
    let (status, stdout, stderr) = ended.with_context(|| {
        format!("{shown} did not end within {}; is it an Envoy?", humantime::format_duration(TIMEOUT))
    })??;
    if status.success() && stdout.contains("OK") {
        return Ok(None);
    }
    if let Some((_, message)) = stderr.split_once("error initializing configuration '") {
        let message = message.split_once("': ").map_or(message, |(_, message)| message);
        return Ok(Some(message.trim().to_owned()));
    }
    let said = shortened(if stderr.trim().is_empty() { stdout.trim() } else { stderr.trim() });
    bail!("{shown} gave no verdict ({status}); is it an Envoy? it said: {said}");
}

async fn output(child: &mut Child) -> anyhow::Result<(ExitStatus, String, String)> {
    let (stdout, stderr) = (child.stdout.take(), child.stderr.take());
    let (status, stdout, stderr) = tokio::join!(child.wait(), beginning(stdout), beginning(stderr));
    Ok((status?, stdout?, stderr?))
}

/// The beginning of an output; the rest is read as well, for otherwise the program would wait.
async fn beginning(pipe: Option<impl AsyncRead + Unpin>) -> std::io::Result<String> {
    let mut bytes = Vec::new();
    if let Some(mut pipe) = pipe {
        (&mut pipe).take(MAX_OUTPUT).read_to_end(&mut bytes).await?;
        tokio::io::copy(&mut pipe, &mut tokio::io::sink()).await?;
    }
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

fn shortened(message: &str) -> String {
    let mut lines = message.split_whitespace().collect::<Vec<_>>().join(" ");
    if let Some((end, _)) = lines.char_indices().nth(MAX_MESSAGE) {
        lines.truncate(end);
        lines.push('…');
    }
    lines
}

/// The resource that a message is about: one that it names, or one that holds a text which it cites. Longer texts say more;
/// of equal names, that whose kind is mentioned.
fn culprit(message: &str, resources: &[Native]) -> Option<Native> {
    let named = resources.iter().filter(|resource| cites(message, &resource.name));
    let named = named.max_by_key(|it| (it.name.len(), mentions(message, it.kind), std::cmp::Reverse(it.kind)));
    let found = named.or_else(|| {
        let cited = resources.iter().map(|resource| (longest_cited(message, &resource.json), resource));
        cited
            .filter(|(length, _)| *length > 0)
            .max_by_key(|(length, it)| (*length, std::cmp::Reverse(it.kind)))?
            .1
            .into()
    })?;
    let Native { kind, name, origin, json: _ } = found;
    Some(Native { kind: *kind, name: name.clone(), origin: origin.clone(), json: Value::Null })
}

fn mentions(message: &str, kind: Kind) -> bool {
    let message = message.to_ascii_lowercase();
    let words: &[&str] = match kind {
        Kind::Listener => &["listener"],
        Kind::Cluster => &["cluster"],
        Kind::Endpoint => &["load assignment", "endpoint"],
        Kind::Route => &["route"],
        Kind::VirtualHost => &["virtual host"],
        Kind::Secret => &["secret"],
        Kind::Runtime => &["runtime"],
        Kind::ExtensionConfig => &["extension"],
        Kind::ScopedRoute => &["scope"],
    };
    words.iter().any(|word| message.contains(word))
}

/// Whether a text stands in the message as a word of its own.
fn cites(message: &str, text: &str) -> bool {
    let word = |c: char| c.is_alphanumeric() || matches!(c, '_' | '-');
    !text.is_empty()
        && message.match_indices(text).any(|(start, _)| {
            let (before, after) = (&message[..start], &message[start + text.len()..]);
            !before.ends_with(word) && !after.starts_with(word)
        })
}

/// The length of the longest text inside a value that the message cites; 0 if it cites none.
fn longest_cited(message: &str, value: &Value) -> usize {
    match value {
        Value::String(text) if text.len() >= MIN_TEXT && cites(message, text) => text.len(),
        Value::Array(items) => items.iter().map(|item| longest_cited(message, item)).max().unwrap_or(0),
        Value::Object(map) => map.values().map(|value| longest_cited(message, value)).max().unwrap_or(0),
        _ => 0,
    }
}

/// The place that an origin, `file:line:column`, stands for.
fn span(report: &Report, origin: &str) -> Option<Span> {
    let (rest, column) = origin.rsplit_once(':')?;
    let (file, line) = rest.rsplit_once(':')?;
    Some(Span { file: report.file(file)?, line: line.parse().ok()?, column: column.parse().ok()?, len: 1 })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn native(kind: Kind, name: &str, json: Value) -> Native {
        Native { kind, name: name.to_owned(), origin: "t.yaml:3:3".to_owned(), json }
    }

    #[test]
    fn the_longest_name_wins_then_the_kind_that_is_mentioned() {
        let resources = [
            native(Kind::Cluster, "web", json!({})),
            native(Kind::Route, "web", json!({})),
            native(Kind::Listener, "web", json!({})),
            native(Kind::Listener, "web2", json!({})),
        ];
        let found = |message: &str| culprit(message, &resources).map(|it| (it.kind, it.name));
        let expected = |kind, name: &str| Some((kind, name.to_owned()));
        assert_eq!(found("listener 'web2' is odd, unlike web"), expected(Kind::Listener, "web2"));
        assert_eq!(found("Duplicate entry of domain a.com in route web"), expected(Kind::Route, "web"));
        assert_eq!(found("error adding listener: web"), expected(Kind::Listener, "web"));
        assert_eq!(found("webs, my_web and web-1"), None);
    }

    #[test]
    fn without_a_name_a_cited_text_tells() {
        let resources = [
            native(Kind::Cluster, "app", json!({"a": "b"})),
            native(Kind::Route, "table", json!({"virtual_hosts": [{"routes": [{"regex": "/(a"}]}]})),
        ];
        assert_eq!(culprit("missing ): /(a", &resources).map(|it| it.name), Some("table".to_owned()));
        assert!(culprit("something else", &resources).is_none());
    }

    #[test]
    fn long_messages_are_cut() {
        assert_eq!(shortened("a\n  b"), "a b");
        assert_eq!(shortened(&"é".repeat(MAX_MESSAGE * 2)).chars().count(), MAX_MESSAGE + 1);
    }
}
