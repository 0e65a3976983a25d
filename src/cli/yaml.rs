//! JSON values as YAML text that every reader takes for the same values.
//!
//! Envoy reads YAML 1.1, others 1.2, and they disagree on what `yes`, `010`, `1_000` or `12:30` mean. So a string is
//! written plain only if no reader can take it for anything else; long texts become literal blocks. The expansion's own
//! serializer does not know about Envoy's reader, and has no comments.

use std::fmt::Write as _;

use serde_json::{Map, Value};

/// Writes a document without the leading `---`, with a line ending.
pub(super) fn to_string(value: &Value) -> String {
    let mut out = String::new();
    match value {
        Value::Object(map) if !map.is_empty() => mapping(&mut out, map, 0, false),
        Value::Array(items) if !items.is_empty() => sequence(&mut out, items, 0),
        _ => {
            scalar(&mut out, value, 0);
            out.push('\n');
        }
    }
    out
}

/// `# ` before every line, control characters made visible: a comment that cannot become content.
pub(super) fn comment(text: &str) -> String {
    let mut out = String::new();
    for line in text.split('\n') {
        let line: String = line.chars().map(|c| if is_printable(c) { c } else { '\u{fffd}' }).collect();
        _ = writeln!(out, "{}", format!("# {line}").trim_end());
    }
    out
}

/// `inline` means that the text before the first key, such as `- `, is written already.
fn mapping(out: &mut String, map: &Map<String, Value>, indent: usize, mut inline: bool) {
    for (key, value) in map {
        if !std::mem::take(&mut inline) {
            spaces(out, indent);
        }
        string(out, key, None);
        out.push(':');
        match value {
            Value::Object(map) if !map.is_empty() => {
                out.push('\n');
                mapping(out, map, indent + 2, false);
            }
            Value::Array(items) if !items.is_empty() => {
                out.push('\n');
                sequence(out, items, indent);
            }
            _ => {
                out.push(' ');
                scalar(out, value, indent + 2);
                out.push('\n');
            }
        }
    }
}

fn sequence(out: &mut String, items: &[Value], indent: usize) {
    for item in items {
        spaces(out, indent);
        out.push('-');
        match item {
            Value::Object(map) if !map.is_empty() => {
                out.push(' ');
                mapping(out, map, indent + 2, true);
            }
            Value::Array(items) if !items.is_empty() => {
                out.push('\n');
                sequence(out, items, indent + 2);
            }
            _ => {
                out.push(' ');
                scalar(out, item, indent + 2);
                out.push('\n');
            }
        }
    }
}

/// Everything that fits behind a key: scalars and empty collections.
fn scalar(out: &mut String, value: &Value, indent: usize) {
    match value {
        Value::String(text) => string(out, text, Some(indent)),
        // A float without a point or with a bare exponent is a string to YAML 1.1.
        Value::Number(number) if number.is_f64() => float(out, &number.to_string()),
        other => out.push_str(&other.to_string()),
    }
}

fn float(out: &mut String, text: &str) {
    match text.split_once('e') {
        Some((mantissa, exponent)) => {
            let point = if mantissa.contains('.') { "" } else { ".0" };
            let sign = if exponent.starts_with(['-', '+']) { "" } else { "+" };
            _ = write!(out, "{mantissa}{point}e{sign}{exponent}");
        }
        None => out.push_str(text),
    }
}

/// `block` is the indentation of a literal block, where one is allowed.
fn string(out: &mut String, text: &str, block: Option<usize>) {
    if is_plain(text) {
        out.push_str(text);
    } else if let Some(indent) = block.filter(|_| is_block(text)) {
        out.push_str(if text.ends_with('\n') { "|" } else { "|-" });
        for line in text.strip_suffix('\n').unwrap_or(text).split('\n') {
            out.push('\n');
            if !line.is_empty() {
                spaces(out, indent);
                out.push_str(line);
            }
        }
    } else {
        quoted(out, text);
    }
}

/// JSON's quoting is valid YAML but for the characters that YAML calls not printable.
fn quoted(out: &mut String, text: &str) {
    out.push('"');
    for c in text.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            c if is_printable(c) => out.push(c),
            c if u32::from(c) <= 0xffff => _ = write!(out, "\\u{:04x}", u32::from(c)),
            c => _ = write!(out, "\\U{:08x}", u32::from(c)),
        }
    }
    out.push('"');
}

/// Starts like a word or a path, goes on harmlessly, and is no word that some YAML takes for a boolean or null.
///
/// What starts with a digit is quoted, unless it is a duration or an address that no number format of YAML matches.
fn is_plain(text: &str) -> bool {
    let mut chars = text.chars();
    let Some(first) = chars.next() else { return false };
    let harmless = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.' | '/' | '+' | '$' | '@');
    if !chars.all(harmless) {
        return false;
    }
    if first.is_ascii_digit() {
        return is_duration(text) || text.parse::<std::net::Ipv4Addr>().is_ok();
    }
    (first.is_ascii_alphabetic() || first == '/' || first == '_')
        && !matches!(
            text.to_ascii_lowercase().as_str(),
            "y" | "n" | "yes" | "no" | "on" | "off" | "true" | "false" | "null"
        )
}

