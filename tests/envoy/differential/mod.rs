//! Chancery and Envoy agree on configurations that nobody would think of.
//!
//! The examples and the corpus, as static configurations in Envoy's own JSON, are changed at random: the numbers come from a
//! seed, so that every run sees the same. What `check` takes, Envoy's parser and field rules must take; what `check` refuses, Envoy must
//! refuse. Everything else is a difference, and differences are listed with their reasons in `listed.rs`.
//!
//! `DIFFERENTIAL_SEED=7` looks at others, to find what nobody has listed yet.

mod judge;
mod listed;
mod mutate;
mod values;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::sync::Arc;
use std::time::Instant;

use ::chancery::diagnostic::Finding;
use ::chancery::envoy::Schema;
use serde_json::{Value, json};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

use self::judge::{Class, SECTIONS};
use self::listed::{LENIENT, STRICT};
use crate::golden::yaml_files;
use crate::support::chancery;
use crate::support::examples::{View, examples};
use crate::support::random::Random;

/// The command for a static configuration.
const RENDER: [&str; 4] = ["render", "--bootstrap", "-o", "json"];
const FEW: usize = 300;
const MANY: usize = 2000;
/// The differences of [`MANY`] mutants of this seed are listed.
const SEED: u64 = 1;
/// How many Envoys are asked at once.
const AT_ONCE: usize = 4;
/// Of a hundred mutants, so many are changed in two places.
const TWICE: usize = 20;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_check_accepts_envoy_can_read() {
    let Outcome { wrong, tally, .. } = compare(FEW).await;
    println!("{tally}");
    assert!(wrong.is_empty(), "{} differences:\n{}", wrong.len(), wrong.join("\n"));
}

/// Besides, every difference is listed; it says which entries of the lists nothing was like.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "takes some minutes: run it by `just differential`"]
async fn every_difference_is_listed() {
    let Outcome { wrong, unlisted, unused, tally } = compare(MANY).await;
    println!("{tally}");
    let count = wrong.len() + unlisted.len();
    assert!(count == 0, "{count} differences:\n{}\n{}", wrong.join("\n"), unlisted.join("\n"));
    if !unused.is_empty() {
        println!("listed, and not seen:\n{}", unused.join("\n"));
    }
}

/// What came of a comparison.
#[derive(Default)]
struct Outcome {
    /// How many of each sort there were.
    tally: String,
    /// What may never be.
    wrong: Vec<String>,
    /// What Envoy refuses for a reason beyond its parser and field rules, and is not in the list.
    unlisted: Vec<String>,
    /// Entries of the lists that nothing was like.
    unused: Vec<String>,
}

/// A configuration that is changed.
struct Origin {
    name: String,
    config: Value,
}

/// A changed configuration, and what was done to it.
struct Mutant {
    name: String,
    config: Value,
}

/// A mutant with what is said of it.
struct Judged {
    mutant: Mutant,
    ours: Vec<Finding>,
    class: Class,
    /// Envoy's words.
    message: String,
}

fn seed() -> u64 {
    let given = std::env::var("DIFFERENTIAL_SEED").ok();
    given.map_or(SEED, |text| text.parse().expect("DIFFERENTIAL_SEED is a number"))
}

async fn compare(count: usize) -> Outcome {
    let start = Instant::now();
    let origins = origins().await;
    assert!(origins.len() >= 20, "only {} configurations were found", origins.len());
    let mut tally: BTreeMap<(bool, Class), usize> = BTreeMap::new();
    let mut outcome = Outcome::default();
    let mut used = BTreeSet::new();
    for judged in judge_all(mutants(&origins, count)).await {
        *tally.entry((judged.ours.is_empty(), judged.class)).or_default() += 1;
        match (judged.ours.is_empty(), judged.class) {
            (true, Class::Accepted) | (false, Class::Parse | Class::Rule | Class::Meaning | Class::Crash) => {}
            (true, Class::Parse | Class::Rule) => outcome.wrong.push(judged.told()),
            (true, Class::Meaning | Class::Crash) => match judged.lenient() {
                Some(said) => _ = used.insert(said),
                None if judged.class == Class::Meaning => outcome.unlisted.push(judged.told()),
                None => outcome.wrong.push(judged.told()),
            },
            (false, Class::Accepted) => match judged.strict() {
                Some(said) => used.extend(said),
                None => outcome.wrong.push(judged.told()),
            },
        }
    }
    let lenient = LENIENT.iter().flat_map(|entry| entry.said.iter().map(|said| (*said, entry.why)));
    let listed = lenient.chain(STRICT.iter().map(|entry| (entry.said, entry.why)));
    let unused = listed.filter(|(said, _)| !used.contains(said));
    outcome.unused = unused.map(|(said, why)| format!("- {said}: {why}")).collect();
    outcome.tally = format!("{count} mutants of {} configurations in {:?}", origins.len(), start.elapsed());
    for ((accepted, class), count) in &tally {
        let ours = if *accepted { "accepts" } else { "refuses" };
        _ = write!(outcome.tally, "\ncheck {ours}, Envoy {class:?}: {count}");
    }
    let accepted: usize = tally.iter().filter(|((accepted, _), _)| *accepted).map(|(_, count)| count).sum();
    assert!(
        accepted >= count / 4 && accepted <= count * 3 / 4,
        "{accepted} of {count} were accepted: nothing to compare"
    );
    outcome
}

