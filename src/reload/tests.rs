use std::fs::{self, File};
use std::io::Write as _;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use prometheus_client::registry::Registry;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::*;
use crate::diagnostic::Report;
use crate::pipeline::{Build, Outcome};
use crate::snapshot::Store;
use crate::source::{Bell, Sources, Watcher};

/// A task that follows one file, and writes down what it judges.
struct Following {
    seen: Arc<Mutex<Vec<String>>>,
    status: Arc<StatusCell>,
    registry: Registry,
    shutdown: CancellationToken,
    tasks: JoinSet<()>,
}

impl Following {
    /// Starts it, after `prepare` did something to it.
    fn start(file: &Path, options: Options, prepare: impl FnOnce(&mut Reload, Arc<Sources>)) -> Self {
        let sources = Sources::new([file]);
        let seen = Arc::new(Mutex::new(Vec::new()));
        let build: Builder = {
            let seen = Arc::clone(&seen);
            Arc::new(move |documents, _, _| {
                seen.lock().unwrap().push(String::from_utf8(documents[0].bytes.to_vec()).unwrap());
                Build { report: Report::default(), outcome: Outcome::Unchanged }
            })
        };
        let status = Arc::new(StatusCell::new(sources.names()));
        let mut registry = Registry::default();
        let metrics = Metrics::register(&mut registry);
        let store = Arc::new(Store::new());
        let mut reload = Reload::new(sources.clone(), options, build, store, Arc::clone(&status), metrics);
        prepare(&mut reload, Arc::new(sources));
        let (shutdown, mut tasks) = (CancellationToken::new(), JoinSet::new());
        tasks.spawn(reload.run(shutdown.clone()));
        Self { seen, status, registry, shutdown, tasks }
    }

    /// Waits until it holds; looks whenever there is news, and now and then.
    async fn until(&self, what: &str, holds: impl Fn(&Self) -> bool) {
        let mut news = self.status.subscribe();
        let arrived = async {
            while !holds(self) {
                _ = tokio::time::timeout(Duration::from_millis(10), news.changed()).await;
            }
        };
        assert!(tokio::time::timeout(Duration::from_secs(20), arrived).await.is_ok(), "not within 20 s: {what}");
    }

    fn seen(&self) -> Vec<String> {
        self.seen.lock().unwrap().clone()
    }

    fn reads(&self) -> u64 {
        let mut text = String::new();
        prometheus_client::encoding::text::encode(&mut text, &self.registry).unwrap();
        let value = text.lines().find_map(|line| line.strip_prefix("chancery_source_reads_total ")).unwrap();
        value.parse().unwrap()
    }

    async fn end(self) {
        self.shutdown.cancel();
        self.tasks.join_all().await;
    }
}

/// Whoever begins to write after it was time to read, and before it is read, is waited for.
#[tokio::test]
async fn a_writer_that_begins_before_the_reading_is_not_judged() {
    for closes_before_the_verdict in [false, true] {
        let temp = tempfile::tempdir().unwrap();
        let file = temp.path().join("topology.yaml");
        fs::write(&file, "one").unwrap();
        let writer = Arc::new(Mutex::new(None));
        let (slot, path) = (Arc::clone(&writer), file.clone());
        // Once watches are set, which is after the wait and before the reading.
        let meddle = Box::new(move || {
            let mut file = File::create(&path).unwrap();
            file.write_all(b"half").unwrap();
            if !closes_before_the_verdict {
                *slot.lock().unwrap() = Some(file);
            }
        });
        let options = Options { poll_interval: Duration::ZERO, ..Options::default() };
        let following = Following::start(&file, options, |reload, sources| {
            *reload.watcher.lock().unwrap() = Watcher::meddling(sources, Arc::clone(&reload.bell), meddle);
        });
        following.until("a reading", |following| following.reads() > 0).await;
        if let Some(mut writer) = writer.lock().unwrap().take() {
            assert_eq!(following.seen(), Vec::<String>::new());
            writer.write_all(b" and half").unwrap();
        }
        following.until("a verdict", |following| !following.seen().is_empty()).await;
        let whole = if closes_before_the_verdict { "half" } else { "half and half" };
        assert_eq!((following.seen(), following.reads()), (vec![whole.to_owned()], 2));
        following.end().await;
    }
}

/// Looking at the files from outside may not be enough, so they are read now and then although nothing seems to have changed.
#[tokio::test]
async fn files_that_look_the_same_are_read_in_full_at_intervals() {
    let temp = tempfile::tempdir().unwrap();
    let file = temp.path().join("topology.yaml");
    fs::write(&file, "one").unwrap();
    for (full_read, more) in [(Duration::from_millis(50), 3), (Duration::from_mins(1), 0)] {
        for watch in [WatchMode::Auto, WatchMode::Poll] {
            let options = Options { poll_interval: Duration::from_millis(5), watch, ..Options::default() };
            let following = Following::start(&file, options, |reload, _| reload.full_read = full_read);
            following.until("a verdict", |following| following.seen() == ["one"]).await;
            if more > 0 {
                following.until("full readings", |following| following.reads() > more).await;
            } else {
                let polls = |following: &Following| {
                    let mut text = String::new();
                    prometheus_client::encoding::text::encode(&mut text, &following.registry).unwrap();
                    let value = text.lines().find_map(|line| line.strip_prefix("chancery_watch_polls_total "));
                    value.unwrap().parse::<u64>().unwrap()
                };
                following.until("looks", |following| polls(following) > 20).await;
                assert_eq!(following.reads(), 1);
            }
            assert_eq!((following.seen().len(), following.status.watch().missed_changes), (1, 0));
            following.end().await;
        }
    }
}

/// While no watch is left, the files are looked at instead, and watched again once there is room. Watches that are there and tell
/// of nothing are told of.
#[tokio::test]
async fn without_watches_the_files_are_polled_and_edits_still_arrive() {
    for failures in [0, 3, usize::MAX] {
        let temp = tempfile::tempdir().unwrap();
        let file = temp.path().join("topology.yaml");
        fs::write(&file, "one").unwrap();
        let options = Options { poll_interval: Duration::from_millis(20), ..Options::default() };
        let following = Following::start(&file, options, |reload, sources| {
            // Its bell is not the task's: whatever arrives, arrives by looking.
            let bell = Arc::new(Bell::new(options.settle));
            *reload.watcher.lock().unwrap() = Watcher::scarce(sources, bell, failures);
        });
        for text in ["one", "two"] {
            fs::write(&file, text).unwrap();
            following.until("the edit", |following| following.seen().last().is_some_and(|last| last == text)).await;
        }
        let told = |following: &Following| {
            let watch = following.status.watch();
            let (mode, missed, code) = match failures {
                0 => (Mode::Events, 1, "missed-change"),
                usize::MAX => (Mode::Poll, 0, "not-watched"),
                // The second edit may come before there is room or after.
                _ => (Mode::Events, watch.missed_changes, "missed-change"),
            };
            let is_told = watch.hazards.iter().any(|hazard| hazard.code == code) || failures == 3;
            (watch.mode, watch.missed_changes, is_told) == (mode, missed, true)
        };
        following.until("how they are watched", told).await;
        following.end().await;
    }
}
