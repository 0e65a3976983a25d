//! Located trees for tests, from JSON with unquoted keys, words and numbers.

use super::{Entry, Node, Path, Schema, Value};
use crate::diagnostic::{FileId, Finding, Findings, Span};

/// Parses flow-style text; columns count characters, everything is on line 1 of its line.
pub(super) fn tree(text: &str) -> Node {
    let mut parser = Parser { chars: text.chars().collect(), at: 0 };
    let node = parser.value();
    parser.space();
    assert_eq!(parser.at, parser.chars.len(), "trailing text");
    node
}

/// `code @text-under-the-span path: message [help]` of each finding, to compare with.
pub(super) fn told(text: &str, findings: &Findings) -> Vec<String> {
    let lines: Vec<&str> = text.lines().collect();
    let tell = |finding: &Finding| {
        let span = finding.span.unwrap_or_default();
        let line = lines[span.line as usize - 1];
        let under: String = line.chars().skip(span.column as usize - 1).take(span.len as usize).collect();
        format!("{} @{under} {}: {}", finding.code, finding.path, finding.message)
    };
    findings.as_slice().iter().map(tell).collect()
}

/// Compiles text as a message and tells what was found.
pub(super) fn compiled(message: &str, text: &str) -> (super::DynamicMessage, Vec<String>) {
    let schema = Schema::embedded();
    let mut findings = Findings::new();
    let descriptor = schema.message(message).unwrap();
    let message = super::compile(&schema, &descriptor, &tree(text), &mut Path::new(), &mut findings);
    (message, told(text, &findings))
}

struct Parser {
    chars: Vec<char>,
    at: usize,
}

impl Parser {
    fn space(&mut self) {
        while self.chars.get(self.at).is_some_and(|c| c.is_whitespace() || *c == ',') {
            self.at += 1;
        }
    }

    fn span(&self, start: usize) -> Span {
        let before = &self.chars[..start];
        let line = before.iter().filter(|c| **c == '\n').count() + 1;
        let column = start - before.iter().rposition(|c| *c == '\n').map_or(0, |newline| newline + 1) + 1;
        let number = |n: usize| u32::try_from(n).unwrap();
        Span { file: FileId(0), line: number(line), column: number(column), len: number(self.at - start) }
    }

    fn word(&mut self) -> (String, bool) {
        if self.chars[self.at] == '"' {
            let end = self.at + 1 + self.chars[self.at + 1..].iter().position(|c| *c == '"').unwrap();
            let text = self.chars[self.at + 1..end].iter().collect();
            self.at = end + 1;
            return (text, true);
        }
        let start = self.at;
        while self.chars.get(self.at).is_some_and(|c| !c.is_whitespace() && !",:{}[]".contains(*c)) {
            self.at += 1;
        }
        (self.chars[start..self.at].iter().collect(), false)
    }

    fn value(&mut self) -> Node {
        self.space();
        let start = self.at;
        let value = match self.chars[self.at] {
            '{' => {
                self.at += 1;
                let mut entries = Vec::new();
                loop {
                    self.space();
                    if self.chars[self.at] == '}' {
                        break;
                    }
                    let start = self.at;
                    let key = self.word().0;
                    let key_span = self.span(start);
                    assert_eq!(self.chars[self.at], ':');
                    self.at += 1;
                    entries.push(Entry { key, key_span, value: self.value() });
                }
                self.at += 1;
                Value::Map(entries)
            }
            '[' => {
                self.at += 1;
                let mut items = Vec::new();
                loop {
                    self.space();
                    if self.chars[self.at] == ']' {
                        break;
                    }
                    items.push(self.value());
                }
                self.at += 1;
                Value::List(items)
            }
            _ => match self.word() {
                (text, false) if text == "null" => Value::Null,
                (text, false) if text == "true" || text == "false" => Value::Bool(text == "true"),
                (text, false) if is_number(&text) => Value::Number(text),
                (text, _) => Value::String(text),
            },
        };
        Node { span: self.span(start), value }
    }
}

fn is_number(text: &str) -> bool {
    text.starts_with(|c: char| c.is_ascii_digit() || "+-.".contains(c))
        && text.chars().all(|c| c.is_ascii_hexdigit() || "+-._xoinf".contains(c))
}
