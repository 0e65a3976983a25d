//! Envoy's own form becomes the friendly one: the expansion's walk the other way round.
//!
//! What is folded here is a guess, which the real expansion confirms or refutes (`../confirm.rs`). Each kind of guess is a
//! rule with a name, so that those which do not hold for a resource can be left out. Rules for messages are named after them.

mod cluster;
mod extension;
mod http;
mod listener;
mod short;

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value};

use crate::envoy::{FieldDescriptor, Kind, MessageDescriptor, Schema};
use crate::expand::{self, Shorthand};

pub(super) type Object = Map<String, Value>;

/// A field of a message, by the message's full name, to which the expansion would give a default.
pub(super) type Null = (String, String);

/// What a fold may do.
#[derive(Clone, Debug, Default)]
pub(super) struct Rules {
    /// The rules that hold; `None` if all do.
    pub(super) allowed: Option<BTreeSet<String>>,
    /// Fields that are kept away with an explicit `null` wherever they are absent.
    pub(super) nulls: BTreeSet<Null>,
}

/// The state of one fold.
pub(super) struct Folder<'a> {
    schema: &'a Schema,
    rules: &'a Rules,
    /// The rules that were asked for.
    pub(super) used: BTreeSet<String>,
    /// Resources that may be written inside the one that is folded.
    pub(super) inside: BTreeMap<(Kind, String), Object>,
    /// What derived names are made of: the listener, or `listener/chain`.
    scope: Option<String>,
    /// How many chains the listener has.
    chains: usize,
}

impl<'a> Folder<'a> {
    pub(super) fn new(schema: &'a Schema, rules: &'a Rules) -> Self {
        Self { schema, rules, used: BTreeSet::new(), inside: BTreeMap::new(), scope: None, chains: 0 }
    }

    /// A resource as an item of its section.
    pub(super) fn resource(&mut self, kind: Kind, json: Object) -> Value {
        match self.schema.message(kind.message()) {
            Some(message) if kind == Kind::Endpoint => self.served(&message, json),
            Some(message) => self.message(&message, json),
            None => Value::Object(json),
        }
    }

    /// Whether a rule holds.
    fn on(&mut self, rule: &str) -> bool {
        self.used.insert(rule.to_owned());
        self.rules.allowed.as_ref().is_none_or(|allowed| allowed.contains(rule))
    }

    /// A message of a full name, or the same if there is none.
    fn named(&mut self, message: &str, json: Object) -> Value {
        match self.schema.message(message) {
            Some(message) => self.message(&message, json),
            None => Value::Object(json),
        }
    }

    fn message(&mut self, message: &MessageDescriptor, mut json: Object) -> Value {
        let name = message.full_name();
        // These have a JSON form of their own, and an `Any` is verbatim.
        if name.starts_with("google.protobuf.") {
            return Value::Object(json);
        }
        let nulls = self.rules.nulls.range((name.to_owned(), String::new())..).take_while(|(of, _)| of == name);
        let nulls: Vec<String> = nulls.filter(|(_, key)| !json.contains_key(key)).map(|(_, key)| key.clone()).collect();
        let outer = (self.scope.clone(), self.chains);
        let hoisted = match name {
            listener::LISTENER => self.listener_before(&mut json),
            listener::CHAIN => self.chain_before(&mut json),
            cluster::CLUSTER => self.cluster_before(&mut json),
            http::MANAGER => self.manager_before(&mut json),
            cluster::LB_ENDPOINT => self.endpoint_before(&mut json),
            _ => self.extension_before(message, &mut json),
        };
        let extension = expand::shorthand(name) == Shorthand::Extension && !hoisted.is_empty();
        let mut folded = Object::new();
        for (key, value) in json {
            let value = match message.get_field_by_name(&key) {
                Some(field) => self.field(&field, value),
                None => value,
            };
            folded.insert(key, value);
        }
        folded.extend(hoisted);
        for key in nulls {
            folded.insert(key, Value::Null);
        }
        let out = match name {
            listener::LISTENER => self.listener_after(folded),
            cluster::CLUSTER => self.cluster_after(folded),
            http::MANAGER => self.manager_after(folded),
            http::TABLE => self.table(folded),
            http::VIRTUAL_HOST => self.virtual_host(folded),
            http::ROUTE => self.route(folded),
            http::MATCH => self.route_match(folded),
            _ if extension => extension::bare(folded),
            _ => self.short(name, folded),
        };
        (self.scope, self.chains) = outer;
        out
    }

    fn field(&mut self, field: &FieldDescriptor, value: Value) -> Value {
        let kind = field.kind();
        let Some(message) = kind.as_message() else { return value };
        match value {
            Value::Object(entries) if field.is_map() => {
                if field.name() == "typed_per_filter_config" {
                    return self.per_filter(entries);
                }
                let values = message.map_entry_value_field();
                let entries = entries.into_iter().map(|(key, value)| (key, self.field(&values, value)));
                Value::Object(entries.collect())
            }
            Value::Array(items) => {
                let items = items.into_iter().map(|item| self.item(message, item)).collect();
                self.list(message.full_name(), items)
            }
            other => self.item(message, other),
        }
    }

    fn item(&mut self, message: &MessageDescriptor, value: Value) -> Value {
        match value {
            Value::Object(json) => self.message(message, json),
            other => other,
        }
    }
}

/// Whether an object has this one key.
fn only<'a>(json: &'a Object, key: &str) -> Option<&'a Value> {
    json.get(key).filter(|_| json.len() == 1)
}

/// Whether a field is a text.
fn is(json: &Object, key: &str, text: &str) -> bool {
    json.get(key).and_then(Value::as_str) == Some(text)
}

/// The message inside an `Any`, and its fields.
fn payload(any: &Value) -> Option<(&str, Object)> {
    let mut json = any.as_object()?.clone();
    json.shift_remove("@type");
    let name = any.get("@type")?.as_str()?.rsplit('/').next()?;
    // Well-known types stand in a `value` of their own.
    (!name.starts_with("google.protobuf.")).then_some((name, json))
}
