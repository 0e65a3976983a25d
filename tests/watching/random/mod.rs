//! Ten thousand random operations on files, in bursts, with contents of all sorts: whenever the writer pauses, what is served
//! is what is on disk if that is good, and else something good that was on disk; at no time is it anything else.
//!
//! Only events tell of changes here. `disk` is what must be true, `plain` and `swapped` are the ways in which files lie on it.

mod disk;
mod plain;
mod swapped;

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use chancery::envoy::{Kind, Schema};
use chancery::pipeline::{self, Memory, Outcome, World};
use chancery::reload::{Builder, Options};
use chancery::snapshot::{DEFAULT_GROUP, Snapshot};
use chancery::source::Document;
use tokio::task::JoinSet;

use self::disk::{Clusters, Disk};
use self::plain::Plain;
use self::swapped::{ConfigMap, GitSync};
use crate::reload::{EVENTS, Running};
use crate::state::Random;

/// Of each of the four tests.
const OPERATIONS: usize = 10_000 / 4;

/// The most operations between two pauses.
const BURST: u64 = 60;

/// Files are read as soon as possible, so in the midst of bursts too.
const HASTY: Options = Options { settle: Duration::from_millis(2), ..EVENTS };

/// Files on a disk, and what can happen to them.
trait Layout {
    /// The path to follow.
    fn followed(&self) -> PathBuf;

    /// Does something, and writes down what is then on disk.
    fn operate(&mut self, random: &mut Random, disk: &mut Disk);

    /// Whether nothing that was begun is to be ended.
    fn is_at_rest(&self) -> bool {
        true
    }

    /// Everything that was done so far was noticed.
    fn paused(&mut self) {}

    /// Whether several files are replaced in one step, so that each content has files of one generation only.
    fn is_atomic(&self) -> bool;
}

fn clusters(snapshot: &Snapshot) -> Clusters {
    let group = snapshot.group(DEFAULT_GROUP).unwrap();
    group.resources(Kind::Cluster).iter().map(|cluster| cluster.name.to_string()).collect()
}

/// Builds as the program does, and writes down all that it is about to publish.
fn recording(made: Arc<Mutex<Vec<Clusters>>>) -> Builder {
    let (schema, memory) = (Schema::embedded(), Mutex::new(Memory::default()));
    Arc::new(move |documents: &[Document], world: &World<'_>, previous: Option<&Snapshot>| {
        let build = pipeline::build(&schema, documents, world, previous, &mut memory.lock().unwrap());
        if let Outcome::Changed { snapshot, .. } = &build.outcome {
            made.lock().unwrap().push(clusters(snapshot));
        }
        build
    })
}

/// A seed of the environment's, to find what another one does.
fn seed() -> u64 {
    std::env::var("SEED").map_or(20_261_122, |seed| seed.parse().expect("a number"))
}

/// What came of it.
#[derive(Debug, Default)]
struct Tally {
    operations: usize,
    good_pauses: usize,
    bad_pauses: usize,
    snapshots: usize,
    longest_wait: Duration,
}

/// A writer who takes longer than this may be cut short: within two seconds, less what a busy machine may lose.
const SLOW: Duration = Duration::from_millis(1_500);

async fn survives(start: impl FnOnce(&mut Disk) -> Box<dyn Layout>) {
    let seed = seed();
    eprintln!("SEED={seed}");
    let (mut random, mut disk) = (Random(seed), Disk::default());
    let mut layout = start(&mut disk);
    let made = Arc::new(Mutex::new(Vec::new()));
    let running = Running::building(&[&layout.followed()], HASTY, recording(Arc::clone(&made)));
    let mut observers = JoinSet::new();
    let published = Arc::new(Mutex::new(Vec::new()));
    let (store, observed) = (Arc::clone(&running.store), Arc::clone(&published));
    let mut publications = store.subscribe();
    observers.spawn(async move {
        while publications.changed().await.is_ok() {
            observed.lock().unwrap().extend(store.load().as_deref().map(clusters));
        }
    });
    let mut served = None;
    let mut tally = Tally::default();
    while tally.operations < OPERATIONS {
        let was_there = disk.is_there();
        let burst = random.below(BURST);
        for step in 0.. {
            layout.operate(&mut random, &mut disk);
            tally.operations += 1;
            if random.below(20) == 0 {
                running.trigger.ring();
            }
            // It ends with something that can be told from all that was before.
            if step >= burst && layout.is_at_rest() && (disk.is_new() || (was_there && !disk.is_there())) {
                break;
            }
        }
        let paused = Instant::now();
        let told = running.says(|status| disk.is_told_by(status)).await;
        tally.longest_wait = tally.longest_wait.max(paused.elapsed());
        let asked = running.trigger.reload().await.unwrap();
        assert!(disk.is_told_by(&asked), "{disk:?}, but {asked:?}");
        if disk.is_new() {
            assert_eq!(
                asked.attempted, told.attempted,
                "{disk:?}: they were told of, and yet there was news: {asked:?}"
            );
        }
        let possible: BTreeSet<_> = disk.good().iter().cloned().chain(served).collect();
        let [made, published] = [&made, &published].map(|seen| std::mem::take(&mut *seen.lock().unwrap()));
        tally.snapshots += made.len();
        served = running.store.load().as_deref().map(clusters);
        for clusters in made.iter().chain(&published).chain(&served) {
            let generations: BTreeSet<_> = clusters.iter().map(|name| name.split('-').nth(1)).collect();
            assert!(!layout.is_atomic() || generations.len() == 1, "{clusters:?} are of several generations");
            assert!(possible.contains(clusters), "{clusters:?} was never on disk: {possible:?}");
        }
        if let Some(good) = disk.clusters() {
            assert_eq!(served.as_ref(), Some(&good), "{asked:?}");
            tally.good_pauses += 1;
        } else {
            tally.bad_pauses += 1;
        }
        disk.pause();
        layout.paused();
    }
    eprintln!("{tally:?}");
    assert!(tally.good_pauses > 10 && tally.bad_pauses > 5 && tally.snapshots > 10, "{tally:?}");
    assert_eq!(running.metric("chancery_watch_polls_total"), 0);
    running.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_single_file() {
    survives(|disk| Box::new(Plain::file(disk))).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_directory_of_files() {
    survives(|disk| Box::new(Plain::directory(disk))).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_config_map() {
    survives(|disk| Box::new(ConfigMap::new(disk))).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_git_sync_link() {
    survives(|disk| Box::new(GitSync::new(disk))).await;
}