impl Judged {
    /// What the list says of a refusal that is Envoy's alone.
    fn lenient(&self) -> Option<&'static str> {
        let mut listed = LENIENT.iter().flat_map(|entry| entry.said);
        listed.find(|said| self.message.contains(*said)).copied()
    }

    /// What the list says of each error, if the refusal is ours alone.
    fn strict(&self) -> Option<Vec<&'static str>> {
        let listed = |finding: &Finding| {
            let entry = STRICT.iter().find(|entry| entry.code == finding.code && finding.message.contains(entry.said));
            entry.map(|entry| entry.said)
        };
        self.ours.iter().map(listed).collect()
    }

    fn told(&self) -> String {
        let Self { mutant, ours, class, message } = self;
        let ours: Vec<_> = ours.iter().map(|it| format!("error[{}] {}: {}", it.code, it.path, it.message)).collect();
        let ours = if ours.is_empty() { "accepts it".to_owned() } else { ours.join("; ") };
        format!("- {}\n  check: {ours}\n  Envoy: {class:?} {message}", mutant.name)
    }
}

/// The examples and the corpus as static configurations, but for those that Envoy does not load as they are.
async fn origins() -> Vec<Origin> {
    let mut runs = JoinSet::new();
    let slots = Arc::new(Semaphore::new(AT_ONCE));
    for example in examples() {
        let slot = Arc::clone(&slots).acquire_owned().await.unwrap();
        runs.spawn(async move {
            let _slot = slot;
            let mut origins = Vec::new();
            for View { name, arguments, .. } in example.views().await {
                origins.extend(loaded(name, &example.run(&RENDER, &arguments).await).await);
            }
            origins
        });
    }
    for name in yaml_files("tests/corpus") {
        let slot = Arc::clone(&slots).acquire_owned().await.unwrap();
        runs.spawn(async move {
            let _slot = slot;
            let name = format!("tests/corpus/{name}.yaml");
            let rendered = chancery::run(&[&RENDER[..], &[&name]].concat()).await;
            assert_eq!(rendered.code, 0, "{name}: {rendered:?}");
            loaded(name, &rendered.stdout).await.into_iter().collect()
        });
    }
    let mut origins: Vec<Origin> = runs.join_all().await.into_iter().flatten().collect();
    origins.sort_by(|a, b| a.name.cmp(&b.name));
    origins
}

/// A static configuration, if Envoy loads it.
async fn loaded(name: String, rendered: &str) -> Option<Origin> {
    let mut config: Value = serde_json::from_str(rendered).unwrap();
    // Without it, Envoy takes no internal address.
    config["bootstrap_extensions"] = json!([{"name": "internal", "typed_config": {
        "@type": "type.googleapis.com/envoy.extensions.bootstrap.internal_listener.v3.InternalListener"
    }}]);
    let dir = tempfile::tempdir().unwrap();
    let (class, _) = judge::envoys(dir.path(), 0, &config).await;
    (class == Class::Accepted).then_some(Origin { name, config })
}

/// Of each configuration equally many.
fn mutants(origins: &[Origin], count: usize) -> impl Iterator<Item = Mutant> {
    (0..count).map(|number| mutant(&origins[number % origins.len()], number / origins.len()))
}

fn mutant(origin: &Origin, number: usize) -> Mutant {
    let schema = Schema::embedded();
    let name = format!("{}-{number}", origin.name);
    let mut random = Random::new(seed(), &name);
    let mut config = origin.config.clone();
    let mut changes = Vec::new();
    let wanted = if random.percent(TWICE) { 2 } else { 1 };
    while changes.len() < wanted {
        let mut places = Vec::new();
        for (section, message) in SECTIONS {
            let count = config["static_resources"][section].as_array().map_or(0, Vec::len);
            places.extend((0..count).map(|index| (section, message, index)));
        }
        let (section, message, index) = *random.pick(&places);
        let resource = &mut config["static_resources"][section][index];
        let change = mutate::mutate(&schema, &mut random, message, resource);
        changes.extend(change.map(|what| format!("{section}[{index}] {what}")));
    }
    Mutant { name: format!("{name}: {}", changes.join("; ")), config }
}

/// In the order of the mutants.
async fn judge_all(mutants: impl Iterator<Item = Mutant>) -> Vec<Judged> {
    let schema = Schema::embedded();
    let dir = Arc::new(tempfile::tempdir().unwrap());
    let slots = Arc::new(Semaphore::new(AT_ONCE));
    let mut runs = JoinSet::new();
    for (number, mutant) in mutants.enumerate() {
        let slot = Arc::clone(&slots).acquire_owned().await.unwrap();
        let (dir, schema) = (Arc::clone(&dir), Arc::clone(&schema));
        runs.spawn(async move {
            let _slot = slot;
            let ours = judge::ours(&schema, &mutant.config);
            let (class, message) = judge::envoys(dir.path(), number, &mutant.config).await;
            (number, Judged { mutant, ours, class, message })
        });
    }
    let mut all = runs.join_all().await;
    all.sort_by_key(|(number, _)| *number);
    all.into_iter().map(|(_, judged)| judged).collect()
}
