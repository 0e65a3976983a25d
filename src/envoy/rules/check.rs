//! A message against its rules.

use prost_reflect::{DynamicMessage, Kind, MapKey, ReflectMessage as _, Value};

use super::compile::{Deprecation, FieldRule, Presence};
use super::constraint::{Constraint, ListRule, MapRule, ValueRule, as_double, as_integer, nanoseconds};
use super::slots;
use crate::diagnostic::{Finding, Findings, Level};
use crate::envoy::extensions::Category;
use crate::envoy::json::{Mistakes, read_typed_struct};
use crate::envoy::place::{Place, find, locate};
use crate::envoy::visit::map_key_text;
use crate::envoy::{MAX_DEPTH, Node, Path, Schema, any, field};

/// Checks a message and everything inside it, through `Any`.
///
/// `node` is the tree that the message was read from, and `path` where it stands; what is missing in the message is
/// reported at the innermost value that is there.
pub fn check(schema: &Schema, message: &DynamicMessage, node: &Node, path: &mut Path, findings: &mut Findings) {
    check_except(schema, message, node, path, findings, &Mistakes::default());
}

/// [`check`], without errors about what could not be read.
pub(in crate::envoy) fn check_except(
    schema: &Schema,
    message: &DynamicMessage,
    node: &Node,
    path: &mut Path,
    findings: &mut Findings,
    mistakes: &Mistakes,
) {
    let base = path.segments().len();
    Checker { schema, root: node, base, path, findings, mistakes }.message(message, None, 0);
}

struct Checker<'a> {
    schema: &'a Schema,
    root: &'a Node,
    /// How many segments of the path lead to the root.
    base: usize,
    path: &'a mut Path,
    findings: &'a mut Findings,
    mistakes: &'a Mistakes,
}