/// `5s`, `0.25s`: how Envoy writes durations.
fn is_duration(text: &str) -> bool {
    let Some(number) = text.strip_suffix('s') else { return false };
    let (whole, fraction) = number.split_once('.').unwrap_or((number, "0"));
    let digits = |part: &str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit());
    digits(whole) && digits(fraction)
}

/// Whether a literal block gives the text back exactly, without an indentation indicator.
fn is_block(text: &str) -> bool {
    let body = text.strip_suffix('\n').unwrap_or(text);
    body.contains('\n')
        && !body.starts_with([' ', '\n'])
        && !body.ends_with('\n')
        && body.chars().all(|c| c == '\n' || is_printable(c))
        && body.split('\n').all(|line| line.is_empty() || !line.trim().is_empty())
}

/// YAML's printable characters, less line breaks, tabs, odd spaces and the byte order mark.
fn is_printable(c: char) -> bool {
    matches!(c, ' '..='~' | '\u{a1}'..='\u{2027}' | '\u{202f}'..='\u{d7ff}' | '\u{e000}'..='\u{fefe}' | '\u{ff00}'..='\u{fffd}')
        || c >= '\u{10000}'
}

fn spaces(out: &mut String, count: usize) {
    out.extend(std::iter::repeat_n(' ', count));
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    fn read(text: &str) -> Value {
        serde_saphyr::from_str(text).unwrap_or_else(|error| panic!("{error}\n{text}"))
    }

    #[test]
    fn layout() {
        let value = json!({
            "@type": "type.googleapis.com/a.B",
            "name": "listener_0",
            "address": {"socket_address": {"address": "0.0.0.0", "port_value": 10000}},
            "timeout": "0.25s",
            "domains": ["*"],
            "empty": {}, "none": [],
            "nested": [[1, 2], {"a": true}],
            "lua": "a = 1\n\nif x then\n  y()\nend\n",
            "cut": "one\ntwo",
        });
        let expected = "\
\"@type\": type.googleapis.com/a.B
name: listener_0
address:
  socket_address:
    address: 0.0.0.0
    port_value: 10000
timeout: 0.25s
domains:
- \"*\"
empty: {}
none: []
nested:
-
  - 1
  - 2
- a: true
lua: |
  a = 1

  if x then
    y()
  end
cut: |-
  one
  two
";
        assert_eq!(to_string(&value), expected);
        assert_eq!(read(expected), value);
    }

    #[test]
    fn strings_stay_strings_for_every_yaml() {
        for text in [
            "yes",
            "No",
            "ON",
            "off",
            "y",
            "N",
            "true",
            "False",
            "null",
            "~",
            "",
            " ",
            "10",
            "0755",
            "0x1F",
            "1_000",
            "1e3",
            "1.5",
            "12:30",
            "12:30:45",
            ".inf",
            ".5",
            "-1",
            "+1",
            "2001-12-14",
            "<<",
            "=",
            "!tag",
            "&a",
            "*a",
            "- a",
            "a: b",
            "a #b",
            "# c",
            "{a}",
            "[a]",
            "%d",
            "`",
            "@x",
            "\"",
            "'",
            "a\tb",
            "a\r\nb",
            "\n",
            "a\n",
            "a\n\n",
            "\na",
            " a\nb",
            "a\n \nb",
            "\u{85}",
            "\u{2028}",
            "\u{feff}",
            "\u{0}",
            "\u{7f}",
            "a\\b",
            "é",
            "😀",
            "---",
            "...",
            "::",
            "?",
            "0o7",
            "infs",
            "5s",
        ] {
            let value = json!({"key": text, text: [text]});
            let written = to_string(&value);
            assert_eq!(read(&written), value, "{written}");
            let plain = written.lines().next().unwrap() == format!("key: {text}");
            assert!(!plain || matches!(text, "5s" | "infs"), "{text:?} is not quoted");
        }
    }

    #[test]
    fn numbers_stay_numbers_for_every_yaml() {
        let value = json!([0, -1, 1.0, 0.5, 1e16, -2.5e-7, 1e300, 5e-324, u64::MAX, i64::MIN]);
        let written = to_string(&value);
        assert!(written.contains("- 1.0e+16\n- -2.5e-7\n- 1.0e+300\n- 5.0e-324\n"), "{written}");
        assert_eq!(read(&written), value);
    }

    #[test]
    fn comments_cannot_become_content() {
        assert_eq!(comment("a\nb: c\r\u{85}d"), "# a\n# b: c\u{fffd}\u{fffd}d\n");
    }

    fn any_json() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<i64>().prop_map(Value::from),
            any::<u64>().prop_map(Value::from),
            (-1e12..1e12f64).prop_map(Value::from),
            "[ -~\n]{0,12}".prop_map(Value::from),
            any::<String>().prop_map(Value::from),
        ];
        leaf.prop_recursive(4, 32, 4, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
                prop::collection::vec(("[ -~\n]{0,8}", inner), 0..4)
                    .prop_map(|entries| Value::Object(entries.into_iter().collect())),
            ]
        })
    }

    proptest! {
        #[test]
        fn what_is_written_reads_back(value in any_json()) {
            let written = to_string(&value);
            let back: Value = serde_saphyr::from_str(&written)
                .map_err(|error| TestCaseError::fail(format!("{error}\n{written}")))?;
            prop_assert_eq!(back, value, "{}", written);
        }
    }
}
