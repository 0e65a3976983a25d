//! Descriptor options → rules.

use prost_reflect::{
    DynamicMessage, FieldDescriptor, Kind, MessageDescriptor, OneofDescriptor, ReflectMessage as _, Value,
};

use super::constraint::{
    Constraint, EnumRule, ListRule, MapRule, Range, ValueRule, as_double, as_integer, as_nanoseconds,
};
use super::slots::Slot;
use super::text::{Pattern, TextRule};
use crate::envoy::any;
use crate::envoy::catalog::{Catalog, Options};

/// Everything that the descriptor of a message says of its values.
#[derive(Debug)]
pub(in crate::envoy) struct MessageRules {
    /// The fields that something is said of, or that have messages inside, in the order of their numbers.
    pub(super) fields: Vec<FieldRule>,
    /// One field of each of these must be set.
    pub(super) required_oneofs: Vec<OneofDescriptor>,
    sensitive: Vec<u32>,
    unsupported: Vec<String>,
}

#[derive(Debug)]
pub(super) struct FieldRule {
    pub(super) field: FieldDescriptor,
    pub(super) value: ValueRule,
    pub(super) presence: Presence,
    pub(super) deprecation: Option<Deprecation>,
    /// Values of the field's enum that should not be used, by number.
    pub(super) enum_deprecations: Vec<(i32, Deprecation)>,
    /// The catalog number of the message in the field, its elements or its map values.
    pub(super) inner: Option<usize>,
    /// Where the field takes an extension: which ones.
    pub(super) slot: Option<Slot>,
}

/// What it means that a field is not set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Presence {
    /// It has its default value, and the rules apply to that.
    Implicit,
    /// There is nothing to check, unless it is required.
    Explicit,
    /// Another alternative may be set.
    Oneof,
}

/// How old something is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Deprecation {
    /// Envoy logs a warning.
    Accepted,
    /// Envoy refuses it, unless its runtime is told otherwise.
    Refused,
}

impl MessageRules {
    pub(in crate::envoy) fn compile(catalog: &Catalog, message: &MessageDescriptor) -> Self {
        let options = message.options();
        let names = &catalog.options;
        let is_set = |name| flag(&options, name);
        let disabled = is_set(names.disabled.as_ref()) || is_set(names.ignored.as_ref());
        let mut unsupported = Vec::new();
        let mut sensitive = Vec::new();
        let mut fields = Vec::new();
        for field in message.fields() {
            let options = field.options();
            if flag(&options, names.sensitive.as_ref()) {
                sensitive.push(field.number());
            }
            let mut rule = field_rule(catalog, field, &options, &mut unsupported);
            if disabled {
                rule.value = ValueRule::default();
            }
            if rule.has_something_to_say() {
                fields.push(rule);
            }
        }
        let is_required = |oneof: &OneofDescriptor| !disabled && flag(&oneof.options(), names.required.as_ref());
        let required_oneofs = message.oneofs().filter(|oneof| !oneof.is_synthetic() && is_required(oneof)).collect();
        Self { fields, required_oneofs, sensitive, unsupported }
    }

    /// Numbers of the fields whose values are secrets.
    pub(in crate::envoy) fn sensitive_fields(&self) -> &[u32] {
        &self.sensitive
    }

    pub(super) fn unsupported(&self) -> &[String] {
        &self.unsupported
    }
}

impl FieldRule {
    fn has_something_to_say(&self) -> bool {
        let Self { field: _, value, presence: _, deprecation, enum_deprecations, inner, slot } = self;
        let ValueRule { required, skip: _, constraint } = value;
        *required
            || !matches!(constraint, Constraint::None)
            || deprecation.is_some()
            || !enum_deprecations.is_empty()
            || inner.is_some()
            || slot.is_some()
    }
}

fn field_rule(
    catalog: &Catalog,
    field: FieldDescriptor,
    options: &DynamicMessage,
    unsupported: &mut Vec<String>,
) -> FieldRule {
    let names = &catalog.options;
    let rules = names.rules.as_ref().filter(|rules| options.has_extension(rules));
    let value = rules.map(|rules| {
        let rules = options.get_extension(rules);
        rules.as_message().map(|rules| value_rule(rules, field.full_name(), unsupported)).unwrap_or_default()
    });
    let presence = match field.containing_oneof() {
        Some(oneof) if !oneof.is_synthetic() => Presence::Oneof,
        Some(_) => Presence::Explicit,
        None if field.supports_presence() => Presence::Explicit,
        None => Presence::Implicit,
    };
    let element = match field.kind() {
        Kind::Message(entry) if field.is_map() => entry.map_entry_value_field().kind(),
        kind => kind,
    };
    // Of the messages that have a JSON form of their own, only `Any` has something inside that rules are written on.
    let inner =
        element.as_message().filter(|inner| inner.full_name() == any::ANY || !any::has_special_json(inner.full_name()));
    let inner = inner.and_then(|inner| catalog.number(inner));
    FieldRule {
        deprecation: deprecation(options, flag(options, names.disallowed_field.as_ref())),
        enum_deprecations: enum_deprecations(&field, names),
        value: value.unwrap_or_default(),
        presence,
        inner,
        slot: super::slots::of(&field),
        field,
    }
}

