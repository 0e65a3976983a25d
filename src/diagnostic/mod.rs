//! Findings: what is wrong, where, and what to do about it.
//!
//! Every stage adds to one [`Findings`]; a [`Report`] joins them with the sources, so that they can be shown with
//! file, line, column and the offending text. This module is a leaf: it knows nothing of YAML or Envoy.
//! Invariant: what leaves through a report shows no key material, even where the text around it cannot be understood.

mod files;
mod mask;
mod report;
mod suggest;

use serde::Serialize;

pub use files::Files;
pub(crate) use mask::text as without_secrets;
pub use report::Report;
pub use suggest::did_you_mean;

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

    /// What was found since there were this many.
    #[must_use]
    pub fn since(&self, mark: usize) -> Self {
        Self(self.0[mark..].to_vec())
    }

    /// How many findings there are: a mark for [`Findings::since`] and [`Findings::as_slice`].
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// True if there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}
