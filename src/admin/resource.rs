//! A served resource as people read it.

use serde_json::{Map, Value};

use crate::envoy::json::Redact;
use crate::envoy::{Schema, canonical, json};
use crate::snapshot::Resource;

/// A resource in Envoy's proto3 JSON form, `"@type"` first, fields by their proto names.
pub fn native_json(schema: &Schema, resource: &Resource, redact: Redact) -> Value {
    let mut out = Map::new();
    out.insert("@type".to_owned(), Value::from(resource.kind.type_url()));
    // The pipeline encoded these bytes from the same message; should they not decode, the type and the name remain.
    match canonical::decode(schema, resource.kind, &resource.message()) {
        Ok(message) => match json::write(schema, &message, redact) {
            Value::Object(fields) => out.extend(fields),
            other => _ = out.insert("value".to_owned(), other),
        },
        Err(error) => {
            out.insert(resource.kind.name_field().to_owned(), Value::from(&*resource.name));
            out.insert("#undecodable".to_owned(), Value::from(error.to_string()));
        }
    }
    Value::Object(out)
}
