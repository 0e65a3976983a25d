//! Chancery and Envoy agree on configurations that nobody would think of.

mod judge;
mod mutate;
mod random;
mod values;

use std::sync::Arc;

use ::chancery::envoy::Schema;
use serde_json::{Value, json};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

use self::judge::{Class, SECTIONS};
use self::random::Random;
use crate::golden::{Example, examples};
use crate::support::chancery;

const SEED: u64 = 1;

/// A configuration that is changed.
struct Origin {
    name: String,
    config: Value,
}

/// A changed configuration, what was done to it, and what is said of it.
struct Mutant {
    name: String,
    changes: String,
    config: Value,
}

async fn origins() -> Vec<Origin> {
    let mut origins = Vec::new();
    for Example { name, arguments } in examples().await {
        let all = ["render", "--bootstrap", "-o", "json"].into_iter().chain(arguments.iter().map(String::as_str));
        let rendered = chancery::run(&all.collect::<Vec<_>>()).await;
        assert_eq!(rendered.code, 0, "{name}: {rendered:?}");
        let mut config: Value = serde_json::from_str(&rendered.stdout).unwrap();
        // Without it, Envoy takes no internal address.
        config["bootstrap_extensions"] = json!([{"name": "internal", "typed_config": {
            "@type": "type.googleapis.com/envoy.extensions.bootstrap.internal_listener.v3.InternalListener"
        }}]);
        origins.push(Origin { name, config });
    }
    origins.sort_by(|a, b| a.name.cmp(&b.name));
    origins
}

fn mutant(schema: &Schema, seed: u64, number: usize, origin: &Origin) -> Mutant {
    let name = format!("{}-{number}", origin.name);
    let mut random = Random::new(seed, &name);
    let mut config = origin.config.clone();
    let mut changes = Vec::new();
    let wanted = if random.percent(20) { 2 } else { 1 };
    while changes.len() < wanted {
        let places: Vec<(&str, &str, usize)> = SECTIONS
            .iter()
            .flat_map(|(section, message)| {
                let count = config["static_resources"][section].as_array().map_or(0, Vec::len);
                (0..count).map(move |index| (*section, *message, index))
            })
            .collect();
        let (section, message, index) = *random.pick(&places);
        let resource = &mut config["static_resources"][section][index];
        changes.extend(mutate::mutate(schema, &mut random, message, resource).map(|what| format!("{section}[{index}] {what}")));
    }
    Mutant { name, changes: changes.join("; "), config }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn explore() {
    let var = |name: &str| std::env::var(name).ok().and_then(|text| text.parse::<usize>().ok());
    let seed = var("SEED").map_or(SEED, |seed| seed as u64);
    let count = var("MUTANTS").unwrap_or(300);
    let schema = Schema::embedded();
    let start = std::time::Instant::now();
    let origins = origins().await;
    println!("origins {:?}", start.elapsed());
    let dir = Arc::new(tempfile::tempdir().unwrap());
    let slots = Arc::new(Semaphore::new(4));
    let mut runs = JoinSet::new();
    let mut ours_time = std::time::Duration::ZERO;
    for number in (0..count).filter(|n| var("ONLY").is_none_or(|only| only == *n)) {
        let origin = &origins[number % origins.len()];
        let mutant = mutant(&schema, seed, number / origins.len(), origin);
        let t = std::time::Instant::now();
        let ours = judge::ours(&schema, &mutant.config);
        ours_time += t.elapsed();
        let permit = Arc::clone(&slots).acquire_owned().await.unwrap();
        let dir = Arc::clone(&dir);
        runs.spawn(async move {
            let (class, message) = judge::envoys(dir.path(), number, &mutant.config).await;
            drop(permit);
            (number, mutant, ours, class, message)
        });
    }
    let mut all = runs.join_all().await;
    all.sort_by_key(|(number, ..)| *number);
    let mut counts = std::collections::BTreeMap::new();
    let mut out = String::new();
    for (_, mutant, ours, class, message) in &all {
        if *class == Class::Crash { std::fs::write(format!("/tmp/diffwork/crash-{}.json", mutant.name), mutant.config.to_string()).unwrap(); }
        *counts.entry((ours.is_empty(), *class)).or_insert(0) += 1;
        if ours.is_empty() != (*class == Class::Accepted) {
            let codes: Vec<String> = ours.iter().map(|f| format!("{} @ {}: {}", f.code, f.path, f.message)).collect();
            out += &format!("{} [{}] {class:?}\n  ours: {codes:?}\n  envoy: {message}\n", mutant.name, mutant.changes);
        }
    }
    println!("{counts:?} in {:?}, ours {ours_time:?}", start.elapsed());
    std::fs::write(std::env::var("OUT").unwrap(), out).unwrap();
}
