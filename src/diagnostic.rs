//! Findings: what is wrong, where, and what to do about it.
//!
//! Every stage adds to one [`Findings`]; a [`Report`] joins them with the sources, so that they can be shown with
//! file, line, column and the offending text. This module is a leaf: it knows nothing of YAML or Envoy.

use std::borrow::Cow;
use std::fmt::Write as _;
use std::sync::Arc;

use serde::Serialize;
use serde::ser::SerializeStruct as _;

/// Names one of the source files of a [`Files`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FileId(pub u32);

/// A stretch of source text: 1-based line, 1-based column counted in characters, and a length in characters.
///
/// A column of 0 means that only the file is known.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Span {
    /// The file that holds the text.
    pub file: FileId,
    /// 1-based line.
    pub line: u32,
    /// 1-based column in characters.
    pub column: u32,
    /// Characters to underline; at least one is drawn.
    pub len: u32,
}

/// How much a finding matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Level {
    /// Nothing is published.
    Error,
    /// Suspicious, or dependent on what the control plane cannot see.
    Warning,
    /// Worth knowing; shown on request only.
    Info,
}

impl Level {
    /// The word printed before a finding's code.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Error => "error",
            Self::Warning => "warning",
            Self::Info => "info",
        }
    }
}

/// One thing that is wrong, suspicious or worth knowing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// How much it matters.
    pub level: Level,
    /// A stable kebab-case word, independent of the level.
    pub code: &'static str,
    /// Where, if it has a place in a source file.
    pub span: Option<Span>,
    /// The field path, such as `clusters[0].connect_timeout`; may be empty.
    pub path: String,
    /// What is wrong.
    pub message: String,
    /// What to do, where there is a remedy.
    pub help: Option<String>,
    /// Other places that matter, such as the first of two duplicates.
    pub related: Vec<(Span, String)>,
}

impl Finding {
    /// An error without help or related places.
    pub fn error(code: &'static str, span: Span, path: impl Into<String>, message: impl Into<String>) -> Self {
        Self {
            level: Level::Error,
            code,
            span: Some(span),
            path: path.into(),
            message: message.into(),
            help: None,
            related: Vec::new(),
        }
    }

    /// A warning without help or related places.
    pub fn warning(code: &'static str, span: Span, path: impl Into<String>, message: impl Into<String>) -> Self {
        Self { level: Level::Warning, ..Self::error(code, span, path, message) }
    }

    /// Adds the remedy.
    #[must_use]
    pub fn help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(help.into());
        self
    }

    /// Adds another place that matters.
    #[must_use]
    pub fn related(mut self, span: Span, label: impl Into<String>) -> Self {
        self.related.push((span, label.into()));
        self
    }
}

/// Collects the findings of all stages.
#[derive(Clone, Debug, Default)]
pub struct Findings(Vec<Finding>);

impl Findings {
    /// An empty collection.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds one finding.
    pub fn push(&mut self, finding: Finding) {
        self.0.push(finding);
    }

    /// Adds all findings of another collection.
    pub fn append(&mut self, other: Self) {
        self.0.extend(other.0);
    }

    /// True if any finding is an error.
    pub fn has_errors(&self) -> bool {
        self.0.iter().any(|finding| finding.level == Level::Error)
    }

    /// The findings in the order in which they were made.
    pub fn as_slice(&self) -> &[Finding] {
        &self.0
    }

    /// How many findings there are; with [`Findings::as_slice`], a mark for "what this step found".
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// True if there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// One source file as it was read.
#[derive(Clone, Debug)]
struct File {
    name: Arc<str>,
    text: Arc<str>,
}

/// The source files that spans point into.
#[derive(Clone, Debug, Default)]
pub struct Files(Vec<File>);

impl Files {
    /// No files.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a file and returns its id.
    ///
    /// # Panics
    /// If there are more than `u32::MAX` files.
    pub fn add(&mut self, name: impl Into<Arc<str>>, text: impl Into<Arc<str>>) -> FileId {
        let id = FileId(u32::try_from(self.0.len()).expect("fewer than 2^32 files"));
        self.0.push(File { name: name.into(), text: text.into() });
        id
    }