impl Checker<'_> {
    fn invalid(&mut self, code: &'static str, message: impl Into<String>) {
        if !self.mistakes.within(self.path) {
            self.refused(code, message);
        }
    }

    /// An error about something that is there.
    fn refused(&mut self, code: &'static str, message: impl Into<String>) {
        let finding = Finding::error(code, self.place().span, self.path.to_string(), message);
        self.findings.push(finding);
    }

    /// Whether an error about a field was found before the message was read: the expansion leaves `null` in its place.
    fn was_told_of(&self, field: &str) -> bool {
        let place = self.place();
        let Some(entry) = place.node.and_then(|node| find(node, field)).filter(|entry| entry.value.is_null()) else {
            return false;
        };
        let span = Some(entry.value.span);
        self.findings.as_slice().iter().any(|finding| finding.level == Level::Error && finding.span == span)
    }

    fn warning(&mut self, code: &'static str, message: impl Into<String>) {
        let finding = Finding::warning(code, self.place().span, self.path.to_string(), message);
        self.findings.push(finding);
    }

    fn place(&self) -> Place<'_> {
        locate(self.root, &self.path.segments()[self.base..])
    }

    /// Checks a message; `number` is its number in the catalog, where the caller knows it.
    fn message(&mut self, message: &DynamicMessage, number: Option<usize>, depth: usize) {
        let descriptor = message.descriptor();
        if depth >= MAX_DEPTH {
            return self
                .refused("too-deep", format!("nested too deeply: more than {MAX_DEPTH} messages in each other"));
        }
        if descriptor.full_name() == any::ANY {
            return self.any(message, depth);
        }
        let catalog = self.schema.catalog();
        let Some(number) = number.or_else(|| catalog.number(&descriptor)) else { return };
        for field in message.unknown_fields() {
            let message =
                format!("field number {} of {} is unknown to this version", field.number(), descriptor.full_name());
            self.refused("unknown-field", message);
        }
        let rules = catalog.rules(number, &descriptor);
        for rule in &rules.fields {
            self.field(rule, message, depth);
        }
        for oneof in &rules.required_oneofs {
            let is_set = oneof.fields().any(|field| message.has_field(&field));
            let was_told = || oneof.fields().any(|field| self.was_told_of(field.name()));
            if !is_set && !self.mistakes.directly_in(self.path) && !was_told() {
                let names: Vec<String> = oneof.fields().map(|field| format!("`{}`", field.name())).collect();
                let what = if names.len() > 1 { "one of " } else { "" };
                self.refused("required", format!("{what}{} is required", names.join(", ")));
            }
        }
    }

    fn any(&mut self, any: &DynamicMessage, depth: usize) {
        let url = any::type_url(any);
        let Some(name) = any::message_name(&url).filter(|name| self.schema.message(name).is_some()) else { return };
        let Some(payload) = any::unpack(self.schema, any) else {
            return self.refused("any-type", format!("the payload is not an encoded {name}"));
        };
        self.message(&payload, None, depth + 1);
        if any::is_typed_struct(name)
            && let Some(node) = self.place().node
            && let Some(typed) = read_typed_struct(self.schema, node, depth + 1)
        {
            self.path.field("value");
            self.message(&typed, None, depth + 2);
            self.path.pop();
        }
    }

    fn field(&mut self, rule: &FieldRule, message: &DynamicMessage, depth: usize) {
        let field = &rule.field;
        let is_set = message.has_field(field);
        if rule.slot == Some(Category::CLUSTER) {
            self.found_by_name(rule, message, depth);
        }
        if !is_set && rule.presence != Presence::Implicit {
            if rule.value.required && rule.presence != Presence::Oneof && !self.was_told_of(field.name()) {
                self.path.field(field);
                self.invalid("required", format!("`{}` is required", field.name()));
                self.path.pop();
            }
            return;
        }
        self.path.field(field);
        if is_set {
            self.deprecation(rule.deprecation, || format!("the field `{}`", field.name()));
        }
        let value = message.get_field(field);
        match (&*value, &rule.value.constraint) {
            (Value::List(items), constraint) => self.list(rule, items, constraint, depth),
            (Value::Map(entries), constraint) => {
                let mut entries: Vec<(&MapKey, &Value)> = entries.iter().collect();
                entries.sort_by(|a, b| a.0.cmp(b.0));
                self.map(rule, &entries, constraint, depth);
            }
            (value, _) => {
                self.enum_deprecation(rule, value, is_set);
                self.value(&field.kind(), &rule.value, value, rule.inner, depth);
            }
        }
        if let Some(slot) = rule.slot
            && let Value::Message(any) = &*value
            && let Some(problem) = slots::problem(self.schema, slot, &any::type_url(any))
        {
            self.warning("any-slot", problem);
        }
        self.path.pop();
    }

    /// Envoy finds the type of a cluster by its name too; the configuration that it does not have is then an empty one.
    fn found_by_name(&mut self, rule: &FieldRule, extension: &DynamicMessage, depth: usize) {
        let config = extension.get_field(&rule.field);
        if config.as_message().is_some_and(|config| !any::type_url(config).is_empty()) {
            return;
        }
        let name = field::string(extension, "name").unwrap_or_default();
        let known = self.schema.extensions().of(Category::CLUSTER).into_iter().find(|known| known.name == name);
        let message = known.and_then(|known| self.schema.message(known.message.as_deref()?));
        let Some(message) = message else { return };
        self.path.field(&rule.field);
        self.message(&DynamicMessage::new(message), None, depth + 1);
        self.path.pop();
    }

    fn deprecation(&mut self, deprecation: Option<Deprecation>, what: impl Fn() -> String) {
        match deprecation {
            None => {}
            Some(Deprecation::Accepted) => self.warning("deprecated", format!("{} is deprecated", what())),
            Some(Deprecation::Refused) => {
                self.refused("deprecated", format!("{} is deprecated, and Envoy refuses it by default", what()));
            }
        }
    }

    fn enum_deprecation(&mut self, rule: &FieldRule, value: &Value, is_set: bool) {
        let Some(number) = value.as_enum_number() else { return };
        let Some((_, deprecation)) = rule.enum_deprecations.iter().find(|(value, _)| *value == number) else { return };
        let kind = rule.field.kind();
        let value = kind.as_enum().and_then(|descriptor| descriptor.get_value(number));
        let name = value.map_or_else(|| number.to_string(), |value| value.name().to_owned());
        if is_set {
            self.deprecation(Some(*deprecation), || format!("the value {name}"));
        } else if *deprecation == Deprecation::Refused && !self.mistakes.within(self.path) {
            self.deprecation(Some(*deprecation), || format!("the default value {name}"));
        }
    }

    fn list(&mut self, rule: &FieldRule, items: &[Value], constraint: &Constraint, depth: usize) {
        let free = ValueRule::default();
        let item_rule = if let Constraint::List(list) = constraint {
            self.list_size(list, items);
            &list.items
        } else {
            &free
        };
        if rule.inner.is_none() && matches!(item_rule.constraint, Constraint::None) && rule.enum_deprecations.is_empty()
        {
            return;
        }
        let kind = rule.field.kind();
        for (index, item) in items.iter().enumerate() {
            self.path.index(index);
            if !self.mistakes.hide(self.path) {
                self.enum_deprecation(rule, item, true);
                self.value(&kind, item_rule, item, rule.inner, depth);
            }
            self.path.pop();
        }
    }

    fn list_size(&mut self, rule: &ListRule, items: &[Value]) {
        let ListRule { min, max, unique, ignore_empty, items: _ } = rule;
        let count = items.len() as u64;
        if *ignore_empty && count == 0 {
            return;
        }
        self.size("element", count, *min, *max);
        if *unique && let Some(again) = (1..items.len()).find(|index| items[..*index].contains(&items[*index])) {
            self.path.index(again);
            self.invalid("invalid-value", "the elements must differ, and this one was there before");
            self.path.pop();
        }
    }

    fn map(&mut self, rule: &FieldRule, entries: &[(&MapKey, &Value)], constraint: &Constraint, depth: usize) {
        let free = ValueRule::default();
        let (keys, values) = if let Constraint::Map(map) = constraint {
            let MapRule { min, max, ignore_empty, keys, values } = &**map;
            if !*ignore_empty || !entries.is_empty() {
                self.size("entry", entries.len() as u64, *min, *max);
            }
            (keys, values)
        } else {
            (&free, &free)
        };
        let Kind::Message(entry) = rule.field.kind() else { return };
        let value_kind = entry.map_entry_value_field().kind();
        for (key, value) in entries {
            self.path.key(map_key_text(key));
            if let Some(violation) = key_violation(keys, key) {
                let place = self.place();
                let span = place.key.unwrap_or(place.span);
                let finding =
                    Finding::error("invalid-value", span, self.path.to_string(), format!("the key {violation}"));
                self.findings.push(finding);
            }
            self.value(&value_kind, values, value, rule.inner, depth + 1);
            self.path.pop();
        }
    }

    fn size(&mut self, what: &str, count: u64, min: u64, max: u64) {
        let plural = |count: u64| match (what, count) {
            (what, 1) => format!("1 {what}"),
            ("entry", count) => format!("{count} entries"),
            (what, count) => format!("{count} {what}s"),
        };
        if count < min {
            let found =
                if count == 0 { "must not be empty".to_owned() } else { format!("must have at least {}", plural(min)) };
            self.invalid("invalid-value", found);
        } else if count > max {
            self.invalid("invalid-value", format!("must have at most {}, not {count}", plural(max)));
        }
    }

    fn value(&mut self, kind: &Kind, rule: &ValueRule, value: &Value, inner: Option<usize>, depth: usize) {
        let Value::Message(message) = value else {
            if let Some(violation) = violation(kind, &rule.constraint, value) {
                self.invalid("invalid-value", violation);
            }
            return;
        };
        match &rule.constraint {
            Constraint::Duration(range) => {
                let seconds = |nanoseconds: i128| Seconds(nanoseconds);
                let violation = nanoseconds(message).and_then(|number| range.violation(number, seconds));
                if let Some(violation) = violation {
                    self.invalid("invalid-value", violation);
                }
            }
            Constraint::Any { allowed, forbidden } => {
                let url = any::type_url(message);
                if (!allowed.is_empty() && !allowed.contains(&url)) || forbidden.contains(&url) {
                    self.invalid("invalid-value", format!("a message of type {url} is not allowed here"));
                }
                self.message(message, inner, depth + 1);
            }
            Constraint::None => {
                if let Some(inner) = inner.filter(|_| !rule.skip) {
                    self.message(message, Some(inner), depth + 1);
                }
            }
            constraint => {
                // The rules of a scalar stand on its wrapper.
                let Some(field) = message.descriptor().get_field(1) else { return };
                if let Some(violation) = violation(&field.kind(), constraint, &message.get_field(&field)) {
                    self.invalid("invalid-value", violation);
                }
            }
        }
    }
}

