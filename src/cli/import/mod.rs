//! `chancery import`: an Envoy configuration becomes a topology.
//!
//! Enters: a static bootstrap, or the files of Envoy's filesystem xDS. Leaves: a topology in short forms, and a list of what
//! has no place in one. Knows: how Envoy's forms are usually written shorter, as guesses; whether a guess is right, only the
//! real expansion says. Invariant: what the topology expands to equals the original resources, field for field, but for what
//! is said: names that were missing, and inline tables and secrets that are served apart (`lift`).

mod confirm;
mod fold;
mod lift;
mod original;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::io::Write as _;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

use serde_json::Value;

use self::confirm::{Items, Verdict, confirm};
use self::fold::{Folder, Rules};
use self::original::Original;
use super::input::Input;
use super::{NO, yaml};
use crate::diagnostic::{Files, Findings, Level, Report};
use crate::envoy::{Kind, Schema};
use crate::source::Document;

/// How often fields with defaults are looked for: a default may bring a message with defaults of its own.
const ROUNDS: usize = 4;

/// Turn an Envoy configuration into a topology.
///
/// Takes static configurations, and the files of filesystem xDS (`resources:`), several of them together. The topology goes
/// to standard output; what stays behind is listed on standard error, with its place.
#[derive(Clone, Debug, clap::Args)]
pub(super) struct Import {
    /// Files with Envoy configuration, in YAML or JSON; `-` is standard input
    #[arg(value_name = "FILE", required = true)]
    paths: Vec<PathBuf>,

    /// Compiled descriptors of contrib or custom extensions (`protoc --include_imports --descriptor_set_out`)
    #[arg(long, env = "CHANCERY_DESCRIPTOR_SET", value_name = "FILE", value_delimiter = ',')]
    descriptor_set: Vec<PathBuf>,
}

impl Import {
    pub(super) fn run(self) -> anyhow::Result<ExitCode> {
        let input = Input::new(self.paths, self.descriptor_set);
        let (schema, documents) = input.load()?;
        let (text, report) = import(&schema, &documents);
        write!(std::io::stderr().lock(), "{}", report.render_all(Level::Info))?;
        let Some(text) = text else { return Ok(NO) };
        write!(std::io::stdout().lock(), "{text}")?;
        Ok(ExitCode::SUCCESS)
    }
}

/// The topology, unless something could not be understood.
fn import(schema: &Schema, documents: &[Document]) -> (Option<String>, Report) {
    let mut files = Files::new();
    let mut findings = Findings::new();
    let originals = original::read(schema, documents, &mut files, &mut findings);
    let mut out = Vec::new();
    for (group, mut originals) in originals {
        lift::lift(&mut originals, &mut findings);
        let units = units(&originals);
        let items = units.iter().flat_map(|unit| fold_unit(schema, unit)).collect();
        out.push(yaml::to_string(&confirm::document(&group, items)));
    }
    if out.is_empty() {
        out.push("version: 1\nlisteners: []\n".to_owned());
    }
    let report = Report::new(findings, Arc::new(files));
    let text = (!report.has_errors()).then(|| out.join("---\n"));
    (text, report)
}

/// A resource with those that may be written inside it.
struct Unit<'a> {
    main: &'a Original,
    inside: Vec<&'a Original>,
}

impl<'a> Unit<'a> {
    fn all(&self) -> Vec<&'a Original> {
        std::iter::once(self.main).chain(self.inside.iter().copied()).collect()
    }
}

/// Endpoints belong to the one cluster of their name, route tables to the one listener that refers to them.
fn units(originals: &[Original]) -> Vec<Unit<'_>> {
    let mut owners: BTreeMap<(Kind, String), Vec<usize>> = BTreeMap::new();
    for (index, original) in originals.iter().enumerate() {
        let names = match original.kind {
            Kind::Cluster => service_name(original).map(|name| (Kind::Endpoint, name)).into_iter().collect(),
            Kind::Listener => {
                let mut names = Vec::new();
                for value in original.json.values() {
                    table_names(value, &mut names);
                }
                names.into_iter().map(|name| (Kind::Route, name)).collect::<Vec<_>>()
            }
            _ => Vec::new(),
        };
        for key in names {
            owners.entry(key).or_default().push(index);
        }
    }
    let mut inside: BTreeMap<usize, Vec<&Original>> = BTreeMap::new();
    let mut outside = Vec::new();
    for (index, original) in originals.iter().enumerate() {
        match owners.get(&(original.kind, original.name.clone())).map(Vec::as_slice) {
            Some([owner]) => inside.entry(*owner).or_default().push(original),
            _ => outside.push((index, original)),
        }
    }
    let unit = |(index, main)| Unit { main, inside: inside.remove(&index).unwrap_or_default() };
    outside.into_iter().map(unit).collect()
}