fn enum_deprecations(field: &FieldDescriptor, names: &Options) -> Vec<(i32, Deprecation)> {
    let Kind::Enum(descriptor) = field.kind() else { return Vec::new() };
    let values = descriptor.values().filter_map(|value| {
        let options = value.options();
        let disallowed = flag(&options, names.disallowed_value.as_ref());
        Some((value.number(), deprecation(&options, disallowed)?))
    });
    values.collect()
}

fn deprecation(options: &DynamicMessage, disallowed: bool) -> Option<Deprecation> {
    if disallowed {
        Some(Deprecation::Refused)
    } else if boolean(options, "deprecated") {
        Some(Deprecation::Accepted)
    } else {
        None
    }
}

/// Whether a boolean option is there and true.
fn flag(options: &DynamicMessage, name: Option<&prost_reflect::ExtensionDescriptor>) -> bool {
    name.is_some_and(|name| options.get_extension(name).as_bool() == Some(true))
}

/// A set field of a rule message.
fn get<T>(rule: &DynamicMessage, name: &str, convert: impl Fn(&Value) -> Option<T>) -> Option<T> {
    let field = rule.descriptor().get_field_by_name(name)?;
    if rule.has_field(&field) { convert(&rule.get_field(&field)) } else { None }
}

fn boolean(rule: &DynamicMessage, name: &str) -> bool {
    get(rule, name, Value::as_bool) == Some(true)
}

fn size(rule: &DynamicMessage, name: &str) -> Option<u64> {
    get(rule, name, Value::as_u64)
}

fn string(rule: &DynamicMessage, name: &str) -> Option<String> {
    get(rule, name, |value| value.as_str().map(str::to_owned))
}

fn list<T>(rule: &DynamicMessage, name: &str, convert: impl Fn(&Value) -> Option<T>) -> Vec<T> {
    get(rule, name, |value| Some(value.as_list()?.iter().filter_map(&convert).collect())).unwrap_or_default()
}

fn strings(rule: &DynamicMessage, name: &str) -> Vec<String> {
    list(rule, name, |value| value.as_str().map(str::to_owned))
}

/// The rules that each type of rule message may carry here. What is not listed is reported as unsupported.
fn known(kind: &str) -> &'static [&'static str] {
    match kind {
        "float" | "double" | "int32" | "int64" | "uint32" | "uint64" | "sint32" | "sint64" | "fixed32" | "fixed64"
        | "sfixed32" | "sfixed64" => &["const", "lt", "lte", "gt", "gte", "in", "not_in", "ignore_empty"],
        "duration" => &["required", "const", "lt", "lte", "gt", "gte", "in", "not_in"],
        "bool" => &["const"],
        "string" => &[
            "const",
            "len",
            "min_len",
            "max_len",
            "len_bytes",
            "min_bytes",
            "max_bytes",
            "pattern",
            "prefix",
            "suffix",
            "contains",
            "not_contains",
            "in",
            "not_in",
            "well_known_regex",
            "strict",
            "ignore_empty",
        ],
        "bytes" => &["len", "min_len", "max_len"],
        "enum" => &["const", "defined_only", "in", "not_in"],
        "any" => &["required", "in", "not_in"],
        "timestamp" => &["required"],
        "message" => &["required", "skip"],
        "repeated" => &["min_items", "max_items", "unique", "ignore_empty", "items"],
        "map" => &["min_pairs", "max_pairs", "ignore_empty", "keys", "values"],
        _ => &[],
    }
}

