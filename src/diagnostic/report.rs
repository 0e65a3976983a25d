//! Findings as people and programs read them.

use std::fmt::Write as _;
use std::sync::Arc;

use serde::Serialize;
use serde::ser::SerializeStruct as _;

use super::{FileId, Files, Finding, Findings, Level, Span, mask};

/// Findings joined with the sources that they point into, sorted by place.
#[derive(Clone, Debug, Default)]
pub struct Report {
    findings: Vec<Finding>,
    files: Arc<Files>,
}

impl Report {
    /// Sorts the findings by file, in the order in which the files were added, and position, and drops repetitions.
    pub fn new(findings: Findings, files: Arc<Files>) -> Self {
        let mut findings = findings.0;
        findings.iter_mut().for_each(shorten);
        let rank = |finding: &Finding| finding.span.and_then(|span| files.rank(span.file));
        findings.sort_by(|a, b| {
            (rank(a), a.span, a.level, a.code, &a.message).cmp(&(rank(b), b.span, b.level, b.code, &b.message))
        });
        findings.dedup_by(|a, b| a.span == b.span && a.code == b.code && a.message == b.message);
        Self { findings, files }
    }

    /// Adds what is found after the stages are done.
    pub fn add(&mut self, finding: Finding) {
        let mut findings = Findings(std::mem::take(&mut self.findings));
        findings.push(finding);
        *self = Self::new(findings, Arc::clone(&self.files));
    }

    /// The source file of this name.
    pub fn file(&self, name: &str) -> Option<FileId> {
        self.files.id(name)
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
        _ = writeln!(out, "{}[{code}]: {}", level.as_str(), printable(&mask::text(message)));
        if let Some(span) = finding.span {
            self.snippet(&mut out, span, "");
        }
        for (span, label) in &finding.related {
            _ = writeln!(out, "{}: note: {}", self.place(*span), printable(&mask::text(label)));
            self.snippet(&mut out, *span, "");
        }
        if let Some(help) = &finding.help {
            _ = writeln!(out, "help: {}", printable(&mask::text(help)));
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
        let Some(line) = mask::line(&self.files, span.file, span.line) else { return };
        let (text, before) = crop(&line, span.column as usize - 1);
        let rest = text.chars().count().saturating_sub(before).max(1);
        let width = (span.len as usize).clamp(1, rest);
        let number = span.line.to_string();
        let margin = " ".repeat(number.len());
        _ = writeln!(out, "{margin} |");
        _ = writeln!(out, "{number} | {}", printable(&text));
        _ = writeln!(out, "{margin} | {}{}{label}", " ".repeat(before), "^".repeat(width));
    }
}

/// Longest text of a finding, in bytes: it may quote a value of any length.
const LONGEST_TEXT: usize = 4 << 10;

/// Cuts texts that quote too much. What is a secret is hidden first: half of one may not look like one.
fn shorten(finding: &mut Finding) {
    let Finding { message, path, related, help, .. } = finding;
    let labels = related.iter_mut().map(|(_, label)| label);
    for text in [message, path].into_iter().chain(labels).chain(help) {
        if text.len() > LONGEST_TEXT {
            *text = mask::text(text);
            text.truncate(text.floor_char_boundary(LONGEST_TEXT));
            text.push('…');
        }
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
    text.chars()
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
        out.serialize_field("path", &mask::text(path))?;
        out.serialize_field("message", &mask::text(message))?;
        out.serialize_field("help", &help.as_deref().map(mask::text))?;
        let related: Vec<_> =
            related.iter().map(|(span, label)| Related { place: place(*span), label: mask::text(label) }).collect();
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
struct Related {
    #[serde(flatten)]
    place: Place,
    label: String,
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
    fn a_finding_is_short_whatever_it_quotes() {
        let mut files = Files::new();
        let file = files.add("t", format!("{}x", " ".repeat(20_000)));
        let mut findings = Findings::new();
        let message = format!("`{}{}` is odd", "é ".repeat(5_000), "A1".repeat(50));
        findings.push(Finding::error("c", Span { file, line: 1, column: 20_001, len: 1 }, "", message));
        let text = Report::new(findings, Arc::new(files)).render_all(Level::Error);
        assert!(text.starts_with("t:1:20001: error[c]: `é é ") && text.ends_with("…\n"), "{text}");
        assert!(text.len() < 5_000 && text.lines().count() == 1, "{text}");
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
}
