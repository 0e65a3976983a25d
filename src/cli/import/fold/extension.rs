//! Extensions by their short names.

use serde_json::Value;

use super::{Folder, Object, payload};
use crate::envoy::MessageDescriptor;
use crate::expand::{self, Shorthand};

impl Folder<'_> {
    /// `{name, typed_config}` as `{short: {…}}`; what the short name does not say stays beside it.
    pub(super) fn extension_before(&mut self, message: &MessageDescriptor, json: &mut Object) -> Object {
        let name = message.full_name();
        let folded = (|| {
            if expand::shorthand(name) != Shorthand::Extension {
                return None;
            }
            let (config, fields) = payload(json.get("typed_config")?)?;
            let (canonical, short) = self.short_name(config, json.get("name").and_then(Value::as_str))?;
            // Short names share their place with the wrapper's own fields.
            if message.get_field_by_name(&short).is_some() || !self.on(name) {
                return None;
            }
            Some((canonical, short, self.named(config, fields)))
        })();
        let mut out = Object::new();
        if let Some((canonical, short, config)) = folded {
            json.shift_remove("typed_config");
            if json.get("name").and_then(Value::as_str) == Some(canonical.as_str()) {
                json.shift_remove("name");
            }
            out.insert(short, config);
        }
        out
    }

    /// The canonical and the short name of the extension that takes a message; one of the given name if there are several.
    fn short_name(&self, config: &str, name: Option<&str>) -> Option<(String, String)> {
        let extensions = self.schema.extensions();
        let takers = extensions.in_category(extensions.category_of(config)?).iter();
        let mut takers = takers.filter(|taker| taker.message.as_deref() == Some(config));
        let found = takers.clone().find(|taker| Some(taker.name.as_str()) == name).or_else(|| takers.next())?;
        Some((found.name.clone(), found.short_name().to_owned()))
    }

    /// `typed_per_filter_config`, by short names.
    pub(super) fn per_filter(&mut self, entries: Object) -> Value {
        let short = |folder: &mut Self, key: &str, value: &Value| {
            let (message, fields) = payload(value)?;
            let extensions = folder.schema.extensions();
            let found = extensions.in_category("envoy.filters.http").iter().find(|it| it.name == key)?;
            let of_routes = found.per_route.as_deref().or(found.message.as_deref()) == Some(message);
            let short = found.short_name().to_owned();
            if !of_routes || !folder.on("typed_per_filter_config") {
                return None;
            }
            Some((short, folder.named(message, fields)))
        };
        let mut out = Object::new();
        for (key, value) in entries {
            let (key, value) = short(self, &key, &value).unwrap_or((key, value));
            out.insert(key, value);
        }
        Value::Object(out)
    }
}

/// A wrapper that says no more than a short name.
pub(super) fn bare(wrapper: Object) -> Value {
    match wrapper.iter().next() {
        Some((short, Value::Object(config))) if wrapper.len() == 1 && config.is_empty() => Value::String(short.clone()),
        _ => Value::Object(wrapper),
    }
}
