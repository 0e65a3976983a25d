//! `assets/extensions.json`.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

use anyhow::{Context as _, ensure};
use serde_json::{Value, json};

use crate::{ENVOY_VERSION, root, running};

/// Makes the table and writes it, or compares it with the one that is there; returns what differs.
pub(crate) fn run(envoy: &Path, check: bool) -> anyhow::Result<Vec<String>> {
    let info: Value = serde_json::from_str(&running::ask(envoy, "/server_info")?)?;
    let version = info["version"].as_str().context("Envoy does not tell its version")?;
    ensure!(version.contains(&format!("/{ENVOY_VERSION}/")), "this is Envoy {version}, not {ENVOY_VERSION}");
    let extensions = info["node"]["extensions"].as_array().context("Envoy does not tell its extensions")?;

    let mut rows = 0;
    let mut categories: BTreeMap<&str, BTreeMap<&str, Vec<&str>>> = BTreeMap::new();
    for extension in extensions {
        let text = |key: &str| extension[key].as_str().with_context(|| format!("an extension without {key}"));
        let messages = extension["type_urls"].as_array().map(Vec::as_slice).unwrap_or_default();
        let mut messages: Vec<&str> = messages.iter().filter_map(Value::as_str).collect();
        messages.sort_unstable();
        rows += usize::from(categories.entry(text("category")?).or_default().insert(text("name")?, messages).is_none());
    }
    println!("{rows} extensions in {} categories", categories.len());
    let fresh = format!("{:#}\n", table(&categories));

    let path = root().join("assets/extensions.json");
    if !check {
        fs::write(&path, fresh).with_context(|| format!("cannot write {}", path.display()))?;
        return Ok(Vec::new());
    }
    let current = fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
    if current == fresh {
        return Ok(Vec::new());
    }
    let (old, new) =
        (rows_of(&serde_json::from_str(&current).unwrap_or_default()), rows_of(&serde_json::from_str(&fresh)?));
    let mut drift = vec!["assets/extensions.json differs from what this Envoy tells:".to_owned()];
    drift.extend(new.difference(&old).map(|row| format!("  + {row}")));
    drift.extend(old.difference(&new).map(|row| format!("  - {row}")));
    Ok(drift)
}

fn table(categories: &BTreeMap<&str, BTreeMap<&str, Vec<&str>>>) -> Value {
    let row = |(name, messages): (&&str, &Vec<&str>)| {
        if messages.is_empty() { json!({"name": name}) } else { json!({"name": name, "messages": messages}) }
    };
    let categories: serde_json::Map<String, Value> =
        categories.iter().map(|(category, rows)| ((*category).to_owned(), rows.iter().map(row).collect())).collect();
    json!({"envoy_version": ENVOY_VERSION, "categories": categories})
}

/// The rows of a table, one line each.
fn rows_of(table: &Value) -> BTreeSet<String> {
    let categories = table["categories"].as_object().into_iter().flatten();
    let rows = categories.flat_map(|(category, rows)| {
        rows.as_array().into_iter().flatten().map(move |row| format!("{category}: {row}"))
    });
    rows.collect()
}
