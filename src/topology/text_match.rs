//! How a text is matched: Envoy's `StringMatcher` as plain data.

use regex::Regex;
use serde_json::{Value, json};

/// What a text must be like.
#[derive(Clone, Debug, PartialEq)]
pub struct TextMatch {
    form: Form,
    /// Upper and lower case of ASCII letters are the same.
    ignore_case: bool,
}

#[derive(Clone, Debug, PartialEq)]
enum Form {
    Exact(String),
    Prefix(String),
    Suffix(String),
    Contains(String),
    Regex(Pattern),
}

/// A regular expression that must match the whole text.
#[derive(Clone, Debug)]
struct Pattern {
    written: String,
    anchored: Regex,
}

impl PartialEq for Pattern {
    fn eq(&self, other: &Self) -> bool {
        self.written == other.written
    }
}

impl TextMatch {
    /// Exactly this text.
    pub(crate) fn exact(text: impl Into<String>) -> Self {
        Self { form: Form::Exact(text.into()), ignore_case: false }
    }

    /// By the name of the field of Envoy's message; `None` if there is no such field or it holds no text.
    pub(super) fn simple(field: &str, text: String, ignore_case: bool) -> Option<Self> {
        let form = match field {
            "exact" => Form::Exact(text),
            "prefix" => Form::Prefix(text),
            "suffix" => Form::Suffix(text),
            "contains" => Form::Contains(text),
            _ => return None,
        };
        Some(Self { form, ignore_case })
    }

    /// A regular expression for the whole text.
    ///
    /// # Errors
    /// If it is none that runs in linear time.
    pub(super) fn regex(written: &str) -> Result<Self, regex::Error> {
        // Once by itself: a parenthesis too many must not close the group around it.
        Regex::new(written)?;
        let anchored = Regex::new(&format!("^(?:{written})$"))?;
        Ok(Self { form: Form::Regex(Pattern { written: written.to_owned(), anchored }), ignore_case: false })
    }

    /// Whether a text is as it must be.
    pub fn matches(&self, text: &str) -> bool {
        let (text, fold) = (text.as_bytes(), self.ignore_case);
        match &self.form {
            Form::Exact(wanted) => same(text, wanted.as_bytes(), fold),
            Form::Prefix(start) => starts(text, start.as_bytes(), fold),
            Form::Suffix(end) => ends(text, end.as_bytes(), fold),
            Form::Contains(part) => contains(text, part.as_bytes(), fold),
            Form::Regex(pattern) => std::str::from_utf8(text).is_ok_and(|text| pattern.anchored.is_match(text)),
        }
    }

    /// Whether every text that `other` matches is surely matched by this one too.
    pub(super) fn covers(&self, other: &Self) -> bool {
        if self == other {
            return true;
        }
        if other.ignore_case && !self.ignore_case {
            return false;
        }
        let fold = self.ignore_case;
        match (&self.form, &other.form) {
            (_, Form::Exact(text)) => self.matches(text),
            (Form::Prefix(start), Form::Prefix(text)) => starts(text.as_bytes(), start.as_bytes(), fold),
            (Form::Suffix(end), Form::Suffix(text)) => ends(text.as_bytes(), end.as_bytes(), fold),
            (Form::Contains(part), Form::Prefix(text) | Form::Suffix(text) | Form::Contains(text)) => {
                contains(text.as_bytes(), part.as_bytes(), fold)
            }
            _ => false,
        }
    }

    /// As it is written in a topology.
    pub(super) fn to_json(&self) -> Value {
        let mut value = match &self.form {
            Form::Exact(text) if !self.ignore_case => return Value::from(text.as_str()),
            Form::Exact(text) => json!({"exact": text}),
            Form::Prefix(text) => json!({"prefix": text}),
            Form::Suffix(text) => json!({"suffix": text}),
            Form::Contains(text) => json!({"contains": text}),
            Form::Regex(pattern) => json!({"safe_regex": pattern.written}),
        };
        if self.ignore_case {
            value["ignore_case"] = true.into();
        }
        value
    }
}

fn same(a: &[u8], b: &[u8], fold: bool) -> bool {
    if fold { a.eq_ignore_ascii_case(b) } else { a == b }
}

fn starts(text: &[u8], start: &[u8], fold: bool) -> bool {
    text.get(..start.len()).is_some_and(|text| same(text, start, fold))
}

fn ends(text: &[u8], end: &[u8], fold: bool) -> bool {
    text.len().checked_sub(end.len()).is_some_and(|at| same(&text[at..], end, fold))
}

fn contains(text: &[u8], part: &[u8], fold: bool) -> bool {
    part.is_empty() || text.windows(part.len()).any(|window| same(window, part, fold))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn simple(field: &str, text: &str) -> TextMatch {
        TextMatch::simple(field, text.to_owned(), false).unwrap()
    }

    fn folded(field: &str, text: &str) -> TextMatch {
        TextMatch::simple(field, text.to_owned(), true).unwrap()
    }

    #[test]
    fn each_form_matches_what_envoys_does() {
        let regex = |text: &str| TextMatch::regex(text).unwrap();
        let table = [
            (simple("exact", "ab"), "ab", true),
            (simple("exact", "ab"), "aB", false),
            (folded("exact", "ab"), "aB", true),
            (simple("exact", ""), "", true),
            (simple("prefix", "ab"), "abc", true),
            (simple("prefix", "ab"), "a", false),
            (folded("prefix", "AB"), "abc", true),
            (simple("suffix", "bc"), "abc", true),
            (simple("suffix", "bc"), "c", false),
            (folded("suffix", "BC"), "abc", true),
            (simple("contains", "b"), "abc", true),
            (simple("contains", "x"), "", false),
            (folded("contains", "é"), "aéb", true),
            (folded("prefix", "a"), "é", false),
            (regex("a|b"), "b", true),
            (regex("a|b"), "ab", false),
            (regex("edge-[0-9]+"), "edge-12", true),
            (regex("edge-[0-9]+"), "my-edge-12", false),
        ];
        for (matcher, text, expected) in table {
            assert_eq!(matcher.matches(text), expected, "{matcher:?} {text}");
        }
        for bad in ["(", "a)(b", "(?=a)"] {
            assert!(TextMatch::regex(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn what_is_covered_is_matched() {
        let all = [
            simple("exact", "ab"),
            simple("exact", "b"),
            simple("prefix", "a"),
            simple("prefix", "ab"),
            simple("suffix", "b"),
            simple("contains", "a"),
            simple("contains", "ab"),
            folded("exact", "AB"),
            folded("prefix", "A"),
            folded("contains", "B"),
            TextMatch::regex("ab?").unwrap(),
        ];
        let texts = ["", "a", "b", "ab", "AB", "aB", "abc", "cab", "CAB", "ba"];
        let mut covered = 0;
        for (a, b) in all.iter().flat_map(|a| all.iter().map(move |b| (a, b))) {
            if a.covers(b) {
                covered += 1;
                assert!(texts.iter().all(|text| !b.matches(text) || a.matches(text)), "{a:?} {b:?}");
            }
        }
        assert!(covered > all.len() * 2, "{covered}");
        assert!(simple("prefix", "a").covers(&simple("exact", "ab")));
        assert!(!simple("exact", "ab").covers(&simple("prefix", "ab")));
    }
}
