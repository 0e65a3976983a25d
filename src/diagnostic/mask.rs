//! Hiding what may be a secret from text that is about to be shown.
//!
//! A finding may stand next to a private key, and where a key is misspelled or the YAML is broken, no schema says so. So
//! this goes by looks: names that secrets are given under, what is nested below them, private keys in PEM, and long runs of
//! base64.

use super::{FileId, Files};

/// Names of fields whose values are secrets, or may be.
const SENSITIVE: [&str; 17] = [
    "private_key",
    "privatekey",
    "password",
    "inline_bytes",
    "inlinebytes",
    "generic_secret",
    "session_ticket_keys",
    "hmac_secret",
    "token_secret",
    "client_secret",
    "private key",
    "basic_auth",
    "basicauth",
    "users:",
    "users\"",
    "local_jwks",
    "localjwks",
];

/// No name or path in a topology has so many letters of base64 in a row; a line of PEM has 64.
const LONGEST_WORD: usize = 40;

/// How many lines up the owner of a line is looked for: more than a key of 16,384 bits takes.
const REACH: u32 = 400;

/// What the first and the last line of a private key in PEM have in common.
const KEY_MARK: &str = "PRIVATE KEY-----";
const PEM_BEGINS: &str = "-----BEGIN";
const PEM_ENDS: &str = "-----END";

/// [`PEM_BEGINS`] in base64.
const PEM_BEGINS_BASE64: &str = "LS0tLS1CRUdJTi";

/// Takes the place of each character, so that carets still point at the right one.
const MASK: char = '\u{2022}';

/// Longer lines, in bytes, are not shown: each finding on one would take as long as the line is, and it may have thousands.
const LONGEST_LINE: usize = 16 << 10;

/// The text of a line as it may be shown; `None` if there is no such line, or it is too long.
pub(super) fn line(files: &Files, file: FileId, number: u32) -> Option<String> {
    let line = files.line(file, number).filter(|line| line.len() <= LONGEST_LINE)?;
    if is_below_secret(files, file, number, line) || is_inside_key(files, file, number) {
        return Some(hide(line));
    }
    match after_sensitive_name(line) {
        Some(at) => Some(format!("{}{}", text(&line[..at]), hide(&line[at..]))),
        None => Some(text(line)),
    }
}

/// Text that may quote a source or come from elsewhere, without what looks like key material.
pub(crate) fn text(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find(KEY_MARK) {
        let (before, from) = rest.split_at(at + KEY_MARK.len());
        out.push_str(&words(before));
        let key = if is_open(before) { from.find(PEM_ENDS).unwrap_or(from.len()) } else { 0 };
        out.push_str(&hide(&from[..key]));
        rest = &from[key..];
    }
    out + &words(rest)
}

/// Text without long runs of base64, and without PEM inside base64.
fn words(text: &str) -> String {
    let is_base64 = |c: char| c.is_ascii_alphanumeric() || matches!(c, '+' | '/' | '=');
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(start) = rest.find(is_base64) {
        let (before, from) = rest.split_at(start);
        let (run, after) = from.split_at(from.find(|c| !is_base64(c)).unwrap_or(from.len()));
        out.push_str(before);
        if run.len() >= LONGEST_WORD || run.contains(PEM_BEGINS_BASE64) {
            out.extend(run.chars().map(|_| MASK));
        } else {
            out.push_str(run);
        }
        rest = after;
    }
    out + rest
}

/// Whether a PEM block begins in a text and does not end there.
fn is_open(text: &str) -> bool {
    text.rfind(PEM_BEGINS) > text.rfind(PEM_ENDS)
}

/// Whether a line stands between the first and the last line of a private key, however it is indented.
fn is_inside_key(files: &Files, file: FileId, number: u32) -> bool {
    let above = (number.saturating_sub(REACH)..number).rev().map_while(|above| files.line(file, above));
    let nearest = above.into_iter().find(|line| line.contains(PEM_BEGINS) || line.contains(PEM_ENDS));
    let inside = nearest.is_some_and(|line| is_open(line) && line.contains(KEY_MARK));
    inside && files.line(file, number).is_some_and(|line| !line.trim_start().starts_with(PEM_ENDS))
}

/// Where the value of a sensitive name begins in a line.
fn after_sensitive_name(line: &str) -> Option<usize> {
    let lower = line.to_ascii_lowercase();
    let ends = SENSITIVE.iter().filter_map(|name| Some(lower.find(name)? + name.len()));
    ends.min()
}

