//! The YAML library's errors as findings, with the remedy where there is a usual one.

use serde_saphyr::budget::BudgetBreach;
use serde_saphyr::{DefaultMessageFormatter, Error, MessageFormatter as _};

use super::{MAX_BYTES, MAX_DEPTH, MAX_DOCUMENTS, MAX_SCALAR, TOO_LONG, place};
use crate::diagnostic::{FileId, Finding, Span};

/// What the library says, what it means, and what to do.
const SYNTAX: [(&str, &str, &str); 17] = [
    (
        "illegal placement of ':'",
        "a `:` is not expected here",
        "a `[` or `{` above may not be closed; text that holds `: ` must be quoted",
    ),
    (
        "mapping values are not allowed",
        "a `:` is not expected here",
        "check the indentation and whether the line above lacks its `:`; text that holds `: ` must be quoted",
    ),
    ("unclosed quote", "this quote is never closed", "add the closing quote"),
    ("unclosed bracket '['", "this `[` is never closed", "add the closing `]`"),
    ("unclosed bracket '{'", "this `{` is never closed", "add the closing `}`"),
    ("tabs disallowed", "a tab cannot indent", "indent with spaces"),
    (
        "did not find expected '-'",
        "this line stands among list items but does not start with `- `",
        "check the indentation; the list above may have ended too early",
    ),
    ("did not find expected key", "a key is expected here", "check the indentation, quotes and brackets before this"),
    ("simple key expect", "this line has no `:`", "write `key: value`, or `- ` before a list item"),
    ("unknown escape", "a double-quoted text has an unknown `\\` escape", "use single quotes, or write `\\\\`"),
    (
        "unexpected character: `\\u",
        "a control character is not allowed here",
        "remove it, or write it as an escape in double quotes",
    ),
    ("unexpected character", "this character cannot start a plain text", "put the text in quotes"),
    ("did not find expected <document start>", "a new document must start with `---`", "add a line `---`"),
    ("unsupported YAML major version", "this version of YAML is not supported", "remove the `%YAML` line"),
    ("expected string scalar", "a key must be a plain text", "lists and mappings cannot be keys here"),
    ("cannot deserialize null into string", "a key must be a plain text", "quote the key if it is meant to be `null`"),
    ("recursion limit exceeded", "", ""),
];

/// An error as a finding.
pub(super) fn finding(file: FileId, error: &Error) -> Finding {
    let error = innermost(error);
    let span = error.location().map_or(Span::default(), place);
    let span = Span { file, len: span.len.max(1), ..span };
    let (code, message, help) = words(error);
    let finding = Finding::error(code, span, "", message);
    if help.is_empty() { finding } else { finding.help(help) }
}

/// The error inside its wrappers, whose own place is the one that has to be changed.
fn innermost(mut error: &Error) -> &Error {
    while let Error::AliasError { error: inner, .. } | Error::WithSnippet { error: inner, .. } = error {
        error = inner;
    }
    error
}

fn words(error: &Error) -> (&'static str, String, &'static str) {
    match error {
        Error::Budget { breach, .. } => budget(breach),
        Error::AliasReplayLimitExceeded { .. }
        | Error::AliasExpansionLimitExceeded { .. }
        | Error::AliasReplayStackDepthExceeded { .. }
        | Error::AliasReplayCounterOverflow { .. } => {
            ("yaml-budget", "the aliases of this file stand for too much text".into(), "write fewer `*aliases`")
        }
        Error::RecursiveReferencesRequireWeakTypes { .. } => {
            ("yaml-syntax", "this alias stands inside what it refers to".into(), "an alias cannot contain itself")
        }
        Error::UnknownAnchor { .. } => (
            "yaml-syntax",
            "no `&anchor` of this name comes before this alias".into(),
            "anchors do not reach into other documents; a text that starts with `*` must be quoted",
        ),
        Error::UnsupportedTag { tag, .. } => {
            ("yaml-tag", format!("the tag `{tag}` has no meaning here"), "a text that starts with `!` must be quoted")
        }
        Error::MergeValueNotMapOrSeqOfMaps { .. } => {
            ("yaml-syntax", "`<<` takes a mapping or a list of mappings".into(), "")
        }
        Error::DuplicateMappingKey { key, .. } => {
            let key = key.as_deref().unwrap_or("?");
            ("duplicate-key", format!("the key `{key}` is given twice in one mapping"), "keep one of the two")
        }
        other => syntax(&DefaultMessageFormatter.format_message(other)),
    }
}

fn syntax(text: &str) -> (&'static str, String, &'static str) {
    if text.contains(TOO_LONG) {
        let message = format!("this text is longer than {} MiB", MAX_SCALAR >> 20);
        return ("yaml-budget", message, "large content belongs into a file that Envoy reads");
    }
    match SYNTAX.iter().find(|(needle, ..)| text.contains(needle)) {
        Some((_, "", _)) => budget(&BudgetBreach::Depth { depth: MAX_DEPTH }),
        Some((_, message, help)) => ("yaml-syntax", (*message).to_owned(), help),
        None => ("yaml-syntax", format!("not valid YAML: {text}"), ""),
    }
}

fn budget(breach: &BudgetBreach) -> (&'static str, String, &'static str) {
    let (message, help) = match breach {
        BudgetBreach::Depth { .. } => {
            (format!("lists and mappings are nested more than {MAX_DEPTH} deep"), "check for unclosed brackets")
        }
        BudgetBreach::Documents { .. } => {
            (format!("more than {MAX_DOCUMENTS} documents in one file"), "split the file, or join its documents")
        }
        BudgetBreach::InputBytes { .. } | BudgetBreach::ScalarBytes { .. } => {
            (format!("more than {} MiB of text", MAX_BYTES >> 20), "split the file")
        }
        BudgetBreach::Nodes { .. } | BudgetBreach::Events { .. } => {
            ("too many values in one file".into(), "split the file")
        }
        BudgetBreach::MergeKeys { .. } => ("too many `<<` merges in one file".into(), "split the file"),
        _ => ("too many anchors and aliases in one file".into(), "write fewer `*aliases`"),
    };
    ("yaml-budget", message, help)
}
