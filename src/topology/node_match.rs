//! What stands under `match`: conditions on the fields of `core.v3.Node`.

use serde_json::Map;

use crate::diagnostic::Finding;
use crate::envoy::{Entry, Node, Value};

use super::node_group::{EXAMPLE, Reader, list};
use super::selector::Field;
use super::{Conditions, Selector, TextMatch};

const FORMS_AND_CASE: [&str; 6] = ["exact", "prefix", "suffix", "contains", "safe_regex", "ignore_case"];

impl Reader<'_> {
    /// One mapping of conditions, or a list of them of which one is enough.
    pub(super) fn selector(&mut self, node: &Node) -> Selector {
        match &node.value {
            Value::List(any) if any.is_empty() => {
                let help = "`match: {}` takes every node; a group without nodes can be left out";
                self.report(node.span, "an empty list of matches takes no node".to_owned(), help);
                Selector::default()
            }
            Value::List(any) => {
                let conditions = |(index, node): (usize, &Node)| {
                    self.path.index(index);
                    let conditions = self.conditions(node);
                    self.path.pop();
                    conditions
                };
                Selector(any.iter().enumerate().map(conditions).collect())
            }
            _ => Selector(vec![self.conditions(node)]),
        }
    }

    fn conditions(&mut self, node: &Node) -> Conditions {
        const KEYS: [&str; 5] = ["id", "cluster", "user_agent_name", "locality", "metadata"];
        let mut conditions = Conditions::default();
        let Some(entries) = node.entries() else {
            let message = format!("a match is a mapping of fields of a node, not {}", node.describe());
            self.report(node.span, message, EXAMPLE);
            return conditions;
        };
        for Entry { key, key_span, value } in entries {
            self.path.field(key);
            if let Some(field) = Field::OWN.into_iter().find(|field| field.name() == key) {
                conditions.texts.extend(self.text(value).map(|text| (field, text)));
            } else if key == "locality" {
                self.locality(value, &mut conditions);
            } else if key == "metadata" {
                conditions.metadata = self.metadata(value);
            } else {
                self.unknown(key, *key_span, "a match", &KEYS);
            }
            self.path.pop();
        }
        conditions
    }

    fn locality(&mut self, node: &Node, conditions: &mut Conditions) {
        let keys = Field::LOCALITY.map(Field::name);
        let Some(entries) = node.entries().filter(|entries| !entries.is_empty()) else {
            self.report(node.span, format!("a mapping with {} is expected here", list(&keys)), "");
            return;
        };
        for Entry { key, key_span, value } in entries {
            self.path.field(key);
            match Field::LOCALITY.into_iter().find(|field| field.name() == key) {
                Some(field) => conditions.texts.extend(self.text(value).map(|text| (field, text))),
                None => self.unknown(key, *key_span, "a locality", &keys),
            }
            self.path.pop();
        }
    }

    /// Envoy's `StringMatcher`; a string stands for `exact`.
    fn text(&mut self, node: &Node) -> Option<TextMatch> {
        const FORMS: [&str; 5] = ["exact", "prefix", "suffix", "contains", "safe_regex"];
        if let Some(text) = node.as_str() {
            return Some(TextMatch::exact(text));
        }
        let Some(entries) = node.entries() else {
            let message =
                format!("a string or a mapping such as `{{prefix: edge-}}` is expected here, not {}", node.describe());
            self.report(node.span, message, quotes(node));
            return None;
        };
        let before = self.findings.len();
        let (mut form, mut ignore_case) = (None, None);
        for Entry { key, key_span, value } in entries {
            self.path.field(key);
            match (key.as_str(), &value.value) {
                ("ignore_case", Value::Bool(ignore)) => ignore_case = Some((*ignore, *key_span)),
                ("ignore_case", _) => {
                    self.report(value.span, format!("true or false is expected here, not {}", value.describe()), "");
                }
                (key, _) if !FORMS.contains(&key) => self.unknown(key, *key_span, "a string matcher", &FORMS_AND_CASE),
                (key, _) if form.is_some() => {
                    let help = format!("exactly one of {} can be given", list(&FORMS));
                    self.report(*key_span, format!("`{key}` is given besides another form"), &help);
                }
                (key, _) => form = self.form(key, value).map(|text| (key, text, value.span)),
            }
            self.path.pop();
        }
        if self.findings.len() > before {
            return None;
        }
        let Some((form, text, span)) = form else {
            self.report(node.span, format!("one of {} is expected here", list(&FORMS)), "");
            return None;
        };
        if form != "safe_regex" {
            return TextMatch::simple(form, text, ignore_case.is_some_and(|(ignore, _)| ignore));
        }
        if let Some((true, span)) = ignore_case {
            self.report(span, "`ignore_case` has no effect on a regular expression".to_owned(), "start it with `(?i)`");
            return None;
        }
        match TextMatch::regex(&text) {
            Ok(regex) => Some(regex),
            Err(error) => {
                let reason = error.to_string();
                let reason = reason.lines().last().unwrap_or_default().trim_start_matches("error: ").to_owned();
                let message = format!("`{text}` is not a regular expression of RE2's: {reason}");
                self.findings.push(Finding::error("bad-regex", span, self.path.to_string(), message));
                None
            }
        }
    }

    /// The text of one form of a matcher.
    fn form(&mut self, form: &str, node: &Node) -> Option<String> {
        // Envoy's own form of a regular expression is a message.
        let node = if form == "safe_regex" { node.get("regex").unwrap_or(node) } else { node };
        match node.as_str() {
            Some("") if form != "exact" => {
                self.report(
                    node.span,
                    format!("an empty `{form}` says nothing"),
                    "leave the field out to match any text",
                );
                None
            }
            Some(text) => Some(text.to_owned()),
            None => {
                self.report(node.span, format!("a string is expected here, not {}", node.describe()), quotes(node));
                None
            }
        }
    }

    /// A mapping of which every leaf is to be found in the node's metadata.
    fn metadata(&mut self, node: &Node) -> Map<String, serde_json::Value> {
        match node.entries() {
            Some(entries) if !entries.is_empty() => self.paths(entries),
            _ => {
                let found = if node.entries().is_some() { "an empty one" } else { node.describe() };
                let message = format!("a mapping of metadata to look for is expected here, not {found}");
                self.report(node.span, message, "such as `metadata: {tier: offline}`");
                Map::new()
            }
        }
    }

    fn paths(&mut self, entries: &[Entry]) -> Map<String, serde_json::Value> {
        let mut all = Map::new();
        for Entry { key, key_span: _, value } in entries {
            self.path.field(key);
            if value.entries().is_some() {
                all.insert(key.clone(), self.metadata(value).into());
            } else {
                all.extend(self.json(value).map(|value| (key.clone(), value)));
            }
            self.path.pop();
        }
        all
    }

    /// A value as a node's metadata holds it.
    fn json(&mut self, node: &Node) -> Option<serde_json::Value> {
        use serde_json::Value as Json;
        match &node.value {
            Value::Bool(value) => Some((*value).into()),
            Value::String(text) => Some(text.as_str().into()),
            Value::Number(text) => {
                let number = text.parse().ok().and_then(serde_json::Number::from_f64);
                if number.is_none() {
                    self.report(node.span, format!("`{text}` is not a number that metadata can hold"), "");
                }
                number.map(Json::Number)
            }
            Value::List(items) => items.iter().map(|item| self.json(item)).collect(),
            Value::Map(entries) => {
                let entry = |entry: &Entry| Some((entry.key.clone(), self.json(&entry.value)?));
                entries.iter().map(entry).collect::<Option<Map<_, _>>>().map(Json::Object)
            }
            Value::Null => {
                self.report(node.span, "metadata cannot be matched with null".to_owned(), "");
                None
            }
        }
    }
}

/// What to do where YAML took a text for something else.
fn quotes(node: &Node) -> &'static str {
    match node.value {
        Value::Number(_) | Value::Bool(_) => "a text that looks like something else needs quotes",
        _ => "",
    }
}