/// Whether a line stands, by its indentation, below one with a sensitive name.
fn is_below_secret(files: &Files, file: FileId, number: u32, line: &str) -> bool {
    let mut indent = indentation(line).unwrap_or(usize::MAX);
    for above in (number.saturating_sub(REACH)..number).rev() {
        let Some(line) = files.line(file, above) else { break };
        let Some(own) = indentation(line) else { continue };
        if own < indent {
            if after_sensitive_name(line).is_some() {
                return true;
            }
            indent = own;
        }
        if indent == 0 {
            break;
        }
    }
    false
}

/// How far a line is indented, a list's dash included; `None` if it is blank.
fn indentation(line: &str) -> Option<usize> {
    line.find(|c: char| c != ' ' && c != '-')
}

/// Hides letters and digits; what is left shows the structure.
fn hide(text: &str) -> String {
    text.chars().map(|c| if c.is_alphanumeric() || matches!(c, '+' | '/' | '=') { MASK } else { c }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(source: &str) -> Vec<String> {
        let mut files = Files::new();
        let file = files.add("t.yaml", source);
        (1..).map_while(|number| line(&files, file, number)).collect()
    }

    #[test]
    fn values_of_sensitive_names_are_hidden_at_their_width() {
        assert_eq!(
            shown("- {certificate_chain: a.crt, private_key: {inline_strin: \"s3cret\"}}\n  sni: a.example.com"),
            ["- {certificate_chain: a.crt, private_key: {••••••_•••••: \"••••••\"}}", "  sni: a.example.com",]
        );
    }

    #[test]
    fn what_is_nested_below_a_sensitive_name_is_hidden() {
        let source = "tls_certificates:\n- certificate_chain: a.crt\n  private_key:\n    inline_string: |\n      -----BEGIN KEY-----\n\n      c2hvcnQ\n      -----END KEY-----\n  name: b\n";
        let shown = shown(source);
        assert_eq!(shown[1], "- certificate_chain: a.crt");
        assert_eq!(shown[3], "    ••••••_••••••: |");
        assert_eq!(shown[6], "      •••••••");
        assert_eq!(shown[8], "  name: b");
    }

    #[test]
    fn private_keys_in_pem_are_hidden_however_short_and_wherever_they_stand() {
        let key = "-----BEGIN EC PRIVATE KEY-----\nAAAA\n-----END EC PRIVATE KEY-----";
        let hidden = key.replace("AAAA", "••••");
        assert_eq!(text(&format!("a {key} b {key}")), format!("a {hidden} b {hidden}"));
        assert_eq!(text(&key[..33]), "-----BEGIN EC PRIVATE KEY-----\n••");
        let certificate = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----";
        assert_eq!(text(certificate), certificate);
        let source = format!("certificate_chain: |\n{key}\n{certificate}\nb: LS0tLS1CRUdJTiBQ\nc: 1");
        let expected = format!("certificate_chain: |\n{hidden}\n{certificate}\nb: ••••••••••••••••\nc: 1");
        assert_eq!(shown(&source).join("\n"), expected);
    }

    #[test]
    fn long_runs_of_base64_are_hidden_wherever_they_stand() {
        let key = "MIIEvQIBADANBgkqhkiG9w0BAQEFAASCBKcwggSj";
        assert_eq!(
            text(&format!("unknown field `{key}` in a message")),
            format!("unknown field `{}` in a message", "•".repeat(40))
        );
        let url =
            "type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager";
        assert_eq!(text(url), url);
    }

    #[test]
    fn passwords_and_keys_of_filters_are_hidden() {
        let source = "basic_auth: {users: {inline_string: \"bob:hunter2\"}}\nusers:\n  inline_string: |\n    bob:hunter2\n\
                      local_jwks: {inline_string: '{\"k\": \"hunter2\"}'}\n\"users\": hunter2\nprefix: /users/hunter\n";
        let mut files = Files::new();
        let file = files.add("t.yaml", source);
        let shown: Vec<String> = (1..=7).map(|number| line(&files, file, number).unwrap()).collect();
        assert!(shown[..6].iter().all(|line| !line.contains("hunter2")), "{shown:#?}");
        assert_eq!(shown[6], "prefix: /users/hunter");
    }
}