    /// The file's name, as it was given on the command line or found in a directory.
    pub fn name(&self, id: FileId) -> Option<&Arc<str>> {
        self.0.get(id.0 as usize).map(|file| &file.name)
    }

    /// The text of a 1-based line, without its line ending.
    pub fn line(&self, id: FileId, line: u32) -> Option<&str> {
        let text = &self.0.get(id.0 as usize)?.text;
        text.split('\n').nth((line as usize).checked_sub(1)?).map(|line| line.strip_suffix('\r').unwrap_or(line))
    }

    /// Whether a 1-based line holds a private key or a part of one, so that it must not be shown.
    fn is_private(&self, id: FileId, line: u32) -> bool {
        let Some(File { text, .. }) = self.0.get(id.0 as usize) else { return false };
        let mut inside = false;
        for (position, text) in text.split('\n').take(line as usize).enumerate() {
            let begins = text.contains(KEY_BEGINS) && text.contains("-----BEGIN") || text.contains(KEY_BEGINS_BASE64);
            let ends = text.contains("-----END");
            if position + 1 == line as usize {
                return inside || begins || (ends && text.contains(KEY_BEGINS));
            }
            inside = (inside || begins && !text.contains(KEY_BEGINS_BASE64)) && !ends;
        }
        false
    }
}

/// What the first and the last line of a private key in PEM have in common.
const KEY_BEGINS: &str = "PRIVATE KEY-----";

/// `-----BEGIN` in base64.
const KEY_BEGINS_BASE64: &str = "LS0tLS1CRUdJTi";

/// What is shown instead.
const HIDDEN: &str = "[private key]";

/// The text with every private key in PEM left out.
pub fn without_keys(text: &str) -> Cow<'_, str> {
    if !text.contains(KEY_BEGINS) {
        return Cow::Borrowed(text);
    }
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(position) = rest.find(KEY_BEGINS) {
        let start = rest[..position].rfind("-----BEGIN").unwrap_or(position);
        out.push_str(&rest[..start]);
        out.push_str(HIDDEN);
        let after = &rest[position + KEY_BEGINS.len()..];
        rest = after.find(KEY_BEGINS).map_or("", |end| &after[end + KEY_BEGINS.len()..]);
    }
    out.push_str(rest);
    Cow::Owned(out)
}

/// Findings joined with the sources that they point into, sorted by place.
#[derive(Clone, Debug, Default)]
pub struct Report {
    findings: Vec<Finding>,
    files: Arc<Files>,
}

impl Report {
    /// Sorts the findings by file and position and drops repetitions.
    pub fn new(findings: Findings, files: Arc<Files>) -> Self {
        let mut findings = findings.0;
        findings.sort_by(|a, b| (a.span, a.level, a.code, &a.message).cmp(&(b.span, b.level, b.code, &b.message)));
        findings.dedup_by(|a, b| a.span == b.span && a.code == b.code && a.message == b.message);
        Self { findings, files }
    }

    /// The findings, sorted.
    pub fn findings(&self) -> &[Finding] {
        &self.findings
    }

    /// True if any finding is an error.
    pub fn has_errors(&self) -> bool {
        self.count(Level::Error) > 0
    }

    /// How many findings have this level.
    pub fn count(&self, level: Level) -> usize {
        self.findings.iter().filter(|finding| finding.level == level).count()
    }

    /// Makes every warning an error, for `--strict`.
    #[must_use]
    pub fn strict(mut self) -> Self {
        for finding in &mut self.findings {
            if finding.level == Level::Warning {
                finding.level = Level::Error;
            }
        }
        self
    }

