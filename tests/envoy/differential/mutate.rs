//! One small change of a resource: somewhere inside it, guided by its descriptor.

use chancery::envoy::{FieldDescriptor, FieldKind, MessageDescriptor, Schema};
use serde_json::{Map, Value, json};

use super::values::Maker;
use crate::support::random::Random;

/// A message inside a resource.
struct Site {
    pointer: String,
    descriptor: MessageDescriptor,
}

/// Values that are of the wrong type nearly everywhere.
const STRANGERS: &[&str] = &[
    "null",
    "true",
    "0",
    "-1",
    "1.5",
    "1e300",
    "18446744073709551616",
    "\"\"",
    "\"a\"",
    "[]",
    "{}",
    "[null]",
    "[[]]",
    "{\"a\": 1}",
    "\"true\"",
    "\"5\"",
    "{\"@type\": \"type.googleapis.com/google.protobuf.Empty\"}",
];

/// Changes a resource in one place; says what was done, or nothing if there was nothing to do.
pub(super) fn mutate(schema: &Schema, random: &mut Random, message: &str, resource: &mut Value) -> Option<String> {
    let descriptor = schema.message(message)?;
    let mut sites = Vec::new();
    collect(schema, &descriptor, resource, String::new(), &mut sites);
    let Site { pointer, descriptor } = random.choose(&sites)?;
    let map = resource.pointer_mut(pointer)?.as_object_mut()?;
    let what = change(schema, random, descriptor, map)?;
    Some(format!("{} at {}: {what}", descriptor.name(), if pointer.is_empty() { "/" } else { pointer }))
}

/// Every message that is written as a mapping of its fields, through `Any`.
fn collect(schema: &Schema, descriptor: &MessageDescriptor, value: &Value, pointer: String, sites: &mut Vec<Site>) {
    let Value::Object(map) = value else { return };
    let payload = if descriptor.full_name() == "google.protobuf.Any" {
        let name = map.get("@type").and_then(Value::as_str).and_then(|url| url.rsplit('/').next());
        let Some(payload) = name.and_then(|name| schema.message(name)) else { return };
        payload
    } else {
        descriptor.clone()
    };
    if payload.full_name().starts_with("google.protobuf.") {
        return;
    }
    for (key, value) in map {
        let Some(field) = payload.get_field_by_name(key) else { continue };
        let kind = field.kind();
        let Some(inner) = kind.as_message() else { continue };
        let at = format!("{pointer}/{}", escaped(key));
        match value {
            Value::Object(entries) if field.is_map() => {
                let FieldKind::Message(inner) = inner.map_entry_value_field().kind() else { continue };
                for (key, value) in entries {
                    collect(schema, &inner, value, format!("{at}/{}", escaped(key)), sites);
                }
            }
            Value::Array(items) => {
                for (index, item) in items.iter().enumerate() {
                    collect(schema, inner, item, format!("{at}/{index}"), sites);
                }
            }
            value => collect(schema, inner, value, at, sites),
        }
    }
    sites.push(Site { pointer, descriptor: payload });
}

/// A key as a JSON pointer has it.
fn escaped(key: &str) -> String {
    key.replace('~', "~0").replace('/', "~1")
}

fn change(
    schema: &Schema,
    random: &mut Random,
    descriptor: &MessageDescriptor,
    map: &mut Map<String, Value>,
) -> Option<String> {
    let present: Vec<FieldDescriptor> = map.keys().filter_map(|key| descriptor.get_field_by_name(key)).collect();
    let all: Vec<FieldDescriptor> = descriptor.fields().collect();
    match random.below(100) {
        0..45 => add(schema, random, &all, map),
        45..63 => remake(schema, random, &random_field(random.clone(), &present)?, map),
        63..70 => drop_field(&random_field(random.clone(), &present)?, map),
        70..77 => stranger(random, &present, map),
        77..81 => {
            let key = *random.pick(&["no_such_field", "@type", "", "name ", "noSuchField"]);
            map.insert(key.to_owned(), json!("x"));
            Some(format!("unknown field {key:?}"))
        }
        81..87 => list(random, &present, map),
        87..91 => rename(random, &present, map),
        91..95 => empty(random, &present, map),
        _ => retype(schema, random, map),
    }
}

/// One of the fields, chosen by a copy of the stream: the stream itself goes on to what is made of the field.
fn random_field(mut random: Random, fields: &[FieldDescriptor]) -> Option<FieldDescriptor> {
    random.below(7);
    random.choose(fields).cloned()
}

