//! Compares what was pasted with what came out.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};

use prost_reflect::{DynamicMessage, FieldDescriptor, MapKey, ReflectMessage as _, Value};

use super::pool;

/// Fields that we add where the author gave none: the defaults of the friendly form, which README.md lists.
const DEFAULTS: [&str; 8] = [
    "envoy.config.cluster.v3.Cluster.connect_timeout",
    "envoy.config.cluster.v3.Cluster.dns_lookup_family",
    // Of the type ORIGINAL_DST, which takes no other policy.
    "envoy.config.cluster.v3.Cluster.lb_policy",
    // Where the content of deprecated fields goes.
    "envoy.config.cluster.v3.Cluster.typed_extension_protocol_options",
    "envoy.config.core.v3.ConfigSource.resource_api_version",
    "envoy.config.endpoint.v3.LocalityLbEndpoints.load_balancing_weight",
    "envoy.config.endpoint.v3.LocalityLbEndpoints.locality",
    PREPENDED,
];

/// Fields that Envoy has deprecated, whose content comes out in their replacement.
const MOVED: [&str; 3] = [
    "envoy.config.cluster.v3.Cluster.common_http_protocol_options",
    "envoy.config.cluster.v3.Cluster.http2_protocol_options",
    "envoy.config.cluster.v3.Cluster.http_protocol_options",
];

/// The list that may get one more item, at its beginning: the TLS inspector without which a filter chain would never match.
const PREPENDED: &str = "envoy.config.listener.v3.Listener.listener_filters";

/// Collects what was lost and what was added.
#[derive(Default)]
pub(super) struct Comparison {
    pub(super) lost: Vec<String>,
    /// Full names of the fields that were added, each with the first place.
    added: BTreeMap<String, String>,
    /// Full names of the messages and fields that were pasted; enumerations with their values.
    pub(super) seen: BTreeSet<String>,
}

impl Comparison {
    pub(super) fn assert_defaults_are_those_we_document(&self) {
        let known: BTreeSet<_> = DEFAULTS.iter().map(|name| (*name).to_owned()).collect();
        let added: BTreeSet<_> = self.added.keys().cloned().collect();
        assert_eq!(added, known, "{:#?}", self.added);
    }

    pub(super) fn message(&mut self, at: &str, pasted: &DynamicMessage, out: &DynamicMessage) {
        let (theirs, ours) = (pasted.descriptor(), out.descriptor());
        if theirs.full_name() != ours.full_name() {
            self.lost.push(format!("{at}: {} became {}", theirs.full_name(), ours.full_name()));
            return;
        }
        self.seen.insert(theirs.full_name().to_owned());
        if theirs.full_name() == "google.protobuf.Any" {
            match (payload(pasted), payload(out)) {
                (Some(pasted), Some(out)) => return self.message(at, &pasted, &out),
                (None, None) => {}
                _ => self.lost.push(format!("{at}: the payload became another one")),
            }
        }
        for field in theirs.fields() {
            let at = format!("{at}.{}", field.name());
            if pasted.has_field(&field) {
                self.note(&field, &pasted.get_field(&field));
            }
            match (pasted.has_field(&field), out.has_field(&field)) {
                (true, true) => self.value(&at, &field, &pasted.get_field(&field), &out.get_field(&field)),
                (true, false) if MOVED.contains(&field.full_name()) => self.moved(&at, &field, pasted, out),
                (true, false) => self.lost.push(format!("{at} is gone")),
                (false, true) => _ = self.added.entry(field.full_name().to_owned()).or_insert(at),
                (false, false) => {}
            }
        }
    }

    fn note(&mut self, field: &FieldDescriptor, value: &Value) {
        let name = field.full_name();
        if let (Some(names), Some(number)) = (field.kind().as_enum(), value.as_enum_number())
            && let Some(value) = names.get_value(number)
        {
            self.seen.insert(format!("{name}={}", value.name()));
        }
        self.seen.insert(name.to_owned());
    }

    fn value(&mut self, at: &str, field: &FieldDescriptor, pasted: &Value, out: &Value) {
        match (pasted, out) {
            (Value::Message(pasted), Value::Message(out)) => self.message(at, pasted, out),
            (Value::List(pasted), Value::List(out)) if pasted.len() == out.len() => {
                for (index, (pasted, out)) in pasted.iter().zip(out).enumerate() {
                    self.value(&format!("{at}[{index}]"), field, pasted, out);
                }
            }
            (Value::List(pasted), Value::List(out))
                if field.full_name() == PREPENDED && out.len() == pasted.len() + 1 =>
            {
                self.added.entry(PREPENDED.to_owned()).or_insert_with(|| at.to_owned());
                self.value(at, field, &Value::List(pasted.clone()), &Value::List(out[1..].to_vec()));
            }
            (Value::Map(pasted), Value::Map(out)) if pasted.len() == out.len() => {
                let mut keys: Vec<_> = pasted.keys().collect();
                keys.sort_by_key(|key| format!("{key:?}"));
                for key in keys {
                    match out.get(key) {
                        Some(found) => self.value(&format!("{at}[{key:?}]"), field, &pasted[key], found),
                        None => self.lost.push(format!("{at} lacks the key {key:?}")),
                    }
                }
            }
            _ if pasted == out => {}
            _ => self.lost.push(format!("{at} was {} and is {}", show(pasted), show(out))),
        }
    }

    /// The replacement is the field of this name somewhere in the cluster's options for HTTP.
    fn moved(&mut self, at: &str, field: &FieldDescriptor, pasted: &DynamicMessage, out: &DynamicMessage) {
        let find = || {
            let options = out.get_field_by_name("typed_extension_protocol_options")?;
            let key = MapKey::String("envoy.extensions.upstreams.http.v3.HttpProtocolOptions".to_owned());
            let options = options.as_map()?.get(&key)?.as_message().and_then(payload)?;
            let explicit = options.get_field_by_name("explicit_http_config")?;
            let holder = if field.name().starts_with("http") { explicit.as_message()? } else { &options };
            holder.get_field_by_name(field.name()).map(Cow::into_owned)
        };
        match find() {
            Some(found) => self.value(at, field, &pasted.get_field(field), &found),
            None => self.lost.push(format!("{at} is gone")),
        }
    }
}

/// Messages are not shown: their descriptors are, and those refer to themselves.
fn show(value: &Value) -> String {
    match value {
        Value::Message(message) => message.descriptor().name().to_owned(),
        Value::List(items) => format!("{} items", items.len()),
        Value::Map(entries) => format!("{} entries", entries.len()),
        scalar => format!("{scalar:?}"),
    }
}

/// The message in an `Any`, if the descriptors have it.
pub(super) fn payload(any: &DynamicMessage) -> Option<DynamicMessage> {
    let url = any.get_field_by_name("type_url")?.as_str()?.to_owned();
    let descriptor = pool().get_message_by_name(url.rsplit('/').next()?)?;
    let value = any.get_field_by_name("value")?;
    DynamicMessage::decode(descriptor, value.as_bytes()?.clone()).ok()
}