    /// `file:line:column`, or as much of it as is known.
    pub fn place(&self, span: Span) -> String {
        let name = self.files.name(span.file).map_or("<input>", std::convert::AsRef::as_ref);
        if span.column == 0 { name.to_owned() } else { format!("{name}:{}:{}", span.line, span.column) }
    }

    /// One finding as text: its place, level, code and message, the source line, related places and help.
    pub fn render(&self, finding: &Finding) -> String {
        let mut out = String::new();
        if let Some(span) = finding.span {
            out.push_str(&self.place(span));
            out.push_str(": ");
        }
        let Finding { level, code, message, .. } = finding;
        _ = writeln!(out, "{}[{code}]: {}", level.as_str(), printable(message));
        if let Some(span) = finding.span {
            self.snippet(&mut out, span, "");
        }
        for (span, label) in &finding.related {
            _ = writeln!(out, "{}: note: {}", self.place(*span), printable(label));
            self.snippet(&mut out, *span, "");
        }
        if let Some(help) = &finding.help {
            _ = writeln!(out, "help: {}", printable(help));
        }
        out
    }

    /// All findings of at least this level as text, a blank line between them.
    pub fn render_all(&self, least: Level) -> String {
        let shown = self.findings.iter().filter(|finding| finding.level <= least);
        shown.map(|finding| self.render(finding)).collect::<Vec<_>>().join("\n")
    }

    fn snippet(&self, out: &mut String, span: Span, label: &str) {
        if span.column == 0 {
            return;
        }
        let Some(line) = self.files.line(span.file, span.line) else { return };
        if self.files.is_private(span.file, span.line) {
            _ = writeln!(out, "{} | {HIDDEN}", span.line);
            return;
        }
        let (text, before) = crop(line, span.column as usize - 1);
        let rest = text.chars().count().saturating_sub(before).max(1);
        let width = (span.len as usize).clamp(1, rest);
        let number = span.line.to_string();
        let margin = " ".repeat(number.len());
        _ = writeln!(out, "{margin} |");
        _ = writeln!(out, "{number} | {}", printable(&text));
        _ = writeln!(out, "{margin} | {}{}{label}", " ".repeat(before), "^".repeat(width));
    }
}

/// Widest stretch of a source line that a snippet shows.
const SNIPPET_WIDTH: usize = 120;

/// Cuts a long line around `column` (0-based); returns the text and the column in it.
fn crop(line: &str, column: usize) -> (String, usize) {
    if line.chars().count() <= SNIPPET_WIDTH {
        return (line.to_owned(), column);
    }
    let start = column.saturating_sub(SNIPPET_WIDTH / 3);
    let mut text: String = line.chars().skip(start).take(SNIPPET_WIDTH).collect();
    let mut before = column - start;
    if start > 0 {
        text.insert_str(0, "... ");
        before += 4;
    }
    (text, before)
}

/// Tabs become one space, so that carets line up; other control characters (terminal escapes) are made visible.
fn printable(text: &str) -> String {
    without_keys(text)
        .chars()
        .map(|c| match c {
            '\t' => ' ',
            '\n' => '\n',
            c if c.is_control() => '\u{fffd}',
            c => c,
        })
        .collect()
}

impl Serialize for Report {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(self.findings.iter().map(|finding| Located { finding, report: self }))
    }
}

/// A finding with the file names that its spans stand for.
struct Located<'a> {
    finding: &'a Finding,
    report: &'a Report,
}