fn key_violation(rule: &ValueRule, key: &MapKey) -> Option<String> {
    let (kind, value) = match key {
        MapKey::String(key) => (Kind::String, Value::String(key.clone())),
        MapKey::Bool(key) => (Kind::Bool, Value::Bool(*key)),
        MapKey::I32(key) => (Kind::Int32, Value::I32(*key)),
        MapKey::I64(key) => (Kind::Int64, Value::I64(*key)),
        MapKey::U32(key) => (Kind::Uint32, Value::U32(*key)),
        MapKey::U64(key) => (Kind::Uint64, Value::U64(*key)),
    };
    violation(&kind, &rule.constraint, &value)
}

/// What is wrong with a scalar.
fn violation(kind: &Kind, constraint: &Constraint, value: &Value) -> Option<String> {
    match (constraint, value) {
        (Constraint::Integer { range, ignore_empty }, value) => {
            let number = as_integer(value)?;
            if *ignore_empty && number == 0 { None } else { range.violation(number, |number| number) }
        }
        (Constraint::Double { range, ignore_empty }, value) => {
            let number = as_double(value)?;
            if *ignore_empty && number == 0.0 { None } else { range.violation(number, |number| number) }
        }
        (Constraint::Bool(expected), Value::Bool(value)) => (expected != value).then(|| format!("must be {expected}")),
        (Constraint::Text(rule), Value::String(text)) => rule.violation(text),
        (Constraint::Bytes { min, max }, Value::Bytes(bytes)) => {
            let length = bytes.len() as u64;
            if length < *min {
                Some(format!("must have at least {min} bytes, not {length}"))
            } else if length > *max {
                Some(format!("must have at most {max} bytes, not {length}"))
            } else {
                None
            }
        }
        (Constraint::Enum(rule), Value::EnumNumber(number)) => rule.violation(kind.as_enum()?, *number),
        _ => None,
    }
}

/// Nanoseconds, shown in seconds.
struct Seconds(i128);

impl std::fmt::Display for Seconds {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let sign = if self.0 < 0 { "-" } else { "" };
        let (seconds, nanos) = (self.0.unsigned_abs() / 1_000_000_000, self.0.unsigned_abs() % 1_000_000_000);
        let fraction = format!(".{nanos:09}");
        write!(f, "{sign}{seconds}{}s", fraction.trim_end_matches('0').trim_end_matches('.'))
    }
}
