//! What a static configuration writes in place becomes a resource of its own, so that it can be served.
//!
//! This is the inverse of `../static_bootstrap`: inline route tables go over RDS, secrets that stand in the bootstrap over
//! SDS. Everything after this step is equality, field for field.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};

use super::fold::Object;
use super::original::Original;
use crate::diagnostic::{Finding, Findings, Level};
use crate::envoy::Kind;

/// The code of what gets a name that it did not have.
const NAMED: &str = "import-named";

const MANAGER: &str =
    "type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager";

fn ads() -> Value {
    json!({"ads": {}, "resource_api_version": "V3"})
}

/// Names what has no name, and moves what is served apart.
pub(super) fn lift(originals: &mut Vec<Original>, findings: &mut Findings) {
    name_listeners(originals, findings);
    let secrets: BTreeSet<String> =
        originals.iter().filter(|it| it.kind == Kind::Secret && it.is_static).map(|it| it.name.clone()).collect();
    let tables = originals.iter().filter(|it| it.kind == Kind::Route);
    let mut tables: BTreeMap<String, Object> = tables.map(|it| (it.name.clone(), it.json.clone())).collect();
    let mut made = Vec::new();
    for original in originals.iter_mut() {
        for value in original.json.values_mut() {
            secret_sources(value, &secrets);
        }
        if original.kind == Kind::Listener {
            for (name, json) in route_tables(original, &mut tables) {
                made.push(Original { kind: Kind::Route, name, json, span: original.span, is_static: false });
            }
        }
    }
    originals.extend(made);
}

/// A listener without a name can be served neither a second time nor no more.
fn name_listeners(originals: &mut [Original], findings: &mut Findings) {
    let listeners = || originals.iter().filter(|it| it.kind == Kind::Listener);
    let mut taken: BTreeSet<String> = listeners().map(|it| it.name.clone()).collect();
    for original in originals.iter_mut().filter(|it| it.kind == Kind::Listener && it.name.is_empty()) {
        let port = original.json.get("address").and_then(|it| it.pointer("/socket_address/port_value"));
        let stem = port.map_or_else(|| "listener".to_owned(), |port| format!("listener_{port}"));
        let numbered = (2_u32..).map(|number| format!("{stem}_{number}"));
        let mut names = std::iter::once(stem.clone()).chain(numbered);
        let Some(name) = names.find(|name| !taken.contains(name)) else { continue };
        taken.insert(name.clone());
        let message = format!("this listener has no name; it is called `{name}` now");
        findings.push(Finding { level: Level::Info, ..Finding::warning(NAMED, original.span, "", message) });
        original.json.shift_insert(0, "name".to_owned(), name.clone().into());
        original.name = name;
    }
}

/// A reference without a source is one to the bootstrap's secrets, which move.
fn secret_sources(value: &mut Value, secrets: &BTreeSet<String>) {
    match value {
        Value::Array(items) => items.iter_mut().for_each(|item| secret_sources(item, secrets)),
        Value::Object(map) => {
            for (key, value) in map.iter_mut() {
                let list = match (key.ends_with("sds_secret_config"), value) {
                    (true, Value::Object(reference)) => std::slice::from_mut(reference).iter_mut().collect(),
                    (false, Value::Array(items)) if key.ends_with("sds_secret_configs") => {
                        items.iter_mut().filter_map(Value::as_object_mut).collect::<Vec<_>>()
                    }
                    (_, value) => {
                        secret_sources(value, secrets);
                        continue;
                    }
                };
                for reference in list {
                    let known = reference.get("name").and_then(Value::as_str).is_some_and(|it| secrets.contains(it));
                    if known && !reference.contains_key("sds_config") {
                        reference.insert("sds_config".to_owned(), ads());
                    }
                }
            }
        }
        _ => {}
    }
}

/// Takes the route tables out of the connection managers that end a listener's chains, unless another of the same name
/// says something else.
fn route_tables(listener: &mut Original, tables: &mut BTreeMap<String, Object>) -> Vec<(String, Object)> {
    let (name, json) = (&listener.name, &mut listener.json);
    let mut made = Vec::new();
    let several = json.get("filter_chains").and_then(Value::as_array).map_or(0, Vec::len)
        + usize::from(json.contains_key("default_filter_chain"))
        > 1;
    for key in ["filter_chains", "default_filter_chain"] {
        let chains: Vec<&mut Value> = match json.get_mut(key) {
            Some(Value::Array(chains)) => chains.iter_mut().collect(),
            Some(chain) => vec![chain],
            None => continue,
        };
        for chain in chains {
            let own = chain.get("name").or_else(|| chain.pointer("/filter_chain_match/server_names/0"));
            let own = own.and_then(Value::as_str).filter(|_| several).map(str::to_owned);
            let filter = chain.get_mut("filters").and_then(|filters| filters.as_array_mut()?.last_mut());
            let config = filter.and_then(|filter| filter.get_mut("typed_config")?.as_object_mut());
            let Some(manager) = config.filter(|it| it.get("@type").and_then(Value::as_str) == Some(MANAGER)) else {
                continue;
            };
            let Some(Value::Object(table)) = manager.get("route_config") else { continue };
            let mut table = table.clone();
            let strict = table.get("validate_clusters") == Some(&Value::Bool(true));
            if strict || table.contains_key("vhds") {
                continue;
            }
            // Over RDS that is the default.
            table.shift_remove("validate_clusters");
            let stated = table.get("name").and_then(Value::as_str).map(str::to_owned);
            let derived = own.map_or_else(|| name.clone(), |own| format!("{name}/{own}"));
            let table_name = stated.unwrap_or(derived);
            table.shift_remove("name");
            table.shift_insert(0, "name".to_owned(), table_name.clone().into());
            match tables.get(&table_name) {
                Some(other) if *other != table => continue,
                Some(_) => {}
                None => {
                    tables.insert(table_name.clone(), table.clone());
                    made.push((table_name.clone(), table));
                }
            }
            manager.shift_remove("route_config");
            let rds = json!({"config_source": ads(), "route_config_name": table_name});
            manager.insert("rds".to_owned(), rds);
        }
    }
    made
}