impl Serialize for Located<'_> {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let Finding { level, code, span, path, message, help, related } = self.finding;
        let place = |span: Span| Place {
            file: self.report.files.name(span.file).map(ToString::to_string),
            line: (span.column > 0).then_some(span.line),
            column: (span.column > 0).then_some(span.column),
        };
        let mut out = serializer.serialize_struct("Finding", 9)?;
        out.serialize_field("level", level)?;
        out.serialize_field("code", code)?;
        let Place { file, line, column } = span.map(place).unwrap_or_default();
        out.serialize_field("file", &file)?;
        out.serialize_field("line", &line)?;
        out.serialize_field("column", &column)?;
        out.serialize_field("path", path)?;
        out.serialize_field("message", &without_keys(message))?;
        out.serialize_field("help", &help.as_deref().map(without_keys))?;
        let related: Vec<_> = related.iter().map(|(span, label)| Related { place: place(*span), label }).collect();
        out.serialize_field("related", &related)?;
        out.end()
    }
}

#[derive(Default, Serialize)]
struct Place {
    file: Option<String>,
    line: Option<u32>,
    column: Option<u32>,
}

#[derive(Serialize)]
struct Related<'a> {
    #[serde(flatten)]
    place: Place,
    label: &'a str,
}

/// The candidate closest to `word`, if one is close enough to be what was meant.
pub fn did_you_mean<'a>(word: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let lower = word.to_lowercase();
    candidates
        .into_iter()
        .map(|candidate| (strsim::damerau_levenshtein(&lower, &candidate.to_lowercase()), candidate))
        .filter(|(distance, candidate)| *distance <= 1 + candidate.chars().count() / 4)
        .min()
        .map(|(_, candidate)| candidate)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_finding_shows_place_snippet_and_help() {
        let mut files = Files::new();
        let file = files.add("topology.yaml", "clusters:\n- nmae: a\n");
        let mut findings = Findings::new();
        let span = Span { file, line: 2, column: 3, len: 4 };
        findings.push(
            Finding::error("unknown-field", span, "clusters[0].nmae", "unknown field `nmae`")
                .help("did you mean `name`?"),
        );
        let report = Report::new(findings, Arc::new(files));
        assert_eq!(
            report.render_all(Level::Warning),
            "topology.yaml:2:3: error[unknown-field]: unknown field `nmae`\n  |\n2 | - nmae: a\n  |   ^^^^\nhelp: did you mean `name`?\n"
        );
        let json = serde_json::to_value(&report).unwrap();
        assert_eq!(json[0]["line"], 2);
        assert_eq!(json[0]["column"], 3);
        assert_eq!(json[0]["file"], "topology.yaml");
    }

    #[test]
    fn long_lines_are_cropped_and_escapes_made_harmless() {
        let mut files = Files::new();
        let file = files.add("t", format!("{}\u{1b}[31mX", " ".repeat(500)));
        let mut findings = Findings::new();
        findings.push(Finding::error("c", Span { file, line: 1, column: 506, len: 1 }, "", "m"));
        let text = Report::new(findings, Arc::new(files)).render_all(Level::Error);
        assert!(!text.contains('\u{1b}'));
        assert!(text.lines().all(|line| line.chars().count() < 140), "{text}");
    }

    #[test]
    fn private_keys_are_shown_in_no_form() {
        let key = "-----BEGIN EC PRIVATE KEY-----\nAAAA\n-----END EC PRIVATE KEY-----";
        assert_eq!(without_keys(&format!("a {key} b {key}")), "a [private key] b [private key]");
        assert_eq!(without_keys(&key[..38]), "[private key]");
        assert_eq!(without_keys("-----BEGIN CERTIFICATE-----"), "-----BEGIN CERTIFICATE-----");
        let mut files = Files::new();
        let file = files.add("t", format!("a: |\n{key}\nb: LS0tLS1CRUdJTiBQ\nc: 1\n"));
        let shown: Vec<bool> = (1..=6).map(|line| files.is_private(file, line)).collect();
        assert_eq!(shown, [false, true, true, true, true, false]);
    }

    #[test]
    fn suggestions_are_close_or_absent() {
        assert_eq!(did_you_mean("bakend", ["backend", "frontend"]), Some("backend"));
        assert_eq!(did_you_mean("zzz", ["backend"]), None);
    }
}
