#![allow(clippy::print_stdout, reason = "a benchmark prints what it measured")]
//! What following files costs on an idle machine: how long an edit takes until its snapshot is published, and what it costs
//! that there is none.
//!
//! `cargo bench --bench edit`. It takes about two minutes, of which most is waiting.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use chancery::envoy::Schema;
use chancery::pipeline::{self, Memory, World};
use chancery::reload::{Metrics, Options, Reload, StatusCell, Verdict};
use chancery::snapshot::{Snapshot, Store};
use chancery::source::{Document, Sources};
use prometheus_client::registry::Registry;
use tokio::runtime::Runtime;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

/// What the server uses.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const EDITS: usize = 500;

/// Between two edits, so that each finds the task at rest.
const REST: Duration = Duration::from_millis(10);

/// Long enough for one of the readings in full, which come once a minute.
const IDLE: Duration = Duration::from_secs(75);

/// Of the directory.
const FILES: usize = 1_000;

/// A reload task as `chancery serve` runs it.
struct Running {
    runtime: Runtime,
    store: Arc<Store>,
    registry: Registry,
    shutdown: CancellationToken,
    tasks: JoinSet<()>,
}

impl Running {
    /// Follows a path, and waits until what is there is published.
    fn follow(path: &Path, schema: &Arc<Schema>) -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().expect("a runtime starts");
        let (schema, memory) = (Arc::clone(schema), Mutex::new(Memory::default()));
        let build = move |documents: &[Document], world: &World<'_>, previous: Option<&Snapshot>| {
            let mut memory = memory.lock().unwrap_or_else(PoisonError::into_inner);
            pipeline::build(&schema, documents, world, previous, &mut memory)
        };
        let sources = Sources::new([path]);
        let (store, status) = (Arc::new(Store::new()), Arc::new(StatusCell::new(sources.names())));
        let mut registry = Registry::default();
        let metrics = Metrics::register(&mut registry);
        let (build, options) = (Arc::new(build), Options::default());
        let reload = Reload::new(sources, options, build, Arc::clone(&store), Arc::clone(&status), metrics);
        let (shutdown, mut tasks) = (CancellationToken::new(), JoinSet::new());
        tasks.spawn_on(reload.run(shutdown.clone()), runtime.handle());
        runtime.block_on(async {
            let mut news = status.subscribe();
            while status.load().verdict != Verdict::Applied {
                news.changed().await.expect("the status outlives the wait");
            }
        });
        Self { runtime, store, registry, shutdown, tasks }
    }

    /// From the first byte written beside the file until the snapshot made of the file that was moved there is published.
    fn edit(&self, file: &Path, text: &str) -> Duration {
        let mut publications = self.store.subscribe();
        let new = file.with_extension("new");
        let start = Instant::now();
        fs::write(&new, text).expect("the directory can be written to");
        fs::rename(&new, file).expect("both are in one directory");
        let published = self.runtime.block_on(publications.changed());
        let elapsed = start.elapsed();
        published.expect("the store outlives the wait");
        elapsed
    }

    /// A counter among the metrics.
    fn count(&self, name: &str) -> u64 {
        let mut text = String::new();
        prometheus_client::encoding::text::encode(&mut text, &self.registry).expect("a string takes any text");
        let value = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
        value.and_then(|value| value.parse().ok()).unwrap_or_else(|| panic!("no {name} in\n{text}"))
    }

    fn stop(self) {
        self.shutdown.cancel();
        self.runtime.block_on(self.tasks.join_all());
    }
}

fn cluster(number: usize, port: usize) -> String {
    let name = format!("service-{number}");
    format!("version: 1\nclusters:\n- name: {name}\n  connect_timeout: 1s\n  endpoints: [10.0.0.1:{port}]\n")
}

/// Edits one file again and again, and prints how long that took.
fn edits(what: &str, running: &Running, file: &Path) {
    let mut took: Vec<Duration> = (0..EDITS)
        .map(|edit| {
            std::thread::sleep(REST);
            running.edit(file, &cluster(0, 1_000 + edit))
        })
        .collect();
    took.sort();
    let percentile = |percent: usize| took[(EDITS - 1) * percent / 100];
    let [p50, p90, p99, worst] = [50, 90, 99, 100].map(percentile);
    println!("edit of {what}, {EDITS} times: p50 {p50:.2?}, p90 {p90:.2?}, p99 {p99:.2?}, worst {worst:.2?}");
}

/// Does nothing for a while, and prints what that took.
fn idle(running: &Running) {
    let read = || ["chancery_watch_polls_total", "chancery_source_reads_total"].map(|name| running.count(name));
    let (before, used) = (read(), processor_time());
    std::thread::sleep(IDLE);
    let (after, used) = (read(), processor_time().saturating_sub(used));
    let [polls, reads] = [after[0] - before[0], after[1] - before[1]];
    let percent = used.as_secs_f64() / IDLE.as_secs_f64() * 100.0;
    println!("idle over {FILES} files for {IDLE:?}: {used:?} of a core, {percent:.2} %; {polls} polls, {reads} reads");
}

/// What all threads of this process used so far, in the kernel's ticks of 10 ms.
fn processor_time() -> Duration {
    let stat = fs::read_to_string("/proc/self/stat").expect("Linux shows it");
    // The name of the program is in parentheses, and may hold anything; user and system time are fields 14 and 15.
    let (_, fields) = stat.rsplit_once(") ").expect("a name in parentheses");
    let ticks = fields.split(' ').skip(11).take(2).map(|field| field.parse::<u64>().expect("a number"));
    Duration::from_millis(10 * ticks.sum::<u64>())
}

fn main() {
    let schema = Schema::embedded();
    let dir = tempfile::tempdir().expect("a temporary directory can be made");
    let file = dir.path().join("topology.yaml");
    fs::write(&file, cluster(0, 1)).expect("it can be written to");
    let running = Running::follow(&file, &schema);
    edits("a file alone", &running, &file);
    running.stop();

    let many = dir.path().join("many");
    fs::create_dir(&many).expect("it can be written to");
    let path = |number: usize| -> PathBuf { many.join(format!("{number:04}.yaml")) };
    for number in 0..FILES {
        fs::write(path(number), cluster(number, 1)).expect("it can be written to");
    }
    let running = Running::follow(&many, &schema);
    idle(&running);
    // Others may be about to follow, so that the settle time is part of it.
    let settle = Options::default().settle;
    edits(&format!("one of {FILES} files, which rest {settle:?} first"), &running, &path(0));
    running.stop();
}