fn service_name(cluster: &Original) -> Option<String> {
    let is_eds = cluster.json.get("type").and_then(Value::as_str) == Some("EDS");
    let service = cluster.json.get("eds_cluster_config").and_then(|eds| eds.get("service_name")?.as_str());
    is_eds.then(|| service.unwrap_or(&cluster.name).to_owned())
}

/// Names of route tables that are asked for, wherever that may be.
fn table_names(value: &Value, names: &mut Vec<String>) {
    match value {
        Value::Array(items) => items.iter().for_each(|item| table_names(item, names)),
        Value::Object(map) => {
            names.extend(map.get("route_config_name").and_then(Value::as_str).map(str::to_owned));
            map.values().for_each(|value| table_names(value, names));
        }
        _ => {}
    }
}

/// The shortest items that are confirmed to mean the originals.
fn fold_unit(schema: &Schema, unit: &Unit<'_>) -> Items {
    let mut rules = Rules::default();
    let used = match attempt(schema, unit, &mut rules) {
        Ok(items) => return needed(schema, unit, rules, items),
        Err(used) => used,
    };
    // Some guess is wrong. Beginning with none, each is kept if nothing differs with it.
    let mut rules = Rules { allowed: Some(BTreeSet::new()), ..Rules::default() };
    let Ok(mut best) = attempt(schema, unit, &mut rules) else {
        // Then the friendly form is not for the resource, but perhaps for those beside it.
        let alone = unit.inside.iter().map(|main| Unit { main, inside: Vec::new() });
        return std::iter::once(verbatim(unit.main)).chain(alone.flat_map(|unit| fold_unit(schema, &unit))).collect();
    };
    for rule in used {
        let mut more = rules.clone();
        more.allowed.get_or_insert_default().insert(rule);
        if let Ok(items) = attempt(schema, unit, &mut more) {
            (best, rules) = (items, more);
        }
    }
    needed(schema, unit, rules, best)
}

/// The items without those explicit `null`s that only went along with others.
fn needed(schema: &Schema, unit: &Unit<'_>, mut rules: Rules, mut items: Items) -> Items {
    for null in rules.nulls.clone() {
        rules.nulls.remove(&null);
        let fewer = fold(schema, unit, &rules).items;
        match confirm(schema, fewer.clone(), &unit.all()) {
            Verdict::Equal => items = fewer,
            Verdict::Differs(_) => _ = rules.nulls.insert(null),
        }
    }
    items
}

/// A guess, and the rules that it was made with.
struct Guess {
    items: Items,
    used: BTreeSet<String>,
}

/// Folds with the rules, and with as many explicit `null`s as it takes. If it comes to nothing: the rules that were used.
fn attempt(schema: &Schema, unit: &Unit<'_>, rules: &mut Rules) -> Result<Items, BTreeSet<String>> {
    let originals = unit.all();
    let mut all = BTreeSet::new();
    for _ in 0..ROUNDS {
        let Guess { items, used } = fold(schema, unit, rules);
        all.extend(used);
        match confirm(schema, items.clone(), &originals) {
            Verdict::Equal => return Ok(items),
            Verdict::Differs(nulls) => {
                let before = rules.nulls.len();
                rules.nulls.extend(nulls);
                if rules.nulls.len() == before {
                    break;
                }
            }
        }
    }
    Err(all)
}

fn fold(schema: &Schema, unit: &Unit<'_>, rules: &Rules) -> Guess {
    let mut folder = Folder::new(schema, rules);
    for it in &unit.inside {
        folder.inside.insert((it.kind, it.name.clone()), it.json.clone());
    }
    let mut items = vec![(unit.main.kind, item(&mut folder, unit.main.kind, unit.main.json.clone()))];
    for ((kind, _), json) in std::mem::take(&mut folder.inside) {
        items.push((kind, item(&mut folder, kind, json)));
    }
    Guess { items, used: folder.used }
}

/// A resource as an item; what has no section of its own is verbatim.
fn item(folder: &mut Folder<'_>, kind: Kind, json: fold::Object) -> Value {
    if crate::topology::section_of(kind) == "resources" { typed(kind, json) } else { folder.resource(kind, json) }
}

fn verbatim(original: &Original) -> (Kind, Value) {
    (original.kind, typed(original.kind, original.json.clone()))
}

fn typed(kind: Kind, mut json: fold::Object) -> Value {
    json.shift_insert(0, "@type".to_owned(), kind.type_url().into());
    Value::Object(json)
}
