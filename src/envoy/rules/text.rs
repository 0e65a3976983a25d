//! Constraints on strings.

use regex::Regex;

/// What a string has to fulfil.
#[derive(Debug, Default)]
pub(super) struct TextRule {
    pub(super) constant: Option<String>,
    /// In code points.
    pub(super) min: u64,
    pub(super) max: Option<u64>,
    pub(super) min_bytes: u64,
    pub(super) max_bytes: Option<u64>,
    pub(super) prefix: Option<String>,
    pub(super) suffix: Option<String>,
    pub(super) contains: Option<String>,
    pub(super) not_contains: Option<String>,
    pub(super) allowed: Vec<String>,
    pub(super) forbidden: Vec<String>,
    pub(super) pattern: Option<Pattern>,
    /// The empty string is always fine.
    pub(super) ignore_empty: bool,
}

/// A form that the whole string must have.
#[derive(Debug)]
pub(super) enum Pattern {
    Regex {
        written: String,
        anchored: Regex,
    },
    /// The name of an HTTP header, or a pseudo-header.
    HeaderName,
    /// The value of an HTTP header.
    HeaderValue,
    /// Loose form of the two: nothing that ends a line or a C string.
    OneLine,
}

impl Pattern {
    /// A pattern of RE2's that must match from the first to the last character.
    pub(super) fn regex(written: &str) -> Result<Self, regex::Error> {
        Ok(Self::Regex { written: written.to_owned(), anchored: Regex::new(&format!("^(?:{written})$"))? })
    }

    fn matches(&self, text: &str) -> bool {
        match self {
            Self::Regex { anchored, .. } => anchored.is_match(text),
            Self::HeaderName => {
                let name = text.strip_prefix(':').unwrap_or(text);
                let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+,-.^_|~`".contains(&byte);
                !name.is_empty() && name.bytes().all(allowed)
            }
            Self::HeaderValue => text.bytes().all(|byte| byte == b'\t' || !byte.is_ascii_control()),
            Self::OneLine => !text.contains(['\0', '\r', '\n']),
        }
    }

    fn expected(&self) -> String {
        match self {
            Self::Regex { written, .. } => format!("must match the pattern {written}"),
            Self::HeaderName => "must be the name of an HTTP header".to_owned(),
            Self::HeaderValue => "must be the value of an HTTP header, without control characters".to_owned(),
            Self::OneLine => "must not contain NUL, CR or LF".to_owned(),
        }
    }
}

impl TextRule {
    /// What is wrong with a string; the first thing, as the others often follow from it.
    pub(super) fn violation(&self, text: &str) -> Option<String> {
        if self.ignore_empty && text.is_empty() {
            return None;
        }
        self.length_violation(text).or_else(|| self.content_violation(text))
    }

    fn length_violation(&self, text: &str) -> Option<String> {
        let bytes = text.len() as u64;
        let characters = if self.min > 0 || self.max.is_some() { text.chars().count() as u64 } else { 0 };
        if text.is_empty() && (self.min > 0 || self.min_bytes > 0) {
            Some("must not be empty".to_owned())
        } else if characters < self.min {
            Some(format!("must have at least {} characters, not {characters}", self.min))
        } else if let Some(max) = self.max.filter(|max| characters > *max) {
            Some(format!("must have at most {max} characters, not {characters}"))
        } else if bytes < self.min_bytes {
            Some(format!("must have at least {} bytes, not {bytes}", self.min_bytes))
        } else {
            let max = self.max_bytes.filter(|max| bytes > *max)?;
            Some(format!("must have at most {max} bytes, not {bytes}"))
        }
    }

    fn content_violation(&self, text: &str) -> Option<String> {
        let list = |values: &[String]| values.iter().map(|value| format!("`{value}`")).collect::<Vec<_>>().join(", ");
        let missed =
            |part: &Option<String>, has: fn(&str, &str) -> bool| part.as_ref().filter(|part| !has(text, part)).cloned();
        if let Some(constant) = missed(&self.constant, |text, part| text == part) {
            Some(format!("must be `{constant}`"))
        } else if let Some(prefix) = missed(&self.prefix, |text, part| text.starts_with(part)) {
            Some(format!("must start with `{prefix}`"))
        } else if let Some(suffix) = missed(&self.suffix, |text, part| text.ends_with(part)) {
            Some(format!("must end with `{suffix}`"))
        } else if let Some(part) = missed(&self.contains, |text, part| text.contains(part)) {
            Some(format!("must contain `{part}`"))
        } else if let Some(part) = missed(&self.not_contains, |text, part| !text.contains(part)) {
            Some(format!("must not contain `{part}`"))
        } else if !self.allowed.is_empty() && !self.allowed.iter().any(|allowed| allowed == text) {
            Some(format!("must be one of {}", list(&self.allowed)))
        } else if self.forbidden.iter().any(|forbidden| forbidden == text) {
            Some(format!("must be none of {}", list(&self.forbidden)))
        } else {
            self.pattern.as_ref().filter(|pattern| !pattern.matches(text)).map(Pattern::expected)
        }
    }
}