/// Puts in a field, or another member of a oneof, that may be there already.
fn add(schema: &Schema, random: &mut Random, all: &[FieldDescriptor], map: &mut Map<String, Value>) -> Option<String> {
    let missing: Vec<_> = all.iter().filter(|field| !map.contains_key(field.name())).collect();
    let field = *random.choose(&missing)?;
    let siblings: Vec<String> = field
        .containing_oneof()
        .filter(|oneof| !oneof.is_synthetic())
        .map(|oneof| oneof.fields().map(|sibling| sibling.name().to_owned()).collect())
        .unwrap_or_default();
    let replaces = !random.percent(15);
    for sibling in siblings.iter().filter(|_| replaces) {
        map.shift_remove(sibling);
    }
    let odd = if random.percent(60) { 5 } else { 60 };
    let value = Maker { schema, random, odd }.field(field, 1);
    let what = format!("added {}", field.name());
    map.insert(field.name().to_owned(), value);
    Some(what)
}

fn remake(
    schema: &Schema,
    random: &mut Random,
    field: &FieldDescriptor,
    map: &mut Map<String, Value>,
) -> Option<String> {
    let odd = if random.percent(40) { 10 } else { 80 };
    let value = Maker { schema, random, odd }.field(field, 2);
    map.insert(field.name().to_owned(), value)?;
    Some(format!("made {} anew", field.name()))
}

fn drop_field(field: &FieldDescriptor, map: &mut Map<String, Value>) -> Option<String> {
    map.shift_remove(field.name())?;
    Some(format!("dropped {}", field.name()))
}

fn stranger(random: &mut Random, present: &[FieldDescriptor], map: &mut Map<String, Value>) -> Option<String> {
    let field = random.choose(present)?;
    let text = *random.pick(STRANGERS);
    let value = serde_json::from_str(text).ok()?;
    map.insert(field.name().to_owned(), value);
    Some(format!("{} is {text}", field.name()))
}

fn list(random: &mut Random, present: &[FieldDescriptor], map: &mut Map<String, Value>) -> Option<String> {
    let lists: Vec<_> = present.iter().filter(|field| field.is_list()).collect();
    let name = random.choose(&lists)?.name();
    let items = map.get_mut(name)?.as_array_mut()?;
    let index = if items.is_empty() { return None } else { random.below(items.len()) };
    let what = match random.below(4) {
        0 | 1 => {
            items.insert(index, items[index].clone());
            "doubled an element of"
        }
        2 => {
            items.remove(index);
            "removed an element of"
        }
        _ => {
            items.push(Value::Null);
            "put null into"
        }
    };
    Some(format!("{what} {name}"))
}

/// The other name of a field, alone or beside the first.
fn rename(random: &mut Random, present: &[FieldDescriptor], map: &mut Map<String, Value>) -> Option<String> {
    let renamed: Vec<_> = present.iter().filter(|field| field.name() != field.json_name()).collect();
    let field = random.choose(&renamed)?;
    let value = map.get(field.name())?.clone();
    let keeps = random.percent(40);
    if !keeps {
        map.shift_remove(field.name());
    }
    map.insert(field.json_name().to_owned(), value);
    Some(format!("{} as {}", field.json_name(), if keeps { "well" } else { "its name" }))
}

fn empty(random: &mut Random, present: &[FieldDescriptor], map: &mut Map<String, Value>) -> Option<String> {
    let field = random.choose(present)?;
    let value = map.get_mut(field.name())?;
    *value = match value {
        Value::Array(_) => json!([]),
        Value::Object(object) => match object.get("@type") {
            Some(name) => json!({"@type": name}),
            None => json!({}),
        },
        Value::String(_) => json!(""),
        Value::Number(_) => json!(0),
        _ => Value::Null,
    };
    Some(format!("emptied {}", field.name()))
}

/// Another type in an `Any`: the fields stay.
fn retype(schema: &Schema, random: &mut Random, map: &mut Map<String, Value>) -> Option<String> {
    let types: Vec<String> =
        map.values().filter_map(|value| Some(value.as_object()?.get("@type")?.as_str()?.to_owned())).collect();
    let old = random.choose(&types)?.clone();
    let name = old.rsplit('/').next().unwrap_or_default();
    let known = schema.extensions().category_of(name).map(|category| schema.extensions().in_category(category));
    let others: Vec<String> =
        known.unwrap_or_default().iter().filter_map(|extension| extension.message.clone()).collect();
    let new = match (random.below(6), random.choose(&others)) {
        (0, _) => format!("type.googleapis.com/{name}X"),
        (1, _) => name.to_owned(),
        (2, _) => format!("example.org/{name}"),
        (3, _) => String::new(),
        (_, Some(other)) => format!("type.googleapis.com/{other}"),
        _ => return None,
    };
    for value in map.values_mut().filter_map(Value::as_object_mut) {
        if value.get("@type").and_then(Value::as_str) == Some(&old) {
            if random.percent(50) {
                value.retain(|key, _| key == "@type");
            }
            value.insert("@type".to_owned(), new.clone().into());
        }
    }
    Some(format!("type {name} is now {new:?}"))
}