fn value_rule(rules: &DynamicMessage, owner: &str, unsupported: &mut Vec<String>) -> ValueRule {
    let mut out = ValueRule::default();
    for (kind, rule) in rules.fields() {
        let Some(rule) = rule.as_message() else { continue };
        for (name, _) in rule.fields() {
            if !known(kind.name()).contains(&name.name()) {
                unsupported.push(format!("{owner}: {}.{}", kind.name(), name.name()));
            }
        }
        out.required |= boolean(rule, "required");
        out.skip |= boolean(rule, "skip");
        out.constraint = match kind.name() {
            "message" | "timestamp" => continue,
            "float" | "double" => {
                Constraint::Double { range: range(rule, as_double), ignore_empty: boolean(rule, "ignore_empty") }
            }
            "bool" => get(rule, "const", Value::as_bool).map_or(Constraint::None, Constraint::Bool),
            "duration" => Constraint::Duration(range(rule, as_nanoseconds)),
            "string" => Constraint::Text(Box::new(text_rule(rule, owner, unsupported))),
            "bytes" => {
                let exact = size(rule, "len");
                Constraint::Bytes {
                    min: exact.or(size(rule, "min_len")).unwrap_or(0),
                    max: exact.or(size(rule, "max_len")).unwrap_or(u64::MAX),
                }
            }
            "enum" => Constraint::Enum(EnumRule {
                constant: get(rule, "const", Value::as_i32),
                defined_only: boolean(rule, "defined_only"),
                allowed: list(rule, "in", Value::as_i32),
                forbidden: list(rule, "not_in", Value::as_i32),
            }),
            "any" => Constraint::Any { allowed: strings(rule, "in"), forbidden: strings(rule, "not_in") },
            "repeated" => Constraint::List(Box::new(ListRule {
                min: size(rule, "min_items").unwrap_or(0),
                max: size(rule, "max_items").unwrap_or(u64::MAX),
                unique: boolean(rule, "unique"),
                ignore_empty: boolean(rule, "ignore_empty"),
                items: nested(rule, "items", owner, unsupported),
            })),
            "map" => Constraint::Map(Box::new(MapRule {
                min: size(rule, "min_pairs").unwrap_or(0),
                max: size(rule, "max_pairs").unwrap_or(u64::MAX),
                ignore_empty: boolean(rule, "ignore_empty"),
                keys: nested(rule, "keys", owner, unsupported),
                values: nested(rule, "values", owner, unsupported),
            })),
            _ => Constraint::Integer { range: range(rule, as_integer), ignore_empty: boolean(rule, "ignore_empty") },
        };
    }
    out
}

fn nested(rule: &DynamicMessage, name: &str, owner: &str, unsupported: &mut Vec<String>) -> ValueRule {
    let inner = get(rule, name, |value| value.as_message().cloned());
    inner.map(|inner| value_rule(&inner, owner, unsupported)).unwrap_or_default()
}

fn range<T>(rule: &DynamicMessage, convert: fn(&Value) -> Option<T>) -> Range<T> {
    Range {
        constant: get(rule, "const", convert),
        lt: get(rule, "lt", convert),
        lte: get(rule, "lte", convert),
        gt: get(rule, "gt", convert),
        gte: get(rule, "gte", convert),
        allowed: list(rule, "in", convert),
        forbidden: list(rule, "not_in", convert),
    }
}

fn text_rule(rule: &DynamicMessage, owner: &str, unsupported: &mut Vec<String>) -> TextRule {
    let (length, bytes) = (size(rule, "len"), size(rule, "len_bytes"));
    // `strict` is on unless it is switched off.
    let strict = get(rule, "strict", Value::as_bool) != Some(false);
    let pattern = match get(rule, "well_known_regex", Value::as_enum_number) {
        Some(1) if strict => Some(Pattern::HeaderName),
        Some(2) if strict => Some(Pattern::HeaderValue),
        Some(1 | 2) => Some(Pattern::OneLine),
        _ => string(rule, "pattern").and_then(|written| {
            let pattern = Pattern::regex(&written).ok();
            if pattern.is_none() {
                unsupported.push(format!("{owner}: pattern {written}"));
            }
            pattern
        }),
    };
    TextRule {
        constant: string(rule, "const"),
        min: length.or(size(rule, "min_len")).unwrap_or(0),
        max: length.or(size(rule, "max_len")),
        min_bytes: bytes.or(size(rule, "min_bytes")).unwrap_or(0),
        max_bytes: bytes.or(size(rule, "max_bytes")),
        prefix: string(rule, "prefix"),
        suffix: string(rule, "suffix"),
        contains: string(rule, "contains"),
        not_contains: string(rule, "not_contains"),
        allowed: strings(rule, "in"),
        forbidden: strings(rule, "not_in"),
        pattern,
        ignore_empty: boolean(rule, "ignore_empty"),
    }
}
